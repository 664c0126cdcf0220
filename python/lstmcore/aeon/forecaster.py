"""`LSTMForecaster`, which continues a time series."""

from typing import Any

import numpy as np
from aeon.forecasting.base import (
    BaseForecaster,
    DirectForecastingMixin,
    IterativeForecastingMixin,
    SeriesToSeriesForecastingMixin,
)

from lstmcore._signatures import shows_options
from lstmcore._typing import Array
from lstmcore.aeon.collections import QUICK, WITHOUT
from lstmcore.sklearn import LSTMForecaster as Contained
from lstmcore.sklearn.options import hyper_parameters, stores

__all__ = ["LSTMForecaster"]

# Neither several targets nor columns beside them nor intervals have a place in aeon's interface.
PARAMETERS = hyper_parameters(Contained, (*WITHOUT, "target", "exogenous", "calibration"))


@shows_options(PARAMETERS, Contained)
class LSTMForecaster(
    DirectForecastingMixin,
    IterativeForecastingMixin,
    SeriesToSeriesForecastingMixin,
    BaseForecaster,
):
    """Forecast a time series by an LSTM that reads a window of the past, as an estimator of aeon.

    It contains a `lstmcore.sklearn.LSTMForecaster`, which has the same hyper-parameters except for
    `target`, `exogenous`, `calibration` and `warm_start`.

    Parameters
    ----------
    **options
        See `lstmcore.sklearn.LSTMForecaster`.

    Attributes
    ----------
    estimator_ : lstmcore.sklearn.LSTMForecaster
        The fitted estimator, whose `model_` is a `Sequential`.

    Notes
    -----
    As in all of aeon, ``predict(y)`` returns one number, the value `horizon` steps after the end of
    `y`, which may be another series than that of `fit` and has at least ``window + difference``
    steps. ``series_to_series_forecast(y, n)`` fits one model for all of the next n steps, where
    ``direct_forecast(y, n)`` fits n models, and ``iterative_forecast(y, n)`` one for the next step,
    which it applies to its own forecasts.

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.aeon import LSTMForecaster
    >>> wave = np.sin(np.arange(310) / 5)
    >>> forecaster = LSTMForecaster(20, 3, random_state=0).fit(wave[:300])
    >>> bool(abs(forecaster.predict(wave[:305]) - wave[307]) < 0.1)
    True
    >>> forecast = LSTMForecaster(20, random_state=0).series_to_series_forecast(wave[:300], 10)
    >>> bool(np.abs(forecast - wave[300:]).max() < 0.1)
    True
    """

    _tags = {  # noqa: RUF012
        "algorithm_type": "deeplearning",
        "y_inner_type": "np.ndarray",
        "capability:horizon": True,
        "capability:exogenous": False,
        "capability:multivariate": False,
    }

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__(self.horizon, axis=1)

    def _fit(self, y: Array, exog: Any) -> "LSTMForecaster":
        self.estimator_ = Contained(**self.get_params(deep=False)).fit(y[0])
        return self

    def _predict(self, y: Array, exog: Any) -> float:
        return float(self.estimator_.predict(self.horizon, y=y[0])[-1])

    def _series_to_series_forecast(self, y: Any, prediction_horizon: int, exog: Any) -> Array:
        y, _ = self._preprocess_forecasting_input(y, exog, 1, True)
        options = {**self.get_params(deep=False), "horizon": prediction_horizon}
        return np.asarray(Contained(**options).fit(y[0]).predict())

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return {**QUICK, "window": 3, "difference": 0}
