"""Dropout."""

from lstmcore import _checks, _core
from lstmcore._seeds import derive
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer

__all__ = ["Dropout"]


class Dropout(Layer):
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

    def build(self, input_shape: Shape) -> Shape:
        """Accept any shape."""
        self._accept(input_shape, (1, 2, 3, 4), "(N, C) or (N, T, C)")
        return input_shape

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, int | None]:
        """Drop elements if `training`; see `Layer.forward`."""
        if not training or self.rate == 0.0:
            return inputs, lengths, None
        if self.seed is not None:
            seed = derive(self.seed, seed)
        return self._drop(inputs, seed), lengths, seed

    def backward(self, context: int | None, dy: Array, need_x: bool = True) -> Array:
        """Apply the mask of the forward to `dy`."""
        return dy if context is None else self._drop(dy, context)

    def _drop(self, values: Array, seed: int) -> Array:
        return _core.dropout(values.reshape(-1), self.rate, seed).reshape(values.shape)
