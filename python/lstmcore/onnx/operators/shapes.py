"""Operators on the shape of arrays; most return views, which cost nothing."""

from __future__ import annotations

import math
from operator import itemgetter, methodcaller
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node, element_type
from lstmcore.onnx.operators.registry import Bound, Function, operator


def _axes(node: Node, position: int, since: int) -> tuple[int, ...] | None:
    """Return the axes if they are constant: an attribute before version `since`, then an input."""
    if node.opset < since:
        axes = node.get("axes")
        return None if axes is None else tuple(axes)
    known = node.constant(position)
    return None if known is None else tuple(known.ravel().tolist())


@operator("Transpose", since=1)
def _transpose(node: Node) -> Function:
    return methodcaller("transpose", node.get("perm"))


@operator("Squeeze", since=1)
def _squeeze(node: Node) -> Function | Bound:
    axes = _axes(node, 1, 13)
    if axes is not None:
        return Bound(methodcaller("squeeze", axes), (0,))

    def squeeze(x: Array, axes: Array | None = None) -> Any:
        return x.squeeze() if axes is None else x.squeeze(tuple(axes.ravel().tolist()))

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
    def expand(x: Array, shape: Array) -> Any:
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))

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
    return lambda x, places: np.take(x, places, axis=axis)


@operator("GatherElements", since=11)
def _gather_elements(node: Node) -> Function:
    axis = node.get("axis", 0)

    def gather(x: Array, places: Array) -> Any:
        # The other axes of the indices may be shorter than those of x.
        along = axis % x.ndim
        limits = tuple(slice(None) if d == along else slice(s) for d, s in enumerate(places.shape))
        return np.take_along_axis(x[limits], places, axis)

    return gather


@operator("GatherND", since=11)
def _gather_nd(node: Node) -> Function:
    batch = node.get("batch_dims", 0)

    def gather(x: Array, places: Array) -> Any:
        depth = places.shape[-1]
        if batch == 0:
            return x[tuple(places[..., k] for k in range(depth))]
        lead = x.shape[:batch]
        if 0 in lead:
            return np.zeros((*places.shape[:-1], *x.shape[batch + depth :]), x.dtype)
        rows = x.reshape(math.prod(lead), *x.shape[batch:])
        where = places.reshape(len(rows), *places.shape[batch:])
        found = [
            row[tuple(w[..., k] for k in range(depth))] for row, w in zip(rows, where, strict=True)
        ]
        return np.stack(found).reshape(lead + found[0].shape)

    return gather


@operator("ScatterElements", since=11)
def _scatter_elements(node: Node) -> Function:
    axis, how = node.get("axis", 0), node.get("reduction", "none")

    def scatter(x: Array, places: Array, updates: Array) -> Any:
        grid: list[Array] = list(np.indices(places.shape, sparse=True))
        along = axis % x.ndim
        grid[along] = np.where(places < 0, places + x.shape[along], places)
        return _scattered(x, tuple(grid), updates, how)

    return scatter


_REDUCTIONS: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _scattered(x: Array, where: tuple[Array, ...], updates: Array, how: str) -> Array:
    """Return a copy of x with `updates` written to, or combined with, the given places."""
    result = x.copy()
    if how == "none":
        result[where] = updates
    else:
        _REDUCTIONS[how].at(result, where, updates)
    return result


@operator("ScatterND", since=11)
def _scatter_nd(node: Node) -> Function:
    how = node.get("reduction", "none")

    def scatter(x: Array, places: Array, updates: Array) -> Any:
        where = tuple(places[..., k] for k in range(places.shape[-1]))
        return _scattered(x, where, updates, how)

    return scatter


@operator("Tile", since=6)
def _tile(node: Node) -> Function:
    return lambda x, repeats: np.tile(x, repeats.tolist())


