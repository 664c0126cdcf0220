"""Results in PyTorch's memory order, and gradients of inference."""

import numpy as np
import pytest

from lstmcore import LSTMConfig, _core
from lstmcore.config import core_config


def make(dtype=np.float64, **options):
    config = LSTMConfig(3, 5, 2, True, **options)
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0, 0.4, shape).astype(dtype)
        for name, shape in config.parameter_shapes().items()
    }
    return _core.Lstm(core_config(config), weights), rng.normal(size=(4, 6, 3)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lengths", [None, np.array([3, 6, 0, 1])], ids=["full", "ragged"])
def test_time_major_has_the_same_bits(dtype, lengths):
    lstm, x = make(dtype)
    dy = np.random.default_rng(1).normal(size=(4, 6, 10)).astype(dtype)
    results = []
    for time_major in (False, True):
        inputs = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1) if time_major else x
        y, h, c, tape = lstm.forward(inputs, lengths=lengths, training=True, time_major=time_major)
        other, *_ = lstm.forward(inputs, lengths=lengths, time_major=time_major)
        dx, dh, dc = tape.backward(dy, None, None)
        for array, width in ((y, 10), (other, 10), (dx, 3)):
            assert array.shape == (4, 6, width)
            assert (array.swapaxes(0, 1) if time_major else array).flags.c_contiguous
        results.append([y, other, h, c, dx, dh, dc])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tape_without_masks():
    """The results of inference, including zoneout's expected values, have gradients too."""
    lstm, x = make(zoneout_h=0.3, zoneout_c=0.2, dropout=0.4, recurrent_dropout=0.2)
    expected = lstm.forward(x)[:3]
    *outputs, tape = lstm.forward(x, training=True, random=False)
    for one, other in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    dy = np.random.default_rng(1).normal(size=(4, 6, 10))
    dx, _, _ = tape.backward(dy, None, None)
    direction = np.random.default_rng(2).normal(size=x.shape)
    step = 1e-6
    above, below = (lstm.forward(x + sign * step * direction)[0] for sign in (1, -1))
    slope = np.sum(dy * (above - below)) / (2 * step)
    assert np.sum(dx * direction) == pytest.approx(slope, rel=1e-7)


def test_bad_flags():
    lstm, x = make()
    for name in ("random", "time_major"):
        with pytest.raises(TypeError, match=f"{name}: expected True or False"):
            lstm.forward(x, **{name: 2})
    with pytest.raises(ValueError, match="x: expected"):
        lstm.forward(x[..., :2], time_major=True)
