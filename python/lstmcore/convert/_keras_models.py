"""The layers of Keras models in order, with the places of their weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lstmcore.convert._keras_graph import Ends, Step, flat, walk_back
from lstmcore.convert._keras_weights import LAYERS, Numbering, Spot
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
from lstmcore.layers.residual import parts

MODELS = ("Sequential", "Functional", "Model")

Numberer: TypeAlias = Callable[[str], Numbering]
"""Makes what numbers the layers whose addresses have the same beginning."""


@dataclass
class Entry:
    """A layer that computes something: its configuration and where its weights are."""

    document: dict[str, Any]
    spot: Spot
    inner: "list[Entry] | None" = None
    """Of an Add that closes a shortcut: the layers to whose output their input is added."""


@dataclass
class Chain:
    """The layers from the input to one output of a model, those of nested models among them."""

    shape: tuple[int | None, ...] | None
    """Of a batch of inputs; None if the model does not declare it."""
    entries: list[Entry]
    left_out: list[Spot]
    """Layers that the output does not depend on."""


def entries_of(document: Mapping[str, Any], number: Numberer, ends: Ends) -> Chain:
    """List the layers of a model.

    Parameters
    ----------
    document : mapping
        Configuration of the model.
    number : callable
        Takes the beginning of addresses and returns a `Numbering` for it.
    ends : Ends
        Between which of its layers.

    Raises
    ------
    ValueError
        If the layers do not form a chain, or one of them is used in a way that has no counterpart.
    """
    chain = _model(document, Spot(""), number, ends)
    if chain.shape is not None:
        _count_axes(chain.entries, len(chain.shape))
    chain.entries = _join_activations(chain.entries)
    return chain


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
    for layer in [part for whole in layers for part in parts(whole)]:
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


def _model(document: Mapping[str, Any], spot: Spot, number: Numberer, ends: Ends) -> Chain:
    kind, config = document.get("class_name"), document.get("config")
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), Sequence):
        raise ValueError(f"{kind}: no configuration of a Sequential or functional model")
    name = str(config.get("name", ""))
    if document.get("registered_name") not in (None, kind):
        raise ValueError(f"{kind} {name!r}: a custom class has no counterpart")
    if kind == "Sequential":
        steps = _between(config["layers"], ends, name)
    else:
        steps = walk_back(str(kind), config, ends)
    spots = spots_of(kind, config["layers"], spot, number)
    used = {step.place for step in flat(steps)}
    chain = Chain(None, [], [spots[place] for place in spots if place not in used])
    build = config.get("build_input_shape")
    if ends.input is not None:
        chain.shape = _shape_after(ends.input, config["layers"], steps)
    elif steps and steps[0].entry["class_name"] == "InputLayer":
        chain.shape = input_shape(steps.pop(0).entry["config"])
    elif isinstance(build, (list, tuple)) and len(build) > 1:
        chain.shape = (None, *build[1:])
    chain.entries = _entries(steps, spots, number)
    if not config.get("trainable", True):  # nothing in a frozen model is trained
        _freeze(chain.entries)
    return chain


def _entries(steps: Sequence[Step], spots: Mapping[int, Spot], number: Numberer) -> list[Entry]:
    entries: list[Entry] = []
    for step in steps:
        spot = spots[step.place]
        if step.entry["class_name"] in MODELS:
            entries += _model(step.entry, spot, number, Ends()).entries
        else:
            inner = None if step.branch is None else _entries(step.branch, spots, number)
            entries.append(Entry(dict(step.entry), spot, inner))
    return entries


def _freeze(entries: Sequence[Entry]) -> None:
    for entry in entries:
        entry.document = frozen_document(entry.document)
        _freeze(entry.inner or ())


def frozen_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a layer that is not trained."""
    return {**document, "config": {**document["config"], "trainable": False}}


