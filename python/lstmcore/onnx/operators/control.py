"""Operators that contain graphs, which are passed compiled, as `Body`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import Argument, Node, graphs_of, never_ends
from lstmcore.onnx.limits import Limits, counting_turns, limits
from lstmcore.onnx.operators.registry import Function, operator


class Body(Protocol):
    """A compiled graph; the values that it captures are the last inputs of its node."""

    outputs: tuple[Argument, ...]
    captures: int

    def __call__(self, inputs: Sequence[Any], captured: Sequence[Any]) -> list[Any]:
        """Run the graph; `captured` holds the captured values of all graphs of the node."""


@operator("If", since=1, several=True, kind="control")
def _if(node: Node) -> Function:
    branches: tuple[Body, Body] = (node.get("else_branch"), node.get("then_branch"))

    def choose(condition: Array, *captured: Any) -> Any:
        return branches[bool(condition)]((), captured)

    return choose


@operator("Loop", since=1, several=True, kind="control")
def _loop(node: Node) -> Function:
    body: Body = node.get("body")
    bounds = limits()
    endless = any(map(never_ends, graphs_of(node.proto)))

    def loop(most: Array | None, condition: Array | None, *rest: Any) -> Any:
        carried = list(rest[: len(rest) - body.captures])
        captured = rest[len(rest) - body.captures :]
        count = len(body.outputs) - 1 - len(carried)
        stacks = [_Stack(node, bounds) for _ in range(count)]
        goes_on: Any = np.array(True) if condition is None else condition
        number, limit = 0, None if most is None else int(most.item())
        first = _bytes(carried)
        with counting_turns() as taken:
            if endless and limit is not None and bool(goes_on):  # known before the first turn
                bounds.check_turns(node, taken[0] + limit)
            while bool(goes_on) and (limit is None or number < limit):
                bounds.turn(node, taken)
                goes_on, *results = body((np.array(number, np.int64), goes_on, *carried), captured)
                carried = results[: len(carried)]
                bounds.check(node, (_bytes(carried) - first,), 1)  # some grow in every turn
                for stack, value in zip(stacks, results[len(carried) :], strict=True):
                    stack.append(value)
                number += 1
        arguments = body.outputs[1 + len(carried) :]
        entries = [stack.entries for stack in stacks]
        return (*carried, *map(_stacked, entries, arguments, [0] * count))

    return loop


@operator("Scan", since=9, several=True, kind="control")
def _scan(node: Node) -> Function:
    body: Body = node.get("body")
    inputs = node.get("num_scan_inputs")
    bounds = limits()

    def scan(*values: Any) -> Any:
        captured = values[len(values) - body.captures :]
        given = values[: len(values) - body.captures]
        carried, scanned = list(given[: len(given) - inputs]), given[len(given) - inputs :]
        axes = node.get("scan_input_axes") or [0] * inputs
        backwards = node.get("scan_input_directions") or [0] * inputs
        rows = [
            np.moveaxis(np.flip(x, axis) if back else x, axis, 0)
            for x, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        count = len(body.outputs) - len(carried)
        stacks = [_Stack(node, bounds) for _ in range(count)]
        with counting_turns() as taken:
            for number in range(len(rows[0])):
                bounds.turn(node, taken)
                results = body((*carried, *(row[number] for row in rows)), captured)
                carried = results[: len(carried)]
                for stack, value in zip(stacks, results[len(carried) :], strict=True):
                    stack.append(value)
        out_axes = node.get("scan_output_axes") or [0] * count
        turned = node.get("scan_output_directions") or [0] * count
        ordered = [
            stack.entries[::-1] if back else stack.entries
            for stack, back in zip(stacks, turned, strict=True)
        ]
        return (*carried, *map(_stacked, ordered, body.outputs[len(carried) :], out_axes))

    return scan


def _bytes(values: Sequence[Any]) -> int:
    return sum([getattr(value, "nbytes", 0) for value in values])


class _Stack:
    """What the turns of a loop return for one of its outputs."""

    def __init__(self, node: Node, bounds: Limits) -> None:
        self._node, self._bounds, self._bytes = node, bounds, 0
        self.entries: list[Any] = []

    def append(self, value: Any) -> None:
        self._bytes += getattr(value, "nbytes", 0)
        self._bounds.check(self._node, (self._bytes,), 1)
        self.entries.append(value)


def _stacked(entries: list[Any], argument: Argument, axis: int) -> Array:
    if entries:
        return np.stack(entries, axis)
    shape = [size if isinstance(size, int) else 0 for size in argument.shape or ()]
    return np.zeros((0, *shape), argument.dtype or np.float32)
