"""Which last layers go with which losses: what cannot learn is refused before it trains."""

from lstmcore.layers import Conv1D, Dense, Layer, TimeDistributed
from lstmcore.training.losses import Loss

__all__ = ["check_head"]

PROBABILITIES = ("sigmoid", "softmax")


def check_head(loss: Loss, layer: Layer) -> None:
    """Raise ValueError if the outputs of `layer`, the last one, are not what `loss` is about.

    Only layers with an activation of their own are looked at; behind others, such as pooling,
    outputs show what they are when they are computed.
    """
    name, kind = layer.name, type(loss).__name__
    while isinstance(layer, TimeDistributed):
        layer = layer.layer
    if not isinstance(layer, (Dense, Conv1D)):
        return
    units = layer.units if isinstance(layer, Dense) else layer.filters
    activation = layer.last_activation
    where = f"layer {name!r}"
    if activation == "softmax" and units == 1:
        raise ValueError(
            f"{where}: expected several units with softmax, whose shares of a single unit are "
            "always 1, so that nothing is learnt; for two classes use activation='sigmoid', for a "
            "number activation=None"
        )
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
                f"already; use activation=None, or from_logits=False behind {loss.activation}"
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
        f"loss: {kind} expects the probabilities that {loss.activation} makes, but {where} ends "
        f"with activation={activation!r}; {advice}"
    )
