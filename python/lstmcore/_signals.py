"""Let signals wait until a step is complete."""

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["signals_deferred"]

# Those whose handlers commonly raise: Ctrl-C, the end of a batch job, a time limit. Windows lacks
# the last.
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)
)


class signals_deferred:
    """A block after which Python's signal handlers run, instead of in its middle.

    Without it, a handler that raises, as Ctrl-C's does, may end any function between two of its
    lines: after the weights have changed, say, and before the step is counted. Only for blocks that
    are short. Handlers run on the main thread alone, so that on other threads this does nothing.
    """

    def __enter__(self) -> None:
        self._before: dict[int, Any] = {}
        self._arrived: list[int] = []
        self._over = False
        if threading.current_thread() is not threading.main_thread():
            return
        try:
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):  # else the system handles or ignores it
                    self._before[number] = handler
                    signal.signal(number, self._note)
        except BaseException:  # a handler that was not yet replaced has raised
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._over = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for number in self._arrived:
            self._before[number](number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._over:  # a signal in the middle of `__exit__`
            self._before[number](number, frame)
        else:
            self._arrived.append(number)
