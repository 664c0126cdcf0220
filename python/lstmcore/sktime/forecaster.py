"""`LSTMForecaster`, which continues time series."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from lstmcore._signatures import shows_options
from lstmcore._typing import Array
from lstmcore.sklearn import LSTMForecaster as Contained
from lstmcore.sklearn.intervals import half_widths
from lstmcore.sklearn.options import hyper_parameters, stores
from lstmcore.sktime.panels import COMMON, WITHOUT

__all__ = ["LSTMForecaster"]

# The horizon comes with `fit`, and y and X are separate.
PARAMETERS = hyper_parameters(Contained, (*WITHOUT, "horizon", "target"), calibration=0.2)


@shows_options(PARAMETERS, Contained)
class LSTMForecaster(BaseForecaster):
    """Forecast time series by an LSTM that reads a window of the past, as an estimator of sktime.

    It contains a `lstmcore.sklearn.LSTMForecaster`, trained for as many steps as the farthest of
    `fh`, which therefore `fit` needs; with ``strategy="recursive"``, `fh` may come at `predict`.
    The other hyper-parameters are the same, except for `target` and `warm_start`.

    Parameters
    ----------
    calibration : float, optional
        Share of the series' steps, at its end, on which `fit` measures errors for intervals and
        quantiles; 0.2 by default, and at least as many steps as the farthest of `fh`. A second
        model, trained on the steps before, forecasts them, which takes as long again. None: the
        forecaster has no intervals. If `fit` is not given `fh`, errors are measured up to `window`
        steps ahead, or half of the steps held out, if these are fewer.
    **options
        See `lstmcore.sklearn.LSTMForecaster`.

    Attributes
    ----------
    estimator_ : lstmcore.sklearn.LSTMForecaster
        The fitted estimator, whose `model_` is a `Sequential`.

    Notes
    -----
    y may have several columns, which are forecast together. Columns of X are known ahead, so that
    `predict` needs them at all steps up to the farthest of `fh`. With ``exogenous="past"`` they are
    known only up to now, and `predict` does not look at X. For panels and hierarchies, sktime fits
    one forecaster to each series.

    Bounds of intervals are at the distance from the forecast that the requested share of the
    measured errors did not exceed, step by step (split conformal prediction, Papadopoulos et al.
    2002). For coverages that so few errors cannot support, errors are taken to be normal; see
    `lstmcore.sklearn.LSTMForecaster.predict_interval`. Quantiles are bounds of intervals.

    `update` appends the steps that it has not seen yet, and trains for one epoch on the windows
    that lead to them if `update_params` is true. The measured errors remain.

    Times are those of `y`, which must be evenly spaced. Forecasts of steps that were trained on or
    appended (``fh <= 0``) are each one step ahead of the true values before, and NaN for the first
    ``window + difference`` steps, which have too few before them. There are no intervals of these.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from lstmcore.sktime import LSTMForecaster
    >>> months = pd.period_range("2001-01", periods=310, freq="M")
    >>> wave = pd.Series(np.sin(np.arange(310) / 5), months)
    >>> forecaster = LSTMForecaster(20, random_state=0).fit(wave[:300], fh=[1, 5, 10])
    >>> forecast = forecaster.predict()
    >>> bool((forecast - wave[forecast.index]).abs().max() < 0.1)
    True
    >>> forecaster.predict_interval(coverage=0.9).shape
    (3, 2)
    """

    _tags = {  # noqa: RUF012
        **COMMON,
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:non_contiguous_X": False,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": False,
        "capability:update": True,
        "requires-fh-in-fit": True,
        "X-y-must-have-same-index": True,
    }
    # The series is stored here. Whoever turns this on later finds nothing remembered yet, which
    # sktime itself sees to only if it is on from the beginning.
    _config = {"remember_data": False}  # noqa: RUF012
    _y = _X = None

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__()

    def __dynamic_tags__(self) -> None:
        super().__dynamic_tags__()
        if self.calibration is None:
            self.set_tags(**{"capability:pred_int": False})
        if self.strategy == "recursive":
            self.set_tags(**{"requires-fh-in-fit": False})

    def _fit(self, y: Any, X: Any, fh: Any) -> "LSTMForecaster":
        self._columns = y.columns
        self._known = None if X is None else list(X.columns)
        ahead = self._reach(len(y)) if fh is None else max(int(self._steps(fh).max()), 1)
        estimator = Contained(horizon=ahead, **self.get_params(deep=False))
        beside = self._beside(X, y.index)
        self.estimator_ = estimator.fit(y.to_numpy(), beside)
        self._seen, self._seen_beside = y.to_numpy(), beside
        self._last_seen = y.index[-1]
        return self

    def _update(self, y: Any, X: Any = None, update_params: bool = True) -> "LSTMForecaster":
        fresh = y.loc[y.index > self._last_seen]
        if not len(fresh):
            return self
        values, beside = fresh.to_numpy(), self._beside(X, fresh.index)
        if update_params:
            errors = getattr(self.estimator_, "errors_", None)
            self.estimator_.partial_fit(values, beside)
            if errors is not None:
                self.estimator_.errors_ = errors
        else:
            self.estimator_.update(values, beside)
        self._seen = np.concatenate([self._seen, values])
        if beside is not None:
            self._seen_beside = np.concatenate([self._seen_beside, beside])
        self._last_seen = fresh.index[-1]
        return self

    def _predict(self, fh: Any, X: Any) -> Any:
        steps = self._steps(fh)
        values = np.empty((len(steps), len(self._columns)))
        late = steps > 0
        if late.any():
            values[late] = self._forecasts(steps[late], X)
        if not late.all():
            values[~late] = self._one_step_ahead(steps[~late])
        return self._frame(fh, values, self._columns)

    def _predict_interval(self, fh: Any, X: Any, coverage: Sequence[float]) -> Any:
        steps, longest = self._steps(fh), self.estimator_.errors_.shape[1]
        if steps.max() > longest:
            raise ValueError(
                f"fh: expected at most {longest} steps ahead, for which fit measured errors, got "
                f"{steps.max()}; pass fh to fit"
            )
        forecasts = self._forecasts(steps, X)
        bounds = []
        for share in coverage:
            off = half_widths(self.estimator_.errors_, share, extrapolate=True)[steps - 1]
            bounds.append([forecasts - off, forecasts + off])
        # (coverages, 2, steps, targets) to a column for each target, coverage and bound
        values = np.array(bounds).transpose(2, 3, 0, 1).reshape(len(steps), -1)
        columns = pd.MultiIndex.from_product([self._columns, coverage, ["lower", "upper"]])
        return self._frame(fh, values, columns)

    def _steps(self, fh: Any) -> Array:
        """Return the steps of a horizon, counted from the end of the series: 1 is the next."""
        return np.asarray(fh.to_indexer(self.cutoff)) + 1

    def _reach(self, length: int) -> int:
        """Return for how many steps ahead errors are measured if `fit` is not given `fh`."""
        held = (0.2 if self.calibration is None else float(self.calibration)) * length
        return max(min(int(self.window), int(held / 2)), 1)

    def _one_step_ahead(self, steps: Array) -> Array:
        """Return forecasts (len(steps), K) of steps up to now, 0, from the true values before."""
        places = steps - 1 + len(self._seen)
        before = int(self.estimator_.window + self.estimator_.difference_)
        found = np.full((len(places), len(self._columns)), np.nan)
        late = places >= before
        if late.any():
            forecasts = self.estimator_._rolling(self._seen, self._seen_beside, 1)[1][:, 0]
            found[late] = forecasts[places[late] - before]
        return found

    def _forecasts(self, steps: Array, X: Any) -> Array:
        """Return forecasts (len(steps), K) of steps from 1 on."""
        count = int(steps.max())
        ahead = None
        if self.exogenous == "known":
            until = ForecastingHorizon(np.arange(1, count + 1), is_relative=True, freq=self._cutoff)
            ahead = self._beside(X, until.to_absolute_index(self.cutoff))
        return np.asarray(self.estimator_.predict(count, ahead)[steps - 1])

    def _beside(self, X: Any, times: Any) -> Array | None:
        """Return the exogenous columns at some times, in the order of `fit`."""
        if self._known is None:
            if X is not None:
                raise ValueError("X: expected None, since fit had no exogenous columns")
            return None
        if X is None:
            raise ValueError(
                f"X: expected the columns {', '.join(map(str, self._known))}, which fit had, got "
                "None"
            )
        absent = [name for name in self._known if name not in X.columns]
        if absent:
            raise ValueError(
                f"X: expected the columns {', '.join(map(str, self._known))}, which fit had; "
                f"missing: {', '.join(map(str, absent))}"
            )
        missing = times.difference(X.index)
        if len(missing):
            raise ValueError(
                f"X: expected rows from {times[0]} to {times[-1]}, without gaps; missing: "
                f"{missing[0]}" + (f" and {len(missing) - 1} others" if len(missing) > 1 else "")
            )
        return np.asarray(X.loc[times, self._known])

    def _frame(self, fh: Any, values: Array, columns: Any) -> Any:
        return pd.DataFrame(values, fh.to_absolute_index(self.cutoff), columns)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return hyper-parameters for sktime's checks."""
        quick = {"window": 2, "hidden_size": 4, "max_updates": 3, "random_state": 0}
        return [
            {**quick, "difference": 0},
            {**quick, "difference": 1, "strategy": "recursive", "calibration": None},
        ]
