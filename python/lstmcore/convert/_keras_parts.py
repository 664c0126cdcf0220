"""The Keras layers that correspond to ours: how to make them, and where their weights are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lstmcore._typing import CellActivation
from lstmcore.config import Activation as CellFunction
from lstmcore.config import LSTMConfig
from lstmcore.convert._keras_options import CELL_ACTIVATIONS
from lstmcore.convert._strict import refuse_options
from lstmcore.layers import (
    LSTM,
    RNN,
    Activation,
    AveragePooling1D,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Layer,
    LayerNormalization,
    LSTMCell,
    Masking,
    MaxPooling1D,
    Normalization,
    Permute,
    RepeatVector,
    Rescaling,
    Reshape,
    SimpleRNN,
    SpatialDropout1D,
    TimeDistributed,
)
from lstmcore.layers.recurrent import Recurrent
from lstmcore.layers.simple_cell import SimpleRNNCell


@dataclass(frozen=True)
class Place:
    """The position of a weight in Keras."""

    name: str
    address: str
    turned: bool = False
    """Whether Keras stores its transpose."""


@dataclass(frozen=True)
class Part:
    """A Keras layer that corresponds to one of ours, alone or together with others."""

    kind: str
    places: tuple[Place, ...]
    make: Callable[[Any, dict[str, Any]], Any]
    """Takes the module keras and the arguments of all layers: name, dtype, trainable."""


def parts_of(layer: Layer) -> list[Part]:
    """List the Keras layers that together correspond to a layer; a stack of LSTMs needs several.

    Raises
    ------
    ValueError
        If Keras has no such layer, or lacks one of its options.
    """
    if type(layer) in _PARTS:
        return _PARTS[type(layer)](layer)
    raise ValueError(f"layer {layer.name!r}: Keras has no {type(layer).__name__}")


def _plain(
    layer: Any, kind: str, arguments: dict[str, Any], *, weights: tuple[str, ...] = ()
) -> list[Part]:
    """Describe a layer that has the same name in Keras."""
    places = tuple(Place(name, f"vars/{index}") for index, name in enumerate(weights))

    def make(keras: Any, common: dict[str, Any]) -> Any:
        given = {name: _object(keras, value) for name, value in arguments.items()}
        return getattr(keras.layers, kind)(**given, **common)

    return [Part(kind, places, make)]


def _object(keras: Any, value: Any) -> Any:
    """Make a Keras object from a penalty or a constraint."""
    return value(keras) if callable(value) else value


def _inner(layer: Layer, common: dict[str, Any]) -> dict[str, Any]:
    """Return the common arguments of a layer inside another."""
    named = {} if layer.name is None else {"name": layer.name}
    return {"dtype": common["dtype"], **named, **frozen_option(layer)}


def frozen_option(layer: Layer) -> dict[str, Any]:
    """Return the argument that freezes a Keras layer, if this one is frozen."""
    return {} if layer.trainable else {"trainable": False}


def _penalty(value: Any) -> Any:
    if value is None:
        return None
    names = {"L1": ("l1",), "L2": ("l2",)}.get(type(value).__name__, ("l1", "l2"))
    kind = type(value).__name__ if len(names) == 1 else "L1L2"
    given = {name: getattr(value, name) for name in names}
    return lambda keras: getattr(keras.regularizers, kind)(**given)


def _limit(value: Any, axis: Any) -> Any:
    if value is None:
        return None
    return lambda keras: keras.constraints.MaxNorm(value.max_value, axis=axis)


def _kernel(layer: Any, axis: Any) -> dict[str, Any]:
    return {
        "activation": layer.activation,
        "use_bias": layer.use_bias,
        "kernel_initializer": layer.kernel_initializer,
        "bias_initializer": layer.bias_initializer,
        "kernel_regularizer": _penalty(layer.kernel_regularizer),
        "bias_regularizer": _penalty(layer.bias_regularizer),
        "kernel_constraint": _limit(layer.kernel_constraint, axis),
        "bias_constraint": _limit(layer.bias_constraint, 0),
    }


def _dense(layer: Dense) -> list[Part]:
    weights = ("kernel", "bias") if layer.use_bias else ("kernel",)
    return _plain(layer, "Dense", {"units": layer.units, **_kernel(layer, 0)}, weights=weights)


def _convolution(layer: Conv1D) -> list[Part]:
    arguments = {
        "filters": layer.filters,
        "kernel_size": layer.kernel_size,
        "strides": layer.strides,
        "padding": layer.padding,
        "dilation_rate": layer.dilation_rate,
        **_kernel(layer, [0, 1]),
    }
    if layer.strides > 1 and layer.dilation_rate > 1:
        raise ValueError(
            f"layer {layer.name!r}: Keras has no Conv1D with both strides and dilation_rate"
        )
    weights = ("kernel", "bias") if layer.use_bias else ("kernel",)
    return _plain(layer, "Conv1D", arguments, weights=weights)


def _embedding(layer: Embedding) -> list[Part]:
    arguments = {
        "input_dim": layer.input_dim,
        "output_dim": layer.output_dim,
        "embeddings_initializer": layer.embeddings_initializer,
        "embeddings_regularizer": _penalty(layer.embeddings_regularizer),
        "mask_zero": layer.mask_zero,
    }
    return _plain(layer, "Embedding", arguments, weights=("embeddings",))


def _normalization(layer: LayerNormalization | BatchNormalization) -> list[Part]:
    averages = ("momentum", "moving_mean_initializer", "moving_variance_initializer")
    arguments = {
        **{name: getattr(layer, name) for name in averages if hasattr(layer, name)},
        "epsilon": layer.epsilon,
        "center": layer.center,
        "scale": layer.scale,
        "beta_initializer": layer.beta_initializer,
        "gamma_initializer": layer.gamma_initializer,
        "beta_regularizer": _penalty(layer.beta_regularizer),
        "gamma_regularizer": _penalty(layer.gamma_regularizer),
        "beta_constraint": _limit(layer.beta_constraint, 0),
        "gamma_constraint": _limit(layer.gamma_constraint, 0),
    }
    weights = tuple(spec.name for spec in layer.weight_specs())
    return _plain(layer, type(layer).__name__, arguments, weights=weights)


def _same(*names: str) -> Callable[[Layer], list[Part]]:
    """Describe layers without weights whose options `names` are the same in Keras."""

    def describe(layer: Layer) -> list[Part]:
        return _plain(layer, type(layer).__name__, {name: getattr(layer, name) for name in names})

    return describe


def _activation_layer(layer: Activation) -> list[Part]:
    if layer.alpha is None:
        return _plain(layer, "Activation", {"activation": layer.activation})
    if layer.activation not in WITH_ALPHA:
        raise ValueError(f"alpha: Keras has no {layer.activation} with one, got {layer.alpha}")
    kind, name = WITH_ALPHA[layer.activation]
    return _plain(layer, kind, {name: layer.alpha})


WITH_ALPHA = {"elu": ("ELU", "alpha"), "leaky_relu": ("LeakyReLU", "negative_slope")}
"""Keras' layers for activations with a parameter, and its name there."""


