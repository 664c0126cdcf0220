"""`LSTMClassifier`, which classifies collections of time series."""

from typing import Any

from aeon.classification import BaseClassifier

from lstmcore._signatures import shows_options
from lstmcore._typing import Array
from lstmcore.aeon.collections import TAGS, WITHOUT, OfCollections, steps_first
from lstmcore.sklearn import LSTMClassifier as Contained
from lstmcore.sklearn.options import hyper_parameters, stores

__all__ = ["LSTMClassifier"]

PARAMETERS = hyper_parameters(Contained, WITHOUT)


@shows_options(PARAMETERS, Contained)
class LSTMClassifier(OfCollections, BaseClassifier):
    """Classify time series by an LSTM, as an estimator of aeon.

    It contains a `lstmcore.sklearn.LSTMClassifier`, which has the same hyper-parameters except for
    `warm_start`, and takes what aeon's classifiers take: arrays (N, C, T) and (N, T), lists of
    series (C, T_i) of any lengths, and aeon's other collections.

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

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.aeon import LSTMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((2, rng.integers(5, 15))) for _ in range(400)]
    >>> y = np.array([x[0, 0] > 0 for x in X]).astype(int)
    >>> classifier = LSTMClassifier(16, random_state=0).fit(X[:200], y[:200])
    >>> bool(classifier.score(X[200:], y[200:]) > 0.9)
    True
    """

    _tags = TAGS
    _contained = Contained

    @stores(PARAMETERS, Contained.__init__)
    def __init__(self) -> None:
        super().__init__()

    def _predict_proba(self, X: Any) -> Array:
        probabilities: Array = self.estimator_.predict_proba(steps_first(X))
        return probabilities