@operator("Shape", since=1)
def _shape(node: Node) -> Function:
    """Build Shape; the additional attribute "pick" selects one size or several."""
    start, end, pick = node.get("start", 0), node.get("end"), node.get("pick")
    if isinstance(pick, int):
        return lambda x: np.array(x.shape[start:end][pick])
    if pick is not None:
        return lambda x: np.array([x.shape[start:end][place] for place in pick], np.int64)
    return lambda x: np.array(x.shape[start:end], np.int64)


@operator("Size", since=1)
def _size(node: Node) -> Function:
    return lambda x: np.array(x.size, np.int64)


@operator("Constant", since=1)
def _constant(node: Node) -> Function:
    (name, value), *_ = node.attributes.items()
    if name in ("value_int", "value_ints"):
        array = np.array(value, np.int64)
    elif name in ("value_float", "value_floats"):
        array = np.array(value, np.float32)
    elif name == "value":
        array = value
    else:
        node.fail(f"expected numbers, got {name}")
    return lambda: array


@operator("ConstantOfShape", since=9)
def _constant_of_shape(node: Node) -> Function:
    value = node.get("value", np.zeros(1, np.float32))
    return lambda shape: np.full(tuple(shape.tolist()), value.ravel()[0], value.dtype)


@operator("Cast", since=6)
def _cast(node: Node) -> Function:
    dtype = element_type(node.get("to"), f"{node}: to")
    return lambda x: x.astype(dtype, copy=False)


@operator("CastLike", since=15)
def _cast_like(node: Node) -> Function:
    return lambda x, like: x.astype(like.dtype, copy=False)


@operator("Range", since=11)
def _range(node: Node) -> Function:
    def steps(start: Array, limit: Array, delta: Array) -> Any:
        count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
        return (start + np.arange(count).astype(start.dtype) * delta).astype(start.dtype)

    return steps


@operator("OneHot", since=9)
def _one_hot(node: Node) -> Function:
    axis = node.get("axis", -1)

    def one_hot(places: Array, depth: Array, values: Array) -> Any:
        count = int(depth.item())
        along = axis + places.ndim + 1 if axis < 0 else axis
        numbers = np.arange(count).reshape((count,) + (1,) * (places.ndim - along))
        where = np.expand_dims(np.mod(places.astype(np.int64), count), along) == numbers
        inside = (places >= -count) & (places < count)
        return np.where(where & np.expand_dims(inside, along), values[1], values[0])

    return one_hot


@operator("NonZero", since=9)
def _non_zero(node: Node) -> Function:
    return lambda x: np.array(np.nonzero(np.atleast_1d(x)), np.int64)


@operator("Trilu", since=14)
def _trilu(node: Node) -> Function:
    part: Any = np.triu if node.get("upper", 1) else np.tril
    return lambda x, k=None: part(x, 0 if k is None else int(k.item()))


@operator("ReverseSequence", since=10)
def _reverse_sequence(node: Node) -> Function:
    batch, time = node.get("batch_axis", 1), node.get("time_axis", 0)

    def reverse(x: Array, lengths: Array) -> Any:
        if ((lengths < 0) | (lengths > x.shape[time])).any():
            node.fail(f"sequence_lens: expected lengths in 0..{x.shape[time]}, got {lengths}")
        result = x.copy()
        rows, source = (
            np.moveaxis(result, (batch, time), (0, 1)),
            np.moveaxis(x, (batch, time), (0, 1)),
        )
        for row, length in enumerate(lengths.tolist()):
            rows[row, :length] = source[row, :length][::-1]
        return result

    return reverse


@operator("DepthToSpace", since=1)
def _depth_to_space(node: Node) -> Function:
    block, columns = node.get("blocksize"), node.get("mode", "DCR") == "DCR"

    def shuffle(x: Array) -> Any:
        n, c, h, w = x.shape
        rest = c // (block * block)
        if columns:
            parts = x.reshape(n, block, block, rest, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            parts = x.reshape(n, rest, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        return parts.reshape(n, rest, h * block, w * block)

    return shuffle
