"""OpenVINO, reading the ONNX model. Time first; NumPy arrays shared, not copied, in and out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from bench.problem import digest, make_problem, time_major
from bench.runners import Prepared, Unsupported
from bench.runners.onnx_model import batch_major, lstm_model
from bench.shapes import Case

ov: Any = import_module("openvino")


def load(threads: int) -> OpenVinoRunner:
    """Remember the number of threads for the models."""
    return OpenVinoRunner(threads)


class OpenVinoRunner:
    """See `bench.runners.Runner`."""

    def __init__(self, threads: int) -> None:
        self.core = ov.Core()
        self.settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Otherwise it may compute in bfloat16 on processors that support it.
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def versions(self) -> dict[str, str]:
        return {"openvino": ov.__version__, "numpy": np.__version__}

    def prepare(self, case: Case) -> Prepared:
        if case.training:
            raise Unsupported("no training")
        if case.dtype != "float32":
            raise Unsupported("computes in float32")
        if case.shape.projection or case.shape.int8:
            raise Unsupported("the ONNX operator has neither projection nor 8-bit weights")
        problem = make_problem(case)
        model = self.core.read_model(lstm_model(case, problem.weights).SerializeToString())
        request = self.core.compile_model(model, "CPU", self.settings).create_infer_request()
        feeds = {"x": time_major(problem.x)}
        if problem.lengths is not None:
            feeds["lengths"] = problem.lengths.astype(np.int32)

        def call() -> Any:
            return request.infer(feeds, share_inputs=True, share_outputs=True)

        for name, array in feeds.items():
            request.set_tensor(name, ov.Tensor(array, shared_memory=True))

        def call_set() -> Any:
            request.infer()
            return request.get_output_tensor(0)

        return Prepared(
            {"infer": call, "tensors set": call_set},
            lambda: digest(case.shape, batch_major(np.array(call()[0]))),
        )
