"""LSTMs as scikit-learn estimators: a classifier, a regressor and a forecaster of time series.

`split_samples` divides a long table into the sequences of its samples.

Requires scikit-learn: ``pip install scikit-learn``.
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
from lstmcore.sklearn.backtest import Backtest
from lstmcore.sklearn.classifier import LSTMClassifier
from lstmcore.sklearn.forecaster import LSTMForecaster
from lstmcore.sklearn.regressor import LSTMRegressor
from lstmcore.sklearn.samples import split_samples

__all__ = ["Backtest", "LSTMClassifier", "LSTMForecaster", "LSTMRegressor", "split_samples"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)
