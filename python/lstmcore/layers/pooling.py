"""The greatest value or the mean over time: of windows, or of a whole sequence."""

from typing import NamedTuple

import numpy as np

from lstmcore import _checks, _core
from lstmcore._typing import Array, PoolPadding, Shape, choices
from lstmcore.layers.base import Layer

__all__ = ["GlobalAveragePooling1D", "GlobalMaxPooling1D", "MaxPooling1D", "windows_of"]


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


class MaxPooling1D(Layer):
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
