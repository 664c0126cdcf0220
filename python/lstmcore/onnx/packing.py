"""What ONNX Runtime holds of constant weights besides the weights: it packs those of products."""

from __future__ import annotations

from collections.abc import Sequence

from lstmcore.onnx.constant_sizes import is_complete, known_sizes
from lstmcore.onnx.graph import Node
from lstmcore.onnx.limits import elements, limits
from lstmcore.onnx.operators import kind_of
from lstmcore.onnx.scope import Scope
from lstmcore.onnx.types import width_of

__all__ = ["check_packed"]

PACKING = ("Attention", "Conv", "GRU", "Gemm", "LSTM", "MatMul", "RNN")
"""Parts of the names of operators whose weights are packed, for each node anew."""

PADDED = 16
"""Columns or channels are packed in multiples of so many."""


def check_packed(node: Node, scope: Scope) -> None:
    """Compare what packing a node's constants takes, beyond the file, with the limits.

    A tensor of the file is free the first time, with as much again for what fills it up.
    """
    if not any(part in node.operator for part in PACKING) or kind_of(node) == "recurrent":
        return
    total = 0
    for place, name in enumerate(node.inputs):
        home = scope.home(name) if name else None
        kind = None if home is None else home.types.get(name)
        if home is None or not home.has_constant(name) or not is_complete(kind):
            continue
        sizes = known_sizes(kind) or []
        free = name in home.tensors and name not in home.packed
        home.packed.add(name)
        count = _packed_elements(node, place, sizes) - (2 * elements(sizes) if free else 0)
        total += max(count, 0) * width_of(kind)
    limits().spend(node, total)


def _packed_elements(node: Node, place: int, sizes: Sequence[int]) -> int:
    """Return an upper bound of the elements of an input, packed.

    Parameters
    ----------
    node : Node
    place : int
        The position of the input.
    sizes : sequence of int
        Its shape.
    """
    kind, count = node.operator, elements(sizes)
    if not sizes:
        return count
    turned = kind == "Gemm" and place == 1 and node.get("transB", 0)
    if "Conv" in kind or "NBits" in kind or turned:  # channels that it makes come first
        columns = sizes[0]
    elif kind in ("GRU", "LSTM", "RNN"):  # (directions, gates, inputs)
        columns = sizes[min(1, len(sizes) - 1)]
    elif "Attention" in kind:  # each head of queries, keys and values by itself
        columns = sizes[-1] // (3 * max(int(node.get("num_heads", 1)), 1))
    else:
        columns = sizes[-1]
    columns = max(columns, 1)
    return -(-count // columns) * (-(-columns // PADDED) * PADDED)
