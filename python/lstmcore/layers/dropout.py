"""Dropout of elements, and of whole features."""

import numpy as np

from lstmcore import _checks, _core
from lstmcore._seeds import derive
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer

__all__ = ["Dropout", "SpatialDropout1D"]


class _Dropping(Layer):
    """Base of the layers that drop values while training, with the parameters of `Dropout`."""

    _live_options = ("rate", "seed")

    def __init__(
        self,
        rate: float,
        *,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.rate = _checks.real(rate, "rate", 0.0, 1.0, high_open=True)
        self.seed = None if seed is None else _checks.integer(seed, "seed")

    def _seed_of(self, training: bool, seed: int) -> int | None:
        """Return the seed of a call's mask; None: nothing is dropped."""
        if not training or self.rate == 0.0:
            return None
        return seed if self.seed is None else derive(self.seed, seed)

    def _drop(self, values: Array, seed: int) -> Array:
        return _core.dropout(values.reshape(-1), self.rate, seed).reshape(values.shape)


class Dropout(_Dropping):
    """While training, zero each element with probability `rate` and scale up the others.

    Parameters
    ----------
    rate : float
        In [0, 1).
    seed : int, optional
        Of the masks, together with the training step; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    The mask is counter-based (Philox 4x32-10, Salmon et al. 2011): it depends only on the seed and
    the element's position, not on the number of threads.
    """

    def build(self, input_shape: Shape) -> Shape:
        """Accept any shape."""
        self._accept(input_shape, (1, 2, 3, 4), "(N, C) or (N, T, C)")
        return input_shape

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, int | None]:
        """Drop elements if `training`; see `Layer.forward`."""
        own = self._seed_of(training, seed)
        return inputs if own is None else self._drop(inputs, own), lengths, own

    def backward(self, context: int | None, dy: Array, need_x: bool = True) -> Array:
        """Apply the mask of the forward to `dy`."""
        return dy if context is None else self._drop(dy, context)


class SpatialDropout1D(_Dropping):
    """While training, zero whole features of a sequence, and scale up the others: (N, T, C).

    Each feature of each row is dropped at all steps or at none (Tompson et al. 2015), since what
    single steps lose their neighbours would tell.

    Parameters
    ----------
    rate : float
        In [0, 1).
    seed : int, optional
        Of the masks, together with the training step; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    The mask (N, C) is drawn as that of `Dropout`.
    """

    def build(self, input_shape: Shape) -> Shape:
        """Accept (N, T, C)."""
        self._accept(input_shape, (3,), "(N, T, C)")
        return input_shape

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Array | None]:
        """Drop features if `training`; see `Layer.forward`."""
        own = self._seed_of(training, seed)
        if own is None:
            return inputs, lengths, None
        factors = self._drop(np.ones((inputs.shape[0], 1, inputs.shape[2]), inputs.dtype), own)
        return np.asarray(inputs * factors), lengths, factors

    def backward(self, context: Array | None, dy: Array, need_x: bool = True) -> Array:
        """Apply the mask of the forward to `dy`."""
        return dy if context is None else np.asarray(dy * context)
