"""The engine's forward and its gradients as functions that PyTorch can differentiate twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from lstmcore.torch import aten, engine, third
from lstmcore.torch.engine import Call
from lstmcore.torch.plan import Plan


def lstm(call: Call, x: Any, h: Any, c: Any, weights: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return y, h and c; a tape is stored only if a gradient can be requested."""
    if torch._C._are_functorch_transforms_active():  # torch.func's
        y, h_after, c_after, _ = _Transformed.apply(engine.own_steps(call), x, h, c, *weights)
    elif not _differentiated(x, h, c, weights):
        y, h_after, c_after, _ = engine.forward(call, x, h, c, weights, False)
    else:
        y, h_after, c_after = _Forward.apply(engine.own_steps(call), x, h, c, *weights)
    return y, h_after, c_after


def _forward_mode() -> bool:
    """Return whether tensors may have tangents: within ``torch.autograd.forward_ad.dual_level``."""
    level: int = forward_ad._current_level
    return level >= 0


def _differentiated(x: Any, h: Any, c: Any, weights: Sequence[Any]) -> bool:
    if _forward_mode():
        return True
    if not torch.is_grad_enabled():
        return False
    return (
        x.requires_grad
        or any(weight.requires_grad for weight in weights)
        or (h is not None and h.requires_grad)
        or (c is not None and c.requires_grad)
    )


class _Forward(torch.autograd.Function):
    """Maps (call, x, h, c, *weights) to y, h and c."""

    @staticmethod
    def forward(ctx: Any, call: Call, x: Any, h: Any, c: Any, *weights: Any) -> Any:
        *outputs, tape = engine.forward(call, x, h, c, weights, True)
        _save(ctx, call, tape, (x, h, c, *weights))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        tape, x, h, c, *weights = ctx.saved_tensors
        call: Call = ctx.call
        needs = needs_of(call.plan, ctx.needs_input_grad[1:])
        outputs = grads[:3]
        transformed = torch._C._are_functorch_transforms_active() or _any_batched(outputs)
        if torch.is_grad_enabled() or transformed or _forward_mode():
            results = _apply(_Backward, call, needs, tape, *outputs, x, h, c, *weights)
        else:
            results = engine.gradients(call, needs, tape, outputs, x, h, c, weights)
        return (None, *spread(call.plan, results, ctx.needs_input_grad[1:]))

    @staticmethod
    def jvp(ctx: Any, _: Any, *directions: Any) -> Any:
        call: Call = ctx.call
        _, *tensors = ctx.saved_tensors

        def tangents(*given: Any) -> Any:
            x, h, c, *weights = given[: len(tensors)]
            along = gather(call.plan, given[len(tensors) :])
            return engine.tangents(call, x, h, c, weights, along)[0]

        return _apply(_Last, tangents, *tensors, *directions)


class _Transformed(_Forward):
    """The same function in the form that torch.func needs, which is slower: it returns the tape."""

    @staticmethod
    def forward(call: Call, x: Any, h: Any, c: Any, *weights: Any) -> Any:  # type: ignore[override]
        y, *others = engine.forward(call, x, h, c, weights, True)
        return (torch.empty(0, device="cpu") if y is None else y, *others)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        call, *tensors = inputs
        ctx.mark_non_differentiable(output[3])
        _save(ctx, call, output[3], tensors)

    @staticmethod
    def jvp(ctx: Any, *directions: Any) -> Any:
        y, *others = _Forward.jvp(ctx, *directions)
        return (torch.empty(0, device="cpu") if y is None else y, *others, None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Transformed, info.batch_size, in_dims, arguments)


def _save(ctx: Any, call: Call, tape: Any, tensors: Sequence[Any]) -> None:
    ctx.call = call
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(tape, *tensors)
    if _forward_mode():
        ctx.save_for_forward(tape, *tensors)


