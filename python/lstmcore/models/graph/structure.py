"""The structure of a graph: which layer takes which values, as numbers that a file can hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstmcore import _checks
from lstmcore._typing import Shape
from lstmcore.layers import Input, Layer, LSTMCell, Masking
from lstmcore.layers.symbols import Call, Symbol
from lstmcore.models.layer_stack import RESERVED, free_name

__all__ = ["Entry", "Structure", "Use", "named_inputs", "named_outputs", "trace"]


@dataclass(frozen=True)
class Use:
    """One use of a layer.

    Attributes
    ----------
    layer : int
        Its place in `Structure.layers`.
    inputs, outputs : tuple of int
        Numbers of values.
    """

    layer: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """An input of the graph.

    Attributes
    ----------
    name : str
    shape : tuple of int or None
        Of a batch.
    dtype : str or None
        As in `Input`.
    """

    name: str
    shape: Shape
    dtype: str | None


@dataclass(frozen=True)
class Structure:
    """A graph, in an order in which every value is computed before it is used.

    Values are numbered: first the inputs, then the outputs of the uses, in their order.

    Attributes
    ----------
    inputs : list of Entry
    layers : list of Layer
        Each once, in the order of first uses.
    uses : list of Use
    outputs : dict of str to int
        Numbers of values, by the outputs' names.
    shapes : list of tuple of int or None
        Of every value.
    """

    inputs: list[Entry]
    layers: list[Layer]
    uses: list[Use]
    outputs: dict[str, int]
    shapes: list[Shape]

    def consumers(self, value: int) -> list[Use]:
        """List the uses that take a value."""
        return [use for use in self.uses if value in use.inputs]

    def maker(self, value: int) -> Use | None:
        """Return the use whose output a value is; None: it is an input."""
        return next((use for use in self.uses if value in use.outputs), None)

    def is_ids(self, value: int) -> bool:
        """Return whether an input holds token ids: whether an `Embedding` takes it."""
        return any(self.layers[use.layer].input_kind == "ids" for use in self.consumers(value))

    def chain_to(self, value: int) -> list[Layer]:
        """List the layers, each with one input, that lead to a value from where branches meet."""
        chain: list[Layer] = []
        use = self.maker(value)
        while use is not None:
            chain.insert(0, self.layers[use.layer])
            use = self.maker(use.inputs[0]) if len(use.inputs) == 1 else None
        return chain

    def ends_in(self, value: int) -> str:
        """Return the activation of an output, if the graph uses the output for nothing else."""
        use = self.maker(value)
        assert use is not None
        alone = not self.consumers(value) and list(self.outputs.values()).count(value) == 1
        return self.layers[use.layer].last_activation if alone else "linear"


def named_inputs(given: Any) -> dict[str, Input]:
    """Return the inputs of a graph by name; names that are missing are chosen.

    Raises
    ------
    TypeError, ValueError
        If they are not different inputs with different names.
    """
    pairs: list[tuple[str | None, Any]]
    if isinstance(given, Mapping):
        pairs = [(_checks.label(name), entry) for name, entry in given.items()]
    else:
        listed = list(given) if isinstance(given, (list, tuple)) else [given]
        pairs = [(getattr(entry, "name", None), entry) for entry in listed]
    if not pairs:
        raise ValueError("inputs: expected at least one Input, got none")
    found: dict[str, Input] = {}
    taken = {name for name, _ in pairs if name is not None}
    for name, entry in pairs:
        if not isinstance(entry, Input):
            raise TypeError(
                f"inputs: expected what Input(shape) returns, got {_checks.describe(entry)}"
            )
        if any(entry is other for other in found.values()):
            raise ValueError("inputs: expected different inputs, got the same one twice")
        if name is None:
            name = free_name("Input", {*taken, *found})
        if name in found:
            raise ValueError(f"inputs: the name {name!r} appears twice")
        found[name] = entry
    return found


def named_outputs(given: Any) -> list[tuple[str | None, Symbol]]:
    """Return the outputs of a graph with the names that they were given, if any.

    Raises
    ------
    TypeError, ValueError
        If they are not symbols, or there are none.
    """
    pairs: list[tuple[str | None, Any]]
    if isinstance(given, Mapping):
        pairs = [(_checks.label(name), entry) for name, entry in given.items()]
    else:
        listed = list(given) if isinstance(given, (list, tuple)) else [given]
        pairs = [(None, entry) for entry in listed]
    if not pairs:
        raise ValueError("outputs: expected at least one symbol, got none")
    for _, entry in pairs:
        if not isinstance(entry, Symbol):
            raise TypeError(
                "outputs: expected what layers return when they are called on symbols, got "
                f"{_checks.describe(entry)}"
            )
        if entry._call is None:
            raise ValueError(f"outputs: expected the output of a layer, got {entry!r}, an input")
    return pairs


def trace(inputs: Mapping[str, Input], outputs: Sequence[tuple[str | None, Symbol]]) -> Structure:
    """Find the structure of the graph that leads from inputs to outputs; it names the layers.

    Raises
    ------
    ValueError
        If an input is missing or leads nowhere, or a layer cannot be at its place.
    """
    calls = _ordered([symbol for _, symbol in outputs], inputs)
    numbers: dict[int, int] = {id(entry): place for place, entry in enumerate(inputs.values())}
    shapes: list[Shape] = [entry.shape for entry in inputs.values()]
    layers: list[Layer] = []
    places: dict[int, int] = {}
    uses: list[Use] = []
    for call in calls:
        if id(call.layer) not in places:
            places[id(call.layer)] = len(layers)
            layers.append(call.layer)
        begin = len(shapes)
        for symbol in call.outputs:
            numbers[id(symbol)] = len(shapes)
            shapes.append(symbol.shape)
        taken = tuple(numbers[id(symbol)] for symbol in call.arguments)
        uses.append(Use(places[id(call.layer)], taken, tuple(range(begin, len(shapes)))))
    _name(layers)
    entries = [Entry(name, entry.shape, entry.dtype) for name, entry in inputs.items()]
    named: dict[str, int] = {}
    for name, symbol in outputs:
        assert symbol._call is not None
        chosen = _free(str(symbol._call.layer.name), named) if name is None else name
        if chosen in named:
            raise ValueError(f"outputs: the name {chosen!r} appears twice")
        named[chosen] = numbers[id(symbol)]
    structure = Structure(entries, layers, uses, named, shapes)
    _check(structure, inputs)
    return structure


def _ordered(ends: Sequence[Symbol], inputs: Mapping[str, Input]) -> list[Call]:
    """List the calls that `ends` depend on, each after those that it depends on."""
    known = {id(entry) for entry in inputs.values()}
    done: set[int] = set()
    ordered: list[Call] = []
    waiting: list[tuple[Call, bool]] = [
        (symbol._call, False) for symbol in reversed(ends) if symbol._call is not None
    ]
    while waiting:
        call, ready = waiting.pop()
        if id(call) in done:
            continue
        if ready:
            done.add(id(call))
            ordered.append(call)
            continue
        waiting.append((call, True))
        for symbol in reversed(call.arguments):
            if symbol._call is not None:
                waiting.append((symbol._call, False))
            elif id(symbol) not in known:
                raise ValueError(
                    f"inputs: expected {symbol!r} among them, since the outputs depend on it"
                )
    return ordered


def _name(layers: Sequence[Layer]) -> None:
    """Choose the names that are missing."""
    taken: set[str | None] = {layer.name for layer in layers if layer.name is not None}
    named = [layer.name for layer in layers if layer.name is not None]
    for name in named:
        if named.count(name) > 1 or name in RESERVED:
            raise ValueError(f"layers: the name {name!r} is taken")
    for layer in layers:
        if layer.name is None:
            layer.name = free_name(type(layer).__name__, taken)
            taken.add(layer.name)


def _free(name: str, taken: Iterable[str]) -> str:
    """Return a name, with a number if it is taken."""
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


# ---- which layers fit together -------------------------------------------------------------------


def _check(structure: Structure, inputs: Mapping[str, Input]) -> None:
    """Raise an error if an input or a layer cannot be at its place."""
    for place, (name, entry) in enumerate(inputs.items()):
        consumers = structure.consumers(place)
        if not consumers:
            raise ValueError(f"inputs: {name!r} leads to none of the outputs")
        kinds = {structure.layers[use.layer].input_kind for use in consumers}
        if kinds == {"ids", "floats"}:
            raise ValueError(
                f"inputs: {name!r} is taken both by an Embedding, as token ids, and by a layer "
                "that takes numbers; expected two inputs"
            )
        if entry.is_ids is not None and entry.is_ids != ("ids" in kinds):
            expected = "an integer type" if "ids" in kinds else "float32 or float64"
            raise ValueError(
                f"inputs: {name!r}: expected dtype to be {expected}, since layers take "
                f"{kinds.pop()}, got {entry.dtype!r}"
            )
    for use in structure.uses:
        _check_use(structure, use, len(inputs))


def _check_use(structure: Structure, use: Use, inputs: int) -> None:
    layer = structure.layers[use.layer]
    first = use.inputs[0] < inputs
    within = layer._layers_within()
    if isinstance(layer, LSTMCell):
        raise TypeError("LSTMCell: computes one step; in a model wrap it: lc.layers.RNN(cell)")
    if layer.input_kind == "text":
        raise ValueError(
            f"layer {layer.name!r}: a graph takes token ids; turn texts into them first: "
            "ids = vectorization(texts)"
        )
    if layer.input_kind == "ids" and not first:
        raise ValueError(f"layer {layer.name!r}: takes token ids, so it must take an input")
    if any(isinstance(inner, Masking) for inner in (within[1:] if first else within)):
        raise ValueError(
            f"layer {layer.name!r}: Masking must take an input, since all layers skip the steps "
            "that it leaves out"
        )
