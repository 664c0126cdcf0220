"""Functional Keras models with branches: their calls, repeated on layers and symbols of ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lstmcore.convert._keras_config import layer_of
from lstmcore.convert._keras_models import (
    BLIND,
    MODELS,
    Numberer,
    frozen_document,
    input_shape,
    spots_of,
)
from lstmcore.convert._keras_weights import Spot
from lstmcore.layers import Input, Layer
from lstmcore.layers.recurrent import Recurrent
from lstmcore.layers.symbols import Symbol

__all__ = ["Branches", "Made", "branches_of"]


@dataclass
class Made:
    """A layer that was made of a Keras layer, and where its weights are."""

    layer: Layer
    spot: Spot


@dataclass
class Branches:
    """A graph like that of a functional model.

    Attributes
    ----------
    inputs : dict of str to Input
    outputs : symbol, or a list or dict of them
    made : list of Made
    left_out : list of Spot
        Layers that no output depends on.
    kinds : set of str
        The element types that layers name.
    """

    inputs: dict[str, Input]
    outputs: Any = None
    made: list[Made] = field(default_factory=list)
    left_out: list[Spot] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)


class _Ref(NamedTuple):
    """A value in a Keras graph: an output of a call of a layer."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class _Value:
    """A symbol, with the inputs and the values in them that its mask in Keras leaves out."""

    symbol: Symbol
    masked_by: "frozenset[tuple[str, Any]]" = frozenset()
    origin: str = ""  # the name of the model's input, of an input


def branches_of(document: Mapping[str, Any], number: Numberer, training: bool) -> Branches:
    """Make the layers of a functional model, and call them as it does.

    Parameters
    ----------
    document : mapping
        Configuration of the model.
    number : callable
        As for `entries_of`.
    training : bool
        As in `from_keras`.

    Raises
    ------
    ValueError
        If a layer, an option or a use of a layer has no counterpart.
    """
    config = document["config"]
    made = Branches({})
    graph = _Graph(document, Spot(""), number, training, made)
    given: list[_Value] = []
    for ref in _refs(config.get("input_layers")):
        entry = graph.entry(ref.layer)
        shape = input_shape(entry["config"])
        integer = str(entry["config"].get("dtype")).startswith("int")
        symbol = Input(shape[1:], dtype="int32" if integer and len(shape) == 2 else None)
        made.inputs[ref.layer] = symbol
        given.append(_Value(symbol, origin=ref.layer))
    found = graph.run(given)
    made.outputs = _like(config.get("output_layers"), [value.symbol for value in found])
    made.left_out = [graph.spots[at] for at in graph.spots if at not in graph.used]
    unused = [at for at in graph.spots if at not in graph.used]
    lost = [entry for at in unused if (entry := graph.layers[at])["class_name"] not in _MASKS]
    if lost:
        names = ", ".join(str(_name_of(entry)) for entry in lost)
        raise ValueError(f"{graph.where}: the outputs do not depend on {names}")
    return made


