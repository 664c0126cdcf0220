"""Elementwise operators: arithmetic, comparisons, activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.layers.error_function import erf
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.registry import OPERATORS, Bound, Function, Operator, operator

UNARY: dict[str, tuple[Function, int]] = {
    "Abs": (np.abs, 6),
    "Acos": (np.arccos, 7),
    "Acosh": (np.arccosh, 9),
    "Asin": (np.arcsin, 7),
    "Asinh": (np.arcsinh, 9),
    "Atan": (np.arctan, 7),
    "Atanh": (np.arctanh, 9),
    "Ceil": (np.ceil, 6),
    "Cos": (np.cos, 7),
    "Cosh": (np.cosh, 9),
    "Exp": (np.exp, 6),
    "Floor": (np.floor, 6),
    "IsNaN": (np.isnan, 9),
    "Log": (np.log, 6),
    "Neg": (np.negative, 6),
    "Not": (np.logical_not, 1),
    "Reciprocal": (np.reciprocal, 6),
    "Round": (np.rint, 11),
    "Sign": (np.sign, 9),
    "Sin": (np.sin, 7),
    "Sinh": (np.sinh, 9),
    "Sqrt": (np.sqrt, 6),
    "Tan": (np.tan, 7),
    "Tanh": (np.tanh, 6),
}


def _divide(a: Any, b: Any) -> Any:
    """Divide; integers are rounded towards zero."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient = np.floor_divide(a, b)
    if a.dtype.kind == "u":
        return quotient
    return quotient + ((np.remainder(a, b) != 0) & ((a < 0) != (b < 0))).astype(a.dtype)


BINARY: dict[str, tuple[Function, int]] = {
    "Add": (np.add, 6),
    "Sub": (np.subtract, 6),
    "Mul": (np.multiply, 6),
    "Div": (_divide, 6),
    "And": (np.logical_and, 1),
    "Or": (np.logical_or, 1),
    "Xor": (np.logical_xor, 1),
    "Equal": (np.equal, 1),
    "Greater": (np.greater, 1),
    "GreaterOrEqual": (np.greater_equal, 12),
    "Less": (np.less, 1),
    "LessOrEqual": (np.less_equal, 12),
    "PRelu": (lambda x, slope: np.where(x < 0, x * slope, x), 7),
}


def _enter_simple() -> None:
    def unary(function: Function) -> Any:
        return lambda node: function

    def binary(function: Function) -> Any:
        return lambda node: _with_old_broadcast(node, function)

    for name, (function, since) in UNARY.items():
        OPERATORS[name] = Operator(unary(function), since, False)
    for name, (function, since) in BINARY.items():
        OPERATORS[name] = Operator(binary(function), since, False)


_enter_simple()


def _with_old_broadcast(node: Node, function: Function) -> Function:
    """Broadcast as before version 7: an attribute says at which axis a smaller operand begins."""
    if node.opset >= 7 or node.get("axis") is None:
        return function
    axis = int(node.get("axis"))

    def aligned(a: Array, b: Array) -> Any:
        behind = a.ndim - axis % max(a.ndim, 1) - b.ndim
        return function(a, b.reshape(b.shape + (1,) * behind))

    return aligned


@operator("BitShift", since=11)
def _bit_shift(node: Node) -> Function:
    return np.left_shift if node.get("direction") == "LEFT" else np.right_shift


@operator("Identity", since=1)
def _identity(node: Node) -> Function:
    return lambda x: x


@operator("Dropout", since=7, several=True)
def _dropout(node: Node) -> Function:
    def dropout(x: Array, ratio: Array | None = None, training: Array | None = None) -> Any:
        if training is not None and bool(training) and (ratio is None or float(ratio) != 0.0):
            node.fail("training_mode: expected False, since nothing is dropped at inference")
        return x, np.ones(x.shape, np.bool_ if node.opset >= 10 else x.dtype)

    return dropout


@operator("Pow", since=1)
def _pow(node: Node) -> Function | Bound:
    exponent = node.constant(1)
    if exponent is not None and exponent.ndim == 0 and exponent == 2:
        return Bound(np.square, (0,))
    return _with_old_broadcast(node, _power)


def _power(x: Array, exponent: Array) -> Any:
    if x.dtype.kind in "iu" and exponent.dtype.kind in "iu":
        if exponent.size and int(exponent.min()) < 0:
            return np.power(x.astype(np.float64), exponent).astype(x.dtype)
        return np.power(x, exponent).astype(x.dtype, copy=False)
    return np.power(x, exponent).astype(x.dtype, copy=False)


@operator("Mod", since=10)
def _mod(node: Node) -> Function:
    return np.fmod if node.get("fmod", 0) else np.mod


@operator("Max", "Min", "Sum", "Mean", since=6)
def _of_several(node: Node) -> Function:
    function = {"Max": np.maximum, "Min": np.minimum}.get(node.operator, np.add)

    def combine(first: Array, *others: Array) -> Any:
        result: Any = first
        for other in others:
            result = function(result, other)
        return result / result.dtype.type(1 + len(others)) if node.operator == "Mean" else result

    return combine


@operator("Where", since=9)
def _where(node: Node) -> Function:
    return np.where


@operator("IsInf", since=10)
def _is_inf(node: Node) -> Function:
    negative, positive = node.get("detect_negative", 1), node.get("detect_positive", 1)
    if negative and positive:
        return np.isinf
    if negative:
        return np.isneginf
    return np.isposinf if positive else lambda x: np.zeros(x.shape, np.bool_)


