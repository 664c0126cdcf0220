"""What happened to the calls of Keras' LSTM layers: counts, and a log."""

from __future__ import annotations

from typing import NamedTuple

from lstmcore._call_record import CallRecord


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


record = CallRecord("lstmcore.keras")


def add(layer: str, reason: str = "") -> None:
    """Count a call of a layer; `reason` says why Keras computes it, "" if the engine does."""
    where = f"Keras' own loop ({reason})" if reason else "lstmcore"
    record.add(layer, reason, f"{layer}: {where}" if record.verbose else "")


def accelerated_calls() -> AcceleratedCalls:
    """Return how many calls the engine has computed, and how many it left to Keras, and why.

    The counts begin with the outermost `lstmcore.keras.accelerate` and can be read after its end.
    Those of `lstmcore.keras.LSTM` are among them, and are counted without `accelerate`, too.

    Returns
    -------
    AcceleratedCalls
        Copies of the counts.
    """
    return AcceleratedCalls(*record.counts())
