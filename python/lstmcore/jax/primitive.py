"""The LSTM as a primitive of JAX: how it is compiled, differentiated and mapped over a batch.

Three functions of the engine are called from compiled programs (`lstmcore.jax.xla`): the forward,
the forward that records a tape, and the backward. `_differentiable` connects the last two as a
``jax.custom_vjp``. The primitive is around it because a ``vmap`` then meets the LSTM as a whole,
before it is differentiated: where the weights are the same for all examples, the mapped axis
becomes part of N, for which the engine is faster than for call after call.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from lstmcore.jax import engine, xla
from lstmcore.jax.call import DIFFERENTIABLE, WEIGHTS, Call, text_of

_INFER, _RECORD, _BACKWARD = (
    "lstmcore_lstm",
    "lstmcore_lstm_record",
    "lstmcore_lstm_backward",
)
xla.register(_INFER, engine.infer)
xla.register(_RECORD, engine.record)
xla.register(_BACKWARD, engine.backward)

lstm_p = Primitive("lstmcore_lstm")
lstm_p.multiple_results = True

# ---- calls of the engine ----------------------------------------------------------------------


def _outputs(call: Call, operands: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return the shapes and types of y, h and c."""
    x, _, w_hh = operands[:3]
    batch = x.shape[1] if call.time_major else x.shape[0]
    units = w_hh.shape[1]
    state = jax.ShapeDtypeStruct((batch, units), x.dtype)
    return jax.ShapeDtypeStruct((*x.shape[:2], units), x.dtype), state, state


def _run(target: str, call: Call, results: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
    # "expand_dims": the engine's functions take batch axes, of extent 1 where one serves all.
    compiled = jax.ffi.ffi_call(target, tuple(results), vmap_method="expand_dims")
    return list(compiled(*operands, call=text_of(call)))


def _infer(*operands: Any, call: Call) -> list[Any]:
    return _run(_INFER, call, _outputs(call, operands), operands)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(call: Call, *operands: Any) -> list[Any]:
    return _infer(*operands, call=call)


def _forward(call: Call, *operands: Any) -> tuple[list[Any], tuple[Any, ...]]:
    number = jax.ShapeDtypeStruct((2,), jnp.uint32)  # 64 bits, which JAX may not have as one
    *outputs, tape = _run(_RECORD, call, (*_outputs(call, operands), number), operands)
    return outputs, (tape, *operands)


def _backward(call: Call, residuals: Any, cotangents: Any) -> tuple[Any, ...]:
    tape, *operands = residuals
    inputs = dict(zip(call.operands, operands, strict=True))
    results = [jax.ShapeDtypeStruct(inputs[name].shape, inputs[name].dtype) for name in call.wanted]
    gradients = _run(_BACKWARD, call, results, (*operands, tape, *cotangents))
    found = dict(zip(call.wanted, gradients, strict=True))
    return tuple(found.get(name) for name in call.operands)


# Under jax.checkpoint the first forward then records no tape, which nothing would take.
_differentiable.defvjp(_forward, _backward, optimize_remat=True)

# ---- rules of the primitive -------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames="call")
def _execute(*operands: Any, call: Call) -> list[Any]:
    return _infer(*operands, call=call)


def _abstract(*operands: Any, call: Call) -> list[Any]:
    shaped = jax.core.ShapedArray
    return [shaped(output.shape, output.dtype) for output in _outputs(call, operands)]


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, call: Call
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Differentiate by the backward, with respect to the operands that have tangents."""
    moving = [
        place
        for place, (name, tangent) in enumerate(zip(call.operands, tangents, strict=True))
        if name in DIFFERENTIABLE and type(tangent) is not ad.Zero
    ]

    if not moving:  # only the mask or the lengths, whose tangents are always zero
        outputs = lstm_p.bind(*primals, call=call)
        return outputs, [jnp.zeros_like(output) for output in outputs]

    def function(*values: Any) -> Any:
        operands = list(primals)
        for place, value in zip(moving, values, strict=True):
            operands[place] = value
        wanting = call.wanting(tuple(call.operands[place] for place in moving))
        return _differentiable(wanting, *operands)

    outputs, along = jax.jvp(
        function,
        tuple(primals[place] for place in moving),
        tuple(tangents[place] for place in moving),
    )
    return outputs, along


def _batch(
    operands: Sequence[Any], axes: Sequence[int | None], *, call: Call
) -> tuple[Sequence[Any], Sequence[int]]:
    mapped = dict(zip(call.operands, axes, strict=True))
    if any(mapped.get(name) is not None for name in WEIGHTS):
        function = functools.partial(_differentiable, call.wanting(call.operands))
        return jax.vmap(function, in_axes=tuple(axes))(*operands), (0, 0, 0)
    size, rows = _extents(operands, axes, call)
    folded = [
        operand if name in WEIGHTS else _fold(operand, axis, size, _batch_axis(call, name))
        for name, operand, axis in zip(call.operands, operands, axes, strict=True)
    ]
    y, h, c = lstm_p.bind(*folded, call=call)
    place = _batch_axis(call, "x")
    outputs = ((y, place), (h, 0), (c, 0))
    return [_unfold(array, axis, size, rows) for array, axis in outputs], (place, 0, 0)


def _extents(operands: Sequence[Any], axes: Sequence[int | None], call: Call) -> tuple[int, int]:
    """Return the extent of the mapped axis, and N."""
    size = next(
        operand.shape[axis]
        for operand, axis in zip(operands, axes, strict=True)
        if axis is not None
    )
    shape = list(operands[0].shape)
    if axes[0] is not None:
        del shape[axes[0]]
    return size, shape[_batch_axis(call, "x")]


def _batch_axis(call: Call, name: str) -> int:
    """Return which axis of an operand is N."""
    return 1 if call.time_major and name in ("x", "mask") else 0


def _fold(operand: Any, axis: int | None, size: int, place: int) -> Any:
    """Return `operand` with a mapped axis, or `size` copies of it, as a part of its axis N."""
    if axis is None:
        operand = jnp.broadcast_to(operand, (size, *operand.shape))
        axis = 0
    operand = jnp.moveaxis(operand, axis, place)
    shape = list(operand.shape)
    shape[place : place + 2] = [size * shape[place + 1]]
    return operand.reshape(shape)


def _unfold(result: Any, place: int, size: int, rows: int) -> Any:
    shape = list(result.shape)
    shape[place : place + 1] = [size, rows]
    return result.reshape(shape)


def _refuse(context: Any, *operands: Any, call: Call) -> Any:
    raise NotImplementedError(
        "lstmcore.jax.lstm: expected arrays on the CPU, got a program for "
        f"{', '.join(context.module_context.platforms)}; run it under "
        "jax.default_device(jax.devices('cpu')[0])"
    )


lstm_p.def_impl(_execute)
lstm_p.def_abstract_eval(_abstract)
ad.primitive_jvps[lstm_p] = _jvp
batching.primitive_batchers[lstm_p] = _batch
mlir.register_lowering(lstm_p, _refuse)
mlir.register_lowering(lstm_p, mlir.lower_fun(_infer, multiple_results=True), platform="cpu")
