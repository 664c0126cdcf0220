"""The cheaper activations over the whole range of their arguments."""

import numpy as np
import pytest

import lstmcore as lc
import reference
from lstmcore import functional as F
from lstmcore.config import LSTMConfig

BOUNDS = {"fast_sigmoid": 1e-5, "fast_tanh": 2e-5}
EXACT = {"fast_sigmoid": lambda x: 0.5 + 0.5 * np.tanh(0.5 * x), "fast_tanh": np.tanh}


def values_of(name, x):
    """Return the activation of `x`: h of one step of a cell whose gates are 1, with z = x."""
    open_gates = lc.Activation("affine", 0.0, 1.0)
    config = LSTMConfig(
        1, 1, gate_activation=open_gates, cell_activation=name, output_activation="linear"
    )
    weights = {key: np.zeros_like(value) for key, value in F.init_weights(config).items()}
    weights = {key: value.astype(x.dtype) for key, value in weights.items()}
    weights["weight_ih_l0"][2] = 1.0
    y, _ = F.lstm(x.reshape(-1, 1, 1), weights, config)
    return y.reshape(-1)


def arguments(dtype):
    """Return finite numbers from the smallest to the largest, rising, and many where it bends."""
    bits = np.arange(0, 0x7F800000, 1009, dtype=np.uint32).view(np.float32)
    positive = np.union1d(bits, np.linspace(0, 16, 1_000_001).astype(np.float32)).astype(dtype)
    return np.concatenate([-positive[::-1], positive])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUNDS)
def test_the_error_is_bounded(name, dtype):
    x = arguments(dtype)
    y = values_of(name, x)
    exact = EXACT[name](x.astype(np.float64))
    assert np.abs(y - exact).max() < BOUNDS[name]
    assert np.abs(y - reference.activate((name, 0, 0), x.astype(np.float64))).max() < (
        3e-7 if dtype == np.float32 else 1e-15
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BOUNDS)
def test_it_rises_and_is_symmetric(name, dtype):
    x = arguments(dtype)
    y = values_of(name, x)
    rounding = 4 * np.finfo(dtype).eps  # numerator, denominator and quotient are rounded
    assert np.diff(y).min() >= -rounding
    if name == "fast_tanh":
        assert np.array_equal(y, -y[::-1])
        assert np.abs(y).max() < 1
        assert values_of(name, np.zeros(1, dtype))[0] == 0
    else:
        assert np.abs(y + y[::-1] - 1).max() <= rounding
        assert y.min() > 0
        assert y.max() < 1
        assert values_of(name, np.zeros(1, dtype))[0] == 0.5


@pytest.mark.parametrize("name", BOUNDS)
def test_nan_stays_nan(name):
    assert np.isnan(values_of(name, np.array([np.nan, 1.0, -np.nan], np.float32))[[0, 2]]).all()


def test_a_whole_sequence_is_near_that_of_the_exact_functions():
    exact = LSTMConfig(3, 20, num_layers=2)
    fast = LSTMConfig(
        3,
        20,
        num_layers=2,
        gate_activation="fast_sigmoid",
        cell_activation="fast_tanh",
        output_activation="fast_tanh",
    )
    weights = F.init_weights(exact, seed=3)
    x = np.random.default_rng(1).normal(size=(4, 200, 3)).astype(np.float32)
    near, far = F.lstm(x, weights, fast)[0], F.lstm(x, weights, exact)[0]
    assert 0 < np.abs(near - far).max() < 2e-4
