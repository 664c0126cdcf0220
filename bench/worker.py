"""The process of one peer: reads requests, one JSON object per line, and answers them.

Requests: ``{"do": "hello"}``, ``{"do": "prepare", "case": ...}``, ``{"do": "warm", "seconds": s}``,
``{"do": "time", "calls": n, "before": m}``, ``{"do": "memory", "case": ...}`` (in a fresh process
only) and ``{"do": "quit"}``. Between requests it only waits.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from time import perf_counter
from typing import Any, Protocol

from bench import memory
from bench.runners import Prepared, Runner, Unsupported
from bench.shapes import Case, smaller


def module_name(peer: str) -> str:
    """Return the name of the module in `bench.runners` that runs `peer`."""
    return peer.replace("-", "_")


class Answering(Protocol):
    """Carries out requests."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request; ``error`` in it says why there is none."""


class Worker:
    """Answers requests with one peer.

    Parameters
    ----------
    peer : str
        Its name.
    threads : int
        Number of threads that it may use.
    """

    def __init__(self, peer: str, threads: int) -> None:
        module: Any = import_module(f"bench.runners.{module_name(peer)}")
        self.runner: Runner = module.load(threads)
        self.prepared: Prepared | None = None
        self.call: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request."""
        actions: dict[str, Callable[[], dict[str, Any]]] = {
            "hello": lambda: {"versions": self.runner.versions()},
            "prepare": lambda: self.prepare(Case.from_json(request["case"])),
            "warm": lambda: self.warm(request["seconds"]),
            "time": lambda: self.time(request["calls"], request["before"]),
            "memory": lambda: self.memory(Case.from_json(request["case"])),
        }
        try:
            return actions[request["do"]]()
        except Unsupported as reason:
            return {"unsupported": str(reason)}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def prepare(self, case: Case) -> dict[str, Any]:
        """Prepare the case and return the sums of its results."""
        self.prepared = self.call = None
        gc.collect()
        self.prepared = self.runner.prepare(case)
        return {"digest": self.prepared.digest(), "facts": self.prepared.facts()}

    def warm(self, seconds: float) -> dict[str, Any]:
        """Run every variant for about `seconds` and choose the fastest."""
        assert self.prepared is not None
        times: dict[str, float] = {}
        failures: list[str] = []
        for name, call in self.prepared.variants.items():
            try:
                call()
                times[name] = _settled(call, seconds)
            except Exception as error:
                failures.append(f"{name}: {type(error).__name__}: {error}")
        if not times:
            raise RuntimeError("; ".join(failures))
        variant = min(times, key=times.__getitem__)
        self.call = self.prepared.variants[variant]
        return {"seconds": times[variant], "variant": variant, "failures": failures}

    def time(self, calls: int, before: int) -> dict[str, Any]:
        """Time `calls` calls after `before` untimed ones that fill the caches again."""
        call = self.call
        for _ in range(before):
            call()
        enabled = gc.isenabled()
        gc.disable()
        try:
            rounds = range(calls)
            start = perf_counter()
            for _ in rounds:
                call()
            seconds = perf_counter() - start
        finally:
            if enabled:
                gc.enable()
        return {"seconds": seconds / calls}

    def memory(self, case: Case) -> dict[str, Any]:
        """Return the growth of the resident memory at its peak during the first full call."""
        small = self.runner.prepare(smaller(case))
        next(iter(small.variants.values()))()
        prepared = self.runner.prepare(case)
        call = next(iter(prepared.variants.values()))
        return {"bytes": memory.peak_growth(call)}


def _settled(call: Any, seconds: float) -> float:
    """Return the seconds of the fastest call after the first ones."""
    best = float("inf")
    end = perf_counter() + seconds
    for _ in range(100_000):
        start = perf_counter()
        call()
        stop = perf_counter()
        best = min(best, stop - start)
        if stop > end:
            break
    return best


def serve(make: Callable[[], Answering], cores: str) -> None:
    """Answer the requests of the standard input by the object that `make` returns, until it ends.

    `cores` are the processors that this process is pinned to, with commas.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    # Keep the output of libraries out of the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        answering = make()
    except Exception as error:
        print(json.dumps({"absent": f"{type(error).__name__}: {error}"}), file=answers)
        return
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            break
        print(json.dumps(answering.answer(request)), file=answers)
    # Some runtimes crash when they shut down; nothing remains to be saved.
    answers.flush()
    os._exit(0)


def main() -> None:
    """Be the process of one peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cores", required=True)
    arguments = parser.parse_args()
    serve(lambda: Worker(arguments.peer, arguments.threads), arguments.cores)


if __name__ == "__main__":
    main()
