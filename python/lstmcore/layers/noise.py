"""Randomness in training besides `Dropout`: noise, and whole features that are dropped."""

import numpy as np

from lstmcore import _checks, _core
from lstmcore._seeds import derive
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer

__all__ = ["GaussianNoise", "SpatialDropout1D"]


class GaussianNoise(Layer):
    """While training, add normal noise to each element.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, at least 0.
    seed : int, optional
        Of the noise, together with the training step; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    The noise depends only on the seed and the shape of the batch (NumPy's PCG64).
    """

    _live_options = ("stddev", "seed")

    def __init__(
        self,
        stddev: float,
        *,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.stddev = _checks.real(stddev, "stddev", 0.0)
        self.seed = None if seed is None else _checks.integer(seed, "seed")

    def build(self, input_shape: Shape) -> Shape:
        """Accept any shape."""
        self._accept(input_shape, (1, 2, 3, 4, 5), "(N, C) or (N, T, C)")
        return input_shape

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, None]:
        """Add noise if `training`; see `Layer.forward`."""
        if not training or self.stddev == 0.0:
            return inputs, lengths, None
        own = seed if self.seed is None else derive(self.seed, seed)
        random = np.random.Generator(np.random.PCG64(own))
        noise = random.standard_normal(inputs.shape, dtype=inputs.dtype)
        noise *= inputs.dtype.type(self.stddev)
        return np.asarray(inputs + noise), lengths, None

    def backward(self, context: None, dy: Array, need_x: bool = True) -> Array:
        """Return `dy`, since noise is added."""
        return dy


class SpatialDropout1D(Layer):
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
        """Accept (N, T, C)."""
        self._accept(input_shape, (3,), "(N, T, C)")
        return input_shape

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Array | None]:
        """Drop features if `training`; see `Layer.forward`."""
        if not training or self.rate == 0.0:
            return inputs, lengths, None
        own = seed if self.seed is None else derive(self.seed, seed)
        ones = np.ones((inputs.shape[0], 1, inputs.shape[2]), inputs.dtype)
        factors = np.asarray(_core.dropout(ones, self.rate, own))
        return np.asarray(inputs * factors), lengths, factors

    def backward(self, context: Array | None, dy: Array, need_x: bool = True) -> Array:
        """Apply the mask of the forward to `dy`."""
        return dy if context is None else np.asarray(dy * context)
