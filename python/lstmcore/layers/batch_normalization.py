"""Normalization of each feature over a batch."""

from typing import NamedTuple

import numpy as np

from lstmcore import _checks, constraints, regularizers
from lstmcore._typing import Array, InitializerName, Shape
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.parameters import WeightSpec

__all__ = ["BatchNormalization"]


class _Context(NamedTuple):
    normalized: Array
    """(M, C), the valid vectors before gamma and beta."""
    inverse: Array
    """(C,), 1 / sqrt(variance + epsilon)."""
    lengths: Array | None
    of_batch: bool
    """Whether mean and variance are those of `normalized`, and so depend on the inputs."""


class BatchNormalization(Layer):
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta`` per feature (Ioffe & Szegedy 2015).

    While training, mean and variance are those of the batch, over all valid steps of all rows. At
    inference, and in a frozen layer, they are moving averages of what the batches had.

    Parameters
    ----------
    momentum : float, default 0.99
        In [0, 1]. After each step of training, an average becomes ``momentum * average +
        (1 - momentum) * batch``.
    epsilon : float, default 0.001
        Greater than 0.
    center : bool, default True
        Whether beta is added.
    scale : bool, default True
        Whether to multiply by gamma.
    beta_initializer, gamma_initializer : str
        Names of the initial values, "zeros" and "ones".
    moving_mean_initializer, moving_variance_initializer : str
        The same of the averages, "zeros" and "ones".
    beta_regularizer, gamma_regularizer : L1, L2, L1L2, float or str, optional
        Penalties on the weights.
    beta_constraint, gamma_constraint : MaxNorm or "max_norm", optional
        Restored after each step of the optimizer.
    seed : int, optional
        Of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`. A frozen layer normalizes with its averages, and does not change them, even
        while the rest of the model trains.

    Notes
    -----
    Weights, in Keras' order: ``gamma`` (C,) and ``beta`` (C,), those that are used, then
    ``moving_mean`` (C,) and ``moving_variance`` (C,), which optimizers leave alone. The variance is
    that of the batch itself, divided by its number of vectors, as in Keras; PyTorch's running
    variance divides by one less.

    The averages change when the optimizer makes its step, so a step that is refused leaves them as
    they were; when the layer or its model is called with ``training=True``, they change at once.
    The output past a row's length is zero.
    """

    def __init__(
        self,
        *,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerName = "zeros",
        gamma_initializer: InitializerName = "ones",
        moving_mean_initializer: InitializerName = "zeros",
        moving_variance_initializer: InitializerName = "ones",
        beta_regularizer: regularizers.RegularizerLike = None,
        gamma_regularizer: regularizers.RegularizerLike = None,
        beta_constraint: constraints.ConstraintLike = None,
        gamma_constraint: constraints.ConstraintLike = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.momentum = _checks.real(momentum, "momentum", 0.0, 1.0)
        self.epsilon = _checks.real(epsilon, "epsilon", 0.0, low_open=True)
        self.center = _checks.flag(center, "center")
        self.scale = _checks.flag(scale, "scale")
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer
        self._initializers = {
            name: initializers.get(getattr(self, f"{name}_initializer"), f"{name}_initializer")
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        }
        self.beta_regularizer = regularizers.get(beta_regularizer, "beta_regularizer")
        self.gamma_regularizer = regularizers.get(gamma_regularizer, "gamma_regularizer")
        self.beta_constraint = constraints.get(beta_constraint, "beta_constraint")
        self.gamma_constraint = constraints.get(gamma_constraint, "gamma_constraint")
        self.seed = None if seed is None else _checks.integer(seed, "seed")
        self._width = 0

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, C) or (N, T, C)."""
        self._width = self._accept(input_shape, (2, 3, 4), "(N, C) or (N, T, C)")
        return input_shape

    def weight_specs(self) -> list[WeightSpec]:
        """List ``gamma`` and ``beta``, those that are used, and the averages, each (C,)."""
        beta, gamma = map(regularizers.strengths, (self.beta_regularizer, self.gamma_regularizer))
        make, shape = self._initializers, (self._width,)
        specs = []
        if self.scale:
            specs.append(WeightSpec("gamma", shape, make["gamma"], *gamma, self.gamma_constraint))
        if self.center:
            specs.append(WeightSpec("beta", shape, make["beta"], *beta, self.beta_constraint))
        for name in ("moving_mean", "moving_variance"):
            specs.append(WeightSpec(name, shape, make[name], trainable=False))
        return specs

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _Context]:
        """Normalize; see `Layer.forward`."""
        rows = self._valid(inputs, lengths)
        of_batch = training and self._trainable and len(rows) > 0
        if of_batch:
            centred, mean, variance = _moments(rows)
            self._note(mean, variance)
        else:
            centred = rows - self._weights["moving_mean"]
            variance = self._weights["moving_variance"]
        inverse = (1 / np.sqrt(variance + self.epsilon)).astype(inputs.dtype)
        normalized = centred * inverse
        gamma, beta = self._weights.get("gamma"), self._weights.get("beta")
        outputs = normalized if gamma is None else normalized * gamma
        outputs = outputs if beta is None else outputs + beta
        shaped = self._spread(outputs, inputs.shape, lengths)
        return shaped, lengths, _Context(normalized, inverse, lengths, of_batch)

    def backward(self, context: _Context, dy: Array, need_x: bool = True) -> Array | None:
        """Compute dx and write the gradients of gamma and beta; see `Layer.backward`."""
        self._follow_trainable()
        normalized, rows = context.normalized, self._valid(dy, context.lengths)
        total = rows.sum(axis=0, dtype=np.float64)
        along = np.einsum("mc,mc->c", rows, normalized, dtype=np.float64)
        for name, gradient in (("gamma", along), ("beta", total)):
            place = self.gradient_place(name)
            if place is not None:
                place[...] = gradient
        if not need_x:
            return None
        if context.of_batch:
            # The batch's mean and variance take part: dy loses what lies along 1 and along x.
            mean, share = ((part / len(rows)).astype(dy.dtype) for part in (total, along))
            rows = rows - mean - normalized * share
        gamma = self._weights.get("gamma")
        factor = context.inverse if gamma is None else context.inverse * gamma
        return self._spread(rows * factor, dy.shape, context.lengths)

    def _note(self, mean: Array, variance: Array) -> None:
        """Let the averages move at the next step of the optimizer."""
        assert self.parameters is not None
        for name, value in (("moving_mean", mean), ("moving_variance", variance)):
            self.parameters.note_average(self._names[name], value, self.momentum)

    def _valid(self, values: Array, lengths: Array | None) -> Array:
        """Return the vectors (M, C) of the valid steps."""
        if lengths is not None:
            values = values[np.arange(values.shape[1]) < lengths[:, None]]
        return values.reshape(-1, self._width)

    @staticmethod
    def _spread(rows: Array, shape: tuple[int, ...], lengths: Array | None) -> Array:
        """Put vectors where `_valid` found them, and zeros elsewhere."""
        if lengths is None:
            return rows.reshape(shape)
        values = np.zeros(shape, rows.dtype)
        values[np.arange(shape[1]) < lengths[:, None]] = rows.reshape(-1, *shape[2:])
        return values


def _moments(rows: Array) -> tuple[Array, Array, Array]:
    """Return vectors (M, C) without their mean, the mean and the variance.

    Sums are float64. The mean that is subtracted first is rounded, so a second one removes what
    remains of it: small differences of large numbers keep their digits.
    """
    mean = rows.mean(axis=0, dtype=np.float64)
    rounded = mean.astype(rows.dtype)
    centred = rows - rounded
    rest = centred.mean(axis=0, dtype=np.float64)
    centred = centred - rest.astype(rows.dtype)
    variance = np.einsum("mc,mc->c", centred, centred, dtype=np.float64) / len(rows)
    return centred, rounded + rest, variance
