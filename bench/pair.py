"""Two builds of lstmcore take turns: what did a change cost?"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import grids, report, shapes
from bench.controller import Peer, available_cores
from bench.environments import OWN
from bench.settings import Settings

DEFAULT_GRID = "cells,options,stream-16,stream-64,call-overhead,cell-steps,training-step"


def main(arguments: Sequence[str]) -> int:
    """Print, for every case, the time of the second package over that of the first.

    The speed of a machine changes from one second to the next, so the figure of a case is the
    median of the ratios of neighbouring turns. The two take turns at going first.
    """
    parser = argparse.ArgumentParser(prog="python -m bench pair", description=main.__doc__)
    add = parser.add_argument
    add("before", type=Path, help="folder that holds the package lstmcore of one build")
    add("after", type=Path, help="the same for the other build")
    add("--grid", default=DEFAULT_GRID)
    add("--threads", type=int, default=len(available_cores()))
    add("--repeats", type=int, default=15, help="turns of each build")
    add("--turn", type=float, default=0.05, help="shortest duration of a turn in seconds")
    add("--isa")
    add("--limit", type=float, default=1.02, help="ratio above which a case is marked")
    options = parser.parse_args(arguments)
    for folder in (options.before, options.after):
        if not (folder / OWN).is_dir():
            parser.error(f"expected a folder that holds {OWN}/, got {folder}")
    choice = grids.Choice([options.threads])
    cases = choice.cases(grids.select(options.grid))
    settings = Settings(isa=options.isa)
    rows = []
    with ExitStack() as stack:
        both = []
        for folder in (options.before, options.after):
            cores = available_cores()[: options.threads]
            peer = Peer(OWN, options.threads, cores, settings, folder.resolve())
            both.append(stack.enter_context(peer))
            if peer.absent:
                print(f"{folder}: {peer.absent}", file=sys.stderr)
                return 1
        for case in cases:
            if case.shape.precisions or case.shape.int8:
                continue
            ratios = _ratios(both, case, options.turn, options.repeats)
            ratio = statistics.median(ratios)
            rows.append((case, ratio))
            mark = "  <--" if ratio > options.limit else ""
            low, _, high = statistics.quantiles(ratios, n=4)
            print(f"{case.key:55} {ratio:6.3f}  ({low:.3f} to {high:.3f}){mark}", flush=True)
    over = [[case.key, f"{ratio:.3f}"] for case, ratio in rows if ratio > options.limit]
    print(f"geometric mean {statistics.geometric_mean(ratio for _, ratio in rows):.3f}")
    if over:
        print(report.plain([["slower", "after / before"], *over]), end="")
    return int(bool(over))


def _ratios(both: Sequence[Peer], case: shapes.Case, turn: float, repeats: int) -> list[float]:
    """Return the ratio of the second build's time to the first's, for each round."""
    seconds = []
    for peer in both:
        peer.ask(do="prepare", case=case.to_json())
        answer = peer.ask(do="warm", seconds=0.2)
        if "seconds" not in answer:
            raise RuntimeError(f"{case.key}: {answer}")
        seconds.append(answer["seconds"])
    calls = max(1, round(turn / min(seconds)))
    ratios = []
    for repeat in range(repeats):
        times = [0.0, 0.0]
        for which in (0, 1) if repeat % 2 else (1, 0):
            # Long enough for the threads of the other build to fall asleep.
            time.sleep(0.02)
            times[which] = both[which].ask(do="time", calls=calls, before=1 + calls // 10)[
                "seconds"
            ]
        ratios.append(times[1] / times[0])
    return ratios
