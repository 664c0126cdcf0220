"""Convert a model to the contents of a file, and back; see docs/model_files.md.

What differs between kinds of models is in `READERS`, which `models.loading` fills, and in each
model's `_document`.
"""

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import encode
from lstmcore._core import __version__
from lstmcore._intake import warn_of_infinite
from lstmcore._typing import Array
from lstmcore.functional import LSTMState
from lstmcore.layers import Layer
from lstmcore.layers.parameters import WeightSpec
from lstmcore.models import int8, model_file
from lstmcore.models.trained import Trained
from lstmcore.training.callback_state import CallbackState

__all__ = ["COMMON_KEYS", "READERS", "Reader", "compare", "describe", "exactly", "load", "save"]

COMMON_KEYS = {"lstmcore", "dtype", "seed", "training"}
"""What the document of every model has, whatever its kind."""

Reader: TypeAlias = Callable[
    [dict[str, Array], dict[str, Any], Mapping[str, Any], bool], tuple[Trained, dict[str, Array]]
]
"""Builds a model from tensors, document, the user's classes, and whether it is quantized.

The weights are still to be filled in. The tensors are returned too, those of int8 unpacked.
"""

READERS: dict[str, Reader] = {}
"""The reader of each kind of model, by the entry of the document that holds its structure."""

_TRAINING_KEYS = {"compile", "iterations", "epoch"}
_OPTIONAL_TRAINING_KEYS = {"callbacks", "state"}
_SLOT = "optimizer."
_INT8 = "int8"
_MOST_STEPS = 2**62


def save(model: Trained, path: "str | os.PathLike[str]", include_optimizer: bool) -> None:
    """Write `model`; see `Model.save`."""
    tensors = dict(model.weights)
    warn_of_infinite(tensors)
    training = None
    quantization = {}
    if model.quantized:
        model._check_quantized()
        tensors = int8.pack(tensors, model.parameters.specs)
        quantization = {"quantization": _INT8}
    elif include_optimizer and model.is_compiled:
        optimizer = model.optimizer
        optimizer.build(model.parameters)
        tensors.update((_SLOT + name, slot) for name, slot in optimizer.slots.items())
        training = {
            "compile": model.compiled.get_config(),
            "iterations": optimizer.iterations,
            "epoch": model.epoch,
        }
        if states := model._states_of_callbacks:
            training["callbacks"] = [
                _describe_state(place, state, tensors) for place, state in enumerate(states)
            ]
        if model.state is not None:
            training["state"] = list(model.state)
            for name, pair in model.state.items():
                tensors.update((f"state.{name}.{part}", getattr(pair, part)) for part in "hc")
    document = {
        "lstmcore": __version__,
        **quantization,
        "dtype": model.dtype.name,
        "seed": model.seed,
        **model._document(),
        "training": training,
    }
    model_file.write(path, tensors, document, model.metadata)


def load(
    path: "str | os.PathLike[str]", custom_objects: Mapping[str, Any] | None = None
) -> Trained:
    """Read a model; see `lstmcore.load`."""
    tensors, document = model_file.read(path)
    try:
        model = _restore(tensors, document, custom_objects or {})
        model.metadata = model_file.read_notes(path)
    except (TypeError, ValueError, OverflowError) as error:
        # Names of layers stand in many messages, and are whatever the file says.
        raise ValueError(
            f"{path}: {_checks.shortened(str(error), _checks.LONGEST_MESSAGE)}"
        ) from error
    return model


def _restore(
    tensors: dict[str, Array], document: dict[str, Any], custom_objects: Mapping[str, Any]
) -> Trained:
    quantized = "quantization" in document
    if quantized:
        _check_quantization(document)
    read = READERS[next((kind for kind in READERS if kind in document), "layers")]
    model, tensors = read(tensors, document, custom_objects, quantized)
    training = document["training"]
    if training is not None:
        exactly("training", training, _TRAINING_KEYS, _OPTIONAL_TRAINING_KEYS)
        model._set_compiled(model._compiled_from(training["compile"], custom_objects))
    _fill(model, tensors, training)
    if quantized:
        model._check_quantized()
        model._become_quantized()
    return model


def _check_quantization(document: dict[str, Any]) -> None:
    """Raise ValueError unless the document fits a quantized model; remove "quantization"."""
    kind = document.pop("quantization")
    if kind != _INT8:
        raise ValueError(f"quantization: expected {_INT8!r}, got {_checks.quote(kind)}")
    if document.get("dtype") != "float32":
        raise ValueError(
            "dtype: expected 'float32' in a quantized model, got "
            f"{_checks.quote(document.get('dtype'))}"
        )
    if document.get("training") is not None:
        raise ValueError("training: expected null in a quantized model")


def describe(layer: Layer) -> dict[str, Any]:
    """Describe a layer as a model file does."""
    config = layer.get_config()
    return {"class": type(layer).__name__, "name": config.pop("name"), "config": config}