def _noise(layer: GaussianNoise) -> list[Part]:
    if layer.stddev > 1:
        raise ValueError(f"stddev: Keras' GaussianNoise has at most 1, got {layer.stddev}")
    return _same("stddev", "seed")(layer)


def _spatial_dropout(layer: SpatialDropout1D) -> list[Part]:
    part = _same("rate", "seed")(layer)[0]

    def make(keras: Any, common: dict[str, Any]) -> Any:
        # Its constructor does not take `trainable`, which no weight depends on.
        return part.make(keras, {name: common[name] for name in common if name != "trainable"})

    return [Part(part.kind, (), make)]


def _scaling(layer: Normalization) -> list[Part]:
    arguments = {name: getattr(layer, name) for name in ("axis", "mean", "variance", "invert")}
    weights = tuple(spec.name for spec in layer.weight_specs())
    return _plain(layer, "Normalization", arguments, weights=weights)


def _time_distributed(layer: TimeDistributed) -> list[Part]:
    inner = parts_of(layer.layer)
    if len(inner) > 1:
        raise ValueError(f"layer {layer.name!r}: Keras has no stack of layers in TimeDistributed")
    places = tuple(
        Place(place.name, f"layer/{place.address}", place.turned) for place in inner[0].places
    )

    def make(keras: Any, common: dict[str, Any]) -> Any:
        own = _inner(layer.layer, common)
        return keras.layers.TimeDistributed(inner[0].make(keras, own), **common)

    return [Part("TimeDistributed", places, make)]


# ---- LSTMs and simple RNNs -----------------------------------------------------------------------


def _arguments(cell: LSTMCell | SimpleRNNCell, place: int) -> dict[str, Any]:
    """Return the arguments of Keras' layer of a cell; `place` is the index in a stack."""
    if isinstance(cell, LSTMCell):
        return _cell_arguments(cell, place)
    return {
        "activation": cell.activation,
        "bias_initializer": cell.bias_initializer,
        **_shared_arguments(cell, place),
    }


