"""Keras on TensorFlow: the whole training step with `train_on_batch`, and with the compiled
function below it on its own tensors; with and without XLA; whichever is fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.runners import Prepared, Unsupported
from bench.runners.tensorflow import TensorflowRunner, keras, tf
from bench.runners.tensorflow import load as load_tensorflow
from bench.shapes import Case


def load(threads: int) -> KerasRunner:
    """Set the number of threads."""
    load_tensorflow(threads)
    return KerasRunner()


class KerasRunner:
    """See `bench.runners.Runner`."""

    def versions(self) -> dict[str, str]:
        return TensorflowRunner().versions()

    def prepare(self, case: Case) -> Prepared:
        shape = case.shape
        if shape.kind != "model":
            raise Unsupported("measured for the whole training step only")
        random = np.random.default_rng(3)
        ids = random.integers(0, shape.vocabulary, (shape.batch, shape.steps))
        labels = random.integers(0, shape.classes, shape.batch)

        def model(jit_compile: bool) -> Any:
            network = keras.Sequential(
                [
                    keras.layers.Embedding(shape.vocabulary, shape.inputs),
                    keras.layers.LSTM(shape.hidden),
                    keras.layers.Dense(shape.classes, activation="softmax"),
                ]
            )
            network.compile(
                optimizer="adam",
                loss="sparse_categorical_crossentropy",
                jit_compile=jit_compile,
            )
            network.train_on_batch(ids, labels)
            return network

        variants: dict[str, Callable[[], Any]] = {}
        for name, jit_compile in (("", False), (", XLA", True)):
            network = model(jit_compile)
            variants["train_on_batch" + name] = _on_batch(network, ids, labels)
            variants["compiled step" + name] = _compiled_step(network, ids, labels)
        return Prepared(variants, dict)


def _on_batch(network: Any, ids: Any, labels: Any) -> Callable[[], Any]:
    return lambda: network.train_on_batch(ids, labels)


def _compiled_step(network: Any, ids: Any, labels: Any) -> Callable[[], Any]:
    batch = (tf.constant(ids), tf.constant(labels))

    @tf.function(jit_compile=network.jit_compile)  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> Any:
        return network.train_step((x, y))

    return lambda: step(*batch)["loss"].numpy()