class _Backward(torch.autograd.Function):
    """Maps (call, needs, tape, dy, dh, dc, x, h, c, *weights) to `engine.gradients`.

    Its backward is the double backward. With the Jacobian J and a direction t, the gradient of
    <t, J^T dy> with respect to dy is J t; with respect to the inputs it is the derivative of J^T dy
    along t, since a Hessian is symmetric (`lstm_jvp_backward`).
    """

    @staticmethod
    def forward(call: Call, needs: Any, tape: Any, *tensors: Any) -> Any:
        dy, dh, dc, x, h, c, *weights = tensors
        return tuple(engine.gradients(call, needs, tape, (dy, dh, dc), x, h, c, weights))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.call, ctx.needs, _, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *directions: Any) -> Any:
        call: Call = ctx.call
        tensors = ctx.saved_tensors
        needed = ctx.needs_input_grad[3:]
        needs = needs_of(call.plan, needed[3:])
        if torch.is_grad_enabled():
            tensors = _apply(_Guard, _has_third(call), *tensors)
        results = _apply(_Double, call, needs, len(tensors), *tensors, *directions)
        by_outputs = [
            value if wanted else None for value, wanted in zip(results[:3], needed[:3], strict=True)
        ]
        return (None, None, None, *by_outputs, *spread(call.plan, results[3:], needed[3:]))

    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, ___: Any, *directions: Any) -> Any:
        call: Call = ctx.call
        needs = ctx.needs
        tensors = ctx.saved_tensors

        def tangents(*given: Any) -> Any:
            outputs, (x, h, c, *weights) = given[:3], given[3 : len(tensors)]
            along = given[len(tensors) :]
            _, tape = engine.tangents(call, x, h, c, weights, gather(call.plan, along[3:]))
            return engine.second_gradients(call, tape, outputs, needs, along[:3])

        return _apply(_Last, tangents, *tensors, *directions)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Backward, info.batch_size, in_dims, arguments)


class _Double(torch.autograd.Function):
    """Maps (call, needs, count, dy, dh, dc, x, h, c, *weights, *directions) to double gradients.

    The directions belong to the engine's inputs; `count` tensors precede them. The results, J t for
    dy and H t for the inputs, are linear in the directions t. Gradients with respect to the
    directions, which ``torch.autograd.functional.hvp`` needs, are the transpose, J^T u + H s.
    Those with respect to the tensors are third derivatives, which PyTorch's own kernel computes if
    its backward pass goes on to the tensors, which `_Guard` marks, or if there may be a next one.
    """

    @staticmethod
    def forward(call: Call, needs: Any, count: int, *given: Any) -> Any:
        (dy, dh, dc, x, h, c, *weights), directions = given[:count], given[count:]
        along, tape = engine.tangents(call, x, h, c, weights, directions)
        by_inputs: list[Any] = [None] * len(needs)
        if any(needs):
            by_inputs = engine.second_gradients(call, tape, (dy, dh, dc), needs)
        return (*along, *by_inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.call, ctx.needs, ctx.count, *given = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given)
        nodes = [tensor.grad_fn for tensor in given[: ctx.count] if tensor is not None]
        ctx.guard = next((node for node in nodes if getattr(node, "passes", False)), None)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        call: Call = ctx.call
        saved = ctx.saved_tensors
        wanted = _goes_on_to(ctx.guard)
        if wanted or torch.is_grad_enabled():
            if _has_third(call):
                results = third.gradients(call, ctx.needs, ctx.count, saved, grads)
                return (None, None, None, *results)
            if wanted:
                raise RuntimeError(_ONE_MORE)
        tensors = saved[: ctx.count]
        needs = ctx.needs_input_grad[3 + ctx.count :]

        def transposed(*given: Any) -> Any:
            outputs, (x, h, c, *weights) = given[:3], given[3 : ctx.count]
            cotangents = given[ctx.count :]
            _, tape = engine.tangents(call, x, h, c, weights, cotangents[3:])
            return engine.second_gradients(call, tape, outputs, needs, cotangents[:3])

        results = _apply(_Last, transposed, *tensors, *grads)
        return (None, None, None, *[None] * ctx.count, *results)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Double, info.batch_size, in_dims, arguments)


_ONE_MORE = (
    "lstmcore.torch: expected at most second derivatives, and no gradients of forward-mode "
    "tangents, got a request for one more; restore_lstm(model) has them"
)


def _has_third(call: Call) -> bool:
    """Return whether PyTorch's own kernel can take over for third derivatives."""
    transformed = torch._C._are_functorch_transforms_active() or _forward_mode()
    return not transformed and aten.computes(call)


def _goes_on_to(node: Any) -> bool:
    """Return whether the backward pass that is running goes on to a node."""
    return node is not None and torch._C._will_engine_execute_node(node)


