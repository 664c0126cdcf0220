"""Tapes in the form of arrays of one number, which a program of TensorFlow passes to its backward.

TensorFlow uses the memory of an array that a callback returns, if it is aligned, and releases the
array with the tensor: then the tape is freed too, whether a backward came or not. Where it copies
the number instead, the tape is freed at once, and the backward computes the forward again.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

from lstmcore import functional as F
from lstmcore._typing import Array

ALIGNMENT = 64  # bytes, of any build of TensorFlow

NONE = np.full(1, -1, np.int64)
"""Stands for no tape."""

_numbers = itertools.count()


class _Owner(np.ndarray[Any, Any]):
    """Memory that owns a tape; its views keep it alive."""

    tape: F.LSTMTape  # until it is taken


_owners: weakref.WeakValueDictionary[int, _Owner] = weakref.WeakValueDictionary()


def array_of(tape: F.LSTMTape) -> Array:
    """Return an array (1,) of int64 that owns `tape`."""
    number = next(_numbers)
    owner = np.ndarray.__new__(_Owner, (2 * ALIGNMENT // 8,), np.int64)
    owner.tape = tape
    _owners[number] = owner
    first = -owner.ctypes.data % ALIGNMENT // 8
    place: Array = owner[first : first + 1]
    place[0] = number
    return place


def take(holder: Array) -> F.LSTMTape | None:
    """Return the tape of an array or a copy of it; None if it was freed or taken before."""
    owner = _owners.get(int(holder[0]))
    return None if owner is None else vars(owner).pop("tape", None)


def count() -> int:
    """Return how many tapes are alive and not taken."""
    return sum("tape" in vars(owner) for owner in list(_owners.values()))
