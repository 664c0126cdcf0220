"""Nodes that stop a session before it computes something too large, or goes on for ever.

Sizes that are known only when a model runs cannot be compared with the limits when it is loaded. A
node that is made from such numbers takes them from a Gather at the position 0, which is instead
beyond the end if the numbers are too large. It is the only operator of the standard that checks
what it is given. Loops whose number of turns is not known get a Gather of the number of their turn.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lstmcore.onnx.graph import RANDOM, graphs_of, opset_of, wanted_names
from lstmcore.onnx.limits import limits
from lstmcore.onnx.size_inputs import DOMAINS, Rule, rules_of

__all__ = ["explained", "guard_graph", "guard_model"]

OLDEST = 6
"""The first version of the standard in which the guards' operators are what they are now."""

NAME = "lstmcore limit of "

STOPPED = re.compile(rf"{NAME}(?P<rule>\w+) (?P<most>\d+) for (?P<operator>\w+) '(?P<name>[^']*)'")


def explained(message: str) -> str | None:
    """Return what an error of a guard means, or None if it is not one of a guard."""
    found = STOPPED.search(message)
    if found is None:
        return None
    node, most = f"node {found['name']!r} ({found['operator']})", found["most"]
    if found["rule"] == "turns":
        return (
            f"{node}: expected at most {most} turns, got more; a larger loop_limit of "
            "lstmcore.onnx.load allows it"
        )
    return (
        f"{node}: expected numbers whose {found['rule']} is at most {most}, got more; a larger "
        "memory_limit of lstmcore.onnx.load allows it"
    )


