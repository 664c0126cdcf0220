"""The engine under PyTorch's LSTM operators: which calls it computes, and which PyTorch does.

Each kernel takes `records`, whether PyTorch may record a graph, and the arguments of its operator.
It computes the call on the engine or, if anything about it is unusual or wrong, calls PyTorch's own
kernel, which then computes what it would without lstmcore, or raises its own error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.autograd import forward_ad

from lstmcore import _core
from lstmcore._typing import Precision
from lstmcore.torch import autograd, calls, cells, engine
from lstmcore.torch.aten import LSTM_CELL, LSTM_DATA, LSTM_INPUT, own
from lstmcore.torch.engine import Call
from lstmcore.torch.plan import Plan, plan_of
from lstmcore.torch.tensors import FLOAT_TYPES
from lstmcore.torch.weights import RememberedByTensors

_VF = torch._C._VariableFunctions

AUTOCAST = "autocast"

_SHAPES = "empty tensors, or shapes that do not fit"
_TYPES = (torch.Tensor, torch.nn.Parameter)

_remembered = RememberedByTensors()


def _unusual(tensors: Sequence[Any]) -> str:
    """Return why PyTorch computes every call with such tensors at this moment; "": it need not."""
    return _mode() or _unfit(tensors)


def _unfit(tensors: Sequence[Any]) -> str:
    """Return what is unusual about tensors; "": nothing."""
    dtype = tensors[0].dtype
    if dtype not in FLOAT_TYPES:
        return f"dtype {dtype}"
    for tensor in tensors:
        if type(tensor) not in _TYPES:
            return "a subclass of Tensor"
        if tensor.dtype is not dtype:
            return "different dtypes"
        if not tensor.is_cpu or tensor.layout is not torch.strided or tensor.is_neg():
            return "a tensor that is not on the CPU, not dense or lazily negated"
    return ""


def _mode() -> str:
    """Return why PyTorch computes every call at this moment; "": it need not."""
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func"
    if torch._C._len_torch_dispatch_stack():
        return "torch.compile, torch.export or another dispatch mode"
    if forward_ad._current_level >= 0:
        return "forward-mode derivatives"
    if torch._C._get_tracing_state() is not None:  # hidden while a recorded operator runs
        return "torch.jit.trace, which does not record this operator"
    if torch.is_autocast_enabled("cpu"):
        return AUTOCAST
    return ""


def _begin(operator: str, x: Any) -> None:
    """Count a call of the engine, which takes as many threads as PyTorch would."""
    calls.add(operator, "", x)
    _follow_threads()


def _follow_threads() -> None:
    threads = torch.get_num_threads()
    if threads != _core.get_num_threads():
        _core.set_num_threads(threads)


class _Sizes(NamedTuple):
    """Of a stack, except the features of its input."""

    hidden: int
    layers: int
    bias: bool
    both: bool  # directions
    projected: int  # width of a projected h, or 0

    def plan(self, features: int, precision: Precision = "fp32") -> Plan:
        """Return the plan for an input with that many features."""
        hidden, layers, bias, both, projected = self
        return plan_of(features, hidden, layers, bias, 0.0, both, projected, "", precision)


def _sizes(
    features: int,
    batch: int,
    hx: Sequence[Any],
    weights: Sequence[Any],
    bias: bool,
    layers: int,
    both: bool,
) -> _Sizes | None:
    """Return the sizes of a stack; None if some shape does not fit."""
    if len(hx) != 2 or hx[0].dim() != 3 or hx[1].dim() != 3:
        return None
    h, c = hx
    walks = layers * (2 if both else 1)
    width, hidden = h.size(2), c.size(2)
    if h.shape != (walks, batch, width) or c.shape != (walks, batch, hidden):
        return None
    sizes = _Sizes(hidden, layers, bias, both, 0 if width == hidden else width)
    try:
        plan = sizes.plan(features)
    except (TypeError, ValueError):
        return None
    return sizes if _fit(plan, weights) else None


def _fit(plan: Plan, weights: Sequence[Any]) -> bool:
    return len(weights) == len(plan.shapes) and all(
        weight.shape == shape for weight, shape in zip(weights, plan.shapes, strict=True)
    )


def lstm_input(
    records: bool,
    x: Any,
    hx: Sequence[Any],
    weights: Sequence[Any],
    bias: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> Any:
    """Run aten::lstm.input: rows of equal length, (T, N, C) or with `batch_first` (N, T, C)."""
    reason = _unusual((x, *hx, *weights))
    if reason == AUTOCAST and (layers == 1 or not train or dropout == 0.0):
        lowered = _in_bfloat16(records, x, hx, weights, bias, layers, both, batch_first)
        if lowered is not None:
            return lowered
    sizes = None
    if not reason and x.dim() == 3 and x.numel():
        batch = x.size(0 if batch_first else 1)
        sizes = _sizes(x.size(2), batch, hx, weights, bias, layers, both)
    if sizes is None:
        calls.add(LSTM_INPUT, reason or _SHAPES, x)
        how = (bias, layers, dropout, train, both, batch_first)
        return own(LSTM_INPUT, x, hx, weights, *how)
    _begin(LSTM_INPUT, x)
    # Transposed as by PyTorch's own kernel, so that results also have the strides of its results.
    time_major = x.transpose(0, 1) if batch_first else x
    y, h, c = _run(records, time_major, hx, weights, sizes, dropout if train else 0.0, None)
    return y.transpose(0, 1) if batch_first else y, h, c


def _in_bfloat16(
    records: bool,
    x: Any,
    hx: Sequence[Any],
    weights: Sequence[Any],
    bias: bool,
    layers: int,
    both: bool,
    batch_first: bool,
) -> Any:
    """Run lstm.input within autocast to bfloat16; None if PyTorch computes it.

    Products are in bfloat16, sums and the cell in float32; results are rounded to bfloat16, in
    which PyTorch's own kernel returns them.
    """
    if torch.get_autocast_dtype("cpu") is not torch.bfloat16 or not _multiplies_bfloat16():
        return None
    with torch.autocast("cpu", enabled=False):
        x, *hx = (part.float() if part.dtype is torch.bfloat16 else part for part in (x, *hx))
        tensors = (x, *hx, *weights)
        if _unfit(tensors) or x.dtype is not torch.float32 or x.dim() != 3 or not x.numel():
            return None
        batch = x.size(0 if batch_first else 1)
        sizes = _sizes(x.size(2), batch, hx, weights, bias, layers, both)
        if sizes is None or sizes.projected:
            return None
        _begin(LSTM_INPUT, x)
        time_major = x.transpose(0, 1) if batch_first else x
        plan = sizes.plan(x.size(2), "bf16")
        results = _engine(records, plan, time_major, hx[0], hx[1], weights, None)
        y, h, c = (part.to(torch.bfloat16) for part in results)
    return y.transpose(0, 1) if batch_first else y, h, c


def _multiplies_bfloat16() -> bool:
    """Return whether the processor has instructions for products of bfloat16."""
    return _core.product_unit("bf16").split()[0] != _core.isa()


def lstm_data(
    records: bool,
    data: Any,
    batch_sizes: Any,
    hx: Sequence[Any],
    weights: Sequence[Any],
    bias: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
) -> Any:
    """Run aten::lstm.data: the steps (S, C) of a PackedSequence, and the rows active at each."""
    reason = _unusual((data, *hx, *weights))
    sizes = None
    if not reason and data.dim() == 2 and data.numel() and _descends(batch_sizes, data.size(0)):
        sizes = _sizes(data.size(1), int(batch_sizes[0]), hx, weights, bias, layers, both)
    if sizes is None:
        calls.add(LSTM_DATA, reason or _SHAPES, data)
        how = (bias, layers, dropout, train, both)
        return own(LSTM_DATA, data, batch_sizes, hx, weights, *how)
    _begin(LSTM_DATA, data)
    x, lengths = _padded(data, batch_sizes)
    y, h, c = _run(records, x, hx, weights, sizes, dropout if train else 0.0, lengths)
    return _VF._pack_padded_sequence(y, lengths, False)[0], h, c


def _descends(batch_sizes: Any, steps: int) -> bool:
    """Return whether these are the batch sizes of so many steps in all."""
    if type(batch_sizes) is not torch.Tensor or batch_sizes.dtype is not torch.int64:
        return False
    if batch_sizes.dim() != 1 or not batch_sizes.is_cpu or batch_sizes.size(0) == 0:
        return False
    counts = batch_sizes.numpy()
    return bool(counts[-1] > 0 and (counts[1:] <= counts[:-1]).all() and counts.sum() == steps)


def _padded(data: Any, batch_sizes: Any) -> tuple[Any, Any]:
    """Return the steps of a PackedSequence as (T, N, C), and the lengths of the rows."""
    x, lengths = _VF._pad_packed_sequence(data, batch_sizes, False, 0.0, batch_sizes.size(0))
    return x, lengths


def _run(
    records: bool,
    x: Any,
    hx: Sequence[Any],
    weights: Sequence[Any],
    sizes: _Sizes,
    dropout: float,
    lengths: Any,
) -> tuple[Any, Any, Any]:
    """Return y (T, N, D * P), h and c for x (T, N, C)."""
    h, c = hx
    if dropout == 0.0 or sizes.layers == 1:
        return _engine(records, sizes.plan(x.size(2)), x, h, c, weights, lengths)
    # Layer by layer, with PyTorch's dropout between them: its masks are those that PyTorch's kernel
    # draws from the same state of the generator.
    single = sizes._replace(layers=1)
    rows, count = len(h) // sizes.layers, len(weights) // sizes.layers
    states = []
    for layer in range(sizes.layers):
        if layer:
            x = _dropped(x, dropout, lengths)
        cells_of = slice(layer * rows, (layer + 1) * rows)
        weights_of = weights[layer * count : (layer + 1) * count]
        plan = single.plan(x.size(2))
        x, *state = _engine(records, plan, x, h[cells_of], c[cells_of], weights_of, lengths)
        states.append(state)
    h, c = (torch.cat(parts) for parts in zip(*states, strict=True))
    return x, h, c


def _dropped(x: Any, dropout: float, lengths: Any) -> Any:
    """Apply dropout to x (T, N, C), but draw masks for valid steps only, in PyTorch's order."""
    if lengths is None:
        return torch.dropout(x, dropout, True)
    data, batch_sizes = _VF._pack_padded_sequence(x, lengths, False)
    return _padded(torch.dropout(data, dropout, True), batch_sizes)[0]


