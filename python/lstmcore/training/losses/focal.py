"""Focal losses: cross-entropies that count examples less, the better they are predicted already.

Formulas: Lin, Goyal, Girshick, He & Dollar, "Focal Loss for Dense Object Detection" (2017), with
the options of Keras' classes of the same names.
"""

from collections.abc import Sequence

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.training.losses.base import (
    Elementwise,
    by_row,
    clip_probabilities,
    sigmoid,
    softplus,
    weighted_sum,
)
from lstmcore.training.losses.crossentropy import BinaryCrossentropy, Probabilistic, one_hot

__all__ = [
    "BinaryFocalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalFocalCrossentropy",
]


class BinaryFocalCrossentropy(Probabilistic, Elementwise):
    """Mean over the outputs of ``(1 - p_t)**gamma * crossentropy``, p_t the target's probability.

    ``p_t = y p + (1 - y) (1 - p)``, and the cross-entropy is that of `BinaryCrossentropy`.

    Parameters
    ----------
    apply_class_balancing : bool, default False
        Whether targets of 1 also have the weight `alpha`, and those of 0 ``1 - alpha``.
    alpha : float in [0, 1], default 0.25
        Weight of the class 1.
    gamma : float, default 2.0
        At least 0; the larger, the less do well predicted examples count. 0: all count fully.
    from_logits, label_smoothing
        As in `BinaryCrossentropy`.
    """

    activation = "sigmoid"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        *,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(from_logits, label_smoothing=label_smoothing)
        self.apply_class_balancing = _checks.flag(apply_class_balancing, "apply_class_balancing")
        self.alpha = _checks.real(alpha, "alpha", 0.0, 1.0)
        self.gamma = _checks.real(gamma, "gamma", 0.0)

    check_targets = BinaryCrossentropy.check_targets

    def elements(
        self, targets: Array, outputs: Array, need_gradient: bool
    ) -> tuple[Array, Array | None]:
        """See `Elementwise.elements`."""
        y = self.smoothed(targets)
        if self.from_logits:
            p, q = sigmoid(outputs), sigmoid(-outputs)
            entropies, slopes = softplus(outputs) - outputs * y, p - y
            change = p * q  # of p with the output
        else:
            p, free = clip_probabilities(self, outputs)
            q = 1 - p
            entropies, slopes = -(y * np.log(p) + (1 - y) * np.log(q)), (p - y) / (p * q)
            change = free.astype(outputs.dtype)
            slopes = slopes * change
        missed = y * q + (1 - y) * p  # 1 - p_t, without its cancellation
        factor = missed**self.gamma
        balance = y * self.alpha + (1 - y) * (1 - self.alpha) if self.apply_class_balancing else 1.0
        losses = balance * factor * entropies
        if not need_gradient:
            return losses, None
        fall = self.gamma * _power(missed, self.gamma - 1) * (1 - 2 * y) * change
        return losses, balance * (factor * slopes + fall * entropies)


class CategoricalFocalCrossentropy(Probabilistic):
    """``-sum(alpha * (1 - p)**gamma * y * log p)`` over the outputs; targets are distributions.

    Parameters
    ----------
    alpha : float or sequence of float, default 0.25
        Weight of all classes, or of each.
    gamma : float, default 2.0
        At least 0; the larger, the less do well predicted examples count. 0: all count fully.
    from_logits, label_smoothing
        As in `CategoricalCrossentropy`.
    """

    activation = "softmax"

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        *,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(from_logits, label_smoothing=label_smoothing)
        self.alpha: float | list[float]
        if isinstance(alpha, (list, tuple, np.ndarray)):
            self.alpha = [_checks.real(entry, "alpha", 0.0) for entry in alpha]
        else:
            self.alpha = _checks.real(alpha, "alpha", 0.0)
        self.gamma = _checks.real(gamma, "gamma", 0.0)

    def target_width(self, units: int) -> int:
        """See `Loss.target_width`."""
        if isinstance(self.alpha, list) and len(self.alpha) != units:
            raise ValueError(
                f"alpha: expected a weight for each of the {units} classes, got {len(self.alpha)}"
            )
        return units

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        self.target_width(outputs.shape[-1])
        weighed = self.smoothed(targets) * np.asarray(self.alpha, outputs.dtype)
        if self.from_logits:
            shifted = outputs - outputs.max(axis=-1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
            p, free = np.exp(log_p), None
        else:
            p, free = clip_probabilities(self, outputs)
            log_p = np.log(p)
        missed = -np.expm1(log_p)
        factor = missed**self.gamma
        value = weighted_sum(-(weighed * factor * log_p).sum(axis=-1), weights)
        if not need_gradient:
            return value, None
        # With respect to log p, which the factor depends on, too.
        slopes = -weighed * (factor - self.gamma * _power(missed, self.gamma - 1) * p * log_p)
        if free is None:
            gradient = slopes - p * slopes.sum(axis=-1, keepdims=True)
        else:
            gradient = np.where(free, slopes / p, 0)
        return value, by_row(np.asarray(gradient * scale, outputs.dtype), weights)


class SparseCategoricalFocalCrossentropy(CategoricalFocalCrossentropy):
    """``-alpha * (1 - p[label])**gamma * log p[label]``; targets are class numbers.

    Parameters
    ----------
    alpha, gamma, from_logits, label_smoothing
        As in `CategoricalFocalCrossentropy`.
    """

    labels = True

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        distributions = one_hot(targets, outputs, weights)
        return super().sum(distributions, outputs, weights, scale, need_gradient)


def _power(base: Array, exponent: float) -> Array:
    """Return ``base**exponent`` for a base of at least 0, and 0 in place of its infinities.

    They occur where p_t is 1, and are multiplied by a factor that falls to 0 faster.
    """
    if exponent >= 0:
        return np.asarray(base**exponent)
    return np.where(base > 0, np.where(base > 0, base, 1) ** exponent, 0)
