"""An If whose condition is known at load becomes the nodes of the branch that it chooses."""

from __future__ import annotations

import hashlib
from typing import Any

import onnx

from lstmcore.onnx.graph import Node, graphs_of

__all__ = ["branch_of"]

LONGEST = 128
"""Letters of a name that is put before those of all nodes of a branch."""


def branch_of(node: Node, branch: Any) -> tuple[Any, dict[str, str]]:
    """Return a branch as part of the graph around it.

    Parameters
    ----------
    node : Node
        The If.
    branch : onnx.GraphProto
        Its graph that was chosen.

    Returns
    -------
    graph : onnx.GraphProto
        The same nodes with new names, which differ from those of the graph around it and of other
        branches; its outputs are those of the If.
    names : dict of str to str
        The new names by the old ones.
    """
    made = [name for proto in branch.node for name in proto.output if name]
    first = next(filter(None, node.outputs))
    if isinstance(first, bytes):  # as protobuf gives a name that is not UTF-8
        node.fail(f"expected names of outputs in UTF-8, got {first[:60]!r}")
    prefix = _short(first) + "/"
    own = [*made, *(tensor.name for tensor in branch.initializer)]
    names = {name: prefix + name for name in own}
    results = [entry.name for entry in branch.output]
    copies: list[tuple[str, str]] = []
    direct: set[str] = set()
    for result, outer in zip(results, node.outputs, strict=False):
        if outer and result in made and result not in direct:
            names[result] = outer
            direct.add(result)
        elif outer:
            copies.append((result, outer))
    graph = onnx.GraphProto(name=branch.name)
    for proto in branch.node:
        graph.node.append(proto)
        copy = graph.node[-1]
        _rename(copy, names)
        copy.name = copy.name and prefix + copy.name  # names of nodes must differ too
    for result, outer in copies:
        graph.node.append(onnx.helper.make_node("Identity", [names.get(result, result)], [outer]))
    for tensor in branch.initializer:
        graph.initializer.append(tensor)
        graph.initializer[-1].name = names[tensor.name]
    graph.sparse_initializer.extend(branch.sparse_initializer)
    graph.output.extend(onnx.ValueInfoProto(name=outer) for outer in node.outputs if outer)
    return graph, names


def _short(name: str) -> str:
    """Return a name that stands for another in many longer ones, which would be much of a file."""
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return name[:LONGEST] + digest[:32]


def _rename(proto: Any, names: dict[str, str]) -> None:
    """Rename the values that a node uses and computes, also within its own graphs."""
    proto.input[:] = [names.get(name, name) for name in proto.input]
    proto.output[:] = [names.get(name, name) for name in proto.output]
    for graph in graphs_of(proto):
        hidden = {entry.name for entry in (*graph.input, *graph.initializer)}
        hidden.update(name for inner in graph.node for name in inner.output)
        visible = {name: new for name, new in names.items() if name not in hidden}
        for inner in graph.node:
            _rename(inner, visible)
        for entry in graph.output:
            entry.name = visible.get(entry.name, entry.name)
