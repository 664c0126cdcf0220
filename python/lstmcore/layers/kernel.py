"""What `Dense` and `Conv1D` share: a kernel, perhaps a bias, then an activation."""

from typing import Any

from lstmcore import _checks, constraints, regularizers
from lstmcore._typing import Array, InitializerName, LayerActivation
from lstmcore.layers import functions, initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.parameters import WeightSpec

__all__ = ["KernelLayer"]


class KernelLayer(Layer):
    """Base of the layers that compute ``activation(product with a kernel + bias)``.

    Subclasses implement the product as `_apply`. The parameters are those of `Dense`.
    """

    _default_activation = "linear"

    def __init__(
        self,
        activation: LayerActivation | None,
        use_bias: bool,
        kernel_initializer: InitializerName,
        bias_initializer: InitializerName,
        kernel_regularizer: regularizers.RegularizerLike,
        bias_regularizer: regularizers.RegularizerLike,
        kernel_constraint: constraints.ConstraintLike,
        bias_constraint: constraints.ConstraintLike,
        seed: int | None,
        name: str | None,
        trainable: bool,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.activation = (
            self._default_activation
            if activation is None
            else functions.canonical(activation, "activation")
        )
        self.last_activation = self.activation
        self.use_bias = _checks.flag(use_bias, "use_bias")
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self._initializers = (
            initializers.get(kernel_initializer, "kernel_initializer"),
            initializers.get(bias_initializer, "bias_initializer"),
        )
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "kernel_regularizer")
        self.bias_regularizer = regularizers.get(bias_regularizer, "bias_regularizer")
        self.kernel_constraint = constraints.get(kernel_constraint, "kernel_constraint")
        self.bias_constraint = constraints.get(bias_constraint, "bias_constraint")
        self.seed = None if seed is None else _checks.integer(seed, "seed")

    def _kernel_specs(
        self, shape: tuple[int, ...], inputs: int | tuple[int, ...] = 0
    ) -> list[WeightSpec]:
        """List ``kernel`` of `shape`, outputs last, and, if used, ``bias``.

        `inputs` are the axes of the kernel that count inputs.
        """
        kernel, bias = map(regularizers.strengths, (self.kernel_regularizer, self.bias_regularizer))
        make_kernel, make_bias = self._initializers
        specs = [WeightSpec("kernel", shape, make_kernel, *kernel, self.kernel_constraint, inputs)]
        if self.use_bias:
            specs.append(WeightSpec("bias", shape[-1:], make_bias, *bias, self.bias_constraint))
        return specs

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Any]:
        """Compute the outputs; see `Layer.forward`."""
        return self._apply(inputs, lengths, self.activation)

    def forward_logits(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Any]:
        """Compute the input of the activation."""
        return self._apply(inputs, lengths, "linear")

    def _apply(
        self, inputs: Array, lengths: Array | None, activation: str
    ) -> tuple[Array, Array | None, Any]:
        raise NotImplementedError
