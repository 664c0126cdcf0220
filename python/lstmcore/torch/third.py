"""Third and higher derivatives, by PyTorch's own kernels, which have derivatives of any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lstmcore.torch import aten
from lstmcore.torch.engine import Call


def gradients(
    call: Call, needs: Sequence[bool], count: int, given: Sequence[Any], grads: Sequence[Any]
) -> list[Any]:
    """Return the gradients of double gradients with respect to all they were computed from.

    Parameters
    ----------
    call : Call
        For which `aten.computes` is true.
    needs : sequence of bool
        Whether the double gradients with respect to x, h, c and each of the engine's weights exist.
    count : int
        Tensors in `given` before the directions.
    given : sequence of Tensor or None
        dy, dh, dc, x, h, c and PyTorch's parameters, then the directions, which belong to x, h, c
        and the engine's weights.
    grads : sequence of Tensor or None
        Gradients with respect to the double gradients, which are ordered like the results of
        `double_gradients`.

    Returns
    -------
    list of Tensor or None
        One for each of `given`; with a graph where gradients are enabled.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Derivatives are taken with respect to aliases, since one of the tensors may have been
        # computed from another, and those are partial derivatives.
        inputs = [None if tensor is None else _alias(tensor, again) for tensor in given]
        results = double_gradients(call, needs, inputs[:count], inputs[count:])
        pairs = [
            (result, grad)
            for result, grad in zip(results, grads, strict=True)
            if result is not None and grad is not None and result.requires_grad
        ]
        return _gradients(pairs, inputs, again)


def _alias(tensor: Any, again: bool) -> Any:
    if again and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()


def double_gradients(
    call: Call, needs: Sequence[bool], tensors: Sequence[Any], directions: Sequence[Any]
) -> list[Any]:
    """Return the gradients of <directions, gradients>, by differentiating PyTorch's kernel twice.

    They are those with respect to dy, dh, dc, x, h, c and the engine's weights, None where not in
    `needs` or zero, as tensors with a graph. A sum of biases is represented by the first of them.
    """
    dy, dh, dc, x, h, c, *weights = tensors
    outputs = aten.run(call, x, h, c, weights)
    inputs = [x, h, c, *(weights[first] for _, first, _ in call.plan.places)]
    of_outputs = [
        (output, grad)
        for output, grad in zip(outputs, (dy, dh, dc), strict=True)
        if output is not None and grad is not None
    ]
    wanted = [
        None if direction is None else tensor
        for tensor, direction in zip(inputs, directions, strict=True)
    ]
    once = _gradients(of_outputs, wanted, True)
    pairs = [
        (gradient, direction)
        for gradient, direction in zip(once, directions, strict=True)
        if gradient is not None and gradient.requires_grad
    ]
    needed = [tensor if need else None for tensor, need in zip(inputs, needs, strict=True)]
    return _gradients(pairs, [dy, dh, dc, *needed], True)


def _gradients(pairs: Sequence[tuple[Any, Any]], inputs: Sequence[Any], again: bool) -> list[Any]:
    """Return the gradients of <output, grad>, summed over `pairs`, for each input but None."""
    wanted = [tensor for tensor in inputs if tensor is not None]
    if not pairs or not wanted:
        return [None] * len(inputs)
    outputs, grads = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, grads, create_graph=again, allow_unused=True))
    return [None if tensor is None else next(found) for tensor in inputs]
