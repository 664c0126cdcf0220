"""Frames: (N, T, H, W, C), each of which a TimeDistributed flattens."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import built, check_gradients, check_rows_alone
from lstmcore import layers

N, T, H, W, C = 3, 4, 2, 3, 2


@pytest.fixture
def frames(rng):
    return rng.standard_normal((N, T, H, W, C))


def test_each_frame_becomes_a_row_of_features(frames):
    layer = layers.TimeDistributed(layers.Flatten())
    np.testing.assert_array_equal(layer(frames), frames.reshape(N, T, -1))
    np.testing.assert_array_equal(layer(frames[:, :2]), frames[:, :2].reshape(N, 2, -1))
    with pytest.raises(ValueError, match=r"inputs: expected shape"):
        layer(frames[:, :, :1])


def test_gradients_and_rows_of_different_lengths(frames, rng):
    chain = layers.TimeDistributed(layers.Flatten())
    lengths = np.array([4, 2, 0])
    check_gradients(built(chain, (1, T, H, W, C)), frames, lengths, rng)
    check_rows_alone(chain, frames, lengths)
    inner = layers.TimeDistributed(layers.Dense(2, "tanh"))
    check_gradients(built(inner, (1, T, H, W, C)), frames, lengths, rng)


@pytest.mark.parametrize("declared", [True, False])
def test_videos_of_different_lengths(frames, rng, declared):
    """Without an Input, the first data fix the frames' sizes but not their number."""
    start = [layers.Input((None, H, W, C))] if declared else []
    model = lc.Sequential(
        [*start, layers.TimeDistributed(layers.Flatten()), layers.LSTM(3), layers.Dense(1)]
    )
    together = model.predict([frames[0], frames[1, :2], frames[2, :1]])
    assert model.input_shape == (None, None, H, W, C)
    for at, count in enumerate((4, 2, 1)):
        np.testing.assert_array_equal(together[at], model.predict(frames[at : at + 1, :count])[0])
    mask = np.arange(T) < np.array([4, 2, 1])[:, None]
    x = lc.Input((None, H, W, C))
    y = layers.LSTM(3)(layers.TimeDistributed(layers.Flatten())(x))
    graph = lc.Model(x, layers.Dense(1)(y))
    graph.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        graph.predict([*frames[:, :3], frames[0]])[:3], model.predict(frames[:, :3])
    )
    assert mask.sum() == 7


def test_a_graph_within_frames_has_its_own_steps(frames):
    """A flattened chain of layers within each frame: convolution over H, then Flatten."""
    rows = frames[..., 0]  # (N, T, H, W): H steps of W features in each frame
    chain = [
        layers.TimeDistributed(layers.Conv1D(2, 2)),
        layers.TimeDistributed(layers.Flatten()),
        layers.LSTM(3),
    ]
    model = lc.Sequential(chain)
    assert model.predict(rows).shape == (N, 3)
    assert model.input_shape == (None, None, H, W)
    assert model.predict(rows[:, :2]).shape == (N, 3)


def test_rows_that_do_not_fit(frames):
    model = lc.Sequential([layers.TimeDistributed(layers.Flatten()), layers.LSTM(3)])
    with pytest.raises(ValueError, match="x: expected all rows alike"):
        model.predict([frames[0], frames[1, :2, :1]])
    with pytest.raises(ValueError, match=r"x: expected rows of shape \(T, ...\) with 4 axes"):
        model.predict([frames[0], frames[1, 0]])
