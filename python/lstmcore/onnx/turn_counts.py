"""Counts the turns of loops within loops, together, in a model that a session runs.

Each loop alone takes no more turns than the limit, which is no limit for loops within loops. A
count therefore goes through the graphs: a further value that loops carry and branches return, which
each turn increases and compares with the limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from lstmcore.onnx.graph import STANDARD_DOMAINS, graphs_of
from lstmcore.onnx.guard_nodes import Maker, Term, first_output, limit_name
from lstmcore.onnx.limits import limits

__all__ = ["count_all_turns", "count_nested_turns", "has_loop", "insert", "integer", "stop_turns"]

SCAN = 9
"""The first version of the standard in which a Scan has its values in today's order."""


def has_loop(graph: Any) -> bool:
    """Return whether a graph, or a graph in it, has a Loop."""
    return any(map(_holds_loop, graph.node))


def _holds_loop(proto: Any) -> bool:
    return _is(proto, "Loop") or any(map(has_loop, graphs_of(proto)))


def _is(proto: Any, kind: str) -> bool:
    return bool(proto.op_type == kind and proto.domain in STANDARD_DOMAINS)


def stop_turns(maker: Maker, proto: Any, condition: str, count: Term, most: int) -> str:
    """Return the condition of a loop's body, which fails if `count` turns were taken before."""
    place = count / maker.constant(np.int64(most))
    return maker.stopped(condition, place, limit_name(proto, "turns", most))


def count_nested_turns(graph: Any, opset: int) -> set[str]:
    """Count the turns of each Loop of a graph with those of the loops in it, in place.

    Returns
    -------
    set of str
        The first outputs of the loops whose turns are counted; loops alone are not among them.
    """
    counted: set[str] = set()
    nodes: list[Any] = []
    for proto in graph.node:
        inner = list(graphs_of(proto))
        if _is(proto, "Loop") and any(map(has_loop, inner)):
            maker = Maker(f"{first_output(proto)}/turns/begin", opset)
            begin = maker.constant(np.int64(0))
            nodes += maker.nodes
            _count_loop(proto, begin.name, opset, counted)
        else:
            for entry in inner:
                counted |= count_nested_turns(entry, opset)
        nodes.append(proto)
    del graph.node[:]
    graph.node.extend(nodes)
    return counted


def count_all_turns(graph: Any, opset: int, before: str) -> tuple[str, set[str]]:
    """Count the turns of all loops of a graph, one after the other, from the count `before` on.

    Returns
    -------
    after : str
        The name of the count after the last of them.
    counted : set of str
        The first outputs of the loops.
    """
    counted: set[str] = set()
    return _count_all(graph, opset, before, counted), counted


def _count_all(graph: Any, opset: int, count: str, counted: set[str]) -> str:
    for proto in graph.node:
        if not _holds_loop(proto):
            continue
        if _is(proto, "Loop"):
            count = _count_loop(proto, count, opset, counted)
        elif _is(proto, "If"):
            count = _count_branches(proto, count, opset, counted)
        elif _is(proto, "Scan") and opset >= SCAN:
            count = _count_scan(proto, count, opset, counted)
        else:
            for inner in graphs_of(proto):  # of an operator that cannot return a count
                _count_all(inner, opset, count, counted)
    return count


def integer(name: str) -> Any:
    """Return the declaration of an integer."""
    return helper.make_tensor_value_info(name, TensorProto.INT64, ())


def insert(entries: Any, place: int, entry: Any) -> None:
    """Insert into a repeated field, which may be too short, and then gets empty names."""
    found = list(entries)
    found += [""] * (place - len(found))
    del entries[:]
    entries.extend([*found[:place], entry, *found[place:]])


def _count_loop(proto: Any, before: str, opset: int, counted: set[str]) -> str:
    """Let a Loop carry a count, which each turn increases; return its name after the Loop."""
    body = next(graphs_of(proto), None)
    carried = max(len(proto.input) - 2, 0)
    if body is None or len(body.output) < 1 + carried:
        return before
    prefix = f"{first_output(proto)}/turns"
    insert(proto.input, 2 + carried, before)
    insert(proto.output, carried, f"{prefix}/after")
    counted.add(first_output(proto))  # the count itself, if the Loop carries nothing else
    insert(body.input, 2 + carried, integer(f"{prefix}/before"))
    maker = Maker(f"{prefix}/turn", opset)
    more = Term(maker, f"{prefix}/before") + maker.constant(np.int64(1))
    nodes = [*maker.nodes, *body.node]
    del body.node[:]
    body.node.extend(nodes)
    after = _count_all(body, opset, more.name, counted)
    maker = Maker(f"{prefix}/limit", opset)
    before_this = Term(maker, after) - maker.constant(np.int64(1))
    condition = body.output[0].name
    body.output[0].name = stop_turns(maker, proto, condition, before_this, limits().turns)
    body.node.extend(maker.nodes)
    insert(body.output, 1 + carried, integer(after))
    return f"{prefix}/after"


def _count_branches(proto: Any, before: str, opset: int, counted: set[str]) -> str:
    """Let both branches of an If return the count; return its name after the If."""
    branches = list(graphs_of(proto))
    results = max((len(branch.output) for branch in branches), default=0)
    after = f"{first_output(proto)}/turns/after"
    for branch in branches:
        name = _count_all(branch, opset, before, counted)
        if name == before:
            name = f"{after}/{branch.name}"
            branch.node.append(helper.make_node("Identity", [before], [name]))
        branch.output.append(integer(name))
    insert(proto.output, results, after)
    return after


def _count_scan(proto: Any, before: str, opset: int, counted: set[str]) -> str:
    """Let a Scan carry the count; return its name after the Scan."""
    body = next(graphs_of(proto))
    scanned = next((e.i for e in proto.attribute if e.name == "num_scan_inputs"), 0)
    states = len(proto.input) - scanned
    if states < 0 or len(body.output) < states or len(body.input) < states:
        return before
    prefix = f"{first_output(proto)}/turns"
    insert(proto.input, states, before)
    insert(proto.output, states, f"{prefix}/after")
    insert(body.input, states, integer(f"{prefix}/before"))
    after = _count_all(body, opset, f"{prefix}/before", counted)
    if after == f"{prefix}/before":
        after = f"{prefix}/same"
        body.node.append(helper.make_node("Identity", [f"{prefix}/before"], [after]))
    insert(body.output, states, integer(after))
    return f"{prefix}/after"
