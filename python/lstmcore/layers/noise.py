"""Noise in training."""

import numpy as np

from lstmcore import _checks
from lstmcore._seeds import derive
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer

__all__ = ["GaussianNoise"]


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
