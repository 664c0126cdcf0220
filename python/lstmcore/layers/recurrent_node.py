"""Recurrent layers in a graph: states are inputs and outputs, with gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore import functional as F
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer
from lstmcore.layers.nodes import NodeOutputs
from lstmcore.layers.symbols import Symbol

__all__ = ["RecurrentNode"]


class RecurrentNode(Layer):
    """Base of `Recurrent`: the sequence and, if given, the initial states are inputs of a node.

    For each stacked layer and each of its directions there are states, h (N, H) and c (N, H), which
    follow the sequence in the list of inputs, and with ``return_state`` the output in that of
    outputs. A kind of cell without c has a c of no width in `_state_shapes`, and h alone here.
    """

    return_state: bool
    return_sequences: bool

    _takes_states = True

    _before_states = 1
    """Inputs of a node before its states."""

    @property
    def _sides(self) -> int:
        """How many outputs lie side by side in what `_walk` returns."""
        return 1

    def _state_shapes(self, rows: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        raise NotImplementedError

    def _walk(
        self,
        x: Array,
        lengths: Array | None,
        state: Any,
        training: bool,
        seed: int,
        reset: Any = None,
        mask: Any = None,
    ) -> tuple[Array, F.LSTMState, Any]:
        raise NotImplementedError

    def _split(self, context: Any, dy: Array) -> Array:
        raise NotImplementedError

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
        raise NotImplementedError

    def _arguments_of(self, arguments: Sequence[Any], options: dict[str, Any]) -> list[Any]:
        rest = dict(options)
        inputs = super()._arguments_of(arguments[:1], {})
        state = rest.pop("initial_state", None)
        if len(arguments) > 1:
            raise ValueError(
                f"{type(self).__name__}: expected a sequence, and states as initial_state=[h, c], "
                f"got {len(arguments)} arguments"
            )
        super()._arguments_of(arguments, rest)  # which refuses what is for arrays only
        if state is None:
            return inputs
        if len(inputs) != self._before_states:
            raise ValueError(
                f"{type(self).__name__}: expected states once, got them as inputs and as "
                "initial_state"
            )
        if isinstance(state, Symbol):
            state = [state]
        if not isinstance(state, (list, tuple)):
            raise TypeError(
                f"initial_state: expected a list of states [h, c], got {_checks.describe(state)}"
            )
        return [*inputs, *state]

    def _build_node(self, shapes: Sequence[Shape]) -> list[Shape]:
        after = self.build(shapes[0])
        expected = self._all_states()
        if len(shapes) > 1 and list(shapes[1:]) != expected:
            shown, came = (
                ", ".join(_checks.show_shape(shape) for shape in group)
                for group in (expected, shapes[1:])
            )
            raise ValueError(
                f"initial_state: expected {' and '.join('hc'[: self._parts])} of each layer and "
                f"direction, of shapes {shown}, got {came}"
            )
        width = after[-1]
        assert width is not None
        outputs = [(*after[:-1], width // self._sides)] * self._sides
        return [*outputs, *(expected if self.return_state else [])]

    @property
    def _parts(self) -> int:
        """How many parts the state of a layer and direction has: h and c, or h alone."""
        return sum(shape[2] > 0 for shape in self._state_shapes(0))

    def _all_states(self) -> list[Shape]:
        """List the shapes of the states, h and c in turn."""
        shapes = self._state_shapes(0)[: self._parts]
        return [(None, shape[2]) for _ in range(shapes[0][0]) for shape in shapes]

    def _forward_node(
        self,
        inputs: Sequence[Array],
        lengths: Sequence[Array | None],
        training: bool,
        seed: int,
        logits: bool,
    ) -> NodeOutputs:
        x, state = self._sequence_and_state(inputs)
        y, final, context = self._walk(x, lengths[0], state, training, seed)
        width = y.shape[-1] // self._sides
        values = [
            np.ascontiguousarray(y[..., at * width : (at + 1) * width]) for at in range(self._sides)
        ]
        steps = lengths[0] if self.return_sequences else None
        if self.return_state:
            parts = (final.h, final.c)[: self._parts]
            values += [part for entry in zip(*parts, strict=True) for part in entry]
        after = [steps] * self._sides + [None] * (len(values) - self._sides)
        return NodeOutputs(values, after, (context, y.shape, state is not None))

    def _sequence_and_state(self, inputs: Sequence[Array]) -> tuple[Array, F.LSTMState | None]:
        """Return what the walk over the steps takes, given the inputs of a node."""
        if len(inputs) == 1:
            return inputs[0], None
        shapes = self._state_shapes(len(inputs[0]))
        return inputs[0], _stacked(inputs[1:], self._parts, *shapes)

    def _backward_node(
        self, context: Any, gradients: Sequence[Array | None], needed: Sequence[bool]
    ) -> list[Array | None]:
        self._follow_trainable()
        inner, shape, has_state = context
        dy = _joined(gradients[: self._sides], shape)
        if dy is not None:
            dy = self._split(inner, dy)
        dstate = _stacked(gradients[self._sides :], self._parts, *self._state_shapes(shape[0]))
        need_state = has_state and any(needed[1:])
        found = self._backward(inner.tape, dy, dstate, need_x=needed[0], need_state=need_state)
        if not has_state:
            return [found.x]
        if found.state is None:
            return [found.x, *(None for _ in needed[1:])]
        parts = tuple(found.state)[: self._parts]
        return [found.x, *(part for entry in zip(*parts, strict=True) for part in entry)]


def _joined(sides: Sequence[Array | None], shape: tuple[int, ...]) -> Array | None:
    """Put the gradients of outputs side by side; None: all are zero."""
    given = next((side for side in sides if side is not None), None)
    if given is None or len(sides) == 1:
        return given
    width = shape[-1] // len(sides)
    zeros = np.zeros((*shape[:-1], width), given.dtype)
    return np.concatenate([zeros if side is None else side for side in sides], axis=-1)


def _stacked(
    states: Sequence[Array | None],
    parts: int,
    h: tuple[int, int, int],
    c: tuple[int, int, int],
) -> F.LSTMState | None:
    """Stack the states, or their gradients, of each layer and direction; None: all are zero."""
    given = next((state for state in states if state is not None), None)
    if given is None:
        return None
    both = [np.zeros(shape, given.dtype) for shape in (h, c)]
    for place, state in enumerate(states):
        if state is not None:
            both[place % parts][place // parts] = state
    return F.LSTMState(*both)
