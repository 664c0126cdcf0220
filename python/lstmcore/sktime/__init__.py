"""LSTMs as estimators of sktime: a classifier and a regressor of panels, and a forecaster.

Requires sktime: ``pip install sktime``.
"""

from typing import TYPE_CHECKING

from lstmcore._extras import how_to_install

try:
    import sktime as _sktime  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"lstmcore.sktime needs sktime, which is not installed: {how_to_install('sktime')}"
    ) from error

from lstmcore._suggest import public
from lstmcore.sktime.classifier import LSTMClassifier
from lstmcore.sktime.forecaster import LSTMForecaster
from lstmcore.sktime.regressor import LSTMRegressor

__all__ = ["LSTMClassifier", "LSTMForecaster", "LSTMRegressor"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)
