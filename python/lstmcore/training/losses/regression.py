"""Losses of numbers: each output estimates the target at the same position."""

import math

import numpy as np

from lstmcore import _checks, _core
from lstmcore._typing import Array
from lstmcore.training.losses.base import Elementwise, Loss

__all__ = ["Huber", "LogCosh", "MeanAbsoluteError", "MeanSquaredError", "Poisson"]


class MeanSquaredError(Loss):
    """Mean over the outputs of ``(output - target)**2``."""

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        return _core.mean_squared_error(outputs, targets, weights, scale, need_gradient)


class MeanAbsoluteError(Elementwise):
    """Mean over the outputs of ``abs(output - target)``; its gradient at 0 is 0."""

    def elements(
        self, targets: Array, outputs: Array, need_gradient: bool
    ) -> tuple[Array, Array | None]:
        """See `Elementwise.elements`."""
        differences = outputs - targets
        return np.abs(differences), np.sign(differences) if need_gradient else None


class Huber(Elementwise):
    """Mean of a function of the differences: half the square of small ones, linear in large ones.

    With ``d = abs(output - target)`` (Huber 1964): ``d**2 / 2`` up to `delta`, and
    ``delta * (d - delta / 2)`` beyond.

    Parameters
    ----------
    delta : float, default 1.0
        Where large differences begin; above 0.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = _checks.real(delta, "delta", 0.0, low_open=True)

    def elements(
        self, targets: Array, outputs: Array, need_gradient: bool
    ) -> tuple[Array, Array | None]:
        """See `Elementwise.elements`."""
        differences = outputs - targets
        slopes = np.clip(differences, -self.delta, self.delta)
        # delta * |d| - delta**2 / 2 beyond, d**2 / 2 before.
        return slopes * (differences - 0.5 * slopes), slopes if need_gradient else None


class LogCosh(Elementwise):
    """Mean over the outputs of ``log(cosh(output - target))``.

    Like half the square for small differences and like the absolute value minus log 2 for large
    ones, and smooth everywhere.
    """

    def elements(
        self, targets: Array, outputs: Array, need_gradient: bool
    ) -> tuple[Array, Array | None]:
        """See `Elementwise.elements`."""
        differences = outputs - targets
        sizes = np.abs(differences)
        # cosh overflows where d is large; |d| - log 2 cancels where it is small.
        near = np.log1p(2 * np.sinh(np.minimum(sizes, 1) / 2) ** 2)
        far = sizes - math.log(2) + np.log1p(np.exp(-2 * sizes))
        losses = np.where(sizes < 1, near, far)
        return losses, np.tanh(differences) if need_gradient else None


class Poisson(Elementwise):
    """Mean over the outputs of ``rate - target * log(rate)``, for counts as targets.

    The negative log-likelihood of a Poisson distribution, without ``log(target!)``, which does
    not depend on the weights.

    Parameters
    ----------
    log_rate : bool, default False
        Whether the outputs are logarithms of the rates, which may be any numbers, as a last layer
        without activation makes them. With False they are the rates themselves, at least 0, and
        1e-7 is added within the logarithm, as in Keras.
    """

    def __init__(self, log_rate: bool = False) -> None:
        self.log_rate = _checks.flag(log_rate, "log_rate")

    def elements(
        self, targets: Array, outputs: Array, need_gradient: bool
    ) -> tuple[Array, Array | None]:
        """See `Elementwise.elements`."""
        if self.log_rate:
            rates = np.exp(outputs)
            return rates - targets * outputs, rates - targets if need_gradient else None
        if (outputs < 0).any():
            raise ValueError(
                "loss: Poisson expects outputs of at least 0, which are rates, got "
                f"{outputs.min():g}; use Poisson(log_rate=True), after a last layer without "
                "activation"
            )
        moved = outputs + 1e-7
        losses = outputs - targets * np.log(moved)
        return losses, 1 - targets / moved if need_gradient else None

    def predictions(self, outputs: Array) -> Array:
        """Return the rates."""
        return np.asarray(np.exp(outputs)) if self.log_rate else outputs

    def check_targets(self, targets: Array, name: str) -> None:
        """Raise ValueError if a target is negative."""
        if targets.size and targets.min() < 0:
            raise ValueError(
                f"{name}: Poisson expects counts, at least 0, as targets, got {targets.min()}"
            )
