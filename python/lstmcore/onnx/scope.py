"""The names of a graph's values: what is known about each, and which graphs use it."""

from __future__ import annotations

from typing import Any

import onnx

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node

__all__ = ["Scope", "name_outputs", "wanted_names"]


class Scope:
    """The names that a graph can use: its own, then those of the graph that contains it.

    Parameters
    ----------
    opset : int
    problems : list of tuple
        Collects the operators that are not implemented, with their nodes.
    parent : Scope, optional
    """

    def __init__(
        self, opset: int, problems: list[tuple[str, str]], parent: Scope | None = None
    ) -> None:
        self.opset, self.problems, self.parent = opset, problems, parent
        self.constants: dict[str, Array] = {}
        self.names: set[str] = set()
        self.captures: dict[str, None] = {}  # a set that preserves order
        # Shapes of inputs and of their Shape nodes; sizes that the model fixes are integers.
        self.shapes: dict[str, tuple[int | str | None, ...]] = {}
        self.sizes: dict[str, tuple[int | str | None, ...]] = {}

    def constant(self, name: str) -> Array | None:
        """Return the value if it is constant, else None."""
        if name in self.constants:
            return self.constants[name]
        if name in self.names or self.parent is None:
            return None
        return self.parent.constant(name)

    def shape(self, name: str) -> tuple[int | str | None, ...] | None:
        """Return the shape of an input as far as the model fixes it."""
        if name in self.names or self.parent is None:
            return self.shapes.get(name)
        return self.parent.shape(name)

    def knows(self, name: str) -> bool:
        """Return whether a value has this name."""
        here = name in self.names or name in self.constants
        return here or (self.parent is not None and self.parent.knows(name))

    def use(self, name: str) -> None:
        """Record a use of a value; one from an outer graph is captured unless it is constant."""
        if name in self.names or name in self.constants or self.constant(name) is not None:
            return
        if self.parent is not None:
            self.parent.use(name)
            self.captures[name] = None


def wanted_names(graph: Any) -> set[str]:
    """Return the names of all values that an output depends on."""
    wanted = {entry.name for entry in graph.output}
    for proto in reversed(graph.node):
        if not wanted.isdisjoint(proto.output):
            wanted.update(proto.input)
            for entry in proto.attribute:  # subgraphs may use any value of the graphs around them
                if entry.type == onnx.AttributeProto.GRAPH:
                    wanted.update(_mentioned(entry.g))
    return wanted - {""}


def _mentioned(graph: Any) -> set[str]:
    names = {entry.name for entry in graph.output}
    for proto in graph.node:
        names.update(proto.input)
        for entry in proto.attribute:
            if entry.type == onnx.AttributeProto.GRAPH:
                names |= _mentioned(entry.g)
    return names


def name_outputs(node: Node, scope: Scope) -> None:
    """Register the names of a node's outputs."""
    for name in filter(None, node.outputs):
        if name in scope.names or name in scope.constants:
            node.fail(f"outputs: expected distinct names, got {name!r} a second time")
        scope.names.add(name)
