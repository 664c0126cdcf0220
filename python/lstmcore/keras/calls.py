"""What happened to the calls of Keras' LSTM layers: counts, and a log."""

from __future__ import annotations

import logging
import os
import threading
from typing import NamedTuple

_logger = logging.getLogger("lstmcore.keras")


class AcceleratedCalls(NamedTuple):
    """Counts of calls of LSTM layers since the outermost `accelerate` began.

    Attributes
    ----------
    engine : dict of str to int
        Forward calls that the engine has computed, by the name of the layer. In compiled functions,
        too, every run counts.
    keras : dict of str to dict of str to int
        Calls left to Keras' own loop, by the name of the layer and by the reason. A compiled
        function counts once, when it is traced.
    """

    engine: dict[str, int]
    keras: dict[str, dict[str, int]]


class _Record:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: dict[tuple[str, str], int] = {}
        self.seen: set[str] = set()  # lines of the log
        self.verbose = 0  # blocks that asked for the log
        self.handler: logging.Handler | None = None
        self.level = logging.NOTSET


_record = _Record()


def _renew_lock() -> None:
    _record.lock = threading.Lock()  # another thread may have held it when the process was forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def begin() -> None:
    """Forget all counts."""
    with _record.lock:
        _record.counts.clear()
        _record.seen.clear()


def add(layer: str, reason: str = "") -> None:
    """Count a call of a layer; `reason` says why Keras computes it, "" if the engine does."""
    with _record.lock:
        key = (layer, reason)
        _record.counts[key] = _record.counts.get(key, 0) + 1
        if not _record.verbose:
            return
        line = f"{layer}: Keras' own loop ({reason})" if reason else f"{layer}: lstmcore"
        if line in _record.seen:
            return
        _record.seen.add(line)
    _logger.info(line)


def accelerated_calls() -> AcceleratedCalls:
    """Return how many calls the engine has computed, and how many it left to Keras, and why.

    The counts begin with the outermost `lstmcore.keras.accelerate` and can be read after its end.
    Those of `lstmcore.keras.LSTM` are among them, and are counted without `accelerate`, too.

    Returns
    -------
    AcceleratedCalls
        Copies of the counts.
    """
    with _record.lock:
        counts = dict(_record.counts)
    result = AcceleratedCalls({}, {})
    for (layer, reason), count in counts.items():
        if reason:
            result.keras.setdefault(layer, {})[reason] = count
        else:
            result.engine[layer] = count
    return result


def begin_log() -> None:
    """Log from now on, to the standard error unless the program has handlers of its own."""
    with _record.lock:
        _record.verbose += 1
        if _record.verbose > 1:
            return
        _record.seen.clear()
        _record.level = _logger.level
        if not _logger.isEnabledFor(logging.INFO):
            _logger.setLevel(logging.INFO)
        if not _logger.hasHandlers():
            _record.handler = logging.StreamHandler()
            _logger.addHandler(_record.handler)


def end_log() -> None:
    """Undo one `begin_log`."""
    with _record.lock:
        _record.verbose -= 1
        if _record.verbose:
            return
        _logger.setLevel(_record.level)
        if _record.handler is not None:
            _logger.removeHandler(_record.handler)
            _record.handler = None
