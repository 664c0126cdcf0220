"""Forecast the past of a series as if it were the future, beside simple forecasts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.sklearn.backtest_checks import (
    CALIBRATION,
    check_bounds,
    check_start,
    measured_from,
)
from lstmcore.sklearn.distributions import describes
from lstmcore.sklearn.intervals import half_widths
from lstmcore.sklearn.seasons import find_season
from lstmcore.sklearn.series import Series, is_list, read_series
from lstmcore.sklearn.windows import slide

if TYPE_CHECKING:
    from lstmcore.sklearn.forecaster import LSTMForecaster

__all__ = ["Backtest", "run_backtest"]

OWN = "LSTM"
PENALTIES = np.logspace(-3, 4, 15)  # of ridge, chosen by leave-one-out errors


@dataclass(frozen=True, repr=False)
class Backtest:
    """The result of `LSTMForecaster.backtest`: O forecasts of h steps of K targets.

    Attributes
    ----------
    origins : ndarray of int64, shape (O,)
        How many steps are known at each forecast, whose first step is at this position of `y`.
    dates : ndarray, shape (O, h)
        Labels of the steps that were forecast: the index of `y`, or positions in it.
    true : ndarray of float64, shape (O, h, K)
    forecasts : dict of str to ndarray of float64, shape (O, h, K)
        By the names "LSTM", "naive", "seasonal naive" and "ridge".
    bounds : dict of str to ndarray of float64, shape (O, h, K, 2)
        Lower and upper bounds of intervals; empty without `coverage`.
    coverage : float or None
        Share of the values that intervals should contain.
    seasons : tuple of int or None, length O
        Season that "seasonal naive" repeats at each origin, found in the steps before it; all the
        same without `refit`. Where it is None, the last value is repeated instead; where all are
        None, there is no "seasonal naive".
    unit : ndarray of float64, shape (K,)
        Mean absolute error of repeating the last season (or value) within the first training part;
        MASE counts in it (Hyndman & Koehler 2006).
    """

    origins: Array
    dates: Array
    true: Array
    forecasts: Mapping[str, Array]
    bounds: Mapping[str, Array]
    coverage: float | None
    seasons: tuple[int | None, ...]
    unit: Array

    @property
    def season(self) -> int | None:
        """Season of the first origin, by which MASE counts."""
        return self.seasons[0]

    @property
    def table(self) -> dict[str, dict[str, float]]:
        """MAE, RMSE, MASE and, with intervals, coverage and mean width, for each forecast."""
        found = {}
        for name, values in self.forecasts.items():
            errors = np.abs(values - self.true)
            row = {
                "MAE": float(errors.mean()),
                "RMSE": float(np.sqrt((errors**2).mean())),
                "MASE": float((errors / self.unit).mean()),
            }
            if name in self.bounds:
                lower, upper = np.moveaxis(self.bounds[name], -1, 0)
                row["coverage"] = float(((lower <= self.true) & (self.true <= upper)).mean())
                row["width"] = float((upper - lower).mean())
            found[name] = row
        return found

    def to_frame(self) -> Any:
        """Return the table as a DataFrame of pandas, a row for each forecast."""
        import pandas as pd

        return pd.DataFrame.from_dict(self.table, orient="index")

    def __str__(self) -> str:
        table = self.table
        columns = list(table[OWN])
        width = max(map(len, table))
        lines = [" " * width + "".join(f"{name:>10}" for name in columns)]
        for name, row in table.items():
            lines.append(f"{name:<{width}}" + "".join(f"{row[one]:10.4g}" for one in columns))
        return "\n".join(lines)

    def __repr__(self) -> str:
        count, horizon, targets = self.true.shape
        ends = ["" if number == 1 else "s" for number in (count, horizon, targets)]
        return (
            f"Backtest of {count} forecast{ends[0]} of {horizon} step{ends[1]} of {targets} "
            f"target{ends[2]}\n{self}"
        )

    def plot(self, path: Any = None, **options: Any) -> Any:
        """Draw the forecasts beside the true values; see `lstmcore.plots.backtest`."""
        from lstmcore import plots

        return plots.backtest(self, path, **options)


def run_backtest(
    forecaster: "LSTMForecaster",
    y: Any,
    X: Any,
    *,
    start: Any,
    step: int | None,
    refit: bool,
    coverage: float | None,
) -> Backtest:
    """Do what `LSTMForecaster.backtest` documents."""
    forecaster._check_parameters()
    horizon = int(forecaster.horizon)
    if is_list(y):
        raise ValueError("y: expected one series, got a list; call backtest for each of them")
    _checks.flag(refit, "refit")
    if coverage is not None:
        coverage = _checks.real(coverage, "coverage", 0.0, 1.0, low_open=True, high_open=True)
    model: Any = clone(forecaster).set_params(warm_start=False)
    (series,) = read_series(model, y, X, reset=True)
    model.set_params(target=None)  # read_series has divided the columns
    if coverage is not None and model.calibration is None and not describes(model.loss):
        model.set_params(calibration=CALIBRATION)
    if coverage is not None:
        check_bounds(model, coverage)
    index = _index(y)
    origins = _origins(index, horizon, start, step)
    names = forecaster.target or model._names[0]
    check_start(model, series.first(int(origins[0])), coverage, len(series.y), names)
    true = np.stack([series.y[at : at + horizon] for at in origins])

    forecasts: dict[str, Array] = {}
    bounds: dict[str, Array] = {}
    points, ranges, found = _forecasts(model, forecaster, series, origins, refit, coverage)
    forecasts[OWN] = points
    if ranges is not None:
        bounds[OWN] = ranges
    for name, learn in _others(model, found).items():
        forecasts[name], widths = _simple(learn, series, origins, found, refit, horizon, coverage)
        if widths is not None:
            bounds[name] = np.stack([forecasts[name] - widths, forecasts[name] + widths], axis=-1)
    lag = found[0].season or 1
    early = series.y[: origins[0]]
    unit = np.abs(early[lag:] - early[:-lag]).mean(axis=0)
    dates = np.asarray(index)[origins[:, None] + np.arange(horizon)]
    seasons = tuple(one.season for one in found)
    unit = np.where(unit > 0, unit, 1.0)
    return Backtest(origins, dates, true, forecasts, bounds, coverage, seasons, unit)


def _origins(index: Any, horizon: int, start: Any, step: int | None) -> Array:
    """Return the numbers of steps that are known at each forecast."""
    steps = len(index)
    step = horizon if step is None else _checks.integer(step, "step", 1)
    first = _first_origin(index, start)
    if first + horizon > steps:
        raise ValueError(
            f"start: expected at most {steps - horizon} of {steps} steps, so that the horizon of "
            f"{horizon} follows, got {first}"
        )
    return np.arange(first, steps - horizon + 1, step)


def _first_origin(index: Any, start: Any) -> int:
    """Return how many steps precede the first forecast."""
    if isinstance(start, np.ndarray) and start.ndim == 0:
        start = start[()]
    if isinstance(start, Real) and not isinstance(start, (Integral, np.bool_, bool)):
        share = _checks.real(start, "start", 0.0, 1.0, low_open=True, high_open=True)
        return int(share * len(index))
    if isinstance(start, Integral) and not isinstance(start, bool):
        return _checks.integer(int(start), "start", 1)
    if isinstance(index, np.ndarray) or isinstance(start, (bool, np.bool_)):
        raise TypeError(
            "start: expected a share of the steps, their number or, if y is a pandas object, a "
            f"label of its index, got {_checks.describe(start)}"
        )
    if type(start) is date:
        start = start.isoformat()  # as pandas reads a date in an index of times: the whole day
    try:
        place = index.get_loc(start)
    except Exception:  # of many types, by the type of the index and of the label
        raise ValueError(
            f"start: expected a label of the index of y, such as {index[len(index) // 2]}, got "
            f"{start!r}"
        ) from None
    first = int(np.arange(len(index))[place].min())
    if first == 0:
        raise ValueError(
            f"start: expected steps of y before the first forecast, got {start!r}, the "
            "label of the first step"
        )
    return first


def _index(y: Any) -> Any:
    """Return the index of a pandas object, else positions."""
    index = getattr(y, "index", None)
    return np.arange(len(y)) if index is None or callable(index) else index


# ---- the LSTM ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """What is known of a series at an origin, from the steps before it alone."""

    season: int | None
    lag: int  # of the differences that the LSTM learns


def _found(forecaster: Any, model: Any, known: Series) -> _Found:
    """Return the season that was given, found by the fitted model, or found here, and the lag."""
    season = forecaster.season
    if season == "auto":
        season = model.season_ if forecaster.difference == "auto" else None
        season = season or find_season([known.y], int(forecaster.horizon))
    return _Found(None if season is None else int(season), int(model.difference_))


def _forecasts(
    model: Any,
    forecaster: Any,
    series: Series,
    origins: Array,
    refit: bool,
    coverage: float | None,
) -> tuple[Array, Array | None, list[_Found]]:
    """Return forecasts (O, h, K) and bounds (O, h, K, 2) of the LSTM, and what O origins know."""
    groups = [[at] for at in origins] if refit else [list(origins)]
    points: list[Array] = []
    ranges: list[Array] = []
    found: list[_Found] = []
    for group in groups:
        known = series.first(int(group[0]))
        model.fit(_like(model, known.y), _beside(known.x))
        found += [_found(forecaster, model, known)] * len(group)
        for at in group:
            past, ahead = series.first(int(at)), series.x[at : at + model.horizon]
            given = {
                "X": _beside(ahead) if model.exogenous == "known" else None,
                "y": _like(model, past.y),
                "past_X": _beside(past.x),
            }
            shape = (model.horizon, model.n_targets_)
            points.append(model.predict(**given).reshape(shape))
            if coverage is not None:
                bound = model.predict_interval(**given, coverage=coverage, extrapolate=True)
                ranges.append(bound.reshape(*shape, 2))
    return np.stack(points), np.stack(ranges) if ranges else None, found


def _like(model: Any, values: Array) -> Array:
    return values[:, 0] if model._flat else values


def _beside(values: Array) -> Array | None:
    return values if values.shape[1] else None


# ---- forecasts beside it -------------------------------------------------------------------------

# A function that learns from known steps, and returns one of origins, for forecasts (O, h, K).
Learn = Callable[[Series, _Found], Callable[[Series, Array], Array]]


def _others(model: Any, found: Sequence[_Found]) -> dict[str, Learn]:
    """Return the simple forecasts by their names."""
    window, horizon = int(model.window), int(model.horizon)
    others: dict[str, Learn] = {"naive": lambda known, one: _repeating(1, horizon)}
    if any(one.season is not None for one in found):
        others["seasonal naive"] = lambda known, one: _repeating(one.season or 1, horizon)
    others["ridge"] = lambda known, one: _ridge(known, window + one.lag, horizon, model._known)
    return others


def _simple(
    learn: Learn,
    series: Series,
    origins: Array,
    found: Sequence[_Found],
    refit: bool,
    horizon: int,
    coverage: float | None,
) -> tuple[Array, Array | None]:
    """Return forecasts (O, h, K), and how far the bounds are from them.

    As for the LSTM, the distances are quantiles of the errors in the last fifth of the steps
    before the first origin, of a forecast that was learnt from the steps before.
    """
    first = int(origins[0])
    if refit:
        points = np.concatenate(
            [
                learn(series.first(int(at)), one)(series, at[None])
                for at, one in zip(origins, found, strict=True)
            ]
        )
    else:
        points = learn(series.first(first), found[0])(series, origins)
    if coverage is None:
        return points, None
    begin = measured_from(first, horizon)
    held = np.arange(begin, first - horizon + 1)
    true = np.stack([series.y[at : at + horizon] for at in held])
    errors = np.abs(learn(series.first(begin), found[0])(series, held) - true)
    return points, half_widths(np.sort(errors, axis=0), coverage, extrapolate=True)


def _repeating(season: int, horizon: int) -> Callable[[Series, Array], Array]:
    back = np.arange(horizon) % season - season

    def forecast(series: Series, origins: Array) -> Array:
        return np.asarray(series.y[origins[:, None] + back])

    return forecast


def _ridge(known: Series, size: int, horizon: int, ahead: bool) -> Callable[[Series, Array], Array]:
    """Fit a ridge regression of h steps on the `size` steps before, and the columns beside them."""

    def inputs(series: Series, origins: Array) -> Array:
        # Relative to the last value, so that a trend leads out of the range that was seen.
        place = origins[:, None] + np.arange(-size, 0)
        past = series.y[place] - series.y[origins - 1][:, None]
        until = horizon if ahead else 0
        beside = series.x[origins[:, None] + np.arange(-size, until)]
        rows = [part.reshape(len(origins), -1) for part in (past[:, :-1], beside)]
        return np.concatenate(rows, axis=1)

    places = np.arange(size, len(known.y) - horizon + 1)
    targets = slide(known.y[size:], horizon) - known.y[places - 1][:, None]
    model: Any = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    model.fit(inputs(known, places), targets.reshape(len(places), -1))

    def forecast(series: Series, origins: Array) -> Array:
        changes = model.predict(inputs(series, origins)).reshape(len(origins), horizon, -1)
        return np.asarray(changes + series.y[origins - 1][:, None])

    return forecast
