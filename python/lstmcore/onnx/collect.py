"""The nodes of a graph that have to run, after branches were chosen and constants set aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from onnx import GraphProto

from lstmcore.onnx.branches import branch_of
from lstmcore.onnx.constant_sizes import settle
from lstmcore.onnx.constants import constant_value, fold_size, is_foldable
from lstmcore.onnx.graph import (
    Argument,
    Node,
    argument_of,
    array_of,
    graphs_of,
    label_of,
    node_of,
    schema_of,
    wanted_names,
)
from lstmcore.onnx.limits import limits
from lstmcore.onnx.operators import is_recurrent, kind_of
from lstmcore.onnx.partition import needed
from lstmcore.onnx.parts import runtime
from lstmcore.onnx.reading import cost_of
from lstmcore.onnx.scope import Scope, check_unused, name_outputs
from lstmcore.onnx.sizes import check_sizes, turns_of
from lstmcore.onnx.types import NUMPY_TYPES, register_types

__all__ = ["Collected", "collect"]

RUNTIME_DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml")
"""Domains of operators that ONNX Runtime itself has, besides the standard's."""


@dataclass(frozen=True)
class Collected:
    """A graph that is ready to be divided.

    Attributes
    ----------
    scope : Scope
    arguments, results : tuple of Argument
        The inputs and outputs as the graph declares them.
    nodes : list of Node
        In the order in which they can run. The graphs of opened nodes are `Collected` themselves.
    """

    scope: Scope
    arguments: tuple[Argument, ...]
    results: tuple[Argument, ...]
    nodes: list[Node]


def collect(graph: Any, scope: Scope, tensors: Iterable[Any] | None = None) -> Collected:
    """Enter the values of a graph into its own `scope`, and return its nodes.

    Parameters
    ----------
    graph : onnx.GraphProto
    scope : Scope
    tensors : iterable of onnx.TensorProto, optional
        The initializers, if they are not those of `graph`.

    Raises
    ------
    ValueError
        If a node uses an unknown value, or is not as the standard defines it. Operators that
        nothing here runs are not an error yet; they are recorded in the scope.
    """
    _enter_initializers(graph.initializer if tensors is None else tensors, scope)
    given = [entry for entry in graph.input if not scope.has_constant(entry.name)]
    outermost = scope.parent is None
    if outermost:
        limits().begin(cost_of(graph))
    arguments = tuple(map(argument_of if outermost else _loose_argument, given))
    scope.names.update(argument.name for argument in arguments)
    register_types(graph, scope)
    if outermost:  # inputs of subgraphs are not checked at run time
        scope.shapes = {entry.name: entry.shape for entry in arguments if entry.shape is not None}
    nodes: list[Node] = []
    _enter(graph, scope, nodes)
    results = tuple(map(_loose_argument, graph.output))
    for result in results:
        if not scope.knows(result.name):
            raise ValueError(f"{result.name}: expected a node that computes this output, got none")
    return Collected(scope, arguments, results, needed(nodes, [entry.name for entry in results]))


