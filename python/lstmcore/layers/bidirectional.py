"""The layer `Bidirectional`."""

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, MergeMode, choices
from lstmcore.layers.keras_words import check_keras
from lstmcore.layers.lstm import LSTM
from lstmcore.layers.recurrent import Context, Recurrent
from lstmcore.layers.rnn import RNN

__all__ = ["Bidirectional"]


class Bidirectional(Recurrent):
    """Two LSTMs on the same input; the second processes each row from its own end to its start.

    Parameters
    ----------
    layer : LSTM or RNN
        Options of both directions; its own weights are not used.
    merge_mode : {"concat", "sum", "mul", "ave"}, default "concat"
        How the two outputs are combined. Between stacked layers they are always concatenated.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    backward_layer
        Argument of Keras; only None, since both directions have the same options.

    Notes
    -----
    Without `return_sequences` the output combines h of each direction after its own last step.
    Weights: as in `LSTM`, those of the second direction with the suffix ``_reverse``.
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
            self.trainable = False  # for the layer, too
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
