"""The losses of a forecaster, of which two describe the distribution of each value."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.sklearn.regressor import LOSSES
from lstmcore.sklearn.regressor import constant_loss as constant_regression_loss
from lstmcore.training import losses
from lstmcore.training.losses import LossLike

if TYPE_CHECKING:
    from lstmcore.sklearn.windows import WindowEstimator

__all__ = [
    "check_levels",
    "constant_loss",
    "describes",
    "interval_levels",
    "loss_of",
    "scaled_quantiles",
    "with_changes_summed",
]


def describes(loss: str) -> bool:
    """Return whether a model with this loss learns distributions rather than values."""
    return loss in ("quantile", "gaussian")


def loss_of(forecaster: "WindowEstimator") -> tuple[LossLike, int]:
    """Return the loss that a forecaster is compiled with, and its number of outputs per target."""
    if forecaster.loss == "quantile":
        return losses.Quantile(list(forecaster.quantiles)), len(forecaster.quantiles)
    if forecaster.loss == "gaussian":
        return losses.GaussianNLL(), 2
    return LOSSES[forecaster.loss], 1


def constant_loss(forecaster: "WindowEstimator", targets: Array) -> float:
    """Return the lowest loss of outputs that are the same for all windows; targets are (M, K)."""
    if forecaster.loss == "quantile":
        levels = np.asarray(forecaster.quantiles, np.float64)
        errors = targets[..., None] - np.moveaxis(np.quantile(targets, levels, axis=0), 0, -1)
        return float(np.maximum(levels * errors, (levels - 1) * errors).mean())
    if forecaster.loss == "gaussian":
        variances = targets.astype(np.float64).var(axis=0) + losses.GaussianNLL().smallest
        return float(np.mean(np.log(variances) + 1) / 2)
    return constant_regression_loss(forecaster.loss, targets, None)


def with_changes_summed(values: Array, window: int, lag: int) -> Array:
    """Return windows in which the targets are changes since the last values known.

    A model that learns distributions cannot learn those of the changes from step to step: the
    quantile of a sum is not the sum of quantiles. So beyond the first `lag` steps, the target of a
    step is the sum of the changes that lead to it.

    Parameters
    ----------
    values : ndarray, shape (M, window + steps, K)
        Differences with this lag; 0: the values themselves, which are returned unchanged.
    """
    size = values.shape[1]
    if not lag or size - window <= lag:
        return values
    summed = values.copy()
    for step in range(window + lag, size):
        summed[:, step] += summed[:, step - lag]
    return summed


def check_levels(forecaster: "WindowEstimator", levels: Sequence[float] | None) -> list[float]:
    """Check the levels for `predict_quantiles`; None stands for the forecaster's."""
    if not describes(forecaster.loss):
        raise ValueError(
            "predict_quantiles: expected a forecaster with loss='quantile' or loss='gaussian', got "
            f"loss={forecaster.loss!r}; predict_interval serves any loss after calibrate(y)"
        )
    if levels is None:
        return list(forecaster.quantiles)
    if np.ndim(levels) != 1 or not len(levels):
        raise ValueError(f"quantiles: expected a sequence of levels, got {levels!r}")
    found = [
        _checks.real(level, "quantiles", 0.0, 1.0, low_open=True, high_open=True)
        for level in levels
    ]
    trained = list(forecaster.quantiles)
    missing = [level for level in found if not np.isclose(level, trained, atol=1e-9).any()]
    if forecaster.loss == "quantile" and missing:
        raise ValueError(
            f"quantiles: expected some of {', '.join(map(str, trained))}, which the model was "
            f"trained for, got {missing[0]:g}; set quantiles before fit, or use loss='gaussian'"
        )
    return found


def interval_levels(coverage: float) -> list[float]:
    """Return the two quantiles that leave out equal shares on both sides of an interval."""
    return [round((1 + side * coverage) / 2, 12) for side in (-1, 1)]  # 0.05, not 0.05 + 1e-17


def scaled_quantiles(
    forecaster: "WindowEstimator", outputs: Array, levels: Sequence[float]
) -> Array:
    """Return the quantiles that outputs describe, in scaled units.

    Parameters
    ----------
    forecaster : LSTMForecaster
    outputs : ndarray, shape (M, U) or (M, steps, U)
    levels : sequence of float
        Q levels, as `check_levels` returns them.

    Returns
    -------
    ndarray of float64, shape (M, steps, K, Q)
    """
    shape = (len(outputs), forecaster.steps_, forecaster.n_targets_)
    if forecaster.loss == "gaussian":
        pair: Any = losses.GaussianNLL().mean_and_variance(outputs)
        mean, variance = (part.reshape(*shape, 1).astype(np.float64) for part in pair)
        return np.asarray(mean + np.sqrt(variance) * norm.ppf(levels))
    trained = np.asarray(forecaster.quantiles, np.float64)
    columns = outputs.reshape(*shape, len(trained)).astype(np.float64)
    ranked = np.sort(columns, axis=-1)
    order = np.argsort(np.argsort(trained))  # the place of each trained level among them
    wanted = [int(order[np.abs(trained - level).argmin()]) for level in levels]
    return np.asarray(ranked[..., wanted])
