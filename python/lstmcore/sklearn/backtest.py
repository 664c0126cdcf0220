"""Forecast the past of a series as if it were the future, beside simple forecasts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    dates : ndarray, shape (O, h)
        Labels of the steps that were forecast: the index of `y`, or positions in it.
    true : ndarray of float64, shape (O, h, K)
    forecasts : dict of str to ndarray of float64, shape (O, h, K)
        By the names "LSTM", "naive", "seasonal naive" and "ridge".
    bounds : dict of str to ndarray of float64, shape (O, h, K, 2)
        Lower and upper bounds of intervals; empty without `coverage`.
    coverage : float or None
        Share of the values that intervals should contain.
    season : int or None
        Season that "seasonal naive" repeats; None if there is none, nor such a forecast.
    unit : ndarray of float64, shape (K,)
        Mean absolute error of repeating the last season (or value) within the first training part;
        MASE counts in it (Hyndman & Koehler 2006).
    """

    dates: Array
    true: Array
    forecasts: Mapping[str, Array]
    bounds: Mapping[str, Array]
    coverage: float | None
    season: int | None
    unit: Array

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
    start: float | int,
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
    origins = _origins(len(series.y), horizon, start, step)
    names = forecaster.target or model._names[0]
    check_start(model, series.first(int(origins[0])), coverage, len(series.y), names)
    labels = _labels(y)[origins[:, None] + np.arange(horizon)]
    true = np.stack([series.y[at : at + horizon] for at in origins])

    forecasts: dict[str, Array] = {}
    bounds: dict[str, Array] = {}
    points, ranges = _forecasts(model, series, origins, refit, coverage)
    forecasts[OWN] = points
    if ranges is not None:
        bounds[OWN] = ranges
    season = _season(forecaster, model, series.first(int(origins[0])))
    for name, ahead in _others(model, season, horizon).items():
        forecasts[name], widths = _simple(ahead, series, origins, refit, horizon, coverage)
        if widths is not None:
            bounds[name] = np.stack([forecasts[name] - widths, forecasts[name] + widths], axis=-1)
    lag = season or 1
    early = series.y[: origins[0]]
    unit = np.abs(early[lag:] - early[:-lag]).mean(axis=0)
    return Backtest(
        labels, true, forecasts, bounds, coverage, season, np.where(unit > 0, unit, 1.0)
    )


def _origins(steps: int, horizon: int, start: float | int, step: int | None) -> Array:
    """Return the numbers of steps that are known at each forecast."""
    step = horizon if step is None else _checks.integer(step, "step", 1)
    if isinstance(start, float):
        first = int(_checks.real(start, "start", 0.0, 1.0, low_open=True, high_open=True) * steps)
    else:
        first = _checks.integer(start, "start", 1)
    if first + horizon > steps:
        raise ValueError(
            f"start: expected at most {steps - horizon} of {steps} steps, so that the horizon of "
            f"{horizon} follows, got {first}"
        )
    return np.arange(first, steps - horizon + 1, step)


def _labels(y: Any) -> Array:
    """Return the index of a pandas object, else positions."""
    index = getattr(y, "index", None)
    if index is None or callable(index):
        return np.arange(len(y))
    return np.asarray(index)


def _season(forecaster: Any, model: Any, early: Series) -> int | None:
    """Return the season that was given, found by the forecaster, or found here."""
    if forecaster.season != "auto":
        return None if forecaster.season is None else int(forecaster.season)
    if forecaster.difference == "auto" and model.season_ is not None:
        return int(model.season_)
    return find_season([early.y], int(forecaster.horizon))


# ---- the LSTM ------------------------------------------------------------------------------------


def _forecasts(
    model: Any, series: Series, origins: Array, refit: bool, coverage: float | None
) -> tuple[Array, Array | None]:
    """Return forecasts (O, h, K) and bounds (O, h, K, 2) of the LSTM."""
    groups = [[at] for at in origins] if refit else [list(origins)]
    points: list[Array] = []
    ranges: list[Array] = []
    for group in groups:
        known = series.first(int(group[0]))
        model.fit(_like(model, known.y), _beside(known.x))
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
    return np.stack(points), np.stack(ranges) if ranges else None


def _like(model: Any, values: Array) -> Array:
    return values[:, 0] if model._flat else values


def _beside(values: Array) -> Array | None:
    return values if values.shape[1] else None


# ---- forecasts beside it -------------------------------------------------------------------------

# (series known, first origin) -> a function of origins, which returns forecasts (O, h, K)
Simple = Callable[[Series], Callable[[Series, Array], Array]]


def _others(model: Any, season: int | None, horizon: int) -> dict[str, Simple]:
    """Return the simple forecasts: functions that learn from a part, and then forecast."""
    found: dict[str, Simple] = {"naive": lambda known: _repeating(1, horizon)}
    if season is not None:
        found["seasonal naive"] = lambda known: _repeating(season, horizon)
    size = int(model.window + model.difference_)
    found["ridge"] = lambda known: _ridge(known, size, horizon, model._known)
    return found


def _simple(
    ahead: Simple,
    series: Series,
    origins: Array,
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
        points = np.concatenate([ahead(series.first(int(at)))(series, at[None]) for at in origins])
    else:
        points = ahead(series.first(first))(series, origins)
    if coverage is None:
        return points, None
    begin = measured_from(first, horizon)
    held = np.arange(begin, first - horizon + 1)
    true = np.stack([series.y[at : at + horizon] for at in held])
    errors = np.abs(ahead(series.first(begin))(series, held) - true)
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
