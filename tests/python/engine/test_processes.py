"""The engine in processes that fork, run out of memory or request many threads."""

import os
import subprocess
import sys

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F

CONFIG = lc.LSTMConfig(64, 256)


def large_call():
    """Run a call that is large enough for a team of threads."""
    x = np.random.default_rng(0).standard_normal((48, 40, 64))
    y, _ = F.lstm(x, F.init_weights(CONFIG, dtype="float64"), CONFIG)
    return y


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_computes_the_same_bits():
    before = large_call()  # starts a team of threads, which the child will not have
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"same" if np.array_equal(large_call(), before) else b"other")
        os._exit(0)
    os.close(writing)
    try:
        assert os.read(reading, 16) == b"same"
    finally:
        os.close(reading)
        os.waitpid(child, 0)


OUT_OF_MEMORY = """
import resource
import numpy as np
import lstmcore as lc
from lstmcore import functional as F

config = lc.LSTMConfig(64, 256)
weights = F.init_weights(config)
x = np.zeros((64, 40, 64), np.float32)
F.lstm(x, weights, config)  # the team and its stacks exist from here on
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
long = np.broadcast_to(np.float32(0), (64, 20_000, 64))
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), used + (100 << 20)))
try:
    F.lstm(long, weights, config, return_sequences=False, training=True)
except MemoryError:
    y, _ = F.lstm(x, weights, config)  # still works
    print("MemoryError", y.shape)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")
def test_lack_of_memory_raises_memory_error():
    result = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "MemoryError (64, 40, 256)", result.stderr


@pytest.mark.parametrize("count", [0, -1, 1025, 2**40])
def test_unreasonable_thread_counts_are_refused(count):
    before = lc.get_num_threads()
    with pytest.raises(ValueError, match=r"count: expected 1 to 1024 threads, got"):
        lc.set_num_threads(count)
    assert lc.get_num_threads() == before


DAEMONS = """
import threading, time
import numpy as np
import lstmcore as lc
from lstmcore import functional as F

config = lc.LSTMConfig(64, 128)
weights = F.init_weights(config, seed=0)

def compute():
    x = np.ones((48, 20, 64), np.float32)
    while True:
        F.lstm(x, weights, config)

for _ in range(4):
    threading.Thread(target=compute, daemon=True).start()
time.sleep(0.3)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_the_interpreter_ends_while_daemon_threads_compute(threads):
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-c", DAEMONS], check=True, timeout=120, env=environment)
