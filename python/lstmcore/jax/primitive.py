"""The LSTM as a primitive of JAX: how it is compiled, differentiated and mapped over a batch.

Three functions of the engine are called from compiled programs (`lstmcore.jax.xla`): the forward,
the forward that records a tape, and the backward. `_differentiable` connects the last two as a
``jax.custom_vjp``, and they are functions with derivatives themselves (`_recorded`, `_pulled`), for
derivatives of gradients. The primitive is around it because a ``vmap`` then meets the LSTM as a
whole, before it is differentiated: where the weights are the same for all examples, the mapped axis
becomes part of N, for which the engine is faster than for call after call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, partial_eval

from lstmcore.jax import engine, plain, xla
from lstmcore.jax.call import DIFFERENTIABLE, WEIGHTS, Call, text_of

_INFER, _RECORD, _BACKWARD = (
    "lstmcore_lstm",
    "lstmcore_lstm_record",
    "lstmcore_lstm_backward",
)
xla.register((_INFER, engine.infer), (_RECORD, engine.record), (_BACKWARD, engine.backward))

lstm_p = Primitive("lstmcore_lstm")
record_p = Primitive("lstmcore_lstm_record")
lstm_p.multiple_results = record_p.multiple_results = True

# ---- calls of the engine ----------------------------------------------------------------------


def _outputs(call: Call, operands: Sequence[Any]) -> tuple[Any, ...]:
    """Return the shapes and types of the outputs: y, if ``call.sequences``, h and c."""
    x, _, w_hh = operands[:3]
    batch = x.shape[1] if call.time_major else x.shape[0]
    units = w_hh.shape[1]
    state = jax.ShapeDtypeStruct((batch, units), x.dtype)
    y = jax.ShapeDtypeStruct((*x.shape[:2], units), x.dtype)
    return (y, state, state) if call.sequences else (state, state)


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
    *outputs, tape = record_p.bind(*operands, call=call)
    return outputs, (tape, *operands)


def _backward(call: Call, residuals: Any, cotangents: Any) -> tuple[Any, ...]:
    tape, *operands = residuals
    found = dict(zip(call.wanted, _pulled(call, tape, operands, cotangents), strict=True))
    return tuple(found.get(name) for name in call.operands)


_differentiable.defvjp(_forward, _backward)

# ---- derivatives of gradients -----------------------------------------------------------------


def _record(*operands: Any, call: Call) -> list[Any]:
    """Return the outputs and the number of the tape."""
    number = jax.ShapeDtypeStruct((2,), jnp.uint32)  # 64 bits, which JAX may not have as one
    return _run(_RECORD, call, (*_outputs(call, operands), number), operands)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recorded(call: Call, *operands: Any) -> list[Any]:
    results: list[Any] = record_p.bind(*operands, call=call)
    return results


def _record_again(call: Call, *operands: Any) -> tuple[list[Any], tuple[Any, ...]]:
    results = _recorded(call, *operands)
    return results, (results[-1], *operands)


def _backward_of_recorded(call: Call, residuals: Any, cotangents: Any) -> tuple[Any, ...]:
    return _backward(call, residuals, cotangents[:-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pulled(call: Call, tape: Any, operands: Any, cotangents: Any) -> list[Any]:
    """Return the gradients with respect to the operands that `call` wants."""
    inputs = dict(zip(call.operands, operands, strict=True))
    results = [jax.ShapeDtypeStruct(inputs[name].shape, inputs[name].dtype) for name in call.wanted]
    return _run(_BACKWARD, call, results, (*operands, tape, *cotangents))


def _pull_again(call: Call, tape: Any, operands: Any, cotangents: Any) -> tuple[Any, Any]:
    return _pulled(call, tape, operands, cotangents), (operands, cotangents)


def _second_gradients(call: Call, residuals: Any, along: Any) -> tuple[Any, Any, Any]:
    """Return the gradients of the gradients, by differentiating a plain loop twice."""
    operands, cotangents = residuals
    names = [name for name in call.operands if name in DIFFERENTIABLE]
    rest = operands[len(names) :]  # the mask or the lengths

    def gradients(floats: Any, cotangents: Any) -> list[Any]:
        _, pullback = jax.vjp(lambda *values: plain.lstm(call, *values, *rest), *floats)
        found = dict(zip(names, pullback(tuple(cotangents)), strict=True))
        return [found[name] for name in call.wanted]

    _, pullback = jax.vjp(gradients, operands[: len(names)], cotangents)
    by_floats, by_cotangents = pullback(along)
    return None, [*by_floats, *(None for _ in rest)], by_cotangents


_recorded.defvjp(_record_again, _backward_of_recorded)
_pulled.defvjp(_pull_again, _second_gradients)

# ---- rules of the primitives ------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames="call")
def _execute(*operands: Any, call: Call) -> list[Any]:
    return _infer(*operands, call=call)


def _abstract(*operands: Any, call: Call) -> list[Any]:
    shaped = jax.core.ShapedArray
    return [shaped(output.shape, output.dtype) for output in _outputs(call, operands)]


def _abstract_record(*operands: Any, call: Call) -> list[Any]:
    return [*_abstract(*operands, call=call), jax.core.ShapedArray((2,), jnp.uint32)]


def _jvp(
    primitive: Primitive,
    differentiable: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    call: Call,
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Differentiate by the backward, with respect to the operands that have tangents."""
    moving = [
        place
        for place, (name, tangent) in enumerate(zip(call.operands, tangents, strict=True))
        if name in DIFFERENTIABLE and type(tangent) is not ad.Zero
    ]

    if not moving:  # only the mask or the lengths, whose tangents are always zero
        outputs = primitive.bind(*primals, call=call)
        return outputs, [ad.Zero.from_primal_value(output) for output in outputs]

    def function(*values: Any) -> Any:
        operands = list(primals)
        for place, value in zip(moving, values, strict=True):
            operands[place] = value
        wanting = call.wanting(tuple(call.operands[place] for place in moving))
        return differentiable(wanting, *operands)

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
        outputs = jax.vmap(function, in_axes=tuple(axes))(*operands)
        return outputs, (0,) * len(outputs)
    size, rows = _extents(operands, axes, call)
    folded = [
        operand if name in WEIGHTS else _fold(operand, axis, size, _batch_axis(call, name))
        for name, operand, axis in zip(call.operands, operands, axes, strict=True)
    ]
    outputs = lstm_p.bind(*folded, call=call)
    places = (_batch_axis(call, "x"), 0, 0)[-len(outputs) :]  # of the new axis
    return list(map(_unfold, outputs, places, [size] * 3, [rows] * 3)), places


