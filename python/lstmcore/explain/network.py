"""What attributions need of a model: how an output follows from numbers, and its gradient."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore import functional as F
from lstmcore._typing import Array, ArrayLike
from lstmcore.explain.samples import MOST_ROWS, as_rows
from lstmcore.layers import Layer
from lstmcore.layers.recurrent import Context, Recurrent

__all__ = ["Network", "OutputNetwork", "Side", "make_still", "same_outputs", "steps_of"]

SAME = 1e-3  # outputs that differ by more from the model's are random, or wrong


@dataclass
class Side:
    """An input of a model, whose values are explained.

    Attributes
    ----------
    name : str
    values : list of ndarray, each of shape (N, ...)
        What is explained, of the model's type: the input itself, or the vectors of its ids in each
        `Embedding` that takes it.
    of_ids : bool
    counts : list of int, or None
        Valid steps of each row; None: the input has no steps.
    there : ndarray of bool, shape (N, T), or None
        The mask, if the steps are those that it left.
    tokens : list of (list of str or None)
        Of each row.
    """

    name: str
    values: list[Array]
    of_ids: bool
    counts: list[int] | None
    there: Array | None = None
    tokens: list[list[str] | None] = field(default_factory=list)

    def baseline(self, given: ArrayLike | None, argument: str) -> list[Array]:
        """Return the values of the baseline, of the shapes of `values`; None: zeros.

        Raises
        ------
        ValueError
            If its shape or its values do not fit.
        """
        if given is None:
            return [np.zeros_like(values) for values in self.values]
        found = []
        for values in self.values:
            array = np.asarray(given, values.dtype)
            try:
                array = np.broadcast_to(array, values.shape)
            except ValueError:
                raise ValueError(
                    f"{argument}: expected a shape that broadcasts to {values.shape}, got "
                    f"{array.shape}"
                ) from None
            if not np.isfinite(array).all():
                raise ValueError(f"{argument}: expected finite values")
            found.append(np.array(array))
        return found

    def rows(self, values: Sequence[Array], summed: bool) -> list[Array]:
        """Return what each row gets, of values shaped like `values`.

        Parameters
        ----------
        values : sequence of ndarray
        summed : bool
            Whether they are already one number for each step, (N, T).
        """
        if self.of_ids and not summed:
            values = [one.reshape(*one.shape[:2], -1).sum(axis=-1) for one in values]
        total = np.sum(values, axis=0)
        return list(total) if self.counts is None else as_rows(total, self.counts, self.there)


class Network:
    """A model as it computes in `predict`, from what is explained to one output of each row.

    Attributes
    ----------
    sides : list of Side
    rows : ndarray of int64, shape (N,)
        Numbers of all rows.
    target : list of (int or None)
        Which output of each row is explained.
    output : ndarray of float64, shape (N,)
        Its value.
    """

    sides: list[Side]
    rows: Array
    target: list[int | None]
    output: Array

    @property
    def values(self) -> list[Array]:
        """The values of all sides."""
        return [values for side in self.sides for values in side.values]

    def outputs(self, values: Sequence[Array], rows: Array) -> Array:
        """Return the explained outputs (M,) for other values, each (M, ...), of `rows`."""
        parts = []
        for at in range(0, len(rows), MOST_ROWS):
            now = slice(at, at + MOST_ROWS)
            parts.append(self._compute([one[now] for one in values], rows[now]))
        return np.concatenate(parts).astype(np.float64)

    def gradients(self, values: Sequence[Array], rows: Array) -> list[Array]:
        """Return the gradients of the explained outputs with respect to `values`, in float64."""
        parts = []
        for at in range(0, len(rows), MOST_ROWS):
            now = slice(at, at + MOST_ROWS)
            parts.append(self._slopes([one[now] for one in values], rows[now]))
        return [
            np.concatenate(own).astype(np.float64).reshape(len(rows), *one.shape[1:])
            for own, one in zip(zip(*parts, strict=True), values, strict=True)
        ]

    def _compute(self, values: list[Array], rows: Array) -> Array:
        raise NotImplementedError

    def _slopes(self, values: list[Array], rows: Array) -> list[Array]:
        raise NotImplementedError


class OutputNetwork(Network):
    """A model with outputs (N, U) or (N, T, U), of which one is explained for each row.

    A subclass sets `sides`, `rows` and `_all`, the model's outputs, and then calls `_begin`.
    """

    _all: Array

    def _forward(
        self, values: Sequence[Array], rows: Array, *, training: bool
    ) -> tuple[Array, Array | None, Any]:
        """Return outputs, their valid steps, and a context for `_backward`."""
        raise NotImplementedError

    def _backward(self, context: Any, gradient: Array) -> list[Array]:
        """Return the gradients with respect to the values, given that of the outputs."""
        raise NotImplementedError

    def _begin(self) -> None:
        """Refuse a model whose training forward, without dropout, is not its prediction."""
        outputs, self._ends, _ = self._forward(self.values, self.rows, training=True)
        valid = self._all
        if self._ends is not None:
            steps = np.arange(outputs.shape[1]) < self._ends[:, None]
            outputs, valid = outputs[steps], valid[steps]
        same_outputs(outputs, valid)

    def choose(self, target: int | None, step: int | None) -> None:
        """Choose which output of each row is explained."""
        outputs = self._all
        self._place: Array | None = None
        if outputs.ndim not in (2, 3):
            raise ValueError(f"model: expected outputs (N, U) or (N, T, U), got {outputs.shape}")
        if outputs.ndim == 3:
            self._place = self._step_of(step, outputs.shape[1])
            outputs = outputs[self.rows, self._place]
        elif step is not None:
            raise ValueError("step: expected None, since the model's output has no time axis")
        width = outputs.shape[1]
        if target is None:
            self._units = outputs.argmax(axis=1)
        else:
            chosen = _checks.integer(target, "target", 0)
            if chosen >= width:
                raise ValueError(f"target: expected 0 to {width - 1}, got {chosen}")
            self._units = np.full(len(outputs), chosen)
        self.target = [int(unit) for unit in self._units]
        self.output = outputs[self.rows, self._units].astype(np.float64)

    def _step_of(self, step: int | None, steps: int) -> Array:
        ends = np.full(len(self.rows), steps) if self._ends is None else self._ends
        wanted = -1 if step is None else _checks.integer(step, "step", -steps)
        return steps_of(wanted, ends)

    def _compute(self, values: list[Array], rows: Array) -> Array:
        outputs, _, _ = self._forward(values, rows, training=False)
        return np.asarray(outputs[self._index(rows)])

    def _slopes(self, values: list[Array], rows: Array) -> list[Array]:
        outputs, _, context = self._forward(values, rows, training=True)
        gradient = np.zeros_like(outputs)
        gradient[self._index(rows)] = 1
        return self._backward(context, gradient)

    def _index(self, rows: Array) -> tuple[Array, ...]:
        first, unit = np.arange(len(rows)), self._units[rows]
        return (first, unit) if self._place is None else (first, self._place[rows], unit)


def steps_of(wanted: int, ends: Array) -> Array:
    """Return the place of a step in each row; negative ones count from each row's end.

    Raises
    ------
    ValueError
        If a row has no such step.
    """
    places = ends + wanted if wanted < 0 else np.full(len(ends), wanted)
    wrong = (places < 0) | (places >= ends)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"step: expected one of the {ends[row]} steps of outputs of row {row}, got {wanted}"
        )
    return np.asarray(places)


def same_outputs(found: Array, expected: Array) -> None:
    """Raise ValueError if what is explained is not what the model predicts."""
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    if found.size and not np.abs(found - expected).max() <= SAME * scale:
        raise ValueError(
            "model: expected layers that compute in training what they compute in predict, "
            "apart from dropout and noise; a layer of your own is random or keeps statistics"
        )


def make_still(layer: Layer) -> None:
    """Let a layer, and those within, compute in training what they compute in `predict`.

    They are frozen, too, so that no gradient of a weight is computed.
    """
    for inner in layer._layers_within():
        inner.trainable = False  # BatchNormalization then uses its averages
        for name in ("rate", "stddev"):
            if name in inner._live_options:
                setattr(inner, name, 0.0)
        if isinstance(inner, Recurrent):
            vars(inner)["_walk"] = partial(_expected_walk, inner)
            vars(inner)["_run"] = partial(_expected_run, inner)


def _expected_walk(
    layer: Recurrent,
    x: Array,
    lengths: Array | None,
    state: Any,
    training: bool,
    seed: int,
    reset: Any = None,
    mask: Any = None,
) -> tuple[Array, F.LSTMState, Context]:
    """Run as `Recurrent._walk` does, without randomness: zoneout has its expectation."""
    y, final, tape = _expected(layer, x, lengths, state, training, reset, mask)
    return layer._merge(y, lengths), final, Context(tape, lengths, y)


def _expected_run(
    layer: Recurrent, x: Array, lengths: Array | None, state: Any, training: bool, seed: int
) -> tuple[Array, F.LSTMState, Any]:
    """Run as `Recurrent._run` does, without randomness."""
    return _expected(layer, x, lengths, state, training)


def _expected(
    layer: Recurrent,
    x: Array,
    lengths: Array | None,
    state: Any,
    training: bool,
    reset: Any = None,
    mask: Any = None,
) -> tuple[Array, F.LSTMState, Any]:
    """Return outputs, the state at the end and, in training, a tape."""
    packed, config = layer._packed_weights(), layer.config
    assert config is not None
    if not isinstance(packed, F.PackedWeights):
        # A simple RNN has no zoneout, so that nothing is random without dropout.
        still = replace(config, dropout=0.0, recurrent_dropout=0.0, input_dropout=0.0)
        y, final, *tape = layer._engine.run(
            x,
            layer._engine_weights(),
            still,
            state=state,
            lengths=lengths,
            reset=reset,
            mask=mask,
            return_sequences=layer.return_sequences,
            training=training,
        )
        return y, final, tape[0] if tape else None
    h, c = (None, None) if state is None else state
    y, h, c, tape = packed._lstm.forward(
        x, h, c, lengths, reset, layer.return_sequences, training, 0, mask, random=False
    )
    if y is None:
        y = np.hstack([h[-2], h[-1]]) if layer.bidirectional else h[-1].copy()
    return y, F.LSTMState(h, c), tape
