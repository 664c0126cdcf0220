"""Gates and states over time, against the reference's own steps."""

import numpy as np
import pytest

import lstmcore as lc
import reference
from lstmcore import explain
from lstmcore.layers import (
    LSTM,
    Bidirectional,
    Dense,
    Embedding,
    Input,
    Masking,
    Residual,
    SimpleRNN,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 7, 2))
LENGTHS = [7, 3, 5]


def model_of(*layers, width=2, **options):
    model = lc.Sequential([Input((None, width)), *layers], dtype="float64", **options)
    model.set_weights([RNG.standard_normal(w.shape) * 0.6 for w in model.get_weights()])
    return model


def walked(config, weights, x, backwards):
    """Return gates and states of one row by the reference: dict of name to (T, H)."""
    h, c = np.zeros(config.state_size), np.zeros(config.hidden_size)
    found = {name: np.zeros((len(x), config.hidden_size)) for name in "ifgoc"}
    found["h"] = np.zeros((len(x), config.state_size))
    for t in reversed(range(len(x))) if backwards else range(len(x)):
        seen = {}

        def noting(activation, a, _seen=seen):
            value = _plain(activation, a)
            _seen.setdefault("all", []).append(value)
            return value

        reference.activate, original = noting, reference.activate
        try:
            h, c = reference.step(config, x[t], h, c, weights, {})
        finally:
            reference.activate = original
        values = seen["all"]  # in the reference's order: f, [i], g, o, activation of c
        found["f"][t] = values.pop(0)
        found["i"][t] = 1 - found["f"][t] if config.coupled_gates else values.pop(0)
        found["g"][t], found["o"][t] = values[0], values[1]
        found["c"][t], found["h"][t] = c, h
    return found


_plain = reference.activate


def cell_of(layer, suffix="_l0"):
    return {
        name.removesuffix(suffix): value
        for name, value in layer.weights.items()
        if name.endswith(suffix)
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False},
        {"peephole": True},
        {"coupled_gates": True},
        {"proj_size": 2},
        {"layer_norm": True},
        {"layer_norm": True, "coupled_gates": True},
        {"gate_clip": 0.5, "cell_clip": 0.4},
        {"activation": "softsign", "recurrent_activation": "hard_sigmoid"},
        {"activation": "relu", "recurrent_activation": "fast_sigmoid"},
        {"zoneout_h": 0.3, "zoneout_c": 0.2, "recurrent_dropout": 0.5},
        {"go_backwards": True, "return_sequences": True},
    ],
    ids=str,
)
def test_gates_and_states_are_those_of_the_reference(options):
    model = model_of(LSTM(3, name="own", **options))
    rows = [x[:length] for x, length in zip(X, LENGTHS, strict=True)]
    found = explain.trace(model, rows)["own"]
    layer = model.layers[0]
    close = 5e-5 if "fast_sigmoid" in options.values() else 1e-12
    for n, row in enumerate(rows):
        expected = walked(layer.config, cell_of(layer), row, layer.config.go_backwards)
        for name, values in expected.items():
            own = getattr(found, name)[n]
            np.testing.assert_allclose(own[: len(row)], values, atol=close, err_msg=name)
            assert np.isnan(own[len(row) :]).all()


def test_layers_and_directions_have_names_of_their_own():
    model = model_of(Bidirectional(LSTM(3, num_layers=2, return_sequences=True), name="both"))
    found = explain.trace(model, X)
    assert list(found) == ["both_l0", "both_l0_reverse", "both_l1", "both_l1_reverse"]
    layer, y = model.layers[0], model.predict(X)
    np.testing.assert_allclose(found["both_l1"].h, y[..., :3], atol=1e-12)
    np.testing.assert_allclose(found["both_l1_reverse"].h, y[..., 3:], atol=1e-12)
    below = np.concatenate([found["both_l0"].h, found["both_l0_reverse"].h], axis=-1)
    for ending, backwards in (("", False), ("_reverse", True)):
        expected = walked(layer.config, cell_of(layer, f"_l1{ending}"), below[1], backwards)
        for name, values in expected.items():
            own = getattr(found[f"both_l1{ending}"], name)[1]
            np.testing.assert_allclose(own, values, atol=1e-12)


