"""Nodes that stop a session before it computes something too large, or goes on for ever.

Sizes that are known only when a model runs cannot be compared with the limits when it is loaded.
Nodes before one that is made from numbers compute how large its result will be, by the definitions
of `lstmcore.onnx.result_sizes`, and stop if that is too large. Bodies of loops get nodes that count
their turns, the bytes of what they carry where that can grow, and of what they collect.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from lstmcore.onnx.collecting import count_collected
from lstmcore.onnx.graph import RANDOM, graphs_of, never_ends, opset_of, wanted_names
from lstmcore.onnx.growth import may_grow
from lstmcore.onnx.guard_nodes import NAME, OLDEST, Computed, Maker, Term, first_output, limit_name
from lstmcore.onnx.limits import limits, readable
from lstmcore.onnx.result_sizes import DOMAINS, Result, result_of
from lstmcore.onnx.turn_counts import count_nested_turns, stop_turns
from lstmcore.onnx.types import width_of

__all__ = ["explained", "guard_graph", "guard_model"]

STOPPED = re.compile(rf"{NAME}(?P<rule>\w+) (?P<most>\d+) for (?P<operator>\w+) '(?P<name>[^']*)'")

WIDEST = 8
"""Bytes of an element whose type is not known."""

ROUNDING = 1.000001
"""Sizes are float32, in which a product of a few numbers is this exact."""


def explained(message: str) -> str | None:
    """Return what an error of a guard means, or None if it is not one of a guard."""
    found = STOPPED.search(message)
    if found is None:
        return None
    node, most = f"node {found['name']!r} ({found['operator']})", int(found["most"])
    if found["rule"] == "turns":
        return (
            f"{node}: expected at most {most} turns, got more; a larger loop_limit of "
            "lstmcore.onnx.load allows it"
        )
    if found["rule"] == "axes":
        return f"{node}: expected an input with at least {most} axes, got fewer"
    if found["rule"] == "growth":
        return (
            f"{node}: expected values that grow by at most {readable(most)} in its turns, got "
            "more; a larger memory_limit of lstmcore.onnx.load allows it"
        )
    if found["rule"] == "collected":
        return (
            f"{node}: expected results of all turns, and sequences, of at most {readable(most)}, "
            "got more; a larger memory_limit of lstmcore.onnx.load allows it"
        )
    return (
        f"{node}: expected an output of at most {readable(most)}, got more; a larger memory_limit "
        "of lstmcore.onnx.load allows it"
    )


def guard_model(model: Any, growing: Collection[str] = ()) -> bytes:
    """Return a model as a file holds it, guarded, without nodes that no output needs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wanted = wanted_names(copy.graph)
    kept = [proto for proto in copy.graph.node if not wanted.isdisjoint(filter(None, proto.output))]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    opset = opset_of(model)
    guard_graph(copy.graph, opset, {}, growing, count_nested_turns(copy.graph, opset))
    content: bytes = copy.SerializeToString()
    return content


def guard_graph(
    graph: Any,
    opset: int,
    widths: Mapping[str, int],
    growing: Collection[str] = (),
    counted: Collection[str] = (),
    outer: frozenset[str] = frozenset(),
) -> None:
    """Guard the nodes of a graph, and of the graphs in it, in place.

    Parameters
    ----------
    graph : onnx.GraphProto
    opset : int
        Version of the standard by which the nodes are to be understood.
    widths : mapping of str to int
        Bytes of an element of values, as far as they are known.
    growing : collection of str
        Outputs of nodes whose constant numbers make many elements of few.
    counted : collection of str
        First outputs of the loops whose turns are counted already.
    outer : frozenset of str
        Names of the constants of the graphs around it.

    Raises
    ------
    ValueError
        If a node needs a guard and the standard's version is too old for one.
    """
    given = {entry.name for entry in graph.input}
    numbers = {entry.name: entry for entry in graph.initializer if entry.name not in given}
    constants = {"", *(outer - given), *numbers}
    widths = {**widths, **_declared_widths(graph)}
    dequantized = {first_output(p): p for p in graph.node if p.op_type == "DequantizeLinear"}
    guarded: list[Any] = []
    for proto in graph.node:
        known = proto.domain in DOMAINS
        nested = list(graphs_of(proto))
        result = result_of(proto.op_type, opset) if known else None
        if constants.issuperset(proto.input) and not nested and proto.op_type not in RANDOM:
            constants.update(proto.output)
            numbers.update(_number_of(proto))
        elif result is not None:
            grows = any(name in growing for name in proto.output if name)
            guarded += _guarded(proto, opset, result, constants, grows, widths, dequantized)
        for inner in nested:
            guard_graph(inner, opset, widths, growing, counted, frozenset(constants))
        if known and proto.op_type == "Loop" and nested:
            few = _few_turns(proto, numbers)
            known_turns = few or first_output(proto) in counted
            if not few and never_ends(nested[0]):
                guarded += _guard_number(proto, opset)
            guarded += _guard_loop(proto, nested[0], opset, known_turns, widths)
        guarded.append(proto)
    if len(guarded) > len(graph.node):
        del graph.node[:]
        graph.node.extend(guarded)


