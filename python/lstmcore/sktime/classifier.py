"""`LSTMClassifier`, which classifies the time series of a panel."""

from typing import Any

from sktime.classification.base import BaseClassifier

from lstmcore._signatures import shows_options
from lstmcore._typing import Array
from lstmcore.sklearn import LSTMClassifier as Contained
from lstmcore.sklearn.options import hyper_parameters, stores
from lstmcore.sktime.panels import TAGS, WITHOUT, OfPanels

__all__ = ["LSTMClassifier"]

PARAMETERS = hyper_parameters(Contained, WITHOUT)


@shows_options(PARAMETERS, Contained)
class LSTMClassifier(OfPanels, BaseClassifier):
    """Classify time series by an LSTM, as an estimator of sktime.

    It contains a `lstmcore.sklearn.LSTMClassifier`, which has the same hyper-parameters except for
    `warm_start`, and takes every panel of sktime's: arrays (N, C, T), frames with an index (series,
    time), nested frames, lists of frames; series may have different lengths.

    Parameters
    ----------
    **options
        See `lstmcore.sklearn.LSTMClassifier`.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
    n_classes_ : int
    estimator_ : lstmcore.sklearn.LSTMClassifier
        The fitted estimator, whose `model_` is a `Sequential`.
    columns_ : list
        The names of the channels.

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.sktime import LSTMClassifier
    >>> X = np.random.default_rng(0).standard_normal((400, 2, 10))
    >>> y = np.where(X[:, 0, 0] > 0, "up", "down")
    >>> classifier = LSTMClassifier(16, random_state=0).fit(X[:200], y[:200])
    >>> bool(np.mean(classifier.predict(X[200:]) == y[200:]) > 0.9)
    True
    """

    _tags = {**TAGS, "capability:predict_proba": True}  # noqa: RUF012
    _contained = Contained

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__()

    def _predict_proba(self, X: Any) -> Array:
        probabilities: Array = self.estimator_.predict_proba(self._inputs(X))
        return probabilities
