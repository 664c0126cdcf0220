"""Files of models: lstmcore's own, and those of Keras."""

import math

import numpy as np
from mutators import archive, hdf5, safetensors_file

from targets.base import FileTarget

LARGEST = 1 << 16
"""Elements of an input, repeated as often as the model says; one for more is not run."""

TEXTS = ["a b", "b"]


class ModelFiles(FileTarget):
    """`lstmcore.load`; a model that loads predicts two steps or texts, and is saved again."""

    name = "model_files"
    folders = ("model_files",)

    def prepare(self):
        import lstmcore

        self.load, self.sequential = lstmcore.load, lstmcore.Sequential
        self.pair, self.repeat = lstmcore.EncoderDecoder, lstmcore.layers.RepeatVector
        self.rehearse()

    def change(self, random, suffix, data, other):
        return safetensors_file.mutate(random, data, other)

    def run(self, made):
        model = self.load(self.path(made))
        repr(model)
        model.summary(print_fn=len)
        x = self.inputs_for(model)
        if x is not None:
            model.predict(x, verbose=0)
        model.save(self.path(made))

    def inputs_for(self, model):
        """Return inputs of a model, or None if it asks for much itself."""
        if isinstance(model, self.pair):
            return [[1, 2], [1]]
        layers = [inner for layer in model.layers for inner in layer._layers_within()]
        repeats = math.prod(layer.n for layer in layers if isinstance(layer, self.repeat))
        if isinstance(model, self.sequential) and model.vectorizer is not None:
            return TEXTS if repeats <= LARGEST else None
        shapes = model.input_shape if isinstance(model.input_shape, list) else [model.input_shape]
        shapes = [[2 if size is None else size for size in shape] for shape in shapes]
        if repeats * sum(math.prod(shape) for shape in shapes) > LARGEST:
            return None
        first = model.layers[0].input_kind == "ids"
        dtype = np.int64 if first and len(shapes) == 1 else model.dtype
        x = [np.zeros(shape, dtype) for shape in shapes]
        return x if len(x) > 1 else x[0]


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
