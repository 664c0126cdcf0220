"""Normalization, with the statistics of the input or with given ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.products import usable
from lstmcore.onnx.operators.registry import Function, operator


@operator("BatchNormalization", since=7, several=True)
def _batch_normalization(node: Node) -> Function:
    if node.get("training_mode", 0) or sum(map(bool, node.outputs)) > 1:
        node.fail("training_mode: expected 0 and one output, since nothing is trained here")
    epsilon = node.get("epsilon", 1e-5)

    def along(values: Array, rank: int) -> Any:
        return values.reshape((-1,) + (1,) * (rank - 2))

    def normalize(x: Array, scale: Array, shift: Array, mean: Array, variance: Array) -> Any:
        spread = np.sqrt(variance + variance.dtype.type(epsilon))
        factor = (scale / spread).astype(x.dtype)
        offset = (shift - mean * scale / spread).astype(x.dtype)
        return (x * along(factor, x.ndim) + along(offset, x.ndim),)

    return normalize


@operator("InstanceNormalization", since=6)
def _instance_normalization(node: Node) -> Function:
    epsilon = node.get("epsilon", 1e-5)

    def normalize(x: Array, scale: Array, shift: Array) -> Any:
        axes = tuple(range(2, x.ndim))
        mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
        shape = (-1,) + (1,) * (x.ndim - 2)
        normed = (x - mean) / np.sqrt(variance + x.dtype.type(epsilon))
        return normed * scale.reshape(shape) + shift.reshape(shape)

    return normalize


@operator("LayerNormalization", since=17, several=True)
def _layer_normalization(node: Node) -> Function:
    axis, epsilon = node.get("axis", -1), node.get("epsilon", 1e-5)
    with_statistics = sum(map(bool, node.outputs)) > 1

    def normalize(x: Array, scale: Array, shift: Array | None = None) -> Any:
        first = axis + x.ndim if axis < 0 else axis
        last = first == x.ndim - 1 and scale.shape == x.shape[-1:]
        if last and not with_statistics and usable(x, scale, shift):
            rows = x.reshape(1, -1, x.shape[-1])
            y, _ = _core.layer_norm_forward(rows, None, scale, shift, epsilon)
            return (y.reshape(x.shape), None, None)
        axes = tuple(range(first, x.ndim))
        values = x if x.dtype == np.float64 else x.astype(np.float32)
        mean = values.mean(axis=axes, keepdims=True)
        inverse = 1 / np.sqrt(values.var(axis=axes, keepdims=True) + values.dtype.type(epsilon))
        y = ((values - mean) * inverse).astype(x.dtype) * scale
        return (y if shift is None else y + shift, mean, inverse)

    return normalize
