"""Operators that NumPy runs in less time than a session's call takes: views, sizes, comparisons.

They connect recurrent nodes and choose branches. A group of connected nodes runs here only if it
has no other operators; see `lstmcore.onnx.partition`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import itemgetter, methodcaller
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node, array_of, element_type
from lstmcore.onnx.limits import elements, limits
from lstmcore.onnx.operators.registry import Bound, Function, operator


def _axes(node: Node, position: int, since: int) -> tuple[int, ...] | None:
    """Return the axes if they are constant: an attribute before version `since`, then an input."""
    if node.opset < since:
        axes = node.get("axes")
        return None if axes is None else tuple(axes)
    known = node.constant(position)
    return None if known is None else tuple(known.ravel().tolist())


@operator("Identity", since=1)
def _identity(node: Node) -> Function:
    return lambda x: x


@operator("Transpose", since=1)
def _transpose(node: Node) -> Function:
    return methodcaller("transpose", node.get("perm"))


@operator("Squeeze", since=1)
def _squeeze(node: Node) -> Function | Bound:
    """Build Squeeze; an empty list of axes means every axis of size 1, as in ONNX Runtime."""
    axes = _axes(node, 1, 13)
    if axes:
        return Bound(methodcaller("squeeze", axes), (0,))

    def squeeze(x: Array, axes: Array | None = None) -> Any:
        return x.squeeze(tuple(axes.ravel().tolist()) if axes is not None and axes.size else None)

    return squeeze


@operator("Unsqueeze", since=1)
def _unsqueeze(node: Node) -> Function | Bound:
    axes = _axes(node, 1, 13)
    if axes is None:
        return lambda x, axes: np.expand_dims(x, tuple(axes.ravel().tolist()))
    if len(axes) == 1:  # indexing takes a fraction of the time
        (axis,) = axes
        every = slice(None)
        index = (*[every] * axis, None) if axis >= 0 else (..., None, *[every] * (-1 - axis))
        return Bound(itemgetter(index), (0,))
    fixed = axes
    return Bound(lambda x: np.expand_dims(x, fixed), (0,))


@operator("Reshape", since=5)
def _reshape(node: Node) -> Function | Bound:
    zero_stays = bool(node.get("allowzero", 0))

    def reshape(x: Array, shape: Array) -> Any:
        sizes = shape.tolist()
        if not zero_stays and 0 in sizes:
            sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
        return x.reshape(sizes)

    known = node.constant(1)
    if known is not None and (zero_stays or 0 not in known):
        return Bound(methodcaller("reshape", tuple(known.tolist())), (0,))
    return reshape


@operator("Flatten", since=1)
def _flatten(node: Node) -> Function:
    axis = node.get("axis", 1)

    def flatten(x: Array) -> Any:
        first = axis + x.ndim if axis < 0 else axis
        return x.reshape(math.prod(x.shape[:first]), math.prod(x.shape[first:]))

    return flatten


@operator("Expand", since=8)
def _expand(node: Node) -> Function:
    check = limits().check

    def expand(x: Array, shape: Array) -> Any:
        sizes = shape.tolist()
        if elements(sizes) > x.size:  # larger than the input explains; before NumPy multiplies them
            check(node, sizes, x.itemsize)
        whole = np.broadcast_shapes(x.shape, tuple(sizes))
        if elements(whole) > x.size:
            check(node, whole, x.itemsize)
        return np.broadcast_to(x, whole)

    return expand


@operator("Slice", since=1)
def _slice(node: Node) -> Function | Bound:
    if node.opset < 10:
        starts, ends = node.get("starts"), node.get("ends")
        fixed = _slices(starts, ends, node.get("axes"), None)
        return lambda x: x[_index(x.ndim, fixed)]

    known = [node.constant(position) for position in range(1, 5)]
    if all(known[i] is not None or not node.has_input(i + 1) for i in range(4)):
        entries = _slices(*(None if value is None else value.tolist() for value in known))
        if all(axis >= 0 for axis, _ in entries):
            index = _index(1 + max((axis for axis, _ in entries), default=-1), entries)
            return Bound(itemgetter(index), (0,))
        return Bound(lambda x: x[_index(x.ndim, entries)], (0,))

    def cut(x: Array, starts: Array, ends: Array, axes: Any = None, steps: Any = None) -> Any:
        given = (starts, ends, axes, steps)
        lists = (None if value is None else value.tolist() for value in given)
        return x[_index(x.ndim, _slices(*lists))]

    return cut


def _slices(starts: Any, ends: Any, axes: Any, steps: Any) -> list[tuple[int, slice]]:
    """Return pairs of an axis and its slice; ONNX's numbers mean what Python's mean."""
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    found = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        found.append((int(axis), slice(start, end, step)))
    return found


def _index(rank: int, entries: list[tuple[int, slice]]) -> tuple[slice, ...]:
    index = [slice(None)] * rank
    for axis, entry in entries:
        index[axis] = entry
    return tuple(index)


@operator("Concat", since=4)
def _concat(node: Node) -> Function:
    axis = node.get("axis")
    return lambda *parts: np.concatenate(parts, axis)


@operator("Split", since=2, several=True)
def _split(node: Node) -> Function:
    axis, count = node.get("axis", 0), len(node.outputs)

    def split(x: Array, sizes: Array | None = None) -> Any:
        if node.opset < 13:
            sizes = node.get("split")
        if sizes is None:
            each = -(-x.shape[axis] // count)
            places = [each * number for number in range(1, count)]
        else:
            places = np.cumsum(sizes)[:-1].tolist()
            if int(np.sum(sizes)) != x.shape[axis] or len(sizes) != count:
                node.fail(
                    f"split: expected {count} sizes with the sum {x.shape[axis]}, got {list(sizes)}"
                )
        return tuple(np.split(x, places, axis))

    return split


@operator("Gather", since=1)
def _gather(node: Node) -> Function | Bound:
    axis = node.get("axis", 0)
    known = node.constant(1)
    if known is not None and known.ndim == 0 and axis >= 0:
        return Bound(itemgetter((*[slice(None)] * axis, int(known))), (0,))
    check = limits().check

    def gather(x: Array, places: Array) -> Any:
        if places.size > 1:
            shape = (*places.shape, *np.delete(x.shape, axis))
            if math.prod(shape) > x.size + places.size:  # larger than the inputs explain
                check(node, shape, x.itemsize)
        return np.take(x, places, axis=axis)

    return gather


@operator("Shape", since=1)
def _shape(node: Node) -> Function:
    start, end = node.get("start", 0), node.get("end")
    return lambda x: np.array(x.shape[start:end], np.int64)


@operator("Constant", since=1)
def _constant(node: Node) -> Function:
    (name, value), *_ = node.attributes.items()
    if name in ("value_int", "value_ints"):
        array = np.array(value, np.int64)
    elif name in ("value_float", "value_floats"):
        array = np.array(value, np.float32)
    elif name == "value":
        array = array_of(value, f"{node}: value")
    else:
        node.fail(f"expected numbers, got {name}")
    return lambda: array


@operator("ConstantOfShape", since=9)
def _constant_of_shape(node: Node) -> Function:
    given = node.get("value")
    value = np.zeros(1, np.float32) if given is None else array_of(given, f"{node}: value")
    if value.size != 1:
        node.fail(f"value: expected one element, got shape {value.shape}")
    check = limits().check

    def full(shape: Array) -> Any:
        sizes = tuple(shape.tolist())
        check(node, sizes, value.itemsize)
        return np.full(sizes, value.ravel()[0], value.dtype)

    return full


@operator("Cast", since=6)
def _cast(node: Node) -> Function:
    dtype = element_type(node.get("to"), f"{node}: to")

    def cast(x: Array) -> Any:
        with np.errstate(all="ignore"):  # overflow gives infinity, as in other runtimes
            return x.astype(dtype, copy=False)

    return cast


@operator("Equal", since=7)
def _equal(node: Node) -> Function:
    return _comparison(node, np.equal)


@operator("Greater", since=7)
def _greater(node: Node) -> Function:
    return _comparison(node, np.greater)


@operator("Less", since=7)
def _less(node: Node) -> Function:
    return _comparison(node, np.less)


def _comparison(node: Node, function: Callable[..., Any]) -> Function:
    check = limits().check

    def compare(a: Array, b: Array) -> Any:
        if a.shape != b.shape:
            shape = np.broadcast_shapes(a.shape, b.shape)
            if math.prod(shape) > a.size + b.size:
                check(node, shape, 1)
        return function(a, b)

    return compare


@operator("Not", since=1)
def _not(node: Node) -> Function:
    return np.logical_not
