"""Whether ONNX Runtime may compute in advance what it finds to be the same in every run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lstmcore.onnx.graph import RANDOM, graphs_of
from lstmcore.onnx.work import is_heavy_work

__all__ = ["MEASURES", "may_fold"]

MEASURES = frozenset(("Shape", "Size"))
"""Operators that read the sizes of their inputs alone."""


def may_fold(graph: Any, fixed: Collection[str] = (), derived: Collection[str] = ()) -> bool:
    """Return whether the work of all constants of a graph was compared with the limits.

    ONNX Runtime also takes for constants what follows from shapes that it infers, or from a Dropout
    that does nothing. Nodes that do much work with such values are left to the run, which comes to
    them once, rather than to its optimizer.

    Parameters
    ----------
    graph : onnx.GraphProto
    fixed : collection of str
        Names of the constants of the graphs around it.
    derived : collection of str
        Names of values of the graphs around it that may be constants for ONNX Runtime alone.
    """
    given = {entry.name for entry in graph.input}
    fixed = {*fixed, *(entry.name for entry in graph.initializer)} - given
    derived = set(derived) - given
    for proto in graph.node:
        if not all(may_fold(inner, fixed, derived) for inner in graphs_of(proto)):
            return False
        names = set(filter(None, proto.input))
        made = set(filter(None, proto.output))
        nested = any(True for _ in graphs_of(proto))
        if names <= fixed and not nested and proto.op_type not in RANDOM:
            fixed |= made
        elif proto.op_type in MEASURES:
            derived |= made
        elif names <= fixed | derived and (proto.op_type == "Dropout" or _is_same(proto, nested)):
            if is_heavy_work(proto.op_type):
                return False
            derived |= made
    return True


def _is_same(proto: Any, nested: bool) -> bool:
    """Return whether a node may have the same results in every run if its inputs have."""
    return proto.op_type == "If" if nested else proto.op_type not in RANDOM