@operator("Clip", since=6)
def _clip(node: Node) -> Function:
    if node.opset < 11:
        low, high = node.get("min"), node.get("max")

        def bound(x: Array) -> Any:
            if low is not None:
                x = np.maximum(x, x.dtype.type(low))
            return x if high is None else np.minimum(x, x.dtype.type(high))

        return bound

    def clip(x: Array, low: Array | None = None, high: Array | None = None) -> Any:
        if low is not None:
            x = np.maximum(x, low)
        return x if high is None else np.minimum(x, high)

    return clip


# ---- activations: overflow is intended here, and a run silences NumPy's warnings -----------------


def sigmoid(x: Array) -> Any:
    """Return 1 / (1 + exp(-x)), in the type of x."""
    one = x.dtype.type(1)
    return one / (one + np.exp(-x))


ZERO = {np.dtype(kind): np.zeros((), kind) for kind in (np.float32, np.float64)}


def relu(x: Array) -> Any:
    """Return max(x, 0); a zero that is an array halves the time for a small x."""
    return np.maximum(x, ZERO.get(x.dtype, 0))


@operator("Sigmoid", since=6)
def _sigmoid(node: Node) -> Function:
    return sigmoid


@operator("Relu", since=6)
def _relu(node: Node) -> Function:
    return relu


@operator("LeakyRelu", since=6)
def _leaky_relu(node: Node) -> Function:
    alpha = node.get("alpha", 0.01)
    return lambda x: np.where(x < 0, x * x.dtype.type(alpha), x)


@operator("ThresholdedRelu", since=10)
def _thresholded_relu(node: Node) -> Function:
    alpha = node.get("alpha", 1.0)
    return lambda x: np.where(x > x.dtype.type(alpha), x, x.dtype.type(0))


@operator("Elu", since=6)
def _elu(node: Node) -> Function:
    alpha = node.get("alpha", 1.0)
    return lambda x: np.where(x < 0, x.dtype.type(alpha) * np.expm1(x), x)


@operator("Celu", since=12)
def _celu(node: Node) -> Function:
    alpha = node.get("alpha", 1.0)
    return lambda x: np.where(x < 0, x.dtype.type(alpha) * np.expm1(x / x.dtype.type(alpha)), x)


@operator("Selu", since=6)
def _selu(node: Node) -> Function:
    alpha = node.get("alpha", 1.67326319217681884765625)
    gamma = node.get("gamma", 1.05070102214813232421875)
    return lambda x: x.dtype.type(gamma) * np.where(x < 0, x.dtype.type(alpha) * np.expm1(x), x)


@operator("HardSigmoid", since=6)
def _hard_sigmoid(node: Node) -> Function:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)

    def hard_sigmoid(x: Array) -> Any:
        kind = x.dtype.type
        return np.clip(kind(alpha) * x + kind(beta), kind(0), kind(1))

    return hard_sigmoid


@operator("HardSwish", since=14)
def _hard_swish(node: Node) -> Function:
    def hard_swish(x: Array) -> Any:
        kind = x.dtype.type
        return x * np.clip(x * kind(1 / 6) + kind(0.5), kind(0), kind(1))

    return hard_swish


@operator("Swish", since=24)
def _swish(node: Node) -> Function:
    alpha = node.get("alpha", 1.0)
    return lambda x: x * sigmoid(x.dtype.type(alpha) * x)


@operator("Softplus", since=1)
def _softplus(node: Node) -> Function:
    return lambda x: np.logaddexp(x, x.dtype.type(0))


@operator("Softsign", since=1)
def _softsign(node: Node) -> Function:
    return lambda x: x / (x.dtype.type(1) + np.abs(x))


@operator("Mish", since=18)
def _mish(node: Node) -> Function:
    return lambda x: x * np.tanh(np.logaddexp(x, x.dtype.type(0)))


@operator("Erf", since=9)
def _erf(node: Node) -> Function:
    return erf


@operator("Gelu", since=20)
def _gelu(node: Node) -> Function:
    if node.get("approximate", "none") == "tanh":

        def gelu(x: Array) -> Any:
            kind = x.dtype.type
            inner = kind(math.sqrt(2 / math.pi)) * (x + kind(0.044715) * x * x * x)
            return kind(0.5) * x * (kind(1) + np.tanh(inner))

        return gelu
    return lambda x: x.dtype.type(0.5) * x * (x.dtype.type(1) + erf(x / x.dtype.type(math.sqrt(2))))


@operator("Softmax", "LogSoftmax", since=1)
def _softmax(node: Node) -> Function:
    logarithm = node.operator == "LogSoftmax"
    axis = node.get("axis", -1 if node.opset >= 13 else 1)

    def along(x: Array, axis: int) -> Any:
        shifted = x - np.maximum.reduce(x, axis=axis, keepdims=True)
        powers = np.exp(shifted, out=None if logarithm else shifted)
        total = np.add.reduce(powers, axis=axis, keepdims=True)
        if logarithm:
            shifted -= np.log(total)
        else:
            shifted /= total
        return shifted

    def softmax(x: Array) -> Any:
        if x.size == 0:
            return x
        if node.opset >= 13:
            return along(x, axis)
        first = axis + x.ndim if axis < 0 else axis
        rows = x.reshape(math.prod(x.shape[:first]), -1)
        return along(rows, 1).reshape(x.shape)

    return softmax
