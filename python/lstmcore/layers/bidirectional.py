"""The layer `Bidirectional`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, ArrayLike, MergeMode, choices
from lstmcore.layers.keras_words import check_keras
from lstmcore.layers.lstm import LSTM
from lstmcore.layers.recurrent import Context, Recurrent
from lstmcore.layers.rnn import RNN
from lstmcore.layers.simple_rnn import SimpleRNN

__all__ = ["Bidirectional"]


class Bidirectional(Recurrent):
    """Two LSTMs or simple RNNs on the same input; the second processes each row from its own end.

    Parameters
    ----------
    layer : LSTM, RNN or SimpleRNN
        Options of both directions; its own weights are not used.
    merge_mode : {"concat", "sum", "mul", "ave"} or None, default "concat"
        How the two outputs are combined. Between stacked layers they are always concatenated. None:
        they are not; a call of the layer on its own returns ``(ahead, back)``, or ``(ahead, back,
        h, c)`` with ``return_state=True``. Models, `Residual` and `TimeDistributed` do not accept
        it.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    backward_layer
        Argument of Keras; only None, since both directions have the same options.

    Notes
    -----
    Without `return_sequences` the output combines h of each direction after its own last step. The
    outputs of the second direction are in the order of the input. With `merge_mode` None, `forward`
    and `backward` have the two outputs side by side, as with "concat".

    With a `stateful` layer, each direction begins where the same direction ended in the batch
    before, as in Keras: the second one at the end of a sequence, from its state at the beginning of
    the earlier sequence.

    Weights: as in `LSTM`, those of the second direction with the suffix ``_reverse``.
    """

    bidirectional = True

    _keras_only = ("backward_layer",)

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: MergeMode | None = "concat",
        *,
        name: str | None = None,
        trainable: bool = True,
        backward_layer: None = None,
    ) -> None:
        check_keras(backward_layer=backward_layer)
        _checks.instance(layer, LSTM | RNN | SimpleRNN, "layer", "an LSTM, RNN or SimpleRNN layer")
        if layer.go_backwards:
            raise ValueError(
                "layer: expected go_backwards=False, since Bidirectional walks in both directions"
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
            stateful=layer.stateful,
        )
        layer._frozen_by = "Bidirectional"
        self.layer = layer
        if not trainable:
            self.trainable = False  # for the layer, too
        self.merge_mode = (
            None
            if merge_mode is None
            else _checks.choice(merge_mode, "merge_mode", choices(MergeMode))
        )

    @property
    def output_size(self) -> int:
        """Width of the output; with `merge_mode` None that of both outputs together."""
        return 2 * self.state_size if self._side_by_side else self.state_size

    @property
    def _side_by_side(self) -> bool:
        return self.merge_mode in (None, "concat")

    @property
    def _sides(self) -> int:
        return 2 if self.merge_mode is None else 1

    def __call__(
        self,
        inputs: ArrayLike,
        *,
        initial_state: ArrayLike | Sequence[ArrayLike] | None = None,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        training: bool = False,
        seed: int = 0,
    ) -> Any:
        """Apply the layer to an array; with `merge_mode` None two outputs; see `Recurrent`."""
        found = super().__call__(
            inputs,
            initial_state=initial_state,
            lengths=lengths,
            reset=reset,
            mask=mask,
            training=training,
            seed=seed,
        )
        if self.merge_mode is not None:
            return found
        y, *states = found if self.return_state else (found,)
        return (y[..., : self.state_size], y[..., self.state_size :], *states)

    def _merge(self, y: Array, lengths: Array | None) -> Array:
        if self._side_by_side:
            return y
        ahead, back = y[..., : self.state_size], y[..., self.state_size :]
        if self.merge_mode == "mul":
            return np.asarray(ahead * back)
        total = ahead + back
        return np.asarray(total if self.merge_mode == "sum" else total / 2)

    def _split(self, context: Context, dy: Array) -> Array:
        if self._side_by_side:
            return dy
        if self.merge_mode == "mul":
            ahead, back = context.y[..., : self.state_size], context.y[..., self.state_size :]
            return np.concatenate([dy * back, dy * ahead], axis=-1)
        half = dy if self.merge_mode == "sum" else dy / 2
        return np.concatenate([half, half], axis=-1)