def _engine(
    records: bool, plan: Plan, x: Any, h: Any, c: Any, weights: Sequence[Any], lengths: Any
) -> tuple[Any, Any, Any]:
    valid = None if lengths is None else lengths.numpy()
    packed = _remembered.packed(plan, weights)
    call = Call(plan, True, False, True, valid, None, None, 0, False, packed)
    return _call(records, call, x, h, c, weights)


def _call(
    records: bool, call: Call, x: Any, h: Any, c: Any, weights: Sequence[Any]
) -> tuple[Any, Any, Any]:
    if records:
        return autograd.lstm(call, x, h, c, weights)
    y, h, c, _ = engine.forward(call, x, h, c, weights, False)
    return y, h, c


def lstm_cell(
    records: bool,
    x: Any,
    hx: Sequence[Any],
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
) -> Any:
    """Run aten::lstm_cell: one step of a batch, x (N, C)."""
    bias = b_ih is not None and b_hh is not None
    weights = (w_ih, w_hh, b_ih, b_hh) if bias else (w_ih, w_hh)
    whole = len(hx) == 2 and bias is (b_ih is not None or b_hh is not None)
    if whole and not _mode():
        stepped = _step_again(records, x, hx, weights)
        if stepped is not None:
            return stepped
    reason = _unusual((x, *hx, *weights))
    plan = None
    if whole and not reason:
        plan = _plan_of_cell(x, hx, weights, bias)
    if plan is None:
        calls.add(LSTM_CELL, reason or _SHAPES, x)
        return own(LSTM_CELL, x, hx, w_ih, w_hh, b_ih, b_hh)
    _begin(LSTM_CELL, x)
    h, c = hx
    cell = cells.pack(plan, weights)
    if cell is not None:
        stepped = cells.step(records, cell, x, h, c, weights)
        if stepped is not None:  # no other thread has changed the weights meanwhile
            return stepped
    packed = _remembered.packed(plan, weights)
    call = Call(plan, False, True, False, None, None, None, 0, False, packed)
    return _call(records, call, x, h, c, weights)[1:]


