"""What happened to the calls that a bridge may put on the engine: counts, and a log."""

from __future__ import annotations

import logging
import os
import threading


class CallRecord:
    """Counts calls by name and by why the framework computed them, and logs each kind once.

    Parameters
    ----------
    logger : str
        Name of the logger.
    """

    def __init__(self, logger: str) -> None:
        self._logger = logging.getLogger(logger)
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = {}
        self._seen: set[str] = set()  # lines of the log
        self._verbose = 0  # blocks that asked for the log
        self._handler: logging.Handler | None = None
        self._level = logging.NOTSET
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # another thread may have held it when the process was forked

    @property
    def verbose(self) -> bool:
        """Whether calls are logged."""
        return self._verbose > 0

    def begin(self) -> None:
        """Forget all counts."""
        with self._lock:
            self._counts.clear()
            self._seen.clear()

    def add(self, name: str, reason: str, line: str) -> None:
        """Count a call; `reason` says why the framework computes it, "" if the engine does.

        `line` is what the log says, if it is wanted.
        """
        with self._lock:
            self._counts[name, reason] = self._counts.get((name, reason), 0) + 1
            if not (self._verbose and line) or line in self._seen:
                return
            self._seen.add(line)
        self._logger.info(line)

    def counts(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """Return how many calls the engine computed, by name, and the others by name and reason."""
        with self._lock:
            counts = dict(self._counts)
        engine: dict[str, int] = {}
        others: dict[str, dict[str, int]] = {}
        for (name, reason), count in counts.items():
            if reason:
                others.setdefault(name, {})[reason] = count
            else:
                engine[name] = count
        return engine, others

    def begin_log(self) -> None:
        """Log from now on, to standard error unless the program has handlers of its own."""
        with self._lock:
            self._verbose += 1
            if self._verbose > 1:
                return
            self._seen.clear()
            self._level = self._logger.level
            if not self._logger.isEnabledFor(logging.INFO):
                self._logger.setLevel(logging.INFO)
            if not self._logger.hasHandlers():
                self._handler = logging.StreamHandler()
                self._logger.addHandler(self._handler)

    def end_log(self) -> None:
        """Undo one `begin_log`."""
        with self._lock:
            self._verbose -= 1
            if self._verbose:
                return
            self._logger.setLevel(self._level)
            if self._handler is not None:
                self._logger.removeHandler(self._handler)
                self._handler = None
