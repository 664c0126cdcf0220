"""In a process with PyTorch the engine runs on PyTorch's threads, whichever was imported first."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

PROGRAM = """
import os, sys, time
import numpy as np

if sys.argv[1] == "torch first":
    import torch
import lstmcore as lc
from lstmcore import functional as F

lc.set_num_threads(2)
config = lc.LSTMConfig(64, 128)
weights = F.init_weights(config, seed=0)
x = np.random.default_rng(0).standard_normal((48, 40, 64)).astype(np.float32)

def call():
    y, _, tape = F.lstm(x, weights, config, training=True)
    gradients = F.lstm_backward(tape, np.ones_like(y))
    return [y, gradients.x, *gradients.weights.values()]

before, provider = call(), lc.cpu_info().thread_provider
import torch
torch.mm(torch.ones(300, 300), torch.ones(300, 300))
time.sleep(0.1)  # the engine does not look for a runtime in every call
after = call()
assert all(np.array_equal(a, b) for a, b in zip(before, after))

child = os.fork()  # in which PyTorch's threads are missing
if child == 0:
    same = all(np.array_equal(a, b) for a, b in zip(before, call()))
    os._exit(0 if same and lc.cpu_info().thread_provider == "own pool" else 1)
assert os.waitpid(child, 0)[1] == 0
print(provider, "|", lc.cpu_info().thread_provider)
"""


BUSY = """
import os, subprocess, sys, time
import numpy as np
import torch

import lstmcore as lc
from lstmcore import functional as F

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
config = lc.LSTMConfig(128, 128)
weights = F.init_weights(config, seed=0)
x = np.ones((1, 2000, 128), np.float32)  # threads meet at every step

def processor_time(threads):
    lc.set_num_threads(threads)
    begin = time.process_time()
    for _ in range(8):
        F.lstm(x, weights, config)
    return time.process_time() - begin

loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
try:
    ratios = []
    for _ in range(5):
        one = processor_time(1)
        ratios.append(processor_time(2) / one)
finally:
    for loop in loops:
        loop.kill()
print(sorted(ratios)[2])
"""

MODES = """
import numpy as np
import torch

import lstmcore as lc
from lstmcore import functional as F

torch.set_num_threads(4)
lc.set_num_threads(4)
config = lc.LSTMConfig(64, 128)
F.lstm(np.ones((64, 20, 64), np.float32), F.init_weights(config, seed=0), config)
if lc.cpu_info().thread_provider.startswith("OpenMP ("):
    halves = torch.full((1 << 20,), 1e-39) * 0.5  # on threads that lstmcore's call has started
    assert (halves.view(torch.int32) != 0).all()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the engine looks for a runtime on Linux only")
@pytest.mark.parametrize("order", ["torch first", "lstmcore first"])
def test_the_engine_runs_on_the_threads_of_pytorch(order):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, order],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    before, after = result.stdout.strip().split(" | ")
    assert after.startswith("OpenMP (")
    assert before == (after if order == "torch first" else "own pool")


def test_threads_that_the_engine_starts_keep_subnormal_numbers_for_pytorch():
    subprocess.run([sys.executable, "-W", "ignore", "-c", MODES], check=True, timeout=120)


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two processors that the process can choose",
)
def test_two_threads_beside_busy_processes_cost_little_more_than_one():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUSY],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert float(result.stdout) < 1.6
