"""The layers of Keras models in order, with the addresses of their weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstmcore.convert._keras_files import Numbering
from lstmcore.layers import (
    AveragePooling1D,
    Conv1D,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Layer,
    Masking,
    MaxPooling1D,
    Normalization,
    Permute,
    Reshape,
)
from lstmcore.layers.functions import ACTIVATIONS
from lstmcore.layers.recurrent import Recurrent

MODELS = ("Sequential", "Functional", "Model")


@dataclass
class Entry:
    """A layer that computes something: its configuration and the address of its weights."""

    document: dict[str, Any]
    address: str


def entries_of(
    document: Mapping[str, Any],
) -> tuple[tuple[int | None, ...] | None, list[Entry]]:
    """List the layers of a model; the layers of nested models take their models' place.

    Returns
    -------
    shape : tuple of int or None, or None
        Shape of a batch; None if the model does not declare it.
    entries : list of Entry
    """
    shape, entries = _model(document, "")
    return shape, _join_activations(entries)


BLIND = (
    AveragePooling1D,
    Conv1D,
    Flatten,
    GlobalMaxPooling1D,
    MaxPooling1D,
    Normalization,
    Permute,
    Reshape,
)
"""Layers for which Keras ignores a mask."""


def check_masks(layers: Sequence[Layer], remedy: str) -> None:
    """Refuse layers after ``mask_zero`` or a Masking for which Keras ignores the mask.

    Keras' layers would process padding, which no layer does here, so results would differ. The
    error ends with `remedy`.
    """
    masked = False
    for layer in layers:
        if isinstance(layer, (Embedding, Masking)):
            masked = layer._finds_lengths
        if not masked:
            continue
        blind = isinstance(layer, BLIND)
        if blind or (isinstance(layer, Recurrent) and _shifts(layer)):
            what = "go_backwards and return_sequences" if not blind else type(layer).__name__
            raise ValueError(
                f"layer {layer.name!r}: after a mask, Keras' {what} treats padding as "
                f"data, which lstmcore never does; {remedy}"
            )
        ends = isinstance(layer, GlobalAveragePooling1D)
        if ends or (isinstance(layer, Recurrent) and not layer.return_sequences):
            masked = False


def _shifts(layer: Recurrent) -> bool:
    return layer.go_backwards and layer.return_sequences


def _model(
    document: Mapping[str, Any], address: str
) -> tuple[tuple[int | None, ...] | None, list[Entry]]:
    kind, config = document.get("class_name"), document.get("config")
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), Sequence):
        raise ValueError(f"{kind}: no configuration of a Sequential or functional model")
    name = str(config.get("name", ""))
    if document.get("registered_name") not in (None, kind):
        raise ValueError(f"{kind} {name!r}: a custom class has no counterpart")
    chained = _chain(kind, config) if kind != "Sequential" else list(config["layers"])
    numbering, places = Numbering(), {}
    for entry in config["layers"]:
        if kind == "Sequential" and entry["class_name"] == "InputLayer":
            continue
        places[id(entry)] = f"{address}layers/{numbering.next(str(entry['class_name']))}/"
    shape: tuple[int | None, ...] | None = None
    found: list[Entry] = []
    for entry in chained:
        if entry["class_name"] == "InputLayer":
            shape = _input_shape(entry["config"])
        elif entry["class_name"] in MODELS:
            found += _model(entry, places[id(entry)])[1]
        else:
            found.append(Entry(dict(entry), places[id(entry)]))
    if not config.get("trainable", True):  # nothing in a frozen model is trained
        for one in found:
            one.document["config"] = {**one.document["config"], "trainable": False}
    build = config.get("build_input_shape")
    if shape is None and isinstance(build, (list, tuple)) and len(build) > 1:
        shape = tuple(build)
    return shape, found


def _input_shape(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    name = config.get("name")
    for option in ("sparse", "ragged", "optional"):
        if config.get(option):
            raise ValueError(f"InputLayer {name!r}: {option}=True has no counterpart")
    shape = config.get("batch_shape")
    if not isinstance(shape, (list, tuple)) or len(shape) < 2:
        raise ValueError(f"InputLayer {name!r}: expected batch_shape, got {shape!r}")
    return (None, *shape[1:])


def _chain(kind: Any, config: Mapping[str, Any]) -> list[Any]:
    """Order the layers of a functional model, which must form one chain."""
    name = config.get("name")
    by_name = {str(entry.get("name")): entry for entry in config["layers"]}
    first, last = (_one(config.get(key), f"{kind} {name!r}: {key}") for key in ENDS)
    chain: list[Any] = []
    here = last
    while here not in [entry["name"] for entry in chain]:
        entry = by_name.get(here)
        if entry is None:
            raise ValueError(f"{kind} {name!r}: has no layer {here!r}")
        chain.append(entry)
        if here == first:
            break
        here = _before(entry)
    left = sorted(set(by_name) - {str(entry["name"]) for entry in chain})
    if left or chain[-1]["class_name"] != "InputLayer":
        raise ValueError(
            f"{kind} {name!r}: expected layers in one chain from the input to the output; "
            f"{', '.join(left) or here} is not part of it"
        )
    return chain[::-1]


ENDS = ("input_layers", "output_layers")


def _one(value: Any, what: str) -> str:
    """Return the name of the only layer in ["name", 0, 0] or [["name", 0, 0]]."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str):
        if value[2] != 0:
            raise ValueError(f"{what}: a state as an output has no counterpart")
        return value[0]
    raise ValueError(f"{what}: expected one, in a chain of layers, got {value!r}")


def _before(entry: Mapping[str, Any]) -> str:
    """Return the name of the layer that a layer takes its input from."""
    where = f"{entry.get('class_name')} {entry.get('name')!r}"
    nodes = entry.get("inbound_nodes") or []
    if len(nodes) != 1:
        raise ValueError(f"{where}: expected to be used once, got {len(nodes)} times")
    arguments = nodes[0].get("args") or []
    if len(arguments) != 1 or not isinstance(arguments[0], Mapping):
        raise ValueError(f"{where}: expected one input, in a chain of layers")
    other = {key: value for key, value in (nodes[0].get("kwargs") or {}).items() if value}
    if other:
        raise ValueError(
            f"{where}: called with {', '.join(sorted(other))}, which has no counterpart"
        )
    return _one(arguments[0].get("config", {}).get("keras_history"), where)


def _join_activations(entries: list[Entry]) -> list[Entry]:
    """Move an Activation layer's function into the linear layer before it."""
    joined: list[Entry] = []
    for entry in entries:
        if entry.document.get("class_name") == "Activation":
            name = entry.document["config"].get("activation")
            if name == "linear":
                continue
            before = _activated(joined[-1].document, name) if joined else None
            if before is not None:
                joined[-1].document = before
                continue
        joined.append(entry)
    return joined


def _activated(document: dict[str, Any], activation: Any) -> dict[str, Any] | None:
    """Return a linear layer's configuration with an activation; None if it cannot have one."""
    kind, config = document.get("class_name"), document["config"]
    if kind == "TimeDistributed" and isinstance(config.get("layer"), Mapping):
        inner = _activated(dict(config["layer"]), activation)
        return inner and {**document, "config": {**config, "layer": inner}}
    linear = kind in ("Dense", "Conv1D") and config.get("activation") in (None, "linear")
    if not linear or activation not in ACTIVATIONS:
        return None
    return {**document, "config": {**config, "activation": activation}}