def guard_model(model: Any) -> bytes:
    """Return a model as a file holds it, guarded, without nodes that no output needs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = wanted_names(copy.graph)
    kept = [proto for proto in copy.graph.node if not wanted.isdisjoint(filter(None, proto.output))]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    guard_graph(copy.graph, opset_of(model))
    content: bytes = copy.SerializeToString()
    return content


def guard_graph(graph: Any, opset: int, outer: frozenset[str] = frozenset()) -> None:
    """Guard the nodes of a graph, and of the graphs in it, in place.

    Parameters
    ----------
    graph : onnx.GraphProto
    opset : int
        Version of the standard by which the nodes are to be understood.
    outer : frozenset of str
        Names of the constants of the graphs around it.
    """
    if opset < OLDEST:
        return
    given = {entry.name for entry in graph.input}
    numbers = {entry.name: entry for entry in graph.initializer if entry.name not in given}
    constants = {"", *(outer - given), *numbers}
    guarded: list[Any] = []
    for proto in graph.node:
        known = proto.domain in DOMAINS
        nested = list(graphs_of(proto))
        if constants.issuperset(proto.input) and not nested and proto.op_type not in RANDOM:
            constants.update(proto.output)
            numbers.update(_number_of(proto))
        elif known and proto.op_type == "Range":
            guarded += _guarded_range(proto)
        elif known:
            for position, rule in rules_of(proto.op_type, opset):
                name = proto.input[position] if position < len(proto.input) else ""
                if name not in constants:
                    guarded += _guarded(proto, position, rule)
        if known and proto.op_type == "Loop" and not _few_turns(proto, numbers):
            _guard_turns(proto)
        for inner in nested:
            guard_graph(inner, opset, frozenset(constants))
        guarded.append(proto)
    if len(guarded) > len(graph.node):
        del graph.node[:]
        graph.node.extend(guarded)


def _number_of(proto: Any) -> dict[str, Any]:
    """Return the tensor of a Constant, by its name."""
    name = _first_output(proto)
    tensors = [entry.t for entry in proto.attribute if entry.name == "value"]
    return {name: tensors[0]} if proto.op_type == "Constant" and tensors else {}


def _few_turns(proto: Any, numbers: dict[str, Any]) -> bool:
    """Return whether a Loop is known to take no more turns than the limit."""
    tensor = numbers.get(proto.input[0]) if len(proto.input) else None
    if tensor is None or tensor.data_type != TensorProto.INT64:
        return False
    try:
        most = numpy_helper.to_array(tensor)
    except (TypeError, ValueError):
        return False
    return bool(most.size == 1 and most.item() <= limits().turns)


def _named(proto: Any, rule: Rule, most: int) -> str:
    return f"{NAME}{rule} {most} for {proto.op_type} '{proto.name or _first_output(proto)}'"


def _first_output(proto: Any) -> str:
    return next(filter(None, proto.output), "")


def _constant(name: str, value: Any) -> Any:
    return helper.make_node(
        "Constant", [], [name], value=numpy_helper.from_array(np.asarray(value))
    )


def _stopping(
    values: str, place: str, prefix: str, name: str, shape: list[int]
) -> tuple[list[Any], str]:
    """Return nodes that return `values` in `shape` without its first axis if `place` is 0."""
    nodes = [
        _constant(f"{prefix}/shape", np.array(shape, np.int64)),
        helper.make_node("Reshape", [values, f"{prefix}/shape"], [f"{prefix}/row"]),
        helper.make_node("Gather", [f"{prefix}/row", place], [f"{prefix}/values"], name, axis=0),
    ]
    return nodes, f"{prefix}/values"


def _guarded(proto: Any, position: int, rule: Rule) -> list[Any]:
    """Return the nodes that guard an input with sizes, which becomes their output."""
    prefix = f"{_first_output(proto)}/limit{position}"
    most = limits().value
    reduce = "ReduceSum" if rule == "sum" else "ReduceProd"
    nodes = [
        helper.make_node(
            "Cast", [proto.input[position]], [f"{prefix}/float"], to=TensorProto.FLOAT
        ),
        helper.make_node("Abs", [f"{prefix}/float"], [f"{prefix}/sizes"]),
        helper.make_node(reduce, [f"{prefix}/sizes"], [f"{prefix}/total"], keepdims=0),
        _constant(f"{prefix}/share", np.float32(1 / most)),
        helper.make_node("Mul", [f"{prefix}/total", f"{prefix}/share"], [f"{prefix}/part"]),
        helper.make_node("Cast", [f"{prefix}/part"], [f"{prefix}/place"], to=TensorProto.INT64),
    ]
    more, proto.input[position] = _stopping(
        proto.input[position],
        f"{prefix}/place",
        prefix,
        _named(proto, rule, most),
        [1] if proto.op_type in SCALAR else [1, -1],
    )
    return nodes + more


SCALAR = frozenset(
    ("BlackmanWindow", "DFT", "HammingWindow", "HannWindow", "MelWeightMatrix", "OneHot", "STFT")
)
"""Operators whose sizes are single numbers; those of the others are arrays with one axis."""


def _guarded_range(proto: Any) -> list[Any]:
    """Return the nodes that guard the three numbers of a Range."""
    prefix = f"{_first_output(proto)}/limit"
    most = limits().value
    first, end, step = proto.input
    nodes = [
        helper.make_node("Cast", [name], [f"{prefix}/{what}"], to=TensorProto.FLOAT)
        for name, what in ((first, "first"), (end, "end"), (step, "step"))
    ]
    nodes += [
        helper.make_node("Sub", [f"{prefix}/end", f"{prefix}/first"], [f"{prefix}/span"]),
        helper.make_node("Div", [f"{prefix}/span", f"{prefix}/step"], [f"{prefix}/total"]),
        _constant(f"{prefix}/share", np.float32(1 / most)),
        helper.make_node("Mul", [f"{prefix}/total", f"{prefix}/share"], [f"{prefix}/part"]),
        helper.make_node("Cast", [f"{prefix}/part"], [f"{prefix}/place"], to=TensorProto.INT64),
    ]
    name = _named(proto, "product", most)
    more, proto.input[0] = _stopping(first, f"{prefix}/place", prefix, name, [1])
    return nodes + more


def _guard_turns(proto: Any) -> None:
    """Let the condition of a Loop's body fail once its turns are more than the limit."""
    body = next(iter(graphs_of(proto)), None)
    if body is None or len(body.input) < 1 or len(body.output) < 1:
        return
    most = limits().turns
    prefix = f"{body.output[0].name}/limit"
    nodes = [
        _constant(f"{prefix}/most", np.int64(most)),
        helper.make_node("Div", [body.input[0].name, f"{prefix}/most"], [f"{prefix}/place"]),
    ]
    name = _named(proto, "turns", most)
    more, condition = _stopping(body.output[0].name, f"{prefix}/place", prefix, name, [1])
    body.node.extend(nodes + more)
    body.output[0].name = condition
