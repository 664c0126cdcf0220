"""Operators that are products of matrices, in the engine where it knows the type, and norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._checks import FLOAT_TYPES
from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.padding import padded
from lstmcore.onnx.operators.registry import Bound, Function, operator

ACTIVATIONS: dict[str, Function] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "tanh": np.tanh,
    "sigmoid": lambda x: x.dtype.type(1) / (x.dtype.type(1) + np.exp(-x)),
}
"""What a product may end with, for types that the engine does not know."""


# ---- Gemm and MatMul -----------------------------------------------------------------------------


def _dense(kernel: Array, bias: Array | None, activation: str) -> Function:
    """activation(x kernel + bias) over the last axis, for a kernel (C, U) that is known."""
    packed = _core.PackedConv1d(kernel[None], bias, 1, 1, activation)
    width, units = kernel.shape

    def dense(x: Array) -> Any:
        return packed.forward(x.reshape(1, -1, width)).reshape(*x.shape[:-1], units)

    return dense


def _usable(*arrays: Array | None) -> bool:
    """Whether the engine has products for arrays of this type, with something in them."""
    given = [array for array in arrays if array is not None]
    return given[0].dtype in FLOAT_TYPES and all(
        array.dtype == given[0].dtype and array.size > 0 for array in given
    )


def _multiply(a: Array, b: Array) -> Any:
    """Multiply two matrices, by the engine if it can."""
    if _usable(a, b) and a.shape[1] == b.shape[0]:
        return _core.dense_forward(a, b, None, "linear")
    return np.matmul(a, b)


def _multiply_stacks(a: Array, b: Array) -> Any:
    """Multiply stacks of matrices, one pair after the other: the bits are those of each alone."""
    if min(a.ndim, b.ndim) < 2 or not _usable(a, b) or a.shape[-1] != b.shape[-2]:
        return np.matmul(a, b)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = np.broadcast_to(a, lead + a.shape[-2:]).reshape(-1, *a.shape[-2:])
    right = np.broadcast_to(b, lead + b.shape[-2:]).reshape(-1, *b.shape[-2:])
    result = np.empty((len(left), a.shape[-2], b.shape[-1]), a.dtype)
    for place, pair in enumerate(zip(left, right, strict=True)):
        result[place] = _core.dense_forward(*pair, None, "linear")
    return result.reshape(*lead, *result.shape[1:])


@operator("Gemm", since=1)
def _gemm(node: Node) -> Function | Bound:
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    turn_a, turn_b = node.get("transA", 0), node.get("transB", 0)
    finish = ACTIVATIONS[node.activation]
    kernel, bias = node.constant(1), node.constant(2)
    if kernel is not None and _usable(kernel) and (bias is not None or not node.has_input(2)):
        matrix = kernel.T if turn_b else kernel
        units = matrix.shape[1]
        flat = None
        if bias is not None and beta != 0:
            flat = (
                np.broadcast_to(bias, (1, units))
                if bias.size in (1, units) and bias.ndim < 3
                else bias
            )
        if flat is None or flat.shape == (1, units):
            scaled = (matrix * matrix.dtype.type(alpha)).astype(matrix.dtype)
            shift = (
                None if flat is None else (flat[0] * matrix.dtype.type(beta)).astype(matrix.dtype)
            )
            dense = _dense(scaled, shift, node.activation)

            def known(a: Array) -> Any:
                if a.ndim != 2:
                    node.fail(f"A: expected a matrix, got shape {a.shape}")
                return dense(a.T if turn_a else a)

            return Bound(known, (0,))

    def gemm(a: Array, b: Array, c: Array | None = None) -> Any:
        product = _multiply(a.T if turn_a else a, b.T if turn_b else b)
        if alpha != 1.0:
            product = product * a.dtype.type(alpha)
        if c is not None and beta != 0:
            product = product + (c if beta == 1.0 else c * c.dtype.type(beta))
        return finish(product)

    return gemm


@operator("MatMul", since=1)
def _matmul(node: Node) -> Function | Bound:
    """The third input, which the standard does not have, is a bias that was an Add."""
    kernel, bias = node.constant(1), node.constant(2)
    finish = ACTIVATIONS[node.activation]
    if kernel is not None and kernel.ndim == 2 and _usable(kernel):
        width = kernel.shape[0]
        dense = _dense(kernel, bias, node.activation)

        def known(x: Array) -> Any:
            if x.shape[-1:] != (width,):
                node.fail(f"A: expected {width} columns, got shape {x.shape}")
            return dense(x)

        return Bound(known, (0,))

    def matmul(a: Array, b: Array, c: Array | None = None) -> Any:
        if b.ndim == 2 and a.ndim >= 2 and _usable(a, b) and a.shape[-1] == b.shape[0]:
            flat = _multiply(a.reshape(-1, a.shape[-1]), b)
            product = flat.reshape(*a.shape[:-1], b.shape[1])
        else:
            product = _multiply_stacks(a, b)
        return finish(product if c is None else product + c)

    return matmul


# ---- convolution and pooling ---------------------------------------------------------------------


class Windows:
    """What Conv and pooling say about their windows, for any number of axes."""

    def __init__(self, node: Node, size: Sequence[int]) -> None:
        rank = len(size)
        self.size = tuple(size)
        self.strides = tuple(node.get("strides") or [1] * rank)
        self.dilations = tuple(node.get("dilations") or [1] * rank)
        self.mode = node.get("auto_pad", "NOTSET")
        self.ceiling = bool(node.get("ceil_mode", 0))
        pads = node.get("pads") or [0] * (2 * rank)
        if self.mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            node.fail(f"auto_pad: expected one that the standard has, got {self.mode!r}")
        if not len(self.strides) == len(self.dilations) == rank or len(pads) != 2 * rank:
            node.fail(f"expected strides, dilations and pads for {rank} axes")
        if self.mode == "VALID":
            pads = [0] * (2 * rank)
        self.pads = tuple(zip(pads[:rank], pads[rank:], strict=True))
        self.span = tuple((s - 1) * d + 1 for s, d in zip(self.size, self.dilations, strict=True))

    def padding(self, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """Return what goes before and after each axis of an input."""
        if not self.mode.startswith("SAME"):
            return self.pads
        pairs = []
        for steps, span, stride in zip(shape, self.span, self.strides, strict=True):
            total = max((-(-steps // stride) - 1) * stride + span - steps, 0)
            less = total // 2
            pairs.append(
                (less, total - less) if self.mode == "SAME_UPPER" else (total - less, less)
            )
        return tuple(pairs)

    def over(self, x: Array, pairs: Sequence[tuple[int, int]], fill: Any) -> Array:
        """Return all windows of x (N, C, ...) as a view (N, C, places ..., window ...)."""
        whole = [(0, 0), (0, 0), *pairs]
        if any(before or after for before, after in pairs):
            x = padded(x, whole, "constant", fill)
        axes = tuple(range(2, x.ndim))
        if any(size < span for size, span in zip(x.shape[2:], self.span, strict=True)):
            raise ValueError(
                f"X: expected windows of {self.span} to fit, got {x.shape[2:]} with pads"
            )
        slide: Any = np.lib.stride_tricks.sliding_window_view
        view: Array = slide(x, self.span, axes)
        places = tuple(slice(None, None, stride) for stride in self.strides)
        inside = tuple(slice(None, None, dilation) for dilation in self.dilations)
        result: Array = view[(slice(None), slice(None), *places, *inside)]
        return result


@operator("Conv", since=1)
def _conv(node: Node) -> Function | Bound:
    groups = int(node.get("group", 1))
    kernel, bias = node.constant(1), node.constant(2)
    known = kernel is not None and (bias is not None or not node.has_input(2))
    if known and kernel is not None and kernel.ndim == 3 and _usable(kernel, bias):
        return Bound(_known_conv1d(node, kernel, bias, groups), (0,))

    def conv(x: Array, kernel: Array, bias: Array | None = None) -> Any:
        return _conv_of_any_rank(node, x, kernel, bias, groups)

    return conv


def _known_conv1d(node: Node, kernel: Array, bias: Array | None, groups: int) -> Function:
    """A convolution over one axis, in the engine.

    The engine wants (N, T, C). What it gives is turned by a view, and the next convolution turns
    it back by another: between the two nothing is copied.
    """
    filters, width, size = kernel.shape
    windows = Windows(node, (size,))
    (stride,), (dilation,) = windows.strides, windows.dilations
    if filters % groups:
        node.fail(f"group: expected a divisor of the {filters} filters, got {groups}")
    each = filters // groups
    packed = [
        _core.PackedConv1d(
            kernel[group * each : (group + 1) * each].transpose(2, 1, 0),
            None if bias is None else bias[group * each : (group + 1) * each],
            stride,
            dilation,
            node.activation,
        )
        for group in range(groups)
    ]
    same = windows.mode.startswith("SAME")
    before, after = windows.pads[0]

    def conv(x: Array) -> Any:
        if x.ndim != 3 or x.shape[1] != width * groups:
            node.fail(f"X: expected shape (N, {width * groups}, T), got {x.shape}")
        front, back = windows.padding(x.shape[2:])[0] if same else (before, after)
        if x.shape[2] + front + back < windows.span[0]:
            node.fail(
                f"X: expected at least one window of {windows.span[0]} steps, got {x.shape[2]}"
            )
        flat = width == 1 and groups == 1  # nothing to turn
        rows = x.reshape(len(x), -1, 1) if flat else x.transpose(0, 2, 1)
        if groups == 1:
            return packed[0].forward(rows, front, back).transpose(0, 2, 1)
        parts = [
            part.forward(rows[:, :, group * width : (group + 1) * width], front, back)
            for group, part in enumerate(packed)
        ]
        return np.concatenate(parts, axis=2).transpose(0, 2, 1)

    return conv


def _conv_of_any_rank(node: Node, x: Array, kernel: Array, bias: Array | None, groups: int) -> Any:
    """Windows are copied side by side, and multiplied with the kernel as a matrix."""
    filters, width = kernel.shape[:2]
    if x.ndim != kernel.ndim or x.shape[1] != width * groups or filters % groups:
        node.fail(
            f"X: expected shape (N, {width * groups}, ...) for a kernel of shape "
            f"{kernel.shape}, got {x.shape}"
        )
    windows = Windows(node, kernel.shape[2:])
    view = windows.over(x, windows.padding(x.shape[2:]), 0)
    spatial = x.ndim - 2
    places = view.shape[2 : 2 + spatial]
    # (N, places ..., C, window ...)
    order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
    each, parts = filters // groups, []
    for group in range(groups):
        rows = view[:, group * width : (group + 1) * width].transpose(order)
        rows = rows.reshape(-1, math.prod(kernel.shape[1:]))
        matrix = kernel[group * each : (group + 1) * each].reshape(each, -1).T
        parts.append(_multiply(rows, matrix))
    result = parts[0] if groups == 1 else np.concatenate(parts, axis=1)
    if bias is not None:
        result = result + bias
    result = ACTIVATIONS[node.activation](result)
    return np.moveaxis(result.reshape(len(x), *places, filters), -1, 1)


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


# ---- normalization -------------------------------------------------------------------------------


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
        if last and not with_statistics and _usable(x, scale, shift):
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
