"""The graph of a functional Keras model: the chain of layers that one of its outputs depends on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lstmcore import _checks

__all__ = ["Branching", "Ends", "Step", "flat", "walk_back"]

WITH_STATES = ("LSTM", "RNN", "SimpleRNN", "Bidirectional")

SHORTER = (
    "from_keras(source, input=NAME, output=NAME) makes a Sequential of a chain of layers, from "
    "after the first to the second"
)


class Branching(ValueError):
    """The layers of a functional model are not a chain."""


class Ends(NamedTuple):
    """The layers that a chain comes after and ends with; None: the model's own input and output."""

    input: str | None = None
    output: str | None = None


class Source(NamedTuple):
    """One of the outputs of a layer."""

    layer: str
    output: int


@dataclass
class Step:
    """A layer of a chain."""

    place: int
    """In the model's list of layers."""
    entry: Mapping[str, Any]
    """Its configuration, as it is used: without states that nothing depends on."""
    branch: "list[Step] | None" = None
    """If it adds its input to the output of other layers: these, which begin with that input."""


def flat(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps, and those within them."""
    for step in steps:
        yield step
        yield from flat(step.branch or ())


def walk_back(kind: str, config: Mapping[str, Any], ends: Ends) -> list[Step]:
    """List the layers from an input to an output of a functional model.

    Parameters
    ----------
    kind : str
        Class of the model, for errors.
    config : mapping
        Its configuration.
    ends : Ends
        If it names a layer, all layers that are not between the ends are left out; else all layers
        must lead to the only output.

    Raises
    ------
    ValueError
        If the layers are not a chain, in which an Add may close a shortcut around some of them; the
        error names where they branch.
    """
    graph = _Graph(f"{kind} {_checks.quote(config.get('name'))}", config["layers"])
    last = graph.last(config, ends.output)
    steps = graph.walk(last, graph.first(ends.input))
    chained = {step.place for step in flat(steps)}
    left = [
        name
        for name, place in graph.places.items()
        if place not in chained and not graph.is_mask(name)
    ]
    if left and ends == Ends():
        raise Branching(graph.branching(chained, left))
    return steps


class _Graph:
    def __init__(self, where: str, layers: Sequence[Mapping[str, Any]]) -> None:
        self.where, self.layers = where, layers
        self.places = {str(entry.get("name")): place for place, entry in enumerate(layers)}
        self._seen: set[int] = set()
        self._masked = dict(pair for entry in layers for pair in _masked(entry))

    def first(self, name: str | None) -> Source | None:
        """Return the output of the layer that the chain comes after."""
        return None if name is None else Source(self._known(name, "input"), 0)

    def _known(self, name: str, argument: str) -> str:
        if name not in self.places:
            raise ValueError(
                f"{argument}: {self.where} has no layer {_checks.quote(name)}; expected one of "
                f"{_checks.listed(self.places)}"
            )
        return name

    def last(self, config: Mapping[str, Any], output: str | None) -> Source:
        """Return the output with which the chain ends."""
        if output is not None:
            return Source(self._known(output, "output"), 0)
        ends = _sources(config.get("output_layers"))
        if len(ends) != 1:
            names = ", ".join(dict.fromkeys(end.layer for end in ends))
            raise Branching(
                f"{self.where}: expected one of output_layers, got {len(ends)}, of "
                f"{names or 'no layer'}; from_keras(source, output=NAME) makes the Sequential that "
                "ends with the layer NAME"
            )
        return ends[0]

    def walk(self, here: Source, until: Source | None = None) -> list[Step]:
        """List the layers after `until`, or from the input on, that lead to `here`."""
        steps: list[Step] = []
        last = here
        while here != until:
            place = self.places.get(here.layer)
            if place is None or place in self._seen:
                raise Branching(
                    f"{self.where}: has no layer {here.layer!r} that a chain could lead to"
                )
            self._seen.add(place)
            entry = self.layers[place]
            if entry["class_name"] == "InputLayer":
                if until is not None:
                    raise ValueError(
                        f"{self.where}: no chain of layers leads from {until.layer!r} to "
                        f"{last.layer!r}; {SHORTER}"
                    )
                return [Step(place, entry), *steps]
            sources = self._inputs(entry)
            if entry["class_name"] == "Add" and len(sources) == 2:
                start, end = self._shortcut(entry, *sources)
                steps.insert(0, Step(place, entry, self.walk(end, start)))
                here = start
            else:
                steps.insert(0, Step(place, _with_output(entry, here.output)))
                here = _only(entry, sources)
        return steps

    def is_mask(self, name: str) -> bool:
        """Return whether an operation computes the mask that a layer begins, as Keras writes it."""
        entry = self.layers[self.places[name]] if name in self.places else {}
        kind, nodes = entry.get("class_name"), entry.get("inbound_nodes")
        sources = _sources(nodes)
        if kind == "NotEqual" and nodes and len(sources) == 1:
            return (sources[0], nodes[0]["args"][-1]) in self._masked.items()
        combined = kind in ("Any", "LogicalOr") and bool(sources)
        return combined and all(self.is_mask(source.layer) for source in sources)

    def _inputs(self, entry: Mapping[str, Any]) -> list[Source]:
        """Return the outputs that a layer takes."""
        where = f"{entry.get('class_name')} {entry.get('name')!r}"
        nodes = entry.get("inbound_nodes") or []
        if len(nodes) != 1:
            raise Branching(f"{where}: expected to be used once, got {len(nodes)} times")
        other = {key: value for key, value in (nodes[0].get("kwargs") or {}).items() if value}
        masks = _sources(other.get("mask"))
        if masks and all(self.is_mask(source.layer) for source in masks):
            del other["mask"]
        if other:
            raise Branching(
                f"{where}: called with {', '.join(sorted(other))}, which has no counterpart"
            )
        arguments = nodes[0].get("args") or []
        sources = _sources(arguments)
        # The operation behind + takes its tensors one by one, the layer Add takes a list.
        summed = entry.get("class_name") == "Add" and len(sources) == len(arguments)
        return sources if summed or len(arguments) == 1 else []

    def _shortcut(
        self, entry: Mapping[str, Any], one: Source, other: Source
    ) -> tuple[Source, Source]:
        """Return the input of an Add from which layers lead to its other one, and that one."""
        for start, end in ((one, other), (other, one)):
            if start == end or start.layer in self._before(end.layer):
                return start, end
        raise Branching(
            f"Add {entry.get('name')!r}: expected an input that leads to the other one, as in a "
            f"Residual, got {one.layer!r} and {other.layer!r}; {SHORTER}"
        )

    def _before(self, name: str) -> set[str]:
        """Return the names of the layers that a layer depends on."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            place = self.places.get(waiting.pop())
            nodes = [] if place is None else self.layers[place].get("inbound_nodes")
            new = {source.layer for source in _sources(nodes)} - found
            found |= new
            waiting += new
        return found

    def branching(self, chained: set[int], left: Sequence[str]) -> str:
        """Describe which layers are not part of the chain, and where they leave it."""
        names = {str(self.layers[place].get("name")) for place in chained}
        beginnings = dict.fromkeys(
            source.layer
            for name in left
            for source in _sources(self.layers[self.places[name]].get("inbound_nodes"))
            if source.layer in names
        )
        at = f", which branch off at {', '.join(beginnings)}" if beginnings else ""
        return (
            f"{self.where}: expected layers in one chain from the input to the output; not part of "
            f"it: {', '.join(left)}{at}"
        )


def _sources(value: Any) -> list[Source]:
    """List the outputs of layers in any structure of [layer, call, output] or Keras tensors."""
    if isinstance(value, Mapping):
        inner = (value.get("config") or {}) if "class_name" in value else {}
        if isinstance(inner, Mapping) and "keras_history" in inner:
            return _sources(inner["keras_history"])
        return [source for entry in value.values() for source in _sources(entry)]
    if not isinstance(value, (list, tuple)):
        return []
    if len(value) == 3 and isinstance(value[0], str) and isinstance(value[2], int):
        return [Source(value[0], value[2])]
    return [source for entry in value for source in _sources(entry)]


def _masked(entry: Mapping[str, Any]) -> list[tuple[Source, Any]]:
    """List the inputs of a layer that begins a mask, with the value that it leaves out."""
    kind, config = entry.get("class_name"), entry.get("config") or {}
    if kind == "Masking" or (kind == "Embedding" and config.get("mask_zero")):
        value = config.get("mask_value", 0)
        return [(source, value) for source in _sources(entry.get("inbound_nodes"))]
    return []


def _only(entry: Mapping[str, Any], sources: Sequence[Source]) -> Source:
    if len(sources) != 1:
        names = " and ".join(repr(source.layer) for source in sources) or "other arguments"
        raise Branching(
            f"{entry.get('class_name')} {entry.get('name')!r}: expected one input, in a chain of "
            f"layers, got {names}; {SHORTER}"
        )
    return sources[0]


def _with_output(entry: Mapping[str, Any], output: int) -> Mapping[str, Any]:
    """Return a layer's configuration with the one output that is used.

    The last h of an LSTM or a SimpleRNN is its output without ``return_sequences``.
    """
    kind, config = entry["class_name"], entry["config"]
    if output == 0 and kind not in WITH_STATES:
        return entry
    changes: dict[str, Any] = {"return_state": False}
    if output == 1 and kind in ("LSTM", "SimpleRNN") and config.get("return_state"):
        changes["return_sequences"] = False
    elif output != 0:
        raise Branching(
            f"{kind} {entry.get('name')!r}: its output {output} is used, such as a state; only the "
            "first output has a counterpart within a model"
        )
    if kind != "Bidirectional":
        return {**entry, "config": {**config, **changes}}
    inner = {
        name: {**config[name], "config": {**config[name]["config"], **changes}}
        for name in ("layer", "backward_layer")
        if isinstance(config.get(name), Mapping)
    }
    return {**entry, "config": {**config, **inner}}
