"""Compile a graph to steps: calls of the engine, of sessions between them, and of NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

from lstmcore.onnx.collect import Collected
from lstmcore.onnx.constants import constant_value, with_constants
from lstmcore.onnx.graph import Node
from lstmcore.onnx.limits import limits
from lstmcore.onnx.operators import OPERATORS, Function, bound, kind_of
from lstmcore.onnx.operators.lstm import QUANTIZED, packed_bytes
from lstmcore.onnx.partition import Stage, stages
from lstmcore.onnx.parts import RUNTIME, Part
from lstmcore.onnx.types import set_body_types, set_types, set_types_from_bodies

__all__ = ["Program", "compiled"]

Values: TypeAlias = list[Any]
Step: TypeAlias = Callable[[Values], None]

FAILURES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
"""Exceptions that NumPy and the engine raise for unsuitable inputs."""


@dataclass(frozen=True)
class Unit:
    """What one step does.

    Attributes
    ----------
    label : str
        The name of the node or nodes, for errors.
    description : str
        Who runs what, for people.
    function : callable
    reads, writes : tuple of str
        Names of its arguments and results.
    several : bool
        Whether the function returns a sequence.
    owns : bool
        Whether its results are new memory, and no views of its arguments or of each other.
    """

    label: str
    description: str
    function: Function
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    several: bool
    owns: bool = False


@dataclass(frozen=True)
class Program:
    """Steps that read and write numbered slots of a list of values.

    Attributes
    ----------
    steps : tuple of callable
        Each reads and writes the list, and drops values that are no longer needed.
    units : tuple of Unit
        What the steps do.
    template : list
        The values before the first step: constants in their slots.
    inputs, outputs, captured : tuple of int
        Slots.
    captures : tuple of str
        Names of the values that are captured from the enclosing graph.
    owned : tuple of bool
        For every output, whether nothing else refers to its memory.
    descriptions : tuple of str
        Who runs what, one line for every step, those of opened graphs indented.
    """

    steps: tuple[Step, ...]
    units: tuple[Unit, ...]
    template: Values
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    captured: tuple[int, ...]
    captures: tuple[str, ...]
    owned: tuple[bool, ...]
    descriptions: tuple[str, ...]

    @property
    def is_cut(self) -> bool:
        """Whether more than one step runs it, and ONNX Runtime runs some of them."""
        return len(self.units) > 1 and any(RUNTIME in line for line in self.descriptions)

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
            _blame(error, self.units[number].label)
        return [values[place] for place in self.outputs]


def _blame(error: Exception, label: str) -> NoReturn:
    """Raise an error that names the node that failed; `error` itself if it already does."""
    if str(error).startswith(("node '", "nodes '")):
        raise error
    raise ValueError(f"{label}: {error}") from error


class _Body:
    """A compiled graph of a node, in the form that the node's operator calls."""

    def __init__(self, program: Program, names: Sequence[str], collected: Collected) -> None:
        self._program = program
        self._places = [names.index(name) for name in program.captures]
        self.outputs = collected.results
        self.captures = len(names)

    def __call__(self, inputs: Sequence[Any], captured: Sequence[Any]) -> list[Any]:
        return self._program.run(inputs, [captured[place] for place in self._places])


def compiled(graph: Collected) -> Program:
    """Compile a graph.

    Raises
    ------
    ValueError
        If nodes cannot be run; the error names them.
    """
    divided = stages(graph.nodes, graph.scope)
    alone = graph.scope.parent is None and not any(stage.heavy for stage in divided)
    planned = _Plan(graph, alone)
    last = {name: number for number, stage in enumerate(divided) for name in _reads(stage)}
    for number, stage in enumerate(divided):
        planned.add(stage, number, last)
    return planned.program()


def _reads(stage: Stage) -> set[str]:
    """Return the names of the values that the nodes of a stage read."""
    return {name for node in (*stage.light, *stage.part, *stage.heavy) for name in node.reads}


