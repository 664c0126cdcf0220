"""ONNX Runtime. Time first; NumPy in and out, or its own bound tensors, whichever is faster."""

from __future__ import annotations

import os
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.problem import digest, make_problem, time_major
from bench.runners import Prepared, Unsupported
from bench.runners.onnx_model import batch_major, lstm_model, onnx
from bench.shapes import Case

ort: Any = import_module("onnxruntime")


INT8 = os.environ.get("LSTMCORE_BENCH_PRECISION") == "int8"
"""Whether weights are quantized, and activations too, dynamically."""


def load(threads: int) -> OnnxRuntimeRunner:
    """Remember the number of threads for the sessions."""
    ort.set_default_logger_severity(3)
    return OnnxRuntimeRunner(threads)


class OnnxRuntimeRunner:
    """See `bench.runners.Runner`."""

    def __init__(self, threads: int) -> None:
        self.options = ort.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1

    def versions(self) -> dict[str, str]:
        return {"onnxruntime": ort.__version__, "onnx": onnx.__version__, "numpy": np.__version__}

    def prepare(self, case: Case) -> Prepared:
        if case.training:
            raise Unsupported("no training")
        if case.shape.projection:
            raise Unsupported("the ONNX operator has no projection")
        if case.dtype != "float32":
            raise Unsupported("its LSTM computes in float32 only")
        problem = make_problem(case)
        model = lstm_model(case, problem.weights).SerializeToString()
        if case.shape.int8 or INT8:
            model = _quantized(model)
        session = ort.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        feeds = {"x": time_major(problem.x)}
        if problem.lengths is not None:
            feeds["lengths"] = problem.lengths.astype(np.int32)
        binding = session.io_binding()
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        shape = case.shape
        extents = (shape.steps, shape.num_directions, shape.batch, shape.hidden)
        output = ort.OrtValue.ortvalue_from_numpy(np.empty(extents, case.dtype))
        binding.bind_ortvalue_output("y", output)

        def run() -> Any:
            return session.run(["y"], feeds)[0]

        def run_bound() -> Any:
            session.run_with_iobinding(binding)
            return output

        return Prepared(
            {"run": run, "bound tensors": run_bound}, lambda: _digest(case, batch_major(run()))
        )


def _digest(case: Case, y: Any) -> dict[str, float]:
    # Quantized results differ too much for the comparison.
    return {} if case.shape.int8 or INT8 else digest(case.shape, y)


def _quantized(model: bytes) -> bytes:
    quantization: Any = import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model)
        quantization.quantize_dynamic(source, target, weight_type=quantization.QuantType.QInt8)
        return target.read_bytes()