def _declared_widths(graph: Any) -> dict[str, int]:
    """Return the bytes of an element of the values whose types a graph declares."""
    entries = (*graph.input, *graph.value_info, *graph.output)
    found = {e.name: width_of(e.type) for e in entries if e.type.HasField("tensor_type")}
    for tensor in graph.initializer:
        found[tensor.name] = width_of(onnx.helper.make_tensor_type_proto(tensor.data_type, None))
    return found


def _number_of(proto: Any) -> dict[str, Any]:
    """Return the tensor of a Constant, by its name."""
    name = first_output(proto)
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


def _check_version(proto: Any, opset: int, what: str) -> None:
    """Raise ValueError if a node needs a guard that cannot be written."""
    if opset < OLDEST:
        raise ValueError(
            f"node {proto.name or first_output(proto)!r} ({proto.op_type}): expected version "
            f"{OLDEST} of the standard or a later one, in which {what} can be limited, got {opset}"
        )


# ---- sizes ---------------------------------------------------------------------------------------


def _guarded(
    proto: Any,
    opset: int,
    result: Result,
    constants: Collection[str],
    grows: bool,
    widths: Mapping[str, int],
    dequantized: Mapping[str, Any],
) -> list[Any]:
    """Return the nodes that guard a node, one of whose inputs becomes their output.

    ONNX Runtime computes a node with bytes if its inputs are those of a DequantizeLinear each, with
    nothing between. So a guard of data comes before that, and takes the sizes of the bytes.
    """
    places = [p for p in result.numbers if p < len(proto.input) and proto.input[p]]
    computed = [place for place in places if proto.input[place] not in constants]
    if not computed and not grows:
        return []
    _check_version(proto, opset, "the size of its output")
    measured = onnx.NodeProto()
    measured.CopyFrom(proto)
    for position, name in enumerate(proto.input):
        if name in dequantized and position not in places:
            measured.input[position] = dequantized[name].input[0]
    maker = Computed(measured, opset, result.scalar)
    most = limits().value
    allowed = maker.number(most / widths.get(first_output(proto), WIDEST))
    try:
        accounted = result.accounted(maker)
        if accounted is not None:
            allowed = maker.node("Max", allowed, accounted)
        allowed = allowed * maker.number(ROUNDING)
        size = result.elements(maker)
        for position, least in result.axes.items():
            if maker.has(position):  # an axis that is not there fails
                last = maker.product(maker.sizes(position, [least - 1]))
                size = size * (last / last)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        named = proto.name or first_output(proto)
        raise ValueError(
            f"node {named!r} ({proto.op_type}): expected attributes that fit each other: {error}"
        ) from error
    beyond = maker.beyond(size, allowed)
    place = next(iter((*computed, *places)), 0)
    stopped = maker.stopped(measured.input[place], beyond, limit_name(proto, "bytes", most))
    if measured.input[place] != proto.input[place]:
        source = dequantized[proto.input[place]]
        rest, attributes = source.input[1:], source.attribute
        last = maker.node("DequantizeLinear", stopped, *rest, domain=source.domain)
        maker.nodes[-1].attribute.extend(attributes)
        stopped = last.name
    proto.input[place] = stopped
    return maker.nodes


# ---- loops ---------------------------------------------------------------------------------------


