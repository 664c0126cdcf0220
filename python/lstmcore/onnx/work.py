"""What a constant node takes, by its operator: multiplications, and memory while it is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lstmcore.onnx.graph import Node
from lstmcore.onnx.limits import elements
from lstmcore.onnx.result_sizes import POINT

__all__ = ["held", "is_heavy_work", "multiplications"]

HEAVY = (
    *("Attention", "Col2Im", "Conv", "DFT", "Det", "Einsum", "GRU", "Gemm", "GridSample", "LRN"),
    *("LSTM", "MatMul", "NonMaxSuppression", "Pool", "RNN", "Regex", "Resize", "Roi", "STFT"),
    *("TfIdf", "TopK", "Upsample", "pool"),
)
"""Parts of the names of operators that take more steps than their inputs and outputs have elements.

Unless it has a formula here, each is taken to combine all outputs with all of its largest input.
"""

POWER = 8
"""Multiplications that take as long as a power, the least that an LpPool computes of a number."""

Shapes = Sequence[Sequence[int]]


def is_heavy_work(operator: str) -> bool:
    """Return whether an operator takes more steps than its inputs and outputs have elements."""
    return any(part in operator for part in HEAVY)


def multiplications(node: Node, inputs: Shapes, made: int) -> int:
    """Return an upper bound of the multiplications of a node, or of steps of another kind.

    Parameters
    ----------
    node : Node
    inputs : sequence of sequence of int
        The shapes of its inputs; those of omitted ones are empty.
    made : int
        Elements of its outputs.
    """
    counts = [elements(shape) for shape in inputs]
    linear = sum(counts) + made
    if not is_heavy_work(node.operator):
        return linear
    most = max(counts, default=1)
    try:
        return max(linear, _by_formula(node, inputs, counts, made))
    except (IndexError, KeyError, TypeError):  # the shapes do not fit; others say why
        return linear + made * most


def _by_formula(node: Node, inputs: Shapes, counts: Sequence[int], made: int) -> int:
    kind = node.operator
    if "Conv" in kind:  # weights (M, C / group, *kernel); transposed: (C, M / group, *kernel)
        weights = inputs[3] if kind == "QLinearConv" else inputs[1]
        return max(made, counts[0]) * elements(weights[1:])
    if "pool" in kind.lower() and "Roi" not in kind:
        each = POWER if "Lp" in kind else 1
        return max(made, counts[0]) * elements(node.get("kernel_shape", ())) * each
    if "MatMul" in kind:
        return made * inputs[0][-1]
    if kind == "Gemm":
        return made * inputs[0][0 if node.get("transA", 0) else 1]
    if kind == "Einsum":
        return math.prod(sizes_of_letters(node, inputs).values())
    if kind in ("GRU", "LSTM", "RNN"):  # input (steps, rows, C) or (rows, steps, C)
        return inputs[0][0] * inputs[0][1] * (counts[1] + counts[2])
    if kind == "Det":
        return counts[0] * inputs[0][-1]
    if kind == "TopK":  # along an axis that may have all elements
        return counts[0] * counts[0].bit_length()
    if kind == "TfIdfVectorizer":
        lengths = int(node.get("max_gram_length", 1))
        return counts[0] * (int(node.get("max_skip_count", 0)) + 1) * lengths
    return made * max(counts)


def held(node: Node, inputs: Shapes, made: int) -> int:
    """Return an upper bound of the numbers that a node holds besides its inputs and outputs.

    Parameters
    ----------
    node : Node
    inputs : sequence of sequence of int
    made : int
        As for `multiplications`.
    """
    counts = [elements(shape) for shape in inputs]
    try:
        return _held_by_formula(node, inputs, counts, made)
    except (IndexError, KeyError, TypeError):  # the shapes do not fit; others say why
        return 0


def _held_by_formula(node: Node, inputs: Shapes, counts: Sequence[int], made: int) -> int:
    kind = node.operator
    if "Conv" in kind:
        return _columns(node, inputs, made)
    if "Attention" in kind:
        return made * max(counts)
    if kind == "Einsum":
        return _intermediate(node, inputs)
    if kind in ("GRU", "LSTM", "RNN"):  # all gates of all steps
        return inputs[0][0] * inputs[0][1] * inputs[1][0] * inputs[1][1]
    if kind in HOLDING:
        return HOLDING[kind] * max(made, *counts)
    return 0


HOLDING = {
    "Det": 1,
    "GridSample": 16,
    "Hardmax": 2,
    "LogSoftmax": 2,
    "Resize": 12,
    "Softmax": 2,
    "TopK": 2,
    "Unique": 44,
    "Upsample": 12,
}
"""Numbers that operators hold for each element of their largest input or their outputs."""


def _columns(node: Node, inputs: Shapes, made: int) -> int:
    """Return the elements of the matrix that turns a convolution into a product."""
    kind = node.operator
    image, weights = inputs[0], inputs[3] if kind == "QLinearConv" else inputs[1]
    if "Transpose" in kind:
        return elements(image[2:]) * elements(weights[1:])
    places = -(-made // (max(image[0], 1) * max(weights[0], 1)))
    if kind == "DeformConv":  # of all groups, with points between others
        return places * image[1] * elements(weights[2:]) + POINT * elements(inputs[2])
    return places * elements(weights[1:])


def _intermediate(node: Node, inputs: Shapes) -> int:
    """Return the elements of the largest product of the first factors of an Einsum.

    It has the axes that a later factor or the result needs; others were summed.
    """
    sizes = sizes_of_letters(node, inputs)
    given, arrow, result = str(node.get("equation", "")).replace(" ", "").partition("->")
    terms = [set(term) for term in given.split(",")]
    most = max(map(elements, inputs), default=1)
    for count in range(1, len(terms)):
        before, after = set().union(*terms[:count]), set().union(*terms[count:])
        needed = (before & after) | (set(result) & before if arrow else before)
        kept = (size for name, size in sizes.items() if name in needed or name.isdigit())
        most = max(most, elements(kept))
    return most


def sizes_of_letters(node: Node, inputs: Shapes) -> dict[str, int]:
    """Return the size of the axis that each letter of an Einsum stands for, at least 1.

    Axes that an ellipsis stands for have their distance from the last of them as a name.
    """
    found: dict[str, int] = {}
    terms = str(node.get("equation", "")).replace(" ", "").partition("->")[0].split(",")
    for term, shape in zip(terms, inputs, strict=False):
        before, dots, after = term.partition("...")
        inner = [str(k) for k in range(len(shape) - len(before) - len(after), 0, -1) if dots]
        for letter, size in zip((*before, *inner, *after), shape, strict=False):
            found[letter] = max(found.get(letter, 1), size)
    return found
