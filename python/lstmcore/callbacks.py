"""Callbacks that monitor and control training.

This module re-exports `lstmcore.training.callbacks` under the name that Keras' users expect.
"""

from typing import TYPE_CHECKING

from lstmcore.training.callbacks import *  # noqa: F403
from lstmcore.training.callbacks import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.callbacks import __dir__, __getattr__  # noqa: F401
