"""What a meeting of two threads takes, without work in between, for pairs of processors."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence

from bench import native, report
from bench.controller import available_cores

MOST_PAIRS = 8


def main(arguments: Sequence[str]) -> int:
    """Print the nanoseconds per meeting of two threads: the fastest, the median and the slowest.

    Each figure is what the engine measures for itself before two threads share a walk: the fastest
    of a few short rounds. Measurements are 20 ms apart, since the host of a virtual machine may
    move its processors. The first processor meets each of the others, up to eight.
    """
    parser = argparse.ArgumentParser(prog="python -m bench meeting", description=main.__doc__)
    add = parser.add_argument
    add("--measurements", type=int, default=100, help="for each pair of processors")
    options = parser.parse_args(arguments)
    cores = available_cores()
    if options.measurements < 1:
        parser.error(f"--measurements: expected at least 1, got {options.measurements}")
    if len(cores) < 2:
        parser.error(f"expected two processors that this process may use, got {len(cores)}")
    try:
        native.build()
    except native.NotBuilt as error:
        print(f"the C++ program could not be built: {error}", file=sys.stderr)
        return 1
    pinned = hasattr(os, "sched_setaffinity")
    pairs = [[cores[0], other] for other in cores[1 : MOST_PAIRS + 1]] if pinned else [cores]
    table = [["processors", "fastest", "median", "slowest", "not together"]]
    for pair in pairs:
        found = _measure(pair, cores, options.measurements)
        table.append([" and ".join(map(str, pair)) if pinned else "any", *_row(found)])
    print(report.plain(table), end="")
    return 0


def _measure(pair: Sequence[int], cores: Sequence[int], measurements: int) -> list[int]:
    """Return the nanoseconds per meeting of threads on `pair`; 0 where they did not run at once."""
    if not hasattr(os, "sched_setaffinity"):
        return _program(measurements)
    os.sched_setaffinity(0, pair)  # the program inherits it
    try:
        return _program(measurements)
    finally:
        os.sched_setaffinity(0, cores)


def _program(measurements: int) -> list[int]:
    found: list[int] = native.run_json("meeting", [str(measurements)]).get("nanoseconds", [])
    return found


def _row(found: Sequence[int]) -> list[str]:
    """Return the figures of a pair, and how often its threads did not run at the same time."""
    measured = [nanoseconds for nanoseconds in found if nanoseconds]
    if not measured:
        return ["-", "-", "-", str(len(found))]
    figures = (min(measured), statistics.median_low(measured), max(measured))
    return [*(f"{figure} ns" for figure in figures), str(len(found) - len(measured))]
