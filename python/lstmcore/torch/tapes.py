"""Tapes in the form of tensors, so that PyTorch stores and releases them with its saved tensors.

An array of one number owns a tape, and a tensor shares that array's memory, so the tape lives as
long as the tensor's storage. Checkpointing releases it with the other saved tensors; a compiled
function passes it from its forward to its backward. A copy of the tensor holds only the number. If
the tape was used or released before a backward, the forward runs once more.
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
    """An array that owns a tape."""

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
    """Return the tape for a backward, which uses it up; None if it was released or taken before.

    Of several threads only one gets it, since popping from a dict is atomic.
    """
    owner = _owners.get(int(tensor))
    return None if owner is None else vars(owner).pop("tape", None)
