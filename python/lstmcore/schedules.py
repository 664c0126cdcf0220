"""Schedules: learning rates as functions of the number of steps.

This module re-exports `lstmcore.training.schedules` under the name that Keras' users expect.
"""

from typing import TYPE_CHECKING

from lstmcore.training.schedules import *  # noqa: F403
from lstmcore.training.schedules import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.schedules import __dir__, __getattr__  # noqa: F401
