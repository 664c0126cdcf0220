"""LSTMs as scikit-learn's estimators: for classes, for values and for what comes next in a series.

Needs scikit-learn, which ``pip install "lstmcore[sklearn]"`` brings.
"""

from typing import TYPE_CHECKING

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'lstmcore.sklearn needs scikit-learn; install it with pip install "lstmcore[sklearn]"'
    ) from error

from lstmcore._suggest import public
from lstmcore.sklearn.classifier import LSTMClassifier
from lstmcore.sklearn.forecaster import LSTMForecaster
from lstmcore.sklearn.regressor import LSTMRegressor

__all__ = ["LSTMClassifier", "LSTMForecaster", "LSTMRegressor"]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)
