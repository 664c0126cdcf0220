"""Single steps for PyTorch's operator, which gets the weights as tensors and knows of no module."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
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
        self.addresses = [weight.data_ptr() for weight in weights]
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
"""By the addresses of their two matrices."""

_KINDS = (torch.Tensor, torch.nn.Parameter)
_strided = torch.strided


def known(x: Any, h: Any, c: Any, weights: Sequence[Any]) -> Cell | None:
    """Return the cell that was packed from memory of these weights.

    Return None if there is none, or if some tensor is unusual or does not fit. This is all that a
    step checks of its tensors, so it costs as little as possible.
    """
    addresses = []
    for weight in weights:
        if not _is_plain(weight):
            return None
        addresses.append(weight.data_ptr())
    cell = _cells.get(tuple(addresses[:2]))
    if (
        cell is None
        or cell.addresses != addresses
        or not (_is_plain(x) and _is_plain(h) and _is_plain(c))
    ):
        return None
    dtype, batch = cell.dtype, x.size(0)
    state = batch, cell.hidden
    if x.shape != (batch, cell.inputs) or h.shape != state or c.shape != state or batch == 0:
        return None
    if x.dtype is not dtype or h.dtype is not dtype or c.dtype is not dtype:
        return None
    for weight, shape in zip(weights, cell.plan.shapes, strict=True):
        if weight.dtype is not dtype or weight.shape != shape or not weight.is_contiguous():
            return None
    return cell


def _is_plain(tensor: Any) -> bool:
    return (
        type(tensor) in _KINDS
        and tensor.is_cpu
        and tensor.layout is _strided
        and not tensor.is_neg()
    )


def _reader() -> _core.TensorReader | None:
    functions = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)  # from PyTorch 2.10
    if type(functions).__name__ != "PyCapsule":  # also where the documentation imitates PyTorch
        return None
    return _core.TensorReader(functions, _KINDS)


_READER = _reader()


def quick_step(
    records: bool, x: Any, h: Any, c: Any, weights: tuple[Any, ...]
) -> tuple[Any, Any] | None:
    """Return h and c after a step with weights that were packed before, checked in C++.

    It does what `known` and `step` do, in less time. None: those have to look at the tensors.
    """
    w_ih, w_hh = weights[:2]
    if (
        _READER is None
        or type(w_ih) not in _KINDS
        or type(w_hh) not in _KINDS
        or type(h) is not torch.Tensor
        or type(c) is not torch.Tensor
    ):
        return None
    try:
        cell = _cells.get((w_ih.data_ptr(), w_hh.data_ptr()))
    except RuntimeError:  # tensors without memory
        return None
    if cell is None:
        return None
    flags, keep = _flags(records, x, h, c, weights)
    h_new, c_new = torch.empty_like(h), torch.empty_like(c)
    tape = x.new_empty(x.size(0) * cell.tape_width) if keep else None
    if not cell.cell.step(_READER, x, h, c, weights, h_new, c_new, tape):
        return None
    return _outputs(cell, flags, (h_new, c_new, tape), x, h, c, weights)


def step(
    records: bool, cell: Cell, x: Any, h: Any, c: Any, weights: Sequence[Any]
) -> tuple[Any, Any] | None:
    """Return h and c (N, H) after a step; None if the weights' bytes have changed.

    Parameters
    ----------
    records : bool
        Whether PyTorch may record a graph.
    cell : Cell
        From `known` or `pack`.
    x, h, c : Tensor, shapes (N, C), (N, H) and (N, H)
        Dense, of the weights' dtype, with N > 0.
    weights : sequence of Tensor
        In the order of `plan.names`.
    """
    x, h, c = x.contiguous(), h.contiguous(), c.contiguous()
    flags, keep = _flags(records, x, h, c, weights)
    outputs = cell.run(x, h, c, keep)
    return None if outputs is None else _outputs(cell, flags, outputs, x, h, c, weights)


def _flags(records: bool, *tensors: Any) -> tuple[list[bool], bool]:
    """Return which weights require gradients, and whether a graph is recorded."""
    *inputs, weights = tensors
    if not (records and torch.is_grad_enabled()):
        return [], False
    flags = [weight.requires_grad for weight in weights]
    return flags, any(flags) or any(tensor.requires_grad for tensor in inputs)


def _outputs(
    cell: Cell,
    flags: Sequence[bool],
    outputs: tuple[Any, Any, Any],
    x: Any,
    h: Any,
    c: Any,
    weights: Sequence[Any],
) -> tuple[Any, Any]:
    """Return the h and c that a step has computed, as part of a graph if there is a tape."""
    h_new, c_new, tape = outputs
    if tape is None:
        return h_new, c_new
    sums = cell.sums_with(weights, flags)
    return _Step.apply((sums, h_new, c_new, tape), x, h, c, sums.token)  # type: ignore[no-any-return]


def pack(plan: Plan, weights: Sequence[Any]) -> Cell | None:
    """Pack dense weights with the shapes of `plan`.

    Return None if they are too large to be stored packed, or not contiguous.
    """
    if not _core.LstmCell.serves(plan.core):
        return None
    if any(weight.is_inference() or not weight.is_contiguous() for weight in weights):
        return None
    if sum(weight.nbytes for weight in weights) > Remembered.MOST_BYTES:
        return None
    cell = Cell(plan, weights)
    _cells.put(tuple(cell.addresses[:2]), cell, weights[0])
    return cell
