"""Metrics of predictions.

This module re-exports `lstmcore.training.metrics` under the name that Keras' users expect.
"""

from typing import TYPE_CHECKING

from lstmcore.training.metrics import *  # noqa: F403
from lstmcore.training.metrics import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.metrics import __dir__, __getattr__  # noqa: F401
