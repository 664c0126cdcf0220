"""A model as a file and back; see docs/model_files.md."""

import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmcore import __version__, _checks, _int8, constraints, layers, regularizers, weights
from lstmcore._configurable import encode, make
from lstmcore._intake import warn_of_infinite
from lstmcore._typing import Array
from lstmcore.functional import LSTMState
from lstmcore.layers import Layer
from lstmcore.layers.parameters import WeightSpec
from lstmcore.training import schedules
from lstmcore.training.callback_list import CallbackState
from lstmcore.training.compiled import Compiled

if TYPE_CHECKING:
    from lstmcore.encoder_decoder import EncoderDecoder
    from lstmcore.model import Model
    from lstmcore.sequential import Sequential

__all__ = ["describe", "load", "save"]

_COMMON_KEYS = {"lstmcore", "dtype", "seed", "training"}
_KEYS = {*_COMMON_KEYS, "input_shape", "layers"}
_OPTIONAL_KEYS = {"class_names"}
_OPTIONAL_PAIR_KEYS = {"frozen", "target_tokens"}
_TRAINING_KEYS = {"compile", "iterations", "epoch"}
_OPTIONAL_TRAINING_KEYS = {"callbacks", "state"}
_SLOT = "optimizer."
_INT8 = "int8"
_MOST_STEPS = 2**62


def save(model: "Model", path: "str | os.PathLike[str]", include_optimizer: bool) -> None:
    """Write `model`; see `Model.save`."""
    tensors = dict(model.weights)
    warn_of_infinite(tensors)
    training = None
    quantization = {}
    if model.quantized:
        model._check_quantized()
        tensors = _int8.pack(tensors, model.parameters.specs)
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
    weights.write(path, tensors, document, model.metadata)


def load(
    path: "str | os.PathLike[str]", custom_objects: Mapping[str, Any] | None = None
) -> "Model":
    """Read a model; see `lstmcore.load`."""
    tensors, document = weights.read(path)
    try:
        model = _restore(tensors, document, custom_objects or {})
        model.metadata = weights.read_notes(path)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from error
    return model


def _restore(
    tensors: dict[str, Array], document: dict[str, Any], custom_objects: Mapping[str, Any]
) -> "Model":
    model: Model
    quantized = "quantization" in document
    if quantized:
        _check_quantization(document)
    if "encoder_decoder" in document:
        model, tensors = _encoder_decoder(tensors, document, custom_objects, quantized)
    else:
        model, tensors = _sequential(tensors, document, custom_objects, quantized)
    training = document["training"]
    if training is not None:
        _exactly("training", training, _TRAINING_KEYS, _OPTIONAL_TRAINING_KEYS)
        last = model._last_activation
        model._set_compiled(Compiled.from_config(training["compile"], last, custom_objects))
    _fill(model, tensors, training)
    if quantized:
        model._check_quantized()
        model._become_quantized()
    return model


def _check_quantization(document: dict[str, Any]) -> None:
    """Raise ValueError unless the file is that of a quantized model; take the entry out."""
    kind = document.pop("quantization")
    if kind != _INT8:
        raise ValueError(f"quantization: expected {_INT8!r}, got {kind!r}")
    if document.get("dtype") != "float32":
        raise ValueError(
            f"dtype: expected 'float32' in a quantized model, got {document.get('dtype')!r}"
        )
    if document.get("training") is not None:
        raise ValueError("training: expected null in a quantized model")


def _sequential(
    tensors: dict[str, Array],
    document: dict[str, Any],
    custom_objects: Mapping[str, Any],
    quantized: bool,
) -> "tuple[Sequential, dict[str, Array]]":
    from lstmcore.sequential import Sequential

    _exactly("metadata", document, _KEYS, _OPTIONAL_KEYS)
    if not isinstance(document["layers"], list) or not isinstance(document["input_shape"], list):
        raise ValueError("metadata: expected lists as layers and input_shape")
    _check_version(document)
    names = set(layers.__all__) - {"Layer", "Input"}
    classes = {name: getattr(layers, name) for name in names}
    classes = {
        **classes,
        **{name: getattr(regularizers, name) for name in regularizers.__all__},
        "MaxNorm": constraints.MaxNorm,
        **custom_objects,
    }
    model = Sequential(seed=document["seed"], dtype=document["dtype"])
    for entry in document["layers"]:
        _exactly("layer", entry, {"class", "name", "config"})
        _checks.label(entry["name"])
        model.add(make(entry["class"], entry["config"], classes, name=entry["name"]))
    specs = model._plan(document["input_shape"])
    if quantized:
        tensors = _int8.unpack(tensors, specs)
    _compare(tensors, specs, model.dtype)
    model._build_to_fill(document["input_shape"])  # by _fill
    if "class_names" in document:
        if not isinstance(document["class_names"], list):
            raise ValueError("metadata: expected a list as class_names")
        model.class_names = document["class_names"]
    return model, tensors


