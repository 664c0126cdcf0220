"""ONNX models: loaded, and run with small inputs of the declared types and shapes."""

import numpy as np
from mutators import protobuf

from targets.base import FileTarget

MEMORY, TURNS = 8 << 20, 1000
"""Limits for what is run: those that hold without them are for larger inputs than these."""

LARGEST = 1 << 18
"""Elements of an input; a model that declares more of them is only loaded."""


class OnnxFiles(FileTarget):
    """`lstmcore.onnx.load` and what it returns."""

    name = "onnx_files"
    folders = ("onnx_files",)
    needs = ("onnx",)

    def prepare(self):
        import lstmcore.onnx

        self.load = lstmcore.onnx.load
        self.rehearse()

    def change(self, random, suffix, data, other):
        return protobuf.mutate(random, data, other)

    def run(self, made):
        model = self.load(made[1])  # the limits that hold by default are those of the file
        inputs = {}
        for argument in model.inputs:
            shape = [size if isinstance(size, int) else 2 for size in argument.shape or ()]
            if np.prod(shape, dtype=float) > LARGEST:
                return
            inputs[argument.name] = np.ones(shape, argument.dtype or np.float32)
        model = self.load(made[1], memory_limit=MEMORY, loop_limit=TURNS)
        str(model)
        model.run(inputs)


TARGETS = {OnnxFiles.name: OnnxFiles}
