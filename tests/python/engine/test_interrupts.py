"""Signals reach Python in the middle of a long call, on its main thread, without loss."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

# Calls of half a minute, and more on a slow machine.
LONG = """
import os, signal, sys, threading, time
import numpy as np
import lstmcore as lc
from lstmcore import functional as F

signal.signal(signal.SIGINT, signal.default_int_handler)
kind, threads = sys.argv[1], int(sys.argv[2])
lc.set_num_threads(threads)
config = lc.LSTMConfig(1, 48, num_layers=2 if kind == "layers" else 1)
packed = F.pack(F.init_weights(config, seed=0), config)
rnn = F.pack_rnn({
    name: np.full(shape, 0.01, np.float32)
    for name, shape in F.RNNConfig(1, 48).parameter_shapes().items()
}, F.RNNConfig(1, 48))
probe = np.ones((3, 20, 1), np.float32)
before, _ = F.lstm(probe, packed)
rows = 1 if kind == "layers" else 64
x = np.broadcast_to(np.float32(0.5), (rows, 2_000_000, 1))
storing = {"training": True, "return_sequences": False, "recompute": "sqrt"}
_, state, tape = F.lstm(x[:, : 20_000 if kind == "backward" else 10], packed, **storing)
calls = {
    "forward": lambda: F.lstm(x, packed, return_sequences=False),
    "layers": lambda: [F.lstm(x[:, :400_000], packed, return_sequences=False) for _ in range(50)],
    "training": lambda: F.lstm(x[:, :150_000], packed, **storing),
    "backward": lambda: F.lstm_backward(tape, None, state),
    "rnn": lambda: [F.rnn(x, rnn, return_sequences=False) for _ in range(4)],
}
sent = []

def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Timer(0.2, interrupt).start()
try:
    calls[kind]()
except KeyboardInterrupt:
    latency = time.monotonic() - sent[0]
    after, _ = F.lstm(probe, packed)
    print(latency, np.array_equal(before, after), tape.ready)
"""


@pytest.mark.parametrize(
    ("kind", "threads"),
    [("forward", 1), ("forward", 2), ("layers", 2), ("training", 2), ("backward", 2), ("rnn", 2)],
)
def test_ctrl_c_ends_a_long_call(kind, threads):
    result = subprocess.run(
        [sys.executable, "-c", LONG, kind, str(threads)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.stdout, result.stderr or "the call ended before the signal came"
    latency, same, ready = result.stdout.split()
    assert float(latency) < 10.0  # 0.05 on a machine with nothing else to do
    assert same == "True"
    assert ready == str(kind != "backward")  # a backward that was begun has used its tape


def long_call():
    """Make a call of half a second or more."""
    config = lc.LSTMConfig(1, 32)
    x = np.broadcast_to(np.float32(0.5), (32, 60_000, 1))
    _, state = F.lstm(x, F.init_weights(config, seed=0), config, return_sequences=False)
    return np.concatenate([state.h, state.c])


@pytest.fixture
def alarm():
    """Send SIGALRM every 20 ms; the handler is set by the test."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_handlers_that_return_run_in_the_middle_and_change_no_bit(alarm):
    expected = long_call()
    times = []
    inner = []

    def handler(number, frame):
        times.append(time.monotonic())
        if len(times) == 3:  # a handler may itself call the engine
            inner.append(F.lstm(np.ones((2, 3, 2), np.float32), weights, config)[0])

    config = lc.LSTMConfig(2, 3)
    weights = F.init_weights(config, seed=0)
    signal.signal(signal.SIGALRM, handler)
    alarm()
    longest = 0.0
    middle = []
    deadline = time.monotonic() + 60
    while len(times) < 3 and time.monotonic() < deadline:  # how long a call takes is the machine's
        began = time.monotonic()
        found = long_call()
        ended = time.monotonic()
        np.testing.assert_array_equal(found, expected)
        longest = max(longest, ended - began)
        middle += [at for at in times if began + 0.05 < at < ended - 0.05]
    signal.setitimer(signal.ITIMER_REAL, 0)
    np.testing.assert_array_equal(
        inner[0], F.lstm(np.ones((2, 3, 2), np.float32), weights, config)[0]
    )
    assert middle or longest < 0.25


def test_any_exception_of_a_handler_ends_the_call(alarm):
    class Enough(Exception):
        pass

    def handler(number, frame):
        signal.setitimer(signal.ITIMER_REAL, 0)  # the next one would end what catches this
        raise Enough

    expected = long_call()
    signal.signal(signal.SIGALRM, handler)
    alarm()
    try:
        with pytest.raises(Enough):
            long_call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    np.testing.assert_array_equal(long_call(), expected)


def test_calls_of_other_threads_go_on(alarm):
    expected = long_call()
    found = []
    caught = []

    def handler(number, frame):
        caught.append(threading.current_thread() is threading.main_thread())

    signal.signal(signal.SIGALRM, handler)
    thread = threading.Thread(target=lambda: found.append(long_call()))
    thread.start()
    alarm()
    thread.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    np.testing.assert_array_equal(found[0], expected)
    assert all(caught)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_forked_by_another_thread_is_interruptible():
    """The only thread of a forked child is its main thread."""
    outcome = []

    def fork():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                x = np.broadcast_to(np.float32(0.5), (32, 2_000_000, 1))
                config = lc.LSTMConfig(1, 32)
                F.lstm(x, F.init_weights(config, seed=0), config, return_sequences=False)
            finally:
                os._exit(code)
        outcome.append(os.waitpid(child, 0)[1])

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    assert outcome == [0]
