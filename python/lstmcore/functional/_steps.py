"""The training forward step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lstmcore import _checks
from lstmcore._arrays import refuse_masked
from lstmcore._typing import Precision
from lstmcore.config import LSTMConfig
from lstmcore.functional._packed import PackedWeights, as_packed
from lstmcore.functional._types import FloatArray, LSTMState, LSTMTape, StatePair, as_pair


def lstm_begin(
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    batch_size: int = 1,
    state: StatePair | None = None,
    expected_steps: int = 0,
    seed: int = 0,
    precision: Precision | None = None,
) -> LSTMTape:
    """Begin a training forward that receives its input step by step, as from a simulation.

    `lstm_step` appends steps to the tape, `lstm_backward` goes back through all of them. Outputs
    and gradients have the same bits as those of one `lstm` over the whole sequence.

    Parameters
    ----------
    weights : mapping of str to ndarray, or PackedWeights
        As for `lstm`.
    config : LSTMConfig, optional
        May be left out with packed weights. Not bidirectional, not ``go_backwards``, and no
        dropout between layers, whose mask depends on the number of steps.
    batch_size : int, default 1
        Rows that take their steps together, N.
    state : pair (h, c), optional
        Initial state, each (layers, N, H) or None for zeros.
    expected_steps : int, default 0
        Memory for this many steps is allocated at once, for later ones as they arrive.
    seed : int, default 0
        Seed of the masks, 0 to 2**64 - 1.
    precision : str, optional
        Precision of the products: any but ``"int8"``; see `PackedWeights`. Packed weights have
        their own.

    Returns
    -------
    LSTMTape
        Without steps.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a shape or a value is wrong, or the LSTM cannot run step by step.

    Examples
    --------
    >>> tape = F.lstm_begin(weights, config, batch_size=4)
    >>> outputs = [F.lstm_step(tape, x_t) for x_t in steps]
    >>> gradients = F.lstm_backward(tape, dy)  # dy (N, T, H)
    """
    packed = as_packed(weights, config, precision)
    h, c = (None, None) if state is None else as_pair("state", state)
    return packed._lstm.begin(batch_size, h, c, expected_steps, seed)


def lstm_step(
    tape: LSTMTape,
    x_t: FloatArray,
    reset: npt.NDArray[np.bool_] | Sequence[bool] | None = None,
) -> FloatArray:
    """Append a step to a tape from `lstm_begin`.

    Parameters
    ----------
    tape : LSTMTape
        Used by one thread at a time.
    x_t : ndarray, shape (N, C)
        Input of this step; any strides.
    reset : bool, shape (N,), optional
        True for rows that begin a new sequence with this step: their state is zeroed before it, and
        no gradient passes.

    Returns
    -------
    ndarray, shape (N, H)
        Output of the last layer.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a shape is wrong, or the tape is not from `lstm_begin` or used up.
    RuntimeError
        If another thread is using the tape.
    """
    if not isinstance(tape, LSTMTape):
        raise TypeError(f"tape: expected an LSTMTape, got {type(tape).__name__}")
    refuse_masked(x_t, "x_t")
    if reset is not None and type(reset) is not np.ndarray:
        reset = _checks.any_array(reset, "reset")
    return tape.step(x_t, reset)


def lstm_state(tape: LSTMTape) -> LSTMState:
    """Return a copy of the state after the last step of a tape from `lstm_begin`.

    Raises
    ------
    TypeError
        If `tape` is not an LSTMTape.
    ValueError
        If the tape is not from `lstm_begin` or used up.
    """
    if not isinstance(tape, LSTMTape):
        raise TypeError(f"tape: expected an LSTMTape, got {type(tape).__name__}")
    return LSTMState(*tape.get_state())
