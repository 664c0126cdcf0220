"""How training changes the weights.

The public names of `lstmcore.training.optimizers`, where users of Keras look for them.
"""

from typing import TYPE_CHECKING

from lstmcore.training.optimizers import *  # noqa: F403
from lstmcore.training.optimizers import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.optimizers import __dir__, __getattr__  # noqa: F401
