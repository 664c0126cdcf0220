"""`LSTMRegressor`, which predicts a number for each time series of a panel."""

from typing import Any

from sktime.regression.base import BaseRegressor

from lstmcore._signatures import shows_options
from lstmcore._typing import Array
from lstmcore.sklearn import LSTMRegressor as Contained
from lstmcore.sklearn.options import hyper_parameters, stores
from lstmcore.sktime.panels import QUICK, TAGS, WITHOUT, sequences

__all__ = ["LSTMRegressor"]

PARAMETERS = hyper_parameters(Contained, WITHOUT)


@shows_options(PARAMETERS, Contained)
class LSTMRegressor(BaseRegressor):
    """Predict a number for each time series by an LSTM, as an estimator of sktime.

    It contains a `lstmcore.sklearn.LSTMRegressor`, which has the same hyper-parameters except for
    `warm_start`, and takes every panel of sktime's, as `LSTMClassifier` does.

    Parameters
    ----------
    **options
        See `lstmcore.sklearn.LSTMRegressor`.

    Attributes
    ----------
    estimator_ : lstmcore.sklearn.LSTMRegressor
        The fitted estimator, whose `model_` is a `Sequential`.
    columns_ : list
        The names of the channels.

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.sktime import LSTMRegressor
    >>> X = np.random.default_rng(0).standard_normal((400, 2, 10)).cumsum(axis=2)
    >>> y = X[:, 0, -1] - X[:, 1, -1]
    >>> regressor = LSTMRegressor(16, random_state=0).fit(X[:200], y[:200])
    >>> bool(np.corrcoef(regressor.predict(X[200:]), y[200:])[0, 1] > 0.9)
    True
    """

    _tags = TAGS

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__()

    def _fit(self, X: Any, y: Array) -> "LSTMRegressor":
        self.columns_ = list(X[0].columns)
        estimator = Contained(**self.get_params(deep=False))
        self.estimator_ = estimator.fit(sequences(X, self.columns_), y)
        return self

    def _predict(self, X: Any) -> Array:
        return self.estimator_.predict(sequences(X, self.columns_))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return hyper-parameters for sktime's checks."""
        return [dict(options) for options in QUICK]
