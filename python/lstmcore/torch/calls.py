"""What happened to the calls of PyTorch's LSTM operators: counts, and a log."""

from __future__ import annotations

from typing import Any, NamedTuple

from lstmcore._call_record import CallRecord


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


record = CallRecord("lstmcore.torch")


def add(operator: str, reason: str, x: Any) -> None:
    """Count a call with the input `x`; `reason` says why PyTorch computes it, "" if it does not."""
    line = ""
    if record.verbose:
        where = f"PyTorch ({reason})" if reason else "lstmcore"
        line = f"aten::{operator} of {tuple(x.shape)} {x.dtype}: {where}"
    record.add(operator, reason, line)


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
    return AcceleratedCalls(*record.counts())
