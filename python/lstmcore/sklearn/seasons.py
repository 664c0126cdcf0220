"""The season of series, and the lag of the differences by which they are forecast best.

Both are found on what is trained on, without a training: the season by the autocorrelation, the lag
by forecasts of a ridge regression.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstmcore._typing import Array

__all__ = ["choose_lag", "find_season"]

LEAST_CORRELATION = 0.2
SHARE = 0.8  # of the highest correlation; the first such peak is the season, not a multiple of it
CYCLES = 4  # that a series must have of a season
LEAST_GAIN = 0.9  # of the error without a season, below which a season is believed
RIDGE = 10.0  # penalty beside windows of deviation 1; from 1 to 100 the choices are nearly the same
TRAINED = 2 / 3  # share of a series that the regression is fitted to, before the rest is forecast
LEAST_WINDOWS = 8  # to fit it to
MOST_SERIES = 32  # the longest ones, that the choices are made by


def find_season(series: Sequence[Array], horizon: int) -> int | None:
    """Find the season of series by their autocorrelation.

    It is believed if repeating the last season is clearly better than repeating the last value, or
    the mean of the past: forecasts from each step of the second half of each series, `horizon`
    steps ahead, by their mean absolute error.

    Parameters
    ----------
    series : sequence of ndarray, shape (T_i, K)
    horizon : int

    Returns
    -------
    int or None
        Its steps, at least 2; None if there is no season.
    """
    series = _longest(series)
    found = sorted({lag for values in series for column in values.T for lag in _peaks(column)})
    errors = _naive_errors(series, horizon, [0, 1, *found])
    if not found or errors is None:
        return None
    best = min(found, key=errors.__getitem__)
    return best if errors[best] < LEAST_GAIN * min(errors[0], errors[1]) else None


def choose_lag(series: Sequence[Array], window: int, horizon: int, lags: Sequence[int]) -> int:
    """Choose the lag of differences with which windows tell best what follows them.

    Each lag is tried by a ridge regression from the last `window` differences to the next
    `horizon`, fitted to the first two thirds of each column; what it forecasts is held in the range
    of what it was fitted to, as the forecasts of an LSTM are, and so does not follow a trend out of
    it. The least mean absolute error in the last third wins.

    Parameters
    ----------
    series : sequence of ndarray, shape (T_i, K)
    window, horizon : int
    lags : sequence of int
        To choose from, 0 for the values themselves.

    Returns
    -------
    int
        One of `lags`. If the series are too short for a regression, the one of 0 and 1 whose
        forecast without any learning is better: the mean of the past, or the last value.
    """
    series = _longest(series)
    tried = {lag: _ridge_error(series, window, horizon, lag) for lag in lags}
    errors = {lag: error for lag, error in tried.items() if error is not None}
    if not errors:
        short = [lag for lag in lags if lag <= 1]
        errors = _naive_errors(series, horizon, short) or {}
    return min(errors, key=errors.__getitem__) if errors else min(lags)


def _longest(series: Sequence[Array]) -> list[Array]:
    return sorted(series, key=len, reverse=True)[:MOST_SERIES]


def _unit(values: Array) -> Array:
    """Return the mean step of each column of (T, K), so that none outweighs the others."""
    unit = np.abs(np.diff(values, axis=0)).mean(axis=0)
    return np.where(unit > 0, unit, 1.0)


# ---- the season ------------------------------------------------------------------------------


def _peaks(values: Array) -> list[int]:
    """Return lags at which a series (T,) resembles itself, and their neighbours.

    From 2 steps to a quarter of the series: the first high peak of the autocorrelation, once of
    what is left without a quadratic trend, and once of the differences between steps, in which
    slow waves, which hide a short season, are small.
    """
    steps = len(values)
    top = steps // CYCLES
    if top < 2:
        return []
    time = np.linspace(-1.0, 1.0, steps)
    trend = np.polynomial.Polynomial.fit(time, values, 2)
    found = {*_first_peak(values - trend(time), top), *_first_peak(np.diff(values), top)}
    return sorted({near for lag in found for near in (lag - 1, lag, lag + 1) if 2 <= near <= top})


def _first_peak(values: Array, top: int) -> list[int]:
    """Return the first lag up to `top` whose autocorrelation is a peak and high, if one is."""
    steps = len(values)
    values = values - values.mean()
    largest = np.abs(values).max()
    if largest == 0.0:
        return []
    power = np.abs(np.fft.rfft(values / largest, 2 * steps)) ** 2
    sums = np.fft.irfft(power, 2 * steps)[: top + 2]
    correlation = sums / sums[0] * (steps / (steps - np.arange(len(sums))))
    high = [
        lag
        for lag in range(2, top + 1)
        if correlation[lag] > LEAST_CORRELATION
        and correlation[lag - 1] <= correlation[lag] >= correlation[lag + 1]
    ]
    least = SHARE * max((correlation[lag] for lag in high), default=0.0)
    return [lag for lag in high if correlation[lag] >= least][:1]


def _naive_errors(
    series: Sequence[Array], horizon: int, lags: Sequence[int]
) -> dict[int, float] | None:
    """Return the error of repeating what was `lag` steps ago, the mean of the past for a lag of 0.

    All from the same steps; None if no series has any.
    """
    totals = dict.fromkeys(lags, 0.0)
    counted = 0
    for values in series:
        begin = max(len(values) // 2, *lags, 1)
        origins = np.arange(begin, len(values) - horizon + 1)
        if not len(origins):
            continue
        unit = _unit(values)
        mean = (np.cumsum(values, axis=0) / np.arange(1, len(values) + 1)[:, None])[origins - 1]
        for lag in lags:
            for ahead in range(horizon):
                forecast = values[origins + ahead - lag * (ahead // lag + 1)] if lag else mean
                error = np.abs(values[origins + ahead] - forecast) / unit
                totals[lag] += float(error.mean(axis=1).sum())
        counted += len(origins)
    return totals if counted else None


# ---- the lag ---------------------------------------------------------------------------------


def _ridge_error(series: Sequence[Array], window: int, horizon: int, lag: int) -> float | None:
    """Return the mean error of a regression's forecasts; None if all series are too short."""
    total, count = 0.0, 0
    for values in series:
        border = int(TRAINED * len(values))  # what follows is forecast
        fitted = border - lag - window - horizon + 1
        if fitted < LEAST_WINDOWS or len(values) - border < horizon:
            continue
        for column, unit in zip(values.T, _unit(values), strict=True):
            errors = _forecast_errors(column, window, horizon, lag, border)
            total, count = total + float(errors.sum() / unit), count + errors.size
    return total / count if count else None


