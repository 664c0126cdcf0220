"""The engine under Keras with TensorFlow as its backend."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.ops import control_flow_util

from lstmcore.keras import arrays, plain, tapes
from lstmcore.keras.arrays import Walk
from lstmcore.keras.calls import add
from lstmcore.keras.frames import called_by

REPEATS_STATE = False
"""Whether Keras' output before the first valid step is the initial h; otherwise it is 0."""

EXPORTERS = ("keras.src.export", "tensorflow.python.saved_model", "tensorflow.lite", "tf2onnx")
"""Modules that write programs for other processes, which cannot call back into this one."""


# TensorFlow must not rewrite the engine's Python into operations of a graph.
entry = tf.autograph.experimental.do_not_convert

# Keras' own function returns a variable as it is.
as_tensor = tf.convert_to_tensor


def reason_against(*tensors: Any) -> str | None:
    """Return why the engine cannot compute with these tensors, or None."""
    if tf.config.list_physical_devices("GPU"):
        return "the device GPU"
    for tensor in tensors:
        if not isinstance(tensor, tf.Tensor):
            return f"a tensor of type {type(tensor).__name__}"
        if tensor.shape.rank is None:
            return "sizes that are not known"
    if not tf.executing_eagerly():
        if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
            return "jit_compile=True"
        if called_by(EXPORTERS):
            return "an export"
    return None


def lstm(walk: Walk, mask: Any, x: Any, h: Any, c: Any, *weights: Any) -> tuple[Any, ...]:
    """Return y, if ``walk.sequences``, h and c, with gradients of every order.

    Arguments are tensors of the shapes that `lstmcore.keras.arrays.forward` takes.
    """
    masked = int(mask is not None)

    # The mask is an argument, since TensorFlow looks for variables in all that is not.
    @tf.custom_gradient
    def forward(*given: Any) -> Any:
        masks, inputs = _split(given, masked)
        keep = record.should_record_backprop(list(inputs))
        outputs, tape = _forward(walk, masks, inputs, keep)

        def gradients(*upstream: Any) -> Any:
            return [None] * masked + [*_backward(walk, masks, tape, inputs, upstream)]

        return outputs, gradients

    given = (x, h, c, *weights)
    outputs: tuple[Any, ...] = forward(*given) if mask is None else forward(mask, *given)
    return outputs


def _split(values: Sequence[Any], count: int) -> tuple[Sequence[Any], Sequence[Any]]:
    return values[:count], values[count:]


def _forward(
    walk: Walk, masks: Sequence[Any], inputs: Sequence[Any], keep: bool
) -> tuple[tuple[Any, ...], Any]:
    """Return the outputs and what holds the tape: a list in eager mode, else a tensor.

    `masks` is the mask in a sequence, or an empty one.
    """
    if tf.executing_eagerly():
        *results, tape = _run_forward(walk, keep, len(masks), True, *_arrays((*masks, *inputs)))
        return tuple(tf.convert_to_tensor(result) for result in results), [tape]
    x, h = inputs[:2]
    shapes: list[Any] = [h.shape] * 2
    if walk.sequences:
        shapes = [[*x.shape[:2], h.shape[1]], *shapes]
    run = functools.partial(_run_forward, walk, keep, len(masks), False)
    types = [x.dtype] * len(shapes) + [tf.int64]
    *outputs, tape = tf.numpy_function(run, [*masks, *inputs], types, stateful=False)
    for output, shape in zip(outputs, shapes, strict=True):
        output.set_shape(shape)
    return tuple(outputs), tape


def _arrays(tensors: Sequence[Any]) -> list[Any]:
    return [np.asarray(tensor) for tensor in tensors]


def _run_forward(walk: Walk, keep: bool, masked: int, eager: bool, *values: Any) -> list[Any]:
    """Return the outputs and the tape, which a graph passes on as an array."""
    add(walk.layer)
    masks, inputs = _split(values, masked)
    outputs, tape = arrays.forward(walk, inputs, masks[0] if masks else None, keep)
    if eager:
        return [*outputs, tape]
    return [*outputs, tapes.NONE if tape is None else tapes.array_of(tape)]


def _backward(
    walk: Walk, masks: Sequence[Any], tape: Any, inputs: Sequence[Any], upstream: Sequence[Any]
) -> Any:
    """Return the gradients with respect to `inputs`, which can be differentiated again."""
    count = len(inputs)

    @tf.custom_gradient
    def backward(*given: Any) -> Any:
        masks_given, rest = _split(given, len(masks))
        results = _call_backward(walk, masks_given, tape, *_split(rest, count))

        def second(*cotangents: Any) -> Any:
            return [None] * len(masks) + [
                *_second_gradients(walk, masks_given, rest, count, cotangents)
            ]

        return results, second

    return backward(*masks, *inputs, *upstream)


def _call_backward(
    walk: Walk, masks: Sequence[Any], tape: Any, inputs: Sequence[Any], upstream: Sequence[Any]
) -> tuple[Any, ...]:
    given = (*masks, *inputs, *upstream)
    eager = isinstance(tape, list)  # the forward, whatever the backward is
    if eager and tf.executing_eagerly():
        stored = tape.pop() if tape else None  # a persistent GradientTape comes more than once
        results = _run_backward(walk, len(masks), len(inputs), stored, *_arrays(given))
        return tuple(tf.convert_to_tensor(result) for result in results)

    masked, count = len(masks), len(inputs)

    def run(holder: Any, *values: Any) -> Any:
        return _run_backward(walk, masked, count, tapes.take(holder), *values)

    holder = tf.constant(tapes.NONE) if eager else tape
    types = [tensor.dtype for tensor in inputs]
    results = tf.numpy_function(run, [holder, *given], types, stateful=False)
    for result, tensor in zip(results, inputs, strict=True):
        result.set_shape(tensor.shape)
    return tuple(results)


def _run_backward(walk: Walk, masked: int, count: int, tape: Any, *values: Any) -> list[Any]:
    masks, rest = _split(values, masked)
    inputs, upstream = _split(rest, count)
    return [*arrays.backward(walk, tape, inputs, masks[0] if masks else None, upstream)]


def _second_gradients(
    walk: Walk, masks: Sequence[Any], given: Sequence[Any], count: int, cotangents: Sequence[Any]
) -> Any:
    """Return the gradients, with respect to inputs and upstream gradients, of the gradients."""
    inputs, upstream = _split(given, count)
    mask = masks[0] if masks else None
    with tf.GradientTape() as outer:
        outer.watch(given)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            outputs = plain.lstm(walk, mask, *inputs)
        first = inner.gradient(outputs, inputs, upstream, unconnected_gradients="zero")
    return outer.gradient(first, given, cotangents, unconnected_gradients="zero")


def hold(y: Any, mask: Any, before: Any) -> Any:
    """Return y with the output of the last valid step at steps left out; `before` at the first."""
    steps = tf.shape(y)[1]
    # The valid steps of each row in order, so that the k-th valid one is at place k.
    order = tf.argsort(tf.where(mask, tf.range(steps), steps + tf.range(steps)), axis=1)
    count = tf.cumsum(tf.cast(mask, tf.int32), axis=1)
    index = tf.gather(order, tf.maximum(count - 1, 0), batch_dims=1)
    held = tf.gather(y, index, batch_dims=1)
    held.set_shape(y.shape)
    return tf.where((count > 0)[..., None], held, before[:, None])
