"""LSTMStream: one step at a time."""

import threading

import numpy as np
import pytest

from lstmcore import functional as F
from lstmcore.config import LSTMConfig
from lstmcore.stream import LSTMStream
from reference import random_case

CONFIGS = {
    "one unit": LSTMConfig(1, 1),
    "one layer": LSTMConfig(5, 7),
    "three layers": LSTMConfig(3, 20, num_layers=3),
    "large": LSTMConfig(40, 130),  # large enough that other threads may run during a step
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [1, 3, 17])
@pytest.mark.parametrize("name", CONFIGS)
def test_same_bits_as_the_whole_sequence(name, batch, dtype):
    config = CONFIGS[name]
    x, weights, arguments = random_case(config, batch, 12, dtype, state=True)
    y, state = F.lstm(x, weights, config, **arguments)
    stream = LSTMStream(weights, config, batch_size=batch)
    assert (stream.batch_size, stream.dtype, stream.config) == (batch, dtype, config)
    stream.state = arguments["state"]
    for t in range(12):
        h = stream.step(x[:, t])  # not contiguous
        assert h.dtype == dtype
        assert np.array_equal(h, y[:, t])
    for part, expected in zip(stream.state, state, strict=True):
        assert np.array_equal(part, expected)


@pytest.fixture
def case():
    config = LSTMConfig(4, 6, num_layers=2)
    x, weights, arguments = random_case(config, 3, 8, np.float32, state=True)
    return config, x, weights, arguments["state"]


def test_streams_of_packed_weights_are_independent(case):
    config, x, weights, _ = case
    packed = F.pack(weights, config)
    first, second = (LSTMStream(packed, batch_size=3) for _ in range(2))
    del packed
    expected = [first.step(x[:, t]) for t in range(8)]
    for t in range(8):
        assert np.array_equal(second.step(x[:, t]), expected[t])


def test_one_row_without_a_batch_axis(case):
    config, x, weights, _ = case
    flat, batched = LSTMStream(weights, config), LSTMStream(weights, config)
    for x_t in x[0]:
        h = flat.step(x_t)
        assert h.shape == (6,)
        assert np.array_equal(h, batched.step(x_t[None])[0])
    with pytest.raises(ValueError, match="x: expected shape"):
        LSTMStream(weights, config, batch_size=3).step(x[0, 0])


def test_output_into_a_given_array(case):
    config, x, weights, _ = case
    stream, other = (LSTMStream(weights, config, batch_size=3) for _ in range(2))
    h = np.full((3, 6), np.nan, np.float32)
    for t in range(8):
        assert stream.step(x[:, t], h) is h
        assert np.array_equal(h, other.step(x[:, t]))
    row = np.empty(6, np.float32)
    assert LSTMStream(weights, config).step(x[0, 0], out=row) is row


def test_results_are_copies(case):
    config, x, weights, _ = case
    stream = LSTMStream(weights, config, batch_size=3)
    first = stream.step(x[:, 0])
    state = stream.state
    copies = first.copy(), state.h.copy()
    first_state = [part.copy() for part in state]
    stream.step(x[:, 1])
    assert np.array_equal(first, copies[0])
    assert np.array_equal(state.h, copies[1])
    stream.state = first_state
    expected = stream.step(x[:, 1])
    stream.state = first_state
    for part in first_state:
        part[...] = 0  # the stream holds copies
    assert np.array_equal(stream.step(x[:, 1]), expected)


def test_reset(case):
    config, x, weights, initial = case
    stream = LSTMStream(weights, config, batch_size=3)
    expected = stream.step(x[:, 0])
    stream.reset()
    assert not any(part.any() for part in stream.state)
    assert np.array_equal(stream.step(x[:, 0]), expected)

    stream.state = initial
    stream.reset(1)
    for part, before in zip(stream.state, initial, strict=True):
        assert not part[:, 1].any()
        assert np.array_equal(part[:, [0, 2]], before[:, [0, 2]])
    assert np.array_equal(stream.step(x[:, 0])[1], expected[1])


def test_strided_state(case):
    config, _, weights, initial = case
    stream = LSTMStream(weights, config, batch_size=3)
    stream.state = tuple(np.asfortranarray(part) for part in initial)
    for part, expected in zip(stream.state, initial, strict=True):
        assert np.array_equal(part, expected)


