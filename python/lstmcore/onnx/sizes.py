"""Sizes that a file fixes are compared with the limits before anything computes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.constant_sizes import SMALL, infer, is_complete, known_sizes, measure
from lstmcore.onnx.constants import constant_value, is_foldable
from lstmcore.onnx.contrib import RUNTIMES, SIZED
from lstmcore.onnx.graph import Node, never_ends
from lstmcore.onnx.limits import elements, limits
from lstmcore.onnx.packing import check_packed
from lstmcore.onnx.result_sizes import DOMAINS, result_of
from lstmcore.onnx.scope import Scope
from lstmcore.onnx.types import width_of

__all__ = ["check_sizes", "turns_of"]

SKIPS = 1024
"""Elements that a TfIdfVectorizer may skip between those of an n-gram; it looks for every number of
them in every row, however short that is."""

SUMS = ("output_padding", "paddings", "pads")
PRODUCTS = (
    *("dilations", "height_scale", "kernel_shape", "output_height", "output_shape", "output_width"),
    *("pooled_shape", "sample_size", "scales", "strides", "width_scale"),
)
"""Attributes with sizes. (The shapes of random numbers are found as types are inferred.)"""

UNCHANGED = 4096
"""Elements that constant numbers may make of each that the inputs account for, in a node that is
then not guarded."""


def check_sizes(node: Node, scope: Scope) -> None:
    """Compare what is known of the sizes of a node's outputs with the limits.

    Sizes that only a run knows count as 1, so that this is a lower bound for nodes that depend on
    the model's inputs, and nearly always exact for those that do not.

    Raises
    ------
    ValueError
        If an output is too large, or the constants so far are too large together.
    """
    known = node.operator in SIZED or result_of(node.operator, node.opset) is not None
    if node.domain == RUNTIMES and not known and not limits().chosen:
        node.fail(
            "expected an operator whose results have a known size, got one that may not; a "
            f"memory_limit of lstmcore.onnx.load (such as {limits().value}) allows it, but nothing "
            "limits what such operators make when the model runs"
        )
    if node.domain not in DOMAINS:
        if is_foldable(node, scope):
            infer(node, scope)
            measure(node, scope, 1)
        return
    _check_attributes(node)
    if node.operator in ("Loop", "Scan"):
        _check_turns(node, turns_of(node, scope))
    numbers = _known_numbers(node, scope)
    if node.operator == "Range" and len(numbers) == 3:
        _check_range(node, *(numbers[position] for position in range(3)))
    constant = is_foldable(node, scope)
    if constant:
        infer(node, scope)
    _check_axes(node, scope)
    made = _made_elements(node, scope, numbers)
    if constant:
        measure(node, scope, made)
        return
    check_packed(node, scope)
    for name in filter(None, node.outputs):
        kind = scope.types.get(name)
        shape = None if kind is None else known_sizes(kind)
        # The numbers alone are a lower bound; types within the graphs of nodes are what files say.
        count = elements(shape or ())
        width = 1 if kind is None else width_of(kind)
        limits().check_bytes(node, max(count, made) * width if made == made else made)


def _known_numbers(node: Node, scope: Scope) -> dict[int, Array]:
    """Return the constant inputs that hold sizes, by their positions."""
    result = result_of(node.operator, node.opset)
    found: dict[int, Array] = {}
    for position in () if result is None else result.numbers:
        if not node.has_input(position):
            continue
        kind = scope.type_of(node.inputs[position])
        sizes = None if kind is None else known_sizes(kind)
        most = math.inf if result is not None and result.many else SMALL
        if sizes is not None and elements(sizes) > most:
            continue
        value = constant_value(node.inputs[position], scope)
        if value is not None and value.size <= most and value.dtype.kind in "iuf":
            found[position] = value
    return found


def _made_elements(node: Node, scope: Scope, known: dict[int, Array]) -> float:
    """Return how many elements the numbers of a node make of what is known; 1 if that is nothing.

    A node whose constant numbers make many of few, in a size that only a run knows, is noted for a
    guard.
    """
    result = result_of(node.operator, node.opset)
    if result is None or any(p not in known for p in result.numbers if node.has_input(p)):
        return 1
    found = Known(node, scope, known)
    found.complete &= all(scope.types.get(name) is not None for name in filter(None, node.outputs))
    try:
        with np.errstate(all="ignore"):
            made = float(result.elements(found))
        accounted = result.accounted(found)
        free = 1 if accounted is None else float(accounted)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # numbers and shapes do not fit
        made, free, found.complete = math.nan, 1, False
    if not made <= UNCHANGED * free and not found.complete:
        scope.origin.growing.update(filter(None, node.outputs))
        return 1 if math.isnan(made) else made
    return made


def _check_axes(node: Node, scope: Scope) -> None:
    """Raise ValueError if an input has fewer axes than ONNX Runtime takes for granted.

    If only a run knows that, the node is noted for a guard.
    """
    result = result_of(node.operator, node.opset)
    for place, least in () if result is None else result.axes.items():
        if not node.has_input(place):
            continue
        kind = scope.type_of(node.inputs[place])
        sizes = None if kind is None else known_sizes(kind)
        if sizes is not None and len(sizes) < least:
            node.fail(f"expected an input with at least {least} axes, got {len(sizes)}")
        if sizes is None or scope.parent is not None:
            scope.origin.growing.update(filter(None, node.outputs))


class Known:
    """The `Arithmetic` of a node whose numbers the file fixes; sizes that it does not fix are 1.

    Attributes
    ----------
    complete : bool
        Whether it fixes all sizes that were asked for.
    """

    def __init__(self, node: Node, scope: Scope, numbers: dict[int, Array]) -> None:
        self.opset = node.opset
        self.complete = scope.parent is None  # the types within other graphs are what files say
        self._node, self._scope, self._numbers = node, scope, numbers

    def has(self, position: int) -> bool:
        """Return whether the node has an input; old models write one without elements for none."""
        given = self._node.has_input(position)
        return given and (position not in self._numbers or self._numbers[position].size > 0)

    def wants(self, position: int) -> bool:
        """Return whether the node has an output."""
        return position < len(self._node.outputs) and self._node.outputs[position] != ""

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default`."""
        return self._node.get(name, default)

    def axes(self, position: int) -> Any:
        """Return the axes that an input holds, or None."""
        if not self._node.has_input(position):
            return None
        found = constant_value(self._node.inputs[position], self._scope)
        return self._node.inputs[position] if found is None else found.ravel().tolist()

    def number(self, value: float) -> Array:
        """Return a constant."""
        return np.asarray(value, np.float64)

    def values(self, position: int) -> Array:
        """Return the numbers of an input; 1 if it is missing."""
        found = self._numbers.get(position)
        return np.ones(()) if found is None else found.ravel().astype(np.float64)

    def largest(self, position: int) -> Array:
        """Return the magnitude of the largest number of an input, at least 1."""
        return np.asarray(self.counts(position).max(initial=1))

    def counts(self, position: int) -> Array:
        """Return the magnitudes of the integers of an input, at least 1."""
        return np.maximum(np.abs(self.values(position)), 1)

    def steps(self) -> Array:
        """Return the steps of a Range; integers are subtracted as they are."""
        found = [self._numbers[place].ravel().tolist() for place in range(3)]
        start, limit, delta = (numbers[0] if numbers else 1 for numbers in found)
        return self.number(np.divide(limit - start, delta))

    def vector(self, numbers: Any) -> Array:
        """Return the magnitudes of constants."""
        return np.abs(np.asarray(numbers, np.float64))

    def sizes(self, position: int, axes: Any = None) -> Array:
        """Return the sizes of an input along axes, as far as the file fixes them."""
        kind = self._scope.type_of(self._node.inputs[position])
        sizes = None if kind is None else known_sizes(kind)
        self.complete = self.complete and is_complete(kind)
        if sizes is None or isinstance(axes, str):
            return np.ones(())
        found = np.array(sizes, np.float64)
        return found if axes is None else found[[int(axis) for axis in axes]]

    def both_ends(self, pads: Array) -> Array:
        """Return the sums of the magnitudes in the first half and in the second half."""
        return np.asarray(np.abs(pads).reshape(2, -1).sum(axis=0))

    def broadcast(self, first: Array, second: Array) -> Array:
        """Return the larger of two sizes, the last with the last and so on."""
        rank = max(first.size, second.size)
        rows = [np.pad(x.ravel(), (rank - x.size, 0), constant_values=1) for x in (first, second)]
        return np.asarray(np.maximum(*rows))

    def product(self, vector: Array) -> Array:
        """Return the product of all elements; 1 for none."""
        return np.asarray(vector.prod())

    def power(self, vector: Array) -> Array:
        """Return what `product` returns if all elements were as large as the largest."""
        return np.asarray(vector.max(initial=1) ** vector.size)


