"""Single steps for PyTorch's operator, which gets the weights as tensors and knows of no module."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from typing import Any

import torch

from lstmcore import _core
from lstmcore.torch.plan import Plan
from lstmcore.torch.steps import Packed, Sums, _Step
from lstmcore.torch.weights import ByTensors, Remembered


class Cell(Packed):
    """The packed weights of a cell, for steps that find the same memory unchanged.

    Each step reads the bytes at the weights' addresses, so that it suffices if a caller has
    tensors with these addresses. No tensor is held.
    """

    def __init__(self, plan: Plan, weights: Sequence[Any]) -> None:
        super().__init__(plan, plan.names, weights, None)
        self.weights = ()
        self._marks = []

    def sums_with(self, weights: Sequence[Any], flags: Sequence[bool]) -> Sums:
        """Return the sums of the graph that steps with these tensors are part of."""
        sums = None if self._sums is None else self._sums()
        if (
            sums is None
            or sums.flags != flags
            or any(mine is not weight for mine, weight in zip(sums.weights, weights, strict=True))
        ):
            # Not copy.copy: copies of what modules remember are empty.
            holder = object.__new__(type(self))
            vars(holder).update(vars(self))
            holder.weights = tuple(weights)
            sums = Sums(holder, flags)
            self._sums = weakref.ref(sums)
        return sums


_cells: ByTensors[Cell] = ByTensors()


def step(
    records: bool, plan: Plan, x: Any, h: Any, c: Any, weights: Sequence[Any]
) -> tuple[Any, Any] | None:
    """Return h and c (N, H) after a step.

    Return None if the weights are too large to be stored packed, or not contiguous.

    Parameters
    ----------
    records : bool
        Whether PyTorch may record a graph.
    plan : Plan
        With the shapes of `weights`.
    x, h, c : Tensor, shapes (N, C), (N, H) and (N, H)
        Dense, of the weights' dtype, with N > 0.
    weights : sequence of Tensor
        In the order of `plan.names`.
    """
    if not all(weight.is_contiguous() for weight in weights):
        return None
    key = (plan, x.dtype, *(weight.data_ptr() for weight in weights))
    cell = _cells.get(key) or _pack(key, plan, weights)
    if cell is None:
        return None
    x, h, c = x.contiguous(), h.contiguous(), c.contiguous()
    flags: list[bool] = []
    if records and torch.is_grad_enabled():
        flags = [weight.requires_grad for weight in weights]
        keep = x.requires_grad or h.requires_grad or c.requires_grad or any(flags)
    else:
        keep = False
    outputs = cell.run(x, h, c, keep)
    if outputs is None:  # the weights' bytes have changed
        cell = _pack(key, plan, weights)
        outputs = None if cell is None else cell.run(x, h, c, keep)
        if cell is None or outputs is None:  # another thread changes them
            return None
    h_new, c_new, tape = outputs
    if not keep:
        return h_new, c_new
    sums = cell.sums_with(weights, flags)
    return _Step.apply((sums, h_new, c_new, tape), x, h, c, sums.token)  # type: ignore[no-any-return]


def _pack(key: Hashable, plan: Plan, weights: Sequence[Any]) -> Cell | None:
    if not _core.LstmCell.serves(plan.core):
        return None
    if any(weight.is_inference() for weight in weights):
        return None
    if sum(weight.nbytes for weight in weights) > Remembered.MOST_BYTES:
        return None
    cell = Cell(plan, weights)
    _cells.put(key, cell, weights[0])
    return cell
