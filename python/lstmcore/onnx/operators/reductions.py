"""Operators that reduce many numbers to one."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.registry import OPERATORS, Bound, Function, Operator, operator


def _mean(x: Array, **where: Any) -> Any:
    if x.dtype.kind != "f" or x.dtype.itemsize < 4:
        return np.mean(x, **where).astype(x.dtype)
    total = np.add.reduce(x, **where)  # several times faster than np.mean for small arrays
    return total / x.dtype.type(x.size // max(total.size, 1))


def _log_sum_exp(x: Array, **where: Any) -> Any:
    kind = x.dtype
    if kind.kind != "f":
        x = x.astype(np.float64)
    highest = np.max(x, axis=where["axis"], keepdims=True, initial=-np.inf)
    highest = np.where(np.isfinite(highest), highest, x.dtype.type(0)).astype(x.dtype)
    total = np.sum(np.exp(x - highest), **where)
    return (np.log(total) + highest.reshape(np.shape(total))).astype(kind)


def _extreme(function: Any, lowest: bool) -> Function:
    def extreme(x: Array, **where: Any) -> Any:
        if x.size:
            return function(x, **where)
        # The maximum of an empty set is the lowest number of the type.
        if x.dtype.kind == "f":
            start: Any = -np.inf if lowest else np.inf
        elif x.dtype.kind == "b":
            start = not lowest
        else:
            start = np.iinfo(x.dtype).min if lowest else np.iinfo(x.dtype).max
        return function(x, initial=start, **where)

    return extreme


REDUCTIONS: dict[str, Function] = {
    "ReduceL1": lambda x, **where: np.sum(np.abs(x), dtype=x.dtype, **where),
    "ReduceL2": lambda x, **where: np.sqrt(np.sum(np.square(x), **where)).astype(x.dtype),
    "ReduceLogSum": lambda x, **where: np.log(np.sum(x, **where)).astype(x.dtype),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _extreme(np.max, lowest=True),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(np.min, lowest=False),
    "ReduceProd": lambda x, **where: np.prod(x, dtype=x.dtype, **where),
    "ReduceSum": lambda x, **where: np.sum(x, dtype=x.dtype, **where),
    "ReduceSumSquare": lambda x, **where: np.sum(np.square(x), dtype=x.dtype, **where),
}


def _reduction(node: Node) -> Function | Bound:
    function = REDUCTIONS[node.operator]
    keep = bool(node.get("keepdims", 1))
    by_input = node.opset >= (13 if node.operator == "ReduceSum" else 18)
    nothing = bool(node.get("noop_with_empty_axes", 0))
    if not by_input:
        axes = node.get("axes")
        where = {"axis": None if axes is None else tuple(axes), "keepdims": keep}
        return lambda x: function(x, **where)

    def reduce(x: Array, axes: Array | None = None) -> Any:
        chosen = None if axes is None or axes.size == 0 else tuple(axes.tolist())
        if chosen is None and nothing:
            chosen = ()
        return function(x, axis=chosen, keepdims=keep)

    known = node.constant(1)
    if known is not None and known.size:
        fixed = tuple(known.tolist())
        return Bound(lambda x: function(x, axis=fixed, keepdims=keep), (0,))
    return reduce


for _name in REDUCTIONS:
    OPERATORS[_name] = Operator(_reduction, 1, False)


@operator("ArgMax", "ArgMin", since=1)
def _arg(node: Node) -> Function:
    axis, keep, last = (
        node.get("axis", 0),
        bool(node.get("keepdims", 1)),
        node.get("select_last_index", 0),
    )
    function: Any = np.argmax if node.operator == "ArgMax" else np.argmin

    def arg(x: Array) -> Any:
        if last:
            place = x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=keep)
        else:
            place = function(x, axis=axis, keepdims=keep)
        return np.asarray(place, np.int64)

    return arg


@operator("CumSum", since=11)
def _cum_sum(node: Node) -> Function:
    exclusive, reverse = node.get("exclusive", 0), node.get("reverse", 0)

    def cum_sum(x: Array, axis: Array) -> Any:
        along = int(axis.item())
        values = np.flip(x, along) if reverse else x
        total = np.cumsum(values, axis=along, dtype=x.dtype)
        if exclusive:  # shift the sums: subtracting x would round, and inf - inf is nan
            shifted = np.moveaxis(np.zeros_like(total), along, 0)
            shifted[1:] = np.moveaxis(total, along, 0)[:-1]
            total = np.moveaxis(shifted, 0, along)
        return np.flip(total, along) if reverse else total

    return cum_sum


@operator("TopK", since=10, several=True)
def _top_k(node: Node) -> Function:
    axis, largest = node.get("axis", -1), node.get("largest", 1)

    def top_k(x: Array, k: Array) -> Any:
        count = int(k.item())
        # Equal elements stay in order.
        if largest:
            backwards = np.flip(x, axis)
            order = np.flip(np.argsort(backwards, axis=axis, kind="stable"), axis)
            order = x.shape[axis] - 1 - order
        else:
            order = np.argsort(x, axis=axis, kind="stable")
        places = np.take(order, np.arange(count), axis=axis)
        return np.take_along_axis(x, places, axis), places.astype(np.int64)

    return top_k
