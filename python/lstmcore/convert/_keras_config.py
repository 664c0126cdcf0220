"""Turn Keras' configurations of layers into layers."""

from collections.abc import Callable, Mapping
from typing import Any

from lstmcore._typing import RNNActivation, choices
from lstmcore.convert._keras_options import CELL_ACTIVATIONS, Options, class_of
from lstmcore.layers import (
    LSTM,
    RNN,
    Activation,
    Add,
    Average,
    AveragePooling1D,
    BatchNormalization,
    Bidirectional,
    Concatenate,
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
    Multiply,
    Normalization,
    Permute,
    RepeatVector,
    Rescaling,
    Reshape,
    Residual,
    SimpleRNN,
    SpatialDropout1D,
    Subtract,
    TimeDistributed,
)
from lstmcore.layers.functions import ACTIVATIONS

INSTEAD = {
    "GRU": "only LSTMs and SimpleRNNs are supported",
    "TextVectorization": "take it out of the model, and put lstmcore's before the Embedding",
}


def layer_of(document: Mapping[str, Any], training: bool) -> tuple[Layer, set[str]]:
    """Make a layer from its configuration; return it with the element types that it names.

    Raises
    ------
    ValueError
        If the class, or an option, has no counterpart.
    """
    kind, config = class_of(document)
    name = str(config.get("name", ""))
    _refuse_custom(document, kind, name)
    if kind not in _MAKERS:
        instead = INSTEAD.get(kind, f"known are {', '.join(_MAKERS)}")
        raise ValueError(f"{kind} {name!r}: has no counterpart; {instead}")
    options = Options(kind, config, training)
    kinds = {options.dtype} if options.dtype else set()
    try:
        layer = _MAKERS[kind](options, document, kinds)
    except (ValueError, TypeError) as error:
        message = str(error)
        if message.startswith(f"{kind} "):
            raise
        raise ValueError(f"{options.where}: {message}") from error
    options.finish()
    if not options.trainable:
        layer.trainable = False
    return layer, kinds


def _refuse_custom(document: Mapping[str, Any], kind: str, name: str) -> None:
    known = document.get("registered_name") in (None, kind)
    if not known or not str(document.get("module") or "keras").startswith("keras"):
        raise ValueError(f"{kind} {name!r}: a custom class has no counterpart")


def residual_of(
    document: Mapping[str, Any], layers: list[Layer], training: bool
) -> tuple[Layer, set[str]]:
    """Make the Residual that an Add after `layers` corresponds to; see `layer_of`."""
    kind, config = class_of(document)
    options = Options(kind, config, training)
    _refuse_custom(document, kind, options.name)
    options.finish()
    try:
        layer = Residual(layers, name=options.name)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{options.where}: {error}") from error
    return layer, {options.dtype} if options.dtype else set()


def _inner(value: Any, options: Options, kinds: set[str]) -> Layer:
    layer, more = layer_of(value, options.training)
    kinds |= more
    return layer


def _cell_arguments(options: Options) -> dict[str, Any]:
    arguments = {
        "activation": options.activation("activation", CELL_ACTIVATIONS),
        "recurrent_activation": options.activation("recurrent_activation", CELL_ACTIVATIONS),
        "unit_forget_bias": options.take("unit_forget_bias", True),
        **options.initializers("kernel", "recurrent"),
        **_shared_arguments(options),
    }
    options.drop("bias_initializer")
    return arguments


def _shared_arguments(options: Options) -> dict[str, Any]:
    """Return the arguments that an LSTM and a SimpleRNN have."""
    return {
        "units": options.take("units"),
        "use_bias": options.take("use_bias", True),
        "dropout": options.take("dropout", 0.0),
        "recurrent_dropout": options.take("recurrent_dropout", 0.0),
        "seed": options.seed(),
        **options.penalties("kernel", "recurrent", "bias"),
        **options.limits(kernel=0, recurrent=0, bias=0),
    }


def _walk_arguments(options: Options) -> dict[str, Any]:
    # Neither unrolling nor the output at padding affects the results of valid steps.
    options.drop("unroll", "zero_output_for_mask", "use_cudnn")
    return {
        name: options.take(name, False)
        for name in ("return_sequences", "return_state", "go_backwards", "stateful")
    }


def _lstm(options: Options, document: Any, kinds: set[str]) -> Layer:
    walk = _walk_arguments(options)
    return LSTM(**walk, **_cell_arguments(options), name=options.name)


def _simple_rnn(options: Options, document: Any, kinds: set[str]) -> Layer:
    return SimpleRNN(
        activation=options.activation("activation", choices(RNNActivation)),
        **options.initializers("kernel", "recurrent", "bias"),
        **_shared_arguments(options),
        **_walk_arguments(options),
        name=options.name,
    )


def _cell(options: Options, document: Any, kinds: set[str]) -> Layer:
    return LSTMCell(**_cell_arguments(options), name=options.name)