class _Graph:
    """A functional model, whose calls are repeated for each set of inputs."""

    def __init__(
        self,
        document: Mapping[str, Any],
        spot: Spot,
        number: Numberer,
        training: bool,
        made: Branches,
    ) -> None:
        self.kind, self.config = str(document.get("class_name")), document["config"]
        self.where = f"{self.kind} {self.config.get('name')!r}"
        self.training, self.made, self.number = training, made, number
        if document.get("registered_name") not in (None, self.kind):
            raise ValueError(f"{self.where}: a custom class has no counterpart")
        frozen = not self.config.get("trainable", True)
        entries = self.config["layers"]
        self.layers = [frozen_document(entry) if frozen else entry for entry in entries]
        self.places = {str(_name_of(entry)): at for at, entry in enumerate(self.layers)}
        self.spots = spots_of(self.kind, self.layers, spot, number)
        self.used: set[int] = set()
        self._own: dict[int, Layer | _Graph] = {}
        self._prefix = "" if spot.address == "" else f"{self.config.get('name')}_"
        self._values: dict[tuple[str, int], list[_Value]] = {}

    def entry(self, name: str) -> Mapping[str, Any]:
        """Return the configuration of a layer."""
        if name not in self.places:
            raise ValueError(f"{self.where}: has no layer {name!r}")
        return self.layers[self.places[name]]

    def run(self, given: Sequence[_Value]) -> list[_Value]:
        """Return the outputs for these inputs."""
        if self.kind == "Sequential":
            return self._run_chain(given)
        self._values = {}
        inputs = _refs(self.config.get("input_layers"))
        if len(inputs) != len(given):
            raise ValueError(f"{self.where}: expected {len(inputs)} inputs, got {len(given)}")
        for ref, value in zip(inputs, given, strict=True):
            self._values[ref.layer, ref.call] = [value]
            self.used.add(self.places[ref.layer])
        refs = _refs(self.config.get("output_layers"))
        return [self._value(ref) for ref in refs]

    def _run_chain(self, given: Sequence[_Value]) -> list[_Value]:
        values = list(given)
        for at, entry in enumerate(self.layers):
            if entry["class_name"] != "InputLayer":
                values = self._called(at, values, [])
        return values

    def _value(self, wanted: _Ref) -> _Value:
        """Return a value, after the calls that it depends on; without recursion."""
        waiting = [wanted]
        while waiting:
            ref = waiting[-1]
            if (ref.layer, ref.call) in self._values:
                waiting.pop()
                continue
            node = self._node(ref)
            before = [one for one in _refs([node.args, node.states]) if one[:2] not in self._values]
            if before:
                if len(waiting) > 2 * sum(1 + len(_nodes(entry)) for entry in self.layers):
                    raise ValueError(f"{self.where}: layer {ref.layer!r} depends on itself")
                waiting += before
                continue
            waiting.pop()
            arguments = [self._taken(one) for one in _refs(node.args)]
            states = [self._taken(one) for one in _refs(node.states)]
            self._check_mask(node, arguments)
            self._values[ref.layer, ref.call] = self._called(
                self.places[ref.layer], arguments, states
            )
        return self._taken(wanted)

    def _taken(self, ref: _Ref) -> _Value:
        values = self._values[ref.layer, ref.call]
        if not 0 <= ref.output < len(values):
            raise ValueError(f"{self.where}: layer {ref.layer!r} has no output {ref.output}")
        return values[ref.output]

    def _node(self, ref: _Ref) -> "_Node":
        entry = self.entry(ref.layer)
        nodes = _nodes(entry)
        if not 0 <= ref.call < len(nodes):
            raise ValueError(f"{self.where}: layer {ref.layer!r} has no call {ref.call}")
        return _Node.of(entry, nodes[ref.call])

    def _check_mask(self, node: "_Node", arguments: Sequence[_Value]) -> None:
        """Raise ValueError if a call has a mask that is not that of its inputs."""
        if node.mask is None:
            return
        origins: set[tuple[str, Any]] = set()
        waiting = [ref.layer for ref in _refs(node.mask)]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            entry = self.entry(name)
            kind, nodes = entry["class_name"], _nodes(entry)
            if kind in _MASKS:
                sources = [one.layer for one in _refs([call.get("args") for call in nodes])]
                if kind == "NotEqual" and (sources[0], 0) in self._values:
                    value = (nodes[0].get("args") or [None])[-1]
                    origins.add((self._values[sources[0], 0][0].origin, value))
                elif kind not in ("ZerosLike", "OnesLike"):
                    waiting += sources
                continue
            origins.add((name, None))
        expected = {name for value in arguments for name in value.masked_by}
        if not origins <= expected:
            raise ValueError(
                f"{node.where}: called with a mask that is not the one of its inputs, which has "
                "no counterpart; pass mask to predict"
            )

    def _called(
        self, at: int, arguments: Sequence[_Value], states: Sequence[_Value]
    ) -> list[_Value]:
        """Call the layer at a place on values."""
        self.used.add(at)
        entry = self.layers[at]
        if entry["class_name"] in MODELS:
            inner = self._own.get(at)
            if inner is None:
                inner = _Graph(entry, self.spots[at], self.number, self.training, self.made)
                self._own[at] = inner
            assert isinstance(inner, _Graph)
            return inner.run(arguments)
        layer = self._layer(at, arguments)
        where = f"{entry['class_name']} {_name_of(entry)!r}"
        masked = _mask_after(layer, arguments, where)
        taken = [value.symbol for value in arguments]
        _check_ranks(layer, taken, where)
        try:
            made = layer._call_node([*taken, *(value.symbol for value in states)])
        except (TypeError, ValueError) as error:
            message = str(error).removeprefix(f"{type(layer).__name__}: ")
            raise ValueError(f"{where}: {message}") from error
        return [_Value(symbol, masked if len(symbol.shape) > 2 else frozenset()) for symbol in made]

    def _layer(self, at: int, arguments: Sequence[_Value]) -> Layer:
        """Return the layer at a place, made at its first call."""
        layer = self._own.get(at)
        if layer is None:
            entry = self.layers[at]
            rank = len(arguments[0].symbol.shape) if arguments else 0
            layer, kinds = layer_of(_with_last_axis(entry, rank), self.training)
            self.made.kinds |= kinds
            taken = {one.layer.name for one in self.made.made}
            if layer.name in taken or layer.name is None:
                layer.name = _free_name(f"{self._prefix}{layer.name or 'layer'}", taken)
            self._own[at] = layer
            self.made.made.append(Made(layer, self.spots[at]))
        assert isinstance(layer, Layer)
        return layer


