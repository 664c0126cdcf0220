"""The layer `Activation`."""

from lstmcore import _checks
from lstmcore._typing import Array, LayerActivation, Shape
from lstmcore.layers import functions
from lstmcore.layers.base import Layer

__all__ = ["Activation"]


class Activation(Layer):
    """Apply an activation function to every element; `softmax` to the last axis.

    Parameters
    ----------
    activation : str
        ``linear``, ``relu``, ``tanh``, ``sigmoid``, ``softmax``, ``elu`` (alpha (exp(x) - 1) below
        0), ``selu``, ``gelu`` (x times the normal distribution function, exact), ``silu`` or
        ``swish`` (x sigmoid(x)), ``hard_silu`` or ``hard_swish``, ``softplus`` (log(1 + exp(x))),
        ``softsign`` (x / (1 + abs(x))), ``leaky_relu`` (alpha x below 0), ``exponential``,
        ``hard_sigmoid`` (alpha x + 0.5 between 0 and 1), ``relu6`` (between 0 and 6) or ``mish``.
    alpha : float, optional
        The parameter of ``elu``, ``leaky_relu`` or ``hard_sigmoid``. None: 1, 0.2 and 1/6, as the
        activations of Keras 3 have it.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    `Dense` and `Conv1D` take the same names as their `activation`. After a last layer
    ``Activation("softmax")`` or ``("sigmoid")`` a loss is computed stably, from the values before
    it, as after a `Dense` with that activation.
    """

    def __init__(
        self,
        activation: LayerActivation,
        *,
        alpha: float | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.activation = functions.canonical(activation, "activation")
        self.last_activation = self.activation
        self.alpha = None if alpha is None else _checks.real(alpha, "alpha", 0.0)
        if alpha is not None and self.activation not in functions.ALPHAS:
            raise ValueError(
                f"alpha: expected None with activation {self.activation!r}, got {alpha}; "
                f"{', '.join(functions.ALPHAS)} have this parameter"
            )

    def build(self, input_shape: Shape) -> Shape:
        """Accept any shape."""
        self._accept(input_shape, (1, 2, 3, 4, 5), "(N, C) or (N, T, C)")
        return input_shape

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Array | None]:
        """Apply the function; see `Layer.forward`."""
        return functions.function(self.activation, self.alpha).value(inputs), lengths, inputs

    def forward_logits(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Array | None]:
        """Return the inputs, which a loss takes as logits."""
        return inputs, lengths, None

    def backward(self, context: Array | None, dy: Array, need_x: bool = True) -> Array:
        """Multiply `dy` by the derivative; see `Layer.backward`."""
        if context is None:
            return dy
        return functions.function(self.activation, self.alpha).pullback(context, dy)
