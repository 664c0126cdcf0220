"""Memory that one training step takes."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path


def peak_growth(call: Callable[[], object]) -> int:
    """Return by how many bytes the resident memory grows at its peak during `call`."""
    try:
        # Reset the peak, so that an earlier one, such as that of an import, does not count.
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        result = call()
        after = _status("VmHWM")
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        result = call()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    del result
    return after - before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")
