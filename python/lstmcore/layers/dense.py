"""The fully connected layer."""

from typing import NamedTuple

from lstmcore import _checks, _core, constraints, regularizers
from lstmcore._typing import Array, InitializerName, LayerActivation, Shape
from lstmcore.layers import functions
from lstmcore.layers.kernel import KernelLayer
from lstmcore.layers.parameters import WeightSpec

__all__ = ["Dense"]


class _Context(NamedTuple):
    inputs: Array
    values: Array
    """What the engine returned: outputs, or what the rest of the activation is applied to."""
    activation: str


class Dense(KernelLayer):
    """``activation(x kernel + bias)`` on the last axis: (N, C) to (N, U), (N, T, C) to (N, T, U).

    Parameters
    ----------
    units : int
        U, the width of the output.
    activation : str, optional
        A name that `Activation` takes; None is "linear".
    use_bias : bool, default True
        Whether a bias is added.
    kernel_initializer, bias_initializer : str
        Names of the initial values.
    kernel_regularizer, bias_regularizer : L1, L2, L1L2, float or str, optional
        Penalties on the weights.
    kernel_constraint, bias_constraint : MaxNorm or "max_norm", optional
        Restored after each step of the optimizer.
    seed : int, optional
        Of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights: ``kernel`` (C, U) and ``bias`` (U,).
    """

    def __init__(
        self,
        units: int,
        activation: LayerActivation | None = None,
        use_bias: bool = True,
        kernel_initializer: InitializerName = "glorot_uniform",
        bias_initializer: InitializerName = "zeros",
        kernel_regularizer: regularizers.RegularizerLike = None,
        bias_regularizer: regularizers.RegularizerLike = None,
        kernel_constraint: constraints.ConstraintLike = None,
        bias_constraint: constraints.ConstraintLike = None,
        *,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            kernel_constraint,
            bias_constraint,
            seed,
            name,
            trainable,
        )
        self.units = _checks.integer(units, "units", 1)
        self._width = 0

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, C) or (N, T, C)."""
        self._width = self._accept(input_shape, (2, 3, 4), "(N, C) or (N, T, C)")
        return (*input_shape[:-1], self.units)

    def weight_specs(self) -> list[WeightSpec]:
        """List ``kernel`` (C, U) and, if used, ``bias`` (U,)."""
        return self._kernel_specs((self._width, self.units))

    def _apply(
        self, inputs: Array, lengths: Array | None, activation: str
    ) -> tuple[Array, Array | None, _Context]:
        rows = inputs.reshape(-1, self._width)
        kernel, bias = self._weights["kernel"], self._weights.get("bias")
        within, rest = functions.split(activation)
        values = _core.dense_forward(rows, kernel, bias, within)
        outputs = values if rest is None else rest.value(values)
        shaped = outputs.reshape((*inputs.shape[:-1], self.units))
        return shaped, lengths, _Context(inputs, values, activation)

    def backward(self, context: _Context, dy: Array, need_x: bool = True) -> Array | None:
        """Compute dx and write the gradients of kernel and bias; see `Layer.backward`."""
        self._follow_trainable()
        within, rest = functions.split(context.activation)
        dvalues = dy.reshape(-1, self.units)
        if rest is not None:
            dvalues = rest.pullback(context.values, dvalues)
        dx = _core.dense_backward(
            context.inputs.reshape(-1, self._width),
            self._weights["kernel"],
            context.values,
            dvalues,
            within,
            need_x,
            self.gradient_place("kernel"),
            self.gradient_place("bias"),
        )
        return None if dx is None else dx.reshape(context.inputs.shape)
