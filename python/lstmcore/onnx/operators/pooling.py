"""Pooling: the largest number or the mean of each window."""

from __future__ import annotations

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
        node.fail("Indices: expected not to be asked for, got an output for them")
    windows = Windows(node, node.get("kernel_shape"))
    largest, with_padding = node.operator == "MaxPool", bool(node.get("count_include_pad", 0))

    def pool(x: Array) -> Any:
        shape = x.shape[2:]
        pairs = windows.padding(shape)
        wide = list(pairs)
        if windows.ceiling and windows.mode == "NOTSET":
            # One more window where some is left, unless it would begin beyond the end.
            for axis, (before, after) in enumerate(pairs):
                stride, total = windows.strides[axis], before + shape[axis] + after
                count = -(-(total - windows.span[axis]) // stride) + 1
                if (count - 1) * stride >= shape[axis] + before:
                    count -= 1
                wide[axis] = (
                    before,
                    after + max((count - 1) * stride + windows.span[axis] - total, 0),
                )
        axes = tuple(range(-len(shape), 0))
        if largest:
            lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            return windows.over(x, wide, lowest).max(axis=axes)
        total_of = windows.over(x, wide, 0).sum(axis=axes, dtype=x.dtype)
        ones = np.ones((1, 1, *shape), x.dtype)
        if with_padding:
            ones = padded(ones, [(0, 0), (0, 0), *pairs], "constant", 1)
            beyond = [(w[0] - p[0], w[1] - p[1]) for w, p in zip(wide, pairs, strict=True)]
            return total_of / windows.over(ones, beyond, 0).sum(axis=axes, dtype=x.dtype)
        return total_of / windows.over(ones, wide, 0).sum(axis=axes, dtype=x.dtype)

    return pool


@operator("GlobalAveragePool", "GlobalMaxPool", since=1)
def _global_pool(node: Node) -> Function:
    average = node.operator == "GlobalAveragePool"

    def pool(x: Array) -> Any:
        axes = tuple(range(2, x.ndim))
        return x.mean(axis=axes, keepdims=True) if average else x.max(axis=axes, keepdims=True)

    return pool
