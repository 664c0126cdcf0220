"""The declared shape of a model's input."""

from collections.abc import Sequence

from lstmcore import _checks
from lstmcore._configurable import one_line

__all__ = ["Input"]


class Input:
    """Put first in a `Sequential`, builds it at once instead of at its first call.

    Parameters
    ----------
    shape : sequence of int or None
        Of one sample, without the batch: (None, C) for sequences of any length of C features,
        (None,) for token ids.
    """

    def __init__(self, shape: Sequence[int | None]) -> None:
        if isinstance(shape, (str, bytes, int)):
            raise TypeError(f"shape: expected a sequence of int or None, got {shape!r}")
        self.shape = tuple(
            None if size is None else _checks.integer(size, "shape", 1) for size in shape
        )

    def __repr__(self) -> str:
        return one_line(self)
