"""The layer `RNN`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lstmcore._typing import Recompute, Shape
from lstmcore.layers.cell import LSTMCell
from lstmcore.layers.keras_words import check_keras
from lstmcore.layers.parameters import Parameters
from lstmcore.layers.recurrent import Recurrent

__all__ = ["RNN"]


class RNN(Recurrent):
    """Process sequences with a cell, or with several stacked ones, in one call of the engine.

    Parameters
    ----------
    cell : LSTMCell or sequence of LSTMCell
        A sequence stacks its cells, which must have the same units, options and precision.
    return_sequences, return_state, go_backwards : bool, default False
        As in `LSTM`.
    recompute : int or "sqrt", optional
        As in `LSTM`.
    share_recurrent, stateful : bool, default False
        As in `LSTM`.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    activity_regularizer, unroll, time_major
        Arguments of Keras, as in `LSTM`.

    Notes
    -----
    Weights: as in `LSTM`. The cells share them, so that each can be called for single steps.
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
            self.trainable = False  # for the cells, too

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, T, C), for the cells too."""
        width = input_shape[-1]
        for cell in self.cells:
            cell.build((None, width))
            width = cell.state_size
        return super().build(input_shape)

    def bind(self, parameters: Parameters, names: Mapping[str, str]) -> None:
        """Take the views of the weights, for the cells, too; see `Layer.bind`."""
        super().bind(parameters, names)
        for layer, cell in enumerate(self.cells):
            own = (spec.name for spec in cell.weight_specs())
            suffix = f"_l{layer}"
            places = {name: self._stored_name(name.replace("_l0", suffix)) for name in own}
            cell.bind(parameters, {name: names[place] for name, place in places.items()})
