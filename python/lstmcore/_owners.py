"""Arrays of one number that own a value, for frameworks that store and pass on arrays alone."""

from __future__ import annotations

import itertools
import weakref
from typing import Any, Generic, TypeVar, cast

import numpy as np

from lstmcore._typing import Array

__all__ = ["Owners"]

T = TypeVar("T")
ITEM = 8  # bytes of a number


class _Owner(np.ndarray[Any, Any]):
    """Memory that owns a value; its views keep it alive."""

    value: Any  # until it is taken


class Owners(Generic[T]):
    """Makes the arrays of one kind of value, and finds the value of an array or of its copy."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._owners: weakref.WeakValueDictionary[int, _Owner] = weakref.WeakValueDictionary()

    def array_of(self, value: T, alignment: int = ITEM) -> Array:
        """Return an array (1,) of int64 whose memory owns `value`.

        Parameters
        ----------
        value
        alignment : int, default 8
            Of the array's memory in bytes, a multiple of 8.
        """
        number = next(self._numbers)
        owner = np.ndarray.__new__(_Owner, (2 * alignment // ITEM - 1,), np.int64)
        owner.value = value
        self._owners[number] = owner
        first = 0 if alignment == ITEM else -owner.ctypes.data % alignment // ITEM
        place: Array = owner[first : first + 1]
        place[0] = number
        return place

    def take(self, number: int) -> T | None:
        """Return the value of the array with this number; None if it was freed or taken before.

        Of several threads only one gets it, since popping from a dict is atomic.
        """
        owner = self._owners.get(number)
        return None if owner is None else cast("T | None", vars(owner).pop("value", None))

    def count(self) -> int:
        """Return how many values are alive and not taken."""
        return sum("value" in vars(owner) for owner in list(self._owners.values()))
