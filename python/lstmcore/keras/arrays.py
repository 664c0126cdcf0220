"""The engine on arrays with Keras' layouts: what TensorFlow's callbacks run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmcore import functional as F
from lstmcore._typing import Array, CellActivation
from lstmcore.config import Activation, LSTMConfig


class Walk(NamedTuple):
    """What describes a call besides its tensors; hashable.

    Attributes
    ----------
    layer : str
        The name of the layer, for the counts.
    gate, cell : str or Activation
        The engine's activations: of i, f and o; of g and of the new c.
    gate_function, cell_function : callable
        Keras' functions of the same.
    reverse : bool
        Walk every sequence from its end. y is in the input's order nevertheless.
    sequences : bool
        Whether y is computed.
    """

    layer: str
    gate: CellActivation | Activation
    cell: CellActivation | Activation
    gate_function: Callable[[Any], Any]
    cell_function: Callable[[Any], Any]
    reverse: bool
    sequences: bool


@functools.lru_cache(maxsize=1024)
def config_of(walk: Walk, features: int, units: int, bias: bool) -> LSTMConfig:
    """Return the engine's configuration of a call."""
    return LSTMConfig(
        features,
        units,
        bias=bias,
        go_backwards=walk.reverse,
        gate_activation=walk.gate,
        cell_activation=walk.cell,
        output_activation=walk.cell,
    )


def forward(
    walk: Walk, arrays: Sequence[Array], mask: Array | None, keep: bool
) -> tuple[tuple[Array, ...], F.LSTMTape | None]:
    """Compute the outputs of an LSTM.

    Parameters
    ----------
    walk : Walk
    arrays : sequence of ndarray
        x (N, T, C), h and c (N, H), kernel (C, 4H), recurrent kernel (H, 4H) and, if the layer has
        one, bias (4H,), all float32 or all float64.
    mask : ndarray of bool, shape (N, T), or None
        True at valid steps.
    keep : bool
        Whether a tape is stored.

    Returns
    -------
    outputs : tuple of ndarray
        y (N, T, H), zero at the steps that the mask leaves out, if ``walk.sequences``; h and c
        (N, H).
    tape : LSTMTape or None
    """
    x, h, c, kernel, recurrent, *bias = arrays
    weights = {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent.T}
    if bias:
        weights["bias_l0"] = bias[0]
    config = config_of(walk, kernel.shape[0], recurrent.shape[0], bool(bias))
    packed = F.pack(weights, config, "fp32")
    state = (h[None], c[None])
    tape: F.LSTMTape | None = None
    if keep:
        y, after, tape = F.lstm(
            x, packed, state=state, mask=mask, return_sequences=walk.sequences, training=True
        )
    else:
        y, after = F.lstm(x, packed, state=state, mask=mask, return_sequences=walk.sequences)
    outputs = (after.h[0], after.c[0])
    return ((y, *outputs) if walk.sequences else outputs), tape


def backward(
    walk: Walk,
    tape: F.LSTMTape | None,
    arrays: Sequence[Array],
    mask: Array | None,
    upstream: Sequence[Array],
) -> tuple[Array, ...]:
    """Compute the gradients with respect to all `arrays` of `forward`.

    `upstream` holds the gradients with respect to its outputs. Without a tape, the forward is
    computed once more.
    """
    if tape is None:
        tape = forward(walk, arrays, mask, True)[1]
        assert tape is not None
    *dy, dh, dc = upstream
    gradients = F.lstm_backward(tape, dy[0] if dy else None, (dh[None], dc[None]))
    assert gradients.x is not None
    assert gradients.state is not None
    weights = [np.ascontiguousarray(weight.T) for weight in gradients.weights.values()]
    return gradients.x, gradients.state.h[0], gradients.state.c[0], *weights
