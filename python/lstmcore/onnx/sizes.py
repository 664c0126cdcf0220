"""Sizes that a file fixes are compared with the limits before anything computes them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from lstmcore._typing import Array
from lstmcore.onnx.constants import constant_value, is_foldable
from lstmcore.onnx.graph import STANDARD_DOMAINS, Node, schema_of
from lstmcore.onnx.limits import elements, limits
from lstmcore.onnx.scope import Scope
from lstmcore.onnx.size_inputs import DOMAINS, Rule, rules_of

__all__ = ["check_sizes", "turns_of"]

ATTRIBUTES = (
    *("dilations", "height_scale", "kernel_shape", "output_padding", "output_shape", "paddings"),
    *("pads", "sample_size", "scales", "strides", "width_scale"),
)
"""Attributes with sizes. (The shapes of random numbers are found as types are inferred.)"""

WIDENING = frozenset(("Cast", "CastLike", "DequantizeLinear"))
"""Operators that make small weights usable. They are not counted: 4 bits become at most 32."""

SMALL = 1024
"""Numbers of an input that are worth reading; no array has so many axes."""


def check_sizes(node: Node, scope: Scope) -> None:
    """Compare what is known of the sizes of a node's outputs with the limits.

    Sizes that only a run knows count as 1, so that this is a lower bound for nodes that depend on
    the model's inputs, and nearly always exact for those that do not.

    Raises
    ------
    ValueError
        If an output is too large, or the constants so far are too large together.
    """
    if node.domain not in DOMAINS:
        return
    _check_attributes(node)
    if node.operator in ("Loop", "Scan"):
        _check_turns(node, turns_of(node, scope))
    known = _known_numbers(node, scope)
    rules = rules_of(node.operator, node.opset)
    for position, rule in rules:
        if position in known:
            _check_numbers(node, position, known[position], rule)
    if node.operator == "Range" and len(known) == 3:
        _check_range(node, *(known[position] for position in range(3)))
    constant = is_foldable(node, scope)
    if constant:
        _infer(node, scope, known)
    totals = [_total(known[p].ravel().tolist(), rule) for p, rule in rules if p in known]
    for name in filter(None, node.outputs):
        kind = scope.types.get(name)
        shape = None if kind is None else _sizes(kind)
        # The numbers alone are a lower bound; types within the graphs of nodes are what files say.
        count = max(elements(shape or ()), int(max(totals, default=1)))
        width = 1 if kind is None else _width(kind)
        limits().check(node, (count,), width)
        if constant and node.operator not in WIDENING:
            limits().spend(node, count * width)


def _known_numbers(node: Node, scope: Scope) -> dict[int, Array]:
    """Return the constant inputs that hold sizes, by their positions."""
    positions = [position for position, _ in rules_of(node.operator, node.opset)]
    if node.operator == "Range":
        positions = [0, 1, 2]
    found: dict[int, Array] = {}
    for position in positions:
        if not node.has_input(position):
            continue
        kind = scope.type_of(node.inputs[position])
        sizes = None if kind is None else _sizes(kind)
        if sizes is not None and elements(sizes) > SMALL:
            continue
        value = constant_value(node.inputs[position], scope)
        if value is not None and value.size <= SMALL and value.dtype.kind in "iuf":
            found[position] = value
    return found


def _check_numbers(node: Node, position: int, numbers: Array, rule: Rule) -> None:
    """Raise ValueError if the numbers of an input are those of too large an output."""
    total = _total(numbers.ravel().tolist(), rule)
    if not total <= limits().value:
        schema = schema_of(node.operator, node.opset, "")
        known = schema is not None and position < len(schema.inputs)
        what = schema.inputs[position].name if known else f"input {position}"
        _refuse(node, what, rule)


def _total(numbers: Iterable[float], rule: Rule) -> float:
    sizes = [abs(number) for number in numbers]
    if rule == "sum":
        return math.fsum(sizes)
    return math.prod(max(size, 1) if size == size else math.nan for size in sizes)


def _refuse(node: Node, what: str, rule: Rule) -> None:
    node.fail(
        f"{what}: expected numbers whose {rule} is at most {limits().value}, got more; a larger "
        "memory_limit of lstmcore.onnx.load allows it"
    )


def _check_range(node: Node, start: Array, limit: Array, delta: Array) -> None:
    numbers = [value.ravel().tolist()[:1] for value in (start, limit, delta)]
    if not all(numbers):
        node.fail("expected a number as start, limit and delta, got an empty array")
    (first,), (end,), (step,) = numbers
    if step == 0:
        node.fail("delta: expected a number other than 0, got 0")
    if not (end - first) / step <= limits().value:  # true for NaN as well
        node.fail(
            f"expected a range of at most {limits().value} numbers, got more; a larger "
            "memory_limit of lstmcore.onnx.load allows it"
        )


def _check_attributes(node: Node) -> None:
    """Raise ValueError if attributes hold sizes that no array can have."""
    for name in ATTRIBUTES:
        value = node.get(name)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if value is None or not all(isinstance(number, (int, float)) for number in numbers):
            continue
        if not _total(numbers, "sum") <= limits().value:
            _refuse(node, name, "sum")


def _infer(node: Node, scope: Scope, known: dict[int, Array]) -> None:
    """Enter the types of a constant node's outputs, as far as they follow from its inputs.

    The inference over the whole graph knows no numbers that nodes compute.
    """
    names = [name for name in node.outputs if name]
    if all(_is_complete(scope.types.get(name)) for name in names):
        return
    schema = None if node.domain else schema_of(node.operator, node.opset, "")
    types = {name: scope.type_of(name) for name in node.inputs if name}
    if schema is None or None in types.values():
        return
    data = {node.inputs[place]: numpy_helper.from_array(value) for place, value in known.items()}
    imports = [onnx.helper.make_opsetid("", node.opset)]
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, node.proto, types, data, opset_imports=imports
        )
    except Exception:  # the classes are the library's; what is wrong is reported where it matters
        return
    scope.types.update({name: kind for name, kind in found.items() if name in names})


def _is_complete(kind: Any) -> bool:
    """Return whether all sizes of a type are known."""
    if kind is None or not kind.HasField("tensor_type"):
        return False
    tensor = kind.tensor_type
    return tensor.HasField("shape") and all(s.HasField("dim_value") for s in tensor.shape.dim)


def _sizes(kind: Any) -> list[int] | None:
    """Return the sizes of a type, 1 where one is not known; None if their number is not known."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return [max(size.dim_value, 1) for size in kind.tensor_type.shape.dim]


