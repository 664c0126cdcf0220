"""Signals reach Python in the middle of a long call, on its main thread, without loss."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

# Sends a signal in the middle of a call.
SENDING = """
import os, signal, sys, threading, time
import numpy as np
import lstmcore as lc
from lstmcore import _core, functional as F

signal.signal(signal.SIGINT, signal.default_int_handler)
kind, threads = sys.argv[1], int(sys.argv[2])
lc.set_num_threads(threads)

def latency_of(call):
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.2, interrupt).start()
    try:
        while True:  # on a fast machine, a call may end before the signal comes
            call()
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
"""

# Calls of several seconds, and more on a slow machine.
LONG = (
    SENDING
    + """
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
    "layers": lambda: F.lstm(x[:, :400_000], packed, return_sequences=False),
    "training": lambda: F.lstm(x[:, :150_000], packed, **storing),
    "backward": lambda: F.lstm_backward(tape, None, state),
    "rnn": lambda: F.rnn(x, rnn, return_sequences=False),
}
latency = latency_of(calls[kind])
after, _ = F.lstm(probe, packed)
print(latency, np.array_equal(before, after), tape.ready)
"""
)

# Calls that long with at most 1.3 GB, for which `MEMORY` must be left. What reads its arrays once,
# such as norms, dropout, embedding and most losses, would need too much memory for that;
# test_interrupt.cpp has all operations.
MEMORY = 3_000_000_000
LONG_OPERATIONS = {
    "dense": (
        'lambda x, kernel: _core.dense_forward(x, kernel, None, "linear")',
        [(20_000, 8_000), (8_000, 6_000)],
    ),
    "dense_backward": (
        'lambda x, kernel, dy: _core.dense_backward(x, kernel, dy, dy, "linear", True,'
        " np.empty_like(kernel), None)",
        [(10_000, 8_000), (8_000, 6_000), (10_000, 6_000)],
    ),
    "conv1d": (
        'lambda x, kernel: _core.conv1d_forward(x, None, kernel, None, 1, "valid", 1, "linear")',
        [(1, 400_000, 1), (200_000, 1, 64)],
    ),
    "conv1d_backward": (
        'lambda x, kernel, dy: _core.conv1d_backward(x, None, kernel, dy, dy, 1, "valid", 1,'
        ' "linear", False, np.empty_like(kernel), None)',
        [(1, 400_000, 1), (200_000, 1, 64), (1, 200_001, 64)],
    ),
    "packed_conv1d": (
        "lambda x, kernel: _core.PackedConv1d(kernel).forward(x)",
        [(1, 400_000, 1), (200_000, 1, 64)],
    ),
    "max_pool1d": (
        'lambda x: _core.max_pool1d_forward(x, None, x.shape[1] // 10, 1, "valid")',
        [(1, 1_000_000, 1)],
    ),
    "attention": (
        "lambda x, v: _core.attention_forward(x, x, x, v, 1.0, None, None)",
        [(1, 10_000, 500), (500,)],
    ),
    "attention_backward": (
        "lambda x, v, weights: _core.attention_backward(x, x, x, v, 1.0, None, None, weights, x,"
        " np.empty_like(v))",
        [(1, 8_000, 500), (500,), (1, 8_000, 8_000)],
    ),
    "ctc": (
        "lambda x: _core.ctc(x, None, np.ones((1, x.shape[1] // 1000), np.int64),"
        " np.array([x.shape[1] // 1000]), 0, None, False, 1.0, False)",
        [(1, 1_000_000, 2)],
    ),
}
OPERATION = (
    SENDING
    + """
operation, shapes = eval(sys.argv[3]), eval(sys.argv[4])
arrays = [np.full(shape, 0.01, np.float32) for shape in shapes]
few = [
    np.full([n if n < 100 else n // 1000 + 1 for n in shape], 0.01, np.float32) for shape in shapes
]

def results():
    found = operation(*few)
    return [np.array(each) for each in (found if isinstance(found, tuple) else (found,))]

before = results()
latency = latency_of(lambda: operation(*arrays))
print(latency, all(np.array_equal(*pair) for pair in zip(before, results(), strict=True)))
"""
)


def output_of(script, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.stdout, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize(
    ("kind", "threads"),
    [("forward", 1), ("forward", 2), ("layers", 2), ("training", 2), ("backward", 2), ("rnn", 2)],
)
def test_ctrl_c_ends_a_long_call(kind, threads):
    latency, same, ready = output_of(LONG, kind, threads)
    assert float(latency) < 10.0  # 0.05 on a machine with nothing else to do
    assert same == "True"
    assert ready == str(kind != "backward")  # a backward that was begun has used its tape


def memory_left():
    """Return how many bytes programs may still take; `MEMORY` where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return MEMORY
    found = re.search(r"^MemAvailable: *(\d+) kB$", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else MEMORY


# Forward on the calling thread, backward on two.
@pytest.mark.parametrize(
    ("kind", "threads"), [(kind, 1 + kind.endswith("backward")) for kind in LONG_OPERATIONS]
)
def test_ctrl_c_ends_a_long_operation(kind, threads):
    if memory_left() < MEMORY:
        pytest.skip(f"{kind}: expected {MEMORY:,} bytes of memory, got {memory_left():,}")
    latency, same = output_of(OPERATION, kind, threads, *LONG_OPERATIONS[kind])
    assert float(latency) < 10.0
    assert same == "True"


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
