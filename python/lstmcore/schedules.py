"""Learning rates that change with the steps taken.

The public names of `lstmcore.training.schedules`, where users of Keras look for them.
"""

from typing import TYPE_CHECKING

from lstmcore.training.schedules import *  # noqa: F403
from lstmcore.training.schedules import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.schedules import __dir__, __getattr__  # noqa: F401