def _shared_arguments(cell: LSTMCell | SimpleRNNCell, place: int) -> dict[str, Any]:
    """Return the arguments that cells of both kinds have."""
    return {
        "units": cell.units,
        "use_bias": cell.use_bias,
        "kernel_initializer": cell.kernel_initializer,
        "recurrent_initializer": cell.recurrent_initializer,
        "kernel_regularizer": _penalty(cell.kernel_regularizer),
        "recurrent_regularizer": _penalty(cell.recurrent_regularizer),
        "bias_regularizer": _penalty(cell.bias_regularizer),
        "kernel_constraint": _limit(cell.kernel_constraint, 0),
        "recurrent_constraint": _limit(cell.recurrent_constraint, 0),
        "bias_constraint": _limit(cell.bias_constraint, 0),
        "dropout": cell.input_dropout if place == 0 else 0.0,
        "recurrent_dropout": cell.recurrent_dropout,
        "seed": cell.seed,
    }


def _cell_arguments(cell: LSTMCell, place: int) -> dict[str, Any]:
    """Return a Keras LSTM's or LSTMCell's arguments; `place` is the index in a stack."""
    config = cell._config_for(1)
    allowed = ("bias", "recurrent_dropout", "input_dropout", *ACTIVATION_NAMES)
    refuse_options(config, allowed, "Keras' LSTM")
    if config.output_activation != config.cell_activation:
        raise ValueError(
            "output_activation: Keras' LSTM applies activation to g and c alike, got "
            f"{cell.output_activation!r} with activation {cell.activation!r}"
        )
    if not cell.recurrent_trainable:
        raise ValueError("recurrent_trainable: Keras freezes whole layers only, got False")
    return {
        "activation": _activation(config.cell_activation, "activation"),
        "recurrent_activation": _activation(config.gate_activation, "recurrent_activation"),
        "unit_forget_bias": cell.unit_forget_bias and cell.forget_bias != 0.0,
        **_shared_arguments(cell, place),
    }


ACTIVATION_NAMES = ("gate_activation", "cell_activation", "output_activation")


def _activation(value: CellActivation | CellFunction, name: str) -> Any:
    """Return Keras' name; if it has none, an error when a Keras layer is made, not for weights."""
    for known, ours in CELL_ACTIVATIONS.items():
        config = LSTMConfig(1, 1, gate_activation=ours)
        if value == config.gate_activation:
            return known

    def refuse(keras: Any) -> Any:
        raise ValueError(f"{name}: Keras has no name for {value!r}")

    return refuse


def _cell_places(suffix: str, address: str, use_bias: bool) -> tuple[Place, ...]:
    places = [
        Place(f"weight_ih{suffix}", f"{address}vars/0", turned=True),
        Place(f"weight_hh{suffix}", f"{address}vars/1", turned=True),
    ]
    if use_bias:
        places.append(Place(f"bias{suffix}", f"{address}vars/2"))
    return tuple(places)


def _cell(layer: LSTMCell) -> list[Part]:
    arguments = _cell_arguments(layer, 0)
    part = _plain(layer, "LSTMCell", arguments)[0]
    return [Part("LSTMCell", _cell_places("_l0", "", layer.use_bias), part.make)]


def _stack(layer: LSTM | SimpleRNN) -> list[Part]:
    """Describe an `LSTM` or a `SimpleRNN`: one Keras layer for each of its stacked layers."""
    _check(layer)
    return list(_layers(layer, layer, bidirectional=False))


def _bidirectional(layer: Bidirectional) -> list[Part]:
    _check(layer)
    return list(_layers(layer, layer.layer, bidirectional=True))


def _check(layer: Recurrent) -> None:
    if layer.share_recurrent:
        raise ValueError(f"layer {layer.name!r}: Keras has no share_recurrent")
    if layer.return_state and len(layer.cells) > 1:
        raise ValueError(f"layer {layer.name!r}: Keras has no return_state of a stack of layers")


