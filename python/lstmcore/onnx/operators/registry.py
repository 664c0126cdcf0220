"""The table of operators: builds, for a node, a function of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from lstmcore.onnx.graph import Node

__all__ = ["OPERATORS", "Bound", "Function", "Operator", "bound", "operator"]

Function: TypeAlias = Callable[..., Any]
"""Maps a node's inputs, None where one is omitted, to its output or to a tuple of outputs."""


class Bound(NamedTuple):
    """A function that holds some of a node's inputs already and takes only the others.

    Attributes
    ----------
    function : callable
    positions : tuple of int
        Positions of the inputs that it takes.
    """

    function: Function
    positions: tuple[int, ...]


class Operator(NamedTuple):
    """How to run an operator.

    Attributes
    ----------
    build : callable
        Returns the function of a node; does all work that does not depend on the inputs.
    since : int
        The first version of the standard whose definition is implemented.
    several : bool
        Whether the function returns a tuple.
    """

    build: Callable[[Node], Function | Bound]
    since: int
    several: bool


Builder: TypeAlias = Callable[[Node], Function | Bound]

OPERATORS: dict[str, Operator] = {}


def bound(node: Node) -> Bound:
    """Build a node's function, and say which inputs it takes."""
    built = OPERATORS[node.operator].build(node)
    return built if isinstance(built, Bound) else Bound(built, tuple(range(len(node.inputs))))


def operator(*names: str, since: int = 1, several: bool = False) -> Callable[[Builder], Builder]:
    """Register a builder for operators of these names."""

    def enter(build: Builder) -> Builder:
        for name in names:
            OPERATORS[name] = Operator(build, since, several)
        return build

    return enter