def _step_again(records: bool, x: Any, hx: Sequence[Any], weights: tuple[Any, ...]) -> Any:
    """Return h and c after a step of a cell that was packed before; None if there is none."""
    h, c = hx
    _follow_threads()
    stepped = cells.quick_step(records, x, h, c, weights)
    if stepped is None:
        cell = cells.known(x, h, c, weights)
        stepped = None if cell is None else cells.step(records, cell, x, h, c, weights)
    if stepped is not None:
        calls.add(LSTM_CELL, "", x)
    return stepped


def _plan_of_cell(x: Any, hx: Sequence[Any], weights: Sequence[Any], bias: bool) -> Plan | None:
    """Return the plan of a cell; None if some shape does not fit."""
    if x.dim() != 2 or not x.numel() or hx[0].dim() != 2:
        return None
    hidden = hx[0].size(1)
    if hidden == 0 or any(part.shape != (x.size(0), hidden) for part in hx):
        return None
    plan = plan_of(x.size(1), hidden, 1, bias, 0.0, False, 0, "")
    return plan if _fit(plan, weights) else None


KERNELS: dict[str, Callable[..., Any]] = {
    LSTM_INPUT: lstm_input,
    LSTM_DATA: lstm_data,
    LSTM_CELL: lstm_cell,
}
"""The kernels, by the names of PyTorch's operators."""

KEYS = {"AutogradCPU": True, "CPU": False}
"""Where they are registered, and whether PyTorch may record a graph there.

In inference mode PyTorch begins at the second key.
"""
