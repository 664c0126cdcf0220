"""The engine under Keras with JAX as its backend."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from keras import ops

from lstmcore.jax import engine, xla
from lstmcore.jax.call import Call
from lstmcore.jax.primitive import lstm_p
from lstmcore.keras.arrays import Walk
from lstmcore.keras.calls import add, record
from lstmcore.keras.frames import called_by

engine.observers.append(add)
record.sources.append(xla.direct)

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
    kernel, recurrent, *bias = weights
    operands = {"x": x, "w_ih": kernel.T, "w_hh": recurrent.T}
    if bias:
        operands["b"] = bias[0]
    operands |= {"h0": h, "c0": c}
    if mask is not None:
        operands["mask"] = mask
    call = Call(
        tuple(operands),
        walk.reverse,
        time_major=False,
        gate=walk.gate,
        cell=walk.cell,
        sequences=walk.sequences,
        layer=walk.layer,
    )
    return tuple(lstm_p.bind(*operands.values(), call=call))


def hold(y: Any, mask: Any, before: Any) -> Any:
    """Return y with the output of the last valid step at steps left out; `before` at the first."""
    last = jax.lax.cummax(jnp.where(mask, jnp.arange(y.shape[1]), -1), axis=1)
    held = jnp.take_along_axis(y, jnp.maximum(last, 0)[..., None], axis=1)
    return jnp.where((last >= 0)[..., None], held, before[:, None])
