"""MNN: the ONNX model through its converter, as one operator and as a loop, whichever is faster.
Time first; its own arrays in, NumPy out.

The compiled part of the converter is called directly: the Python module around it installs packages
and reports what was converted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.problem import Problem, digest, make_problem, time_major
from bench.runners import Prepared, Unsupported
from bench.runners.onnx_model import batch_major, lstm_model
from bench.shapes import Case

mnn: Any = import_module("MNN")
nn: Any = import_module("MNN.nn")
expr: Any = import_module("MNN.expr")

WAYS = {"loop": [], "operator": ["--useOriginRNNImpl"]}
"""Names of the ways to convert an LSTM, with the converter's arguments."""


def load(threads: int) -> MnnRunner:
    """Make a runtime with that number of threads."""
    return MnnRunner(threads)


def _convert(source: Path, target: Path, arguments: list[str]) -> None:
    """Convert in a process of its own, since the converter may crash."""
    line = ["mnnconvert", "-f", "ONNX", "--modelFile", os.fspath(source)]
    line += ["--MNNModel", os.fspath(target), "--bizCode", "bench", *arguments]
    program = f"import _tools; _tools.mnnconvert({line!r})"
    subprocess.run([sys.executable, "-c", program], capture_output=True)
    if not target.exists():
        raise Unsupported("its converter failed")


class MnnRunner:
    """See `bench.runners.Runner`."""

    def __init__(self, threads: int) -> None:
        how = {"backend": "CPU", "numThread": threads, "precision": "high"}
        self.runtime = nn.create_runtime_manager((how,))

    def versions(self) -> dict[str, str]:
        return {"mnn": mnn.version(), "numpy": np.__version__}

    def prepare(self, case: Case) -> Prepared:
        shape = case.shape
        if case.training:
            raise Unsupported("not written for training")
        if case.dtype != "float32" or shape.projection or shape.int8 or shape.shortest:
            raise Unsupported("float32 without projection or lengths only")
        problem = make_problem(case)
        variants: dict[str, Callable[[], Any]] = {}
        for name, arguments in WAYS.items():
            try:
                variants[name] = self._call(case, problem, arguments)
            except Unsupported:
                continue
        if not variants:
            raise Unsupported("its converter failed")

        def sums() -> dict[str, float]:
            results = [digest(shape, batch_major(call())) for call in variants.values()]
            return results[-1]

        return Prepared(variants, sums)

    def _call(self, case: Case, problem: Problem, arguments: list[str]) -> Callable[[], Any]:
        shape = case.shape
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "model.onnx"), Path(folder, "model.mnn")
            # Without a state its operator skips the first step's product, all of a single step's.
            model = lstm_model(case, problem.weights, all_outputs=True, states=True)
            source.write_bytes(model.SerializeToString())
            _convert(source, target, arguments)
            names = [argument.name for argument in model.graph.input]
            network = nn.load_module_from_file(
                os.fspath(target), names, ["y"], runtime_manager=self.runtime
            )
        d = shape.num_directions
        zeros = np.zeros((d, shape.batch, shape.hidden), np.float32)
        arrays = [time_major(problem.x), *[zeros] * (2 * shape.layers)]
        inputs = [expr.const(a, list(a.shape), expr.NCHW, expr.float) for a in arrays]
        return lambda: network.onForward(inputs)[0].read()
