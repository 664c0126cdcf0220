"""Choose the differences that a forecaster forecasts, by trials on data that are held out."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from lstmcore.sklearn.seasons import mean_step
from lstmcore.sklearn.series import Series, fit_arguments

if TYPE_CHECKING:
    from lstmcore.sklearn.windows import WindowEstimator

__all__ = ["choose_lag", "longest_lag"]

TRAINED = 2 / 3  # share of each series that a trial trains on; it forecasts the rest
MOST_SERIES = 8  # trials use the longest series
MOST_STEPS = 2000  # the last ones of each series
# A small model and a short training rank lags as the full ones do, in a tenth of the time.
TRIAL: dict[str, Any] = {
    "hidden_size": 16,
    "num_layers": 1,
    "max_iter": None,
    "max_updates": 150,
    "batch_size": "auto",
    "solver": "adamw",
    "alpha": 0.01,
    "learning_rate": "onecycle",
    "learning_rate_init": 0.01,
    "global_clipnorm": 1.0,
    "early_stopping": False,
    "warm_start": False,
    "verbose": False,
    "random_state": 0,
    "target": None,
    "season": None,
    "calibration": None,
}
# The error without differences is multiplied by this: where errors are nearly equal, differences
# are preferred, since they also follow a trend that begins later. Tuned on the series of
# docs/scikit-learn.md except Airline and CO2.
LEVEL_COST = 1.08


def choose_lag(forecaster: "WindowEstimator", series: Sequence[Series], lags: Sequence[int]) -> int:
    """Choose the lag of differences with which a small model forecasts best.

    For each lag, a model is trained on the first two thirds of each series, with the forecaster's
    options except for its size and its training, and forecasts the rest, `horizon` steps from each
    step. The lowest mean absolute error wins, each target being measured in units of its mean step.

    Parameters
    ----------
    forecaster : LSTMForecaster
        Its hyper-parameters must have been checked; it is not changed.
    series : sequence of Series
        The part that is trained on.
    lags : sequence of int
        Candidates; 0 stands for the values themselves.

    Returns
    -------
    int
        One of `lags`; the smallest if the series are too short for a trial.
    """
    tried = _tried(series)
    errors = {}
    for lag in lags if len(lags) > 1 else ():
        error = _error(forecaster, tried, lag)
        if error is not None:
            errors[lag] = error * (1.0 if lag else LEVEL_COST)
    return min(errors, key=errors.__getitem__) if errors else min(lags)


def longest_lag(forecaster: "WindowEstimator", series: Sequence[Series]) -> int:
    """Return the longest lag that `choose_lag` can try; below 0 if no trial is possible.

    With it, at least half of the windows of the longest series remain, and a trial has data to
    train on and data to forecast.
    """
    half: int = (max(len(one.y) for one in series) - forecaster.window - forecaster.steps_) // 2
    return min(half, max(_room(forecaster, one) for one in _tried(series)))


def _tried(series: Sequence[Series]) -> list[Series]:
    longest = sorted(series, key=lambda one: len(one.y), reverse=True)[:MOST_SERIES]
    return [one.last(MOST_STEPS) for one in longest]


def _border(one: Series) -> int:
    """Return the number of steps that a trial trains on."""
    return int(TRAINED * len(one.y))


def _room(forecaster: "WindowEstimator", one: Series) -> int:
    """Return the longest lag for which a series has enough steps before and after the border."""
    if len(one.y) - _border(one) < forecaster.horizon:
        return -1
    return _border(one) - int(forecaster.window) - int(forecaster.horizon)


def _error(forecaster: "WindowEstimator", series: Sequence[Series], lag: int) -> float | None:
    """Return the error of a trial with a lag; None if no series is long enough, or it fails."""
    size = forecaster.window + lag
    trial: Any = clone(forecaster).set_params(**TRIAL, difference=lag)
    early, late = [], []
    for one in series:
        border = _border(one)
        if lag <= _room(forecaster, one):
            early.append(one.first(border))
            late.append(Series(one.y[border - size :], one.x[border - size :]))
    if not early:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            trial.fit(*fit_arguments(early))
        except ValueError:
            # The trial diverged, or values are too large. If the real training fails too, its error
            # will be about the caller's own arguments.
            return None
    total, count = 0.0, 0
    unit = np.mean([mean_step(one.y) for one in early], axis=0)
    for one in late:
        true, forecasts = trial._rolling(*fit_arguments([one]))
        errors = np.abs(true - forecasts) / unit
        total, count = total + float(errors.sum()), count + errors.size
    return total / count
