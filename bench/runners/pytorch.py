"""PyTorch. Its own tensors, time first, made before the clock starts; inference mode for inference;
gradients with `torch.autograd.grad`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np

from bench.problem import (
    Array,
    Problem,
    Weights,
    cell_names,
    digest,
    largest_error,
    make_problem,
    make_weights,
    time_major,
)
from bench.runners import Prepared, Unsupported
from bench.shapes import Case, Shape

torch: Any = import_module("torch")


PRECISION = os.environ.get("LSTMCORE_BENCH_PRECISION", "")
"""With ``"bf16"``, modules and tensors are bfloat16."""


def load(threads: int) -> PytorchRunner:
    """Set the number of threads."""
    torch.set_num_threads(threads)
    return PytorchRunner()


def _module(shape: Shape, weights: Weights, dtype: str) -> Any:
    module = torch.nn.LSTM(
        shape.inputs,
        shape.hidden,
        num_layers=shape.layers,
        bidirectional=shape.bidirectional,
        proj_size=shape.projection,
        dtype=getattr(torch, dtype),
    )
    with torch.no_grad():
        for suffix in cell_names(shape):
            for name in ("weight_ih", "weight_hh", "weight_hr"):
                if name + suffix in weights:
                    getattr(module, name + suffix).copy_(torch.from_numpy(weights[name + suffix]))
            getattr(module, "bias_ih" + suffix).copy_(torch.from_numpy(weights["bias" + suffix]))
            getattr(module, "bias_hh" + suffix).zero_()
    return module


def _batch_major(tensor: Any) -> Array:
    return np.asarray(tensor.detach().numpy()).swapaxes(0, 1)


class PytorchRunner:
    """See `bench.runners.Runner`."""

    def versions(self) -> dict[str, str]:
        return {"torch": str(torch.__version__), "numpy": np.__version__}

    def prepare(self, case: Case) -> Prepared:
        if case.shape.int8:
            raise Unsupported("8-bit weights are measured with ONNX Runtime only")
        kinds: dict[str, Callable[[Case], Prepared]] = {
            "lstm": _training if case.training else _inference,
            "cell": _cell_steps,
            "model": _model,
            "stream": _inference,
            "small_models": _small_models,
            "overhead": _inference,
        }
        return kinds[case.shape.kind](case)


def _with_compiled(variants: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """Add `torch.compile` if requested; compiling may take minutes."""
    if os.environ.get("LSTMCORE_BENCH_TORCH_COMPILE") == "1":
        for name, call in list(variants.items()):
            variants[name + ", compiled"] = torch.compile(call)
    return variants


def _packed(x: Any, problem: Problem) -> Any:
    lengths = torch.from_numpy(problem.lengths)
    return torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)


def _padded(packed: Any, steps: int) -> Any:
    return torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=steps)[0]


def _inference(case: Case) -> Prepared:
    problem = make_problem(case)
    module = _lowered(_module(case.shape, problem.weights, case.dtype).eval())
    x = _lowered(torch.from_numpy(time_major(problem.x)))
    ragged = problem.lengths is not None

    def call() -> Any:
        with torch.inference_mode():
            if ragged:
                return _padded(module(_packed(x, problem))[0], case.shape.steps)
            return module(x)[0]

    def sums() -> dict[str, float]:
        return {} if PRECISION else digest(case.shape, _batch_major(call().clone()))

    def facts() -> dict[str, float]:
        if not case.shape.precisions:
            return {}
        exact = _module(case.shape, problem.weights, case.dtype).double()
        with torch.inference_mode():
            true = exact(torch.from_numpy(time_major(problem.x)).double())[0].numpy()
        return {"error": largest_error([call().double().numpy()], [true])}

    name = "packed sequence" if ragged else "nn.LSTM"
    return Prepared(_with_compiled({name: call}), sums, facts)


def _lowered(module_or_tensor: Any) -> Any:
    """Return the same in the requested precision."""
    return module_or_tensor.to(torch.bfloat16) if PRECISION else module_or_tensor


def _training(case: Case) -> Prepared:
    problem = make_problem(case)
    module = _lowered(_module(case.shape, problem.weights, case.dtype))
    arrays = (time_major(problem.x), problem.h0, problem.c0)
    x, h0, c0 = (_lowered(torch.from_numpy(array)).requires_grad_() for array in arrays)
    dy = _lowered(torch.from_numpy(time_major(problem.dy)))
    inputs = [x, h0, c0, *module.parameters()]
    ragged = problem.lengths is not None

    def call() -> Any:
        if ragged:
            y = _padded(module(_packed(x, problem), (h0, c0))[0], case.shape.steps)
        else:
            y = module(x, (h0, c0))[0]
        return y, torch.autograd.grad(y, inputs, dy)

    def sums() -> dict[str, float]:
        if PRECISION:
            return {}
        y, gradients = call()
        return digest(case.shape, _batch_major(y), _batch_major(gradients[0]))

    def facts() -> dict[str, float]:
        if not case.shape.precisions:
            return {}
        exact = _module(case.shape, problem.weights, case.dtype).double()
        doubles = [torch.from_numpy(array).double().requires_grad_() for array in arrays]
        y = exact(doubles[0], (doubles[1], doubles[2]))[0]
        wanted = [doubles[0], *exact.parameters()]
        true = torch.autograd.grad(y, wanted, torch.from_numpy(time_major(problem.dy)).double())
        gradients = call()[1]
        own = [gradients[0], *gradients[3:]]
        return {
            "error": largest_error([g.double().numpy() for g in own], [g.numpy() for g in true])
        }

    name = "packed sequence" if ragged else "nn.LSTM"
    return Prepared(_with_compiled({name: call}), sums, facts)


def _cell_steps(case: Case) -> Prepared:
    shape = case.shape
    problem = make_problem(case)
    weights = problem.weights
    cell = torch.nn.LSTMCell(shape.inputs, shape.hidden, dtype=getattr(torch, case.dtype))
    with torch.no_grad():
        cell.weight_ih.copy_(torch.from_numpy(weights["weight_ih_l0"]))
        cell.weight_hh.copy_(torch.from_numpy(weights["weight_hh_l0"]))
        cell.bias_ih.copy_(torch.from_numpy(weights["bias_l0"]))
        cell.bias_hh.zero_()
    x = torch.from_numpy(time_major(problem.x)).requires_grad_()
    dy = torch.from_numpy(time_major(problem.dy))
    h0 = torch.from_numpy(problem.h0[0]).requires_grad_()
    c0 = torch.from_numpy(problem.c0[0]).requires_grad_()
    inputs = [x, h0, c0, *cell.parameters()]

    def call() -> Any:
        h, c = h0, c0
        outputs = []
        for x_t in x.unbind(0):
            h, c = cell(x_t, (h, c))
            outputs.append(h)
        y = torch.stack(outputs)
        return y, torch.autograd.grad(y, inputs, dy)

    def sums() -> dict[str, float]:
        y, gradients = call()
        return digest(shape, _batch_major(y), _batch_major(gradients[0]))

    return Prepared({"nn.LSTMCell": call}, sums)


def _model(case: Case) -> Prepared:
    shape = case.shape

    class Classifier(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(shape.vocabulary, shape.inputs)
            self.lstm = torch.nn.LSTM(shape.inputs, shape.hidden)
            self.dense = torch.nn.Linear(shape.hidden, shape.classes)

        def forward(self, ids: Any) -> Any:
            return self.dense(self.lstm(self.embedding(ids))[1][0][-1])

    random = np.random.default_rng(3)
    ids = torch.from_numpy(random.integers(0, shape.vocabulary, (shape.steps, shape.batch)))
    labels = torch.from_numpy(random.integers(0, shape.classes, shape.batch))

    def step(fused: bool) -> Callable[[], Any]:
        model = Classifier()
        optimizer = torch.optim.Adam(model.parameters(), fused=fused)
        loss = torch.nn.CrossEntropyLoss()

        def call() -> Any:
            optimizer.zero_grad()
            value = loss(model(ids), labels)
            value.backward()
            optimizer.step()
            return value.item()

        return call

    return Prepared({"Adam": step(False), "fused Adam": step(True)}, dict)


def _small_models(case: Case) -> Prepared:
    shape = case.shape
    problem = make_problem(case)
    seeds = range(shape.models)
    modules = [_module(shape, make_weights(shape, case.dtype, seed), case.dtype) for seed in seeds]
    x = torch.from_numpy(time_major(problem.x))
    x_grad = x.clone().requires_grad_()
    dy = torch.from_numpy(time_major(problem.dy))
    h0 = torch.from_numpy(problem.h0).requires_grad_()
    c0 = torch.from_numpy(problem.c0).requires_grad_()

    def run(some: Iterator[Any]) -> None:
        with torch.inference_mode():
            for module in some:
                module(x)

    def train(some: Iterator[Any]) -> None:
        for module in some:
            y = module(x_grad, (h0, c0))[0]
            torch.autograd.grad(y, [x_grad, h0, c0, *module.parameters()], dy)

    work = train if case.training else run
    pool = ThreadPoolExecutor(shape.python_threads)

    def call() -> Any:
        return list(pool.map(work, [iter(modules)] * shape.python_threads))

    return Prepared({"nn.LSTM": call}, lambda: digest(shape, _batch_major(modules[0](x)[0])))
