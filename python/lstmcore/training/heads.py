"""Which last layers fit which losses: models that cannot learn are refused before training."""

from collections.abc import Sequence

from lstmcore.layers import (
    CRF,
    Activation,
    AveragePooling1D,
    Conv1D,
    Dense,
    Dropout,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Layer,
    Masking,
    MaxPooling1D,
    RepeatVector,
    SpatialDropout1D,
    TiedDense,
    TimeDistributed,
)
from lstmcore.training.losses import Loss

__all__ = ["check_head", "head_of"]

PROBABILITIES = ("sigmoid", "softmax")

_TRANSPARENT = (
    AveragePooling1D,
    Dropout,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Masking,
    MaxPooling1D,
    RepeatVector,
    SpatialDropout1D,
)
"""Layers that copy or pool the values of the previous layer, which determines the outputs."""


def check_head(loss: Loss, network: Sequence[Layer]) -> None:
    """Raise ValueError if the outputs of a network do not suit `loss`.

    This checks the last layer with its own activation, apart from layers that only copy or pool
    values. Outputs of others, such as an `LSTM`, are checked when they are computed.
    """
    for layer in network:
        for inner in layer._layers_within():
            _check_softmax(inner, f"layer {layer.name!r}")
    _check_chain(loss, network)
    head = head_of(network)
    name, layer = head.name, _innermost(head)
    if not isinstance(layer, (Activation, Dense, Conv1D, TiedDense)):
        return
    kind, where = type(loss).__name__, f"layer {name!r}"
    units, activation = _units(network), layer.last_activation
    if loss.activation is None:
        return
    if loss.activation == "softmax" and units == 1:
        raise ValueError(
            f"{where}: expected a unit for each class with {kind}, got a single one; for two "
            "classes use 2 units, or activation='sigmoid' and loss='binary_crossentropy'"
        )
    if loss.from_logits:
        if activation in PROBABILITIES:
            raise ValueError(
                f"loss: {kind}(from_logits=True) expects logits, but {where} applies {activation} "
                f"already; use activation=None, or from_logits=False after {loss.activation}"
            )
        return
    if activation == loss.activation:
        return
    advice = f"end the model with activation={loss.activation!r}, or use {kind}(from_logits=True)"
    if activation == "softmax":
        advice = (
            "for one of several classes use categorical_crossentropy (or the sparse one for "
            "labels), for several at a time activation='sigmoid'"
        )
    elif activation == "sigmoid":
        advice = (
            "for one of several classes use activation='softmax', for several at a time "
            "loss='binary_crossentropy'"
        )
    raise ValueError(
        f"loss: {kind} expects the probabilities that {loss.activation} returns, but {where} ends "
        f"with activation={activation!r}; {advice}"
    )


def _check_chain(loss: Loss, network: Sequence[Layer]) -> None:
    """Raise ValueError unless a `CRF` is the last layer and has its own loss."""
    for layer in network:
        if layer is not network[-1] and any(
            isinstance(inner, CRF) for inner in layer._layers_within()
        ):
            raise ValueError(f"layer {layer.name!r}: expected a CRF as the last layer of the model")
    last = network[-1]
    if isinstance(last, CRF):
        if loss.activation != last.last_activation:
            raise ValueError(
                f"loss: expected 'crf' for a model that ends with the CRF {last.name!r}, got "
                f"{type(loss).__name__}, which does not see the transitions"
            )
    elif loss.activation == CRF.last_activation:
        raise ValueError(
            "loss: 'crf' expects a model that ends with lstmcore.layers.CRF(tags), behind a "
            f"Dense(tags), got the last layer {last.name!r}, a {type(last).__name__}"
        )
    elif any(isinstance(inner, CRF) for inner in last._layers_within()):
        raise ValueError(
            f"layer {last.name!r}: expected a CRF as a layer of the model itself, got one within "
            f"{type(last).__name__}"
        )


def head_of(network: Sequence[Layer]) -> Layer:
    """Return the layer that determines the outputs: the last that does not just copy or pool."""
    remaining = list(network)
    while len(remaining) > 1 and isinstance(_innermost(remaining[-1]), _TRANSPARENT):
        remaining.pop()
    return remaining[-1]


def _innermost(layer: Layer) -> Layer:
    while isinstance(layer, TimeDistributed):
        layer = layer.layer
    return layer


def _units(network: Sequence[Layer]) -> int | None:
    """Return the width of the last `Dense` or `Conv1D`, if only an `Activation` follows it."""
    remaining = list(network)
    while len(remaining) > 1 and isinstance(head_of(remaining), Activation):
        del remaining[remaining.index(head_of(remaining)) :]
    layer = _innermost(head_of(remaining)) if remaining else None
    if isinstance(layer, (Dense, TiedDense)):
        return layer.units
    return layer.filters if isinstance(layer, Conv1D) else None


def _check_softmax(layer: Layer, where: str) -> None:
    """Raise ValueError if `layer`, at any place of a network, is a softmax over a single unit."""
    if not isinstance(layer, (Dense, Conv1D)):
        return
    if layer.last_activation == "softmax" and _units([layer]) == 1:
        raise ValueError(
            f"{where}: expected several units with softmax, whose shares of a single unit are "
            "always 1, so that nothing is learnt; for two classes use activation='sigmoid', for a "
            "number activation=None"
        )
