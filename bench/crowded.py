"""One thread and all threads beside processes that keep every processor busy."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

import lstmcore as lc
from bench.controller import available_cores
from lstmcore import functional as F

STEPS = (500, 5000)
FEATURES = HIDDEN = 128


def main(arguments: Sequence[str]) -> int:
    """Print wall and processor time of calls of one row, with all threads over one thread.

    The threads of such calls meet at every step, so that a busy processor makes them wait. Figures
    are ratios of means, and the slowest call with all threads.
    """
    parser = argparse.ArgumentParser(prog="python -m bench crowded", description=main.__doc__)
    parser.add_argument("--busy", type=int, default=len(available_cores()), help="busy processes")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each case and thread count")
    options = parser.parse_args(arguments)
    command = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(options.busy)]
    before = lc.get_num_threads()
    try:
        for steps in STEPS:
            for training in (False, True):
                print(_line(steps, training, options.seconds, before), flush=True)
    finally:
        lc.set_num_threads(before)
        for process in busy:
            process.kill()
            process.wait()
    return 0


def _line(steps: int, training: bool, seconds: float, threads: int) -> str:
    call = _call(steps, training)
    figures = []
    for count in (1, threads):
        lc.set_num_threads(count)
        figures.append(_measure(call, seconds))
    (one, one_cpu, _), (all_, all_cpu, worst) = figures
    name = f"{steps} steps, {'training' if training else 'inference'}"
    return (
        f"{name:22} wall {all_ / one:5.2f}  processor {all_cpu / one_cpu:5.2f}  "
        f"one thread {one * 1e3:.1f} ms  slowest {worst * 1e3:.0f} ms"
    )


def _call(steps: int, training: bool) -> Callable[[], object]:
    config = lc.LSTMConfig(FEATURES, HIDDEN)
    packed = F.pack(F.init_weights(config), config)
    x = np.random.default_rng(0).standard_normal((1, steps, FEATURES), dtype=np.float32)

    def train() -> object:
        y, _, tape = F.lstm(x, packed, training=True)
        return F.lstm_backward(tape, y)

    return train if training else lambda: F.lstm(x, packed)


def _measure(call: Callable[[], object], seconds: float) -> tuple[float, float, float]:
    """Return mean wall time, mean processor time and longest wall time of a call."""
    call()
    walls = []
    end, cpu = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        walls.append(time.perf_counter() - begin)
    return statistics.mean(walls), (time.process_time() - cpu) / len(walls), max(walls)
