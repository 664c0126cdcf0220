"""LSTM layers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lstmcore import _checks
from lstmcore._signatures import shows_options
from lstmcore._typing import Array, MergeMode, Precision, Recompute, Shape, choices
from lstmcore.config import MAX_LAYERS, LSTMConfig
from lstmcore.layers.cell import LSTMCell, either_dropout
from lstmcore.layers.cell_options import OPTIONS, PARAMETERS, CellAttributes, CellKeywords
from lstmcore.layers.keras_words import check_keras
from lstmcore.layers.parameters import Parameters
from lstmcore.layers.recurrent import Context, Recurrent

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LSTM", "RNN", "Bidirectional"]


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
        Whether a call ``layer(x)`` returns ``(y, h, c)``. Not in a model.
    go_backwards : bool, default False
        Whether each sequence is walked from its end. With `return_sequences` the output is then in
        the order of the walk, each row reversed within its own length.
    recompute : int or "sqrt", optional
        While training, keep the state of every so many steps only, and compute what lies between
        them again in the backward; see `functional.lstm`.
    num_layers : int, default 1
        Stacked layers, each on the sequence of the one below.
    dropout : float, default 0.0
        In [0, 1). With one layer, as in Keras, the share of x that is dropped while training, the
        same for all steps of a sequence: another name of `input_dropout`. With more layers, as in
        PyTorch, the share of each layer's output but the last, anew at every step; x is then
        dropped by `input_dropout`, and outputs by a `Dropout` layer behind this one.
    **options
        Options of the cell.
    share_recurrent : bool, default False
        Whether all layers and directions of the stack use one matrix on h, ``weight_hh_l0``, whose
        gradient is the sum of theirs. Only if there are at least two.
    stateful : bool, default False
        Whether the batches of `Sequential.fit`, `evaluate` and `predict` continue each other in
        this layer; see their `stateful`. A call of the layer alone remembers nothing.
    precision : str, optional
        How exactly products are computed; see `lstmcore.set_precision`, which sets what None stands
        for when the weights are packed. ``"int8"`` is for inference only.
    seed : int, optional
        Of the initial values and the dropout masks; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    bias_initializer, activity_regularizer, unroll, time_major, implementation, use_cudnn
        Of Keras; only with values that say what is computed here anyway.

    Notes
    -----
    Weights: ``weight_ih_l0`` (4H, C), ``weight_hh_l0`` (4H, H), ``bias_l0`` (4H,), then ``_l1``
    and so on; gates in the order i, f, g, o. With peepholes also ``peephole_l0`` (3H,), i, f, o.
    """

    _left_out_if_none = ("precision",)

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
        self.input_dropout = float(input_dropout)


