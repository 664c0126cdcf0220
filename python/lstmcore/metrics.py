"""Figures about predictions.

The public names of `lstmcore.training.metrics`, where users of Keras look for them.
"""

from typing import TYPE_CHECKING

from lstmcore.training.metrics import *  # noqa: F403
from lstmcore.training.metrics import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.metrics import __dir__, __getattr__  # noqa: F401
