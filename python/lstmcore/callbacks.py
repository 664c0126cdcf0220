"""What watches and steers a training.

The public names of `lstmcore.training.callbacks`, where users of Keras look for them.
"""

from typing import TYPE_CHECKING

from lstmcore.training.callbacks import *  # noqa: F403
from lstmcore.training.callbacks import __all__ as __all__

if not TYPE_CHECKING:
    from lstmcore.training.callbacks import __dir__, __getattr__  # noqa: F401
