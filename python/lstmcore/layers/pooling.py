"""One vector for a whole sequence."""

from typing import NamedTuple

from lstmcore import _core
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer

__all__ = ["GlobalAveragePooling1D", "GlobalMaxPooling1D"]


class _Pooling(Layer):
    def build(self, input_shape: Shape) -> Shape:
        """Accept (N, T, C)."""
        return (input_shape[0], self._accept(input_shape, (3,), "(N, T, C)"))


class _MaxContext(NamedTuple):
    argmax: Array
    steps: int


class GlobalMaxPooling1D(_Pooling):
    """The greatest value over time of each feature: (N, T, C) to (N, C).

    Only the valid steps of each row count; a row without any gives 0.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    """

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, None, _MaxContext]:
        """Take the maximum; see `Layer.forward`."""
        outputs, argmax = _core.max_over_time_forward(inputs, lengths)
        return outputs, None, _MaxContext(argmax, inputs.shape[1])

    def backward(self, context: _MaxContext, dy: Array, need_x: bool = True) -> Array:
        """Give `dy` to the step that had the maximum."""
        return _core.max_over_time_backward(context.argmax, dy, context.steps)


class _AverageContext(NamedTuple):
    lengths: Array | None
    steps: int


class GlobalAveragePooling1D(_Pooling):
    """The mean over time of each feature: (N, T, C) to (N, C).

    Only the valid steps of each row count; a row without any gives 0.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    """

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, None, _AverageContext]:
        """Take the mean; see `Layer.forward`."""
        outputs = _core.mean_over_time_forward(inputs, lengths)
        return outputs, None, _AverageContext(lengths, inputs.shape[1])

    def backward(self, context: _AverageContext, dy: Array, need_x: bool = True) -> Array:
        """Share `dy` among the valid steps."""
        return _core.mean_over_time_backward(context.lengths, dy, context.steps)
