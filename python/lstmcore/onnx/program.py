"""Compile a graph to a list of steps: fold constants, join products with their activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

import numpy as np
from onnx import GraphProto

from lstmcore._typing import Array
from lstmcore.onnx.graph import Argument, Node, argument_of, array_of, node_of
from lstmcore.onnx.operators import OPERATORS, Function, bound
from lstmcore.onnx.passes import simplify
from lstmcore.onnx.scope import Scope, name_outputs, wanted_names

__all__ = ["Program", "compile_graph"]

Values: TypeAlias = list[Any]
Step: TypeAlias = Callable[[Values], None]

FAILURES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
"""Exceptions that NumPy and the engine raise for unsuitable inputs."""


@dataclass(frozen=True)
class Program:
    """Steps that read and write numbered slots of a list of values.

    Attributes
    ----------
    steps : tuple of callable
        Each reads and writes the list, and drops values that are no longer needed.
    nodes : tuple of Node
        The nodes of the steps, for errors.
    template : list
        The values before the first step: constants in their slots.
    inputs, outputs, captured : tuple of int
        Slots.
    captures : tuple of str
        Names of the values that are captured from the enclosing graph.
    arguments, results : tuple of Argument
        The inputs and outputs as the graph declares them.
    """

    steps: tuple[Step, ...]
    nodes: tuple[Node, ...]
    template: Values
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    captured: tuple[int, ...]
    captures: tuple[str, ...]
    arguments: tuple[Argument, ...]
    results: tuple[Argument, ...]
    only: tuple[Function, tuple[int, ...]] | None = None
    """If the only step computes the output from captured values: its function and their indices."""

    def run(self, inputs: Sequence[Any], captured: Sequence[Any] = ()) -> list[Any]:
        """Run all steps; if one fails, raise ValueError with the name of its node."""
        values = self.template.copy()
        for place, value in zip(self.inputs, inputs, strict=True):
            values[place] = value
        for place, value in zip(self.captured, captured, strict=True):
            values[place] = value
        number = 0
        try:
            for number, step in enumerate(self.steps):  # noqa: B007
                step(values)
        except FAILURES as error:
            _blame(error, self.nodes[number])
        return [values[place] for place in self.outputs]


def _blame(error: Exception, node: Node) -> NoReturn:
    """Raise an error that names the node that failed; `error` itself if it already does."""
    if str(error).startswith("node '"):
        raise error
    raise ValueError(f"{node}: {error}") from error


class _Body:
    """A compiled graph of a node, in the form that the node's operator calls."""

    def __init__(self, program: Program, names: list[str]) -> None:
        self._program = program
        self._places = [names.index(name) for name in program.captures]
        self.outputs = program.results
        self.captures = len(names)
        self._only = None
        if program.only is not None:
            function, places = program.only
            self._only = (function, [self._places[place] for place in places])

    def __call__(self, inputs: Sequence[Any], captured: Sequence[Any]) -> list[Any]:
        if self._only is not None:
            function, places = self._only
            try:
                return [function(*[captured[place] for place in places])]
            except FAILURES as error:
                _blame(error, self._program.nodes[0])
        return self._program.run(inputs, [captured[place] for place in self._places])


