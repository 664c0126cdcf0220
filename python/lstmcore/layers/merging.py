"""Layers that join several inputs of a graph into one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._typing import Array, ArrayLike, Shape
from lstmcore.layers.base import Layer
from lstmcore.layers.nodes import NodeOutputs

__all__ = ["Add", "Average", "Concatenate", "Multiply", "Subtract"]


class _Context(NamedTuple):
    inputs: Sequence[Array]
    """Those without steps of their own are repeated at every step."""
    repeated: Sequence[bool]


class _Merge(Layer):
    """Base of the layers that join inputs, in a graph or called on a list of arrays.

    All inputs have steps, or none, or those without are repeated at every step of the others.
    """

    _joins_steps = True

    def build(self, input_shape: Shape) -> Shape:
        """Refuse: one input has nothing to be joined with."""
        raise ValueError(
            f"{type(self).__name__}: expected at least two inputs, which only a graph has: "
            "lstmcore.Model(inputs, outputs)"
        )

    def _build_node(self, shapes: Sequence[Shape]) -> list[Shape]:
        name = type(self).__name__
        if len(shapes) < 2:
            raise ValueError(f"{name}: expected a list of at least two inputs, got {len(shapes)}")
        ranks = {len(shape) for shape in shapes}
        if not ranks <= {2, 3} and len(ranks) > 1:
            shown = " and ".join(map(_checks.show_shape, shapes))
            raise ValueError(
                f"{name}: expected inputs of as many axes, or (N, C) beside (N, T, C), got {shown}"
            )
        widths = [shape[-1] for shape in shapes]
        if None in widths:
            shown = " and ".join(map(_checks.show_shape, shapes))
            raise ValueError(f"{name}: expected inputs of known widths, got {shown}")
        longest = [shape[1:-1] for shape in shapes if len(shape) == max(ranks)]
        middle = [_common(name, sizes) for sizes in zip(*longest, strict=True)]
        self._input_shape = shapes[0]
        return [(None, *middle, self._width([width or 0 for width in widths]))]

    def _width(self, widths: Sequence[int]) -> int:
        """Return the width of the output."""
        if len(set(widths)) > 1:
            raise ValueError(
                f"{type(self).__name__}: expected inputs of the same width, got "
                f"{', '.join(map(str, widths))}; Concatenate joins different ones"
            )
        return widths[0]

    def _lengths_node(self, lengths: Sequence[Array | None], rows: Array) -> Array:
        timed = [entry for entry in lengths if entry is not None]
        return np.minimum.reduce(timed) if timed else rows

    def _forward_node(
        self,
        inputs: Sequence[Array],
        lengths: Sequence[Array | None],
        training: bool,
        seed: int,
        logits: bool,
    ) -> NodeOutputs:
        rank = max(values.ndim for values in inputs)
        repeated = [values.ndim < rank for values in inputs]
        steps = {values.shape[1:-1] for values in inputs if values.ndim == rank}
        if len(steps) > 1:
            shown = " and ".join(str(values.shape) for values in inputs)
            raise ValueError(
                f"{type(self).__name__}: expected inputs of as many steps, got {shown}"
            )
        whole = [
            _at_every_step(values, rank, steps) if alone else values
            for values, alone in zip(inputs, repeated, strict=True)
        ]
        known = [entry for entry in lengths if entry is not None]
        after = np.minimum.reduce(known) if known else None
        return NodeOutputs([self._join(whole)], [after], _Context(whole, repeated))

    def _backward_node(
        self, context: _Context, gradients: Sequence[Array | None], needed: Sequence[bool]
    ) -> list[Array | None]:
        dy = gradients[0]
        assert dy is not None
        parts = self._split(context.inputs, dy)
        return [
            None if not wanted else np.asarray(part.sum(axis=1)) if alone else part
            for part, alone, wanted in zip(parts, context.repeated, needed, strict=True)
        ]

    def _join(self, inputs: Sequence[Array]) -> Array:
        """Return the output for inputs that all have the same steps."""
        raise NotImplementedError

    def _split(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        """Return the gradient with respect to each input."""
        raise NotImplementedError

    def __call__(  # type: ignore[override]
        self,
        inputs: Sequence[ArrayLike],
        *,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: int = 0,
    ) -> Array:
        """Join arrays, or in a graph symbols.

        Parameters
        ----------
        inputs : sequence of array_like, each of shape (N, C) or (N, T, C)
            At least two.
        lengths : array_like of int, shape (N,), optional
            Valid steps of each row. Later steps may hold anything.
        training, seed
            Without effect: nothing is random here.

        Returns
        -------
        ndarray

        Raises
        ------
        TypeError, ValueError
            If the inputs are not numbers or do not fit together.
        """
        if not isinstance(inputs, (list, tuple)):
            raise TypeError(f"inputs: expected a list of arrays, got {_checks.describe(inputs)}")
        intake = Intake(switch=False)
        given = [intake.numbers(entry, f"inputs[{at}]") for at, entry in enumerate(inputs)]
        double = any(entry.dtype == np.float64 for entry in given)
        dtype = np.dtype(np.float64 if double else np.float32)
        valid = None
        if lengths is not None:
            steps = next((entry.shape[1] for entry in given if entry.ndim > 2), 0)
            counted = _checks.lengths_array(
                intake.integers(lengths, "lengths"), len(given[0]), steps
            )
            valid = np.arange(steps) < counted[:, None]
        arrays = [
            intake.floats(entry, f"inputs[{at}]", dtype, valid if entry.ndim > 2 else None)
            for at, entry in enumerate(given)
        ]
        if len({len(array) for array in arrays}) > 1:
            raise ValueError(
                f"inputs: expected as many rows in each, got {[len(array) for array in arrays]}"
            )
        self._build_node([(None, *array.shape[1:]) for array in arrays])
        return self._forward_node(arrays, [None] * len(arrays), training, seed, False).values[0]


def _common(name: str, sizes: Sequence[int | None]) -> int | None:
    """Return the size of an axis that all inputs share; None: it varies."""
    known = {size for size in sizes if size is not None}
    if len(known) > 1:
        raise ValueError(
            f"{name}: expected inputs of as many steps, got {' and '.join(map(str, sorted(known)))}"
        )
    return known.pop() if known else None


def _at_every_step(values: Array, rank: int, steps: set[tuple[int, ...]]) -> Array:
    """Repeat (N, C) at every step."""
    middle = next(iter(steps))
    shape = (len(values), *(1,) * len(middle), values.shape[-1])
    return np.broadcast_to(values.reshape(shape), (len(values), *middle, values.shape[-1]))


class Concatenate(_Merge):
    """Put the features of several inputs side by side: (N, T, A) and (N, T, B) to (N, T, A + B).

    An input (N, C) beside ones with steps is repeated at every step: so do static features join a
    sequence.

    Parameters
    ----------
    axis : int, default -1
        Only the last, that of features.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def __init__(self, axis: int = -1, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.axis = _checks.integer(axis, "axis")
        if self.axis == 0:
            raise ValueError("axis: expected -1, the axis of features, got 0, that of samples")

    def _build_node(self, shapes: Sequence[Shape]) -> list[Shape]:
        made = super()._build_node(shapes)
        if self.axis not in (-1, len(made[0]) - 1):
            raise ValueError(
                f"axis: expected -1, the axis of features, got {self.axis} for outputs of "
                f"{_checks.show_shape(made[0])}: steps are not joined, since rows may have "
                "different lengths"
            )
        return made

    def _width(self, widths: Sequence[int]) -> int:
        return sum(widths)

    def _join(self, inputs: Sequence[Array]) -> Array:
        return np.concatenate(inputs, axis=-1)

    def _split(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        ends = np.cumsum([values.shape[-1] for values in inputs])[:-1]
        return [np.ascontiguousarray(part) for part in np.split(dy, ends, axis=-1)]


class Add(_Merge):
    """Add several inputs of the same width.

    An input (N, C) beside ones with steps is added at every step.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def _join(self, inputs: Sequence[Array]) -> Array:
        return _sum(inputs)

    def _split(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [dy] * len(inputs)


class Average(_Merge):
    """Return the mean of several inputs of the same width.

    An input (N, C) beside ones with steps counts at every step.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def _join(self, inputs: Sequence[Array]) -> Array:
        return np.asarray(_sum(inputs) / inputs[0].dtype.type(len(inputs)))

    def _split(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [dy / dy.dtype.type(len(inputs))] * len(inputs)


class Subtract(_Merge):
    """Subtract the second of two inputs of the same width from the first.

    An input (N, C) beside one with steps counts at every step.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def _build_node(self, shapes: Sequence[Shape]) -> list[Shape]:
        if len(shapes) != 2:
            raise ValueError(f"Subtract: expected a list of two inputs, got {len(shapes)}")
        return super()._build_node(shapes)

    def _join(self, inputs: Sequence[Array]) -> Array:
        return np.asarray(inputs[0] - inputs[1])

    def _split(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        return [dy, -dy]


class Multiply(_Merge):
    """Multiply several inputs of the same width, element by element.

    An input (N, C) beside ones with steps, such as a gate, is a factor at every step.

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def _join(self, inputs: Sequence[Array]) -> Array:
        return _product(inputs)

    def _split(self, inputs: Sequence[Array], dy: Array) -> list[Array]:
        # Products of the others, not a quotient, which would fail where an input is 0.
        return [
            _product([dy, *(other for at, other in enumerate(inputs) if at != place)])
            for place in range(len(inputs))
        ]


def _sum(inputs: Sequence[Array]) -> Array:
    total = inputs[0] + inputs[1]
    for values in inputs[2:]:
        total += values
    return np.asarray(total)


def _product(inputs: Sequence[Array]) -> Array:
    result = inputs[0] * inputs[1]
    for values in inputs[2:]:
        result *= values
    return np.asarray(result)
