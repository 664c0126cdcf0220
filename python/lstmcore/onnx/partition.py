"""Which nodes of a graph run where, and when.

A node's level is the number of recurrent nodes before it on the longest way from the inputs. All
nodes of a level that neither the engine nor NumPy runs are one part, so that a graph is cut as
seldom as possible. Then the level's recurrent nodes run, and after them the next level.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lstmcore.onnx.constants import is_light
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators import kind_of
from lstmcore.onnx.scope import Scope

__all__ = ["Stage", "needed", "stages"]


@dataclass
class Stage:
    """The nodes of a level.

    Attributes
    ----------
    light : list of Node
        Groups of connected nodes that NumPy can run completely.
    part : list of Node
        The other nodes without recurrent ones; run together.
    heavy : list of Node
        Recurrent nodes, and loops and branches around such nodes.
    """

    light: list[Node] = field(default_factory=list)
    part: list[Node] = field(default_factory=list)
    heavy: list[Node] = field(default_factory=list)


def needed(nodes: Iterable[Node], results: Iterable[str]) -> list[Node]:
    """Leave out the nodes that no result depends on."""
    wanted, found = set(results), list[Node]()
    for node in reversed(list(nodes)):
        if not wanted.isdisjoint(filter(None, node.outputs)):
            found.append(node)
            wanted.update(node.reads)
    return found[::-1]


def stages(nodes: Iterable[Node], scope: Scope) -> list[Stage]:
    """Divide the nodes of a graph, which are in an order in which they can run."""
    levels: dict[str, int] = {}  # the first level at which a value can be used; 0 for inputs
    found: list[Stage] = []
    for node in nodes:
        level = max((levels.get(name, 0) for name in node.reads), default=0)
        heavy = is_heavy(node)
        levels.update((name, level + heavy) for name in node.outputs if name)
        while len(found) <= level:
            found.append(Stage())
        (found[level].heavy if heavy else found[level].part).append(node)
    for stage in found:
        stage.light, stage.part = _split(stage.part, scope)
    return found


def is_heavy(node: Node) -> bool:
    """Return whether a node is recurrent, or a loop or branch whose graphs were opened."""
    kind = kind_of(node)
    return kind == "recurrent" or (kind == "control" and node.opened)


def _split(nodes: list[Node], scope: Scope) -> tuple[list[Node], list[Node]]:
    """Separate the groups of connected nodes that NumPy can run from the other nodes."""
    group = {id(node): number for number, node in enumerate(nodes)}
    members = {number: [node] for number, node in enumerate(nodes)}
    makers = {name: node for node in nodes for name in node.outputs if name}
    for node in nodes:
        for name in node.reads:
            maker = makers.get(name)
            if maker is None or group[id(maker)] == group[id(node)]:
                continue
            first, second = sorted((group[id(maker)], group[id(node)]))
            for other in members[second]:
                group[id(other)] = first
            members[first] += members.pop(second)
    light = {
        number
        for number, entries in members.items()
        if all(is_light(entry, scope) for entry in entries)
    }
    return (
        [node for node in nodes if group[id(node)] in light],
        [node for node in nodes if group[id(node)] not in light],
    )
