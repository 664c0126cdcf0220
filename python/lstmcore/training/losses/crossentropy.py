"""The cross-entropies: losses about probabilities."""

from typing import Any

import numpy as np

from lstmcore import _checks, _core
from lstmcore._intake import Where, first_place, written
from lstmcore._typing import Array
from lstmcore.training.losses.base import (
    Loss,
    by_row,
    clip_probabilities,
    sigmoid,
    weighted_sum,
)

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Probabilistic",
    "SparseCategoricalCrossentropy",
    "check_labels",
    "no_distributions",
    "one_hot",
    "show_row",
]

SUM_TOLERANCE = 1e-3
"""How far the sum of a target's shares may be from 1: float16 stores each to 5e-4 of its size."""

SHOWN = 6  # entries of a target in an error


class Probabilistic(Loss):
    """Base of the losses about probabilities: they take these or logits, and may smooth labels."""

    _left_out_if_none = ("label_smoothing",)  # files from before there was one

    def __init__(self, from_logits: bool = False, *, label_smoothing: float = 0.0) -> None:
        self.from_logits = _checks.flag(from_logits, "from_logits")
        self.label_smoothing = _checks.real(
            label_smoothing, "label_smoothing", 0.0, 1.0, high_open=True
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal loss, without a smoothing of 0."""
        config = super().get_config()
        if not config["label_smoothing"]:
            del config["label_smoothing"]
        return config

    def wrong_rows(self, targets: Array) -> Array | None:
        """Return which rows are not distributions, if those are the targets; see `Loss`."""
        if self.labels or self.activation != "softmax":
            return None
        return no_distributions(targets)

    def refuse_rows(
        self, targets: Array, wrong: Array, name: str, where: Where | None = None
    ) -> None:
        """Raise ValueError if a row is not a distribution; see `Loss`."""
        if not wrong.any():
            return
        index = first_place(wrong)
        row = targets[index]
        raise ValueError(
            f"{name}{(where or written)(index)}: {type(self).__name__} expects a share of at least "
            f"0 for each class, together 1, got {show_row(row)} with the sum {row.sum():g}; for "
            "several classes at a time use activation='sigmoid' and loss='binary_crossentropy', "
            "for numbers activation=None and loss='mse'; a row of sample_weight 0 may hold anything"
        )

    def smoothed(self, targets: Array) -> Array:
        """Mix targets (M, U) with the uniform distribution.

        Its shares are 1/2 for a loss after a sigmoid, and 1/U for one after a softmax.
        """
        if not self.label_smoothing:
            return targets
        nothing = 0.5 if self.activation == "sigmoid" else 1.0 / targets.shape[-1]
        mixed = targets * (1.0 - self.label_smoothing) + self.label_smoothing * nothing
        return np.asarray(mixed, targets.dtype)


class SparseCategoricalCrossentropy(Probabilistic):
    """``-log p[label]``; targets are class numbers.

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with softmax,
        loss and activation are computed together from logits anyway.
    label_smoothing : float in [0, 1), default 0.0
        Share e of the label's probability that is spread evenly over all U classes: the loss is
        that of the distribution ``(1 - e) * one_hot(label) + e / U`` (Szegedy et al. 2016).
    """

    labels = True
    activation = "softmax"

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        if self.label_smoothing:
            distribution = self.smoothed(one_hot(targets, outputs, weights))
            same = CategoricalCrossentropy(self.from_logits)
            return same.sum(distribution, outputs, weights, scale, need_gradient)
        if self.from_logits:
            return _core.softmax_cross_entropy(outputs, targets, weights, scale, need_gradient)
        counted = check_labels(targets, outputs, weights)
        rows = np.arange(len(outputs))
        clipped, free = clip_probabilities(self, outputs[rows, counted])
        value = weighted_sum(-np.log(clipped), weights)
        if not need_gradient:
            return value, None
        gradient = np.zeros_like(outputs)
        gradient[rows, counted] = np.where(free, -scale / clipped, 0)
        return value, by_row(gradient, weights)


class CategoricalCrossentropy(Probabilistic):
    """``-sum(y * log p)`` over the outputs; targets are distributions, which sum to 1.

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with softmax,
        loss and activation are computed together from logits anyway.
    label_smoothing : float in [0, 1), default 0.0
        The targets become ``(1 - label_smoothing) * y + label_smoothing / U``.
    """

    activation = "softmax"

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        targets = self.smoothed(targets)
        if self.from_logits:
            return _core.softmax_cross_entropy(outputs, targets, weights, scale, need_gradient)
        clipped, free = clip_probabilities(self, outputs)
        value = weighted_sum(-(targets * np.log(clipped)).sum(axis=-1), weights)
        if not need_gradient:
            return value, None
        gradient = np.where(free, -scale * targets / clipped, 0).astype(outputs.dtype)
        return value, by_row(gradient, weights)


class BinaryCrossentropy(Probabilistic):
    """Mean over the outputs of ``-y log p - (1 - y) log(1 - p)``; targets are in [0, 1].

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with sigmoid,
        loss and activation are computed together from logits anyway.
    label_smoothing : float in [0, 1), default 0.0
        The targets become ``(1 - label_smoothing) * y + label_smoothing / 2``.
    """

    activation = "sigmoid"

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        targets = self.smoothed(targets)
        share = scale / outputs.shape[-1]
        if self.from_logits:
            # log(1 + exp(z)) - y z, without overflow.
            losses = np.maximum(outputs, 0) - outputs * targets + np.log1p(np.exp(-abs(outputs)))
            value = weighted_sum(losses.mean(axis=-1), weights)
            if not need_gradient:
                return value, None
            return value, by_row((sigmoid(outputs) - targets) * outputs.dtype.type(share), weights)
        p, free = clip_probabilities(self, outputs)
        losses = -(targets * np.log(p) + (1 - targets) * np.log(1 - p))
        value = weighted_sum(losses.mean(axis=-1), weights)
        if not need_gradient:
            return value, None
        gradient = np.where(free, share * (p - targets) / (p * (1 - p)), 0).astype(outputs.dtype)
        return value, by_row(gradient, weights)

    def check_targets(self, targets: Array, name: str) -> None:
        """Raise ValueError unless all targets are in [0, 1]."""
        if targets.size and (targets.min() < 0 or targets.max() > 1):
            raise ValueError(
                f"{name}: {type(self).__name__} expects targets in [0, 1], "
                f"got {targets.min()} to {targets.max()}"
            )


def no_distributions(targets: Array) -> Array | None:
    """Return which rows (...) of targets (..., K) do not consist of shares >= 0 with the sum 1.

    None: all of them do.
    """
    wrong = np.abs(targets.sum(axis=-1) - 1) > SUM_TOLERANCE
    if targets.size and targets.min() < 0:
        wrong |= (targets < 0).any(axis=-1)
    return wrong if wrong.any() else None


def show_row(row: Array) -> str:
    """Write the beginning of a row of targets, for an error."""
    shown = ", ".join(f"{value:g}" for value in row[:SHOWN])
    return f"[{shown}{', ...' if len(row) > SHOWN else ''}]"


def check_labels(labels: Array, outputs: Array, weights: Array | None) -> Array:
    """Return labels (M,) with 0 for rows of weight 0, which may hold anything.

    Raises
    ------
    ValueError
        If a row that counts has a label that is not a class of the outputs (M, U).
    """
    classes = outputs.shape[-1]
    counted = labels if weights is None else np.where(weights == 0, 0, labels)
    if counted.size and (counted.min() < 0 or counted.max() >= classes):
        raise ValueError(f"y: expected labels in 0..{classes - 1}")
    return counted


def one_hot(labels: Array, outputs: Array, weights: Array | None) -> Array:
    """Return labels (M,) as distributions of the outputs' shape (M, U) and type."""
    hot = np.zeros_like(outputs)
    hot[np.arange(len(outputs)), check_labels(labels, outputs, weights)] = 1
    return hot
