"""The correspondence between tensors of PyTorch's modules and weights of layers."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.layers import (
    LSTM,
    Activation,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    LayerNormalization,
    SimpleRNN,
    TimeDistributed,
)
from lstmcore.layers.recurrent import Recurrent


@dataclass(frozen=True)
class Form:
    """How to make a weight from PyTorch's tensors, and PyTorch's tensors from a weight."""

    convert: Callable[[Sequence[Array]], Array]
    undo: Callable[[Array], list[Array]]


_AS_IT_IS = Form(lambda parts: parts[0], lambda weight: [weight])
# Axes in reverse order: (U, C) and (C, U), (F, C, K) and (K, C, F).
_TURNED = Form(lambda parts: parts[0].transpose(), lambda weight: [weight.transpose()])
_SUM = Form(lambda parts: parts[0] + parts[1], lambda weight: [weight, np.zeros_like(weight)])


@dataclass(frozen=True)
class Place:
    """The tensors that a layer's weight is made from."""

    name: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    """The shape of each source."""
    form: Form = _AS_IT_IS


def places_of(layer: Layer) -> list[Place]:
    """List the sources of all weights of a built layer.

    Raises
    ------
    ValueError
        If PyTorch has no such layer, or none with these weights.
    """
    if isinstance(layer, TimeDistributed):
        return places_of(layer.layer)
    shapes = {spec.name: spec.shape for spec in layer.weight_specs()}
    kind = type(layer).__name__
    if isinstance(layer, (Dense, Conv1D)):
        places = [Place("kernel", ("weight",), shapes["kernel"][::-1], _TURNED)]
        if "bias" in shapes:
            places.append(Place("bias", ("bias",), shapes["bias"]))
        return places
    if isinstance(layer, Embedding):
        return [Place("embeddings", ("weight",), shapes["embeddings"])]
    if isinstance(layer, (BatchNormalization, LayerNormalization)):
        if "beta" in shapes and "gamma" not in shapes:
            norm = kind.removesuffix("alization")
            raise ValueError(f"layer {layer.name!r}: PyTorch has no {norm} with a bias alone")
        return [Place(name, (NORMS[name],), shape) for name, shape in shapes.items()]
    if isinstance(layer, Recurrent):
        return _recurrent(layer, shapes)
    raise ValueError(f"layer {layer.name!r}: PyTorch's tensors have no form for a {kind}")


NORMS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""What PyTorch calls the weights of normalizations."""


def _recurrent(layer: Recurrent, shapes: dict[str, tuple[int, ...]]) -> list[Place]:
    known = ("weight_ih_", "weight_hh_", "weight_hr_", "bias_l")
    other = [name for name in shapes if not name.startswith(known)]
    if other:
        raise ValueError(f"layer {layer.name!r}: PyTorch's LSTM has no {', '.join(other)}")
    if layer.share_recurrent:
        raise ValueError(f"layer {layer.name!r}: PyTorch's LSTM has no share_recurrent")
    return [
        Place(name, (name,), shape)
        if name.startswith("weight")
        else Place(name, tuple(name.replace("bias", half) for half in BIASES), shape, _SUM)
        for name, shape in shapes.items()
    ]


BIASES = ("bias_ih", "bias_hh")


def build(module: Any, dtype: str, training: bool) -> Layer:
    """Make a layer like a module, with initial values, for training or inference alone.

    It is built unless it has no weights.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    nn = sys.modules["torch"].nn
    makers: list[tuple[Any, Callable[[Any], tuple[Layer, tuple[int | None, ...]]]]] = [
        (nn.LSTM, _lstm),
        (nn.RNN, _rnn),
        (nn.Linear, _dense),
        (nn.Embedding, _embedding),
        (nn.Conv1d, _convolution),
        (nn.LayerNorm, _normalization),
        (nn.BatchNorm1d, _batch_normalization),
    ]
    for kind, make in makers:
        if computes_as(module, kind):
            if training and kind is nn.Embedding:
                _refuse_gradients(module)
            layer, shape = make(module)
            layer.trainable = _is_trained(module, training)
            layer._build_alone(shape, dtype)
            return layer
    for name, make_plain in _WITHOUT_WEIGHTS.items():
        kind = getattr(nn, name)
        if computes_as(module, kind):
            return make_plain(module)
    names = [*(kind.__name__ for kind, _ in makers), *_WITHOUT_WEIGHTS]
    expected = ", ".join(f"nn.{name}" for name in names)
    raise ValueError(f"module: expected one of {expected}, got {type(module).__name__}")


def computes_as(module: Any, kind: Any) -> bool:
    """Whether a module computes what PyTorch's class `kind` computes.

    So do `lstmcore.torch`'s classes with PyTorch's options alone, but not a class with a forward of
    its own.
    """
    if not isinstance(module, kind):
        return False
    own = type(module)
    if own.__module__.startswith("lstmcore.torch."):
        return not module._beyond_torch()
    return bool(own.forward is kind.forward)


def _is_trained(module: Any, training: bool) -> bool:
    """Return whether the parameters of a module require gradients.

    Raises
    ------
    ValueError
        If some do and some do not, and it matters.
    """
    asked = {name: part.requires_grad for name, part in module.named_parameters()}
    trained = any(asked.values()) or not asked
    if training and trained and not all(asked.values()):
        without = ", ".join(name for name, wanted in asked.items() if not wanted)
        raise ValueError(
            f"module: a layer is trained as a whole, got requires_grad=False for {without} alone; "
            "training=False leaves it out"
        )
    return trained