class RNN(Recurrent):
    """Walk through time with a cell, or with several stacked ones, in one engine call.

    Parameters
    ----------
    cell : LSTMCell or sequence of LSTMCell
        A sequence stacks its cells, which must have the same units, options and precision.
    return_sequences, return_state, go_backwards : bool, default False
        As in `LSTM`, like `share_recurrent` and `stateful`.
    recompute : int or "sqrt", optional
        As in `LSTM`.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    activity_regularizer, unroll, time_major
        Of Keras, as in `LSTM`.

    Notes
    -----
    Weights: as in `LSTM`. The cells share them, so they can be called for single steps.
    """

    _keras_only = ("activity_regularizer", "unroll", "time_major")

    def __init__(
        self,
        cell: LSTMCell | Sequence[LSTMCell],
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        *,
        recompute: Recompute = None,
        share_recurrent: bool = False,
        stateful: bool = False,
        name: str | None = None,
        trainable: bool = True,
        activity_regularizer: None = None,
        unroll: Literal[False] = False,
        time_major: Literal[False] = False,
    ) -> None:
        check_keras(activity_regularizer=activity_regularizer, unroll=unroll, time_major=time_major)
        cells: list[Any] = list(cell) if isinstance(cell, (list, tuple)) else [cell]
        super().__init__(
            cells,
            0.0,
            return_sequences,
            return_state,
            go_backwards,
            name,
            trainable=trainable,
            recompute=recompute,
            share_recurrent=share_recurrent,
            stateful=stateful,
        )
        if len(set(map(id, cells))) < len(cells):
            raise ValueError("cell: expected different cells, got the same one twice")
        if len(cells) > 1 and any(entry._says_dropout for entry in cells):
            raise ValueError(
                "cell: expected dropout=0 in each of several cells, since only x is dropped; use "
                "input_dropout for x, or stack LSTM layers with a dropout of their own"
            )
        self.cell = cell
        if not trainable:
            self.trainable = False  # of the cells too

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, T, C), for the cells too."""
        width = input_shape[-1]
        for cell in self.cells:
            cell.build((None, width))
            width = cell.state_size
        return super().build(input_shape)

    def bind(self, parameters: Parameters, names: Mapping[str, str]) -> None:
        """Share the views of the weights with the cells."""
        super().bind(parameters, names)
        for layer, cell in enumerate(self.cells):
            own = (spec.name for spec in cell.weight_specs())
            suffix = f"_l{layer}"
            places = {name: self._stored_name(name.replace("_l0", suffix)) for name in own}
            cell.bind(parameters, {name: names[place] for name, place in places.items()})


class Bidirectional(Recurrent):
    """Two LSTMs on the same input, the second from each row's own end to its start.

    Parameters
    ----------
    layer : LSTM or RNN
        What each direction is, with its `return_sequences`. Its own weights are not used.
    merge_mode : {"concat", "sum", "mul", "ave"}, default "concat"
        How the outputs of the two become one. Between stacked layers they stand side by side.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    backward_layer
        Of Keras; None, since the second direction is made like the first.

    Notes
    -----
    Without `return_sequences` the output merges what each direction ends with. Weights: as in
    `LSTM`, those of the second direction with the suffix ``_reverse``.
    """

    bidirectional = True

    _keras_only = ("backward_layer",)

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: MergeMode = "concat",
        *,
        name: str | None = None,
        trainable: bool = True,
        backward_layer: None = None,
    ) -> None:
        check_keras(backward_layer=backward_layer)
        _checks.instance(layer, LSTM | RNN, "layer", "an LSTM or RNN layer")
        if layer.go_backwards:
            raise ValueError(
                "layer: expected go_backwards=False, since Bidirectional walks in both directions"
            )
        if layer.stateful:
            raise ValueError(
                "layer: expected stateful=False, since the second direction begins at the end"
            )
        super().__init__(
            layer.cells,
            layer._between,
            layer.return_sequences,
            layer.return_state,
            False,
            name,
            trainable=trainable,
            recompute=layer.recompute,
            share_recurrent=layer.share_recurrent,
        )
        layer._frozen_by = "Bidirectional"
        self.layer = layer
        if not trainable:
            self.trainable = False  # of the layer too
        self.merge_mode = _checks.choice(merge_mode, "merge_mode", choices(MergeMode))

    @property
    def output_size(self) -> int:
        """Width of the output."""
        return 2 * self.state_size if self.merge_mode == "concat" else self.state_size

    def _merge(self, y: Array, lengths: Array | None) -> Array:
        if self.merge_mode == "concat":
            return y
        ahead, back = y[..., : self.state_size], y[..., self.state_size :]
        if self.merge_mode == "mul":
            return np.asarray(ahead * back)
        total = ahead + back
        return np.asarray(total if self.merge_mode == "sum" else total / 2)

    def _split(self, context: Context, dy: Array) -> Array:
        if self.merge_mode == "concat":
            return dy
        if self.merge_mode == "mul":
            ahead, back = context.y[..., : self.state_size], context.y[..., self.state_size :]
            return np.concatenate([dy * back, dy * ahead], axis=-1)
        half = dy if self.merge_mode == "sum" else dy / 2
        return np.concatenate([half, half], axis=-1)