def _rnn(options: Options, document: Any, kinds: set[str]) -> Layer:
    value = options.take("cell")
    kind, config = class_of(value)
    cell: Any
    if kind == "StackedRNNCells":
        stack = Options(kind, config, options.training)
        kinds |= {stack.dtype} if stack.dtype else set()
        cell = [_inner(entry, options, kinds) for entry in stack.take("cells", [])]
        stack.finish()
        for part in cell if not stack.trainable else []:
            part.trainable = False
        if len(cell) > 1 and any(part.input_dropout for part in cell):
            raise ValueError(
                f"{stack.where}: dropout of stacked cells has no counterpart; stack LSTM layers"
            )
    else:
        cell = _inner(value, options, kinds)
    return RNN(cell, **_walk_arguments(options), name=options.name)


def _bidirectional(options: Options, document: Any, kinds: set[str]) -> Layer:
    ahead, back = options.take("layer"), options.take("backward_layer")
    mode = options.take("merge_mode", "concat")
    layer = _inner(ahead, options, kinds)
    if back is not None:
        _, config = class_of(back)
        if config.get("go_backwards") is not True:
            raise ValueError("expected the backward layer to be the one with go_backwards=True")
        turned = {**back, "config": {**config, "go_backwards": False}}
        other = _inner(turned, options, kinds)
        mine, its = _compared(layer), _compared(other)
        different = sorted(key for key in mine.keys() | its.keys() if mine.get(key) != its.get(key))
        if type(layer) is not type(other) or different:
            raise ValueError(
                "expected a backward layer like the forward one, got another "
                f"{', '.join(different) or 'class'}"
            )
    if len(getattr(layer, "cells", [])) > 1:
        raise ValueError(
            "a stack of cells in each direction has no counterpart; expected one cell, since "
            "lstmcore's directions see each other between layers"
        )
    layer.name = str(layer.name).removeprefix("forward_")
    return Bidirectional(layer, mode, name=options.name)  # type: ignore[arg-type]


def _compared(layer: Layer) -> dict[str, Any]:
    """Return the options that must be the same in both directions."""
    config = layer.get_config()
    for own in (config, config.get("cell")):
        for part in own if isinstance(own, list) else [own]:
            inner = part.get("config", part) if isinstance(part, dict) else {}
            for name in ("name", "seed", "kernel_initializer", "recurrent_initializer"):
                inner.pop(name, None)
    return config


def _time_distributed(options: Options, document: Any, kinds: set[str]) -> Layer:
    layer = _inner(options.take("layer"), options, kinds)
    if getattr(layer, "mask_zero", False):
        raise ValueError("an Embedding with mask_zero=True within it has no counterpart")
    return TimeDistributed(layer, name=options.name)


def _embedding(options: Options, document: Any, kinds: set[str]) -> Layer:
    options.limits(embeddings=None)
    return Embedding(
        options.take("input_dim"),
        options.take("output_dim"),
        **options.initializers("embeddings"),
        **options.penalties("embeddings"),
        mask_zero=options.take("mask_zero", False),
        name=options.name,
    )


def _kernel_arguments(options: Options, axis: Any) -> dict[str, Any]:
    return {
        "activation": options.activation("activation", ACTIVATIONS),
        "use_bias": options.take("use_bias", True),
        **options.initializers("kernel", "bias"),
        **options.penalties("kernel", "bias"),
        **options.limits(kernel=axis, bias=0),
        "name": options.name,
    }


def _dense(options: Options, document: Any, kinds: set[str]) -> Layer:
    return Dense(options.take("units"), **_kernel_arguments(options, 0))


def _convolution(options: Options, document: Any, kinds: set[str]) -> Layer:
    options.only(data_format="channels_last", groups=1)
    return Conv1D(
        options.take("filters"),
        options.single("kernel_size"),
        options.single("strides"),
        options.take("padding", "valid"),
        dilation_rate=options.single("dilation_rate"),
        **_kernel_arguments(options, [0, 1]),
    )


def _window_pooling(kind: Callable[..., Layer]) -> "Maker":
    def make(options: Options, document: Any, kinds: set[str]) -> Layer:
        options.only(data_format="channels_last")
        size, strides = options.single("pool_size"), options.single("strides")
        return kind(size, strides, options.take("padding", "valid"), name=options.name)

    return make


def _global_pooling(kind: Callable[..., Layer]) -> "Maker":
    def make(options: Options, document: Any, kinds: set[str]) -> Layer:
        options.only(data_format="channels_last", keepdims=False)
        return kind(name=options.name)

    return make


def _axis(options: Options, document: Any) -> Any:
    """Return the option axis, with the last axis as -1."""
    axis = options.take("axis", -1)
    axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
    shape = (document.get("build_config") or {}).get("input_shape") or ()
    return -1 if axis == len(shape) - 1 else axis


def _normalization(options: Options, document: Any, kinds: set[str]) -> Layer:
    options.only(rms_scaling=False)
    return LayerNormalization(**_normalizing(options, document))


