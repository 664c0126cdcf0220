"""What must hold for every input: which exceptions, how much memory, how much time."""

import faulthandler
import os
import re
import signal

TIMES, ROOM = 4, 64 << 20
"""An input may take so many times its own bytes, and so many bytes more."""

WALL = 1 << 30
"""Bytes that a process may take beyond those at its start; then its allocations fail."""

SECONDS = float(os.environ.get("LSTMCORE_FUZZ_LIMIT", "10"))
"""Of the processor, that an input may take."""

HANGS = 12
"""An input is ended after this many times as long: it waits, or cannot be interrupted."""

EXPECTED = (ValueError, TypeError, OSError)


class TooLong(BaseException):
    """Raised within an input that takes too long."""


def interrupt_after(seconds):
    """Raise `TooLong` after so many seconds of the processor's time; 0: no more."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _too_long(number, frame):
    raise TooLong


def install():
    signal.signal(signal.SIGPROF, _too_long)
    faulthandler.register(signal.SIGUSR1)
    set_wall()


def set_wall():
    """Let allocations fail that would take memory from other programs of the machine."""
    try:
        import resource
    except ImportError:  # Windows
        return
    found = _status("VmData")
    if found is not None:
        limit = found + WALL
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


class Memory:
    """Measures the largest memory of a process during each input, where the system tells it."""

    SLACK = 4 << 20

    def __init__(self):
        self._before = None

    def begin(self):
        self._before, peak = _status("VmRSS"), _status("VmHWM")
        if self._before is not None and peak - self._before > self.SLACK:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the peak becomes what is in use now

    def peak(self):
        """Return by how many bytes the memory grew at most since `begin`; 0 if nobody knows."""
        peak = _status("VmHWM")
        return 0 if peak is None or self._before is None else max(peak - self._before, 0)


def _status(name):
    try:
        with open("/proc/self/status") as file:
            found = re.search(rf"{name}:\s*(\d+) kB", file.read())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def allowed(error, documented=()):
    """Return whether an exception is one that a caller expects."""
    if isinstance(error, EXPECTED):
        return True
    names = {kind.__name__ for kind in type(error).__mro__} - {
        "Exception",
        "BaseException",
        "object",
    }
    return not names.isdisjoint(documented)


def most_bytes(size):
    return TIMES * size + ROOM


def place_of(error):
    """Return the last line of our own in an exception's traceback, as a name for finds."""
    found, trace = "?", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if f"lstmcore{os.sep}" in file:
            found = f"{file.rpartition(f'lstmcore{os.sep}')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
