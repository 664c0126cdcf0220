"""An LSTM that is fed one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._typing import Exporter, Precision
from lstmcore.config import LSTMConfig
from lstmcore.functional import FloatArray, LSTMState, PackedWeights, as_packed, as_pair

__all__ = ["LSTMStream"]


class LSTMStream:
    """An LSTM that is fed one step at a time and keeps its state; same bits as `functional.lstm`.

    One thread at a time may use it. The weights are shared with other streams made from the same
    packed weights.

    Parameters
    ----------
    weights : mapping of str to ndarray, or PackedWeights
        As for `functional.lstm`.
    config : LSTMConfig, optional
        Sizes and options; may be left out with packed weights. Not bidirectional, not
        ``go_backwards``. Dropout does not apply.
    batch_size : int, default 1
        Rows that take their steps together, N.
    precision : str, optional
        How exactly products are computed; see `functional.PackedWeights`. Packed weights have
        theirs.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the LSTM cannot run step by step, or ``batch_size`` is below 1.
    """

    __slots__ = ("_config", "_stream")

    def __init__(
        self,
        weights: Mapping[str, FloatArray] | PackedWeights,
        config: LSTMConfig | None = None,
        batch_size: int = 1,
        precision: Precision | None = None,
    ) -> None:
        packed = as_packed(weights, config, precision)
        self._config = packed.config
        self._stream = _core.LstmStream(packed._lstm, batch_size)

    @property
    def config(self) -> LSTMConfig:
        """Sizes and options."""
        return self._config

    @property
    def batch_size(self) -> int:
        """Rows that take their steps together, N."""
        return self._stream.batch_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type, that of the weights."""
        return self._stream.dtype

    def step(self, x_t: FloatArray | Exporter, out: FloatArray | None = None) -> FloatArray:
        """Take one step.

        Parameters
        ----------
        x_t : ndarray, shape (N, C), or (C,) if N is 1
            Input of this step.
        out : ndarray, shape (N, H), or (H,) where x_t is (C,), optional; P with a projection
            Where the output goes: C-contiguous, apart from `x_t`. A new array by default.

        Returns
        -------
        h_t : ndarray, shape (N, H) or (H,)
            Output of the last layer; `out` if given.

        Raises
        ------
        TypeError
            If an argument is no array of the stream's dtype.
        ValueError
            If a shape is wrong, or `out` is not contiguous, read-only or overlaps `x_t`.
        RuntimeError
            If another thread is using the stream.
        """
        return self._stream.step(x_t, out)

    def reset(self, row: int | None = None) -> None:
        """Zero the state of every row, or of one.

        Parameters
        ----------
        row : int, optional
            0 to N - 1; all rows by default.
        """
        self._stream.reset(row)

    @property
    def state(self) -> LSTMState:
        """A copy of the state, h and c of shape (layers, N, H); may be set from any such pair."""
        return LSTMState(*self._stream.get_state())

    @state.setter
    def state(self, state: tuple[FloatArray, FloatArray]) -> None:
        h, c = as_pair("state", state)
        if h is None or c is None:
            raise TypeError("state: expected a pair (h, c) of arrays, got None in it")
        self._stream.set_state(h, c)

    def __repr__(self) -> str:
        return f"LSTMStream({self._config}, batch_size={self.batch_size}, dtype={self.dtype})"
