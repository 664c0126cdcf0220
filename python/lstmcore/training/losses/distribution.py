"""Losses whose outputs describe a distribution of the target: quantiles, or mean and variance."""

import math
from collections.abc import Sequence

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._typing import Array, VarianceForm, choices
from lstmcore.training.losses.base import Loss, by_row, sigmoid, softplus, weighted_sum

__all__ = ["GaussianNLL", "Quantile"]


class Quantile(Loss):
    """Pinball loss, minimized by quantiles of the target (Koenker & Bassett 1978).

    For the quantile q and ``e = target - output``: ``q * e`` where e is positive, ``(q - 1) * e``
    where it is negative; mean over targets and quantiles. The gradient at 0 is 0.

    Parameters
    ----------
    quantiles : float or sequence of float, default 0.5
        One or several different numbers between 0 and 1. With Q of them and K targets a row has
        U = K * Q outputs, first all quantiles of the first target, in this order. The quantile
        nearest to 0.5 is the prediction that metrics see.
    """

    def __init__(self, quantiles: float | Sequence[float] = 0.5) -> None:
        several = isinstance(quantiles, (list, tuple, np.ndarray))
        entries = list(quantiles) if several else [quantiles]  # type: ignore[arg-type]
        found = [
            _checks.real(entry, "quantiles", 0.0, 1.0, low_open=True, high_open=True)
            for entry in entries
        ]
        if not found or len(set(found)) < len(found):
            raise ValueError(f"quantiles: expected different numbers, got {quantiles!r}")
        self.quantiles: float | list[float] = found if several else found[0]
        self._quantiles = found

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        levels = np.asarray(self._quantiles, outputs.dtype)
        missing = targets[:, :, None] - outputs.reshape(*targets.shape, len(levels))
        slopes = np.where(missing > 0, levels, levels - 1)
        value = weighted_sum((slopes * missing).mean(axis=(1, 2)), weights)
        if not need_gradient:
            return value, None
        share = outputs.dtype.type(-scale / outputs.shape[-1])
        gradient = np.where(missing == 0, 0, slopes * share).reshape(outputs.shape)
        return value, by_row(np.asarray(gradient, outputs.dtype), weights)

    def target_width(self, units: int) -> int:
        """See `Loss.target_width`."""
        count = len(self._quantiles)
        if units % count:
            raise ValueError(
                f"loss: Quantile with {count} quantiles expects {count} outputs for each target, "
                f"{count} or a multiple of it, got {units}"
            )
        return units // count

    def predictions(self, outputs: Array) -> Array:
        """Return, for each target, the quantile nearest to 0.5."""
        middle = int(np.argmin(np.abs(np.asarray(self._quantiles) - 0.5)))
        return outputs[..., middle :: len(self._quantiles)]

    def estimates(self, outputs: Array, mean: float = 0.0, scale: float = 1.0) -> dict[str, Array]:
        """Return each quantile, as "quantile_0.9" and so on; see `Loss.estimates`."""
        count = len(self._quantiles)
        return {
            f"quantile_{level:g}": np.asarray(outputs[..., place::count] * scale + mean)
            for place, level in enumerate(self._quantiles)
        }


class GaussianNLL(Loss):
    """Negative log-likelihood of a normal distribution, whose mean and variance are the outputs.

    Mean over the targets of ``(log(v) + (target - m)**2 / v) / 2`` (Nix & Weigend 1994). For K
    targets a row has U = 2 K outputs: the K means m, then for each of them the number from which
    the variance v is computed. Means are the predictions that metrics see; `mean_and_variance`
    splits a model's outputs into the two.

    Parameters
    ----------
    variance : {"softplus", "log"}, default "softplus"
        The variance as a function of an output s, any number: ``log(1 + exp(s))`` or ``exp(s)``.
    smallest : float, default 1e-6
        Added to every variance, as a lower bound; above 0.
    full : bool, default False
        Whether the constant ``log(2 pi) / 2`` is part of the loss.
    """

    def __init__(
        self, variance: VarianceForm = "softplus", smallest: float = 1e-6, full: bool = False
    ) -> None:
        self.variance = _checks.choice(variance, "variance", choices(VarianceForm))
        self.smallest = _checks.real(smallest, "smallest", 0.0, low_open=True)
        self.full = _checks.flag(full, "full")

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        count = targets.shape[1]
        differences, raw = outputs[:, :count] - targets, outputs[:, count:]
        log_variances, slopes = self._log_variances(raw)
        # Dividing by the variance as it is would overflow where exp(raw) does.
        scaled = differences * np.exp(-0.5 * log_variances)
        losses = 0.5 * (log_variances + scaled**2)
        if self.full:
            losses = losses + 0.5 * math.log(2 * math.pi)
        value = weighted_sum(losses.mean(axis=-1), weights)
        if not need_gradient:
            return value, None
        of_means = scaled * np.exp(-0.5 * log_variances)
        of_raw = 0.5 * slopes * (1 - scaled**2)
        gradient = np.concatenate([of_means, of_raw], axis=1) * (scale / count)
        return value, by_row(np.asarray(gradient, outputs.dtype), weights)

    def _log_variances(self, raw: Array) -> tuple[Array, Array]:
        """Return log v, and its derivative with respect to `raw`."""
        if self.variance == "log":
            floor = math.log(self.smallest)
            return np.logaddexp(raw, raw.dtype.type(floor)), sigmoid(raw - floor)
        variances = softplus(raw) + self.smallest
        return np.log(variances), sigmoid(raw) / variances

    def mean_and_variance(self, outputs: Array) -> tuple[Array, Array]:
        """Split a model's outputs into means and variances.

        Parameters
        ----------
        outputs : ndarray, shape (..., 2 K)

        Returns
        -------
        mean, variance : ndarray, shape (..., K)
        """
        outputs = Intake(check_finite=False).floats(outputs, "outputs", None)
        count = self.target_width(outputs.shape[-1])
        log_variances, _ = self._log_variances(outputs[..., count:])
        return outputs[..., :count], np.asarray(np.exp(log_variances))

    def target_width(self, units: int) -> int:
        """See `Loss.target_width`."""
        if units % 2:
            raise ValueError(
                "loss: GaussianNLL expects two outputs for each target, for its mean and "
                f"variance, got {units}"
            )
        return units // 2

    def predictions(self, outputs: Array) -> Array:
        """Return the means."""
        return outputs[..., : outputs.shape[-1] // 2]

    def estimates(self, outputs: Array, mean: float = 0.0, scale: float = 1.0) -> dict[str, Array]:
        """Return "mean" and "standard_deviation"; see `Loss.estimates`."""
        means, variances = self.mean_and_variance(outputs)
        return {
            "mean": np.asarray(means * scale + mean),
            "standard_deviation": np.asarray(np.sqrt(variances) * abs(scale)),
        }
