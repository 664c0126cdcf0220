"""Steps of an array that do not count, found by their values."""

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, ArrayLike, Shape
from lstmcore.layers.base import Layer
from lstmcore.layers.shapes import row_ends

__all__ = ["Masking"]


class Masking(Layer):
    """Leave out the steps of (N, T, C) all of whose features are `mask_value`.

    Parameters
    ----------
    mask_value : float, default 0.0
        Compared in the type of the model.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    It comes first in a `Sequential`, and has the effect of ``mask=(x != mask_value).any(axis=-1)``
    passed to `fit`, `evaluate` and `predict`: all layers skip these steps, wherever they are in a
    row, so sequences may be padded on either side and have gaps. If x is a list of rows, such steps
    may only be at the end of a row.

    Called alone, it returns zeros at these steps.
    """

    def __init__(
        self, mask_value: float = 0.0, *, name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.mask_value = _checks.real(mask_value, "mask_value")

    @property
    def _finds_lengths(self) -> bool:
        return True

    def build(self, input_shape: Shape) -> Shape:
        """Accept (N, T, C)."""
        self._accept(input_shape, (3,), "(N, T, C)")
        return input_shape

    def valid_steps(self, inputs: Array, lengths: Array | None = None) -> Array:
        """Return which steps count.

        Parameters
        ----------
        inputs : ndarray, shape (N, T, C)
        lengths : ndarray of int64, shape (N,), optional
            Of the rows; later steps do not count either.

        Returns
        -------
        ndarray of bool, shape (N, T)
        """
        valid = np.asarray((inputs != inputs.dtype.type(self.mask_value)).any(axis=-1))
        if lengths is not None:
            valid &= np.arange(inputs.shape[1]) < lengths[:, None]
        return valid

    def lengths_of(self, inputs: Array, lengths: Array | None) -> Array:
        """Return the lengths of the rows: where the masked steps at the end of each begin.

        Raises
        ------
        ValueError
            If a step that counts follows one that is masked.
        """
        found, wrong = row_ends(self.valid_steps(inputs, lengths))
        if wrong is not None:
            raise ValueError(
                f"inputs: steps whose features are all {self.mask_value:g}, the mask_value, may "
                f"only be at the end of a row here; row {wrong} has another step after one; fit "
                "and predict take gaps in an array (N, T, C)"
            )
        return found

    def __call__(
        self,
        inputs: ArrayLike,
        *,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: int = 0,
    ) -> Array:
        """Return the inputs, with zeros at steps that do not count; see `Layer.__call__`."""
        return self._zeroed(*self._prepare_call(inputs, lengths))[0]

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array, Array]:
        """Zero what does not count, and return the lengths; see `Layer.forward`."""
        outputs, valid = self._zeroed(inputs, lengths)
        return outputs, self.lengths_of(inputs, lengths), valid

    def _zeroed(self, inputs: Array, lengths: Array | None) -> tuple[Array, Array]:
        valid = self.valid_steps(inputs, lengths)
        return np.where(valid[..., None], inputs, inputs.dtype.type(0)), valid

    def backward(self, context: Array, dy: Array, need_x: bool = True) -> Array:
        """Return `dy` at the steps that count, zeros elsewhere."""
        return np.where(context[..., None], dy, dy.dtype.type(0))