def _lstm(module: Any) -> tuple[Layer, tuple[int | None, ...]]:
    layer = LSTM(
        module.hidden_size,
        return_sequences=True,
        num_layers=module.num_layers,
        dropout=module.dropout if module.num_layers > 1 else 0.0,
        use_bias=module.bias,
        proj_size=module.proj_size,
    )
    shape = (None, None, module.input_size)
    return (Bidirectional(layer) if module.bidirectional else layer), shape


def _rnn(module: Any) -> tuple[Layer, tuple[int | None, ...]]:
    layer = SimpleRNN(
        module.hidden_size,
        activation=module.nonlinearity,
        return_sequences=True,
        num_layers=module.num_layers,
        dropout=module.dropout if module.num_layers > 1 else 0.0,
        use_bias=module.bias,
    )
    shape = (None, None, module.input_size)
    return (Bidirectional(layer) if module.bidirectional else layer), shape


def _dense(module: Any) -> tuple[Layer, tuple[int | None, ...]]:
    layer = Dense(module.out_features, use_bias=module.bias is not None)
    return layer, (None, None, module.in_features)


def _embedding(module: Any) -> tuple[Layer, tuple[int | None, ...]]:
    refuse(module, max_norm=None)
    return Embedding(module.num_embeddings, module.embedding_dim), (None, None)


def _refuse_gradients(module: Any) -> None:
    """Raise ValueError if an embedding has options that change its gradient."""
    try:
        refuse(module, padding_idx=None, scale_grad_by_freq=False)
    except ValueError as error:
        raise ValueError(
            f"{error}; training=False leaves them out, since they change only gradients"
        ) from None


def _convolution(module: Any) -> tuple[Layer, tuple[int | None, ...]]:
    refuse(module, groups=1, padding_mode="zeros")
    (size,), (stride,), (dilation,) = module.kernel_size, module.stride, module.dilation
    padding: Any = module.padding
    if not isinstance(padding, str):
        (zeros,) = padding
        even = stride == 1 and 2 * zeros == (size - 1) * dilation
        if zeros and not even:
            raise ValueError(
                f"module: Conv1D has no padding of {zeros} zeros on each side; expected none, or "
                "as many as keep the number of steps"
            )
        padding = "same" if zeros else "valid"
    layer = Conv1D(
        module.out_channels,
        size,
        stride,
        padding,
        dilation_rate=dilation,
        use_bias=module.bias is not None,
    )
    return layer, (None, None, module.in_channels)


def _normalization(module: Any) -> tuple[Layer, tuple[int | None, ...]]:
    if len(module.normalized_shape) != 1:
        raise ValueError(
            "module: LayerNormalization is over the last axis alone, got normalized_shape="
            f"{tuple(module.normalized_shape)}"
        )
    layer = LayerNormalization(
        epsilon=module.eps, center=module.bias is not None, scale=module.weight is not None
    )
    return layer, (None, None, *module.normalized_shape)


def _batch_normalization(module: Any) -> tuple[Layer, tuple[int | None, ...]]:
    refuse(module, track_running_stats=True)
    if module.momentum is None:
        raise ValueError("module: BatchNormalization has moving averages, got momentum=None")
    layer = BatchNormalization(
        momentum=1.0 - module.momentum,
        epsilon=module.eps,
        center=module.affine,
        scale=module.affine,
    )
    return layer, (None, None, module.num_features)


def _function(activation: Any, alpha: str | None = None, **expected: Any) -> Callable[[Any], Layer]:
    """Make an `Activation`; `alpha` is the module's name of its parameter."""

    def make(module: Any) -> Layer:
        refuse(module, **expected)
        return Activation(activation, alpha=None if alpha is None else getattr(module, alpha))

    return make


def _softmax(module: Any) -> Layer:
    if module.dim not in (-1, 2):
        raise ValueError(f"module: a softmax here is over the last axis, got dim={module.dim}")
    return Activation("softmax")


def _flatten(module: Any) -> Layer:
    refuse(module, start_dim=1, end_dim=-1)
    return Flatten()


_WITHOUT_WEIGHTS: dict[str, Callable[[Any], Layer]] = {
    "Dropout": lambda module: Dropout(module.p),
    "Flatten": _flatten,
    "ReLU": _function("relu"),
    "Tanh": _function("tanh"),
    "Sigmoid": _function("sigmoid"),
    "Softmax": _softmax,
    "ELU": _function("elu", "alpha"),
    "SELU": _function("selu"),
    "GELU": _function("gelu", approximate="none"),
    "SiLU": _function("silu"),
    "Hardswish": _function("hard_silu"),
    "Softplus": _function("softplus", beta=1, threshold=20),
    "Softsign": _function("softsign"),
    "LeakyReLU": _function("leaky_relu", "negative_slope"),
    "Hardsigmoid": _function("hard_sigmoid"),
    "ReLU6": _function("relu6"),
    "Mish": _function("mish"),
}
"""Modules without weights, whose shapes become known when the layer is first called."""


def refuse(module: Any, **expected: Any) -> None:
    """Raise ValueError unless options of a module have the expected values."""
    other = [
        f"{name}={getattr(module, name)!r}"
        for name, value in expected.items()
        if getattr(module, name) != value
    ]
    if other:
        raise ValueError(
            f"module: no layer does what {type(module).__name__} does with {', '.join(other)}; for "
            "its weights alone, make a layer and use load_torch"
        )