def exactly(
    what: str, came: Any, expected: set[str], optional: Collection[str] = frozenset()
) -> None:
    """Raise ValueError unless `came` is an object with the `expected` names and no others."""
    if not isinstance(came, dict):
        raise ValueError(f"{what}: expected an object, got {_checks.quote(came)}")
    if unknown := sorted(set(came) - expected - set(optional)):
        raise ValueError(f"{what}: unknown {_checks.listed(unknown)}")
    if missing := sorted(expected - set(came)):
        raise ValueError(f"{what}: missing {_checks.listed(missing)}")


def _fill(model: Trained, tensors: dict[str, Array], training: Any) -> None:
    """Copy every tensor to its place; none may be left over or missing."""
    slots: dict[str, Array] = {}
    rest: dict[str, Array] = {}
    if training is not None:
        optimizer = model.optimizer
        optimizer.build(model.parameters)
        if any(
            type(training[key]) is not int or not 0 <= training[key] < _MOST_STEPS
            for key in _COUNTERS
        ):
            raise ValueError("training: expected integers of at least 0 as iterations and epoch")
        optimizer.iterations, model.epoch = training["iterations"], training["epoch"]
        slots = {_SLOT + name: slot for name, slot in optimizer.slots.items()}
        states, rest = _read_states(training.get("callbacks", []), tensors)
        model._keep_callback_states(states)
        if "state" in training:
            state, used = _read_state(training["state"], tensors)
            model.state = state
            rest = {**rest, **used}
    exactly("tensors", tensors, {*model.weights, *slots, *rest})
    compare(tensors, slots, model.dtype)
    model.parameters.assign({name: tensors[name] for name in model.weights})
    for name, slot in slots.items():
        slot[...] = tensors[name]


_COUNTERS = ("iterations", "epoch")


def compare(
    tensors: Mapping[str, Array], expected: Mapping[str, WeightSpec | Array], dtype: Any
) -> None:
    """Raise ValueError unless the file has what the model needs, before anything is allocated."""
    for name, target in expected.items():
        if name not in tensors:
            raise ValueError(f"tensors: missing {_checks.shortened(name)}")
        tensor = tensors[name]
        if tensor.shape != target.shape or tensor.dtype != dtype:
            raise ValueError(
                f"{name}: expected {dtype} of shape {target.shape}, "
                f"got {tensor.dtype} of shape {tensor.shape}"
            )


def _read_state(
    names: Any, tensors: Mapping[str, Array]
) -> tuple[dict[str, LSTMState], dict[str, Array]]:
    """Return the state of the layers `names`, and the tensors that belong to it."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"state: expected a list of names of layers, got {_checks.quote(names)}")
    full = [f"state.{name}.{part}" for name in names for part in "hc"]
    if missing := [name for name in full if name not in tensors]:
        raise ValueError(f"tensors: missing {_checks.listed(missing)}")
    state = {name: LSTMState(*(tensors[f"state.{name}.{part}"] for part in "hc")) for name in names}
    return state, {name: tensors[name] for name in full}


# ---- what callbacks remember ------------------------------------------------------------------


def _describe_state(place: int, state: CallbackState, tensors: dict[str, Array]) -> dict[str, Any]:
    """Describe a state in JSON's types; its arrays go to `tensors`."""
    arrays = {key: value for key, value in state.state.items() if isinstance(value, np.ndarray)}
    tensors.update((f"callbacks.{place}.{key}", value) for key, value in arrays.items())
    return {
        "class": state.class_name,
        "number": state.number,
        "state": encode({key: state.state[key] for key in state.state if key not in arrays}),
        "tensors": sorted(arrays),
    }


def _read_states(
    entries: Any, tensors: Mapping[str, Array]
) -> tuple[list[CallbackState], dict[str, Array]]:
    """Undo `_describe_state`; also return the tensors that belong to states."""
    if not isinstance(entries, list):
        raise ValueError(f"callbacks: expected a list, got {_checks.quote(entries)}")
    states: list[CallbackState] = []
    used: dict[str, Array] = {}
    for place, entry in enumerate(entries):
        exactly("callbacks", entry, {"class", "number", "state", "tensors"})
        keys, state = entry["tensors"], entry["state"]
        if not (
            isinstance(entry["class"], str)
            and type(entry["number"]) is int
            and isinstance(state, dict)
            and isinstance(keys, list)
            and all(isinstance(key, str) and key not in state for key in keys)
        ):
            raise ValueError(
                f"callbacks: expected class, number, state and tensors, got {_checks.quote(entry)}"
            )
        names = {key: f"callbacks.{place}.{key}" for key in keys}
        if missing := [name for name in names.values() if name not in tensors]:
            raise ValueError(f"tensors: missing {_checks.listed(missing)}")
        arrays = {key: tensors[name] for key, name in names.items()}
        used.update((name, tensors[name]) for name in names.values())
        states.append(CallbackState(entry["class"], entry["number"], {**state, **arrays}))
    return states, used