def _batch_normalization(options: Options, document: Any, kinds: set[str]) -> Layer:
    options.only(synchronized=False, renorm=False)
    options.drop("renorm_clipping", "renorm_momentum")
    return BatchNormalization(
        momentum=options.take("momentum", 0.99),
        **options.initializers("moving_mean", "moving_variance"),
        **_normalizing(options, document),
    )


def _normalizing(options: Options, document: Any) -> dict[str, Any]:
    """Return the arguments that all normalizations with gamma and beta have."""
    axis = _axis(options, document)
    if axis != -1:
        raise ValueError(f"expected axis=-1, got {axis!r}")
    return {
        "epsilon": options.take("epsilon", 1e-3),
        "center": options.take("center", True),
        "scale": options.take("scale", True),
        **options.initializers("beta", "gamma"),
        **options.penalties("beta", "gamma"),
        **options.limits(beta=0, gamma=0),
        "name": options.name,
    }


def _scaling(options: Options, document: Any, kinds: set[str]) -> Layer:
    axis = _axis(options, document)
    return Normalization(
        None if axis in ((), []) else axis,
        options.take("mean"),
        options.take("variance"),
        options.take("invert", False),
        name=options.name,
    )


def _seeded(kind: Callable[..., Layer], size: str) -> "Maker":
    def make(options: Options, document: Any, kinds: set[str]) -> Layer:
        options.only(noise_shape=None)
        return kind(options.take(size), seed=options.seed(), name=options.name)

    return make


def _same(kind: Callable[..., Layer], *names: str) -> "Maker":
    """Make a layer whose arguments `names` are the same in Keras."""

    def make(options: Options, document: Any, kinds: set[str]) -> Layer:
        options.only(data_format="channels_last")
        given = {name: _numbers(options.take(name)) for name in names}
        return kind(**given, name=options.name)

    return make


def _concatenate(options: Options, document: Any, kinds: set[str]) -> Layer:
    return Concatenate(options.take("axis", -1), name=options.name)


def _numbers(value: Any) -> Any:
    """Return an option that may be an array, which Keras writes with its type."""
    if isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
        return class_of(value)[1].get("value")
    return value


def _activation_layer(options: Options, document: Any, kinds: set[str]) -> Layer:
    return Activation(options.activation("activation", ACTIVATIONS), name=options.name)


def _with_alpha(activation: Any, *names: str) -> "Maker":
    """Make an `Activation` whose parameter has one of these names; Keras 2 called it alpha."""

    def make(options: Options, document: Any, kinds: set[str]) -> Layer:
        alpha = next((found for name in names if (found := options.take(name)) is not None), None)
        return Activation(activation, alpha=alpha, name=options.name)

    return make


def _relu(options: Options, document: Any, kinds: set[str]) -> Layer:
    slope, most = options.take("negative_slope", 0.0), options.take("max_value")
    options.only(threshold=0.0)
    if (slope and most is not None) or most not in (None, 6.0):
        raise ValueError(f"expected max_value None, or 6 without a slope, got {most!r}")
    if slope:
        return Activation("leaky_relu", alpha=slope, name=options.name)
    return Activation("relu" if most is None else "relu6", name=options.name)


def _softmax(options: Options, document: Any, kinds: set[str]) -> Layer:
    axis = _axis(options, document)
    if axis != -1:
        raise ValueError(f"expected axis=-1, got {axis!r}")
    return Activation("softmax", name=options.name)


Maker = Callable[[Options, Any, set[str]], Layer]

_MAKERS: dict[str, Maker] = {
    "LSTM": _lstm,
    "LSTMCell": _cell,
    "RNN": _rnn,
    "SimpleRNN": _simple_rnn,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "Embedding": _embedding,
    "Dense": _dense,
    "Conv1D": _convolution,
    "MaxPooling1D": _window_pooling(MaxPooling1D),
    "AveragePooling1D": _window_pooling(AveragePooling1D),
    "GlobalMaxPooling1D": _global_pooling(GlobalMaxPooling1D),
    "GlobalAveragePooling1D": _global_pooling(GlobalAveragePooling1D),
    "LayerNormalization": _normalization,
    "BatchNormalization": _batch_normalization,
    "Normalization": _scaling,
    "Rescaling": _same(Rescaling, "scale", "offset"),
    "Masking": _same(Masking, "mask_value"),
    "Flatten": _same(Flatten),
    "Reshape": _same(Reshape, "target_shape"),
    "Permute": _same(Permute, "dims"),
    "RepeatVector": _same(RepeatVector, "n"),
    "Add": _same(Add),
    "Average": _same(Average),
    "Concatenate": _concatenate,
    "Multiply": _same(Multiply),
    "Subtract": _same(Subtract),
    "Dropout": _seeded(Dropout, "rate"),
    "SpatialDropout1D": _seeded(SpatialDropout1D, "rate"),
    "GaussianNoise": _seeded(GaussianNoise, "stddev"),
    "Activation": _activation_layer,
    "ELU": _with_alpha("elu", "alpha"),
    "LeakyReLU": _with_alpha("leaky_relu", "negative_slope", "alpha"),
    "ReLU": _relu,
    "Softmax": _softmax,
}
