"""TensorFlow, with its own tensors: `tf.function` around its fused operator where that is possible
(BlockLSTM, time first) and around Keras' LSTM layer (batch first), whichever is faster.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from bench.problem import (
    Array,
    Problem,
    digest,
    gates,
    make_problem,
    time_major,
)
from bench.runners import Prepared, Unsupported
from bench.runners.keras_model import joined, keras, lstm_layers, mask, states
from bench.shapes import Case

tf: Any = import_module("tensorflow")


def load(threads: int) -> TensorflowRunner:
    """Set the number of threads."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return TensorflowRunner()


class TensorflowRunner:
    """See `bench.runners.Runner`."""

    def versions(self) -> dict[str, str]:
        return {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        }

    def prepare(self, case: Case) -> Prepared:
        shape = case.shape
        if shape.projection or shape.int8:
            raise Unsupported("no projection, no 8-bit weights")
        problem = make_problem(case)
        ways: dict[str, tuple[Callable[..., Any], Callable[[Any], Array]]] = {
            "keras.layers.LSTM": (_with_layers(case, problem), np.asarray)
        }
        fused = shape.layers == 1 and not shape.bidirectional and not shape.shortest
        if fused and case.dtype == "float32":
            ways["BlockLSTM"] = (
                _with_block(case, problem),
                lambda tensor: np.asarray(tensor).swapaxes(0, 1),
            )
        variants = {name: call for name, (call, _) in ways.items()}
        call, batch_major = next(reversed(ways.values()))

        def sums() -> dict[str, float]:
            result = call()
            arrays = result if case.training else [result]
            return digest(shape, *(batch_major(array) for array in arrays[:2]))

        return Prepared(variants, sums)


def _function(case: Case, forward: Any, x: Any, state: list[Any], weights: Any, dy: Any) -> Any:
    """Return y, or y and the gradients with respect to x, the state and the weights."""

    @tf.function  # type: ignore[untyped-decorator]
    def infer(x: Any, state: Any) -> Any:
        return forward(x, state)

    @tf.function  # type: ignore[untyped-decorator]
    def train(x: Any, state: Any, dy: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, *state])
            y = forward(x, state)
        gradients = tape.gradient(y, [x, *state, *weights], output_gradients=dy)
        return y, *gradients

    if case.training:
        return lambda: _wait(train(x, state, dy))
    return lambda: _wait(infer(x, state))


def _wait(result: Any) -> Any:
    """Read one element, so that the call returns only when the result is complete."""
    first = result[0] if isinstance(result, (tuple, list)) else result
    first.numpy()
    return result


def _with_block(case: Case, problem: Problem) -> Callable[[], Any]:
    weights = problem.weights
    # One matrix for [x, h], gates in the order i, g, f, o. The operator's second version
    # is not used: its gradients differ from everybody else's.
    kernel = np.concatenate(
        [gates(weights["weight_ih_l0"], "igfo").T, gates(weights["weight_hh_l0"], "igfo").T]
    )
    w = tf.Variable(kernel)
    b = tf.Variable(gates(weights["bias_l0"], "igfo"))
    peephole = tf.zeros([case.shape.hidden], case.dtype)
    steps = tf.constant(case.shape.steps, tf.int64)

    def forward(x: Any, state: Any) -> Any:
        h, c = state
        return tf.raw_ops.BlockLSTM(
            seq_len_max=steps,
            x=x,
            cs_prev=c,
            h_prev=h,
            w=w,
            wci=peephole,
            wcf=peephole,
            wco=peephole,
            b=b,
            forget_bias=0.0,
            cell_clip=-1.0,
        ).h

    x = tf.constant(time_major(problem.x))
    dy = tf.constant(time_major(problem.dy))
    state = states(case, problem)[0]
    call: Callable[[], Any] = _function(case, forward, x, state, [w, b], dy)
    return call


def _with_layers(case: Case, problem: Problem) -> Callable[[], Any]:
    shape = case.shape
    layers = lstm_layers(case, problem)
    valid = mask(case, problem)

    def forward(x: Any, state: Any) -> Any:
        for first in range(0, len(layers), shape.num_directions):
            cells = range(first, first + shape.num_directions)
            x = joined(
                [
                    layers[cell](x, initial_state=state[2 * cell : 2 * cell + 2], mask=valid)
                    for cell in cells
                ]
            )
        return x

    weights = [weight.value for layer in layers for weight in layer.trainable_weights]
    x, dy = tf.constant(problem.x), tf.constant(problem.dy)
    state = [part for pair in states(case, problem) for part in pair]
    call: Callable[[], Any] = _function(case, forward, x, state, weights, dy)
    return call
