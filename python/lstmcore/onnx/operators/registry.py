"""The table of operators: from a node to a function of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from lstmcore.onnx.graph import Node

__all__ = ["OPERATORS", "Bound", "Function", "Operator", "bound", "operator"]

Function: TypeAlias = Callable[..., Any]
"""From a node's inputs, None for one left out, to its output, or to a tuple of all of them."""


class Bound(NamedTuple):
    """A function that has some of a node's inputs already, and takes only the others.

    Attributes
    ----------
    function : callable
    positions : tuple of int
        Which inputs it takes.
    """

    function: Function
    positions: tuple[int, ...]


class Operator(NamedTuple):
    """How an operator is run.

    Attributes
    ----------
    build : callable
        Makes the function of a node; all that does not depend on the inputs is done here.
    since : int
        The first version of the standard whose definition is known here.
    several : bool
        Whether the function returns a tuple.
    """

    build: Callable[[Node], Function | Bound]
    since: int
    several: bool


Builder: TypeAlias = Callable[[Node], Function | Bound]

OPERATORS: dict[str, Operator] = {}


def bound(node: Node) -> Bound:
    """Build a node's function, and tell which of its inputs it takes."""
    built = OPERATORS[node.operator].build(node)
    return built if isinstance(built, Bound) else Bound(built, tuple(range(len(node.inputs))))


def operator(*names: str, since: int = 1, several: bool = False) -> Callable[[Builder], Builder]:
    """Enter a builder into the table."""

    def enter(build: Builder) -> Builder:
        for name in names:
            OPERATORS[name] = Operator(build, since, several)
        return build

    return enter
