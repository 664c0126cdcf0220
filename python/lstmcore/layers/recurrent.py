"""Base of `LSTM`, `RNN`, `SimpleRNN` and `Bidirectional`: one engine call for a batch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore import functional as F
from lstmcore._intake import Intake
from lstmcore._seeds import derive
from lstmcore._typing import Array, ArrayLike, Precision, Recompute, Shape
from lstmcore.config import LSTMConfig
from lstmcore.layers.cell import LSTMCell
from lstmcore.layers.engines import Engine, without_c
from lstmcore.layers.parameters import Parameters, WeightSpec
from lstmcore.layers.recurrent_node import RecurrentNode
from lstmcore.layers.simple_cell import SimpleRNNCell
from lstmcore.precision import checked, in_force

__all__ = ["Recurrent"]

Cell: TypeAlias = LSTMCell | SimpleRNNCell


class Context(NamedTuple):
    """What `Recurrent.backward` needs."""

    tape: Any
    lengths: Array | None
    y: Array
    """Output of the last layer, the directions concatenated."""


class Recurrent(RecurrentNode):
    """Base of the layers that process sequences step by step.

    Parameters
    ----------
    cells : sequence of LSTMCell or of SimpleRNNCell
        One per stacked layer, all of the same kind and width.
    between : float
        Share of the output of each stacked layer but the last that is dropped while training.
    return_sequences, return_state, go_backwards : bool
        As in `LSTM`.
    name, trainable
        See `Layer`.
    recompute : int or "sqrt", optional
        As in `LSTM`.
    share_recurrent, stateful : bool
        As in `LSTM`.
    """

    bidirectional = False

    def __init__(
        self,
        cells: Sequence[Cell],
        between: float,
        return_sequences: bool,
        return_state: bool,
        go_backwards: bool,
        name: str | None,
        *,
        trainable: bool = True,
        recompute: Recompute = None,
        share_recurrent: bool = False,
        stateful: bool = False,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.cells = list(cells)
        _check_cells(self.cells)
        for cell in self.cells:
            cell._frozen_by = type(self).__name__
        self.units = self.cells[0].units
        self._between = between  # checked by the LSTM that has the option
        self.return_sequences = _checks.flag(return_sequences, "return_sequences")
        self.return_state = _checks.flag(return_state, "return_state")
        self.go_backwards = _checks.flag(go_backwards, "go_backwards")
        F.recompute_steps(recompute)
        self.recompute = recompute
        self.share_recurrent = _checks.flag(share_recurrent, "share_recurrent")
        if self.share_recurrent and len({_recurrent_options(cell) for cell in self.cells}) > 1:
            raise ValueError(
                "share_recurrent: expected cells with the same recurrent_initializer, "
                "recurrent_regularizer, recurrent_constraint and recurrent_trainable"
            )
        self.stateful = _checks.flag(stateful, "stateful")
        if self.stateful and self.go_backwards:
            raise ValueError(
                "stateful: expected go_backwards=False, since the next batch follows the end"
            )
        self.seed = self.cells[0].seed
        self._config: LSTMConfig | F.RNNConfig | None = None
        self._packed: tuple[tuple[int, str], Any] | None = None

    @property
    def config(self) -> LSTMConfig | F.RNNConfig | None:
        """Sizes and options as the engine has them; None if the layer is not built."""
        return self._config

    @property
    def _engine(self) -> Engine:
        """The functions that run the cells."""
        return self.cells[0]._engine

    @property
    def state_size(self) -> int:
        """Width of h: P with a projection, else H."""
        return self.cells[0].state_size

    @property
    def precision(self) -> Precision | None:
        """Precision of the products; None: what `lstmcore.get_precision` returns.

        It may be set at any time.
        """
        return self.cells[0].precision

    @precision.setter
    def precision(self, precision: Precision | None) -> None:
        checked(precision)
        if self._parameters is not None:
            in_force(precision, self._parameters.dtype)
        for cell in self.cells:
            cell.precision = precision

    @property
    def _precision_in_force(self) -> Precision:
        """Precision of the products, with the default instead of None."""
        assert self.parameters is not None
        return in_force(self.precision, self.parameters.dtype)

    def _check_trains(self) -> None:
        """Raise ValueError if the precision in force is for inference only."""
        if self._precision_in_force != "int8":
            return
        whose = type(self).__name__ if self.name is None else f"layer {self.name!r}"
        asked = "" if self.precision is not None else ", the default of set_precision"
        raise ValueError(
            f"precision: expected one that supports training in {whose}, got 'int8'{asked}, "
            "which is for inference only"
        )

    @property
    def output_size(self) -> int:
        """Width of the output."""
        return self.state_size

    def _state_shapes(self, rows: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return the shapes of h and c for a batch of `rows`; a simple RNN's c has no width."""
        cells = len(self.cells) * (2 if self.bidirectional else 1)
        width = self.units if "c" in self._engine.state else 0
        return (cells, rows, self.state_size), (cells, rows, width)

    def build(self, input_shape: Shape) -> Shape:
        """Fix C from (N, T, C)."""
        self._config = self._engine.config(
            input_size=self._accept(input_shape, (3,), "(N, T, C)"),
            hidden_size=self.units,
            num_layers=len(self.cells),
            bidirectional=self.bidirectional,
            go_backwards=self.go_backwards,
            dropout=self._between,
            **self.cells[0]._options(),
        )
        if self.share_recurrent and len(self.cells) * self._config.num_directions == 1:
            raise ValueError(
                "share_recurrent: expected at least two layers or directions to share, got one"
            )
        steps = input_shape[1:2] if self.return_sequences else ()
        return (input_shape[0], *steps, self.output_size)

    def weight_specs(self) -> list[WeightSpec]:
        """List the weights by the engine's names, ``weight_ih_l0`` (4H, C) and so on."""
        assert self._config is not None
        specs: list[WeightSpec] = []
        width = self._config.input_size
        for layer, cell in enumerate(self.cells):
            for direction in ("", "_reverse") if self.bidirectional else ("",):
                specs += cell._specs(width, f"_l{layer}{direction}")
            width = self._config.output_size
        return [spec for spec in specs if self._stored_name(spec.name) == spec.name]

    def _stored_name(self, name: str) -> str:
        """Return the name of the weight that the engine's `name` refers to, which may be shared."""
        return "weight_hh_l0" if self.share_recurrent and name.startswith("weight_hh") else name

    def bind(self, parameters: Parameters, names: Mapping[str, str]) -> None:
        """Take the views of the weights; see `Layer.bind`."""
        in_force(self.precision, parameters.dtype)
        super().bind(parameters, names)
        self._packed = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_packed": None}

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Context]:
        """Process all sequences; see `Layer.forward`."""
        return self.forward_from(inputs, lengths, training, seed, {})[:3]

    def forward_from(
        self,
        inputs: Array,
        lengths: Array | None,
        training: bool,
        seed: int,
        state: Mapping[str, F.LSTMState],
        reset: Array | None = None,
    ) -> tuple[Array, Array | None, Context, dict[str, F.LSTMState]]:
        """Process all sequences from an initial to a final state; see `Layer.forward_from`."""
        before = state.get("")
        outputs, final, context = self._walk(inputs, lengths, before, training, seed, reset)
        return outputs, lengths if self.return_sequences else None, context, {"": final}

    def recurrent_parts(self) -> "dict[str, Recurrent]":
        """Return the layer itself, under no name; see `Layer.recurrent_parts`."""
        return {"": self}

    def backward(self, context: Context, dy: Array, need_x: bool = True) -> Array | None:
        """Process the steps in reverse; see `Layer.backward`."""
        self._follow_trainable()
        dy = self._split(context, dy)
        return self._backward(context.tape, dy, None, need_x=need_x, need_state=False).x

    def _run(
        self, x: Array, lengths: Array | None, state: Any, training: bool, seed: int
    ) -> tuple[Array, F.LSTMState, Any]:
        """Process all sequences, for a network that needs gradients with respect to the state.

        Parameters
        ----------
        x : ndarray, shape (N, T, C)
        lengths : ndarray of int64, shape (N,), or None
        state : pair (h, c) or None
        training : bool
            Whether dropout acts and a tape is returned.
        seed : int
            Seed of the masks.

        Returns
        -------
        y : ndarray
            Outputs of the directions, concatenated; of every step with `return_sequences`.
        state : LSTMState
            The final state.
        tape : LSTMTape or None
            For `_run_backward`.
        """
        if training:
            self._check_trains()
        packed, every = self._packed_weights(), self.return_sequences
        if not training:
            y, final = self._engine.run(
                x, packed, state=state, lengths=lengths, return_sequences=every
            )
            return y, final, None
        y, final, tape = self._engine.run(
            x,
            packed,
            state=state,
            lengths=lengths,
            return_sequences=every,
            training=True,
            seed=seed,
            recompute=self.recompute,
        )
        return y, final, tape

    def _run_backward(
        self, tape: Any, dy: Array | None, dstate: Any, add: bool = False
    ) -> tuple[Array, F.LSTMState]:
        """Return the gradients with respect to x and to the initial state of a `_run`.

        Parameters
        ----------
        tape : LSTMTape
        dy : ndarray or None
        dstate : pair (dh, dc) or None
        add : bool, default False
            Whether the gradients of the weights are added to the stored ones instead of replacing
            them.
        """
        gradients = self._backward(tape, dy, dstate, add=add)
        assert gradients.x is not None
        assert gradients.state is not None
        return gradients.x, gradients.state

    def _is_trainable(self) -> bool:
        return any(cell.trainable for cell in self.cells)

    def _frozen_weights(self) -> set[str]:
        """Name the weights of frozen cells; a shared weight is frozen if one of its cells is."""
        frozen = {f"_l{place}" for place, cell in enumerate(self.cells) if not cell.trainable}
        if not frozen or self.config is None or not self._names:
            return set()
        return {
            self._names[self._stored_name(name)]
            for name in self.config.parameter_shapes()
            if name[name.rindex("_l") :].removesuffix("_reverse") in frozen
        }

    def _engine_weights(self) -> dict[str, Array]:
        """Return the engine's weights by name, a shared one under each of its names."""
        assert self._config is not None
        if not self.share_recurrent:
            return self._weights
        return {
            name: self._weights[self._stored_name(name)] for name in self._config.parameter_shapes()
        }

    def _backward(
        self,
        tape: Any,
        dy: Array | None,
        dstate: Any,
        *,
        need_x: bool = True,
        need_state: bool = True,
        add: bool = False,
    ) -> F.LSTMGradients:
        """Compute gradients; `add` those of the weights to the stored ones, or replace these."""
        out = self._gradient_places(add)
        gradients: F.LSTMGradients = self._engine.backward(
            tape, dy, dstate, need_x=need_x, need_state=need_state, out=out
        )
        for name, gradient in out.items() if add or self.share_recurrent else ():
            stored = self._stored_name(name)
            if gradient is not None and (add or stored != name):
                total = self._gradients[stored]
                total += gradient
        return gradients

    def _gradient_places(self, apart: bool) -> dict[str, Array | None]:
        """Return the array that each gradient is written to; None: the weight is not trained.

        With `apart` all arrays are new ones. Otherwise they are those that the layer stores, except
        that a weight which is shared has a new array under each further name.
        """
        assert self._config is not None
        if not apart and not self.share_recurrent:  # so that the engine's names are the weights'
            return {name: self.gradient_place(name) for name in self._names}
        places: dict[str, Array | None] = {}
        for name in self._config.parameter_shapes():
            stored = self._stored_name(name)
            own = self.gradient_place(stored)
            if own is not None and (apart or stored != name):
                own = np.empty_like(own)
            places[name] = own
        return places

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
        """Apply the layer to an array; the first call fixes the widths and the element type.

        Parameters
        ----------
        inputs : array_like, shape (N, T, C)
        initial_state : pair of array_like, optional
            h and c, each (N, H), or (L * D, N, H) if there is more than one layer or direction; h
            is P wide with a projection. A `SimpleRNN` takes h alone, or a list with h. In a graph
            the symbols of h and c, each (N, H), for each layer and direction in turn.
        lengths : array_like of int, shape (N,), optional
            Valid steps of each row.
        reset : array_like of bool, shape (N, T), optional
            True where a new sequence begins; see `functional.lstm`.
        mask : array_like of bool, shape (N, T), optional
            True for valid steps. The others are skipped and leave the state unchanged, so sequences
            may be padded on either side or have gaps. Not together with `lengths`.
        training : bool, default False
            Whether dropout and zoneout act.
        seed : int, default 0
            Seed of the masks.

        Returns
        -------
        ndarray, or tuple of three ndarray
            The outputs; with ``return_state=True`` also h and c after the last valid step, in the
            shape of `initial_state`; of a `SimpleRNN`, h.
        """
        array, valid = self._prepare_call(inputs, lengths, mask)
        state = None if initial_state is None else self._state(initial_state)
        outputs, final, _ = self._walk(array, valid, state, training, seed, reset, mask)
        if not self.return_state:
            return outputs
        parts = (getattr(final, name) for name in self._engine.state)
        return outputs, *(part[0] if part.shape[0] == 1 else part for part in parts)

    def _state(self, initial_state: Any) -> F.LSTMState:
        assert self.parameters is not None
        names = self._engine.state
        if names == "h" and not isinstance(initial_state, (list, tuple)):
            initial_state = [initial_state]
        if not isinstance(initial_state, (list, tuple)) or len(initial_state) != len(names):
            expected = "a pair (h, c)" if len(names) == 2 else "h, or a list with h"
            raise TypeError(
                f"initial_state: expected {expected}, got {_checks.describe(initial_state)}"
            )
        intake = Intake(switch=False)
        found = {
            name: intake.floats(part, f"initial_state {name}", self.parameters.dtype)
            for part, name in zip(initial_state, names, strict=True)
        }
        shaped = {name: part[None] if part.ndim == 2 else part for name, part in found.items()}
        h = shaped["h"]
        return F.LSTMState(h, shaped["c"] if "c" in names else without_c(h))

    def _walk(
        self,
        x: Array,
        lengths: Array | None,
        state: Any,
        training: bool,
        seed: int,
        reset: Any = None,
        mask: Any = None,
    ) -> tuple[Array, F.LSTMState, Context]:
        assert self._config is not None
        if mask is not None and self.go_backwards and self.return_sequences:
            raise ValueError(
                "mask: expected None with both go_backwards and return_sequences, whose output has "
                "the steps in reverse order"
            )
        tape = None
        if training:
            self._check_trains()
            if self.seed is not None:
                seed = derive(self.seed, seed)
            y, final, tape = self._engine.run(
                x,
                self._engine_weights(),
                self._config,
                state=state,
                lengths=lengths,
                reset=reset,
                mask=mask,
                return_sequences=self.return_sequences,
                training=True,
                seed=seed,
                recompute=self.recompute,
                precision=self._precision_in_force,
            )
        else:
            y, final = self._engine.run(
                x,
                self._packed_weights(),
                self._config,
                state=state,
                lengths=lengths,
                reset=reset,
                mask=mask,
                return_sequences=self.return_sequences,
            )
        return self._merge(y, lengths), final, Context(tape, lengths, y)

    def _packed_weights(self) -> Any:
        """Return the packed weights, packed again only after a change of weights or precision."""
        assert self.parameters is not None
        assert self._config is not None
        packed, now = self._packed, (self.parameters.version, self._precision_in_force)
        if packed is None or packed[0] != now:
            packed = (now, self._engine.pack(self._engine_weights(), self._config, now[1]))
            self._packed = packed
        return packed[1]

    def _merge(self, y: Array, lengths: Array | None) -> Array:
        """Return the output of the layer, given those of its directions, concatenated in `y`."""
        return self._order(y, lengths)

    def _split(self, context: Context, dy: Array) -> Array:
        """Return the gradient with respect to the `y` of `_merge`, given that of its result."""
        return self._order(dy, context.lengths)

    def _order(self, y: Array, lengths: Array | None) -> Array:
        """Convert between the order of the input and the order of processing, either way."""
        if not (self.go_backwards and self.return_sequences):
            return y
        return reverse_rows(y, lengths)


