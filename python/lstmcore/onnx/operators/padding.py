"""The operator Pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.registry import Bound, Function, operator


@operator("Pad", since=2)
def _pad(node: Node) -> Function | Bound:
    mode = node.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        node.fail(f"mode: expected constant, reflect, edge or wrap, got {mode!r}")
    if node.opset < 11:
        known, number = node.get("pads"), node.get("value", 0.0)
        return lambda x: padded(x, _pairs(known, None, x.ndim), mode, number)

    def pad(x: Array, pads: Array, value: Array | None = None, axes: Array | None = None) -> Any:
        pairs = _pairs(pads.tolist(), None if axes is None else axes.tolist(), x.ndim)
        return padded(x, pairs, mode, 0 if value is None or value.size == 0 else value.item())

    constant = node.constant(1)
    if constant is not None and not node.has_input(2) and not node.has_input(3):
        numbers = constant.tolist()
        pairs = _pairs(numbers, None, len(numbers) // 2)
        at = [axis for axis, pair in enumerate(pairs) if pair != (0, 0)]
        inside = mode in ("reflect", "wrap") and len(at) == 1 and min(numbers) >= 0
        most = max(numbers, default=0) + (mode == "reflect")

        def pad_known(x: Array) -> Any:
            if len(pairs) != x.ndim:
                node.fail(f"pads: expected {2 * x.ndim} numbers for shape {x.shape}, got {numbers}")
            if inside and x.shape[at[0]] >= most:
                return _lengthened(x, at[0], pairs[at[0]], mode)
            return padded(x, pairs, mode, 0)

        return Bound(pad_known, (0,))
    return pad


def _lengthened(x: Array, axis: int, pair: tuple[int, int], mode: str) -> Array:
    """Pad one axis with elements of x itself."""
    before, after = pair
    lead, size = (slice(None),) * axis, x.shape[axis]
    if mode == "reflect":
        front = slice(before, 0, -1)
        back = slice(size - 2, size - 2 - after if size - 2 - after >= 0 else None, -1)
    else:
        front, back = slice(size - before, size), slice(after)
    parts = [x[(*lead, front)]] * (before > 0) + [x] + [x[(*lead, back)]] * (after > 0)
    return np.concatenate(parts, axis)


def _pairs(pads: list[int], axes: list[int] | None, rank: int) -> list[tuple[int, int]]:
    half = len(pads) // 2
    pairs = [(0, 0)] * rank
    for place, axis in enumerate(range(rank) if axes is None else axes):
        pairs[axis] = (pads[place], pads[half + place])
    return pairs


def padded(x: Array, pairs: list[tuple[int, int]], mode: str, value: Any) -> Array:
    """Pad by copying into a new array; negative amounts crop.

    `numpy.pad` does the same, but takes ten times as long for a small array.
    """
    if any(before < 0 or after < 0 for before, after in pairs):
        x = x[
            tuple(
                slice(max(-b, 0), s - max(-a, 0)) for s, (b, a) in zip(x.shape, pairs, strict=True)
            )
        ]
        pairs = [(max(before, 0), max(after, 0)) for before, after in pairs]
    if mode != "constant" and any(
        max(pair) > size - (mode == "reflect") for size, pair in zip(x.shape, pairs, strict=True)
    ):
        return np.pad(x, pairs, mode)  # type: ignore[call-overload,no-any-return]
    if mode in ("reflect", "wrap") and sum(pair != (0, 0) for pair in pairs) == 1:
        return _lengthened(x, *next(e for e in enumerate(pairs) if e[1] != (0, 0)), mode)
    shape = [before + size + after for size, (before, after) in zip(x.shape, pairs, strict=True)]
    if mode == "constant":
        result = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    else:
        result = np.empty(shape, x.dtype)
    inner = [slice(before, before + size) for size, (before, _) in zip(x.shape, pairs, strict=True)]
    result[tuple(inner)] = x
    if mode == "constant":
        return result
    for axis, (size, (before, after)) in enumerate(zip(x.shape, pairs, strict=True)):
        if before == 0 and after == 0:
            continue
        lead, end = (slice(None),) * axis, before + size
        if mode == "edge":
            result[(*lead, slice(before))] = result[(*lead, slice(before, before + 1))]
            result[(*lead, slice(end, None))] = result[(*lead, slice(end - 1, end))]
        elif mode == "wrap":
            result[(*lead, slice(before))] = result[(*lead, slice(end - before, end))]
            result[(*lead, slice(end, None))] = result[(*lead, slice(before, before + after))]
        else:
            result[(*lead, slice(before))] = result[(*lead, slice(2 * before, before, -1))]
            stop = end - 2 - after
            mirror = slice(end - 2, stop if stop >= 0 else None, -1)
            result[(*lead, slice(end, None))] = result[(*lead, mirror)]
    return result
