"""LSTMs as scikit-learn's estimators: for classes, for values and for what comes next in a series.

Needs scikit-learn, which ``pip install scikit-learn`` brings.
"""

from typing import TYPE_CHECKING

from lstmcore._extras import how_to_install

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"lstmcore.sklearn needs scikit-learn, which is not installed: {how_to_install('sklearn')}"
    ) from error

from lstmcore._suggest import public
from lstmcore.sklearn.classifier import LSTMClassifier
from lstmcore.sklearn.forecaster import LSTMForecaster
from lstmcore.sklearn.regressor import LSTMRegressor

__all__ = ["LSTMClassifier", "LSTMForecaster", "LSTMRegressor"]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)
