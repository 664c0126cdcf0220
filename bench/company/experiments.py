"""The experiments in company. One process runs one; its last line is JSON, ratios by name.

python -m bench.company.experiments NAME ROUNDS TURN
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import lstmcore as lc
from bench.company import crowds
from bench.turns import alternate, ratios
from lstmcore import functional as F

Ratios = dict[str, list[float]]

SETTLE = 0.05
"""Seconds of rest before each turn: idle threads that spin fall asleep meanwhile."""


def _lstm(batch: int = 32, steps: int = 100, size: int = 128) -> Callable[[], Any]:
    config = lc.LSTMConfig(size, size)
    packed = F.pack(F.init_weights(config), config)
    x = np.random.default_rng(0).standard_normal((batch, steps, size), dtype=np.float32)
    return lambda: F.lstm(x, packed)


def _in_turn(
    first: Callable[[], Any], second: Callable[[], Any], rounds: int, turn: float
) -> tuple[list[float], list[float]]:
    """Return, for each of two calls, its time when they alternate over its time alone."""
    spent = [0.0, 0.0, 0.0]

    def both() -> None:
        begin = crowds.clock()
        first()
        middle = crowds.clock()
        second()
        spent[0] += middle - begin
        spent[1] += crowds.clock() - middle
        spent[2] += 1

    slower: tuple[list[float], list[float]] = ([], [])
    both()
    for at in range(rounds):
        spent[:] = [0.0, 0.0, 0.0]
        alone: list[float] = []
        for which in (0, 1, 2) if at % 2 else (2, 1, 0):
            call = (first, second, both)[which]
            [[seconds]] = alternate([call], 1, turn, SETTLE)
            if which < 2:
                alone.append(seconds)
        if not at % 2:
            alone.reverse()
        for which in (0, 1):
            slower[which].append(spent[which] / spent[2] / alone[which])
    return slower


def torch_mm(rounds: int, turn: float) -> Ratios:
    """Alternate F.lstm with products of PyTorch."""
    torch: Any = import_module("torch")
    a, b = torch.rand(800, 800), torch.rand(800, 800)
    own, other = _in_turn(_lstm(), lambda: torch.mm(a, b), rounds, turn)
    return {"lstm-beside-mm": own, "mm-beside-lstm": other}


def session(rounds: int, turn: float) -> Ratios:
    """Alternate F.lstm with a session of ONNX Runtime, each with its default threads."""
    from bench import grids
    from bench.problem import make_problem, time_major
    from bench.runners.onnx_model import lstm_model

    ort: Any = import_module("onnxruntime")
    (case,) = grids.Choice((1,), ["inference"], ["float32"]).cases(grids.select(grids.PLAIN))
    problem = make_problem(case)
    model = lstm_model(case, problem.weights).SerializeToString()
    loaded = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = {"x": time_major(problem.x)}
    own, other = _in_turn(_lstm(), lambda: loaded.run(["y"], feeds), rounds, turn)
    return {"lstm-beside-session": own, "session-beside-lstm": other}


def torch_training(rounds: int, turn: float) -> Ratios:
    """Train a text classifier in PyTorch, with its LSTM and with lstmcore's."""
    torch: Any = import_module("torch")
    bridge: Any = import_module("lstmcore.torch")
    ids = torch.randint(0, 10_000, (100, 32))
    labels = torch.randint(0, 5, (32,))

    def step(lstm: Any) -> Callable[[], Any]:
        embedding, dense = torch.nn.Embedding(10_000, 64), torch.nn.Linear(128, 5)
        parts = torch.nn.ModuleList([embedding, lstm, dense])
        optimizer = torch.optim.Adam(parts.parameters())
        loss = torch.nn.CrossEntropyLoss()

        def call() -> Any:
            optimizer.zero_grad()
            value = loss(dense(lstm(embedding(ids))[1][0][-1]), labels)
            value.backward()
            optimizer.step()
            return value.item()

        return call

    theirs, own = step(torch.nn.LSTM(64, 128)), step(bridge.LSTM(64, 128))
    return {"torch-training": ratios(theirs, own, rounds, turn, SETTLE)}


