"""What happened to the calls of PyTorch's LSTM operators: counts, and a log."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, NamedTuple

_logger = logging.getLogger("lstmcore.torch")


class AcceleratedCalls(NamedTuple):
    """Counts of calls of PyTorch's LSTM operators since the outermost `accelerate` began.

    Attributes
    ----------
    engine : dict of str to int
        Calls that lstmcore computed, by operator: ``"lstm.input"`` (tensors), ``"lstm.data"``
        (a `PackedSequence`) and ``"lstm_cell"``.
    pytorch : dict of str to dict of str to int
        Calls that were left to PyTorch's own kernel, by operator and by reason.
    """

    engine: dict[str, int]
    pytorch: dict[str, dict[str, int]]


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


def add(operator: str, reason: str, x: Any) -> None:
    """Count a call with the input `x`; `reason` says why PyTorch computes it, "" if it does not."""
    key = (operator, reason)
    with _record.lock:
        _record.counts[key] = _record.counts.get(key, 0) + 1
        if not _record.verbose:
            return
        where = f"PyTorch ({reason})" if reason else "lstmcore"
        line = f"aten::{operator} of {tuple(x.shape)} {x.dtype}: {where}"
        if line in _record.seen:
            return
        _record.seen.add(line)
    _logger.info(line)


def accelerated_calls() -> AcceleratedCalls:
    """Return how often PyTorch's LSTM operators ran on lstmcore, and how often not and why.

    The counts begin with the outermost `accelerate` and can be read after its end.

    Returns
    -------
    AcceleratedCalls
        Copies of the counts.

    Examples
    --------
    >>> with accelerate():
    ...     y, _ = torch.nn.LSTM(4, 8)(torch.zeros(10, 2, 4))
    >>> accelerated_calls().engine
    {'lstm.input': 1}
    """
    with _record.lock:
        counts = dict(_record.counts)
    result = AcceleratedCalls({}, {})
    for (operator, reason), count in counts.items():
        if reason:
            result.pytorch.setdefault(operator, {})[reason] = count
        else:
            result.engine[operator] = count
    return result


def begin_log() -> None:
    """Log from now on, to standard error unless the program has handlers of its own."""
    with _record.lock:
        _record.verbose += 1
        if _record.verbose > 1:
            return
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
