"""The engine under Keras with JAX as its backend."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from keras import ops

from lstmcore.keras import callbacks, plain
from lstmcore.keras.arrays import Walk
from lstmcore.keras.frames import called_by

REPEATS_STATE = True
"""Whether Keras' output before the first valid step is the initial h; otherwise it is 0."""

EXPORTERS = ("keras.src.export", "jax._src.export", "jax.experimental.jax2tf")
"""Modules that write programs for other processes, which cannot call back into this one."""


def entry(function: Any) -> Any:
    """Return the function; JAX traces through it."""
    return function


as_tensor = ops.convert_to_tensor


def reason_against(*tensors: Any) -> str | None:
    """Return why the engine cannot compute with these arrays, or None."""
    if jax.default_backend() != "cpu":
        return f"the device {jax.default_backend()}"
    for tensor in tensors:
        if not isinstance(tensor, jax.Array):
            return f"an array of type {type(tensor).__name__}"
        if not all(isinstance(size, int) for size in tensor.shape):
            return "sizes that are not known"
    if any(isinstance(tensor, jax.core.Tracer) for tensor in tensors) and called_by(EXPORTERS):
        return "an export"
    return None


def lstm(walk: Walk, mask: Any, x: Any, h: Any, c: Any, *weights: Any) -> tuple[Any, ...]:
    """Return y, if ``walk.sequences``, h and c, with gradients of every order.

    Arguments are arrays of the shapes that `lstmcore.keras.arrays.forward` takes.
    """
    outputs: tuple[Any, ...] = _forward(walk, mask, (x, h, c, *weights))
    return outputs


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _forward(walk: Walk, mask: Any, inputs: Any) -> Any:
    return callbacks.lstm(walk, mask, inputs)


def _keep(walk: Walk, mask: Any, inputs: Any) -> Any:
    outputs, pullback = jax.vjp(functools.partial(callbacks.lstm, walk, mask), inputs)
    return outputs, (mask, inputs, pullback)


def _gradients(walk: Walk, saved: Any, upstream: Any) -> Any:
    return None, _backward(walk, *saved, upstream)


_forward.defvjp(_keep, _gradients)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _backward(walk: Walk, mask: Any, inputs: Any, pullback: Any, upstream: Any) -> Any:
    (gradients,) = pullback(upstream)
    return gradients


def _keep_all(walk: Walk, mask: Any, inputs: Any, pullback: Any, upstream: Any) -> Any:
    return _backward(walk, mask, inputs, pullback, upstream), (mask, inputs, upstream)


def _scan(step: Any, state: Any, inputs: Any, reverse: bool) -> Any:
    def next_state(state: Any, inputs: Any) -> Any:
        after = step(state, inputs)
        return after, after

    return jax.lax.scan(next_state, state, inputs, reverse=reverse)[1]


def _second_gradients(walk: Walk, saved: Any, cotangents: Any) -> Any:
    mask, inputs, upstream = saved

    def gradients(inputs: Any, upstream: Any) -> Any:
        _, transposed = jax.vjp(functools.partial(plain.lstm, _scan, walk, mask), *inputs)
        return transposed(upstream)

    _, transposed = jax.vjp(gradients, inputs, upstream)
    by_inputs, by_upstream = transposed(cotangents)
    return None, by_inputs, None, by_upstream


_backward.defvjp(_keep_all, _second_gradients)


def hold(y: Any, mask: Any, before: Any) -> Any:
    """Return y with the output of the last valid step at steps left out; `before` at the first."""
    last = jax.lax.cummax(jnp.where(mask, jnp.arange(y.shape[1]), -1), axis=1)
    held = jnp.take_along_axis(y, jnp.maximum(last, 0)[..., None], axis=1)
    return jnp.where((last >= 0)[..., None], held, before[:, None])
