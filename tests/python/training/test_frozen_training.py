"""Every way to train a model in part frozen: its frozen weights stay, the others move."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

N, T, C, H = 4, 6, 3, 5
WAYS = {
    "windows": ({}, {"tbptt": 2}),
    "stateful": ({"stateful": True}, {"batch_size": 2, "shuffle": False}),
    "recompute": ({"recompute": 2}, {}),
    "shared": ({"num_layers": 2, "share_recurrent": True}, {}),
    "dropout": ({"recurrent_dropout": 0.5, "zoneout_c": 0.2}, {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("frozen", ["first", "second"])
def test_every_way_to_train(way, frozen, rng):
    """A frozen LSTM keeps its bits; the others' first step is the same as without freezing."""
    options, how = WAYS[way]
    x, y = rng.standard_normal((N, T, C)), rng.standard_normal((N, T, 1))

    def fresh():
        model = lc.Sequential(
            [
                layers.LSTM(H, return_sequences=True, **options, name="first"),
                layers.LSTM(H, return_sequences=True, **options, name="second"),
                layers.Dense(1, name="head"),
            ],
            dtype="float64",
            seed=1,
        )
        model.compile(lc.optimizers.SGD(0.1), "mse")
        model.build((None, None, C))
        return model

    class Once(lc.callbacks.Callback):
        """Stores the gradients of the first step."""

        def on_train_batch_end(self, batch, logs=None):
            if batch == 0 and not hasattr(self, "seen"):
                parameters = self.model.parameters
                self.seen = {name: parameters.gradient(name).copy() for name in parameters.specs}

    model, whole = fresh(), fresh()
    before = model.get_weights()
    model.get_layer(frozen).trainable = False
    seen = []
    for one in (model, whole):
        once = Once()
        one.fit(x, y, epochs=2, verbose=0, callbacks=[once], **how)
        seen.append(once.seen)
    for name, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.array_equal(old, new) == name.startswith(frozen), name
        # With windows, it is the gradient of the last one, after steps that differ.
        if not name.startswith(frozen) and way != "windows":
            np.testing.assert_array_equal(seen[0][name], seen[1][name], err_msg=name)


@pytest.mark.parametrize("attention", ["multiplicative", "additive", None])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_encoder_decoder(attention, bidirectional, rng):
    """Freeze each layer alone, all but one, and all below or above it."""
    x, y = rng.integers(1, 8, (N, T)), rng.integers(3, 9, (N, 4))

    def fresh():
        model = lc.EncoderDecoder(
            8,
            9,
            embedding_size=3,
            units=4,
            bidirectional=bidirectional,
            attention=attention,
            dtype="float64",
        )
        model.compile(lc.optimizers.SGD(0.0))
        return model

    whole = fresh()
    whole.train_on_batch(x, y)
    expected = {name: whole.parameters.gradient(name).copy() for name in whole.weights}
    names = [layer.name for layer in whole.layers]
    for at, name in enumerate(names):
        for frozen in ({name}, set(names) - {name}, set(names[:at]), set(names[at:])):
            if frozen == set(names):
                continue
            model = fresh()
            for other in frozen:
                model.get_layer(other).trainable = False
            model.train_on_batch(x, y)
            for full, gradient in expected.items():
                still = full.split(".")[0] in frozen
                np.testing.assert_array_equal(
                    model.parameters.gradient(full),
                    np.zeros_like(gradient) if still else gradient,
                    err_msg=f"{full} beside {frozen}",
                )


def test_a_frozen_encoder_runs_no_backward(rng, monkeypatch):
    x, y = rng.integers(1, 8, (N, T)), rng.integers(3, 9, (N, 4))
    model = lc.EncoderDecoder(8, 9, units=4, bidirectional=True)
    model.compile("adamw")
    for name in ("source_embedding", "encoder", "bridge_h_l0", "bridge_c_l0"):
        model.get_layer(name).trainable = False
    monkeypatch.setattr(model.get_layer("encoder"), "_run_backward", None)
    before = model.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    for name, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        frozen = name.startswith(("source_embedding.", "encoder.", "bridge_"))
        assert np.array_equal(old, new) == frozen, name
