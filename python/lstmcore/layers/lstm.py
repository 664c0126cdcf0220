"""The layer `LSTM`."""

from typing import TYPE_CHECKING, Literal

from lstmcore import _checks
from lstmcore._signatures import shows_options
from lstmcore._typing import Precision, Recompute
from lstmcore.config import MAX_LAYERS, LSTMConfig
from lstmcore.layers.cell import LSTMCell, either_dropout
from lstmcore.layers.cell_options import LATER, OPTIONS, PARAMETERS, CellAttributes, CellKeywords
from lstmcore.layers.keras_words import check_keras
from lstmcore.layers.recurrent import Recurrent

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LSTM"]


@shows_options(PARAMETERS, CellAttributes, LSTMConfig, before="precision")
class LSTM(CellAttributes, Recurrent):
    """Long short-term memory: (N, T, C) to (N, H), or (N, T, H) with `return_sequences`.

    Parameters
    ----------
    units : int
        H, the width of the state.
    return_sequences : bool, default False
        Whether the output is h of every step instead of h after the last valid step.
    return_state : bool, default False
        Whether a call ``layer(x)`` returns ``(y, h, c)``. Models do not accept it.
    go_backwards : bool, default False
        Whether each sequence is processed from its end. With `return_sequences` the output is in
        the order of processing: each row is reversed within its own length.
    recompute : int or "sqrt", optional
        While training, store the state only once in this many steps, and recompute the steps
        between in the backward; see `functional.lstm`.
    num_layers : int, default 1
        Stacked layers; each processes the sequence that the one below returns.
    dropout : float, default 0.0
        In [0, 1). With one layer, as in Keras, another name for `input_dropout`: the share of x
        that is dropped while training, with one mask for all steps of a sequence. With more layers,
        as in PyTorch, the share of the output of each layer but the last, with a new mask at every
        step; use `input_dropout` for x, and a `Dropout` layer for the output of the last.
    **options
        Options of the cell, as for `LSTMCell`.
    share_recurrent : bool, default False
        Whether all layers and directions of the stack use one matrix on h, ``weight_hh_l0``, whose
        gradient is the sum over all of them. Needs at least two.
    stateful : bool, default False
        Whether the state of this layer carries over from batch to batch in `Sequential.fit`,
        `evaluate` and `predict`; see their `stateful`. Calls of the layer alone do not carry it.
    precision : str, optional
        Precision of the products; None: the default, set by `lstmcore.set_precision`, at the time
        when the weights are packed. ``"int8"`` is for inference only.
    seed : int, optional
        Seed of the initial values and of the dropout masks; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    bias_initializer, activity_regularizer, unroll, time_major, implementation, use_cudnn
        Arguments of Keras, accepted only with the values that describe this layer anyway.

    Notes
    -----
    Weights: ``weight_ih_l0`` (4H, C), ``weight_hh_l0`` (4H, H), ``bias_l0`` (4H,), then ``_l1``
    and so on; gates in the order i, f, g, o. With peepholes also ``peephole_l0`` (3H,), i, f, o.
    """

    _left_out_if_none = ("precision", *LATER)

    _keras_only = (
        "bias_initializer",
        "activity_regularizer",
        "unroll",
        "time_major",
        "implementation",
        "use_cudnn",
    )

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        recompute: Recompute = None,
        num_layers: int = 1,
        dropout: float = 0.0,
        share_recurrent: bool = False,
        stateful: bool = False,
        precision: Precision | None = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
        bias_initializer: Literal["zeros"] = "zeros",
        activity_regularizer: None = None,
        unroll: Literal[False] = False,
        time_major: Literal[False] = False,
        implementation: Literal[1, 2] = 2,
        use_cudnn: Literal["auto", False] = "auto",
        **options: "Unpack[CellKeywords]",
    ) -> None:
        check_keras(
            bias_initializer=bias_initializer,
            activity_regularizer=activity_regularizer,
            unroll=unroll,
            time_major=time_major,
            implementation=implementation,
            use_cudnn=use_cudnn,
        )
        self.num_layers = _checks.integer(num_layers, "num_layers", 1)
        if self.num_layers > MAX_LAYERS:
            raise ValueError(
                f"num_layers: expected an integer of at most {MAX_LAYERS}, got {self.num_layers}"
            )
        self.dropout = _checks.real(dropout, "dropout", 0.0, 1.0, high_open=True)
        single = self.num_layers == 1
        input_dropout = options.get("input_dropout", 0.0)
        if single:
            options["input_dropout"] = either_dropout(dropout, input_dropout)
        cell = LSTMCell(units, precision=precision, seed=seed, trainable=trainable, **options)
        super().__init__(
            [cell] * self.num_layers,
            0.0 if single else self.dropout,
            return_sequences,
            return_state,
            go_backwards,
            name,
            trainable=trainable,
            recompute=recompute,
            share_recurrent=share_recurrent,
            stateful=stateful,
        )
        for option in OPTIONS:
            setattr(self, option, getattr(cell, option))
        self.input_dropout = float(input_dropout)  # without `dropout`, which the cell has added
