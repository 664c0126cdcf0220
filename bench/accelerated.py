"""What `lstmcore.torch.accelerate` gains: PyTorch's time over that with it, in turns."""

from __future__ import annotations

import argparse
import importlib
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import report


def _of_others(name: str, **sizes: Any) -> Callable[[], Callable[[], Any]]:
    def prepare() -> Callable[[], Any]:
        make = getattr(importlib.import_module("bench.models_of_others"), name)
        work: Callable[[], Any] = make(**sizes)
        return work

    return prepare


def _cells(inputs: int, hidden: int, rows: int) -> Callable[[], Callable[[], Any]]:
    def prepare() -> Callable[[], Any]:
        import torch

        cell = torch.nn.LSTMCell(inputs, hidden)
        x = torch.randn(rows, inputs)

        def steps() -> Any:
            h, c = torch.zeros(2, rows, hidden)
            with torch.no_grad():
                for _ in range(500):
                    h, c = cell(x, (h, c))
            return h

        return steps

    return prepare


def _autocast(hidden: int, training: bool) -> Callable[[], Callable[[], Any]]:
    def prepare() -> Callable[[], Any]:
        import torch

        lstm, x = torch.nn.LSTM(hidden, hidden), torch.randn(60, 32, hidden)

        def calls() -> None:
            for _ in range(10):
                with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16):
                    y = lstm(x)[0]
                if training:
                    y.float().sum().backward()

        return calls

    return prepare


WORKS: dict[str, Callable[[], Callable[[], Any]]] = {
    "resemblyzer": _of_others("resemblyzer"),
    "lightning": _of_others("lightning"),
    "recurrent_ppo": _of_others("recurrent_ppo", steps=1024),
    **{
        f"cell-{rows}x{inputs}x{hidden}": _cells(inputs, hidden, rows)
        for inputs, hidden in ((16, 32), (64, 128), (256, 256))
        for rows in (1, 8)
    },
    **{
        f"autocast-{hidden}-{'training' if training else 'inference'}": _autocast(hidden, training)
        for hidden in (64, 128, 256, 512)
        for training in (False, True)
    },
}
"""What is timed, by name: functions that prepare it and return what to call."""


def main(arguments: Sequence[str]) -> int:
    """Print PyTorch's time for each work, that with `accelerate`, and their ratio (medians).

    It needs PyTorch in the running Python, and for models of other libraries their packages, which
    `make test-models-of-others` installs into build/nightly.
    """
    parser = argparse.ArgumentParser(prog="python -m bench accelerated", description=main.__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"of {', '.join(WORKS)} (default: all)")
    add("--threads", type=int, default=1, help="PyTorch's, and with it lstmcore's")
    add("--rounds", type=int, default=7, help="turns of each")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in WORKS]:
        parser.error(f"expected names of {', '.join(WORKS)}, got {unknown[0]}")
    import torch

    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)  # what Lightning says about accelerators
    print(f"PyTorch {torch.__version__}, threads: {options.threads}, turns: {options.rounds}")
    table = [["", "PyTorch", "with accelerate", "ratio"]]
    for name in options.names or WORKS:
        try:
            work = WORKS[name]()
        except ImportError as error:
            print(f"{name}: {error}")
            continue
        plain, ours = _turns(work, options.rounds)
        ratio = statistics.median(one / other for one, other in zip(plain, ours, strict=True))
        times = [report.duration(statistics.median(seconds)) for seconds in (plain, ours)]
        table.append([name, *times, f"{ratio:.2f}"])
    print(report.plain(table), end="")
    return 0


def _turns(work: Callable[[], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each turn of PyTorch and of `accelerate`, after an untimed one."""
    from lstmcore.torch import accelerate

    plain: list[float] = []
    ours: list[float] = []
    for turn in range(rounds + 1):
        for seconds, fast in ((plain, False), (ours, True)):
            use = accelerate() if fast else None
            begin = time.perf_counter()
            work()
            spent = time.perf_counter() - begin
            if use is not None:
                use.undo()
            if turn:
                seconds.append(spent)
    return plain, ours
