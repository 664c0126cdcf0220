"""LSTM layers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lstmcore import _checks, constraints, regularizers
from lstmcore._typing import (
    Array,
    CellActivation,
    InitializerName,
    MergeMode,
    Precision,
    Recompute,
    Shape,
    choices,
)
from lstmcore.config import MAX_LAYERS, Activation
from lstmcore.layers.cell import LSTMCell, either_dropout
from lstmcore.layers.keras_words import check_keras
from lstmcore.layers.parameters import Parameters
from lstmcore.layers.recurrent import Context, Recurrent

__all__ = ["LSTM", "RNN", "Bidirectional"]


class LSTM(Recurrent):
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
    activation : str or Activation, default "tanh"
        Of the candidate g and, unless `output_activation` says otherwise, of c on its way to h.
    recurrent_activation : str or Activation, default "sigmoid"
        Of the gates.
    output_activation : str or Activation, optional
        Of c on its way to h.
    use_bias : bool, default True
        Whether the gates have biases.
    peephole, coupled_gates : bool, default False
        See `lstmcore.LSTMConfig`, as for the following.
    gate_clip, cell_clip : float, default 0.0
        Bounds; 0: none.
    zoneout_h, zoneout_c : float, default 0.0
        Probability that an element of h or c keeps its value.
    recurrent_dropout, input_dropout : float, default 0.0
        Share of h on its way to the next step, and of the input of the first layer, that is dropped
        while training, the same for all steps of a sequence.
    weight_dropout : float, default 0.0
        Share of the recurrent weights that is dropped while training.
    proj_size : int, default 0
        P, the width of h after a projection, at most H; 0: no projection.
    proj_clip : float, default 0.0
        Bound of the projected h; 0: none.
    layer_norm : bool, default False
        Whether the gates' products and c on its way to h are layer-normalized.
    layer_norm_epsilon : float, default 1e-5
        Added to the variance.
    unit_forget_bias : bool, default True
        Whether the bias of the forget gate begins at 1 instead of 0.
    forget_bias : float, optional
        What the bias of the forget gate begins at; None: as `unit_forget_bias` says. Larger values
        remember for longer from the start. Not together with ``unit_forget_bias=False``.
    recurrent_trainable : bool, default True
        Whether the weights on h are trained. If not, they keep their values, no gradient of them is
        computed, and their penalty and constraint do nothing.
    share_recurrent : bool, default False
        Whether all layers and directions of the stack use one matrix on h, ``weight_hh_l0``, whose
        gradient is the sum of theirs. Only if there are at least two.
    stateful : bool, default False
        Whether the batches of `Sequential.fit`, `evaluate` and `predict` continue each other in
        this layer; see their `stateful`. A call of the layer alone remembers nothing.
    kernel_initializer, recurrent_initializer : str
        Names of the initial values of the weights on x and on h.
    kernel_regularizer, recurrent_regularizer, bias_regularizer : optional
        Penalties on the weights: L1, L2, L1L2, their names, or the strength of an L2.
    kernel_constraint, recurrent_constraint, bias_constraint : MaxNorm or "max_norm", optional
        Restored after each step of the optimizer.
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
        activation: CellActivation | Activation = "tanh",
        recurrent_activation: CellActivation | Activation = "sigmoid",
        output_activation: CellActivation | Activation | None = None,
        use_bias: bool = True,
        peephole: bool = False,
        coupled_gates: bool = False,
        gate_clip: float = 0.0,
        cell_clip: float = 0.0,
        zoneout_h: float = 0.0,
        zoneout_c: float = 0.0,
        recurrent_dropout: float = 0.0,
        input_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        proj_size: int = 0,
        proj_clip: float = 0.0,
        layer_norm: bool = False,
        layer_norm_epsilon: float = 1e-5,
        unit_forget_bias: bool = True,
        forget_bias: float | None = None,
        recurrent_trainable: bool = True,
        share_recurrent: bool = False,
        stateful: bool = False,
        kernel_initializer: InitializerName = "glorot_uniform",
        recurrent_initializer: InitializerName = "orthogonal",
        kernel_regularizer: regularizers.RegularizerLike = None,
        recurrent_regularizer: regularizers.RegularizerLike = None,
        bias_regularizer: regularizers.RegularizerLike = None,
        kernel_constraint: constraints.ConstraintLike = None,
        recurrent_constraint: constraints.ConstraintLike = None,
        bias_constraint: constraints.ConstraintLike = None,
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
        single = self.num_layers == 1
        self.dropout = _checks.real(dropout, "dropout", 0.0, 1.0, high_open=True)
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            output_activation=output_activation,
            use_bias=use_bias,
            peephole=peephole,
            coupled_gates=coupled_gates,
            gate_clip=gate_clip,
            cell_clip=cell_clip,
            zoneout_h=zoneout_h,
            zoneout_c=zoneout_c,
            recurrent_dropout=recurrent_dropout,
            input_dropout=either_dropout(dropout, input_dropout) if single else input_dropout,
            weight_dropout=weight_dropout,
            proj_size=proj_size,
            proj_clip=proj_clip,
            layer_norm=layer_norm,
            layer_norm_epsilon=layer_norm_epsilon,
            unit_forget_bias=unit_forget_bias,
            forget_bias=forget_bias,
            recurrent_trainable=recurrent_trainable,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            precision=precision,
            seed=seed,
            trainable=trainable,
        )
        cells = [cell] * self.num_layers
        super().__init__(
            cells,
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
        self.activation = cell.activation
        self.recurrent_activation = cell.recurrent_activation
        self.output_activation = cell.output_activation
        self.use_bias = cell.use_bias
        self.peephole = cell.peephole
        self.coupled_gates = cell.coupled_gates
        self.gate_clip = cell.gate_clip
        self.cell_clip = cell.cell_clip
        self.zoneout_h = cell.zoneout_h
        self.zoneout_c = cell.zoneout_c
        self.recurrent_dropout = cell.recurrent_dropout
        self.input_dropout = float(input_dropout)
        self.weight_dropout = cell.weight_dropout
        self.proj_size = cell.proj_size
        self.proj_clip = cell.proj_clip
        self.layer_norm = cell.layer_norm
        self.layer_norm_epsilon = cell.layer_norm_epsilon
        self.unit_forget_bias = cell.unit_forget_bias
        self.forget_bias = cell.forget_bias
        self.recurrent_trainable = cell.recurrent_trainable
        self.kernel_initializer = cell.kernel_initializer
        self.recurrent_initializer = cell.recurrent_initializer
        self.kernel_regularizer = cell.kernel_regularizer
        self.recurrent_regularizer = cell.recurrent_regularizer
        self.bias_regularizer = cell.bias_regularizer
        self.kernel_constraint = cell.kernel_constraint
        self.recurrent_constraint = cell.recurrent_constraint
        self.bias_constraint = cell.bias_constraint


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
