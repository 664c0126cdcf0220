"""Optimizers, which update the weights in training.

This module re-exports `lstmcore.training.optimizers` under the name that Keras' users expect.
"""

from typing import TYPE_CHECKING

from lstmcore.training.optimizers import *  # noqa: F403
from lstmcore.training.optimizers import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.optimizers import __dir__, __getattr__  # noqa: F401
