"""LSTM inference one step at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._arrays import refuse_masked
from lstmcore._typing import Exporter, Precision
from lstmcore.config import LSTMConfig
from lstmcore.functional import FloatArray, LSTMState, PackedWeights, as_packed, as_pair

__all__ = ["LSTMStream"]

_ndarray = np.ndarray  # found sooner than an attribute, in a step that takes half a microsecond


class LSTMStream:
    """An LSTM that takes one step at a time and holds its state; same bits as `functional.lstm`.

    Only one thread may use it at a time. Streams made from the same packed weights share them.

    Parameters
    ----------
    weights : mapping of str to ndarray, or PackedWeights
        See `functional.lstm`.
    config : LSTMConfig, optional
        Sizes and options; may be left out with packed weights. It must be neither bidirectional nor
        ``go_backwards``. Dropout does not apply.
    batch_size : int, default 1
        Number of rows that take their steps together, N.
    precision : str, optional
        Precision of products; see `functional.PackedWeights`. Packed weights have their own.

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
        """Number of rows that take their steps together, N."""
        return self._stream.batch_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the weights, and of inputs and outputs."""
        return self._stream.dtype

    def step(self, x_t: FloatArray | Exporter, out: FloatArray | None = None) -> FloatArray:
        """Take one step.

        Parameters
        ----------
        x_t : ndarray, shape (N, C), or (C,) if N is 1
            Input of this step.
        out : ndarray, shape (N, H), or (H,) where x_t is (C,), optional; P with a projection
            Array for the output: C-contiguous, not overlapping `x_t`. A new array by default.

        Returns
        -------
        h_t : ndarray, shape (N, H) or (H,)
            Output of the last layer; `out` if given.

        Raises
        ------
        TypeError
            If an argument is not an array of the stream's dtype.
        ValueError
            If a shape is wrong, or `out` is read-only, not contiguous or overlaps `x_t`.
        RuntimeError
            If another thread is using the stream.
        """
        if type(x_t) is not _ndarray:
            refuse_masked(x_t, "x_t")
        return self._stream.step(x_t, out)

    def reset(self, row: int | None = None) -> None:
        """Zero the state of every row, or of one.

        Parameters
        ----------
        row : int, optional
            Index from 0 to N - 1; all rows by default.
        """
        self._stream.reset(row)

    @property
    def state(self) -> LSTMState:
        """A copy of the state, h and c of shape (layers, N, H); assign such a pair to set it."""
        return LSTMState(*self._stream.get_state())

    @state.setter
    def state(self, state: tuple[FloatArray, FloatArray]) -> None:
        h, c = as_pair("state", state)
        if h is None or c is None:
            raise TypeError("state: expected a pair (h, c) of arrays, got None in it")
        self._stream.set_state(h, c)

    def __repr__(self) -> str:
        return f"LSTMStream({self._config}, batch_size={self.batch_size}, dtype={self.dtype})"
