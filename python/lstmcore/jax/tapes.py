"""Tapes between a forward and its backward, which JAX connects by arrays alone.

The forward returns a number, and the backward asks for the tape of that number. JAX may drop a
backward without saying so, so only as many tapes are stored as fit into a share of the machine's
memory: the oldest are released first, and a backward that finds no tape runs the forward again.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict

from lstmcore.functional import LSTMTape

MOST_TAPES = 1024
"""How many tapes are stored at most, since each takes some memory that it does not count."""


def _eighth_of_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8
    except (AttributeError, ValueError, OSError):  # Windows, and systems without these names
        return 1 << 30


MOST_BYTES = _eighth_of_memory()
"""How many bytes all tapes may hold; the newest is stored whatever its size."""

_stored: OrderedDict[int, tuple[LSTMTape, int]] = OrderedDict()
_bytes = 0
_lock = threading.Lock()

# No two processes count from the same number, so that a number which was saved in one process finds
# no tape of another.
_numbers = itertools.count(int.from_bytes(os.urandom(7), "little"))


def put(tape: LSTMTape) -> int:
    """Store `tape` and return its number, which fits into 64 bits."""
    global _bytes
    size = tape.nbytes
    released = []  # after the lock is, since freeing large tapes takes time
    with _lock:
        number = next(_numbers)
        _stored[number] = tape, size
        _bytes += size
        while len(_stored) > MOST_TAPES or (_bytes > MOST_BYTES and len(_stored) > 1):
            _, oldest = _stored.popitem(last=False)
            _bytes -= oldest[1]
            released.append(oldest)
    return number


def take(number: int) -> LSTMTape | None:
    """Return the tape with this number, which is no longer stored; None if there is none."""
    global _bytes
    with _lock:
        tape, size = _stored.pop(number, (None, 0))
        _bytes -= size
    return tape


def stored() -> tuple[int, int]:
    """Return how many tapes are stored, and their bytes."""
    return len(_stored), _bytes
