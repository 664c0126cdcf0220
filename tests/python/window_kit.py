"""Models over long sequences, and sources that are read window by window."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

N, T, C, H, U = 4, 11, 3, 5, 2


class Recorder(lc.optimizers.SGD):
    """Does not update weights, but records the gradient of each step."""

    def __init__(self):
        super().__init__(0.0)
        self.seen = []

    def _step(self, values, gradients, slots, learning_rate):
        self.seen.append(gradients.copy())


def make_model(optimizer=None, dtype="float64", **options):
    options = {"return_sequences": True, "num_layers": 2, **options}
    model = lc.Sequential([layers.LSTM(H, **options), layers.Dense(U)], dtype=dtype, seed=3)
    model.compile(optimizer or Recorder(), "mse", ["mae"])
    return model


def some_data(rng):
    return rng.standard_normal((N, T, C)), rng.standard_normal((N, T, U))


class Source:
    """Not an array, but sliced like one; records how much was read at once."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.largest = 0

    def __array__(self, *unused):
        raise AssertionError("the whole source was read at once")

    def __getitem__(self, key):
        rows = key[0] if isinstance(key, tuple) else key
        if not isinstance(rows, slice):
            assert (np.diff(rows) > 0).all()  # ascending, as files require
        part = self.array[key]
        self.largest = max(self.largest, part.size)
        return part


def refused(model, error, match, call):
    before = model.parameters.values.copy() if model.built else None
    with pytest.raises(error, match=match):
        call(model)
    assert (before is None) != model.built
    if before is not None:
        np.testing.assert_array_equal(model.parameters.values, before)
