"""Many processes: several that use lstmcore at once, and one beside busy loops."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

import lstmcore as lc
from bench.company import WAYS
from bench.shapes import DIRECTIONS
from bench.turns import seconds_of
from lstmcore import functional as F

Ratios = dict[str, list[float]]

clock = time.perf_counter


def layer(batch: int, steps: int, way: str, size: int = 128) -> Callable[[], Any]:
    """Return a call of a layer, one of `WAYS`; but for inference, forward and backward."""
    config = lc.LSTMConfig(size, size)
    packed = F.pack(F.init_weights(config), config)
    x = np.random.default_rng(0).standard_normal((batch, steps, size), dtype=np.float32)
    recompute: Literal["sqrt"] | None = "sqrt" if way == "recomputation" else None

    def train() -> Any:
        y, _, tape = F.lstm(x, packed, training=True, recompute=recompute)
        return F.lstm_backward(tape, y)

    return (lambda: F.lstm(x, packed)) if way == "inference" else train


class Copy:
    """A process that times the layer when told to."""

    def __init__(self, way: str) -> None:
        command = [sys.executable, "-m", "bench.company.crowds", way]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def begin(self, seconds: float) -> None:
        """Let it call the layer for `seconds`."""
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)

    def finish(self) -> float:
        """Return the seconds of a call."""
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def processes(rounds: int, turn: float) -> Ratios:
    """Compare two and eight processes at once, with default threads, with one alone."""
    found: Ratios = {}
    for direction in DIRECTIONS:
        copies = [Copy(direction) for _ in range(8)]
        try:
            _together(copies, turn)
            for count in (2, 8):
                name = f"{count}-processes-{direction}"
                found[name] = []
                for at in range(rounds):
                    alone = _together(copies[at % 8 :][:1], turn)
                    # Long enough that all run at once for most of the time.
                    found[name].append(_together(copies[:count], count * turn) / alone)
        finally:
            for copy in copies:
                copy.close()
    return found


def _together(copies: Sequence[Copy], seconds: float) -> float:
    """Return the mean time of a call, with all copies calling at once."""
    time.sleep(0.05)
    for copy in copies:
        copy.begin(seconds)
    return sum([copy.finish() for copy in copies]) / len(copies)


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep `count` processes busy."""
    command = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def thread_counts(
    call: Callable[[], Any], rounds: int, turn: float
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return wall and processor time of a call, on one thread and on all, for each round."""
    before = lc.get_num_threads()
    table = []
    try:
        for at in range(rounds):
            row = {}
            for count in (1, before) if at % 2 else (before, 1):
                lc.set_num_threads(count)
                call()
                row[count] = _wall_and_processor(call, turn)
            table.append((row[1], row[before]))
    finally:
        lc.set_num_threads(before)
    return table


def _wall_and_processor(call: Callable[[], Any], turn: float) -> tuple[float, float]:
    calls = 0

    def counted() -> None:
        nonlocal calls
        call()
        calls += 1

    processor = time.process_time()
    wall = seconds_of(counted, turn)
    return wall, (time.process_time() - processor) / calls


def crowded(rounds: int, turn: float) -> Ratios:
    """Compare all threads with one beside busy loops, on one row, whose steps threads share."""
    found: Ratios = {}
    for busy in (1, 2):
        with busy_loops(busy):
            for way in WAYS:
                call = layer(1, 500, way)
                table = thread_counts(call, rounds, max(turn, 0.2))
                for at, figure in enumerate(("wall", "processor")):
                    name = f"crowded-{busy}-{way}-{figure}"
                    found[name] = [all_[at] / one[at] for one, all_ in table]
    return found


def main() -> None:
    """Time the layer for as long as each line of the input says."""
    call = layer(32, 100, sys.argv[1])
    for line in sys.stdin:
        print(seconds_of(call, float(line)), flush=True)


if __name__ == "__main__":
    main()
