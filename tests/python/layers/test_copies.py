"""Layers that have computed, and cached what they need for it, can be copied and pickled."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

LAYERS = {
    "LSTM": lambda: layers.LSTM(4, return_sequences=True),
    "variant": lambda: layers.LSTM(4, num_layers=2, peephole=True, layer_norm=True, proj_size=2),
    "precision": lambda: layers.LSTM(4, precision="bf16x2"),
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(4)),
    "RNN": lambda: layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)]),
    "Residual": lambda: layers.Residual(layers.LSTM(5, return_sequences=True)),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(4)),
    "Conv1D": lambda: layers.Conv1D(4, 3),
    "Attention": lambda: layers.Attention("additive", 4),
    "LayerNormalization": lambda: layers.LayerNormalization(),
}
ways = pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))], ids=["copy", "pickle"]
)
X = np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32)


@ways
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_layers(make, again):
    layer = make()
    for _ in range(2):
        y = layer(X)
    other = again(layer)
    np.testing.assert_array_equal(other(X), y)
    other.set_weights([values + 0.1 for values in other.get_weights()])
    assert np.abs(other(X) - y).max() > 1e-4
    np.testing.assert_array_equal(layer(X), y)


@ways
def test_models(again):
    model = lc.Sequential([make() for name, make in LAYERS.items() if name in ("LSTM", "RNN")])
    model.compile("sgd", "mse")
    model.fit(X, X[:, 0, :3], verbose=0)
    y = model.predict(X)
    other = again(model)
    np.testing.assert_array_equal(other.predict(X), y)
    other.fit(X, X[:, 0, :3], verbose=0)
    assert np.abs(other.predict(X) - y).max() > 1e-6
    np.testing.assert_array_equal(model.predict(X), y)
