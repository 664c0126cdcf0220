"""The table of operators: from a node to a function of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from lstmcore.onnx.graph import Node

__all__ = ["OPERATORS", "Function", "Operator", "operator"]

Function: TypeAlias = Callable[..., Any]
"""From a node's inputs, None for one left out, to its output, or to a tuple of all of them."""


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

    build: Callable[[Node], Function]
    since: int
    several: bool


OPERATORS: dict[str, Operator] = {}


def operator(
    *names: str, since: int = 1, several: bool = False
) -> Callable[[Callable[[Node], Function]], Callable[[Node], Function]]:
    """Enter a builder into the table."""

    def enter(build: Callable[[Node], Function]) -> Callable[[Node], Function]:
        for name in names:
            OPERATORS[name] = Operator(build, since, several)
        return build

    return enter
