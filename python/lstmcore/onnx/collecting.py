"""Counts the bytes that a loop in a session collects: its results of all turns, and sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lstmcore.onnx.graph import graphs_of
from lstmcore.onnx.guard_nodes import Maker, Term, first_output
from lstmcore.onnx.turn_counts import insert, integer

__all__ = ["ITEM", "count_collected"]

ITEM = 300
"""Bytes of a tensor in a sequence besides its elements."""

LENGTHENING = frozenset(("ConcatFromSequence", "SequenceInsert", "SequenceMap"))
"""Operators by which a sequence can become larger in every turn.

Others make sequences of tensors, each of which is as large as it was.
"""


def count_collected(
    proto: Any,
    body: Any,
    inside: Maker,
    outside: Maker,
    size_of: Callable[[Maker, str], Term],
    sequences: bool,
) -> Term | None:
    """Let a Loop carry how many bytes its turns collected; return those after a turn.

    Parameters
    ----------
    proto, body : onnx.NodeProto, onnx.GraphProto
        The Loop, and its body; changed in place.
    inside, outside : Maker
        Of nodes at the end of the body, and before the Loop.
    size_of : callable
        Makes nodes that compute the bytes of a tensor.
    sequences : bool
        Whether it carries sequences.

    Returns
    -------
    Term or None
        None if it collects nothing.

    Raises
    ------
    ValueError
        If graphs within the body make the sequences larger, where nothing can count that.
    """
    carried = max(len(proto.input) - 2, 0)
    results = [entry.name for entry in body.output[1 + carried :] if entry.name]
    added = [size_of(inside, name) for name in results]
    now: list[Term] = []
    if sequences:
        _check_within(proto, body)
        for node in list(body.node):
            if node.op_type == "SequenceInsert":
                item = inside.constant(np.int64(ITEM))
                added.append(size_of(inside, node.input[1]) + item)
            elif node.op_type == "ConcatFromSequence":
                now.append(size_of(inside, node.output[0]))
    if not added:
        return _sum(now)
    prefix = f"{first_output(proto)}/collected"
    begin = outside.constant(np.int64(0))
    total = Term(inside, f"{prefix}/before")
    for term in added:
        total = total + term
    insert(proto.input, 2 + carried, begin.name)
    insert(proto.output, carried, f"{prefix}/after")
    insert(body.input, 2 + carried, integer(f"{prefix}/before"))
    insert(body.output, 1 + carried, integer(total.name))
    return _sum([total, *now])


def _sum(terms: list[Term]) -> Term | None:
    total = None
    for term in terms:
        total = term if total is None else total + term
    return total


def _check_within(proto: Any, body: Any) -> None:
    """Raise ValueError if a graph in a loop's body makes sequences larger."""
    for node in body.node:
        inner = [entry for graph in graphs_of(node) for entry in _nodes(graph)]
        for found in (*inner, *([node] if node.op_type == "SequenceMap" else [])):
            if found.op_type in LENGTHENING:
                raise ValueError(
                    f"node {proto.name or first_output(proto)!r} ({proto.op_type}): expected "
                    "sequences that only the nodes of its own body make longer, whose bytes are "
                    f"counted, got {found.op_type} in a graph within"
                )


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of the graphs in it."""
    for node in graph.node:
        yield node
        for inner in graphs_of(node):
            yield from _nodes(inner)
