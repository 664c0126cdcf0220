"""A model as a file and back; see docs/model_files.md."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lstmcore import __version__, layers, regularizers, weights
from lstmcore._configurable import make
from lstmcore._typing import Array
from lstmcore.layers import Layer
from lstmcore.training.compiled import Compiled

if TYPE_CHECKING:
    from lstmcore.model import Sequential

__all__ = ["load", "save"]

_KEYS = {"lstmcore", "dtype", "seed", "input_shape", "layers", "training"}
_TRAINING_KEYS = {"compile", "iterations", "epoch"}
_SLOT = "optimizer."


def save(model: "Sequential", path: "str | os.PathLike[str]", include_optimizer: bool) -> None:
    """Write `model`; see `Sequential.save`."""
    tensors = dict(model.weights)
    training = None
    if include_optimizer and model.is_compiled:
        optimizer = model.optimizer
        optimizer.build(model.parameters)
        tensors.update((_SLOT + name, slot) for name, slot in optimizer.slots.items())
        training = {
            "compile": model.compiled.get_config(),
            "iterations": optimizer.iterations,
            "epoch": model.epoch,
        }
    document = {
        "lstmcore": __version__,
        "dtype": model.dtype.name,
        "seed": model.seed,
        "input_shape": list(model.input_shape),
        "layers": [_describe(layer) for layer in model.layers],
        "training": training,
    }
    weights.write(path, tensors, document)


def load(
    path: "str | os.PathLike[str]", custom_objects: Mapping[str, type] | None = None
) -> "Sequential":
    """Read a model; see `lstmcore.load`."""
    tensors, document = weights.read(path)
    try:
        return _restore(tensors, document, custom_objects or {})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def _restore(
    tensors: dict[str, Array], document: dict[str, Any], custom_objects: Mapping[str, type]
) -> "Sequential":
    from lstmcore.model import Sequential

    _exactly("metadata", document, _KEYS)
    if not isinstance(document["layers"], list) or not isinstance(document["input_shape"], list):
        raise ValueError("metadata: expected lists as layers and input_shape")
    classes = {name: getattr(layers, name) for name in layers.__all__}
    classes = {**classes, "L2": regularizers.L2, **custom_objects}
    model = Sequential(seed=document["seed"], dtype=document["dtype"])
    for entry in document["layers"]:
        _exactly("layer", entry, {"class", "name", "config"})
        model.add(make(entry["class"], entry["config"], classes, name=entry["name"]))
    model.build(tuple(document["input_shape"]))
    training = document["training"]
    if training is not None:
        _exactly("training", training, _TRAINING_KEYS)
        last = model.layers[-1].activation
        model.set_compiled(Compiled.from_config(training["compile"], last, custom_objects))
    _fill(model, tensors, training)
    return model


def _describe(layer: Layer) -> dict[str, Any]:
    config = layer.get_config()
    return {"class": type(layer).__name__, "name": config.pop("name"), "config": config}


def _fill(model: "Sequential", tensors: dict[str, Array], training: Any) -> None:
    """Copy all tensors in, each where it belongs, none left over."""
    slots: dict[str, Array] = {}
    if training is not None:
        optimizer = model.optimizer
        optimizer.build(model.parameters)
        if any(not isinstance(training[key], int) or training[key] < 0 for key in _COUNTERS):
            raise ValueError("training: expected iterations and epoch of at least 0")
        optimizer.iterations, model.epoch = training["iterations"], training["epoch"]
        slots = {_SLOT + name: slot for name, slot in optimizer.slots.items()}
    targets = {**model.weights, **slots}
    _exactly("tensors", tensors, set(targets))
    for name, target in targets.items():
        tensor = tensors[name]
        if tensor.shape != target.shape or tensor.dtype != target.dtype:
            raise ValueError(
                f"{name}: expected {target.dtype} of shape {target.shape}, "
                f"got {tensor.dtype} of shape {tensor.shape}"
            )
    model.parameters.assign({name: tensors[name] for name in model.weights})
    for name, slot in slots.items():
        slot[...] = tensors[name]


_COUNTERS = ("iterations", "epoch")


def _exactly(what: str, came: Any, expected: set[str]) -> None:
    if not isinstance(came, dict):
        raise ValueError(f"{what}: expected an object, got {came!r}")
    if unknown := sorted(set(came) - expected):
        raise ValueError(f"{what}: unknown {', '.join(unknown)}")
    if missing := sorted(expected - set(came)):
        raise ValueError(f"{what}: missing {', '.join(missing)}")
