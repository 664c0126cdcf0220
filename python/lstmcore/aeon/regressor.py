"""`LSTMRegressor`, which predicts a number for each time series of a collection."""

from typing import Any

from aeon.regression import BaseRegressor

from lstmcore._signatures import shows_options
from lstmcore._typing import Array
from lstmcore.aeon.collections import QUICK, TAGS, WITHOUT, steps_first
from lstmcore.sklearn import LSTMRegressor as Contained
from lstmcore.sklearn.options import hyper_parameters, stores

__all__ = ["LSTMRegressor"]

PARAMETERS = hyper_parameters(Contained, WITHOUT)


@shows_options(PARAMETERS, Contained)
class LSTMRegressor(BaseRegressor):
    """Predict a number for each time series by an LSTM, as an estimator of aeon.

    It contains a `lstmcore.sklearn.LSTMRegressor`, which has the same hyper-parameters except for
    `warm_start`, and takes what aeon's regressors take: arrays (N, C, T) and (N, T), lists of
    series (C, T_i) of any lengths, and aeon's other collections.

    Parameters
    ----------
    **options
        See `lstmcore.sklearn.LSTMRegressor`.

    Attributes
    ----------
    estimator_ : lstmcore.sklearn.LSTMRegressor
        The fitted estimator, whose `model_` is a `Sequential`.

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.aeon import LSTMRegressor
    >>> X = np.random.default_rng(0).standard_normal((400, 2, 10)).cumsum(axis=2)
    >>> y = X[:, 0, -1] - X[:, 1, -1]
    >>> regressor = LSTMRegressor(16, random_state=0).fit(X[:200], y[:200])
    >>> bool(regressor.score(X[200:], y[200:]) > 0.8)
    True
    """

    _tags = TAGS

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__()

    def _fit(self, X: Any, y: Array) -> "LSTMRegressor":
        self.estimator_ = Contained(**self.get_params(deep=False)).fit(steps_first(X), y)
        return self

    def _predict(self, X: Any) -> Array:
        return self.estimator_.predict(steps_first(X))

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return dict(QUICK)
