"""`LSTMRegressor`, which predicts a number for each time series of a collection."""

from aeon.regression import BaseRegressor

from lstmcore._signatures import shows_options
from lstmcore.aeon.collections import TAGS, WITHOUT, OfCollections
from lstmcore.sklearn import LSTMRegressor as Contained
from lstmcore.sklearn.options import hyper_parameters, stores

__all__ = ["LSTMRegressor"]

PARAMETERS = hyper_parameters(Contained, WITHOUT)


@shows_options(PARAMETERS, Contained)
class LSTMRegressor(OfCollections, BaseRegressor):
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
    _contained = Contained

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__()
