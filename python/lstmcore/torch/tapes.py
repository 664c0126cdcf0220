"""Tapes in the form of tensors, so that PyTorch stores and releases them with its saved tensors.

An array of one number owns a tape, and a tensor shares that array's memory, so the tape lives as
long as the tensor's storage. Checkpointing releases it with the other saved tensors; a compiled
function passes it from its forward to its backward. A copy of the tensor holds only the number. If
the tape was used or released before a backward, the forward runs once more.
"""

from __future__ import annotations

import torch

from lstmcore import _core
from lstmcore._owners import Owners

_owners: Owners[_core.LstmTape] = Owners()
count = _owners.count


def tensor_of(tape: _core.LstmTape) -> torch.Tensor:
    """Return a tensor that owns `tape`."""
    return torch.from_numpy(_owners.array_of(tape))


def take(tensor: torch.Tensor) -> _core.LstmTape | None:
    """Return the tape for a backward, which uses it up; None if it was released or taken before."""
    return _owners.take(int(tensor))
