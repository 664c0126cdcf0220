"""Which inputs hold sizes: numbers that decide how large the output of an operator is."""

from __future__ import annotations

from typing import Literal, TypeAlias

__all__ = ["DOMAINS", "Rule", "rules_of"]

DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Where operators of these names mean this: ONNX Runtime has some of them itself too."""

Rule: TypeAlias = Literal["product", "sum", "turns"]
"""How the numbers of an input bound the elements of a node's output, or how often it runs."""

NUMBERS: dict[str, tuple[tuple[int, Rule], ...]] = {
    "AffineGrid": ((1, "product"),),
    "BlackmanWindow": ((0, "product"),),
    "Col2Im": ((1, "product"),),
    "ConstantOfShape": ((0, "product"),),
    "DFT": ((1, "product"),),
    "Expand": ((1, "product"),),
    "HammingWindow": ((0, "product"),),
    "HannWindow": ((0, "product"),),
    "MaxUnpool": ((2, "product"),),
    "MelWeightMatrix": ((0, "product"), (1, "product")),
    "OneHot": ((1, "product"),),
    "Pad": ((1, "sum"),),
    "STFT": ((3, "product"),),
    "Tile": ((1, "product"),),
    "Upsample": ((1, "product"),),
}
"""Positions of the inputs whose numbers, not whose shapes, decide how large an output is."""


def rules_of(operator: str, opset: int) -> tuple[tuple[int, Rule], ...]:
    """Return the positions of the inputs that hold sizes, and what is to be compared.

    Range is not among them, since the size is that of a quotient.
    """
    if operator == "Resize":  # X, scales; later X, roi, scales, sizes
        return ((1, "product"),) if opset < 11 else ((2, "product"), (3, "product"))
    return NUMBERS.get(operator, ())
