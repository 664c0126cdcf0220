"""The greatest value or the mean over time: of windows, or of a whole sequence."""

from typing import NamedTuple

import numpy as np

from lstmcore import _checks, _core
from lstmcore._typing import Array, PoolPadding, Shape, choices
from lstmcore.layers.base import Layer

__all__ = [
    "AveragePooling1D",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "MaxPooling1D",
    "windows_of",
]


class _Pooling(Layer):
    def build(self, input_shape: Shape) -> Shape:
        """Accept (N, T, C)."""
        return (input_shape[0], self._accept(input_shape, (3,), "(N, T, C)"))


class _MaxContext(NamedTuple):
    argmax: Array
    steps: int


class GlobalMaxPooling1D(_Pooling):
    """The greatest value over time of each feature: (N, T, C) to (N, C).

    Only the valid steps of each row count; a row without any yields 0.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, None, _MaxContext]:
        """Take the maximum; see `Layer.forward`."""
        outputs, argmax = _core.max_over_time_forward(inputs, lengths)
        return outputs, None, _MaxContext(argmax, inputs.shape[1])

    def backward(self, context: _MaxContext, dy: Array, need_x: bool = True) -> Array:
        """Pass `dy` to the step that had the maximum."""
        return _core.max_over_time_backward(context.argmax, dy, context.steps)


def windows_of(
    input_shape: Shape, size: int, strides: int, padding: str, dilation_rate: int
) -> int | None:
    """Count the windows over the time axis of (N, T, C); None if T is open.

    Raises
    ------
    ValueError
        If T is too short for a window.
    """
    steps = input_shape[1]
    if steps is None:
        return None
    lengths = np.array([steps], dtype=np.int64)
    count = int(_core.window_counts(lengths, size, strides, padding, dilation_rate)[0])
    if count == 0:
        span = (size - 1) * dilation_rate + 1
        raise ValueError(
            f"expected inputs of at least {span} time steps, which one window takes, got {steps}"
        )
    return count


class _WindowPooling(Layer):
    """Base of the layers that pool windows over time, with the parameters of `MaxPooling1D`."""

    def __init__(
        self,
        pool_size: int = 2,
        strides: int | None = None,
        padding: PoolPadding = "valid",
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.pool_size = _checks.integer(pool_size, "pool_size", 1)
        self.strides = None if strides is None else _checks.integer(strides, "strides", 1)
        self.padding = _checks.choice(padding, "padding", choices(PoolPadding))
        self._step = self.pool_size if self.strides is None else self.strides

    def build(self, input_shape: Shape) -> Shape:
        """Accept (N, T, C)."""
        width = self._accept(input_shape, (3,), "(N, T, C)")
        windows = windows_of(input_shape, self.pool_size, self._step, self.padding, 1)
        return (input_shape[0], windows, width)

    @property
    def mixes_steps(self) -> bool:
        """Whether windows have several steps, or some steps are in no window."""
        return self.pool_size > 1 or self._step > 1

    def output_lengths(self, lengths: Array) -> Array:
        """Count the windows of sequences of `lengths`."""
        return _core.window_counts(lengths, self.pool_size, self._step, self.padding, 1)


class MaxPooling1D(_WindowPooling):
    """The greatest value of each feature in windows over time: (N, T, C) to (N, T', C).

    Parameters
    ----------
    pool_size : int, default 2
        Steps of a window.
    strides : int, optional
        Steps from one window to the next; None: `pool_size`.
    padding : {"valid", "same"}, default "valid"
        "valid": T' is ``(T - pool_size) // strides + 1``, windows that lie within the sequence.
        "same": T' is T / strides, rounded up; the steps that windows lack are added at
        both ends of the sequence, an odd one at its end, and do not count.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Each row is treated as if it were alone: T is its length in the formulas of T', and outputs past
    its T' are zero. NaN is greater than any number; of equal values the first gets the
    gradient.
    """

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _MaxContext]:
        """Take the maxima; see `Layer.forward`."""
        outputs, argmax = _core.max_pool1d_forward(
            inputs, lengths, self.pool_size, self._step, self.padding
        )
        valid = None if lengths is None else self.output_lengths(lengths)
        return outputs, valid, _MaxContext(argmax, inputs.shape[1])

    def backward(self, context: _MaxContext, dy: Array, need_x: bool = True) -> Array:
        """Pass `dy` to the steps that had the maxima."""
        return _core.max_pool1d_backward(context.argmax, dy, context.steps)


class _AverageContext(NamedTuple):
    lengths: Array | None
    steps: int


class GlobalAveragePooling1D(_Pooling):
    """The mean over time of each feature: (N, T, C) to (N, C).

    Only the valid steps of each row count; a row without any yields 0.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, None, _AverageContext]:
        """Take the mean; see `Layer.forward`."""
        outputs = _core.mean_over_time_forward(inputs, lengths)
        return outputs, None, _AverageContext(lengths, inputs.shape[1])

    def backward(self, context: _AverageContext, dy: Array, need_x: bool = True) -> Array:
        """Divide `dy` among the valid steps."""
        return _core.mean_over_time_backward(context.lengths, dy, context.steps)


