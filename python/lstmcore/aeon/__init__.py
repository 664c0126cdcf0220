"""LSTMs as estimators of aeon: a classifier and a regressor of collections, and a forecaster.

Requires aeon: ``pip install aeon``.
"""

from typing import TYPE_CHECKING

from lstmcore._extras import how_to_install

try:
    import aeon as _aeon  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"lstmcore.aeon needs aeon, which is not installed: {how_to_install('aeon')}"
    ) from error

from lstmcore._suggest import public
from lstmcore.aeon.classifier import LSTMClassifier
from lstmcore.aeon.forecaster import LSTMForecaster
from lstmcore.aeon.regressor import LSTMRegressor

__all__ = ["LSTMClassifier", "LSTMForecaster", "LSTMRegressor"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)
