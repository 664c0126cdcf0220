"""Pooling: the maximum or the mean of each window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.padding import padded
from lstmcore.onnx.operators.registry import Function, operator
from lstmcore.onnx.operators.windows import Windows


@operator("MaxPool", "AveragePool", since=1)
def _pool(node: Node) -> Function:
    if len(node.outputs) > 1 and node.outputs[1]:
        node.fail("Indices: not supported, but the node has this output")
    windows = Windows(node, node.get("kernel_shape"))
    largest, with_padding = node.operator == "MaxPool", bool(node.get("count_include_pad", 0))

    counts: dict[tuple[int, ...], Array] = {}  # elements in each window, by the shape of the input

    def pool(x: Array) -> Any:
        shape = x.shape[2:]
        pairs = windows.padding(shape)
        wide = _widened(windows, shape, pairs)
        axes = tuple(range(-len(shape), 0))
        if largest:
            lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            if windows.few:
                return windows.reduce(x, wide, lowest, _largest)
            return windows.over(x, wide, lowest).max(axis=axes)
        if windows.few:
            total = windows.reduce(x, wide, 0, _sum)
        else:
            total = windows.over(x, wide, 0).sum(axis=axes, dtype=x.dtype)
        if not any(before or after for before, after in wide):
            total /= x.dtype.type(math.prod(windows.size))
            return total
        count = counts.get(shape)
        if count is None:
            ones = np.ones((1, 1, *shape))
            beyond = wide
            if with_padding:
                ones = padded(ones, [(0, 0), (0, 0), *pairs], "constant", 1)
                beyond = [(w[0] - p[0], w[1] - p[1]) for w, p in zip(wide, pairs, strict=True)]
            count = windows.over(ones, beyond, 0).sum(axis=axes)
            if len(counts) < KEPT:
                counts[shape] = count
        return total / count.astype(x.dtype)

    return pool


KEPT = 8
"""Number of input shapes whose counts a node caches."""


def _widened(
    windows: Windows, shape: tuple[int, ...], pairs: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the padding of each axis with which all windows of ceil_mode fit."""
    wide = list(pairs)
    if windows.ceiling and windows.mode == "NOTSET":
        # A remainder gets one more window, unless that would begin beyond the end.
        for axis, (before, after) in enumerate(pairs):
            stride, total = windows.strides[axis], before + shape[axis] + after
            count = -(-(total - windows.span[axis]) // stride) + 1
            if (count - 1) * stride >= shape[axis] + before:
                count -= 1
            more = max((count - 1) * stride + windows.span[axis] - total, 0)
            wide[axis] = (before, after + more)
    return wide


def _largest(places: Iterator[Array], result: Array) -> None:
    result[...] = next(places)
    for entry in places:
        np.maximum(result, entry, out=result)


def _sum(places: Iterator[Array], result: Array) -> None:
    result[...] = next(places)
    for entry in places:
        result += entry


@operator("GlobalAveragePool", "GlobalMaxPool", since=1)
def _global_pool(node: Node) -> Function:
    average = node.operator == "GlobalAveragePool"

    def pool(x: Array) -> Any:
        axes = tuple(range(2, x.ndim))
        return x.mean(axis=axes, keepdims=True) if average else x.max(axis=axes, keepdims=True)

    return pool
