"""The operators that models with recurrent layers consist of, grouped by theme."""

from lstmcore.onnx.operators import (
    control,
    convolution,
    elementwise,
    lstm,
    normalization,
    padding,
    pooling,
    products,
    reductions,
    shapes,
)
from lstmcore.onnx.operators.registry import OPERATORS, Function, Operator, bound

__all__ = [
    "OPERATORS",
    "Function",
    "Operator",
    "bound",
    "control",
    "convolution",
    "elementwise",
    "lstm",
    "normalization",
    "padding",
    "pooling",
    "products",
    "reductions",
    "shapes",
]
