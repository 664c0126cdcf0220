"""Tapes between a forward and its backward, which JAX connects by arrays alone.

The forward returns a number, and the backward asks for the tape of that number. JAX may drop a
backward without saying so, so only as many tapes are stored as fit into a share of the machine's
memory: the oldest are released first, and a backward that finds no tape runs the forward again.
"""

from __future__ import annotations

import os

from lstmcore import _core

MOST_TAPES = 1024
"""How many tapes are stored at most, since each takes some memory that it does not count."""


def _eighth_of_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8
    except (AttributeError, ValueError, OSError):  # Windows, and systems without these names
        return 1 << 30


# No two processes count from the same number, so that a number which was saved in one process finds
# no tape of another.
store = _core.TapeStore(MOST_TAPES, _eighth_of_memory(), int.from_bytes(os.urandom(7), "little"))
"""The tapes of all calls, by numbers that fit into 64 bits. It holds at most an eighth of the
machine's memory; the newest is stored whatever its size."""
