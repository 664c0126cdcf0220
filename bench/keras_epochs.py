"""What `lstmcore.keras.accelerate` gains in an epoch of `fit`, on each of Keras' backends.

Keras with and without it are two processes in the environment of the backend, which take turns.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any, NamedTuple

from bench import environments, worker

BACKENDS = {"torch": "keras-torch", "tensorflow": "keras", "jax": "keras-jax"}
"""Keras' backends, and the peers whose environments have them."""

SIZES = ("32x30x8x16", "32x20x1x32", "32x50x32x64", "32x100x16x64", "32x100x64x128")
BATCHES = 4
"""Of an epoch."""
LAYERS = 2
SETTLE = 0.1
"""Seconds of rest before a turn, in which the threads of the other process fall asleep."""


class Size(NamedTuple):
    """Of a model and its batches."""

    batch: int
    steps: int
    features: int
    units: int

    @staticmethod
    def parse(text: str) -> Size:
        """Return the size that a text such as 32x30x8x16 stands for."""
        try:
            size = Size(*map(int, text.split("x")))
        except (TypeError, ValueError):
            size = Size(0, 0, 0, 0)
        if min(size) < 1:
            raise argparse.ArgumentTypeError(
                f"expected BATCHxSTEPSxFEATURESxUNITS, such as {SIZES[0]}, got {text}"
            )
        return size


class Trainer:
    """Trains models of Keras, with or without `accelerate`, and answers requests.

    They are ``{"do": "hello"}``, ``{"do": "prepare", "size": [...]}``, which makes the model and
    trains two epochs, and ``{"do": "time", "epochs": n}``.
    """

    def __init__(self, engine: bool) -> None:
        self._keras: Any = import_module("keras")
        self._bridge: Any = import_module("lstmcore.keras")
        self.acceleration = self._bridge.accelerate() if engine else None
        self._fit: Callable[[int], Any] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request."""
        actions: dict[str, Callable[[], dict[str, Any]]] = {
            "hello": self._hello,
            "prepare": lambda: self._prepare(Size(*request["size"])),
            "time": lambda: self._time(request["epochs"]),
        }
        try:
            return actions[request["do"]]()
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _hello(self) -> dict[str, Any]:
        backend = self._keras.backend.backend()
        library = import_module(backend)
        return {"versions": {"Keras": self._keras.__version__, backend: library.__version__}}

    def _prepare(self, size: Size) -> dict[str, Any]:
        import numpy as np

        layers = self._keras.layers
        self._keras.utils.set_random_seed(0)
        model = self._keras.Sequential(
            [
                self._keras.Input((size.steps, size.features)),
                *(
                    layers.LSTM(size.units, return_sequences=layer < LAYERS - 1)
                    for layer in range(LAYERS)
                ),
                layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        shape = (BATCHES * size.batch, size.steps, size.features)
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        y = x.mean(axis=(1, 2))

        def fit(epochs: int) -> Any:
            return model.fit(x, y, batch_size=size.batch, epochs=epochs, verbose=0)

        before = sum(self._bridge.accelerated_calls().engine.values())
        losses = fit(2).history["loss"]  # the first epoch compiles
        calls = sum(self._bridge.accelerated_calls().engine.values()) - before
        self._fit = fit
        return {"losses": losses, "calls": calls}

    def _time(self, epochs: int) -> dict[str, Any]:
        assert self._fit is not None
        begin = time.perf_counter()
        self._fit(epochs)
        return {"seconds": (time.perf_counter() - begin) / epochs}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench keras-epochs", description=main.__doc__)
    add = parser.add_argument
    add("sizes", nargs="*", metavar="BATCHxSTEPSxFEATURESxUNITS", type=Size.parse)
    add("--backend", choices=BACKENDS, action="append", help="may be repeated (default: all)")
    add("--threads", type=int, help="processors of a process (default: all)")
    add("--rounds", type=int, default=11, help="turns of each")
    add("--turn", type=float, default=0.2, help="seconds that a turn lasts at least, about")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Print the time of an epoch without `accelerate`, that with it, and their ratio (medians).

    An epoch has four batches; the model has two LSTM layers. Each backend is in the environment of
    its peer, which `python -m bench install pytorch tensorflow jax` makes.
    """
    options = _parse(arguments)
    sizes = options.sizes or [Size.parse(text) for text in SIZES]
    failed = False
    for backend in options.backend or BACKENDS:
        failed |= _measure(backend, sizes, options)
    return int(failed)


def _measure(backend: str, sizes: Sequence[Size], options: argparse.Namespace) -> bool:
    """Measure and print one backend; return whether anything failed."""
    from bench import report
    from bench.controller import Process, available_cores

    peer = BACKENDS[backend]
    cores = ",".join(map(str, available_cores()[: options.threads]))
    command = [str(environments.interpreter(peer)), "-m", "bench.keras_epochs"]
    with ExitStack() as stack:
        plain, ours = (
            stack.enter_context(Process([*command, way, cores], environments.in_company(peer)))
            for way in ("keras", "engine")
        )
        if absent := plain.absent or ours.absent:
            print(f"{backend}: {absent}")
            return True
        versions = ", ".join(f"{name} {version}" for name, version in ours.versions.items())
        print(f"{versions}; processors: {cores}; turns: {options.rounds}", flush=True)
        table = [["", "Keras", "with accelerate", "ratio"]]
        failed = False
        for size in sizes:
            name = "x".join(map(str, size))
            try:
                pairs = epochs(plain, ours, size, options.rounds, options.turn)
            except RuntimeError as error:
                print(f"{name}: {error}")
                failed = True
                continue
            times = [
                report.duration(statistics.median(seconds)) for seconds in zip(*pairs, strict=True)
            ]
            ratio = statistics.median(one / other for one, other in pairs)
            table.append([name, *times, f"{ratio:.2f}"])
        print(report.plain(table), end="", flush=True)
    return failed


def epochs(
    plain: Any, ours: Any, size: Size, rounds: int, turn: float
) -> list[tuple[float, float]]:
    """Return the seconds of an epoch of both processes, for each round.

    Raises
    ------
    RuntimeError
        If a process fails, the losses differ, or the engine does not compute all layers.
    """
    answers = [_ask(process, do="prepare", size=size) for process in (plain, ours)]
    for loss, other in zip(*(answer["losses"] for answer in answers), strict=True):
        if not math.isclose(loss, other, rel_tol=1e-3):
            raise RuntimeError(f"expected Keras' loss {loss}, got {other} with accelerate")
    if answers[0]["calls"] or answers[1]["calls"] < 2 * BATCHES * LAYERS:
        raise RuntimeError(f"the engine computed {answers[1]['calls']} calls with accelerate")
    warm = min(_ask(process, do="time", epochs=2)["seconds"] for process in (plain, ours))
    count = max(1, round(turn / warm))
    pairs = []
    for round_ in range(rounds):
        times = [0.0, 0.0]
        for which in (0, 1) if round_ % 2 else (1, 0):
            time.sleep(SETTLE)
            times[which] = _ask((plain, ours)[which], do="time", epochs=count)["seconds"]
        pairs.append((times[0], times[1]))
    return pairs


def _ask(process: Any, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = process.ask(**request)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


if __name__ == "__main__":
    import sys

    way, cores = sys.argv[1:]
    worker.serve(lambda: Trainer(way == "engine"), cores)
