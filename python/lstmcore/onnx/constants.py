"""Values that do not depend on the model's inputs, computed at load if something here needs them.

Only branches, recurrent nodes and nodes that NumPy runs need them. The constants of parts that ONNX
Runtime runs are left to its own optimizer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lstmcore._typing import Array
from lstmcore.onnx.graph import RANDOM, Node, array_of, graphs_of
from lstmcore.onnx.limits import limits
from lstmcore.onnx.operators import OPERATORS, bound, kind_of
from lstmcore.onnx.parts import REFERENCE, Part
from lstmcore.onnx.scope import Scope
from lstmcore.onnx.types import NUMPY_TYPES, is_numpy

__all__ = ["constant_value", "fold_size", "is_foldable", "is_light", "with_constants"]


def is_light(node: Node, scope: Scope) -> bool:
    """Return whether NumPy can run a node."""
    if kind_of(node) != "light":
        return False
    if node.operator == "Constant":
        return "sparse_value" not in node.attributes and not any(
            name.startswith("value_string") for name in node.attributes
        )
    if node.operator == "Cast" and node.get("to") not in NUMPY_TYPES:
        return False
    return all(is_numpy(scope.type_of(name)) for name in (*node.inputs, *node.outputs) if name)


def is_foldable(node: Node, scope: Scope) -> bool:
    """Return whether a node computes the same in every run."""
    if _is_random(node) or any(True for _ in graphs_of(node.proto)):
        return False
    return all(scope.is_constant(name) for name in node.reads)


def _is_random(node: Node) -> bool:
    """Return whether a node may compute something else in each run; a Dropout only in training."""
    if node.operator == "Dropout":
        return node.has_input(2) or node.opset < 7
    return node.operator in RANDOM


def constant_value(name: str, scope: Scope) -> Array | None:
    """Return a value that is constant, or None if it is not.

    Raises
    ------
    ValueError
        If the file's data are broken, or a node fails, which the error names.
    """
    home = scope.home(name)
    if home is None or name in home.names:
        return None
    if name not in home.constants:
        if name in home.tensors:
            home.constants[name] = _frozen(array_of(home.tensors[name], name))
        else:
            _compute(name, home)
    return home.constants[name]


def with_constants(node: Node, scope: Scope) -> Node:
    """Return a node with the values of its constant inputs."""
    return replace(
        node, constants=[constant_value(name, scope) if name else None for name in node.inputs]
    )


def _compute(name: str, scope: Scope) -> None:
    """Compute the node that a constant comes from; light nodes by NumPy, others with all before."""
    node = scope.sources[name]
    if not is_light(node, scope):
        part = Part((), (name,), scope)
        if part.runner == REFERENCE:
            _count_steps(name, scope)
        (value,) = part()
        scope.constants[name] = _frozen(value)
        return
    ready = with_constants(node, scope)
    try:
        function, positions = bound(ready)
        found = function(*(ready.constants[place] for place in positions))
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        message = str(error)
        raise ValueError(
            message if message.startswith("node '") else f"{node}: {message}"
        ) from error
    if not OPERATORS[node.label].several:
        found = (found,)
    for output, value in zip(node.outputs, found, strict=False):
        if output:
            scope.constants[output] = _frozen(value)


def _count_steps(name: str, scope: Scope) -> None:
    """Raise ValueError if the reference takes too long for a constant, with all before it."""
    waiting, seen = [(name, scope)], set[str]()
    while waiting:
        name, where = waiting.pop()
        home = where.home(name)
        if home is None or name not in home.sources or name in home.constants or name in seen:
            continue
        node = home.sources[name]
        seen.update(node.outputs)
        waiting += [(other, home) for other in node.reads]
        _, steps = home.costs.get(name, (0, 0))
        limits().interpret(node, steps)


def _frozen(array: Array) -> Array:
    """Make a constant read-only, so that writing to an output cannot change the model."""
    array = np.asarray(array)
    if array.flags.writeable:
        array.flags.writeable = False
    return array


def fold_size(node: Node, scope: Scope) -> bool:
    """Treat a size that the model fixes for its inputs as a constant; return whether it is one."""
    if node.operator == "Shape" and not node.domain:
        shape = scope.shape(node.inputs[0])
        if shape is None:
            return False
        scope.sizes[node.outputs[0]] = chosen = shape[node.get("start", 0) : node.get("end")]
        places = None
    elif node.operator == "Gather" and node.get("axis", 0) == 0 and node.inputs[0] in scope.sizes:
        sizes, places = scope.sizes[node.inputs[0]], constant_value(node.inputs[1], scope)
        if places is None or places.size == 0 or not np.all(np.abs(places + 0.5) < len(sizes)):
            return False
        chosen = tuple(sizes[place] for place in places.ravel().tolist())
    else:
        return False
    if not all(isinstance(size, int) for size in chosen):
        return False
    array = np.array(chosen, np.int64)
    scope.constants[node.outputs[0]] = _frozen(
        array if places is None else array.reshape(places.shape)
    )
    return True
