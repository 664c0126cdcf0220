"""`LSTMRegressor`, which predicts a number for each time series of a panel."""

from sktime.regression.base import BaseRegressor

from lstmcore._signatures import shows_options
from lstmcore.sklearn import LSTMRegressor as Contained
from lstmcore.sklearn.options import hyper_parameters, stores
from lstmcore.sktime.panels import TAGS, WITHOUT, OfPanels

__all__ = ["LSTMRegressor"]

PARAMETERS = hyper_parameters(Contained, WITHOUT)


@shows_options(PARAMETERS, Contained)
class LSTMRegressor(OfPanels, BaseRegressor):
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
    _contained = Contained

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__()
