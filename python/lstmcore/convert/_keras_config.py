"""Keras' configurations of layers, turned into layers."""

from collections.abc import Callable, Mapping
from typing import Any

from lstmcore import constraints, regularizers
from lstmcore.config import Activation
from lstmcore.layers import (
    LSTM,
    RNN,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Layer,
    LayerNormalization,
    LSTMCell,
    MaxPooling1D,
    TimeDistributed,
    initializers,
)
from lstmcore.layers.kernel import ACTIVATIONS

CELL_ACTIVATIONS: dict[str, str | Activation] = {
    "linear": "linear",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "relu": "relu",
    "softsign": "softsign",
    "softplus": "softplus",
    "elu": "elu",
    "leaky_relu": Activation("leaky_relu", 0.2),
    "hard_sigmoid": Activation("hard_sigmoid", 1 / 6, 0.5),
}
"""Keras' activations with the parameters that Keras gives them."""

INSTEAD = {
    "GRU": "only LSTMs are computed",
    "SimpleRNN": "only LSTMs are computed",
    "Masking": "leave it out and pass mask=(x != mask_value).any(axis=-1) to fit and predict",
    "TextVectorization": "take it out of the model, and put lstmcore's before the Embedding",
    "Activation": "give the Dense or Conv1D before it the activation",
    "ReLU": "give the Dense or Conv1D before it activation='relu'",
    "Softmax": "give the Dense before it activation='softmax'",
}


class Options:
    """The configuration of one Keras layer; what is left at the end is refused.

    Parameters
    ----------
    class_name : str
    config : mapping
    training : bool
        Whether what acts while training only must have a counterpart too.
    """

    def __init__(self, class_name: str, config: Mapping[str, Any], training: bool) -> None:
        self.kind, self.training = class_name, training
        self._left = dict(config)
        self.name = str(self._left.pop("name", ""))
        self.dtype = dtype_of(self._left.pop("dtype", None), self.where)
        if not self._left.pop("trainable", True) and training:
            raise ValueError(
                f"{self.where}: trainable=False has no counterpart; set it to True, or pass "
                "training=False"
            )

    @property
    def where(self) -> str:
        """Whose options these are, for errors."""
        return f"{self.kind} {self.name!r}"

    def take(self, name: str, default: Any = None) -> Any:
        """Give an option."""
        return self._left.pop(name, default)

    def only(self, **expected: Any) -> None:
        """Refuse options unless they are as expected, or not there."""
        for name, value in expected.items():
            found = self.take(name, value)
            if found != value:
                raise ValueError(f"{self.where}: expected {name}={value!r}, got {found!r}")

    def drop(self, *names: str) -> None:
        """Leave out options that change no result."""
        for name in names:
            self.take(name)

    def single(self, name: str) -> int:
        """Give a number that may stand in a list."""
        value = self.take(name)
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if type(value) is not int:
            raise ValueError(f"{self.where}: expected {name} to be one number, got {value!r}")
        return value

    def activation(self, name: str, known: Any) -> Any:
        """Give an activation."""
        value = self.take(name, "linear")
        value = "linear" if value is None else value
        if not isinstance(value, str) or value not in known:
            raise ValueError(
                f"{self.where}: expected {name} to be one of {', '.join(known)}, got {_show(value)}"
            )
        return known[value] if isinstance(known, Mapping) else value

    def seed(self) -> int | None:
        """Give the seed, if it is a number."""
        value = self.take("seed")
        return value if type(value) is int else None

    def initializers(self, *names: str) -> dict[str, Any]:
        """Give the initial values that have names; others are history, as they were used."""
        given = {}
        for name in names:
            value = self.take(f"{name}_initializer")
            if isinstance(value, Mapping):
                value = NAMES_OF_CLASSES.get(str(value.get("class_name")))
            if isinstance(value, str) and value in initializers.NAMES:
                given[f"{name}_initializer"] = value
        return given

    def penalties(self, *names: str) -> dict[str, Any]:
        """Give the regularizers of the weights so called."""
        given = {}
        for name in names:
            value = self.take(f"{name}_regularizer")
            if value is None:
                continue
            kind, config = _class_of(value)
            if kind in ("L1", "L2", "L1L2") and not set(config) - {"l1", "l2"}:
                given[f"{name}_regularizer"] = getattr(regularizers, kind)(
                    **{key: float(entry) for key, entry in config.items()}
                )
            elif self.training:
                raise ValueError(
                    f"{self.where}: {name}_regularizer has no counterpart, got {_show(value)}; "
                    "expected L1, L2 or L1L2, or pass training=False"
                )
        self.take("activity_regularizer") if not self.training else self.only(
            activity_regularizer=None
        )
        return given

    def limits(self, **axes: Any) -> dict[str, Any]:
        """Give the constraints of the weights so called, which must be over these axes."""
        given = {}
        for name, axis in axes.items():
            value = self.take(f"{name}_constraint")
            if value is None:
                continue
            kind, config = _class_of(value)
            over = config.get("axis", 0)
            if kind == "MaxNorm" and over in (axis, [axis]) and "max_value" in config:
                given[f"{name}_constraint"] = constraints.MaxNorm(float(config["max_value"]))
            elif self.training:
                raise ValueError(
                    f"{self.where}: {name}_constraint has no counterpart, got {_show(value)}; "
                    f"expected MaxNorm with axis={axis}, or pass training=False"
                )
        return given

    def finish(self) -> None:
        """Refuse what nothing has asked for."""
        other = [f"{name}={_show(value)}" for name, value in self._left.items() if value]
        if other:
            raise ValueError(f"{self.where}: has no counterpart for {', '.join(other)}")


