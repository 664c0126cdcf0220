"""Calls that take turns in one process, so that the machine's changing speed affects all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

Call = Callable[[], object]


def seconds_of(call: Call, turn: float) -> float:
    """Return the seconds of a call, from as many calls as fit into `turn` seconds, at least one."""
    calls = 0
    begin = time.perf_counter()
    while True:
        call()
        calls += 1
        elapsed = time.perf_counter() - begin
        if elapsed >= turn:
            return elapsed / calls


def alternate(
    calls: Sequence[Call], rounds: int, turn: float, settle: float = 0.0
) -> list[list[float]]:
    """Return the seconds of each call in each round.

    A different call begins each round. `settle` seconds of rest before each turn let the threads
    of the last one fall asleep.
    """
    for call in calls:
        call()
    table = []
    for at in range(rounds):
        row = [0.0] * len(calls)
        first = at % len(calls)
        for which in (*range(first, len(calls)), *range(first)):
            time.sleep(settle)
            row[which] = seconds_of(calls[which], turn)
        table.append(row)
    return table


def ratios(call: Call, other: Call, rounds: int, turn: float, settle: float = 0.0) -> list[float]:
    """Return the time of `call` over that of `other`, for each round."""
    return [first / second for first, second in alternate((call, other), rounds, turn, settle)]