def compile_graph(graph: Any, scope: Scope) -> Program:
    """Compile a graph with its own `scope`.

    Raises
    ------
    ValueError
        If a node uses an unknown value, or its attributes are wrong. Operators that are not
        implemented are not an error yet; they are recorded in the scope.
    """
    for tensor in graph.initializer:
        scope.constants[tensor.name] = _frozen(array_of(tensor, tensor.name))
    if len(graph.sparse_initializer):
        raise ValueError("model: expected dense initializers, got sparse ones")
    arguments = tuple(
        argument_of(entry) for entry in graph.input if entry.name not in scope.constants
    )
    scope.names.update(argument.name for argument in arguments)
    if scope.parent is None:  # inputs of subgraphs are not checked at run time
        scope.shapes = {entry.name: entry.shape for entry in arguments if entry.shape is not None}
    nodes: list[Node] = []
    wanted = wanted_names(graph)
    for number, proto in enumerate(graph.node):
        node = node_of(proto, number, scope.opset)
        if wanted.isdisjoint(node.outputs):  # unused, and perhaps too large to compute
            name_outputs(node, scope)
            continue
        node = _with_bodies(node, scope)
        for name in node.inputs:
            if name and not scope.knows(name):
                raise ValueError(
                    f"{node}: expected a value {name!r} from an earlier node, got none"
                )
        node = replace(
            node, constants=[scope.constant(name) if name else None for name in node.inputs]
        )
        missing = _is_missing(node, scope)
        name_outputs(node, scope)
        if not missing and not _fold_size(node, scope) and not _fold(node, scope):
            nodes.append(node)
    results = tuple(map(argument_of, graph.output))
    for result in results:
        if not scope.knows(result.name):
            raise ValueError(f"{result.name}: expected a node that computes this output, got none")
    if scope.problems:
        return Program((), (), [], (), (), (), (), arguments, results)
    return _Layout(scope, arguments, results).program(simplify(nodes, results))


def _frozen(array: Array) -> Array:
    """Make a constant read-only, so that writing to an output cannot change the model."""
    array = np.asarray(array)
    if array.flags.writeable:
        array.flags.writeable = False
    return array


def _with_bodies(node: Node, scope: Scope) -> Node:
    """Compile the graphs of a node; the values that they capture become inputs of the node."""
    graphs = {
        name: value for name, value in node.attributes.items() if isinstance(value, GraphProto)
    }
    if not graphs:
        return node
    chosen = scope.constant(node.inputs[0]) if node.operator == "If" else None
    if chosen is not None:  # the other branch never runs, so it may hold anything
        graph = graphs["then_branch" if bool(chosen) else "else_branch"]
        graphs = {"then_branch": graph, "else_branch": graph}
    programs: dict[str, Program] = {}
    for name, graph in graphs.items():
        programs[name] = compile_graph(graph, Scope(scope.opset, scope.problems, scope))
    names = list(dict.fromkeys(name for program in programs.values() for name in program.captures))
    bodies = {name: _Body(program, names) for name, program in programs.items()}
    return replace(node, attributes={**node.attributes, **bodies}, inputs=(*node.inputs, *names))


def _is_missing(node: Node, scope: Scope) -> bool:
    known = OPERATORS.get(node.operator) if not node.domain else None
    if known is not None and known.since <= node.opset:
        return False
    label = f"{node.domain}.{node.operator}" if node.domain else node.operator
    if known is not None:
        label += f" of opset {node.opset} (implemented since {known.since})"
    scope.problems.append((label, node.name))
    return True


def _fold(node: Node, scope: Scope) -> bool:
    """Compute a node at load if all its inputs are constant; tell whether that was done."""
    unknown = any(
        constant is None and name
        for name, constant in zip(node.inputs, node.constants, strict=True)
    )
    if unknown or scope.problems:
        return False
    try:
        with np.errstate(all="ignore"):
            function, positions = bound(node)
            found = function(*(node.constants[place] for place in positions))
    except (*FAILURES, MemoryError):
        return False  # if it is ever run, the error is raised then
    if not OPERATORS[node.operator].several:
        found = (found,)
    for name, value in zip(node.outputs, found, strict=False):
        if name:
            scope.constants[name] = _frozen(value)
            scope.names.discard(name)
    return True


