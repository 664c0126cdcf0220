"""The graph of a functional Keras model: the chain of layers that one of its outputs depends on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["walk_back"]

WITH_STATES = ("LSTM", "RNN", "Bidirectional")


class Source(NamedTuple):
    """One of the outputs of a layer."""

    layer: str
    output: int


def walk_back(
    kind: str, config: Mapping[str, Any], output: str | None
) -> tuple[list[int], list[Mapping[str, Any]]]:
    """List the layers from the input to an output of a functional model.

    Parameters
    ----------
    kind : str
        Class of the model, for errors.
    config : mapping
        Its configuration.
    output : str, optional
        Name of the layer to end with; then layers that it does not depend on are left out. None: the
        only output, which all layers must lead to.

    Returns
    -------
    places : list of int
        Of the layers in ``config["layers"]``.
    entries : list of mapping
        Their configurations, as they are used: without states that nothing depends on.

    Raises
    ------
    ValueError
        If the layers are not a chain; the error names where they branch.
    """
    where = f"{kind} {config.get('name')!r}"
    place_of = {str(entry.get("name")): place for place, entry in enumerate(config["layers"])}
    here = _last(where, config, output, place_of)
    places: list[int] = []
    entries: list[Mapping[str, Any]] = []
    while True:
        if here.layer not in place_of or place_of[here.layer] in places:
            raise ValueError(f"{where}: has no layer {here.layer!r} that a chain could lead to")
        place = place_of[here.layer]
        entry = config["layers"][place]
        places.insert(0, place)
        entries.insert(0, _with_output(entry, here.output))
        if entry["class_name"] == "InputLayer":
            break
        here = _before(entry)
    left = [name for name, place in place_of.items() if place not in places]
    if left and output is None:
        raise ValueError(_branching(where, config, places, left))
    return places, entries


def _last(
    where: str, config: Mapping[str, Any], output: str | None, place_of: Mapping[str, int]
) -> Source:
    """Return the output with which the chain ends."""
    if output is not None:
        if output not in place_of:
            raise ValueError(
                f"output: {where} has no layer {output!r}; expected one of {', '.join(place_of)}"
            )
        return Source(output, 0)
    ends = _sources(config.get("output_layers"))
    if len(ends) != 1:
        names = ", ".join(dict.fromkeys(end.layer for end in ends))
        raise ValueError(
            f"{where}: expected one of output_layers, got {len(ends)}, of {names or 'no layer'}; "
            "from_keras(source, output=NAME) makes the Sequential that ends with the layer NAME"
        )
    return ends[0]


def _sources(value: Any) -> list[Source]:
    """List the outputs of layers in any structure of [layer, call, output] or Keras tensors."""
    if isinstance(value, Mapping):
        history = (value.get("config") or {}) if "class_name" in value else {}
        if isinstance(history, Mapping) and "keras_history" in history:
            return _sources(history["keras_history"])
        return [source for entry in value.values() for source in _sources(entry)]
    if not isinstance(value, (list, tuple)):
        return []
    if len(value) == 3 and isinstance(value[0], str) and isinstance(value[2], int):
        return [Source(value[0], value[2])]
    return [source for entry in value for source in _sources(entry)]


def _before(entry: Mapping[str, Any]) -> Source:
    """Return the output that a layer takes."""
    where = f"{entry.get('class_name')} {entry.get('name')!r}"
    nodes = entry.get("inbound_nodes") or []
    if len(nodes) != 1:
        raise ValueError(f"{where}: expected to be used once, got {len(nodes)} times")
    other = {key: value for key, value in (nodes[0].get("kwargs") or {}).items() if value}
    if other:
        raise ValueError(
            f"{where}: called with {', '.join(sorted(other))}, which has no counterpart"
        )
    arguments = nodes[0].get("args") or []
    sources = _sources(arguments)
    if len(arguments) != 1 or len(sources) != 1:
        names = " and ".join(repr(source.layer) for source in sources) or "none"
        raise ValueError(
            f"{where}: expected one input, in a chain of layers, got {names}; "
            "from_keras(source, output=NAME) makes the Sequential that ends with the layer NAME, "
            "which may be one before it"
        )
    return sources[0]


def _with_output(entry: Mapping[str, Any], output: int) -> Mapping[str, Any]:
    """Return a layer's configuration with the one output that is used.

    The last h of an LSTM is its output without ``return_sequences``.
    """
    kind, config = entry["class_name"], entry["config"]
    if output == 0 and kind not in WITH_STATES:
        return entry
    changes: dict[str, Any] = {"return_state": False}
    if output == 1 and kind == "LSTM" and config.get("return_state"):
        changes["return_sequences"] = False
    elif output != 0:
        raise ValueError(
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


def _branching(
    where: str, config: Mapping[str, Any], places: list[int], left: list[str]
) -> str:
    """Describe which layers are not part of the chain, and where they leave it."""
    chained = {str(config["layers"][place].get("name")) for place in places}
    beginnings = {
        source.layer: None
        for entry in config["layers"]
        if entry.get("name") in left
        for source in _sources(entry.get("inbound_nodes"))
        if source.layer in chained
    }
    at = f", which branch off at {', '.join(beginnings)}" if beginnings else ""
    return (
        f"{where}: expected layers in one chain from the input to the output; not part of it: "
        f"{', '.join(left)}{at}"
    )
