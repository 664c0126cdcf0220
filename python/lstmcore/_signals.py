"""Let signals wait until a step is complete."""

import signal
import threading
from importlib import import_module
from types import FrameType
from typing import Any

__all__ = ["signals_deferred"]

# What `signal` is made of. `signal.getsignal` looks its result up in an enumeration, which takes
# microseconds for each of the sixty signals that any step would have to ask about.
_signal: Any = import_module("_signal")

# No handler of these ever runs: the system handles them.
_NUMBERS = tuple(
    int(number)
    for number in sorted(signal.valid_signals())
    if number not in {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
)


class signals_deferred:
    """A block after which Python's signal handlers run, instead of in its middle.

    Without it, a handler that raises, as Ctrl-C's does, may end any function between two of its
    lines: after the weights have changed, say, and before the step is counted. Only for blocks that
    are short. Handlers run on the main thread alone, so that on other threads this does nothing.
    Which signal it is does not matter: batch systems warn with SIGUSR1, time limits with SIGALRM.
    """

    def __enter__(self) -> None:
        self._before: dict[int, Any] = {}
        self._arrived: list[tuple[int, FrameType | None]] = []
        if threading.current_thread() is not threading.main_thread():
            return
        try:
            for number in _NUMBERS:
                handler = _signal.getsignal(number)
                if callable(handler):  # else the system handles or ignores it
                    self._before[number] = handler
                    _signal.signal(number, self._note)
        except BaseException:  # a handler that was not yet replaced has raised
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._restore()
        finally:
            self._deliver()

    def _restore(self) -> None:
        """Set all handlers again, also if those that are set already raise meanwhile."""
        try:
            for number, handler in self._before.items():
                _signal.signal(number, handler)
        except BaseException:  # before anything was set: it looks for signals first
            self._restore()
            raise

    def _deliver(self) -> None:
        """Call the handlers of all signals that have arrived, also if one of them raises."""
        try:
            while self._arrived:
                number, frame = self._arrived.pop(0)
                self._before[number](number, frame)
        except BaseException:
            self._deliver()
            raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._arrived.append((number, frame))
