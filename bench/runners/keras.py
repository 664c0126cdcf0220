"""Keras on TensorFlow: the whole training step with `train_on_batch`, and with the compiled
function below it on its own tensors; with and without XLA; whichever is fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.runners import Prepared, Unsupported
from bench.runners.keras_model import classifier, texts
from bench.runners.tensorflow import TensorflowRunner, tf
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
        if case.shape.kind != "model":
            raise Unsupported("measured for the whole training step only")
        ids, labels = texts(case.shape)
        variants: dict[str, Callable[[], Any]] = {}
        for name, jit_compile in (("", False), (", XLA", True)):
            network = classifier(case.shape, jit_compile)
            network.train_on_batch(ids, labels)
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
