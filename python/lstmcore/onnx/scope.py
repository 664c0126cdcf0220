"""The names of a graph's values: what is known about each, and which graphs use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lstmcore._typing import Array
from lstmcore.onnx.graph import Node, Sizes

__all__ = ["Origin", "Scope", "check_unused", "name_outputs"]


@dataclass(frozen=True)
class Origin:
    """What all graphs of a model share.

    Attributes
    ----------
    opset : int
        Version of the standard's operators.
    versions : dict of str to int
        Version of every domain's operators.
    problems : list of tuple of str
        Collects operators that nothing here runs, with the names of their nodes.
    growing : set of str
        Collects outputs of nodes whose constant numbers make many elements of few.
    """

    opset: int
    versions: dict[str, int]
    problems: list[tuple[str, str]] = field(default_factory=list)
    growing: set[str] = field(default_factory=set)


class Scope:
    """The names that a graph can use: its own, then those of the graph that contains it.

    Every name is in exactly one of `names`, `tensors`, `constants` and `sources`, except that a
    constant that was once read is in `constants` too.

    Attributes
    ----------
    names : set of str
        Values that are known only when the model runs.
    tensors : dict of str to onnx.TensorProto
        Initializers as the file stores them.
    constants : dict of str to ndarray
        Values that are known, and were needed by something that is built here.
    sources : dict of str to Node
        Nodes that depend on no input, by their outputs; they are computed on demand.
    types : dict of str to onnx.TypeProto
        Types of values, as far as they are known.
    captures : dict of str to None
        Names of values of the graphs around it that the graph uses, in a fixed order.
    shapes, sizes : dict of str to tuple
        Shapes of the model's inputs and of their Shape nodes; sizes that the model fixes are
        integers.
    most, items, texts : dict of str to int
        Upper bounds of the elements of constants whose shape is not known, such as sequences, of
        the tensors in sequences, and of the bytes of texts in constants.
    costs : dict of str to tuple of int
        Bytes of what the node of a constant makes, and multiplications that it takes.
    read, held, alone, packed : set of str
        Constants that others are computed from, those that a part holds, those that were computed
        on the way to others, and those that are held packed.
    turns : float
        How often the graph runs in each run of the model, as far as that is known.
    """

    def __init__(self, origin: Origin, parent: Scope | None = None, turns: float = 1) -> None:
        self.origin, self.parent, self.turns = origin, parent, turns
        self.names: set[str] = set()
        self.tensors: dict[str, Any] = {}
        self.constants: dict[str, Array] = {}
        self.sources: dict[str, Node] = {}
        self.types: dict[str, Any] = {}
        self.most: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.texts: dict[str, int] = {}
        self.costs: dict[str, tuple[int, int]] = {}
        self.held: set[str] = set()
        self.alone: set[str] = set()
        self.packed: set[str] = set()
        self.read: set[str] = set()
        self.captures: dict[str, None] = {}
        self.shapes: dict[str, Sizes] = {}
        self.sizes: dict[str, Sizes] = {}

    def home(self, name: str) -> Scope | None:
        """Return the scope of the graph that a value belongs to; None if there is no such value."""
        if name in self.names or self.has_constant(name):
            return self
        return None if self.parent is None else self.parent.home(name)

    def has_constant(self, name: str) -> bool:
        """Return whether the graph itself has a constant of this name."""
        return name in self.tensors or name in self.constants or name in self.sources

    def knows(self, name: str) -> bool:
        """Return whether a value has this name."""
        return self.home(name) is not None

    def is_constant(self, name: str) -> bool:
        """Return whether a value does not depend on the model's inputs."""
        home = self.home(name)
        return home is not None and home.has_constant(name)

    def type_of(self, name: str) -> Any:
        """Return the type of a value as an onnx.TypeProto, or None if it is not known."""
        home = self.home(name)
        return None if home is None else home.types.get(name)

    def shape(self, name: str) -> Sizes | None:
        """Return the shape of an input as far as the model fixes it."""
        home = self.home(name)
        return None if home is None else home.shapes.get(name)

    def use(self, name: str) -> None:
        """Record a use of a value; one from an outer graph is captured unless it is constant."""
        if name in self.names or self.is_constant(name):
            return
        if self.parent is not None:
            self.parent.use(name)
            self.captures[name] = None


def name_outputs(node: Node, scope: Scope) -> None:
    """Register the outputs of a node as values that are known only when the model runs."""
    for name in filter(None, node.outputs):
        check_unused(node, name, scope)
        scope.names.add(name)


def check_unused(node: Node, name: str, scope: Scope) -> None:
    """Raise ValueError if a graph has a value of this name already."""
    if name in scope.names or scope.has_constant(name):
        node.fail(f"outputs: expected distinct names, got {name!r} a second time")
