"""From files to models: how each kind of model is built from what its file says."""

import os
from collections.abc import Mapping
from typing import Any, cast

from lstmcore import _checks, constraints, layers, regularizers
from lstmcore._configurable import make
from lstmcore._suggest import suggests
from lstmcore._typing import Array
from lstmcore.models import checkpoint, int8
from lstmcore.models.checkpoint import COMMON_KEYS, compare, exactly
from lstmcore.models.encoder_decoder import EncoderDecoder
from lstmcore.models.graph import Model
from lstmcore.models.graph.document import restore_graph
from lstmcore.models.language import LanguageModel
from lstmcore.models.sequential import Sequential
from lstmcore.training import schedules

__all__ = ["load"]

_OPTIONAL_PAIR_KEYS = {"frozen", "target_tokens"}


@suggests
def load(
    path: "str | os.PathLike[str]", custom_objects: Mapping[str, Any] | None = None
) -> Sequential | Model | EncoderDecoder:
    """Read a model that `Model.save` wrote.

    Parameters
    ----------
    path : str or path
    custom_objects : mapping of str to type or callable, optional
        Classes of your own, by name: layers, losses, metrics, optimizers, schedules; and functions
        that are metrics, and each `lstmcore.losses.Function`, by the name that it has.

    Returns
    -------
    Sequential, Model or EncoderDecoder
        Compiled, with the state of its optimizer, if that was saved: `fit` continues as if it had
        not stopped.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError
        If `path` is not a path.
    ValueError
        If it is truncated, changed or of a newer format, or if tensors are unknown, missing, of the
        wrong shape or type.
    """
    return cast("Sequential | Model | EncoderDecoder", checkpoint.load(path, custom_objects))


def _sequential(
    tensors: dict[str, Array],
    document: dict[str, Any],
    custom_objects: Mapping[str, Any],
    quantized: bool,
) -> tuple[Sequential, dict[str, Array]]:
    exactly("metadata", document, {*COMMON_KEYS, "input_shape", "layers"}, {"class_names", "kind"})
    if not isinstance(document["layers"], list) or not isinstance(document["input_shape"], list):
        raise ValueError("metadata: expected lists as layers and input_shape")
    _check_version(document)
    classes = _layer_classes(custom_objects)
    kind = document.get("kind", Sequential.__name__)
    if kind == LanguageModel.__name__:
        model: Sequential = LanguageModel._without_layers(document["seed"], document["dtype"])
    elif kind == Sequential.__name__:
        model = Sequential(seed=document["seed"], dtype=document["dtype"])
    else:
        raise ValueError(f"metadata: unknown kind {_checks.quote(kind)}")
    for entry in document["layers"]:
        exactly("layer", entry, {"class", "name", "config"})
        _checks.label(entry["name"])
        model.add(make(entry["class"], entry["config"], classes, name=entry["name"]))
    specs = model._plan(document["input_shape"])
    if quantized:
        tensors = int8.unpack(tensors, specs)
    compare(tensors, specs, model.dtype)
    model._build_to_fill(document["input_shape"])  # _fill follows
    if isinstance(model, LanguageModel):
        model._check_chain()
    if "class_names" in document:
        if not isinstance(document["class_names"], list):
            raise ValueError("metadata: expected a list as class_names")
        model.class_names = document["class_names"]
    return model, tensors


def _layer_classes(custom_objects: Mapping[str, Any]) -> dict[str, Any]:
    """Return the classes that the configuration of a layer may name."""
    names = set(layers.__all__) - {"Layer", "Input"}
    return {
        **{name: getattr(layers, name) for name in names},
        **{name: getattr(regularizers, name) for name in regularizers.__all__},
        "MaxNorm": constraints.MaxNorm,
        **custom_objects,
    }


def _graph(
    tensors: dict[str, Array],
    document: dict[str, Any],
    custom_objects: Mapping[str, Any],
    quantized: bool,
) -> tuple[Model, dict[str, Array]]:
    exactly("metadata", document, {*COMMON_KEYS, "graph"})
    _check_version(document)
    structure, by_name = restore_graph(document["graph"], _layer_classes(custom_objects))
    model = Model._to_fill(structure, by_name, document["seed"], document["dtype"])
    if quantized:
        tensors = int8.unpack(tensors, model._plan())
    compare(tensors, model._plan(), model.dtype)
    model._build_to_fill()  # _fill follows
    return model, tensors


def _encoder_decoder(
    tensors: dict[str, Array],
    document: dict[str, Any],
    custom_objects: Mapping[str, Any],
    quantized: bool,
) -> tuple[EncoderDecoder, dict[str, Array]]:
    exactly("metadata", document, {*COMMON_KEYS, "encoder_decoder"}, _OPTIONAL_PAIR_KEYS)
    _check_version(document)
    known = {name: getattr(schedules, name) for name in schedules.__all__ if name != "Schedule"}
    entry = document["encoder_decoder"]
    exactly("encoder_decoder", entry, {"class", "config"})
    model: EncoderDecoder = make(
        entry["class"],
        entry["config"],
        {
            "EncoderDecoder": EncoderDecoder,
            "TextVectorization": layers.TextVectorization,
            **known,
            **custom_objects,
        },
        seed=document["seed"],
        dtype=document["dtype"],
    )
    if quantized:
        tensors = int8.unpack(tensors, model._plan())
    compare(tensors, model._plan(), model.dtype)
    model._build_to_fill()  # _fill follows
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


checkpoint.READERS.update(
    {"layers": _sequential, "encoder_decoder": _encoder_decoder, "graph": _graph}
)
