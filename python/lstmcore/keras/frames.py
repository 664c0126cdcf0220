"""Who is calling: programs traced for a file must not hold calls back into this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType


def called_by(modules: Sequence[str]) -> bool:
    """Return whether a function of one of `modules`, or of a module in one, is on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if any(name == module or name.startswith(f"{module}.") for module in modules):
            return True
        frame = frame.f_back
    return False