def torch_cell(rounds: int, turn: float) -> Ratios:
    """Loop over a cell at one row: inference, and training through all steps."""
    torch: Any = import_module("torch")
    bridge: Any = import_module("lstmcore.torch")
    x = torch.rand(100, 1, 128)

    def loop(cell: Any) -> Any:
        state: Any = None
        for x_t in x.unbind(0):
            state = cell(x_t, state)
        return state[0]

    def infer(cell: Any) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                return loop(cell)

        return call

    def train(cell: Any) -> Callable[[], Any]:
        def call() -> Any:
            cell.zero_grad()
            loop(cell).sum().backward()

        return call

    found = {}
    for name, way in (("inference", infer), ("training", train)):
        theirs, own = way(torch.nn.LSTMCell(128, 128)), way(bridge.LSTMCell(128, 128))
        found[f"torch-cell-{name}"] = ratios(theirs, own, rounds, turn, SETTLE)
    return found


def subnormal(rounds: int, turn: float) -> Ratios:
    """Compare gradients and states close to zero with ordinary ones."""
    config = lc.LSTMConfig(128, 128)
    weights = F.init_weights(config)
    x = np.random.default_rng(0).standard_normal((32, 100, 128), dtype=np.float32)
    ordinary = np.ones((32, 100, 128), np.float32)
    tiny = np.full((32, 100, 128), 1e-39, np.float32)

    def backward(dy: Any) -> float:
        tape = F.lstm(x, weights, config, training=True)[2]
        begin = crowds.clock()
        F.lstm_backward(tape, dy)
        return crowds.clock() - begin

    # As many calls as a turn of the others has: each takes some milliseconds.
    slower = []
    for at in range(max(20, rounds * 5)):
        times = {}
        for which in ("tiny", "ordinary") if at % 2 else ("ordinary", "tiny"):
            times[which] = backward(tiny if which == "tiny" else ordinary)
        slower.append(times["tiny"] / times["ordinary"])
    return {"subnormal-dy": slower, "stream-silence": _silence(rounds, turn)}


def _silence(rounds: int, turn: float) -> list[float]:
    """Return the time of a step long after the input fell silent, over that with sound.

    Forget gates have a bias of 1, as most layers begin with, and the other gates none. The cell's
    state then decays by 0.73 a step, down to the smallest subnormal number, where rounding ends the
    decay.
    """
    config = lc.LSTMConfig(1, 64)
    weights = F.init_weights(config)
    weights["bias_l0"][:] = 0
    weights["bias_l0"][64:128] = 1
    streams = [lc.LSTMStream(weights, config) for _ in range(2)]
    sound = np.random.default_rng(0).standard_normal((100, 1), dtype=np.float32)
    inputs = (np.zeros_like(sound), sound)
    for stream in streams:
        for x_t in sound:
            stream.step(x_t)
    # Some hundred steps are enough.
    for _ in range(100):
        for x_t in inputs[0]:
            streams[0].step(x_t)
    out = np.empty(64, np.float32)

    def steps(which: int) -> Callable[[], Any]:
        step, xs = streams[which].step, list(inputs[which])

        def call() -> None:
            for x_t in xs:
                step(x_t, out)

        return call

    return ratios(steps(0), steps(1), rounds, turn)


EXPERIMENTS: dict[str, Callable[[int, float], Ratios]] = {
    "torch-training": torch_training,
    "torch-mm": torch_mm,
    "torch-cell": torch_cell,
    "session": session,
    "processes": crowds.processes,
    "crowded": crowds.crowded,
    "subnormal": subnormal,
}


def main() -> None:
    """Run one experiment."""
    name, rounds, turn = sys.argv[1:]
    print(json.dumps(EXPERIMENTS[name](int(rounds), float(turn))))


if __name__ == "__main__":
    main()
