"""Losses, which training minimizes.

This module re-exports `lstmcore.training.losses` under the name that Keras' users expect.
"""

from typing import TYPE_CHECKING

from lstmcore.training.losses import *  # noqa: F403
from lstmcore.training.losses import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.losses import __dir__, __getattr__  # noqa: F401
