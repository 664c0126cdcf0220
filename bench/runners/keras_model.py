"""Keras' layers with the case's weights, and its classifier, on whichever backend is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from bench.problem import Problem, cell_names, keras_weights
from bench.runners import Prepared, Unsupported
from bench.shapes import Case, Shape

keras: Any = import_module("keras")


@dataclass(frozen=True)
class KerasRunner:
    """See `bench.runners.Runner`.

    Attributes
    ----------
    layers : callable
        Prepares a case of layers on the backend.
    jit_compile : bool
        Whether the backend compiles the classifier.
    others : dict of str to str
        Versions of the backend's packages.
    """

    layers: Callable[[Case], Prepared]
    jit_compile: bool
    others: dict[str, str]

    def versions(self) -> dict[str, str]:
        return {"keras": keras.__version__, **self.others}

    def prepare(self, case: Case) -> Prepared:
        if case.shape.kind == "model":
            ids, labels = texts(case.shape)
            network = classifier(case.shape, jit_compile=self.jit_compile)
            return Prepared({"train_on_batch": lambda: network.train_on_batch(ids, labels)}, dict)
        if case.shape.kind != "lstm":
            raise Unsupported("measured for layers and for the whole training step")
        return self.layers(case)


def lstm_layers(case: Case, problem: Problem) -> list[Any]:
    """Return an LSTM layer for each layer and direction."""
    shape = case.shape
    if shape.projection or shape.int8:
        raise Unsupported("no projection, no 8-bit weights")
    if shape.bidirectional and problem.lengths is not None:
        raise Unsupported("not written for ragged batches in both directions")
    layers = []
    for cell, suffix in enumerate(cell_names(shape)):
        first = cell < shape.num_directions
        layer = keras.layers.LSTM(
            shape.hidden,
            return_sequences=True,
            go_backwards=suffix.endswith("reverse"),
            dtype=case.dtype,
        )
        inputs = shape.inputs if first else shape.num_directions * shape.hidden
        layer.build((shape.batch, shape.steps, inputs))
        layer.set_weights(keras_weights(problem.weights, suffix))
        layers.append(layer)
    return layers


def mask(case: Case, problem: Problem) -> Any:
    """Mark the valid steps; None if all are."""
    if problem.lengths is None:
        return None
    return keras.ops.convert_to_tensor(np.arange(case.shape.steps) < problem.lengths[:, None])


def joined(outputs: list[Any]) -> Any:
    """Return y of one layer from y of each direction, as the layers return it."""
    if len(outputs) == 1:
        return outputs[0]
    forward, backward = outputs
    return keras.ops.concatenate([forward, keras.ops.flip(backward, 1)], axis=-1)


def states(case: Case, problem: Problem) -> list[list[Any]]:
    """Return h and c of each layer and direction; zeros for inference."""
    factor = np.asarray(1 if case.training else 0, case.dtype)
    pairs = zip(problem.h0, problem.c0, strict=True)
    return [[keras.ops.convert_to_tensor(a * factor) for a in pair] for pair in pairs]


def classifier(shape: Shape, jit_compile: bool) -> Any:
    """Return a compiled model of embedding, LSTM and dense."""
    network = keras.Sequential(
        [
            keras.layers.Embedding(shape.vocabulary, shape.inputs),
            keras.layers.LSTM(shape.hidden),
            keras.layers.Dense(shape.classes, activation="softmax"),
        ]
    )
    network.compile(
        optimizer="adam", loss="sparse_categorical_crossentropy", jit_compile=jit_compile
    )
    return network


def texts(shape: Shape) -> tuple[Any, Any]:
    """Return a batch for the classifier: word numbers and labels."""
    random = np.random.default_rng(3)
    ids = random.integers(0, shape.vocabulary, (shape.batch, shape.steps))
    return ids, random.integers(0, shape.classes, shape.batch)