def _check_range(node: Node, start: Array, limit: Array, delta: Array) -> None:
    numbers = [value.ravel().tolist()[:1] for value in (start, limit, delta)]
    if not all(numbers):
        node.fail("expected a number as start, limit and delta, got an empty array")
    if numbers[2] == [0]:
        node.fail("delta: expected a number other than 0, got 0")


def _check_attributes(node: Node) -> None:
    """Raise ValueError if attributes hold sizes that no array can have."""
    for name in (*SUMS, *PRODUCTS):
        value = node.get(name)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if value is None or not all(isinstance(number, (int, float)) for number in numbers):
            continue
        sizes = [abs(number) for number in numbers]
        total = math.fsum(sizes) if name in SUMS else math.prod(max(float(s), 1.0) for s in sizes)
        if not total <= limits().value:
            node.fail(
                f"{name}: expected numbers whose {'sum' if name in SUMS else 'product'} is at most "
                f"{limits().value}, got more; a larger memory_limit of lstmcore.onnx.load allows it"
            )
    if node.operator == "TfIdfVectorizer" and node.get("max_skip_count", 0) > SKIPS:
        node.fail(f"max_skip_count: expected at most {SKIPS}, got {node.get('max_skip_count')}")


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
    if body is None or not never_ends(body) or not _begins(node, scope):
        return 1
    if not node.has_input(0):
        return math.inf
    most = constant_value(node.inputs[0], scope)
    return 1 if most is None or most.size != 1 else max(most.item(), 1)


def _begins(node: Node, scope: Scope) -> bool:
    """Return whether a Loop is known to take a turn, if it has a number of them."""
    if not node.has_input(1):
        return True
    condition = constant_value(node.inputs[1], scope)
    return condition is not None and condition.size == 1 and bool(condition.item())


def _turns_of_scan(node: Node, scope: Scope) -> float:
    count = node.get("num_scan_inputs", 0)
    if not 0 <= count <= len(node.inputs):
        node.fail(f"num_scan_inputs: expected 0 to {len(node.inputs)}, got {count}")
    axes = node.get("scan_input_axes") or [0] * count
    turns = 1
    for name, axis in zip(node.inputs[len(node.inputs) - count :], axes, strict=False):
        kind = scope.type_of(name)
        sizes = None if kind is None else known_sizes(kind)
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
