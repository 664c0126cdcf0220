"""What happened to the calls that a bridge may put on the engine: counts, and a log."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from typing import Protocol


class Source(Protocol):
    """Calls of the engine that are counted elsewhere, and only count here when somebody asks."""

    def counts(self) -> Mapping[str, int]:
        """Return how many calls there were so far, by name."""

    def watch(self, watched: bool) -> None:
        """Begin, or cease, to pass each call to `CallRecord.add` instead, for the log."""


class CallRecord:
    """Counts calls by name and by why the framework computed them, and logs each kind once.

    Parameters
    ----------
    logger : str
        Name of the logger.

    Attributes
    ----------
    sources : list of Source
        Others that count calls of the engine.
    """

    def __init__(self, logger: str) -> None:
        self.sources: list[Source] = []
        self._before: dict[str, int] = {}  # what the sources had counted at the beginning
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
        before = self._elsewhere()
        with self._lock:
            self._before = before
            self._counts.clear()
            self._seen.clear()

    def _elsewhere(self) -> dict[str, int]:
        """Return what the sources have counted so far."""
        found: dict[str, int] = {}
        for source in self.sources:
            for name, count in source.counts().items():
                found[name] = found.get(name, 0) + count
        return found

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
            before = self._before
        engine = {
            name: count - before.get(name, 0)
            for name, count in self._elsewhere().items()
            if count > before.get(name, 0)
        }
        others: dict[str, dict[str, int]] = {}
        for (name, reason), count in counts.items():
            if reason:
                others.setdefault(name, {})[reason] = count
            else:
                engine[name] = engine.get(name, 0) + count
        return engine, others

    def begin_log(self) -> None:
        """Log from now on, to standard error unless the program has handlers of its own."""
        with self._lock:
            self._verbose += 1
            if self._verbose > 1:
                return
            for source in self.sources:
                source.watch(True)
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
            for source in self.sources:
                source.watch(False)
            self._logger.setLevel(self._level)
            if self._handler is not None:
                self._logger.removeHandler(self._handler)
                self._handler = None