def _fold_size(node: Node, scope: Scope) -> bool:
    """Treat a size that the model fixes for its inputs as a constant."""
    if node.operator == "Shape":
        shape = scope.shape(node.inputs[0])
        if shape is None:
            return False
        scope.sizes[node.outputs[0]] = chosen = shape[node.get("start", 0) : node.get("end")]
    elif node.operator == "Gather" and node.get("axis", 0) == 0 and node.inputs[0] in scope.sizes:
        sizes, places = scope.sizes[node.inputs[0]], node.constant(1)
        if places is None or places.size == 0 or not np.all(np.abs(places + 0.5) < len(sizes)):
            return False
        chosen = tuple(sizes[place] for place in places.ravel().tolist())
    else:
        return False
    if not all(isinstance(size, int) for size in chosen):
        return False
    array = np.array(chosen, np.int64)
    places = node.constant(1) if node.operator == "Gather" else None
    scope.constants[node.outputs[0]] = _frozen(
        array if places is None else array.reshape(places.shape)
    )
    scope.names.discard(node.outputs[0])
    return True


class _Layout:
    """Assigns a slot to each value, and builds the steps."""

    def __init__(
        self, scope: Scope, arguments: tuple[Argument, ...], results: tuple[Argument, ...]
    ) -> None:
        self.scope, self.arguments, self.results = scope, arguments, results
        self.template: Values = [None]  # the first slot stands for omitted values
        self.places: dict[str, int] = {"": 0}

    def place(self, name: str) -> int:
        if name not in self.places:
            self.scope.use(name)
            self.places[name] = len(self.template)
            self.template.append(self.scope.constant(name))
        return self.places[name]

    def program(self, nodes: list[Node]) -> Program:
        inputs = tuple(self.place(argument.name) for argument in self.arguments)
        last = {
            name: number
            for number, node in enumerate(nodes)
            for name in (*node.inputs, *node.outputs)
        }
        kept = {result.name for result in self.results}
        steps, alone = [], None
        for number, node in enumerate(nodes):
            ended = {name for name in (*node.inputs, *node.outputs) if last[name] == number}
            dead = [
                self.place(name)
                for name in sorted(ended - kept - {""})
                if self.scope.constant(name) is None
            ]
            try:
                function, positions = bound(node)
            except FAILURES as error:
                message = str(error)
                raise ValueError(
                    message if message.startswith("node '") else f"{node}: {message}"
                ) from error
            node.constants.clear()
            sources = [self.place(node.inputs[position]) for position in positions]
            targets = [self.place(name) for name in node.outputs]
            several = OPERATORS[node.operator].several
            if len(nodes) == 1 and not several and kept == set(node.outputs):
                alone = function, [node.inputs[position] for position in positions]
            steps.append(_step(function, sources, targets, tuple(dead), several))
        outputs = tuple(self.place(result.name) for result in self.results)
        captures = tuple(self.scope.captures)
        captured = tuple(self.place(name) for name in captures)
        only = None
        if alone is not None and not inputs and all(name in captures for name in alone[1]):
            only = alone[0], tuple(captures.index(name) for name in alone[1])
        return Program(
            tuple(steps),
            tuple(nodes),
            self.template,
            inputs,
            outputs,
            captured,
            captures,
            self.arguments,
            self.results,
            only,
        )


def _step(
    function: Function, sources: list[int], targets: list[int], dead: tuple[int, ...], several: bool
) -> Step:
    """Bind a function to slots; common cases avoid a loop over the inputs."""
    if several:

        def many(values: Values) -> None:
            results = function(*[values[place] for place in sources])
            for place, result in zip(targets, results, strict=False):
                values[place] = result
            values[0] = None  # unused outputs were written there
            for place in dead:
                values[place] = None

        return many
    (target,) = targets
    if len(sources) == 1:
        (source,) = sources

        def one(values: Values) -> None:
            values[target] = function(values[source])
            for place in dead:
                values[place] = None

        return one
    if len(sources) == 2:
        first, second = sources

        def two(values: Values) -> None:
            values[target] = function(values[first], values[second])
            for place in dead:
                values[place] = None

        return two

    def any_number(values: Values) -> None:
        values[target] = function(*[values[place] for place in sources])
        for place in dead:
            values[place] = None

    return any_number
