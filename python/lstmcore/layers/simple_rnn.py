"""The layer `SimpleRNN`."""

from typing import Literal

from lstmcore import _checks, constraints, regularizers
from lstmcore._typing import InitializerName, Recompute, RNNActivation
from lstmcore.config import MAX_LAYERS
from lstmcore.layers.keras_words import check_keras
from lstmcore.layers.recurrent import Recurrent
from lstmcore.layers.simple_cell import SimpleRNNCell

__all__ = ["SimpleRNN"]

_OF_CELL = (
    "activation",
    "use_bias",
    "kernel_initializer",
    "recurrent_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "recurrent_regularizer",
    "bias_regularizer",
    "kernel_constraint",
    "recurrent_constraint",
    "bias_constraint",
    "recurrent_dropout",
)
"""Options that the layer has from its cell."""


class SimpleRNN(Recurrent):
    """The simple recurrent network of Elman (1990), h = f(W x + U h' + b): what an LSTM must beat.

    (N, T, C) to (N, H), or (N, T, H) with `return_sequences`.

    Parameters
    ----------
    units : int
        H, the width of the state.
    activation : {"tanh", "relu"}, default "tanh"
        f.
    use_bias : bool, default True
        Whether there is a bias b.
    kernel_initializer, recurrent_initializer, bias_initializer : str
        Names of the initial values of W, U and b.
    kernel_regularizer, recurrent_regularizer, bias_regularizer : optional
        Penalties on the weights: L1, L2, L1L2, their names, or the strength of an L2.
    kernel_constraint, recurrent_constraint, bias_constraint : MaxNorm or "max_norm", optional
        Constraints that are restored after each step of the optimizer.
    return_sequences, go_backwards, recompute, num_layers, dropout, stateful
        As in `LSTM`.
    return_state : bool, default False
        Whether a call ``layer(x)`` returns ``(y, h)``. Models do not accept it.
    recurrent_dropout : float, default 0.0
        Share of h' that is dropped before it is multiplied by U while training, with one mask for
        all steps of a sequence, in [0, 1).
    seed : int, optional
        Seed of the initial values and of the dropout masks; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    activity_regularizer, unroll
        Arguments of Keras, accepted only with the values that describe this layer anyway.

    Notes
    -----
    Weights: ``weight_ih_l0`` (H, C), ``weight_hh_l0`` (H, H), ``bias_l0`` (H,), then ``_l1`` and so
    on. Products are always computed in the weights' own type, whatever `lstmcore.set_precision`
    says. In the states of a model, ``(h, c)``, c has no width.
    """

    _keras_only = ("activity_regularizer", "unroll")

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
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        recompute: Recompute = None,
        num_layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        stateful: bool = False,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
        activity_regularizer: None = None,
        unroll: Literal[False] = False,
    ) -> None:
        check_keras(activity_regularizer=activity_regularizer, unroll=unroll)
        self.num_layers = _checks.integer(num_layers, "num_layers", 1)
        if self.num_layers > MAX_LAYERS:
            raise ValueError(
                f"num_layers: expected an integer of at most {MAX_LAYERS}, got {self.num_layers}"
            )
        self.dropout = _checks.real(dropout, "dropout", 0.0, 1.0, high_open=True)
        single = self.num_layers == 1
        cell = SimpleRNNCell(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            input_dropout=self.dropout if single else 0.0,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            trainable=trainable,
        )
        super().__init__(
            [cell] * self.num_layers,
            0.0 if single else self.dropout,
            return_sequences,
            return_state,
            go_backwards,
            name,
            trainable=trainable,
            recompute=recompute,
            stateful=stateful,
        )
        for option in _OF_CELL:
            setattr(self, option, getattr(cell, option))
