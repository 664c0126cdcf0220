"""Normalization of the features of each step."""

import math
from typing import NamedTuple

from lstmcore import _checks, _core, constraints, regularizers
from lstmcore._typing import Array, InitializerName, Shape
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.parameters import WeightSpec

__all__ = ["LayerNormalization"]


class _Context(NamedTuple):
    inputs: Array
    """(N, T, C), further axes before the last one counted as time."""
    lengths: Array | None
    moments: Array


class LayerNormalization(Layer):
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta`` on the last axis (Ba et al. 2016).

    Mean and variance are those of the C features of each step of each row.

    Parameters
    ----------
    epsilon : float, default 0.001
        Greater than 0.
    center : bool, default True
        Whether beta is added.
    scale : bool, default True
        Whether to multiply by gamma.
    beta_initializer, gamma_initializer : str
        Names of the initial values, "zeros" and "ones".
    beta_regularizer, gamma_regularizer : L1, L2, L1L2, float or str, optional
        Penalties on the weights.
    beta_constraint, gamma_constraint : MaxNorm or "max_norm", optional
        Restored after each step of the optimizer.
    seed : int, optional
        Of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights: ``gamma`` (C,) and ``beta`` (C,). The output past a row's length is zero.
    """

    def __init__(
        self,
        *,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: InitializerName = "zeros",
        gamma_initializer: InitializerName = "ones",
        beta_regularizer: regularizers.RegularizerLike = None,
        gamma_regularizer: regularizers.RegularizerLike = None,
        beta_constraint: constraints.ConstraintLike = None,
        gamma_constraint: constraints.ConstraintLike = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.epsilon = _checks.real(epsilon, "epsilon", 0.0, low_open=True)
        self.center = _checks.flag(center, "center")
        self.scale = _checks.flag(scale, "scale")
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self._initializers = (
            initializers.get(beta_initializer, "beta_initializer"),
            initializers.get(gamma_initializer, "gamma_initializer"),
        )
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
        """List ``gamma`` (C,) and ``beta`` (C,), those that are used."""
        beta, gamma = map(regularizers.strengths, (self.beta_regularizer, self.gamma_regularizer))
        make_beta, make_gamma = self._initializers
        shape = (self._width,)
        specs = []
        if self.scale:
            specs.append(WeightSpec("gamma", shape, make_gamma, *gamma, self.gamma_constraint))
        if self.center:
            specs.append(WeightSpec("beta", shape, make_beta, *beta, self.beta_constraint))
        return specs

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _Context]:
        """Normalize; see `Layer.forward`."""
        each = math.prod(inputs.shape[2:-1])  # vectors of a step
        steps = inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:-1]), self._width)
        valid = None if lengths is None else lengths * each
        gamma, beta = self._weights.get("gamma"), self._weights.get("beta")
        outputs, moments = _core.layer_norm_forward(steps, valid, gamma, beta, self.epsilon)
        return outputs.reshape(inputs.shape), lengths, _Context(steps, valid, moments)

    def backward(self, context: _Context, dy: Array, need_x: bool = True) -> Array | None:
        """Compute dx and write the gradients of gamma and beta; see `Layer.backward`."""
        self._follow_trainable()
        dx = _core.layer_norm_backward(
            context.inputs,
            context.lengths,
            self._weights.get("gamma"),
            context.moments,
            dy.reshape(context.inputs.shape),
            need_x,
            self.gradient_place("gamma"),
            self.gradient_place("beta"),
        )
        return None if dx is None else dx.reshape(dy.shape)
