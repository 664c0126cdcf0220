"""What training minimizes.

The public names of `lstmcore.training.losses`, where users of Keras look for them.
"""

from typing import TYPE_CHECKING

from lstmcore.training.losses import *  # noqa: F403
from lstmcore.training.losses import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.losses import __dir__, __getattr__  # noqa: F401