def _encoder_decoder(
    tensors: dict[str, Array],
    document: dict[str, Any],
    custom_objects: Mapping[str, Any],
    quantized: bool,
) -> "tuple[EncoderDecoder, dict[str, Array]]":
    from lstmcore.encoder_decoder import EncoderDecoder

    _exactly("metadata", document, {*_COMMON_KEYS, "encoder_decoder"}, _OPTIONAL_PAIR_KEYS)
    _check_version(document)
    known = {name: getattr(schedules, name) for name in schedules.__all__ if name != "Schedule"}
    entry = document["encoder_decoder"]
    _exactly("encoder_decoder", entry, {"class", "config"})
    model: EncoderDecoder = make(
        entry["class"],
        entry["config"],
        {"EncoderDecoder": EncoderDecoder, **known, **custom_objects},
        seed=document["seed"],
        dtype=document["dtype"],
    )
    if quantized:
        tensors = _int8.unpack(tensors, model._plan())
    _compare(tensors, model._plan(), model.dtype)
    model._build_to_fill()  # by _fill
    for key in _OPTIONAL_PAIR_KEYS & set(document):
        if not isinstance(document[key], list):
            raise ValueError(f"metadata: expected a list as {key}")
    for name in document.get("frozen", []):
        model.get_layer(name).trainable = False
    model.target_tokens = document.get("target_tokens")
    return model, tensors


def _check_version(document: Mapping[str, Any]) -> None:
    if not isinstance(document["lstmcore"], str):
        raise ValueError("metadata: expected the version of the package as lstmcore")


def describe(layer: Layer) -> dict[str, Any]:
    """Describe a layer as a model file does."""
    config = layer.get_config()
    return {"class": type(layer).__name__, "name": config.pop("name"), "config": config}


def _fill(model: "Model", tensors: dict[str, Array], training: Any) -> None:
    """Copy all tensors in, each where it belongs, none left over."""
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
    _exactly("tensors", tensors, {*model.weights, *slots, *rest})
    _compare(tensors, slots, model.dtype)
    model.parameters.assign({name: tensors[name] for name in model.weights})
    for name, slot in slots.items():
        slot[...] = tensors[name]


_COUNTERS = ("iterations", "epoch")


def _compare(
    tensors: Mapping[str, Array], expected: Mapping[str, WeightSpec | Array], dtype: Any
) -> None:
    """Compare what a file has with what a model needs, so that nothing larger is allocated."""
    for name, target in expected.items():
        if name not in tensors:
            raise ValueError(f"tensors: missing {name}")
        tensor = tensors[name]
        if tensor.shape != target.shape or tensor.dtype != dtype:
            raise ValueError(
                f"{name}: expected {dtype} of shape {target.shape}, "
                f"got {tensor.dtype} of shape {tensor.shape}"
            )


def _read_state(
    names: Any, tensors: Mapping[str, Array]
) -> tuple[dict[str, LSTMState], dict[str, Array]]:
    """Give the state of the layers `names`, and the tensors that belong to it."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"state: expected a list of names of layers, got {names!r}")
    full = [f"state.{name}.{part}" for name in names for part in "hc"]
    if missing := [name for name in full if name not in tensors]:
        raise ValueError(f"tensors: missing {', '.join(missing)}")
    state = {name: LSTMState(*(tensors[f"state.{name}.{part}"] for part in "hc")) for name in names}
    return state, {name: tensors[name] for name in full}


# ---- what callbacks remember ------------------------------------------------------------------


def _describe_state(place: int, state: CallbackState, tensors: dict[str, Array]) -> dict[str, Any]:
    """Describe a state as JSON can hold it; its arrays go to `tensors`."""
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
    """Undo `_describe_state`; also give the tensors that belong to states."""
    if not isinstance(entries, list):
        raise ValueError(f"callbacks: expected a list, got {entries!r}")
    states: list[CallbackState] = []
    used: dict[str, Array] = {}
    for place, entry in enumerate(entries):
        _exactly("callbacks", entry, {"class", "number", "state", "tensors"})
        keys, state = entry["tensors"], entry["state"]
        if not (
            isinstance(entry["class"], str)
            and type(entry["number"]) is int
            and isinstance(state, dict)
            and isinstance(keys, list)
            and all(isinstance(key, str) and key not in state for key in keys)
        ):
            raise ValueError(f"callbacks: expected class, number, state and tensors, got {entry!r}")
        names = {key: f"callbacks.{place}.{key}" for key in keys}
        if missing := [name for name in names.values() if name not in tensors]:
            raise ValueError(f"tensors: missing {', '.join(missing)}")
        arrays = {key: tensors[name] for key, name in names.items()}
        used.update((name, tensors[name]) for name in names.values())
        states.append(CallbackState(entry["class"], entry["number"], {**state, **arrays}))
    return states, used


def _exactly(
    what: str, came: Any, expected: set[str], optional: Collection[str] = frozenset()
) -> None:
    if not isinstance(came, dict):
        raise ValueError(f"{what}: expected an object, got {came!r}")
    if unknown := sorted(set(came) - expected - set(optional)):
        raise ValueError(f"{what}: unknown {', '.join(unknown)}")
    if missing := sorted(expected - set(came)):
        raise ValueError(f"{what}: missing {', '.join(missing)}")