def _batch_record(
    operands: Sequence[Any], axes: Sequence[int | None], *, call: Call
) -> tuple[Sequence[Any], Sequence[int]]:
    record = functools.partial(_record, call=call)
    results = jax.vmap(record, in_axes=tuple(axes))(*operands)
    return results, (0,) * len(results)


def _without_tape(used: list[bool], equation: Any) -> tuple[list[bool], Any]:
    """Record nothing where no backward takes the tape, as under jax.checkpoint."""
    if not any(used):
        return [False] * len(equation.invars), None
    if not used[-1]:
        equation = equation.replace(primitive=lstm_p, outvars=equation.outvars[:-1])
    return [True] * len(equation.invars), equation


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


@functools.partial(jax.jit, static_argnames="call")
def _execute_record(*operands: Any, call: Call) -> list[Any]:
    return _record(*operands, call=call)


lstm_p.def_impl(_execute)
lstm_p.def_abstract_eval(_abstract)
ad.primitive_jvps[lstm_p] = functools.partial(_jvp, lstm_p, _differentiable)
batching.primitive_batchers[lstm_p] = _batch

record_p.def_impl(_execute_record)
record_p.def_abstract_eval(_abstract_record)
ad.primitive_jvps[record_p] = functools.partial(_jvp, record_p, _recorded)
batching.primitive_batchers[record_p] = _batch_record
partial_eval.dce_rules[record_p] = _without_tape

for primitive, computed in ((lstm_p, _infer), (record_p, _record)):
    mlir.register_lowering(primitive, _refuse)
    lowering = mlir.lower_fun(computed, multiple_results=True)
    mlir.register_lowering(primitive, lowering, platform="cpu")
