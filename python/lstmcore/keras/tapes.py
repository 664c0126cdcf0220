"""Tapes in the form of arrays of one number, which a program of TensorFlow passes to its backward.

TensorFlow uses the memory of an array that a callback returns, if it is aligned, and releases the
array with the tensor: then the tape is freed too, whether a backward came or not. Where it copies
the number instead, the tape is freed at once, and the backward computes the forward again.
"""

from __future__ import annotations

import numpy as np

from lstmcore import functional as F
from lstmcore._owners import Owners
from lstmcore._typing import Array

ALIGNMENT = 64  # bytes, of any build of TensorFlow

NONE = np.full(1, -1, np.int64)
"""Stands for no tape."""

_owners: Owners[F.LSTMTape] = Owners()
count = _owners.count


def array_of(tape: F.LSTMTape) -> Array:
    """Return an array (1,) of int64 that owns `tape`."""
    return _owners.array_of(tape, ALIGNMENT)


def take(holder: Array) -> F.LSTMTape | None:
    """Return the tape of an array or a copy of it; None if it was freed or taken before."""
    return _owners.take(int(holder[0]))
