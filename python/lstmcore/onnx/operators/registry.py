"""The operators that run outside ONNX Runtime: a table that builds functions of nodes' inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, TypeAlias

from lstmcore.onnx.graph import Node

__all__ = [
    "OPERATORS",
    "Bound",
    "Function",
    "Kind",
    "Operator",
    "bound",
    "is_recurrent",
    "kind_of",
    "leaving",
    "operator",
]

Function: TypeAlias = Callable[..., Any]
"""Maps a node's inputs, None where one is omitted, to its output or to a tuple of outputs."""

Kind: TypeAlias = Literal["light", "recurrent", "control"]
"""Run by NumPy, by the engine, or by a loop here over the node's own graphs."""


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
    kind : str
    """

    build: Callable[[Node], Function | Bound]
    since: int
    several: bool
    kind: Kind


Builder: TypeAlias = Callable[[Node], Function | Bound]

OPERATORS: dict[str, Operator] = {}
"""By `Node.label`."""


_left: ContextVar[Collection[str]] = ContextVar("_left", default=())
"""Labels of operators that ONNX Runtime shall run although the engine could."""


@contextmanager
def leaving(labels: Collection[str]) -> Iterator[None]:
    """Divide graphs within as if operators with these labels could only run in ONNX Runtime."""
    token = _left.set(labels)
    try:
        yield
    finally:
        _left.reset(token)


def kind_of(node: Node) -> Kind | None:
    """Return how a node can run outside ONNX Runtime, or None if it cannot or shall not."""
    known = OPERATORS.get(node.label)
    if known is None or node.label in _left.get() or (not node.domain and node.opset < known.since):
        return None
    return known.kind


def is_recurrent(label: str) -> bool:
    """Return whether the engine runs the operator with this label."""
    known = OPERATORS.get(label)
    return known is not None and known.kind == "recurrent" and label not in _left.get()


def bound(node: Node) -> Bound:
    """Build a node's function, and say which inputs it takes."""
    built = OPERATORS[node.label].build(node)
    return built if isinstance(built, Bound) else Bound(built, tuple(range(len(node.inputs))))


def operator(
    *names: str, since: int = 1, several: bool = False, kind: Kind = "light"
) -> Callable[[Builder], Builder]:
    """Register a builder for operators of these names."""

    def enter(build: Builder) -> Builder:
        for name in names:
            OPERATORS[name] = Operator(build, since, several, kind)
        return build

    return enter
