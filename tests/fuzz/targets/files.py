"""Files of models: lstmcore's own, and those of Keras."""

import numpy as np
from mutators import archive, hdf5, safetensors_file

from targets.base import FileTarget

LARGEST = 1 << 16
"""Elements of an input; a model for larger ones is not run."""


class ModelFiles(FileTarget):
    """`lstmcore.load`; a model that loads predicts two steps, and is saved again."""

    name = "model_files"
    folders = ("model_files",)

    def prepare(self):
        import lstmcore

        self.load, self.sequential = lstmcore.load, lstmcore.Sequential
        self.rehearse()

    def change(self, random, suffix, data, other):
        return safetensors_file.mutate(random, data, other)

    def run(self, made):
        model = self.load(self.path(made))
        repr(model)
        model.summary(print_fn=len)
        if isinstance(model, self.sequential) and model.vectorizer is None:
            shape = [2 if size is None else size for size in model.input_shape]
            if np.prod(shape, dtype=float) > LARGEST:
                return
            ids = model.layers[0].input_kind == "ids"
            model.predict(np.zeros(shape, np.int64 if ids else model.dtype), verbose=0)
        model.save(self.path(made))


class KerasFiles(FileTarget):
    """`convert.from_keras` and `load_keras_weights` of `.keras` and `.h5` files."""

    name = "keras_files"
    folders = ("keras_files",)
    needs = ("h5py",)
    rehearsed = 3

    def prepare(self):
        from lstmcore import convert

        self.convert = convert.from_keras
        self.rehearse()

    def change(self, random, suffix, data, other):
        kind = archive if suffix == ".keras" else hdf5
        return kind.mutate(random, data, other)

    def run(self, made):
        self.convert(self.path(made))


TARGETS = {target.name: target for target in (ModelFiles, KerasFiles)}