def _width(kind: Any) -> int:
    """Return the bytes of an element."""
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
        return int(np.dtype(dtype).itemsize)
    except KeyError:
        return 8


# ---- turns ---------------------------------------------------------------------------------------


def turns_of(node: Node, scope: Scope) -> float:
    """Return how often the graphs of a node run in each run of the model, as far as that is known.

    Returns
    -------
    float
        A lower bound: 1 if nothing is known; infinity for a loop that nothing ends.
    """
    if node.operator == "Loop":
        return scope.turns * _turns_of_loop(node, scope)
    if node.operator == "Scan" and node.opset >= 9:
        return scope.turns * _turns_of_scan(node, scope)
    return scope.turns


def _turns_of_loop(node: Node, scope: Scope) -> float:
    body = node.get("body")
    if body is None or not _never_ends(body):
        return 1
    if not node.has_input(0):
        return math.inf
    most = constant_value(node.inputs[0], scope)
    return 1 if most is None or most.size != 1 else max(most.item(), 1)


def _never_ends(body: Any) -> bool:
    """Return whether the condition that a loop's body computes is that which it was given."""
    if len(body.input) < 2 or len(body.output) < 1:
        return False
    fixed = {body.input[1].name, *(tensor.name for tensor in body.initializer)}
    for proto in body.node:
        plain = proto.op_type in ("Identity", "Constant") and proto.domain in STANDARD_DOMAINS
        if plain and fixed.issuperset(proto.input):
            fixed.update(proto.output)
    return body.output[0].name in fixed


def _turns_of_scan(node: Node, scope: Scope) -> float:
    count = node.get("num_scan_inputs", 0)
    axes = node.get("scan_input_axes") or [0] * count
    turns = 1
    for name, axis in zip(node.inputs[len(node.inputs) - count :], axes, strict=False):
        kind = scope.type_of(name)
        sizes = None if kind is None else _sizes(kind)
        if sizes is not None and -len(sizes) <= axis < len(sizes):
            turns = max(turns, sizes[axis])
    return turns


def _check_turns(node: Node, turns: float) -> None:
    if turns == math.inf:
        node.fail("expected a number of turns, or a condition that changes, got a loop without end")
    if turns > limits().turns:
        node.fail(
            f"expected at most {limits().turns} turns, got {turns:.6g}; a larger loop_limit of "
            "lstmcore.onnx.load allows it"
        )
