"""ncnn: one LSTM layer from a description in text and weights in memory. Its layers take one
sequence at a time, so that it is measured at batch one. NumPy in, its own array out.
"""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.problem import Weights, cell_names, digest, gates, make_problem
from bench.runners import Prepared, Unsupported
from bench.shapes import Case, Shape

ncnn: Any = import_module("ncnn")


def load(threads: int) -> NcnnRunner:
    """Remember the number of threads for the networks."""
    return NcnnRunner(threads)


def description(shape: Shape) -> str:
    """Return the layers as text; weights follow in the order of the layers."""
    names = ["x", *(f"y{layer}" for layer in range(shape.layers - 1)), "y"]
    lines = ["7767517", f"{shape.layers + 1} {shape.layers + 1}", "Input x 0 1 x"]
    for layer in range(shape.layers):
        inputs = shape.inputs if layer == 0 else shape.num_directions * shape.hidden
        size = shape.num_directions * 4 * shape.hidden * inputs
        direction = 2 if shape.bidirectional else 0
        ends = f"{names[layer]} {names[layer + 1]}"
        options = f"0={shape.hidden} 1={size} 2={direction}"
        lines.append(f"LSTM lstm{layer} 1 1 {ends} {options}")
    return "\n".join(lines) + "\n"


def weight_bytes(shape: Shape, weights: Weights) -> bytes:
    """Return input weights, biases and recurrent weights of each layer, gates i, f, o, g.

    Each begins with four zero bytes: what follows is float32.
    """
    names = cell_names(shape)
    written = b""
    for first in range(0, len(names), shape.num_directions):
        suffixes = names[first : first + shape.num_directions]
        for name in ("weight_ih", "bias", "weight_hh"):
            arrays = [gates(weights[name + suffix], "ifog") for suffix in suffixes]
            written += bytes(4) + np.stack(arrays).astype("<f4").tobytes()
    return written


class NcnnRunner:
    """See `bench.runners.Runner`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def versions(self) -> dict[str, str]:
        return {"ncnn": ncnn.__version__, "numpy": np.__version__}

    def prepare(self, case: Case) -> Prepared:
        shape = case.shape
        if case.training:
            raise Unsupported("no training")
        if case.dtype != "float32" or shape.projection or shape.int8 or shape.shortest:
            raise Unsupported("float32 without projection or lengths only")
        if shape.batch > 1:
            raise Unsupported("an LSTM takes one sequence at a time")
        problem = make_problem(case)
        network = self._network(shape, problem.weights)
        # A matrix made from an array does not own its memory: copy it.
        source = ncnn.Mat(np.ascontiguousarray(problem.x[0])).clone()

        def call() -> Any:
            extractor = network.create_extractor()
            extractor.input("x", source)
            return extractor.extract("y")[1]

        return Prepared({"LSTM": call}, lambda: digest(shape, np.array(call())[None]))

    def _network(self, shape: Shape, weights: Weights) -> Any:
        network = ncnn.Net()
        network.opt.num_threads = self.threads
        # Otherwise it may compute in lower precision.
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(network.opt, f"use_{name}", False)
        network.load_param_mem(description(shape))
        # This version reads weights from memory only as text, and these are binary.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "weights.bin")
            path.write_bytes(weight_bytes(shape, weights))
            if network.load_model(os.fspath(path)):
                raise RuntimeError("ncnn did not read the weights")
        return network
