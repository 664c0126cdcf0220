"""Convert models, layers and weights from and to Keras: live objects, and files without Keras."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from lstmcore import _checks
from lstmcore._extras import how_to_install
from lstmcore._files import as_path, check_target
from lstmcore._intake import warn_of_infinite
from lstmcore._typing import Array
from lstmcore.convert import _strict
from lstmcore.convert._keras_branches import branches_of
from lstmcore.convert._keras_config import layer_of, residual_of
from lstmcore.convert._keras_files import (
    KerasFile,
    describe_variable,
    file_path,
    live_tensors,
    naming,
    open_file,
)
from lstmcore.convert._keras_graph import Branching, Ends
from lstmcore.convert._keras_legacy import modern
from lstmcore.convert._keras_models import (
    MODELS,
    Chain,
    Entry,
    built_for,
    check_masks,
    entries_of,
)
from lstmcore.convert._keras_parts import Part, frozen_option, parts_of
from lstmcore.convert._keras_weights import (
    LAYERS,
    ByAddress,
    Numbering,
    Slot,
    Spot,
    Wanted,
    Weights,
    is_weight,
)
from lstmcore.convert._strict import Tensor
from lstmcore.layers import Layer, Residual
from lstmcore.layers.shapes import shape_to_build
from lstmcore.models import Model, Sequential

if TYPE_CHECKING:
    import keras

__all__ = ["from_keras", "load_keras_weights", "to_keras"]


@overload
def from_keras(
    source: "str | os.PathLike[str]",
    *,
    training: bool = True,
    input: str | None = None,
    output: str | None = None,
) -> Sequential | Model: ...


@overload
def from_keras(
    source: "keras.Layer",
    *,
    training: bool = True,
    input: str | None = None,
    output: str | None = None,
) -> Any: ...


def from_keras(
    source: Any, *, training: bool = True, input: str | None = None, output: str | None = None
) -> Any:
    """Convert a Keras model or layer to a built one with the same weights.

    Parameters
    ----------
    source : Keras model or layer, or path of a ``.keras`` or ``.h5`` file
        A Sequential or functional model, a layer, or an LSTMCell. A functional model whose layers
        are a chain becomes a `Sequential`, in which an Add may close a shortcut around some layers,
        which become a `Residual`; one with branches becomes a `Model`. A file, of Keras 2 or 3,
        needs h5py, but neither Keras nor one of its backends.
    training : bool, default True
        Whether options that matter only in training must have a counterpart too. False: penalties
        and constraints without one are ignored.
    input : str, optional
        Name of the layer whose output becomes the input, so that only layers after it are
        converted; None: the model's input. A mask that the layers before it compute is not
        converted: pass `mask` to `predict`.
    output : str, optional
        Name of the layer to end with; None: the model's only output. With either, only the layers
        between must be a chain, and all others are left out.

    Returns
    -------
    Sequential, Model or Layer
        It has Keras' names, and the type, float32 or float64, that Keras computes in; layers that
        are frozen in Keras are frozen. It is not compiled: optimizer and loss are not converted.

    Raises
    ------
    ValueError
        If a layer or an option has no counterpart, which the error names. If tensors are missing,
        extra or do not fit; the error names all of them. If the model has no layer `input` or
        `output`, or `source` is a layer and one of them is given; if `input` is given and the file
        does not say what shape that layer's output has, as an ``.h5`` file does not.
    TypeError
        If `source` is not a Keras object or file, or tensors have another type.
    ImportError
        If `source` is a file and h5py is not installed.

    Notes
    -----
    Keras' gates i, f, c, o are called i, f, g, o here. Kernels (C, 4H) are transposed; nothing else
    changes, except in the CuDNNLSTM of Keras 2, whose gates are turned and whose two biases are
    added. The hard_sigmoid of Keras 2 is 0.2 x + 0.5, that of Keras 3 x / 6 + 0.5, both between 0
    and 1. Initializers without a counterpart are dropped, since they have done their work.
    """
    _checks.flag(training, "training")
    ends = Ends(input, output)
    for argument, name in ends._asdict().items():
        if name is not None:
            _checks.instance(name, str, argument, "the name of a layer")
    if _is_keras(source):
        document = sys.modules["keras"].saving.serialize_keras_object(source)
        found = _live(source)
        if document.get("class_name") in MODELS:
            return _model(document, ByAddress(found), training, ends)
        for argument, name in ends._asdict().items():
            if name is not None:
                raise ValueError(f"{argument}: expected None with a layer, got {name!r}")
        return _layer(document, found, training)
    path = file_path(source, "source")
    with open_file(path) as file:
        if not file.document:
            raise ValueError(
                f"{path}: holds weights without their layers; make the model and use "
                "load_keras_weights(model, path)"
            )
        with naming(path, "source", *Ends._fields):
            return _model_of_file(path, file, training, ends)


def load_keras_weights(model: Sequential, source: "str | os.PathLike[str] | keras.Model") -> None:
    """Copy the weights of a Keras model into a model with the same layers.

    Parameters
    ----------
    model : Sequential
        A built model. Its layers must be those of `source`, in the same order; a stack of LSTMs
        corresponds to as many Keras LSTM layers. Layers without weights may be missing on either
        side.
    source : path of a ``.weights.h5``, ``.keras`` or ``.h5`` file, or Keras model
        It must hold a Sequential or functional model, of Keras 2 or 3. If it has nested models, it
        must be an ``.h5`` file as Keras 2 writes it, and the layers that were frozen when it was
        written must be frozen in `model`, since their order depends on that.

    Raises
    ------
    ValueError
        If the model is not built, a layer has weights that Keras lacks, or tensors are missing,
        extra or do not fit. The error names all of them, and nothing is written.
    TypeError
        If tensors are not of the model's type; nothing is written.
    ImportError
        If `source` is a file and h5py is not installed.
    """
    _checks.instance(model, Sequential, "model", "a Sequential")
    if not model.built:
        raise ValueError("model: the model is not built; call build(input_shape)")
    with _weights(source) as weights:
        numbering = weights.numbering(LAYERS)
        slots: list[Slot] = []
        for layer in model._network:
            try:
                parts = _parts(layer)
            except ValueError:
                if layer.weight_specs():
                    raise
                continue
            for part in parts:
                address = f"{LAYERS}{numbering.next(part.kind)}/"
                slots.append(Slot(layer, part.places, Spot(address), str(layer.name)))
        shapes = {name: value.shape for name, value in model.weights.items()}
        model.set_weights(_read(*weights.match(slots), shapes, model.dtype))


def to_keras(
    model: Sequential | Layer,
    path: "str | os.PathLike[str] | None" = None,
    *,
    batch_size: int | None = None,
) -> Any:
    """Convert a model or layer to Keras with the same weights, and optionally save it.

    Parameters
    ----------
    model : Sequential or Layer
        It must be built. A stack of LSTMs becomes as many Keras layers.
    path : str or path, optional
        File in which Keras saves the model: ``.keras`` or ``.weights.h5``. Not for a layer.
    batch_size : int, optional
        Rows of a batch, which Keras needs to know if a layer is stateful.

    Returns
    -------
    keras.Sequential, or Keras layer
        A single layer becomes a layer, a stack of LSTMs a Sequential. It is not compiled.

    Raises
    ------
    ValueError
        If a layer or an option has no counterpart in Keras, which the error names; if the model is
        not built; or if `path` has another ending.
    ImportError
        If Keras is not installed.

    Notes
    -----
    A `forget_bias` other than 0 and 1 is dropped, since it affects only initial values, and so is
    `recompute`, which does not change results.
    """
    _checks.instance(model, (Sequential, Layer), "model", "a Sequential or a layer")
    target = None if path is None else _target(path, model)
    rows = None if batch_size is None else _checks.integer(batch_size, "batch_size", 1)
    if isinstance(model, Sequential):
        dtype, layers = model.parameters.dtype.name, model._network
        if model.vectorizer is not None:
            raise ValueError(
                f"layer {model.vectorizer.name!r}: Keras' models of these layers take token ids; "
                "expected a model without TextVectorization"
            )
        check_masks(
            layers,
            "GlobalAveragePooling1D, or a last LSTM without return_sequences, computes the same "
            "in both, and lstmcore.onnx.export can write the model unchanged",
        )
        shape = model.input_shape
    else:
        if model.input_shape is None:
            raise ValueError("model: the layer is not built; call it first")
        parameters = model.parameters
        dtype = "float32" if parameters is None else parameters.dtype.name
        layers, shape = [model], model.input_shape
    parts = [(layer, part) for layer in layers for part in _parts(layer)]
    stateful = any(getattr(layer, "stateful", False) for layer in layers)
    if (rows is not None) != stateful:
        expected = "a number for stateful layers" if stateful else "None without stateful layers"
        raise ValueError(f"batch_size: expected {expected}, got {batch_size}")
    keras = import_keras()
    names = _keras_names(parts)
    made: list[Any] = []
    for (layer, part), name in zip(parts, names, strict=True):
        common = {"dtype": dtype, **frozen_option(layer)}
        if name is not None:
            common["name"] = name
        made.append(_keras_layer(layer, part, keras, common))
    alone = isinstance(model, Layer) and len(made) == 1
    if alone:
        result = made[0]
        result.build((rows, *shape[1:]))
    else:
        kind = "int32" if layers[0].input_kind == "ids" else dtype
        result = keras.Sequential([keras.Input(batch_shape=(rows, *shape[1:]), dtype=kind), *made])
    variables = live_tensors(result)
    numbering = Numbering()
    for layer, part in parts:
        address = "" if alone else f"layers/{numbering.next(part.kind)}/"
        for place in part.places:
            value = layer.weights[place.name]
            variables[address + place.address].assign(
                np.array(value.T if place.turned else value, order="C")
            )
    for one in made:
        if hasattr(one, "finalize_state"):  # a Normalization computes with copies of its variables
            one.finalize_state()
    if target is not None:
        warn_of_infinite(model.weights)
        (result.save if target.suffix == ".keras" else result.save_weights)(target)
    return result


def _keras_layer(layer: Layer, part: Part, keras: Any, common: dict[str, Any]) -> Any:
    try:
        return part.make(keras, common)
    except ValueError as error:
        raise ValueError(f"layer {layer.name!r}: {error}") from error


def _keras_names(parts: list[tuple[Layer, Part]]) -> list[str | None]:
    """Return the names of the Keras layers; layers of a stack are numbered to be unique."""
    taken = {layer.name for layer, _ in parts}
    names: list[str | None] = []
    for place, (layer, _) in enumerate(parts):
        if layer.name is not None and "/" in layer.name:
            raise ValueError(f"layer {layer.name!r}: Keras has no names with a '/'; rename it")
        if sum(other is layer for other, _ in parts) == 1:
            names.append(layer.name)
            continue
        number = sum(other is layer for other, _ in parts[:place])
        name = f"{layer.name or 'lstm'}_{number}"
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return names


def import_keras() -> Any:
    """Import Keras.

    Raises
    ------
    ImportError
        If it is not installed, or is not Keras 3.
    """
    try:
        import keras
    except ImportError as error:
        raise ImportError(
            f"Keras, or its backend, is not installed: {how_to_install('keras')}, and a backend, "
            "such as torch"
        ) from error
    if not str(keras.__version__).startswith("3."):
        raise ImportError(f"expected Keras 3, got Keras {keras.__version__}")
    return keras


def _is_keras(source: Any) -> bool:
    """Return whether `source` is an object of Keras 3, without importing Keras."""
    keras = sys.modules.get("keras")
    if keras is None or not hasattr(keras, "saving"):
        return False
    return isinstance(source, keras.layers.Layer)


def _live(source: Any) -> dict[str, Tensor]:
    return {name: describe_variable(value) for name, value in live_tensors(source).items()}


def _model_of_file(path: Path, file: KerasFile, training: bool, ends: Ends) -> Sequential | Model:
    try:
        return _model(modern(file.document, file.version), file.weights, training, ends)
    except (KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: its configuration is not one that Keras writes ({error!r})"
        ) from error
    except TypeError as error:
        if str(error).startswith("source: "):  # about tensors
            raise
        raise ValueError(
            f"{path}: its configuration is not one that Keras writes ({error})"
        ) from error


def _model(
    document: Mapping[str, Any], weights: Weights, training: bool, ends: Ends
) -> Sequential | Model:
    kind = document.get("class_name")
    if kind not in MODELS:
        raise ValueError(f"{kind}: expected a Sequential or a functional model")
    chain: Chain | None = None
    try:
        chain = entries_of(document, weights.numbering, ends)
    except Branching:
        if ends != Ends():
            raise
    if chain is None:
        return _graph(document, weights, training)
    return _chain(chain, kind, weights, training)


def _graph(document: Mapping[str, Any], weights: Weights, training: bool) -> Model:
    """Make a model of a functional one with branches."""
    found = branches_of(document, weights.numbering, training)
    if len(found.kinds) > 1:
        raise ValueError(
            f"{document.get('class_name')}: expected layers of one dtype, got "
            f"{', '.join(sorted(found.kinds))}"
        )
    dtype = np.dtype(found.kinds.pop() if found.kinds else "float32")
    model = Model._unfilled(found.inputs, found.outputs, dtype)
    _check_shared_masks(model)
    shapes = {name: spec.shape for name, spec in model._plan().items()}
    slots = [
        Slot(one.layer, part.places, one.spot, str(one.layer.name))
        for one in found.made
        if one.layer.weight_specs()
        for part in _parts(one.layer)
    ]
    values = _read(*weights.match(slots, found.left_out), shapes, model.dtype)
    model._build_to_fill()
    model.set_weights(values)
    return model


def _check_shared_masks(model: Model) -> None:
    """Raise ValueError if only some of the layers that take an input find its padding."""
    structure = model._structure
    for place, name in enumerate(model.input_names):
        takers = [structure.layers[use.layer] for use in structure.consumers(place)]
        if len({layer._finds_lengths for layer in takers}) > 1:
            raise ValueError(
                f"inputs: {name!r} is taken with and without a mask, so that Keras treats padding "
                "as data in one of its branches, which lstmcore never does"
            )


def _chain(chain: Chain, kind: Any, weights: Weights, training: bool) -> Sequential:
    """Make a model of a chain of layers."""
    if chain.shape is None:
        raise ValueError(f"{kind}: the model is not built; call it once, or add an Input")
    kinds: set[str] = set()
    layers = [_made(entry, training, kinds) for entry in chain.entries]
    if len(kinds) > 1:
        raise ValueError(f"{kind}: expected layers of one dtype, got {', '.join(sorted(kinds))}")
    check_masks(layers, "for only the weights, make the model here and use load_keras_weights")
    model = Sequential(layers, dtype=np.dtype(kinds.pop() if kinds else "float32"))
    shapes = {name: spec.shape for name, spec in model._plan(chain.shape).items()}
    slots = [
        slot
        for layer, entry in zip(layers, chain.entries, strict=True)
        for slot in _slots(layer, entry, str(layer.name))
    ]
    values = _read(*weights.match(slots, chain.left_out), shapes, model.dtype)
    model.build(chain.shape)
    model.set_weights(values)
    return model


def _made(entry: Entry, training: bool, kinds: set[str]) -> Layer:
    """Make a layer, and add the element types that it names to `kinds`."""
    if entry.inner is None:
        layer, named = layer_of(entry.document, training)
    else:
        inner = [_made(one, training, kinds) for one in entry.inner]
        layer, named = residual_of(entry.document, inner, training)
    kinds |= named
    return layer


def _slots(layer: Layer, entry: Entry, prefix: str) -> Iterator[Slot]:
    """List the Keras layers that a layer corresponds to; `prefix` begins its weights' names."""
    if entry.inner is None:
        for part in _parts(layer):
            yield Slot(layer, part.places, entry.spot, prefix)
        return
    assert isinstance(layer, Residual)
    for place, (member, one) in enumerate(zip(layer.layers, entry.inner, strict=True)):
        yield from _slots(member, one, f"{prefix}.{place}")