_MASKS = ("NotEqual", "Any", "LogicalOr", "ExpandDims", "ZerosLike", "OnesLike", "Concatenate")
"""Operations as which Keras writes masks."""


class _Node(NamedTuple):
    """A call of a layer, as a configuration has it."""

    where: str
    args: Any
    states: Any
    mask: Any

    @classmethod
    def of(cls, entry: Mapping[str, Any], node: Mapping[str, Any]) -> "_Node":
        where = f"{entry.get('class_name')} {_name_of(entry)!r}"
        more = {key: value for key, value in (node.get("kwargs") or {}).items() if value}
        states, mask = more.pop("initial_state", None), more.pop("mask", None)
        arguments = list(node.get("args") or [])
        if "inputs" in more:
            arguments.append(more.pop("inputs"))
        if more or not arguments:
            raise ValueError(
                f"{where}: called with {', '.join(sorted(more)) or 'nothing'}, which has no "
                "counterpart"
            )
        return cls(where, arguments, states, mask)


def _nodes(entry: Mapping[str, Any]) -> list[Any]:
    return list(entry.get("inbound_nodes") or [])


def _name_of(entry: Mapping[str, Any]) -> Any:
    return entry.get("name") or (entry.get("config") or {}).get("name")


def _refs(value: Any) -> list[_Ref]:
    """List the values that any structure of [layer, call, output] or Keras tensors names."""
    return list(_each_ref(value))


def _each_ref(value: Any) -> Iterator[_Ref]:
    if isinstance(value, Mapping):
        inner = (value.get("config") or {}) if "class_name" in value else {}
        if isinstance(inner, Mapping) and "keras_history" in inner:
            yield from _each_ref(inner["keras_history"])
            return
        for entry in value.values():
            yield from _each_ref(entry)
    elif isinstance(value, (list, tuple)):
        if len(value) == 3 and isinstance(value[0], str) and type(value[2]) is int:
            yield _Ref(value[0], int(value[1]), value[2])
            return
        for entry in value:
            yield from _each_ref(entry)


def _like(structure: Any, found: list[Symbol]) -> Any:
    """Return outputs in the form that a configuration names them in."""
    if isinstance(structure, Mapping):
        return dict(zip(structure, found, strict=True))
    return found[0] if len(found) == 1 else found


def _mask_after(
    layer: Layer, arguments: Sequence[_Value], where: str
) -> frozenset[tuple[str, Any]]:
    """Return which inputs' padding the outputs' mask leaves out.

    Raises
    ------
    ValueError
        If Keras would process padding here, which no layer of ours does.
    """
    timed = [value for value in arguments if len(value.symbol.shape) > 2]
    masks = {value.masked_by for value in timed}
    if len(masks) > 1:
        raise ValueError(
            f"{where}: of inputs with different masks Keras takes the steps that any of them has, "
            "so that padding counts as data, which has no counterpart"
        )
    masked = masks.pop() if masks else frozenset()
    if layer._finds_lengths:
        masked |= {(arguments[0].origin, getattr(layer, "mask_value", 0))}
    elif masked:
        shifts = isinstance(layer, Recurrent) and layer.go_backwards and layer.return_sequences
        if isinstance(layer, BLIND) or shifts:
            what = "go_backwards and return_sequences" if shifts else type(layer).__name__
            raise ValueError(
                f"{where}: after a mask, Keras' {what} treats padding as data, which lstmcore "
                "never does"
            )
    return masked


def _check_ranks(layer: Layer, symbols: Sequence[Symbol], where: str) -> None:
    """Raise ValueError if inputs that are merged differ in their axes, which Keras aligns."""
    if layer._joins_steps and len({len(symbol.shape) for symbol in symbols}) > 1:
        raise ValueError(f"{where}: inputs of different ranks have no counterpart")


def _with_last_axis(entry: Mapping[str, Any], rank: int) -> Mapping[str, Any]:
    """Return a configuration with the last axis as -1, where a file counts from the start."""
    axis = entry["config"].get("axis")
    axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
    if rank and axis == rank - 1:
        return {**entry, "config": {**entry["config"], "axis": -1}}
    return entry


def _free_name(name: str, taken: set[str | None]) -> str:
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
