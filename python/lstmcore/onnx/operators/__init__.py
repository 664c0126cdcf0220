"""The operators that run outside ONNX Runtime, grouped by theme."""

from lstmcore.onnx.operators import control, light, lstm
from lstmcore.onnx.operators.registry import OPERATORS, Bound, Function, Kind, bound, kind_of

__all__ = [
    "OPERATORS",
    "Bound",
    "Function",
    "Kind",
    "bound",
    "control",
    "kind_of",
    "light",
    "lstm",
]
