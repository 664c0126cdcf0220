"""The coefficient of determination."""

import math
import warnings
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.training.metrics.base import Metric, counted_rows

__all__ = ["R2"]


class R2(Metric):
    """Coefficient of determination: 1 minus squared error divided by the targets' variance.

    The mean over outputs, as scikit-learn's `r2_score`: 1 is perfect, 0 is as good as the mean of
    the targets. If all targets of an output are equal, it is 1 if they are predicted exactly, else
    0. For fewer than two rows it is not defined: NaN, with a RuntimeWarning.

    Parameters
    ----------
    name : str, optional
        See `Metric`.
    """

    running = False
    greater_is_better = True
    default_name = "r2"

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._rows, self._weight = 0, 0.0
        self._mean = self._spread = self._error = np.zeros(1)
        self._lowest, self._highest = np.array([np.inf]), np.array([-np.inf])

    def accumulate(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """See `Metric.accumulate`."""
        targets, outputs, weights = counted_rows(targets, outputs, weights)
        if not len(targets):
            return
        y = targets.astype(np.float64)
        factors = (np.ones(len(y)) if weights is None else weights.astype(np.float64))[:, None]
        weight = float(factors.sum())
        mean = (factors * y).sum(axis=0) / weight
        spread = (factors * (y - mean) ** 2).sum(axis=0)
        error = (factors * (y - outputs) ** 2).sum(axis=0)
        self._join(len(y), weight, mean, spread, error, y.min(axis=0), y.max(axis=0))

    def _join(
        self,
        rows: int,
        weight: float,
        mean: Array,
        spread: Array,
        error: Array,
        lowest: Array,
        highest: Array,
    ) -> None:
        """Add the figures of more rows.

        Variances of parts join without the cancellation of sums of squares (Chan et al. 1983).
        """
        total, shift = self._weight + weight, mean - self._mean
        self._spread = self._spread + spread + shift**2 * (self._weight * weight / total)
        self._mean = self._mean + shift * (weight / total)
        self._error = self._error + error
        self._lowest = np.minimum(self._lowest, lowest)
        self._highest = np.maximum(self._highest, highest)
        self._rows, self._weight = self._rows + rows, total

    def gathered(self) -> Any:
        """See `Metric.gathered`."""
        figures = self._mean, self._spread, self._error, self._lowest, self._highest
        return self._rows, self._weight, *figures

    def merge(self, gathered: Any) -> None:
        """See `Metric.merge`."""
        if gathered[0]:
            self._join(*gathered)

    def result(self) -> float:
        """See `Metric.result`; NaN if it is not defined."""
        if self._rows < 2:
            warnings.warn(
                f"{self.name} is not defined: expected at least two rows, got {self._rows}",
                RuntimeWarning,
                stacklevel=2,
            )
            return math.nan
        varying = self._lowest < self._highest
        share = np.divide(self._error, self._spread, out=np.zeros_like(self._error), where=varying)
        figures = np.where(varying, 1 - share, np.where(self._error == 0, 1.0, 0.0))
        return float(figures.mean())