def dtype_of(policy: Any, where: str) -> str | None:
    """Give the element type of a layer's policy; None if it does not say."""
    if isinstance(policy, Mapping):
        policy = policy.get("config", {}).get("name")
    if policy is None or policy in ("float32", "float64"):
        return None if policy is None else str(policy)
    raise ValueError(f"{where}: expected dtype float32 or float64, got {policy!r}")


def layer_of(document: Mapping[str, Any], training: bool) -> tuple[Layer, set[str]]:
    """Make a layer of its configuration, and give the element types that it names.

    Raises
    ------
    ValueError
        If the class, or an option, has no counterpart.
    """
    kind, config = _class_of(document)
    name = str(config.get("name", ""))
    known = document.get("registered_name") in (None, kind)
    if not known or not str(document.get("module") or "keras").startswith("keras"):
        raise ValueError(f"{kind} {name!r}: a class of its own has no counterpart")
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
    return layer, kinds


def _inner(value: Any, options: Options, kinds: set[str]) -> Layer:
    layer, more = layer_of(value, options.training)
    kinds |= more
    return layer


def _cell_arguments(options: Options) -> dict[str, Any]:
    arguments = {
        "units": options.take("units"),
        "activation": options.activation("activation", CELL_ACTIVATIONS),
        "recurrent_activation": options.activation("recurrent_activation", CELL_ACTIVATIONS),
        "use_bias": options.take("use_bias", True),
        "unit_forget_bias": options.take("unit_forget_bias", True),
        "input_dropout": options.take("dropout", 0.0),
        "recurrent_dropout": options.take("recurrent_dropout", 0.0),
        "seed": options.seed(),
        **options.initializers("kernel", "recurrent"),
        **options.penalties("kernel", "recurrent", "bias"),
        **options.limits(kernel=0, recurrent=0, bias=0),
    }
    options.drop("bias_initializer")
    return arguments


def _walk_arguments(options: Options) -> dict[str, Any]:
    # Neither how steps are unrolled nor what stands at padding is part of the function.
    options.drop("unroll", "zero_output_for_mask", "use_cudnn")
    return {
        name: options.take(name, False)
        for name in ("return_sequences", "return_state", "go_backwards", "stateful")
    }


