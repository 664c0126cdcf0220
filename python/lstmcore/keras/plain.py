"""An LSTM in TensorFlow's operations, for what the engine's gradients do not have: their gradients.

The gradient of a gradient is computed by differentiating this loop twice, which is slow. With
PyTorch and JAX, `lstmcore.torch` and `lstmcore.jax` compute it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops

from lstmcore.keras.arrays import Walk


def lstm(walk: Walk, mask: Any, x: Any, h: Any, c: Any, *weights: Any) -> tuple[Any, ...]:
    """Return y, if ``walk.sequences``, h and c; arguments as in `lstmcore.keras.arrays.forward`.

    Formula: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as in
    ``keras.layers.LSTMCell``.
    """
    kernel, recurrent, *bias = weights

    def step(state: Any, inputs: Any) -> Any:
        before, memory = state
        z = ops.matmul(inputs[0], kernel) + ops.matmul(before, recurrent)
        if bias:
            z = z + bias[0]
        i, f, g, o = ops.split(z, 4, axis=-1)
        gate, function = walk.gate_function, walk.cell_function
        new_memory = gate(f) * memory + gate(i) * function(g)
        after = gate(o) * function(new_memory)
        if mask is None:
            return after, new_memory
        return ops.where(inputs[1], after, before), ops.where(inputs[1], new_memory, memory)

    steps = [ops.swapaxes(x, 0, 1)]
    if mask is not None:
        steps.append(ops.expand_dims(ops.swapaxes(mask, 0, 1), -1))
    all_h, all_c = tf.scan(step, tuple(steps), initializer=(h, c), reverse=walk.reverse)
    last = 0 if walk.reverse else -1
    state = (all_h[last], all_c[last])
    if not walk.sequences:
        return state
    if mask is not None:
        all_h = ops.where(steps[1], all_h, ops.zeros_like(all_h))
    return (ops.swapaxes(all_h, 0, 1), *state)