def test_no_dropout():
    config = LSTMConfig(4, 6, num_layers=2, dropout=0.9)
    x, weights, _ = random_case(config, 1, 3, np.float64)
    stream = LSTMStream(weights, config)
    y, _ = F.lstm(x, weights, config)
    assert np.array_equal([stream.step(x_t) for x_t in x[0]], y[0])


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"go_backwards": True}])
def test_options_that_need_later_steps_are_refused(options):
    config = LSTMConfig(3, 4, **options)
    with pytest.raises(ValueError, match=next(iter(options)) + "|backwards"):
        LSTMStream(F.init_weights(config), config)


def test_bad_arguments_change_nothing(case):
    config, x, weights, initial = case
    stream = LSTMStream(weights, config, batch_size=3)
    stream.state = initial
    x_t = np.ascontiguousarray(x[:, 0])
    h = np.zeros((3, 6), np.float32)
    read_only = h.copy()
    read_only.flags.writeable = False
    memory = np.zeros(40, np.float32)
    overlapping = memory[:12].reshape(3, 4), memory[10:28].reshape(3, 6)
    bad = [
        (TypeError, "x", (x_t.tolist(),)),
        (TypeError, "x.*float32.*float64", (x_t.astype(np.float64),)),
        (TypeError, "x", (x_t.astype(int),)),
        (ValueError, r"x: .*\(N=3, C=4\), got \(2, 4\)", (x_t[:2],)),
        (ValueError, r"x: .*\(N=3, C=4\), got \(3, 3\)", (x_t[:, :3],)),
        (ValueError, "x", (x_t[None],)),
        (TypeError, "out", (x_t, h.tolist())),
        (TypeError, "out.*float32.*float64", (x_t, h.astype(np.float64))),
        (ValueError, r"out: .*\(N=3, H=6\), got \(3, 5\)", (x_t, h[:, :5].copy())),
        (ValueError, "out.*contiguous", (x_t, np.asfortranarray(h))),
        (ValueError, "out.*read-only", (x_t, read_only)),
        (ValueError, "out.*overlap", overlapping),
    ]
    for error, message, arguments in bad:
        with pytest.raises(error, match=message):
            stream.step(*arguments)
    for row in (-1, 3):
        with pytest.raises(ValueError, match="row: expected 0 to 2"):
            stream.reset(row)
    with pytest.raises(TypeError, match="row"):
        stream.reset(1.0)
    with pytest.raises(ValueError, match="state c: expected shape"):
        stream.state = initial[0], initial[1][:1]
    with pytest.raises(TypeError, match="state h.*float32.*float64"):
        stream.state = initial[0].astype(np.float64), initial[1]
    assert not h.any()
    for part, expected in zip(stream.state, initial, strict=True):
        assert np.array_equal(part, expected)


@pytest.mark.parametrize("batch", [0, -1])
def test_batch_size_below_one(case, batch):
    config, _, weights, _ = case
    with pytest.raises(ValueError, match="batch_size"):
        LSTMStream(weights, config, batch_size=batch)
    with pytest.raises(TypeError, match="batch_size"):
        LSTMStream(weights, config, batch_size=1.5)


def test_use_from_two_threads_is_refused_or_serialized():
    config = CONFIGS["large"]
    x, weights, _ = random_case(config, 64, 1, np.float32)
    stream = LSTMStream(weights, config, batch_size=64)
    outcomes = []
    start = threading.Barrier(2)

    def work():
        start.wait()
        for _ in range(20):
            try:
                stream.step(x[:, 0])
                outcomes.append(True)
            except RuntimeError as error:
                assert "stream" in str(error)
                outcomes.append(False)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 40
    # Steps that were not refused ran one after another, so the state is that of as many steps.
    expected = LSTMStream(weights, config, batch_size=64)
    for _ in range(sum(outcomes)):
        expected.step(x[:, 0])
    assert np.array_equal(stream.state.h, expected.state.h)


@pytest.mark.parametrize("state", [5, (np.zeros((1, 2, 4), np.float32), None)])
def test_a_wrong_state_is_named(state):
    config = LSTMConfig(3, 4)
    stream = LSTMStream(F.init_weights(config), config, 2)
    with pytest.raises(TypeError, match=r"state: expected a pair \(h, c\)"):
        stream.state = state
