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
    cell_names,
    digest,
    gates,
    keras_weights,
    make_problem,
    time_major,
)
from bench.runners import Prepared, Unsupported
from bench.shapes import Case

tf: Any = import_module("tensorflow")
keras: Any = import_module("keras")


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


def _state(case: Case, problem: Problem) -> list[Any]:
    """Return h and c of every cell in turn; zeros for inference."""
    factor = 1 if case.training else 0
    pairs = zip(problem.h0, problem.c0, strict=True)
    return [tf.constant(array * np.asarray(factor, case.dtype)) for pair in pairs for array in pair]


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
    call: Callable[[], Any] = _function(case, forward, x, _state(case, problem), [w, b], dy)
    return call


def _with_layers(case: Case, problem: Problem) -> Callable[[], Any]:
    shape = case.shape
    cells = []
    for cell, suffix in enumerate(cell_names(shape)):
        inputs = shape.inputs if cell < shape.num_directions else 2 * shape.hidden
        if shape.num_directions == 1 and cell > 0:
            inputs = shape.hidden
        layer = keras.layers.LSTM(
            shape.hidden,
            return_sequences=True,
            go_backwards=suffix.endswith("reverse"),
            dtype=case.dtype,
        )
        layer.build((shape.batch, shape.steps, inputs))
        layer.set_weights(keras_weights(problem.weights, suffix))
        cells.append(layer)
    mask = None
    if problem.lengths is not None:
        if shape.bidirectional:
            raise Unsupported("not written for ragged batches in both directions")
        mask = tf.constant(np.arange(shape.steps) < problem.lengths[:, None])

    def forward(x: Any, state: Any) -> Any:
        for first in range(0, len(cells), shape.num_directions):
            outputs = []
            for cell in range(first, first + shape.num_directions):
                pair = state[2 * cell : 2 * cell + 2]
                y = cells[cell](x, initial_state=pair, mask=mask)
                outputs.append(tf.reverse(y, [1]) if cell > first else y)
            x = outputs[0] if len(outputs) == 1 else tf.concat(outputs, axis=-1)
        return x

    weights = [weight.value for layer in cells for weight in layer.trainable_weights]
    x = tf.constant(problem.x)
    dy = tf.constant(problem.dy)
    call: Callable[[], Any] = _function(case, forward, x, _state(case, problem), weights, dy)
    return call