def _layer(document: Mapping[str, Any], found: Mapping[str, Tensor], training: bool) -> Layer:
    layer, kinds = layer_of(document, training)
    found = {address: tensor for address, tensor in found.items() if is_weight(address, tensor)}
    shape = built_for(document)
    if not shape:
        if found or not _needs_no_weights(layer):
            raise ValueError(f"{document['class_name']}: the layer is not built; call it first")
        return layer
    if len(kinds) > 1:
        raise ValueError(f"source: expected one dtype, got {', '.join(sorted(kinds))}")
    wanted_shape = shape_to_build(tuple(shape), layer._known_from, layer.input_kind == "ids")
    layer._build_alone(wanted_shape, kinds.pop() if kinds else "float32")
    wanted = {place.address: place for part in _parts(layer) for place in part.places}
    weights, parameters = layer.weights, layer.parameters
    assert parameters is not None
    shapes = {name: value.shape for name, value in weights.items()}
    values = _read(wanted, found, shapes, parameters.dtype)
    layer.set_weights([values[name] for name in weights])
    return layer


def _needs_no_weights(layer: Layer) -> bool:
    return type(layer).weight_specs is Layer.weight_specs


def _parts(layer: Layer) -> list[Part]:
    try:
        return parts_of(layer)
    except ValueError as error:
        if str(error).startswith("layer "):
            raise
        raise ValueError(f"layer {layer.name!r}: {error}") from error


def _read(
    wanted: Wanted,
    found: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: "np.dtype[Any]",
) -> dict[str, Array]:
    """Check all tensors, then read them as weights."""
    expected = {
        key: shapes[place.name][::-1] if place.turned else shapes[place.name]
        for key, place in wanted.items()
    }
    kind = _strict.check("source", expected, found)
    if expected and kind != dtype:
        raise TypeError(f"source: expected {dtype}, got {kind}")
    values: dict[str, Array] = {}
    for key, place in wanted.items():
        array = found[key].read()
        values[place.name] = array.T if place.turned else array
    return values


@contextmanager
def _weights(source: Any) -> Iterator[Weights]:
    if _is_keras(source):
        yield ByAddress(_live(source))
        return
    with open_file(file_path(source, "source")) as file:
        yield file.weights


def _target(path: Any, model: Any) -> Path:
    target = as_path(path)
    if isinstance(model, Layer):
        raise ValueError(f"path: expected None for a layer, since a file holds a model, got {path}")
    if target.suffix != ".keras" and not target.name.endswith(".weights.h5"):
        raise ValueError(f"path: expected .keras or .weights.h5, got {target.name!r}")
    check_target(target)
    return target
