"""The forward over whole sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, overload

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import as_array
from lstmcore._typing import Exporter, Precision
from lstmcore.config import LSTMConfig
from lstmcore.functional._packed import PackedWeights, as_packed
from lstmcore.functional._types import (
    FloatArray,
    Lengths,
    LSTMState,
    LSTMTape,
    Reset,
    StatePair,
    as_pair,
    flags_array,
)


@overload
def lstm(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    state: StatePair | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: Literal[False] = False,
    seed: int = 0,
    precision: Precision | None = None,
) -> tuple[FloatArray, LSTMState]: ...
@overload
def lstm(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    state: StatePair | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: Literal[True],
    seed: int = 0,
    recompute: int | str | None = None,
    precision: Precision | None = None,
) -> tuple[FloatArray, LSTMState, LSTMTape]: ...
def lstm(
    x: FloatArray | Exporter,
    weights: Mapping[str, FloatArray] | PackedWeights,
    config: LSTMConfig | None = None,
    *,
    state: StatePair | None = None,
    lengths: Lengths | None = None,
    reset: Reset | None = None,
    mask: Reset | None = None,
    return_sequences: bool = True,
    training: bool = False,
    seed: int = 0,
    recompute: int | str | None = None,
    precision: Precision | None = None,
) -> tuple[FloatArray, LSTMState] | tuple[FloatArray, LSTMState, LSTMTape]:
    """Run an LSTM over a batch of sequences.

    Parameters
    ----------
    x : ndarray, shape (N, T, C)
        Input, of the weights' dtype; any strides. N = 0 and T = 0 are allowed: the state stays.
    weights : mapping of str to ndarray, or PackedWeights
        A mapping is packed for this call.
    config : LSTMConfig, optional
        Sizes and options; may be left out with packed weights.
    state : pair (h, c), optional
        Initial state, each (layers * D, N, H) or None for zeros.
    lengths : integers, shape (N,), optional
        Valid steps of each row, 0 to T, in any order; all T by default. Later steps are ignored.
        A row's final state is that of its last valid step, or its initial state if it has none.
    reset : bool, shape (N, T), optional
        True where a new sequence starts: nothing passes between this step and the one before it.
        The forward direction's state is zeroed before the step, the reverse direction's after it.
    mask : bool, shape (N, T), optional
        True at valid steps. The others are skipped: their input is ignored, the state passes
        unchanged, y is zero, and a reset acts on the next valid step. Instead of `lengths`.
    return_sequences : bool, default True
        If false, y is the last layer's final h instead of its h of every step.
    training : bool, default False
        Apply dropout and zoneout and return a tape for `lstm_backward`.
    seed : int, default 0
        Seed of the masks (`lstm_masks`), 0 to 2**64 - 1.
    recompute : int or "sqrt", optional
        The tape records the state only once in this many steps, and the backward computes the steps
        between again: gradients of the same bits for about a third more time, and memory that no
        longer grows by all gates of every step (Chen et al. 2016). "sqrt": the square root of the
        longest sequence, which takes the least memory. None: everything is recorded.
    precision : str, optional
        Precision of the products; see `PackedWeights`. Packed weights have their own.

    Returns
    -------
    y : ndarray, shape (N, T, D * H) or, without `return_sequences`, (N, D * H)
        Output of the last layer; zero past each row's length.
    state : LSTMState
        Final state of every layer and direction.
    tape : LSTMTape
        Only if `training`.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or float32 and float64 are mixed.
    ValueError
        If a shape or a value is wrong.
    """
    if (
        type(weights) is not PackedWeights
        or not (config is None or config is weights._config)
        or precision is not None
    ):
        weights = as_packed(weights, config, precision)
    h, c = (None, None) if state is None else as_pair("state", state)
    if type(x) is not np.ndarray:
        x = as_array(x, "x")
    if lengths is not None and (type(lengths) is not np.ndarray or lengths.dtype.char in "LQ"):
        lengths = _checks.integer_array(lengths, "lengths")
    if reset is not None and type(reset) is not np.ndarray:
        reset = flags_array(reset, "reset")
    if mask is not None and type(mask) is not np.ndarray:
        mask = flags_array(mask, "mask")
    again = 0 if recompute is None else recompute_steps(recompute)
    if again and not training:
        raise ValueError(f"recompute: expected None without training, got {recompute!r}")
    y, h, c, tape = weights._lstm.forward(
        x, h, c, lengths, reset, return_sequences, training, seed, mask, again
    )
    if y is None:
        y = h[-1].copy() if weights._config.num_directions == 1 else np.hstack([h[-2], h[-1]])
    if tape is None:
        return y, LSTMState(h, c)
    return y, LSTMState(h, c), tape


def recompute_steps(recompute: int | str | None) -> int:
    """Return the engine's number for the argument `recompute` of `lstm`."""
    if recompute is None:
        return 0
    if isinstance(recompute, str):
        _checks.choice(recompute, "recompute", ("sqrt",))
        return -1
    return _checks.integer(recompute, "recompute", 1)
