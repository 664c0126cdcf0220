"""Keras models for tests, and comparisons with them; skips the tests if Keras 3 is missing."""

import os
from contextlib import contextmanager

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
pytest.importorskip("h5py", reason="h5py is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

from keras.src.backend.common import dtypes  # noqa: E402

K = keras.layers

MARKS = [  # Keras warns about its own use of NumPy and of masks
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask"),
]

# Relative to the largest entry, since Keras sums in another order.
TOLERANCES = {"float64": 1e-12, "float32": 2e-6}


def close(ours, theirs):
    theirs = keras.ops.convert_to_numpy(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    atol = TOLERANCES[ours.dtype.name] * max(1.0, abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@contextmanager
def computing_in(dtype):
    """Let Keras compute in `dtype`; with most backends its products are float32 at best."""
    keras.config.dtype_policy()  # created on first use
    before, types = keras.config.floatx(), dtypes.BIT64_TO_BIT32_DTYPE
    shortened = types["float64"]
    keras.config.set_floatx(dtype)
    types["float64"] = dtype
    try:
        yield
    finally:
        types["float64"] = shortened
        keras.config.set_floatx(before)


def randomize(thing, seed=0):
    rng = np.random.default_rng(seed)
    for variable in thing.weights:
        variable.assign(rng.normal(size=variable.shape) * 0.4)
    return thing


def model_of(layers, shape=(None, 4), dtype="float32"):
    return randomize(keras.Sequential([keras.Input(shape, dtype=dtype), *layers]))


def same_weights(one, other):
    assert list(one.weights) == list(other.weights)
    for name, value in one.weights.items():
        np.testing.assert_array_equal(value, other.weights[name], strict=True)


# Keras layers for sequences of four features, in dtype d.
LAYERS = {
    "LSTM": lambda d: [K.LSTM(3, dtype=d)],
    "sequences": lambda d: [K.LSTM(3, return_sequences=True, dtype=d)],
    "backwards": lambda d: [K.LSTM(3, return_sequences=True, go_backwards=True, dtype=d)],
    "no bias": lambda d: [K.LSTM(3, use_bias=False, unroll=False, dtype=d)],
    "training options": lambda d: [
        K.LSTM(
            3,
            dropout=0.1,
            recurrent_dropout=0.2,
            unit_forget_bias=False,
            kernel_initializer="he_normal",
            recurrent_initializer=keras.initializers.VarianceScaling(2.0),
            kernel_regularizer=keras.regularizers.L1(0.1),
            recurrent_regularizer=keras.regularizers.L1L2(0.1, 0.2),
            bias_regularizer="l2",
            kernel_constraint=keras.constraints.MaxNorm(3.0),
            seed=5,
            dtype=d,
        )
    ],
    "RNN": lambda d: [K.RNN(K.LSTMCell(3, dtype=d), return_sequences=True, dtype=d)],
    "stacked cells": lambda d: [
        K.RNN(
            K.StackedRNNCells([K.LSTMCell(3, use_bias=False, dtype=d) for _ in range(3)], dtype=d),
            dtype=d,
        )
    ],
    "Bidirectional": lambda d: [K.Bidirectional(K.LSTM(3, dtype=d), dtype=d)],
    "sum": lambda d: [
        K.Bidirectional(K.LSTM(3, return_sequences=True, dtype=d), merge_mode="sum", dtype=d)
    ],
    "mul": lambda d: [
        K.Bidirectional(K.LSTM(3, return_sequences=True, dtype=d), merge_mode="mul", dtype=d)
    ],
    "ave": lambda d: [
        K.Bidirectional(
            K.RNN(K.LSTMCell(3, dtype=d), return_sequences=True, dtype=d),
            merge_mode="ave",
            dtype=d,
        )
    ],
    "backward layer": lambda d: [
        K.Bidirectional(
            K.LSTM(3, return_sequences=True, seed=1, dtype=d),
            backward_layer=K.LSTM(3, return_sequences=True, go_backwards=True, seed=2, dtype=d),
            dtype=d,
        )
    ],
    "Dense": lambda d: [K.Dense(5, "softmax", dtype=d)],
    "Dense and Activation": lambda d: [
        K.Dense(5, use_bias=False, dtype=d),
        K.Activation("tanh", dtype=d),
    ],
    "TimeDistributed and Activation": lambda d: [
        K.TimeDistributed(K.Dense(5, dtype=d), dtype=d),
        K.Activation("relu", dtype=d),
    ],
    "TimeDistributed": lambda d: [K.TimeDistributed(K.Dense(5, "relu", dtype=d), dtype=d)],
    "Conv1D": lambda d: [K.Conv1D(5, 3, strides=2, activation="relu", dtype=d)],
    "causal": lambda d: [K.Conv1D(5, 2, padding="causal", dilation_rate=3, dtype=d)],
    "same": lambda d: [K.Conv1D(5, 4, padding="same", strides=3, use_bias=False, dtype=d)],
    "MaxPooling1D": lambda d: [K.MaxPooling1D(3, 2, "same", dtype=d)],
    "GlobalMaxPooling1D": lambda d: [K.GlobalMaxPooling1D(dtype=d)],
    "GlobalAveragePooling1D": lambda d: [K.GlobalAveragePooling1D(dtype=d)],
    "LayerNormalization": lambda d: [K.LayerNormalization(epsilon=1e-4, dtype=d)],
    "no gamma": lambda d: [K.LayerNormalization(scale=False, axis=2, dtype=d)],
    "no beta": lambda d: [K.LayerNormalization(center=False, dtype=d)],
    "Dropout": lambda d: [K.Dropout(0.5, seed=2, dtype=d)],
}