class _WindowContext(NamedTuple):
    steps: int
    lengths: Array | None
    laid: tuple[int, ...]
    """Shape of the padded sequences."""
    places: Array | None
    """(N, T), where a row's steps are in them; None: at `first` and after it, in all rows."""
    first: int
    used: int
    """Places of each window that are laid out."""
    shares: Array
    """(N, T', 1), or (1, T', 1) for all rows: 1 / the number of steps of a window."""


class AveragePooling1D(_WindowPooling):
    """The mean of each feature in windows over time: (N, T, C) to (N, T', C).

    Parameters
    ----------
    pool_size : int, default 2
        Steps of a window.
    strides : int, optional
        Steps from one window to the next; None: `pool_size`.
    padding : {"valid", "same"}, default "valid"
        As in `MaxPooling1D`. Steps that "same" adds do not count: a window's sum is divided by the
        number of its steps that are in the sequence.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Each row is treated as if it were alone: T is its length in the formulas of T', and outputs past
    its T' are zero.
    """

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _WindowContext]:
        """Take the means; see `Layer.forward`."""
        rows, steps, width = inputs.shape
        own = np.array([steps], np.int64) if lengths is None else lengths
        counts = self.output_lengths(own)
        windows = int(self.output_lengths(np.array([steps], np.int64))[0])
        before, used = self._reached(self._before(own, counts), counts, steps, windows)
        size = max(self._reach(windows) + used, int(before.max(initial=0)) + steps)
        laid = np.zeros((rows, size, width), inputs.dtype)
        inside = np.zeros((len(own), size), inputs.dtype)
        valid = np.arange(steps) < own[:, None]
        places = None
        if lengths is None:
            first = int(before[0])
            laid[:, first : first + steps] = inputs
            inside[:, first : first + steps] = 1
        else:
            first, places = 0, before[:, None] + np.arange(steps)
            across = np.arange(rows)[:, None]
            laid[across, places] = np.where(valid[..., None], inputs, inputs.dtype.type(0))
            inside[across, places] = valid
        totals = self._sums(laid, windows, used)
        found = self._sums(inside[..., None], windows, used)
        there = np.arange(windows) < counts[:, None]
        shares = np.where(there[..., None], 1 / np.maximum(found, 1), 0).astype(inputs.dtype)
        context = _WindowContext(steps, lengths, laid.shape, places, first, used, shares)
        if lengths is None:
            return totals * shares, None, context
        # Not even infinities and NaN reach the outputs of windows that a row is too short for.
        outputs = np.zeros_like(totals)
        np.multiply(totals, shares, out=outputs, where=shares > 0)
        return outputs, counts, context

    def backward(self, context: _WindowContext, dy: Array, need_x: bool = True) -> Array:
        """Divide `dy` among the steps of each window."""
        parts = np.where(context.shares > 0, dy * context.shares, dy.dtype.type(0))
        laid = np.zeros(context.laid, dy.dtype)
        for span in self._spans(dy.shape[1], context.used):
            laid[:, span] += parts
        if context.places is None or context.lengths is None:
            return laid[:, context.first : context.first + context.steps]
        dx: Array = laid[np.arange(len(laid))[:, None], context.places]
        dx[np.arange(context.steps) >= context.lengths[:, None]] = 0
        return dx

    def _before(self, lengths: Array, counts: Array) -> Array:
        """Return the steps that are added before each row, half of what its windows lack."""
        if self.padding == "valid":
            return np.zeros_like(lengths)
        missing = (counts - 1) * self._step + self.pool_size - lengths
        added: Array = np.maximum(np.where(counts > 0, missing, 0), 0) // 2
        return added

    def _reach(self, windows: int) -> int:
        """Return the steps from the begin of the first window to that of the last."""
        return max(windows - 1, 0) * self._step

    def _reached(self, before: Array, counts: Array, steps: int, windows: int) -> tuple[Array, int]:
        """Leave out the places that lie outside the sequence in all windows of all rows.

        A window may be much longer than the sequences.

        Returns
        -------
        before : array of int64
            The steps that are then added before each row.
        used : int
            The places that remain of each window, those in the middle.
        """
        least = int(before[counts > 0].min(initial=self.pool_size))
        first = max(least - self._reach(windows), 0)
        last = min(self.pool_size, int(before.max(initial=0)) + steps)
        return np.maximum(before - first, 0), max(last - first, 0)

    def _spans(self, windows: int, used: int) -> list[slice]:
        """List where the first steps of all windows are, their second ones, and so on."""
        end = self._reach(windows) + 1
        return [slice(place, place + end, self._step) for place in range(used if windows else 0)]

    def _sums(self, laid: Array, windows: int, used: int) -> Array:
        """Return the sum of each window, its steps added in order."""
        total = np.zeros((laid.shape[0], windows, laid.shape[2]), laid.dtype)
        for span in self._spans(windows, used):
            total += laid[:, span]
        return total
