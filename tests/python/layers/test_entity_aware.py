"""The LSTM whose input gate depends on static features."""

import copy

import numpy as np
import pytest

import lstmcore as lc
from graph_kit import C, H, N, S, T, check_graph_gradients, ragged, static_model
from lstmcore import layers


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def plain(weights, x, s, h=None, c=None):
    """The equations, step by step, for one row."""
    units = len(weights["bias_static"])
    i = sigmoid(weights["weight_static"] @ s + weights["bias_static"])
    h = np.zeros(units) if h is None else h
    c = np.zeros(units) if c is None else c
    outputs = []
    for step in x:
        z = weights["weight_ih_l0"] @ step + weights["weight_hh_l0"] @ h + weights["bias_l0"]
        f, g, o = z[:units], z[units : 2 * units], z[2 * units :]
        c = sigmoid(f) * c + i * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.array(outputs), h, c


@pytest.fixture
def layer(rng):
    made = layers.EALSTM(H, return_sequences=True, return_state=True)
    made([np.zeros((1, 1, C)), np.zeros((1, S))])
    made.set_weights([rng.standard_normal(one.shape) for one in made.get_weights()])
    return made


def test_the_equations(layer, rng):
    x, s = rng.standard_normal((N, T, C)), rng.standard_normal((N, S))
    h0, c0 = rng.standard_normal((2, N, H))
    lengths = np.array([5, 2, 4])
    padded = x.copy()
    padded[1, 2:] = np.nan
    y, h, c = layer([padded, s], lengths=lengths, initial_state=(h0, c0))
    for n, length in enumerate(lengths):
        expected = plain(layer.weights, x[n, :length], s[n], h0[n], c0[n])
        for one, other in zip((y[n, :length], h[n], c[n]), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)
    np.testing.assert_allclose(
        layer.gate(s), sigmoid(s @ layer.weights["weight_static"].T + layer.weights["bias_static"])
    )


@pytest.mark.parametrize("rows", ["array", "ragged"])
def test_gradients(rows, rng):
    model = static_model("input gate")
    model.compile("sgd", "mse")
    x = rng.standard_normal((N, T, C)) if rows == "array" else ragged(rng)
    seen = check_graph_gradients(model, [x, rng.standard_normal((N, S))], rng.standard_normal(N))
    assert set(seen) >= {f"lstm.{name}" for name in ("weight_static", "bias_static", "bias_l0")}
    assert min(seen.values()) > 1e-6


def test_gradients_with_respect_to_both_inputs_and_states(rng):
    sequence, static = lc.Input((None, C), name="x"), lc.Input((S,), name="s")
    vector = layers.Dense(3, "tanh", name="vector")(static)
    state = [layers.Dense(H, name="h")(static), layers.Dense(H, name="c")(static)]
    y, h, c = layers.EALSTM(H, return_sequences=True, return_state=True, name="ea")(
        [layers.Dense(4, name="steps")(sequence), vector], initial_state=state
    )
    last = layers.Concatenate()([layers.GlobalMaxPooling1D()(y), h, c])
    model = lc.Model([sequence, static], layers.Dense(1)(last), dtype="float64")
    model.compile("sgd", "mse")
    x = [ragged(rng), rng.standard_normal((N, S))]
    assert min(check_graph_gradients(model, x, rng.standard_normal(N)).values()) > 1e-7


def test_initial_values_are_those_of_an_lstm():
    layer = layers.EALSTM(8, forget_bias=5.0, kernel_initializer="ones", static_initializer="ones")
    layer([np.zeros((1, 1, C)), np.zeros((1, S))])
    weights = layer.weights
    assert (weights["bias_l0"] == [5.0] * 8 + [0.0] * 16).all()
    assert (weights["weight_ih_l0"] == 1).all()
    assert (weights["weight_static"] == 1).all()
    assert not weights["bias_static"].any()
    recurrent = weights["weight_hh_l0"]
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(8), atol=1e-6)  # orthogonal


def test_files_copies_and_frozen_layers(rng, tmp_path):
    model = static_model("input gate", "float32")
    model.compile("adam", "mse")
    x, y = [rng.standard_normal((N, T, C)), rng.standard_normal((N, S))], rng.standard_normal(N)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "a.safetensors")
    again = lc.load(tmp_path / "a.safetensors")
    assert again._document() == model._document()
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    small = lc.quantize(model)
    assert np.abs(small.predict(x) - model.predict(x)).max() < 0.05
    frozen = copy.deepcopy(model)
    frozen.get_layer("lstm").trainable = False
    frozen.fit(x, y, verbose=0)
    for name, values in model.weights.items():
        assert name.startswith("lstm.") == np.array_equal(frozen.weights[name], values)


def test_dropout_acts_in_training_only(rng):
    layer = layers.EALSTM(H, dropout=0.5, recurrent_dropout=0.5, seed=1)
    given = [rng.standard_normal((N, T, C)), rng.standard_normal((N, S))]
    quiet = layer(given)
    assert (layer(given, training=True) != quiet).any()
    np.testing.assert_array_equal(layer(given), quiet)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="EALSTM: expected a sequence and static features"):
        lc.Sequential([layers.Input((None, C)), layers.EALSTM(H)])
    with pytest.raises(TypeError, match="inputs: expected a list of a sequence and static"):
        layers.EALSTM(H)(np.zeros((N, T, C)))
    layer = layers.EALSTM(H)
    layer([np.zeros((N, T, C)), np.zeros((N, S))])
    with pytest.raises(ValueError, match=r"static: expected shape \(3, 2\) beside"):
        layer([np.zeros((N, T, C)), np.zeros((N, S + 1))])
    with pytest.raises(ValueError, match=r"EALSTM: expected a sequence \(N, T, C\) and static"):
        layers.EALSTM(H)([np.zeros((N, T, C)), np.zeros((N, T, S))])
    with pytest.raises(ValueError, match="expected a list of a sequence and static features"):
        layers.EALSTM(H)([lc.Input((None, C))])
    with pytest.raises(ValueError, match="gate: the layer is not built"):
        layers.EALSTM(H).gate(np.zeros((N, S)))