class _Plan:
    """Makes the units of a graph in the order in which they run, then binds them to slots."""

    def __init__(self, graph: Collected, alone: bool) -> None:
        self.graph, self.scope = graph, graph.scope
        self.results = {result.name for result in graph.results}
        self.alone = alone  # nothing runs on the engine
        self.units: list[Unit] = []
        self.nested: dict[int, tuple[str, ...]] = {}  # descriptions by the number of a unit
        self.template: Values = [None]  # the first slot stands for omitted values
        self.places: dict[str, int] = {"": 0}

    def add(self, stage: Stage, number: int, last: dict[str, int]) -> None:
        """Append the units of a stage; `last` has the number of the last one that reads a value."""
        for node in stage.light:
            self._add_node(node)
        if stage.part:
            made = [name for node in stage.part for name in node.outputs if name]
            wanted = {name for node in stage.heavy for name in node.reads} | self.results
            kept = [name for name in made if last.get(name, 0) > number or name in wanted]
            self._add_part(stage.part, kept)
        for node in stage.heavy:
            if node.opened:
                self._add_opened(node)
            else:
                self._add_node(node)

    def _add_node(self, node: Node) -> None:
        """Append a node that NumPy or the engine runs."""
        set_types(node, self.scope)
        recurrent = kind_of(node) == "recurrent"
        runner = "lstmcore" if recurrent else "NumPy"
        named = f"{node.operator} {node.name!r}" if recurrent else node.operator
        ready = with_constants(node, self.scope)
        if recurrent:
            self._count_packed(ready)
        self._append(ready, f"{runner}: {named}", recurrent)

    def _count_packed(self, node: Node) -> None:
        """Compare what the engine holds of a node's weights, beyond the file, with the limits.

        Tensors of the file are free the first time, with as much again for what fills them up.
        """
        size, floats = packed_bytes(node)
        if node.label == QUANTIZED:  # bytes become floats, in three steps
            limits().hold(node, 3 * floats)
        stored = 0
        for name in node.inputs[1:3]:
            home = self.scope.home(name)
            if home is not None and name in home.tensors and name not in home.packed:
                home.packed.add(name)
                stored += home.constants[name].nbytes
        limits().pack(node, max(size - 2 * stored, 0))

    def _add_opened(self, node: Node) -> None:
        """Append a loop or branch; the values that its graphs capture become its inputs."""
        bodies = {
            name: graph for name, graph in node.attributes.items() if isinstance(graph, Collected)
        }
        programs: dict[str, Program] = {}
        for name, graph in bodies.items():
            set_body_types(node, graph.arguments, graph.scope, self.scope)
            programs[name] = compiled(graph)
        set_types_from_bodies(node, list(bodies.values()), self.scope)
        names = list(dict.fromkeys(n for program in programs.values() for n in program.captures))
        closed = {name: _Body(programs[name], names, graph) for name, graph in bodies.items()}
        inputs = (*node.inputs, *names)
        node = replace(node, attributes={**node.attributes, **closed}, inputs=inputs)
        lines = [
            line
            for name, program in programs.items()
            for line in (f"  {name}", *(f"    {entry}" for entry in program.descriptions))
        ]
        self.nested[len(self.units)] = tuple(lines)
        self._append(with_constants(node, self.scope), f"lstmcore: {node.operator} {node.name!r}")

    def _append(self, node: Node, description: str, owns: bool = False) -> None:
        """Append the unit of a node whose constants are known; see `Unit` for `owns`."""
        try:
            function, positions = bound(node)
        except FAILURES as error:
            _blame(error, str(node))
        node.constants.clear()
        reads = tuple(node.inputs[position] for position in positions)
        several = OPERATORS[node.label].several
        self.units.append(
            Unit(str(node), description, function, reads, node.outputs, several, owns)
        )

    def _add_part(self, nodes: Sequence[Node], outputs: Sequence[str]) -> None:
        """Append nodes that run together."""
        part = Part(nodes, outputs, self.scope, self.alone)
        self.units.append(
            Unit(
                part.label,
                f"{part.runner}: {', '.join(part.operators)}",
                part,
                part.inputs,
                part.outputs,
                several=True,
                owns=part.owns_results,
            )
        )

    def _place(self, name: str) -> int:
        """Return the slot of a value."""
        if name not in self.places:
            self.scope.use(name)
            self.places[name] = len(self.template)
            self.template.append(constant_value(name, self.scope))
        return self.places[name]

    def program(self) -> Program:
        """Bind all units to slots."""
        results = [result.name for result in self.graph.results]
        inputs = tuple(self._place(argument.name) for argument in self.graph.arguments)
        last = {
            name: number
            for number, unit in enumerate(self.units)
            for name in (*unit.reads, *unit.writes)
        }
        lasting = {*results, ""}
        steps = []
        for number, unit in enumerate(self.units):
            ended = sorted({n for n in (*unit.reads, *unit.writes) if last[n] == number} - lasting)
            dead = tuple(self._place(name) for name in ended if not self.scope.is_constant(name))
            sources = [self._place(name) for name in unit.reads]
            targets = [self._place(name) for name in unit.writes]
            steps.append(_step(unit.function, sources, targets, dead, unit.several))
        outputs = tuple(self._place(name) for name in results)
        captures = tuple(self.scope.captures)
        return Program(
            tuple(steps),
            tuple(self.units),
            self.template,
            inputs,
            outputs,
            tuple(self._place(name) for name in captures),
            captures,
            tuple(self._owned(results)),
            tuple(self._descriptions()),
        )

    def _owned(self, results: Sequence[str]) -> Iterable[bool]:
        """Yield, for every output, whether nothing else refers to its memory."""
        owned = {name for unit in self.units if unit.owns for name in unit.writes}
        shared = {name for unit in self.units if not unit.owns for name in unit.reads}
        for name in results:
            yield name in owned and name not in shared and results.count(name) == 1

    def _descriptions(self) -> Iterable[str]:
        for number, unit in enumerate(self.units):
            yield unit.description
            yield from self.nested.get(number, ())


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

    def any_number(values: Values) -> None:
        values[target] = function(*[values[place] for place in sources])
        for place in dead:
            values[place] = None

    return any_number
