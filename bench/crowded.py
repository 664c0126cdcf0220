"""One thread and all threads beside processes that keep every processor busy."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

from bench.company import WAYS
from bench.company.crowds import busy_loops, layer, thread_counts
from bench.controller import available_cores

CASES = ((1, 500), (1, 5000), (8, 20), (32, 30))
"""Rows and steps of the calls."""


def main(arguments: Sequence[str]) -> int:
    """Print wall and processor time of calls, with all threads over one thread.

    Threads that share a row meet at every step, and short calls end before a thread that is not run
    begins, so that a busy processor makes them wait. Figures are medians of the ratios of turns,
    and the slowest turn's mean call with all threads.
    """
    parser = argparse.ArgumentParser(prog="python -m bench crowded", description=main.__doc__)
    add = parser.add_argument
    add("--busy", type=int, default=len(available_cores()), help="busy processes")
    add("--rounds", type=int, default=10, help="turns of each case and thread count")
    add("--turn", type=float, default=0.3, help="seconds that a turn lasts at least")
    options = parser.parse_args(arguments)
    with busy_loops(options.busy):
        for rows, steps in CASES:
            for way in WAYS:
                call = layer(rows, steps, way)
                table = thread_counts(call, options.rounds, options.turn)
                wall = statistics.median(all_[0] / one[0] for one, all_ in table)
                processor = statistics.median(all_[1] / one[1] for one, all_ in table)
                one = statistics.median(one[0] for one, _ in table)
                slowest = max(all_[0] for _, all_ in table)
                print(
                    f"{f'{rows} x {steps}, {way}':25} wall {wall:5.2f}  "
                    f"processor {processor:5.2f}  one thread {one * 1e3:.1f} ms  "
                    f"slowest {slowest * 1e3:.0f} ms",
                    flush=True,
                )
    return 0