def _forecast_errors(values: Array, window: int, horizon: int, lag: int, border: int) -> Array:
    """Return magnitudes of errors (M, horizon) of forecasts from each step after `border`."""
    changes = values[lag:] - values[:-lag] if lag else values
    seen = changes[: border - lag]
    deviation = float(seen.std())
    scaled = (changes - seen.mean()) / (deviation if deviation > 0 else 1.0)
    rows = sliding_window_view(scaled, window + horizon)
    inputs = np.column_stack([rows[:, :window], np.ones(len(rows))])
    fitted = border - lag - window - horizon + 1
    penalty = np.diag([*[RIDGE] * window, 0.0])
    products = inputs[:fitted].T @ inputs[:fitted] + penalty
    weights = np.linalg.solve(products, inputs[:fitted].T @ rows[:fitted, window:])
    begin = border - lag - window  # the first whose targets were not seen
    low, high = scaled[: border - lag].min(), scaled[: border - lag].max()
    forecast = np.clip(inputs[begin:] @ weights, low, high)
    forecast = forecast * (deviation if deviation > 0 else 1.0) + seen.mean()
    origins = np.arange(len(forecast)) + border
    for ahead in range(horizon if lag else 0):
        before = forecast[:, ahead - lag] if ahead >= lag else values[origins + ahead - lag]
        forecast[:, ahead] += before
    true = sliding_window_view(values, horizon)[border:]
    return np.asarray(np.abs(true - forecast))
