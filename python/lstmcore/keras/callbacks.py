"""The engine as a function of JAX with gradients, through callbacks into Python."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from lstmcore.keras import arrays
from lstmcore.keras.arrays import Walk
from lstmcore.keras.calls import add


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def lstm(walk: Walk, mask: Any, inputs: Any) -> Any:
    """Return y, if ``walk.sequences``, h and c; `inputs` as in `lstmcore.keras.arrays.forward`.

    It has first derivatives. A backward computes the forward once more, with a tape, since a
    program of XLA could not free one that it has stored.
    """
    x, h = inputs[:2]
    shapes = [h, h]
    if walk.sequences:
        shapes = [jax.ShapeDtypeStruct((*x.shape[:2], h.shape[1]), x.dtype), *shapes]
    run = _callback(_run_forward, walk)
    return jax.pure_callback(run, _shapes_of(shapes), mask, inputs, vmap_method="sequential")


def _keep(walk: Walk, mask: Any, inputs: Any) -> Any:
    return lstm(walk, mask, inputs), (mask, inputs)


def _gradients(walk: Walk, saved: Any, upstream: Any) -> Any:
    mask, inputs = saved
    run = _callback(_run_backward, walk)
    shapes = _shapes_of(inputs)
    return None, jax.pure_callback(run, shapes, mask, inputs, upstream, vmap_method="sequential")


lstm.defvjp(_keep, _gradients)


@functools.lru_cache(maxsize=1024)
def _callback(function: Any, walk: Walk) -> Any:
    """Return the same object for the same arguments, since JAX compiles for each object anew."""
    return functools.partial(function, walk)


def _shapes_of(values: Any) -> tuple[Any, ...]:
    return tuple(jax.ShapeDtypeStruct(value.shape, value.dtype) for value in values)


def _run_forward(walk: Walk, mask: Any, inputs: Any) -> Any:
    add(walk.layer)
    outputs, _ = arrays.forward(walk, _arrays(inputs), _flags(mask), False)
    return outputs


def _run_backward(walk: Walk, mask: Any, inputs: Any, upstream: Any) -> Any:
    return arrays.backward(walk, None, _arrays(inputs), _flags(mask), _arrays(upstream))


def _arrays(values: Any) -> list[Any]:
    return [np.asarray(value) for value in values]


def _flags(mask: Any) -> Any:
    return None if mask is None else np.asarray(mask)