def spots_of(kind: Any, layers: Sequence[Any], spot: Spot, number: Numberer) -> dict[int, Spot]:
    """Return where the weights of the layers are, by place, of a model that is itself at `spot`.

    Those within a nested model are listed under the model's name.
    """
    within = f"{spot.address}{LAYERS}"
    numbering = number(within)
    spots: dict[int, Spot] = {}
    for place, entry in enumerate(layers):
        if kind == "Sequential" and entry["class_name"] == "InputLayer":
            continue
        address = f"{within}{numbering.next(str(entry['class_name']))}/"
        spots[place] = Spot(address, spot.group or str(entry["config"].get("name")))
    return spots


def _between(layers: Sequence[Any], ends: Ends, name: str) -> list[Step]:
    """List the layers of a Sequential after one and up to another."""
    names = [str(entry["config"].get("name")) for entry in layers]
    for argument, wanted in ends._asdict().items():
        if wanted is not None and wanted not in names:
            raise ValueError(
                f"{argument}: Sequential {name!r} has no layer {wanted!r}; expected one of "
                f"{', '.join(names)}"
            )
    begin = 0 if ends.input is None else names.index(ends.input) + 1
    end = len(names) if ends.output is None else names.index(ends.output) + 1
    return [Step(place, layers[place]) for place in range(begin, end)]


def _shape_after(name: str, layers: Sequence[Any], steps: Sequence[Step]) -> tuple[int | None, ...]:
    """Return the shape of what the layer of this name passes to the first of `steps`."""
    for entry in layers:
        if entry["config"].get("name") == name and entry["class_name"] == "InputLayer":
            return input_shape(entry["config"])
    first = next((step for step in flat(steps) if step.branch is None), None)
    shape = None if first is None else built_for(first.entry)
    if not shape:
        raise ValueError(
            f"input: the source does not say what shape the outputs of {name!r} have; expected a "
            "live model or a .keras file, or the name of an InputLayer"
        )
    return (None, *shape[1:])


def built_for(document: Mapping[str, Any]) -> Any:
    """Return the shape of the inputs that a layer was built for; None if that is not known.

    Of a layer that was first called with states, it is the shape of the sequences.
    """
    config = document.get("build_config") or {}
    return (config.get("shapes_dict") or {}).get("sequences_shape") or config.get("input_shape")


def input_shape(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Return the shape of a batch that an InputLayer declares."""
    name = config.get("name")
    for option in ("sparse", "ragged", "optional"):
        if config.get(option):
            raise ValueError(f"InputLayer {name!r}: {option}=True has no counterpart")
    shape = config.get("batch_shape")
    if not isinstance(shape, (list, tuple)) or len(shape) < 2:
        raise ValueError(f"InputLayer {name!r}: expected batch_shape, got {shape!r}")
    return (None, *shape[1:])


# ---- axes ----------------------------------------------------------------------------------------


def _count_axes(entries: Sequence[Entry], rank: int) -> None:
    """Count the last axis of normalizations from the end, where a file counts from the start.

    Files of Keras 2 do not say how many axes a layer's input has, so the layers before tell.
    """
    for entry in entries:
        config = entry.document["config"]
        axis = config.get("axis")
        axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        if axis == rank - 1 and axis != 0:
            entry.document["config"] = {**config, "axis": -1}
        _count_axes(entry.inner or (), rank)
        rank = _rank_after(str(entry.document["class_name"]), config, rank)


def _rank_after(kind: str, config: Mapping[str, Any], rank: int) -> int:
    """Return the number of axes of a layer's output."""
    if kind == "Bidirectional" and isinstance(config.get("layer"), Mapping):
        return _rank_after("LSTM", config["layer"]["config"], rank)
    if kind in ("LSTM", "RNN", "SimpleRNN"):
        return 3 if config.get("return_sequences") else 2
    if kind == "Reshape":
        return 1 + len(config["target_shape"])
    if kind in ("Flatten", "GlobalAveragePooling1D", "GlobalMaxPooling1D"):
        return 2
    return rank + (kind in ("Embedding", "RepeatVector"))


# ---- activations ---------------------------------------------------------------------------------


def _join_activations(entries: list[Entry]) -> list[Entry]:
    """Move an Activation layer's function into the linear layer before it."""
    joined: list[Entry] = []
    for entry in entries:
        if entry.inner is not None:
            entry.inner = _join_activations(entry.inner)
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