class _Guard(torch.autograd.Function):
    """Maps (passes, *tensors) to the tensors.

    A gradient with respect to the tensors raises unless `passes`.
    """

    @staticmethod
    def forward(passes: bool, *tensors: Any) -> Any:
        return tuple(None if tensor is None else tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.passes = inputs[0]
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if not ctx.passes:
            raise RuntimeError(_ONE_MORE)
        return (None, *grads)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _Guard.apply(*arguments), in_dims[1:]


class _Last(torch.autograd.Function):
    """Applies a function of tensors whose results cannot be differentiated any further.

    PyTorch's ``once_differentiable`` silently omits gradients if only those of some inputs are
    requested.
    """

    @staticmethod
    def forward(function: Any, *tensors: Any) -> Any:
        return tuple(function(*tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(_ONE_MORE)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Last, info.batch_size, in_dims, arguments)


def _one_by_one(kind: Any, size: int, in_dims: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """Return what torch.func.vmap needs, computed by a loop over the batch."""
    results = []
    for index in range(max(size, 1)):
        parts = [
            _part(argument, axis, index)
            if isinstance(argument, torch.Tensor) and axis is not None
            else argument
            for argument, axis in zip(arguments, in_dims, strict=True)
        ]
        results.append(kind.apply(*parts))
    columns = list(zip(*results, strict=True))
    # For an empty batch the loop ran once, to find the shapes.
    outputs = tuple(None if column[0] is None else torch.stack(column)[:size] for column in columns)
    return outputs, tuple(None if output is None else 0 for output in outputs)


def _part(tensor: Any, axis: int, index: int) -> Any:
    if tensor.size(axis):
        return tensor.select(axis, index)
    shape = [size for place, size in enumerate(tensor.shape) if place != axis]
    return tensor.new_full(
        shape, -1 if tensor.dtype is torch.int64 else 0
    )  # -1: not the number of a tape


def _any_batched(tensors: Sequence[Any]) -> bool:
    """Return whether a tensor is batched by torch.autograd's own, older vmap.

    ``torch.autograd.grad(..., is_grads_batched=True)`` uses it, and so do the functions of
    ``torch.autograd.functional`` with ``vectorize=True``.
    """
    is_batched = torch._C._functorch.is_legacy_batchedtensor
    return any(isinstance(tensor, torch.Tensor) and is_batched(tensor) for tensor in tensors)


def _apply(kind: Any, *arguments: Any) -> Any:
    """Call `kind.apply`, in a loop over the batch if an argument is batched (`_any_batched`)."""
    if not _any_batched(arguments):
        return kind.apply(*arguments)
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    axes = [0 if _any_batched((argument,)) else None for argument in arguments]
    parts = [
        argument if axis is None else torch._remove_batch_dim(argument, level, 1, 0)
        for argument, axis in zip(arguments, axes, strict=True)
    ]
    if _any_batched(parts):
        raise RuntimeError(
            "lstmcore.torch: expected vectorize=True or is_grads_batched=True once, got one inside "
            "another; use torch.func.vmap"
        )
    size = next(part.size(0) for part, axis in zip(parts, axes, strict=True) if axis == 0)
    outputs, _ = _one_by_one(kind, size, axes, parts)
    return tuple(
        None if output is None else torch._add_batch_dim(output, 0, level) for output in outputs
    )


def needs_of(plan: Plan, needs: Sequence[bool]) -> list[bool]:
    """Convert the flags of x, h, c and PyTorch's parameters to those of the engine's weights."""
    wanted = list(needs[:3])
    parameters = needs[3:]
    for _, first, second in plan.places:
        wanted.append(parameters[first] or (second >= 0 and parameters[second]))
    return wanted


def spread(plan: Plan, results: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
    """Convert gradients of the engine's weights to those of PyTorch's parameters.

    Both of PyTorch's biases get the gradient of their sum, each as a tensor of its own, since
    callers modify gradients in place.
    """
    gradients = [*results[:3], *[None] * len(plan.names)]
    for gradient, (_, first, second) in zip(results[3:], plan.places, strict=True):
        gradients[3 + first] = gradient if needs[3 + first] else None
        if second >= 0 and needs[3 + second]:
            both = needs[3 + first] and gradient is not None
            gradients[3 + second] = gradient.clone() if both else gradient
    return gradients


def gather(plan: Plan, directions: Sequence[Any]) -> list[Any]:
    """Convert directions of PyTorch's parameters to those of the engine's weights: biases add."""
    along = list(directions[:3])
    parameters = directions[3:]
    for _, first, second in plan.places:
        direction = parameters[first]
        if second >= 0 and parameters[second] is not None:
            other = parameters[second]
            direction = other if direction is None else direction + other
        along.append(direction)
    return along
