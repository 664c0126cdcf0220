"""The cell of a `SimpleRNN`: options, initial values, penalties and constraints of its weights."""

from typing import Any

from lstmcore import _checks, constraints, regularizers
from lstmcore import functional as F
from lstmcore._typing import (
    Array,
    InitializerName,
    Precision,
    RNNActivation,
    Shape,
    choices,
)
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.cell import Transposed
from lstmcore.layers.engines import RNN_ENGINE
from lstmcore.layers.parameters import WeightSpec

__all__ = ["SimpleRNNCell"]


class SimpleRNNCell(Layer):
    """The step h = f(W x + U h' + b) of a `SimpleRNN`, which describes the options.

    Parameters
    ----------
    units, activation, use_bias, recurrent_dropout, seed, name, trainable
        As in `SimpleRNN`.
    kernel_initializer, recurrent_initializer, bias_initializer
        As in `SimpleRNN`.
    kernel_regularizer, recurrent_regularizer, bias_regularizer
        As in `SimpleRNN`.
    kernel_constraint, recurrent_constraint, bias_constraint
        As in `SimpleRNN`.
    input_dropout : float
        Share of x that is dropped while training, with one mask for all steps.
    """

    _engine = RNN_ENGINE

    recurrent_trainable = True

    def __init__(
        self,
        units: int,
        *,
        activation: RNNActivation = "tanh",
        use_bias: bool = True,
        kernel_initializer: InitializerName = "glorot_uniform",
        recurrent_initializer: InitializerName = "orthogonal",
        bias_initializer: InitializerName = "zeros",
        kernel_regularizer: regularizers.RegularizerLike = None,
        recurrent_regularizer: regularizers.RegularizerLike = None,
        bias_regularizer: regularizers.RegularizerLike = None,
        kernel_constraint: constraints.ConstraintLike = None,
        recurrent_constraint: constraints.ConstraintLike = None,
        bias_constraint: constraints.ConstraintLike = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.units = _checks.integer(units, "units", 1)
        self.activation = _checks.choice(activation, "activation", choices(RNNActivation))
        self.use_bias = _checks.flag(use_bias, "use_bias")
        self.input_dropout = _checks.real(input_dropout, "dropout", 0.0, 1.0, high_open=True)
        self.recurrent_dropout = _checks.real(
            recurrent_dropout, "recurrent_dropout", 0.0, 1.0, high_open=True
        )
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self._initializers = {
            name: initializers.get(getattr(self, name), name)
            for name in ("kernel_initializer", "recurrent_initializer", "bias_initializer")
        }
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "kernel_regularizer")
        self.recurrent_regularizer = regularizers.get(
            recurrent_regularizer, "recurrent_regularizer"
        )
        self.bias_regularizer = regularizers.get(bias_regularizer, "bias_regularizer")
        self.kernel_constraint = constraints.get(kernel_constraint, "kernel_constraint")
        self.recurrent_constraint = constraints.get(recurrent_constraint, "recurrent_constraint")
        self.bias_constraint = constraints.get(bias_constraint, "bias_constraint")
        for name in ("bias_regularizer", "bias_constraint"):
            if not self.use_bias and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}: expected None without biases, got {getattr(self, name)!r}"
                )
        self.seed = None if seed is None else _checks.integer(seed, "seed")

    @property
    def precision(self) -> Precision:
        """Precision of the products: always that of the weights' own type, "fp32"."""
        return "fp32"

    @precision.setter
    def precision(self, precision: Precision | None) -> None:
        if precision not in (None, "fp32"):
            raise ValueError(
                f"precision: expected None or 'fp32' for a SimpleRNN, got {precision!r}"
            )

    @property
    def state_size(self) -> int:
        """Width of h, H."""
        return self.units

    def _options(self) -> dict[str, Any]:
        """Return the options as arguments of `RNNConfig`."""
        return {
            "bias": self.use_bias,
            "activation": self.activation,
            "input_dropout": self.input_dropout,
            "recurrent_dropout": self.recurrent_dropout,
        }

    def _config_for(self, width: int) -> F.RNNConfig:
        """Return the configuration for inputs of `width`."""
        return F.RNNConfig(width, self.units, **self._options())

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, C)."""
        self._accept(input_shape, (2,), "(N, C)")
        return (input_shape[0], self.units)

    def _specs(self, width: int, suffix: str) -> list[WeightSpec]:
        """List the weights for inputs of `width`, with `suffix` added to their names."""
        specs = [
            WeightSpec(
                "weight_ih" + suffix,
                (self.units, width),
                Transposed(self._initializers["kernel_initializer"]),
                *regularizers.strengths(self.kernel_regularizer),
                constraint=self.kernel_constraint,
                inputs=1,
            ),
            WeightSpec(
                "weight_hh" + suffix,
                (self.units, self.units),
                Transposed(self._initializers["recurrent_initializer"]),
                *regularizers.strengths(self.recurrent_regularizer),
                constraint=self.recurrent_constraint,
                inputs=1,
            ),
        ]
        if self.use_bias:
            specs.append(
                WeightSpec(
                    "bias" + suffix,
                    (self.units,),
                    self._initializers["bias_initializer"],
                    *regularizers.strengths(self.bias_regularizer),
                    constraint=self.bias_constraint,
                )
            )
        return specs

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Any]:
        """Raise TypeError: the cell runs within a `SimpleRNN`."""
        raise TypeError("SimpleRNNCell: computes one step; use lc.layers.SimpleRNN")
