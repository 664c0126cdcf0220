"""Keras on JAX: its layers as compiled functions of JAX's own arrays, batch first; the whole
training step with `train_on_batch`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.problem import digest, make_problem
from bench.runners import Prepared, Unsupported
from bench.runners.jax import jax
from bench.runners.jax import load as load_jax
from bench.runners.keras_model import KerasRunner, joined, lstm_layers, mask, states
from bench.shapes import Case


def load(threads: int) -> KerasRunner:
    """Allow float64. The process uses as many threads as it is pinned to processors."""
    load_jax(threads)
    return KerasRunner(_layers, True, {"jax": jax.__version__, "numpy": np.__version__})


def _layers(case: Case) -> Prepared:
    shape = case.shape
    if case.dtype != "float32":
        raise Unsupported("its tanh rounds float64 to float32 on this backend")
    problem = make_problem(case)
    layers = lstm_layers(case, problem)
    valid = mask(case, problem)
    x, dy = jax.numpy.asarray(problem.x), jax.numpy.asarray(problem.dy)
    weights = [[weight.value for weight in layer.trainable_variables] for layer in layers]
    others = [[other.value for other in layer.non_trainable_variables] for layer in layers]

    def forward(weights: Any, x: Any, state: Any) -> Any:
        for first in range(0, len(layers), shape.num_directions):
            cells = range(first, first + shape.num_directions)
            y = [
                layers[cell].stateless_call(
                    weights[cell], others[cell], x, initial_state=state[cell], mask=valid
                )[0]
                for cell in cells
            ]
            x = joined(y)
        return x

    def train(weights: Any, x: Any, state: Any, dy: Any) -> Any:
        y, backward = jax.vjp(forward, weights, x, state)
        return y, backward(dy)

    inputs: tuple[Any, ...] = (weights, x, states(case, problem))
    if case.training:
        compiled = jax.jit(train)
        inputs += (dy,)
    else:
        compiled = jax.jit(forward)

    def call() -> Any:
        return jax.block_until_ready(compiled(*inputs))

    def sums() -> dict[str, float]:
        if not case.training:
            return digest(shape, np.asarray(call()))
        y, gradients = call()
        return digest(shape, np.asarray(y), np.asarray(gradients[1]))

    return Prepared({"keras.layers.LSTM": call}, sums)
