"""The LSTM as a function of JAX arrays on lstmcore's engine, on the CPU.

`lstm` works inside ``jax.jit``, ``jax.grad``, ``jax.vmap`` and ``jax.lax.scan``, with exact
gradients. Needs ``pip install jax``.
"""

from typing import TYPE_CHECKING

from lstmcore._extras import how_to_install

try:
    import jax as _jax  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError(
        f"lstmcore.jax needs JAX, which is not installed: {how_to_install('jax')}"
    ) from None

from lstmcore._suggest import public
from lstmcore.jax.function import lstm

__all__ = ["lstm"]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)
