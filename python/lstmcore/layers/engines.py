"""The functions that run a stack of cells: the LSTM's, and those of the simple RNN."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lstmcore import functional as F
from lstmcore._typing import Array, Precision
from lstmcore.config import LSTMConfig

__all__ = ["LSTM_ENGINE", "RNN_ENGINE", "Engine", "without_c"]


class Engine(NamedTuple):
    """Functions with the arguments and results of those for an LSTM.

    Attributes
    ----------
    config, pack, run, backward : callable
        As `LSTMConfig`, `functional.pack`, `functional.lstm` and `functional.lstm_backward`.
    state : str
        The parts of a state, "hc" or "h". Without c, a pair (h, c) has a c of no width.
    """

    config: Callable[..., Any]
    pack: Callable[..., Any]
    run: Callable[..., Any]
    backward: Callable[..., Any]
    state: str


# Functions are looked up when they are called, so that whoever wraps those of `functional` sees
# the calls of layers, too.


def _run_lstm(*given: Any, **options: Any) -> Any:
    return F.lstm(*given, **options)


def _lstm_backward(*given: Any, **options: Any) -> F.LSTMGradients:
    return F.lstm_backward(*given, **options)


LSTM_ENGINE = Engine(LSTMConfig, F.pack, _run_lstm, _lstm_backward, "hc")


def without_c(h: Array) -> Array:
    """Return the c, of no width, that a state without c has beside `h`."""
    return np.zeros((*h.shape[:-1], 0), h.dtype)


def _pack_rnn(weights: Any, config: F.RNNConfig, precision: Precision) -> F.PackedRNN:
    """Pack the weights; `precision` is always that of their own type."""
    return F.pack_rnn(weights, config)


def _run_rnn(
    x: Any,
    weights: Any,
    config: F.RNNConfig | None = None,
    *,
    state: Any = None,
    precision: Precision | None = None,
    **options: Any,
) -> Any:
    y, h, *tape = F.rnn(x, weights, config, state=None if state is None else state[0], **options)
    return y, F.LSTMState(h, without_c(h)), *tape


def _rnn_backward(tape: Any, dy: Any, dstate: Any, **options: Any) -> F.LSTMGradients:
    gradients = F.rnn_backward(tape, dy, None if dstate is None else dstate[0], **options)
    dh = gradients.state
    pair = None if dh is None else F.LSTMState(dh, without_c(dh))
    return F.LSTMGradients(gradients.x, pair, gradients.weights)


RNN_ENGINE = Engine(F.RNNConfig, _pack_rnn, _run_rnn, _rnn_backward, "h")