def test_layers_on_top_of_each_other_and_after_an_embedding():
    model = lc.Sequential(
        [Embedding(9, 4, mask_zero=True), LSTM(3, return_sequences=True), LSTM(5), Dense(1)]
    )
    ids = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
    model.predict(ids)
    found = explain.trace(model, ids)
    assert list(found) == ["lstm", "lstm_1"]
    assert found["lstm"].c.dtype == np.float32
    assert np.isnan(found["lstm_1"].h[1, 2:]).all()
    last = np.stack([found["lstm_1"].h[0, 3], found["lstm_1"].h[1, 1]])
    inputs, _ = model.inputs_of(ids, "dense")
    np.testing.assert_allclose(last, inputs, atol=1e-6)


def test_masked_steps_are_left_out():
    model = model_of(Masking(), LSTM(3, return_sequences=True))
    x = X.copy()
    x[0, 2] = 0
    found = explain.trace(model, x)["lstm"]
    alone = explain.trace(model, X[:1, [0, 1, 3, 4, 5, 6]])["lstm"]
    np.testing.assert_allclose(found.c[0, :6], alone.c[0], atol=1e-12)
    mask = np.ones((3, 7), bool)
    mask[0, 2] = False
    again = explain.trace(model_like(model), X, mask=mask)["lstm"]
    np.testing.assert_allclose(again.c[0, :6], alone.c[0], atol=1e-12)


def model_like(model):
    """Return the model without its Masking, with the same weights."""
    other = model_of(LSTM(3, return_sequences=True))
    other.set_weights(model.get_weights())
    return other


def test_texts_have_tokens_and_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    words = lc.layers.TextVectorization(vocabulary=["a", "b", "c"])
    model = lc.Sequential([words, Embedding(5, 2), LSTM(3), Dense(1)])
    model.predict(["a b"])
    found = explain.trace(model, ["a b $c$", "b"])
    assert found.tokens == [["a", "b", "c"], ["b"]]
    axes = found.plot(tmp_path / "gates.svg")
    assert [ax.get_ylabel() for ax in axes] == ["i", "f", "o", "c"]
    assert axes[0].get_images()[0].get_array().shape == (3, 3)
    assert (tmp_path / "gates.svg").exists()
    assert found.plot(row=1, show=["h"])[0].get_images()[0].get_array().shape == (3, 1)
    with pytest.raises(ValueError, match="show: expected some of i, f, g, o, c, h"):
        found.plot(show=["x"])
    with pytest.raises(ValueError, match="row: expected 0 to 1, got 2"):
        found.plot(row=2)
    with pytest.raises(KeyError, match="expected one of 'lstm'"):
        found["lstn"]
    assert repr(found) == "Trace(lstm: (2, 3, 3))"


def test_what_cannot_be_traced_is_refused():
    with pytest.raises(
        TypeError, match="model: expected a Sequential, Model or EncoderDecoder, got 'model'"
    ):
        explain.trace("model", X)
    with pytest.raises(ValueError, match="model: expected one that is built"):
        explain.trace(lc.Sequential([LSTM(3)]), X)
    with pytest.raises(ValueError, match="expected at least one LSTM layer"):
        explain.trace(model_of(Dense(3)), X)
    hidden = model_of(Residual(LSTM(2, return_sequences=True)))
    with pytest.raises(ValueError, match="an LSTM within a Residual cannot be traced"):
        explain.trace(hidden, X)
    with pytest.raises(ValueError, match="'simple_rnn': expected an LSTM.* got a SimpleRNN"):
        explain.trace(model_of(SimpleRNN(3)), X)
    with pytest.raises(ValueError, match="x: expected at least one sample"):
        explain.trace(model_of(LSTM(3)), X[:0])
    with pytest.raises(ValueError, match=r"inputs: expected shape \(N, T, 2\)"):
        explain.trace(model_of(LSTM(3)), X[..., :1])
