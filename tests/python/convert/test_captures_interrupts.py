"""A signal ends a long call of a capture's stream, which is then as it was before."""

import json
import os
import signal

import numpy as np
import pytest

from capture_kit import Network, X
from lstmcore.convert import load_capture

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

LONG = 5_000_000  # samples: half a second


class Enough(Exception):
    pass


@pytest.fixture
def stream(tmp_path):
    path = tmp_path / "long.nam"
    path.write_text(json.dumps(Network(2, stored_state=True).nam()), encoding="utf-8")
    return load_capture(path).stream()


@pytest.fixture
def alarm():
    """Raise Enough 20 ms from now."""

    def handler(number, frame):
        raise Enough

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.02)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


CALLS = {
    "process": lambda stream: stream.process(np.broadcast_to(np.float32(0.5), LONG)),
    "settle": lambda stream: stream.settle(LONG),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_signal_ends_a_long_call(stream, alarm, name):
    stream.process(X)
    expected = stream.process(X)
    stream.reset()
    stream.process(X)
    alarm()
    with pytest.raises(Enough):
        CALLS[name](stream)
    np.testing.assert_array_equal(stream.process(X), expected)  # not what follows the long call


def test_signals_whose_handlers_return_change_no_bit(stream):
    x = np.resize(X, 1_000_000)
    expected = stream.process(x)
    stream.reset()
    times = []
    before = signal.signal(signal.SIGALRM, lambda *_: times.append(0))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        found = stream.process(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_array_equal(found, expected)
    assert times
