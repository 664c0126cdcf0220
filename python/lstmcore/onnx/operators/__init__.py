"""The operators that run outside ONNX Runtime, grouped by theme."""

from lstmcore.onnx.operators import control, light, lstm
from lstmcore.onnx.operators.registry import (
    OPERATORS,
    Bound,
    Function,
    Kind,
    bound,
    is_recurrent,
    kind_of,
    leaving,
)

__all__ = [
    "OPERATORS",
    "Bound",
    "Function",
    "Kind",
    "bound",
    "control",
    "is_recurrent",
    "kind_of",
    "leaving",
    "light",
    "lstm",
]