def _lstm(options: Options, document: Any, kinds: set[str]) -> Layer:
    walk = _walk_arguments(options)
    return LSTM(**walk, **_cell_arguments(options), name=options.name)


def _cell(options: Options, document: Any, kinds: set[str]) -> Layer:
    return LSTMCell(**_cell_arguments(options), name=options.name)


def _rnn(options: Options, document: Any, kinds: set[str]) -> Layer:
    value = options.take("cell")
    kind, config = _class_of(value)
    cell: Any
    if kind == "StackedRNNCells":
        stack = Options(kind, config, options.training)
        kinds |= {stack.dtype} if stack.dtype else set()
        cell = [_inner(entry, options, kinds) for entry in stack.take("cells", [])]
        stack.finish()
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
    if mode is None:
        raise ValueError("merge_mode=None has no counterpart, since a layer has one output")
    layer = _inner(ahead, options, kinds)
    if back is not None:
        _, config = _class_of(back)
        if not config.get("go_backwards"):
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
    """Give what must be the same in both directions."""
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


def _max_pooling(options: Options, document: Any, kinds: set[str]) -> Layer:
    options.only(data_format="channels_last")
    size, strides = options.single("pool_size"), options.single("strides")
    return MaxPooling1D(size, strides, options.take("padding", "valid"), name=options.name)


def _global_pooling(kind: Callable[..., Layer]) -> "Maker":
    def make(options: Options, document: Any, kinds: set[str]) -> Layer:
        options.only(data_format="channels_last", keepdims=False)
        return kind(name=options.name)

    return make


def _normalization(options: Options, document: Any, kinds: set[str]) -> Layer:
    options.only(rms_scaling=False)
    axis = options.take("axis", -1)
    axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
    shape = (document.get("build_config") or {}).get("input_shape") or ()
    if axis != -1 and axis != len(shape) - 1:
        raise ValueError(f"expected axis=-1, got {axis!r}")
    return LayerNormalization(
        epsilon=options.take("epsilon", 1e-3),
        center=options.take("center", True),
        scale=options.take("scale", True),
        **options.initializers("beta", "gamma"),
        **options.penalties("beta", "gamma"),
        **options.limits(beta=0, gamma=0),
        name=options.name,
    )


def _dropout(options: Options, document: Any, kinds: set[str]) -> Layer:
    options.only(noise_shape=None)
    return Dropout(options.take("rate"), seed=options.seed(), name=options.name)


Maker = Callable[[Options, Any, set[str]], Layer]

_MAKERS: dict[str, Maker] = {
    "LSTM": _lstm,
    "LSTMCell": _cell,
    "RNN": _rnn,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "Embedding": _embedding,
    "Dense": _dense,
    "Conv1D": _convolution,
    "MaxPooling1D": _max_pooling,
    "GlobalMaxPooling1D": _global_pooling(GlobalMaxPooling1D),
    "GlobalAveragePooling1D": _global_pooling(GlobalAveragePooling1D),
    "LayerNormalization": _normalization,
    "Dropout": _dropout,
}

NAMES_OF_CLASSES = {
    "GlorotNormal": "glorot_normal",
    "GlorotUniform": "glorot_uniform",
    "HeNormal": "he_normal",
    "HeUniform": "he_uniform",
    "LecunNormal": "lecun_normal",
    "LecunUniform": "lecun_uniform",
    "Orthogonal": "orthogonal",
    "RandomNormal": "random_normal",
    "RandomUniform": "random_uniform",
    "TruncatedNormal": "truncated_normal",
    "Zeros": "zeros",
    "Ones": "ones",
}


def _class_of(value: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(value, Mapping) and isinstance(value.get("config"), Mapping):
        return str(value.get("class_name")), dict(value["config"])
    raise ValueError(f"expected the configuration of a Keras object, got {_show(value)}")


def _show(value: Any) -> str:
    if isinstance(value, Mapping) and "class_name" in value:
        return str(value["class_name"])
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
