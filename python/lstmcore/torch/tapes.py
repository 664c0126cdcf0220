"""Tapes that travel as tensors, so that whoever keeps or drops saved tensors keeps or drops tapes.

A tape is owned by an array of one number, and a tensor shares that array's memory: the tape lives
as long as the tensor's storage. Checkpointing drops it with the other saved tensors; a compiled
function passes it from its forward to its backward. A copy of the tensor holds the number alone;
if the tape is gone by then, or was used, the forward is run once more.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
import torch

from lstmcore import _core

_numbers = itertools.count()


class _Owner(np.ndarray[Any, Any]):
    """An array with a tape."""

    tape: _core.LstmTape  # until it is taken


_owners: weakref.WeakValueDictionary[int, _Owner] = weakref.WeakValueDictionary()


def tensor_of(tape: _core.LstmTape) -> torch.Tensor:
    """Return a tensor that owns `tape`."""
    owner = np.ndarray.__new__(_Owner, (1,), np.int64)
    number = next(_numbers)
    owner[0] = number
    owner.tape = tape
    _owners[number] = owner
    return torch.from_numpy(owner)


def take(tensor: torch.Tensor) -> _core.LstmTape | None:
    """Return the tape for a backward, which uses it up, or None if it is gone or taken already.

    Of several threads one gets it: to pop from a dict is one step.
    """
    owner = _owners.get(int(tensor))
    return None if owner is None else vars(owner).pop("tape", None)