def _layers(layer: Recurrent, inner: Recurrent, *, bidirectional: bool) -> Iterator[Part]:
    count = len(layer.cells)
    for index, cell in enumerate(layer.cells):
        last = index == count - 1
        arguments = {
            **_arguments(cell, index),
            "return_sequences": layer.return_sequences or not last,
            "return_state": layer.return_state,
            # The first layer's output is in the order in which it walks.
            "go_backwards": layer.go_backwards and index == 0,
            "stateful": layer.stateful,
        }
        options: dict[str, Any] | None = None
        if isinstance(layer, Bidirectional):
            options = {"merge_mode": layer.merge_mode if last else "concat"}
        make = _maker(arguments, options, isinstance(inner, RNN), inner, cell)
        suffix = f"_l{index}"
        if bidirectional:
            places = (
                *_cell_places(suffix, "forward_layer/cell/", cell.use_bias),
                *_cell_places(f"{suffix}_reverse", "backward_layer/cell/", cell.use_bias),
            )
            yield Part("Bidirectional", places, make)
        else:
            yield Part(_class_of(cell), _cell_places(suffix, "cell/", cell.use_bias), make)
        if layer._between and not last:
            yield _plain(layer, "Dropout", {"rate": layer._between})[0]


def _class_of(cell: LSTMCell | SimpleRNNCell) -> str:
    """Return the name of Keras' layer of a cell."""
    return "LSTM" if isinstance(cell, LSTMCell) else "SimpleRNN"


WALK = ("return_sequences", "return_state", "go_backwards", "stateful")


def _maker(
    arguments: dict[str, Any],
    both: dict[str, Any] | None,
    as_cell: bool,
    inner: Layer,
    step: LSTMCell | SimpleRNNCell,
) -> Callable[[Any, dict[str, Any]], Any]:
    """Return a function that makes Keras' layer, or with options `both` a Bidirectional of it."""

    def make(keras: Any, common: dict[str, Any]) -> Any:
        given = {name: _object(keras, value) for name, value in arguments.items()}
        own = common if both is None else _inner(inner, common)
        if as_cell:
            walk = {name: given.pop(name) for name in WALK}
            cell = keras.layers.LSTMCell(**given, **_inner(step, common))
            layer = keras.layers.RNN(cell, **walk, **own)
        else:
            layer = getattr(keras.layers, _class_of(step))(**given, **own)
        return layer if both is None else keras.layers.Bidirectional(layer, **both, **common)

    return make


def _rnn(layer: RNN) -> list[Part]:
    """Describe an `RNN`, which has one cell or, in Keras, a stack of cells."""
    _check(layer)
    alone = isinstance(layer.cell, LSTMCell)
    cells = [cell for cell in layer.cells if isinstance(cell, LSTMCell)]  # all of them
    if len(layer.cells) > 1 and layer.cells[0].input_dropout:
        raise ValueError(f"layer {layer.name!r}: Keras' cells in a stack have their own dropout")
    arguments = [_cell_arguments(cell, index) for index, cell in enumerate(cells)]
    places: list[Place] = []
    for index, cell in enumerate(layer.cells):
        number = f"lstm_cell_{index}" if index else "lstm_cell"
        address = "cell/" if alone else f"cell/cells/{number}/"
        places += _cell_places(f"_l{index}", address, cell.use_bias)

    def make(keras: Any, common: dict[str, Any]) -> Any:
        cells = [
            keras.layers.LSTMCell(
                **{name: _object(keras, value) for name, value in given.items()},
                **_inner(cell, common),
            )
            for given, cell in zip(arguments, layer.cells, strict=True)
        ]
        own = {"dtype": common["dtype"]}
        cell = cells[0] if alone else keras.layers.StackedRNNCells(cells, **own)
        walk = {name: getattr(layer, name) for name in WALK}
        return keras.layers.RNN(cell, **walk, **common)

    return [Part("RNN", tuple(places), make)]


_POOLING = _same("pool_size", "strides", "padding")

_PARTS: dict[type, Callable[[Any], list[Part]]] = {
    Activation: _activation_layer,
    AveragePooling1D: _POOLING,
    BatchNormalization: _normalization,
    Bidirectional: _bidirectional,
    Conv1D: _convolution,
    Dense: _dense,
    Dropout: _same("rate", "seed"),
    Embedding: _embedding,
    Flatten: _same(),
    GaussianNoise: _noise,
    GlobalAveragePooling1D: _same(),
    GlobalMaxPooling1D: _same(),
    LSTM: _stack,
    LSTMCell: _cell,
    LayerNormalization: _normalization,
    Masking: _same("mask_value"),
    MaxPooling1D: _POOLING,
    Normalization: _scaling,
    Permute: _same("dims"),
    RNN: _rnn,
    SimpleRNN: _stack,
    RepeatVector: _same("n"),
    Rescaling: _same("scale", "offset"),
    Reshape: _same("target_shape"),
    SpatialDropout1D: _spatial_dropout,
    TimeDistributed: _time_distributed,
}