def _loose_argument(value: Any) -> Argument:
    """Read an input or output whose type may be one that only ONNX Runtime has."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type" or value.type.tensor_type.elem_type not in NUMPY_TYPES:
        return Argument(value.name, None, None)
    return argument_of(value)


def _enter_initializers(tensors: Iterable[Any], scope: Scope) -> None:
    for tensor in tensors:
        if tensor.data_type in NUMPY_TYPES:
            array_of(tensor, tensor.name)  # raises if the data are incomplete
        scope.tensors[tensor.name] = tensor


def _enter(graph: Any, scope: Scope, nodes: list[Node]) -> None:
    """Append the nodes of a graph that run, and enter what they compute into the scope."""
    if len(graph.sparse_initializer):
        raise ValueError("model: expected dense initializers, got sparse ones")
    wanted = wanted_names(graph)
    for number, proto in enumerate(graph.node):
        node = node_of(proto, number, scope.origin.opset)
        if wanted.isdisjoint(filter(None, node.outputs)):  # perhaps too large to compute
            name_outputs(node, scope)
            continue
        for name in node.inputs:
            if name and not scope.knows(name):
                raise ValueError(
                    f"{node}: expected a value {name!r} from an earlier node, got none"
                )
        node = replace(node, reads=tuple(filter(scope.knows, node.reads)))
        check_sizes(node, scope)
        chosen = _chosen_branch(node, scope)
        if chosen is not None:
            _enter_branch(node, chosen, scope, nodes)
        elif _is_missing(node, scope):
            name_outputs(node, scope)
        elif fold_size(node, scope):
            pass
        elif is_foldable(node, scope):
            for name in filter(None, node.outputs):
                check_unused(node, name, scope)
                scope.sources[name] = node
            settle(node, scope)
        else:
            nodes.append(_opened(node, scope))
            name_outputs(node, scope)


def _chosen_branch(node: Node, scope: Scope) -> Any:
    """Return the graph of an If whose condition is constant; None for other nodes."""
    if node.label != "If" or not scope.is_constant(node.inputs[0]):
        return None
    condition = constant_value(node.inputs[0], scope)
    if condition is None or condition.size != 1:
        node.fail("cond: expected one element")
    chosen, other = ("then_branch", "else_branch")[:: 1 if bool(condition) else -1]
    for name in (chosen, other):
        if not isinstance(node.get(name), GraphProto):
            node.fail(f"{name}: expected this graph, got {node.get(name)}")
    _check_inner_sizes(node.get(other), scope, scope.turns)  # a session of the whole model has it
    return node.get(chosen)


def _enter_branch(node: Node, branch: Any, scope: Scope, nodes: list[Node]) -> None:
    """Enter the nodes of a branch in the place of its If."""
    graph, names = branch_of(node, branch)
    register_types(branch, scope, names)
    _enter_initializers(graph.initializer, scope)
    _enter(graph, scope, nodes)


def _opened(node: Node, scope: Scope) -> Node:
    """Collect the graphs of a loop or branch if there are recurrent nodes in them."""
    graphs = {
        name: value for name, value in node.attributes.items() if isinstance(value, GraphProto)
    }
    if not graphs or kind_of(node) != "control" or not any(map(_is_recurrent, graphs.values())):
        for graph in graphs.values():
            _check(graph, scope)
            _check_inner_sizes(graph, scope, turns_of(node, scope))
        return node
    bodies: dict[str, Any] = {}
    for name, graph in graphs.items():
        inner = Scope(scope.origin, scope, turns_of(node, scope))
        bodies[name] = collect(graph, inner)
    return replace(node, attributes={**node.attributes, **bodies}, opened=True)


def _is_recurrent(graph: Any) -> bool:
    """Return whether a graph, or a graph in it, has a recurrent node."""
    return any(
        is_recurrent(label_of(proto)) or any(map(_is_recurrent, graphs_of(proto)))
        for proto in graph.node
    )


def _check(graph: Any, scope: Scope) -> None:
    """Compare the nodes of a graph, and of the graphs in it, with the standard."""
    for number, proto in enumerate(graph.node):
        _is_missing(node_of(proto, number, scope.origin.opset), scope)
        for inner in graphs_of(proto):
            _check(inner, scope)


def _check_inner_sizes(graph: Any, scope: Scope, turns: float) -> None:
    """Compare the sizes in a graph that is not divided, and in the graphs in it, with the limits.

    Parameters
    ----------
    graph : onnx.GraphProto
    scope : Scope
        That of the graph around it.
    turns : float
        How often the graph runs in each run of the model.
    """
    inner = Scope(scope.origin, scope, turns)
    _enter_initializers(graph.initializer, inner)
    inner.names.update(entry.name for entry in graph.input if not inner.has_constant(entry.name))
    register_types(graph, inner)
    for number, proto in enumerate(graph.node):
        node = node_of(proto, number, scope.origin.opset)
        node = replace(node, reads=tuple(filter(inner.knows, node.reads)))
        check_sizes(node, inner)
        for body in graphs_of(proto):
            _check_inner_sizes(body, inner, turns_of(node, inner))
        if is_foldable(node, inner):
            inner.sources.update((name, node) for name in node.outputs if name)
            settle(node, inner)
        else:
            inner.names.update(filter(None, node.outputs))


def _is_missing(node: Node, scope: Scope) -> bool:
    """Record an operator that nothing here runs; return whether it is one."""
    origin = scope.origin
    if kind_of(node) is not None:
        return False
    if schema_of(node.operator, origin.versions.get(node.domain, 1), node.domain) is not None:
        return False
    if node.domain in RUNTIME_DOMAINS and runtime() is not None:
        return False
    origin.problems.append((node.label, node.name))
    return True
