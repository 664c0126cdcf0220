"""lstmcore. Arrays are NumPy's, batch first; weights are packed once for inference, and at each
step in training, since they change.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

import lstmcore as lc
from bench.grids import PLAIN, SHAPES
from bench.problem import (
    Problem,
    as_float64,
    digest,
    largest_error,
    make_problem,
    make_weights,
)
from bench.runners import Prepared, Unsupported
from bench.shapes import Case, Shape
from lstmcore import functional as F

PRECISION = os.environ.get("LSTMCORE_BENCH_PRECISION", "fp32")
"""Precision of the products, for the shapes that are measured in several."""


def load(threads: int) -> LstmcoreRunner:
    """Set the number of threads."""
    lc.set_num_threads(threads)
    return LstmcoreRunner()


def _config(case: Case) -> lc.LSTMConfig:
    shape = case.shape
    if shape.int8:
        raise Unsupported("no 8-bit weights")
    return lc.LSTMConfig(
        input_size=shape.inputs,
        hidden_size=shape.hidden,
        num_layers=shape.layers,
        bidirectional=shape.bidirectional,
        proj_size=shape.projection,
        **dict(shape.variant),
    )


class LstmcoreRunner:
    """See `bench.runners.Runner`."""

    def versions(self) -> dict[str, str]:
        info = lc.cpu_info()
        versions = {"lstmcore": info.version, "isa": info.isa, "numpy": np.__version__}
        if PRECISION != "fp32":
            versions[f"unit of {PRECISION}"] = info.product_units[PRECISION]
        return versions

    def prepare(self, case: Case) -> Prepared:
        kinds: dict[str, Callable[[Case], Prepared]] = {
            "lstm": _training if case.training else _inference,
            "cell": _cell_steps,
            "model": _model,
            "stream": _stream,
            "small_models": _small_models,
            "overhead": _inference,
        }
        return kinds[case.shape.kind](case)


def _options(shape: Shape, problem: Problem) -> dict[str, Any]:
    """Return the arguments other than x, weights and state."""
    holes = shape.flags(shape.holes)
    mask = None if holes is None else ~holes
    return {"lengths": problem.lengths, "reset": shape.flags(shape.resets), "mask": mask}


def _times_plain(case: Case, call: Callable[[], Any]) -> dict[str, float]:
    """Return the cost of an option: the median ratio to calls of the plain cell, in turn.

    Otherwise the two times would be measured minutes apart, and the speed of the machine may change
    in between.
    """
    if not case.shape.cost:
        return {}
    plain = replace(case, shape=next(shape for shape in SHAPES if shape.name == PLAIN))
    other = next(iter((_training if case.training else _inference)(plain).variants.values()))
    ratios = []
    for _ in range(41):
        times = []
        for each in (call, other):
            begin = perf_counter()
            each()
            times.append(perf_counter() - begin)
        ratios.append(times[0] / times[1])
    return {"times plain": float(np.median(ratios[1:]))}


def _inference(case: Case) -> Prepared:
    config = _config(case)
    problem = make_problem(case)
    packed = F.pack(problem.weights, config, _precision(case))
    x, options = problem.x, _options(case.shape, problem)

    def call() -> Any:
        return F.lstm(x, packed, **options)

    def facts() -> dict[str, float]:
        if case.shape.precisions:
            exact = F.lstm(x.astype(np.float64), as_float64(problem.weights), config)[0]
            return {"error": largest_error([call()[0]], [exact])}
        return _times_plain(case, call)

    def sums() -> dict[str, float]:
        return {} if _precision(case) else digest(case.shape, call()[0])

    variants: dict[str, Callable[[], Any]] = {"functional": call}
    if case.shape.cell and case.shape.steps == case.shape.batch == 1:
        variants["LSTMStream"] = _one_step(problem, packed)
    return Prepared(variants, sums, facts)


def _one_step(problem: Problem, packed: F.PackedWeights) -> Callable[[], Any]:
    """Return a call of a stream that begins anew each time, to do the same as the others."""
    stream = lc.LSTMStream(packed)
    x = np.ascontiguousarray(problem.x[0, 0])

    def call() -> Any:
        stream.reset()
        return stream.step(x)

    return call


def _precision(case: Case) -> Any:
    return PRECISION if case.shape.precisions and PRECISION != "fp32" else None


def _forward(case: Case, problem: Problem, config: lc.LSTMConfig) -> Callable[[], Any]:
    options = _options(case.shape, problem)
    options |= {"state": (problem.h0, problem.c0), "recompute": case.shape.recompute or None}
    if _precision(case) == "int8":
        raise Unsupported("8-bit weights are for inference")
    options["precision"] = _precision(case)

    def call() -> Any:
        return F.lstm(problem.x, problem.weights, config, training=True, **options)

    return call


def _training_call(case: Case, problem: Problem, config: lc.LSTMConfig) -> Callable[[], Any]:
    forward = _forward(case, problem, config)

    def call() -> Any:
        y, _, tape = forward()
        return y, F.lstm_backward(tape, problem.dy)

    return call


def _training(case: Case) -> Prepared:
    config = _config(case)
    problem = make_problem(case)
    call = _training_call(case, problem, config)

    def sums() -> dict[str, float]:
        if _precision(case):
            return {}
        y, gradients = call()
        return digest(case.shape, y, gradients.x)

    def facts() -> dict[str, float]:
        if case.shape.precisions:
            state = (problem.h0.astype(np.float64), problem.c0.astype(np.float64))
            weights = as_float64(problem.weights)
            tape = F.lstm(
                problem.x.astype(np.float64), weights, config, state=state, training=True
            )[2]
            exact = F.lstm_backward(tape, problem.dy.astype(np.float64))
            own: F.LSTMGradients = call()[1]
            assert own.x is not None
            assert exact.x is not None
            gradients = [own.x, *own.weights.values()]
            return {"error": largest_error(gradients, [exact.x, *exact.weights.values()])}
        tape = _forward(case, problem, config)()[2]
        return {"tape bytes": float(tape.nbytes)} | _times_plain(case, call)

    return Prepared({"functional": call}, sums, facts)


def _cell_steps(case: Case) -> Prepared:
    """Prepare one engine call per step, and a backward pass through all of them."""
    config = _config(case)
    problem = make_problem(case)
    steps = [np.ascontiguousarray(problem.x[:, t]) for t in range(case.shape.steps)]
    state = (problem.h0, problem.c0)

    def call() -> Any:
        tape = F.lstm_begin(
            problem.weights,
            config,
            batch_size=case.shape.batch,
            state=state,
            expected_steps=case.shape.steps,
        )
        ys = [F.lstm_step(tape, x_t) for x_t in steps]
        return np.stack(ys, axis=1), F.lstm_backward(tape, problem.dy)

    def sums() -> dict[str, float]:
        y, gradients = call()
        return digest(case.shape, y, gradients.x)

    return Prepared({"lstm_step": call}, sums)


def _model(case: Case) -> Prepared:
    shape = case.shape
    model = lc.Sequential(
        [
            lc.layers.Embedding(shape.vocabulary, shape.inputs),
            lc.layers.LSTM(shape.hidden),
            lc.layers.Dense(shape.classes, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    random = np.random.default_rng(3)
    ids = random.integers(0, shape.vocabulary, (shape.batch, shape.steps))
    labels = random.integers(0, shape.classes, shape.batch)

    def call() -> Any:
        return model.train_on_batch(ids, labels)

    return Prepared({"train_on_batch": call}, dict, lambda: {"engine share": _engine_share(call)})


def _engine_share(call: Callable[[], Any], calls: int = 20) -> float:
    """Return the share of the time of `call` inside the compiled engine.

    Profiling itself slows the Python side, so the true share is a little larger.
    """
    packing = F.PackedWeights.__init__.__code__
    inside = 0.0
    entered = 0.0

    def profile(frame: Any, event: str, function: Any) -> None:
        nonlocal inside, entered
        if event == "c_call" or (event == "call" and frame.f_code is packing):
            entered = perf_counter()
        elif (event == "c_return" and function.__module__ == "lstmcore._core") or (
            event == "return" and frame.f_code is packing
        ):
            inside += perf_counter() - entered

    call()
    start = perf_counter()
    sys.setprofile(profile)
    try:
        for _ in range(calls):
            call()
    finally:
        sys.setprofile(None)
    return inside / (perf_counter() - start)


def _stream(case: Case) -> Prepared:
    config = _config(case)
    problem = make_problem(case)
    stream = lc.LSTMStream(problem.weights, config)
    x = np.ascontiguousarray(problem.x[0, 0])
    out = np.empty(case.shape.hidden, case.dtype)
    step = stream.step

    def call() -> Any:
        return step(x, out)

    def sums() -> dict[str, float]:
        stream.reset()
        return digest(case.shape, call()[None, None])

    return Prepared({"LSTMStream": call}, sums)


def _small_models(case: Case) -> Prepared:
    """Prepare runs of all models, with gradients in training; free threads take the next one."""
    shape = case.shape
    config = _config(case)
    problem = make_problem(case)
    state = (problem.h0, problem.c0)
    weights = [make_weights(shape, case.dtype, seed) for seed in range(shape.models)]
    packed = [F.pack(model, config) for model in weights]

    def run(models: Iterator[F.PackedWeights]) -> None:
        for model in models:
            F.lstm(problem.x, model)

    def train(models: Iterator[Any]) -> None:
        for model in models:
            tape = F.lstm(problem.x, model, config, state=state, training=True)[2]
            F.lstm_backward(tape, problem.dy)

    pool = ThreadPoolExecutor(shape.python_threads)

    def call() -> Any:
        if case.training:
            return list(pool.map(train, [iter(weights)] * shape.python_threads))
        return list(pool.map(run, [iter(packed)] * shape.python_threads))

    return Prepared({"functional": call}, lambda: digest(shape, F.lstm(problem.x, packed[0])[0]))
