"""Matrix products, by the engine where it supports the type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._checks import FLOAT_TYPES
from lstmcore._typing import Array
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.registry import Bound, Function, operator

__all__ = ["ACTIVATIONS", "multiply", "usable"]

ACTIVATIONS: dict[str, Function] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "tanh": np.tanh,
    "sigmoid": lambda x: x.dtype.type(1) / (x.dtype.type(1) + np.exp(-x)),
}
"""The activations that a product may end with, for types that the engine does not support."""

SMALL = 1 << 18
"""Up to this many multiplications, NumPy's BLAS uses one thread, so its results never vary."""


def _dense(kernel: Array, bias: Array | None, activation: str) -> Function:
    """Return activation(x kernel + bias) over the last axis, for a constant kernel (C, U)."""
    packed = _core.PackedConv1d(kernel[None], bias, 1, 1, activation)
    width, units = kernel.shape

    def dense(x: Array) -> Any:
        if x.size == 0:
            return np.zeros((*x.shape[:-1], units), kernel.dtype)
        return packed.forward(x.reshape(1, -1, width)).reshape(*x.shape[:-1], units)

    return dense


def usable(*arrays: Array | None) -> bool:
    """Return whether the engine can multiply these arrays: its types, and none of them empty."""
    given = [array for array in arrays if array is not None]
    return given[0].dtype in FLOAT_TYPES and all(
        array.dtype == given[0].dtype and array.size > 0 for array in given
    )


def multiply(a: Array, b: Array) -> Any:
    """Multiply two matrices, by the engine if it can."""
    if usable(a, b) and a.shape[1] == b.shape[0]:
        return _core.dense_forward(a, b, None, "linear")
    return np.matmul(a, b)


def _multiply_stacks(a: Array, b: Array) -> Any:
    """Multiply stacks of matrices; each pair has the same bits as if multiplied alone.

    NumPy multiplies small pairs, since calling the engine would take longer than the product.
    """
    if min(a.ndim, b.ndim) < 2 or not usable(a, b) or a.shape[-1] != b.shape[-2]:
        return np.matmul(a, b)
    if math.prod(a.shape[-2:]) * b.shape[-1] <= SMALL:
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
    if kernel is not None and usable(kernel) and (bias is not None or not node.has_input(2)):
        matrix = kernel.T if turn_b else kernel
        width, units = matrix.shape
        flat = bias if beta != 0 else None
        if flat is None or flat.shape in ((), (1,), (1, 1), (units,), (1, units)):
            scaled = (matrix * matrix.dtype.type(alpha)).astype(matrix.dtype)
            shift = None
            if flat is not None:
                shift = np.broadcast_to(flat * matrix.dtype.type(beta), (1, units))[0]
                shift = shift.astype(matrix.dtype)
            dense = _dense(scaled, shift, node.activation)

            def known(a: Array) -> Any:
                rows = a.T if turn_a else a
                if rows.ndim != 2 or rows.shape[1] != width:
                    turned = " once transposed" if turn_a else ""
                    node.fail(f"A: expected a matrix of {width} columns{turned}, got {a.shape}")
                return dense(rows)

            return Bound(known, (0,))

    def gemm(a: Array, b: Array, c: Array | None = None) -> Any:
        product = multiply(a.T if turn_a else a, b.T if turn_b else b)
        if alpha != 1.0:
            product = product * a.dtype.type(alpha)
        if c is not None and beta != 0:
            product = product + (c if beta == 1.0 else c * c.dtype.type(beta))
        return finish(product)

    return gemm


@operator("MatMul", since=1)
def _matmul(node: Node) -> Function | Bound:
    """A third input, which the standard does not have, is a bias taken over from an Add."""
    kernel, bias = node.constant(1), node.constant(2)
    finish = ACTIVATIONS[node.activation]
    if kernel is not None and kernel.ndim == 2 and usable(kernel):
        width = kernel.shape[0]
        dense = _dense(kernel, bias, node.activation)

        def known(x: Array) -> Any:
            if x.shape[-1:] != (width,):
                node.fail(f"A: expected {width} columns, got shape {x.shape}")
            return dense(x)

        return Bound(known, (0,))

    def matmul(a: Array, b: Array, c: Array | None = None) -> Any:
        if b.ndim == 2 and a.ndim >= 2 and usable(a, b) and a.shape[-1] == b.shape[0]:
            flat = multiply(a.reshape(-1, a.shape[-1]), b)
            product = flat.reshape(*a.shape[:-1], b.shape[1])
        else:
            product = _multiply_stacks(a, b)
        return finish(product if c is None else product + c)

    return matmul


@operator("Einsum", since=12)
def _einsum(node: Node) -> Function:
    equation = node.get("equation")
    return lambda *arrays: np.einsum(equation, *arrays, optimize=len(arrays) > 1)