def _check_cells(cells: Sequence[Any]) -> None:
    """Raise unless `cells` can be stacked."""
    wrong = [cell for cell in cells if not isinstance(cell, LSTMCell | SimpleRNNCell)]
    if wrong or not cells:
        came = _checks.describe(wrong[0] if wrong else cells)
        raise TypeError(f"cell: expected an LSTMCell or a list of them, got {came}")
    if len({cell.units for cell in cells}) > 1:
        widths = [cell.units for cell in cells]
        raise ValueError(
            f"cell: expected cells of the same units, got {widths}; for different widths "
            "stack layers, each but the last with return_sequences=True"
        )
    if len({cell._config_for(1) for cell in cells}) > 1:
        raise ValueError("cell: expected cells with the same options, got different ones")
    if len(precisions := {cell.precision for cell in cells}) > 1:
        shown = ", ".join(sorted(map(repr, precisions)))
        raise ValueError(f"cell: expected cells with the same precision, got {shown}")


def _recurrent_options(cell: Cell) -> tuple[str, str, str, bool]:
    """Return the options that must agree between cells which share their weights on h."""
    penalty, limit = (
        repr(entry and entry.get_config())
        for entry in (cell.recurrent_regularizer, cell.recurrent_constraint)
    )
    return cell.recurrent_initializer, penalty, limit, cell.recurrent_trainable


def reverse_rows(y: Array, lengths: Array | None) -> Array:
    """Reverse the valid steps of each row of `y`, (N, T, ...); padding stays where it is."""
    if lengths is None:
        return y[:, ::-1]
    steps = np.arange(y.shape[1])
    mirrored = lengths[:, None] - 1 - steps
    order = np.where(mirrored >= 0, mirrored, steps)
    return np.asarray(y[np.arange(y.shape[0])[:, None], order])
