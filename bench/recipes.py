"""What the recipes of docs/distributed.md cost: DDP for a step, pools of processes for a task."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import lstmcore as lc
from bench.distributed import median_of

UNITS, ROWS, STEPS, FEATURES = 128, 256, 50, 64  # of a model in DDP, and of its batch
TASKS = 40
PARTITION = 200  # rows
BACKENDS = {"loky": "joblib", "dask": "distributed", "ray": "ray"}
"""Of joblib, with the package that each needs."""


# ---- DDP ----------------------------------------------------------------------------------------


def ddp_step(rounds: int) -> dict[str, float]:
    """Time a step of this process among others of `torchrun`, with and without them."""
    import torch
    from torch import distributed

    import lstmcore.torch as lt

    distributed.init_process_group("gloo")
    lc.set_num_threads(1)
    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = lt.LSTM(FEATURES, UNITS, batch_first=True)
            self.head = torch.nn.Linear(UNITS, 1)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    x = torch.randn(ROWS // distributed.get_world_size(), STEPS, FEATURES)

    def timed(net: Any) -> float:
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)

        def step() -> None:
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()

        step()
        distributed.barrier()
        return median_of(step, rounds)

    net = Net()
    alone = timed(net)
    together = timed(torch.nn.parallel.DistributedDataParallel(net))
    size = sum(weight.numel() for weight in net.parameters())
    distributed.destroy_process_group()
    return {"alone": alone, "together": together, "parameters": size}


def ddp(rounds: int) -> None:
    """Print what DDP adds to a step."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "bench", "recipes", "--worker", "--rounds", str(rounds)]
    ended = subprocess.run(
        [sys.executable, *launcher, *program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    alone, together = (
        max(json.loads(line)[name] for line in lines) * 1e3 for name in ("alone", "together")
    )
    print(
        f"DDP, 2 processes of one thread, {json.loads(lines[0])['parameters']:,} parameters, "
        f"{ROWS // 2} x {STEPS} each: a step {together:.1f} ms, without exchange {alone:.1f} ms",
        flush=True,
    )


# ---- pools of processes -------------------------------------------------------------------------


def nothing(number: int) -> int:
    """Do nothing, as a task."""
    return number


def pools(rounds: int) -> None:
    """Print how long each pool of joblib takes to begin, and for a task that does nothing."""
    joblib: Any = import_module("joblib")

    for backend, package in BACKENDS.items():
        if find_spec(package) is None:
            print(f"{backend}: {package} is not installed")
            continue
        begin = time.perf_counter()
        if backend == "dask":
            client = import_module("distributed").Client(
                n_workers=2, threads_per_worker=1, dashboard_address=None
            )
        if backend == "ray":
            import_module("ray.util.joblib").register_ray()

        def call(backend: str = backend) -> None:
            with joblib.parallel_config(backend, n_jobs=2):
                joblib.Parallel()(joblib.delayed(nothing)(number) for number in range(TASKS))

        call()
        started = time.perf_counter() - begin
        each = median_of(call, rounds) / TASKS * 1e3
        print(f"{backend}: ready after {started:.1f} s, then {each:.1f} ms a task", flush=True)
        if backend == "dask":
            client.close()


MODELS: dict[str, lc.Sequential] = {}


def predict(x: Any, path: str) -> Any:
    """Predict a partition; a worker loads the model once."""
    if path not in MODELS:
        lc.set_num_threads(1)
        MODELS[path] = lc.Sequential.load(path)
    return MODELS[path].predict(x, verbose=0)


def partitions(rounds: int, folder: Path) -> None:
    """Print what Dask adds to the predictions for a partition."""
    if find_spec("distributed") is None:
        return
    client_of: Any = import_module("distributed").Client
    path = str(folder / "model.safetensors")
    model = lc.Sequential(
        [lc.layers.Input((None, FEATURES)), lc.layers.LSTM(UNITS), lc.layers.Dense(1)]
    )
    model.save(path)
    x = np.random.default_rng(0).standard_normal((PARTITION, STEPS, FEATURES)).astype(np.float32)
    load = median_of(lambda: lc.Sequential.load(path), rounds)
    predict(x, path)
    direct = median_of(lambda: predict(x, path), rounds)
    with client_of(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        data = client.scatter(x)

        def call() -> object:
            return client.submit(predict, data, path, pure=False).result()

        call()
        remote = median_of(call, rounds)
    print(
        f"a partition of {PARTITION} x {STEPS}: {direct * 1e3:.1f} ms in this process, "
        f"{remote * 1e3:.1f} ms by Dask; loading the file once {load * 1e3:.1f} ms"
    )


def main(arguments: Sequence[str]) -> int:
    """Print what DDP adds to a step, and what pools of processes cost."""
    import tempfile

    parser = argparse.ArgumentParser(prog="python -m bench recipes", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(ddp_step(options.rounds)), flush=True)
        return 0
    ddp(options.rounds)
    pools(options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        partitions(options.rounds, Path(folder))
    return 0
