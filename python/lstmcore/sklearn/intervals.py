"""Prediction intervals from the errors of forecasts of steps that were not trained on."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from lstmcore._typing import Array
from lstmcore.sklearn.series import Series, fit_arguments, read_series

if TYPE_CHECKING:
    from lstmcore.sklearn.forecaster import LSTMForecaster

__all__ = ["errors_at_the_end", "half_widths", "held_out"]


def half_widths(errors: Array, coverage: float, *, extrapolate: bool) -> Array:
    """Return how far the bounds of an interval are from its forecast.

    Parameters
    ----------
    errors : ndarray, shape (M, h, K)
        Magnitudes of the errors of M forecasts of h steps and K targets, in ascending order.
    coverage : float
        Probability that an interval should contain the true value, from 0 to 1.
    extrapolate : bool
        What to do about a coverage above M / (M + 1), which M errors do not support. False: refuse.
        True: assume normal errors of mean 0, of which M are known.

    Returns
    -------
    ndarray, shape (h, K)

    Raises
    ------
    ValueError
        If there are too few errors, and `extrapolate` is false.

    Notes
    -----
    With r = ceil((M + 1) coverage), the r-th smallest of M errors is at least as large as the next
    one with a probability of at least `coverage`, whatever their distribution, if the order in
    which errors occur does not matter (split conformal prediction, Papadopoulos et al. 2002).

    For r > M: the quotient of a normal error and the root of the mean square of M others has
    Student's t distribution with M degrees of freedom. The result is never below the largest error,
    so it increases with the coverage.
    """
    count = len(errors)
    rank = int(np.ceil((count + 1) * coverage))
    if rank == 0:
        return np.zeros(errors.shape[1:])
    if rank <= count:
        return np.asarray(errors[rank - 1])
    if not extrapolate:
        raise ValueError(
            f"coverage: expected at most {count / (count + 1):.3g} after a calibration with "
            f"{count} forecasts, got {coverage}; extrapolate=True assumes a normal distribution"
        )
    largest = np.maximum(errors[-1], np.finfo(float).tiny)
    root = largest * np.sqrt(np.mean((errors / largest) ** 2, axis=0))  # no square overflows
    return np.asarray(np.maximum(errors[-1], t.ppf((1 + coverage) / 2, count) * root))


def errors_at_the_end(forecaster: "LSTMForecaster", y: Any, x: Any) -> Array:
    """Train a second model on the first steps of each series, and measure its errors on the rest.

    Parameters
    ----------
    forecaster : LSTMForecaster
        Its hyper-parameters must have been checked; it is not changed. `calibration` is the share
        of each series' steps that are forecast; these are at least `horizon` steps.
    y, x
        As in `LSTMForecaster.fit`.

    Returns
    -------
    ndarray, shape (M, horizon, K)
        Magnitudes of the errors, in ascending order.

    Raises
    ------
    ValueError
        If the arguments do not fit, or the first steps are too few to train on.
    """
    second: Any = clone(forecaster).set_params(calibration=None, warm_start=False)
    series = read_series(second, y, x, reset=True)
    second.set_params(target=None)  # read_series has divided the columns
    with warnings.catch_warnings():  # `fit` itself warns, too, about the model that it returns
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        second.fit(*fit_arguments(_beginnings(forecaster, series)))
    before = int(second.window + second.difference_)
    held = [held_out(forecaster, len(one.y)) + before for one in series]
    ends = [one.last(count) for one, count in zip(series, held, strict=True) if len(one.y) >= count]
    errors: Array = second.calibrate(*fit_arguments(ends)).errors_
    return errors


def held_out(forecaster: "LSTMForecaster", steps: int) -> int:
    """Return how many of the steps of a series the second model is not trained on."""
    return max(int(forecaster.horizon), int(np.ceil(float(forecaster.calibration or 0.0) * steps)))


def _beginnings(forecaster: "LSTMForecaster", series: list[Series]) -> list[Series]:
    """Return the steps before those held out, of all series that are long enough to train on."""
    ahead = forecaster.horizon if forecaster.strategy == "direct" else 1
    lag = 0 if forecaster.difference == "auto" else int(forecaster.difference)
    needed = int(forecaster.window) + int(ahead) + lag
    parts = [one.first(max(len(one.y) - held_out(forecaster, len(one.y)), 0)) for one in series]
    found = [one for one in parts if len(one.y) >= needed]
    if not found:
        least = needed
        while least - held_out(forecaster, least) < needed:
            least += 1
        raise ValueError(
            f"calibration: expected a series of at least {least} steps, for a window, the steps "
            f"after it, and {held_out(forecaster, least)} steps to measure errors on, got "
            f"{max(len(one.y) for one in series)}; use calibration=None for forecasts without "
            "intervals"
        )
    return found