def _guard_loop(
    proto: Any, body: Any, opset: int, few_turns: bool, widths: Mapping[str, int]
) -> list[Any]:
    """Stop a Loop that takes too many turns, or whose values grow too much in them.

    Returns
    -------
    list of onnx.NodeProto
        Nodes before the Loop, which measure what it begins with. The others are in its body.
    """
    if len(body.input) < 1 or len(body.output) < 1:
        return []
    _check_version(proto, opset, "its turns and what it carries")
    condition = body.output[0].name
    inside = Maker(f"{first_output(proto)}/{condition}/limit", opset)
    outside = Maker(f"{first_output(proto)}/begin/limit", opset)
    if not few_turns:
        number = Term(inside, body.input[0].name)
        condition = stop_turns(inside, proto, condition, number, limits().turns)
    carried = list(proto.input[2:])
    pairs = zip(carried, (entry.name for entry in body.output[1 : 1 + len(carried)]), strict=False)
    measured = [(old, new) for old, new in pairs if old and not _is_sequence(new, body)]
    if measured and may_grow(body, len(carried)):
        within = {**widths, **_declared_widths(body)}
        sizes = [within.get(new, WIDEST) for _, new in measured]
        begin = _bytes(outside, [old for old, _ in measured], sizes)
        most = limits().value
        bound = begin + outside.constant(np.int64(most))
        place = _bytes(inside, [new for _, new in measured], sizes) / Term(inside, bound.name)
        condition = inside.stopped(condition, place, limit_name(proto, "growth", most))
    condition = _stop_collecting(proto, body, inside, outside, condition, widths)
    body.node.extend(inside.nodes)
    body.output[0].name = condition
    return outside.nodes


def _guard_number(proto: Any, opset: int) -> list[Any]:
    """Stop a Loop before its first turn if it takes as many turns as it is told, and too many.

    Nothing in its body can end it: whether it begins at all is known too.
    """
    if not len(proto.input) or not proto.input[0]:
        return []
    _check_version(proto, opset, "its turns and what it carries")
    maker = Maker(f"{first_output(proto)}/number/limit", opset)
    turns = maker.cast(proto.input[0], TensorProto.DOUBLE)
    if len(proto.input) > 1 and proto.input[1]:
        turns = turns * maker.cast(proto.input[1], TensorProto.DOUBLE)
    turns = maker.node("Reshape", turns, maker.constant(np.zeros(0, np.int64)))
    most = limits().turns
    beyond = maker.beyond(turns, maker.constant(np.float64(most + 0.5)))
    proto.input[0] = maker.stopped(proto.input[0], beyond, limit_name(proto, "turns", most))
    return maker.nodes


def _stop_collecting(
    proto: Any,
    body: Any,
    inside: Maker,
    outside: Maker,
    condition: str,
    widths: Mapping[str, int],
) -> str:
    """Return the condition of a loop's body, which fails if its turns collected too much."""
    within = {**widths, **_declared_widths(body)}

    def size_of(maker: Maker, name: str) -> Term:
        width = maker.constant(np.int64(within.get(name, WIDEST)))
        return maker.node("Size", name) * width

    carried = body.output[1 : max(len(proto.input) - 1, 1)]
    sequences = any(_is_sequence(entry.name, body) for entry in carried)
    collected = count_collected(proto, body, inside, outside, size_of, sequences)
    if collected is None:
        return condition
    most = limits().value
    place = collected / inside.constant(np.int64(most + 1))
    return inside.stopped(condition, place, limit_name(proto, "collected", most))


def _bytes(maker: Maker, names: Sequence[str], widths: Sequence[int]) -> Term:
    """Return the bytes of values together, as an integer."""
    sums: dict[int, Term] = {}
    for name, width in zip(names, widths, strict=True):
        size = maker.node("Size", name)
        sums[width] = sums[width] + size if width in sums else size
    parts = [count * maker.constant(np.int64(width)) for width, count in sums.items()]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _is_sequence(name: str, body: Any) -> bool:
    """Return whether a value may be a sequence, or be missing, so that it has no Size."""
    for entry in (*body.output, *body.value_info, *body.input):
        if entry.name == name and entry.type.WhichOneof("value") is not None:
            return not entry.type.HasField("tensor_type")
    return any("Sequence" in proto.op_type or "Optional" in proto.op_type for proto in body.node)
