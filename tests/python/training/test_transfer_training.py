"""Training a model that was trained before: rates by layer, and unfreezing layer by layer."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.callbacks import GradualUnfreezing

OPTIMIZERS = {
    "sgd": lambda **o: lc.optimizers.SGD(0.1, 0.9, **o),
    "rmsprop": lambda **o: lc.optimizers.RMSprop(0.01, **o),
    "adam": lambda **o: lc.optimizers.Adam(0.01, **o),
    "adamw": lambda **o: lc.optimizers.AdamW(0.01, 0.1, **o),
}


def model_of(optimizer="sgd", seed=2):
    layers = lc.layers
    model = lc.Sequential(
        [
            layers.Dense(6, name="first"),
            layers.Residual(layers.Dense(6, name="within"), name="middle"),
            layers.LSTM(5, name="lstm"),
            layers.Dense(1, name="last"),
        ],
        seed=seed,
        dtype="float64",
    )
    model.compile(optimizer, "mse")
    return model


def data(rng):
    return rng.standard_normal((24, 3, 4)), rng.standard_normal((24, 1))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_factor_is_like_another_rate_for_that_layer(name, rng):
    x, y = data(rng)
    factors = {"middle": 0.25, "last": 3.0}
    model = model_of(OPTIMIZERS[name](rate_factors=factors))
    model.build(x.shape)
    before = {key: value.copy() for key, value in model.weights.items()}
    model.train_on_batch(x, y)
    for factor in (1.0, 0.25, 3.0):
        other = model_of(OPTIMIZERS[name]())
        other.optimizer.learning_rate *= factor
        other.train_on_batch(x, y)
        for key, value in other.weights.items():
            if factors.get(key.partition(".")[0], 1.0) == factor:
                np.testing.assert_allclose(model.weights[key], value, rtol=1e-12, atol=1e-15)
                assert (value != before[key]).any()


def test_the_innermost_name_counts(rng):
    x, y = data(rng)
    model = model_of(OPTIMIZERS["sgd"](rate_factors={"middle.0": 1.0, "middle": 1e-300}))
    model.build(x.shape)
    before = model.weights["middle.0.kernel"].copy()
    model.train_on_batch(x, y)
    assert (model.weights["middle.0.kernel"] != before).all()


def test_frozen_layers_stay_frozen_and_may_thaw(rng):
    x, y = data(rng)
    model = model_of(OPTIMIZERS["adam"](rate_factors={"lstm": 0.5}))
    model.build(x.shape)
    model.get_layer("first").trainable = False
    kept = model.weights["first.kernel"].copy()
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.weights["first.kernel"], kept)
    model.get_layer("first").trainable = True
    model.train_on_batch(x, y)
    assert (model.weights["first.kernel"] != kept).any()


def test_factors_are_saved_and_resumed(rng, tmp_path):
    x, y = data(rng)
    factors = {"lstm": 0.5, "first": 0.1}
    whole, half = (model_of(OPTIMIZERS["adam"](rate_factors=factors)) for _ in range(2))
    whole.fit(x, y, epochs=4, verbose=0)
    half.fit(x, y, epochs=2, verbose=0)
    half.save(tmp_path / "half.safetensors")
    again = lc.load(tmp_path / "half.safetensors")
    assert again.optimizer.rate_factors == factors
    again.fit(x, y, epochs=4, initial_epoch=again.epoch, verbose=0)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "rate_factors" not in lc.optimizers.Adam().get_config()  # as in older files


def test_wrong_factors(rng):
    with pytest.raises(ValueError, match=r"rate_factors\['lstm'\]: expected a number in \(0"):
        lc.optimizers.Adam(rate_factors={"lstm": 0.0})
    with pytest.raises(TypeError, match="rate_factors: expected factors by the names of layers"):
        lc.optimizers.Adam(rate_factors=0.1)
    model = model_of(OPTIMIZERS["adam"](rate_factors={"lstn": 0.5}))
    with pytest.raises(ValueError, match="rate_factors: expected names of .* got 'lstn'.*'lstm'"):
        model.fit(*data(rng), verbose=0)
    assert model.optimizer.iterations == 0


class Trained(lc.callbacks.Callback):
    """Notes which layers train in each epoch."""

    def __init__(self):
        self.found = []

    def on_epoch_end(self, epoch, logs):
        self.found.append([layer.name for layer in self.model.layers if layer.trainable])


@pytest.mark.parametrize(
    ("layers", "every", "expected"),
    [
        (None, 1, [["last"], ["lstm", "last"], ["middle", "lstm", "last"]]),
        (None, 2, [["last"], ["last"], ["lstm", "last"]]),
        (["lstm", ["first", "middle"]], 1, [["lstm", "last"], ["first", "middle", "lstm", "last"]]),
    ],
)
def test_stages(rng, layers, every, expected):
    model, trained = model_of(), Trained()
    x, y = data(rng)
    callbacks = [GradualUnfreezing(every, layers), trained]
    model.fit(x, y, epochs=len(expected), callbacks=callbacks, verbose=0)
    assert trained.found == expected


def test_frozen_until_its_stage_and_the_same_bits_when_resumed(rng, tmp_path):
    x, y = data(rng)
    whole, half = model_of("adam"), model_of("adam")
    half.build(x.shape)
    kept = half.weights["lstm.weight_hh_l0"].copy()
    half.fit(x, y, epochs=2, callbacks=GradualUnfreezing(2), verbose=0)
    np.testing.assert_array_equal(half.weights["lstm.weight_hh_l0"], kept)
    whole.fit(x, y, epochs=5, callbacks=GradualUnfreezing(2), verbose=0)
    half.save(tmp_path / "half.safetensors")
    again = lc.load(tmp_path / "half.safetensors")
    again.fit(x, y, epochs=5, initial_epoch=2, callbacks=GradualUnfreezing(2), verbose=0)
    assert (again.weights["lstm.weight_hh_l0"] != kept).any()
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("layers", [None, ["lstm", "last"]])
def test_a_frozen_model_is_unfrozen_like_any_other(rng, layers):
    x, y = data(rng)
    frozen, other = model_of("adam"), model_of("adam")
    for model in (frozen, other):
        model.build(x.shape)
        for layer in model.layers:  # the callback leaves what it does not name as it is
            layer.trainable = model is other and (layers is None or layer.name in layers)
    with pytest.raises(ValueError, match="all with weights are frozen; .*GradualUnfreezing"):
        frozen.fit(x, y, callbacks=Trained(), verbose=0)
    before = frozen.get_weights()
    for model in (frozen, other):
        model.fit(x, y, epochs=2, callbacks=GradualUnfreezing(1, layers), verbose=0)
    for one, same in zip(frozen.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    assert not all(map(np.array_equal, before, frozen.get_weights()))


def test_wrong_layers(rng):
    for layers, error in (("lstm", TypeError), ([], TypeError), (["lstm", ["lstm"]], ValueError)):
        with pytest.raises(error, match="layers: expected"):
            GradualUnfreezing(layers=layers)
    with pytest.raises(ValueError, match="'lstm', 'last', got 'lstn'"):
        model_of().fit(*data(rng), callbacks=GradualUnfreezing(layers=["lstn"]), verbose=0)


def test_a_model_without_a_free_weight_is_refused(rng):
    model = model_of()
    model.trainable = False
    with pytest.raises(ValueError, match="fit: expected a layer that is trained, but all with"):
        model.fit(*data(rng), verbose=0)
