"""Convolutions: over one axis by the engine, over more axes as matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.products import ACTIVATIONS, multiply, usable
from lstmcore.onnx.operators.registry import Bound, Function, operator
from lstmcore.onnx.operators.windows import Windows


@operator("Conv", since=1)
def _conv(node: Node) -> Function | Bound:
    groups = int(node.get("group", 1))
    if groups < 1:
        node.fail(f"group: expected at least 1, got {groups}")
    kernel, bias = node.constant(1), node.constant(2)
    known = kernel is not None and (bias is not None or not node.has_input(2))
    alone = kernel is not None and kernel.shape[:2] == (groups, 1) and groups > 1
    if known and kernel is not None and kernel.ndim == 3 and usable(kernel, bias) and not alone:
        return Bound(_known_conv1d(node, kernel, bias, groups), (0,))

    def conv(x: Array, kernel: Array, bias: Array | None = None) -> Any:
        return _conv_of_any_rank(node, x, kernel, bias, groups)

    return conv


def _known_conv1d(node: Node, kernel: Array, bias: Array | None, groups: int) -> Function:
    """Return a convolution over one axis, computed by the engine.

    The engine takes and returns (N, T, C). Its result is transposed by a view, which the next
    convolution transposes back, so nothing is copied between the two.
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
        flat = width == 1 and groups == 1  # needs no transposition
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
    """Copy the windows side by side and multiply them by the kernel as a matrix."""
    filters, width = kernel.shape[:2]
    if x.ndim != kernel.ndim or x.shape[1] != width * groups or filters % groups:
        node.fail(
            f"X: expected shape (N, {width * groups}, ...) for a kernel of shape "
            f"{kernel.shape}, got {x.shape}"
        )
    windows = Windows(node, kernel.shape[2:])
    if width == 1 and filters == groups and windows.few and usable(x, kernel, bias):
        return ACTIVATIONS[node.activation](_channel_by_channel(windows, x, kernel, bias))
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
        parts.append(multiply(rows, matrix))
    result = parts[0] if groups == 1 else np.concatenate(parts, axis=1)
    if bias is not None:
        result = result + bias
    result = ACTIVATIONS[node.activation](result)
    return np.moveaxis(result.reshape(len(x), *places, filters), -1, 1)


def _channel_by_channel(windows: Windows, x: Array, kernel: Array, bias: Array | None) -> Array:
    """Convolve each channel with a filter of its own: too little work for products of matrices."""
    spatial = (1,) * (x.ndim - 2)
    columns = kernel.reshape(len(kernel), -1).T.reshape(-1, len(kernel), *spatial)

    def passes(places: Iterator[Array], result: Array) -> None:
        product = np.empty_like(result)
        for number, (entry, column) in enumerate(zip(places, columns, strict=True)):
            if number == 0:
                np.multiply(entry, column, out=result)
            else:
                np.multiply(entry, column, out=product)
                result += product
        if bias is not None:
            result += bias.reshape(-1, *spatial)

    return windows.reduce(x, windows.padding(x.shape[2:]), 0, passes)


@operator("ConvTranspose", since=1)
def _conv_transpose(node: Node) -> Function:
    """Build ConvTranspose: each input adds itself times the kernel to its window of the output."""
    groups = int(node.get("group", 1))
    if groups < 1:
        node.fail(f"group: expected at least 1, got {groups}")

    def conv(x: Array, kernel: Array, bias: Array | None = None) -> Any:
        width, each = kernel.shape[:2]
        if x.ndim != kernel.ndim or x.shape[1] != width or width % groups:
            node.fail(
                f"X: expected shape (N, {width}, ...) for a kernel of shape {kernel.shape}, "
                f"got {x.shape}"
            )
        windows = Windows(node, kernel.shape[2:])
        whole, cut = _transposed_places(node, windows, x.shape[2:])
        part, count, places = width // groups, math.prod(x.shape[2:]), math.prod(windows.size)
        result = np.zeros((len(x), each * groups, *whole), x.dtype)
        rows = np.moveaxis(x, 1, -1).reshape(-1, width)
        products = [
            multiply(
                rows[:, group * part : (group + 1) * part],
                kernel[group * part : (group + 1) * part].reshape(part, -1),
            ).reshape(len(x), count, each, places)
            for group in range(groups)
        ]
        filled = np.concatenate(products, axis=2).transpose(0, 2, 3, 1)
        for number, place in enumerate(windows.shifted(result, x.shape[2:])):
            place += filled[:, :, number].reshape(place.shape)
        result = result[(slice(None), slice(None), *cut)]
        return result if bias is None else result + bias.reshape(-1, *(1,) * (x.ndim - 2))

    return conv


def _transposed_places(
    node: Node, windows: Windows, shape: tuple[int, ...]
) -> tuple[list[int], list[slice]]:
    """Return the sizes that hold all windows and the output padding, and the part to return."""
    extra = node.get("output_padding") or [0] * len(shape)
    wanted = node.get("output_shape")
    whole, cut = [], []
    for axis, size in enumerate(shape):
        stride = windows.strides[axis]
        full = (size - 1) * stride + windows.span[axis] + extra[axis]
        start, after = windows.pads[axis]
        end = full - after
        if wanted is not None or windows.mode.startswith("SAME"):
            target = size * stride if wanted is None else wanted[axis]
            if target - full >= stride:
                node.fail(f"output_shape: expected less than {full + stride}, got {target}")
            left = max(full - target, 0)
            start = left // 2 if windows.mode == "SAME_UPPER" else left - left // 2
            end = start + target
        whole.append(max(full, end))
        cut.append(slice(start, end))
    return whole, cut
