"""Detect the season of time series by their autocorrelation."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from lstmcore._typing import Array

__all__ = ["find_season", "mean_step"]

K = TypeVar("K")
Forecast = Callable[[Array, Array, int], Array]  # `ahead` steps beyond each of `origins`

LEAST_CORRELATION = 0.2
SHARE = 0.8  # of the highest correlation; the first such peak is the season, not a multiple of it
CYCLES = 4  # a series must contain this many seasons
LEAST_GAIN = 0.9  # a season is accepted if its error is below this share of the error without one
MOST_SERIES = 32  # detection uses the longest series
PHASES = 24  # at most this many phases of a season are used to compare neighbouring lags


def find_season(series: Sequence[Array], horizon: int) -> int | None:
    """Detect the season of series by their autocorrelation.

    A season is accepted if repeating the last season is a clearly better forecast than repeating
    the last value, with or without the past drift, and than the mean of the past. The forecasts are
    made from each step of the second half of each series, `horizon` steps ahead, and compared by
    mean absolute error. A season is repeated either unchanged or shifted to the level of the last
    value, as suits a series with a trend; the better of the two counts.

    Noise may shift a peak of the autocorrelation by a step, and over a short horizon a season that
    is a step off forecasts almost as well. So a peak is compared with its neighbours and with other
    peaks over a whole season ahead, and only then over the horizon.

    Parameters
    ----------
    series : sequence of ndarray, shape (T_i, K)
    horizon : int

    Returns
    -------
    int or None
        Length of the season in steps, at least 2; None if there is no season.
    """
    series = sorted(series, key=len, reverse=True)[:MOST_SERIES]
    peaks = {lag for values in series for column in values.T for lag in _peaks(column)}
    found = sorted({_refined(lag, series) for lag in peaks})
    if not found:
        return None
    ahead, longest = range(horizon), max(found)
    plain = _errors(series, ahead, {"mean": _mean, "last": _last, "drift": _drift}, longest)
    if not plain:
        return None
    whole = _errors_of_lags(series, _phases(max(horizon, longest)), found, longest)
    season = min(found, key=(whole or dict.fromkeys(found, 0.0)).__getitem__)
    error = _errors_of_lags(series, ahead, [season], longest)[season]
    return season if error < LEAST_GAIN * min(plain.values()) else None


def mean_step(values: Array) -> Array:
    """Return the mean absolute difference between steps of each column of (T, K), 1 if it is 0.

    It serves as the unit of errors, so that no column outweighs the others.
    """
    unit = np.abs(np.diff(values, axis=0)).mean(axis=0)
    return np.where(unit > 0, unit, 1.0)


def _peaks(values: Array) -> list[int]:
    """Return lags at which a series (T,) resembles itself.

    These are the first high peaks of the autocorrelation, from 2 steps to a quarter of the series:
    one after removing a quadratic trend, and one of the differences between steps, in which slow
    waves, which hide a short season, are small.
    """
    steps = len(values)
    top = steps // CYCLES
    if top < 2:
        return []
    time = np.linspace(-1.0, 1.0, steps)
    trend = np.polynomial.Polynomial.fit(time, values, 2)
    return sorted({*_first_peak(values - trend(time), top), *_first_peak(np.diff(values), top)})


def _refined(lag: int, series: Sequence[Array]) -> int:
    """Choose among a lag and its neighbours by forecasts of all phases of a season."""
    near = [one for one in (lag, lag - 1, lag + 1) if one >= 2]
    phases = _phases(lag)
    long_enough = [values for values in series if len(values) // CYCLES >= lag]
    errors = _errors_of_lags(long_enough, phases, near, lag + 1)
    return min(near, key=errors.__getitem__) if errors else lag


def _phases(steps: int) -> list[int]:
    return [int(step) for step in np.linspace(0, steps - 1, min(steps, PHASES), dtype=int)]


def _errors_of_lags(
    series: Sequence[Array], ahead: Sequence[int], lags: Sequence[int], longest: int
) -> dict[int, float]:
    """Return the errors of repeating a season, unchanged or shifted, whichever is better."""
    repeated = {lag: partial(_repeat, lag=lag) for lag in lags}
    moved = {lag: partial(_repeat, lag=lag, moved=True) for lag in lags}
    plain, risen = (_errors(series, ahead, kind, longest) for kind in (repeated, moved))
    return {lag: min(plain[lag], risen[lag]) for lag in plain}


def _first_peak(values: Array, top: int) -> list[int]:
    """Return the first lag up to `top` with a high peak of the autocorrelation, if any."""
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


def _mean(values: Array, origins: Array, ahead: int) -> Array:
    return np.asarray((np.cumsum(values, axis=0) / _counts(values))[origins - 1])


def _last(values: Array, origins: Array, ahead: int) -> Array:
    return np.asarray(values[origins - 1])


def _drift(values: Array, origins: Array, ahead: int) -> Array:
    slope = (values - values[0]) / np.maximum(_counts(values) - 1, 1)
    return np.asarray(values[origins - 1] + (ahead + 1) * slope[origins - 1])


def _repeat(values: Array, origins: Array, ahead: int, *, lag: int, moved: bool = False) -> Array:
    """Repeat the values from `lag` steps ago; if `moved`, add the rise of the last value since."""
    forecast = values[origins + ahead - lag * (ahead // lag + 1)]
    if moved:
        forecast = forecast + values[origins - 1] - values[origins - 1 - lag]
    return np.asarray(forecast)


def _counts(values: Array) -> Array:
    return np.arange(1, len(values) + 1)[:, None]


def _errors(
    series: Sequence[Array], ahead: Sequence[int], forecasts: Mapping[K, Forecast], longest: int
) -> dict[K, float]:
    """Return the errors of forecasts that look back at most `longest` steps.

    Forecasts are made from each step of the second half of each series, for the steps `ahead` of
    it, where 0 is the next step. The result is empty if no series has such steps.
    """
    totals = dict.fromkeys(forecasts, 0.0)
    counted = 0
    for values in series:
        origins = np.arange(max(len(values) // 2, longest) + 1, len(values) - max(ahead))
        unit = mean_step(values)
        for name, forecast in forecasts.items():
            for step in ahead if len(origins) else ():
                error = np.abs(values[origins + step] - forecast(values, origins, step)) / unit
                totals[name] += float(error.mean(axis=1).sum())
        counted += len(origins)
    return totals if counted else {}
