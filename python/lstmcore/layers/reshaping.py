"""Layers that rearrange values: Flatten, Permute, RepeatVector and Reshape."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer
from lstmcore.layers.shapes import ANY_AXES, WrongRank

__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]


class _Context(NamedTuple):
    shape: tuple[int, ...]
    """Of the inputs."""
    lengths: Array | None


class _Rearranged(Layer):
    """Base of the layers after which time is no longer the second axis, or has another meaning.

    Lengths end here: steps past a row's length count as zeros, and the outputs are all valid. The
    number of steps must be known, so that rows padded to other lengths make the same outputs.
    """

    @property
    def _known_from(self) -> int:
        return 1

    def _arrange(self, values: Array) -> Array:
        """Return the outputs for whole inputs."""
        raise NotImplementedError

    def _arrange_back(self, dy: Array, shape: tuple[int, ...]) -> Array:
        """Return dy at the places of inputs of `shape`."""
        return dy.reshape(shape)

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _Context]:
        """Rearrange the values; see `Layer.forward`."""
        return self._arrange(self._whole(inputs, lengths)), None, _Context(inputs.shape, lengths)

    def backward(self, context: _Context, dy: Array, need_x: bool = True) -> Array:
        """Rearrange `dy` back; see `Layer.backward`."""
        shape, lengths = context
        if lengths is None:
            return self._arrange_back(dy, shape)
        dx = self._arrange_back(dy, (shape[0], self._steps(shape[1]), *shape[2:]))[:, : shape[1]]
        return np.where(_valid(lengths, dx), dx, dx.dtype.type(0))

    def _whole(self, inputs: Array, lengths: Array | None) -> Array:
        """Return the inputs with the steps that the layer was built for, zeros past each length."""
        if lengths is None:
            return inputs
        missing = self._steps(inputs.shape[1]) - inputs.shape[1]
        values = np.where(_valid(lengths, inputs), inputs, inputs.dtype.type(0))
        if missing <= 0:
            return values
        return np.pad(values, ((0, 0), (0, missing), *((0, 0),) * (inputs.ndim - 2)))

    def _steps(self, came: int) -> int:
        """Return the number of steps that the layer was built for."""
        assert self.input_shape is not None
        steps = self.input_shape[1]
        if steps is None:
            kind = type(self).__name__
            raise ValueError(
                f"{kind}: expected a known number of steps for rows of different lengths, so that "
                f"they can be padded to it, got {_checks.show_shape(self.input_shape)}; put "
                f"Input((T, C)) with the greatest length first in the model, such as T = {came}"
            )
        return steps


def _valid(lengths: Array, values: Array) -> Array:
    """Return which steps of (N, T, ...) are within the lengths, as (N, T, 1, ...)."""
    valid = np.arange(values.shape[1]) < lengths[:, None]
    return np.asarray(valid.reshape(*valid.shape, *(1,) * (values.ndim - 2)))


class Flatten(_Rearranged):
    """Join all axes but the first: (N, T, C) to (N, T C).

    Parameters
    ----------
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    T must be known: from an `Input`, or else from the first data that the model sees. Rows that are
    shorter than T are padded with zeros.
    """

    def build(self, input_shape: Shape) -> Shape:
        """Fix T and C from (N, T, C); (N, C) stays as it is."""
        self._accept(input_shape, (2, 3, 4, 5), "(N, T, C) or (N, C)")
        rest = input_shape[1:]
        if None in rest:
            self._input_shape = None
            raise ValueError(
                "Flatten: expected a known number of steps, which its width depends on, got "
                f"{_checks.show_shape(input_shape)}; put Input((T, C)) first in the model"
            )
        return (input_shape[0], math.prod(size or 1 for size in rest))

    @property
    def mixes_steps(self) -> bool:
        """Whether there is a time axis that ends here."""
        return self.input_shape is None or len(self.input_shape) > 2

    def _arrange(self, values: Array) -> Array:
        return values.reshape(len(values), math.prod(values.shape[1:]))


class Reshape(_Rearranged):
    """Give the values of each row the shape `target_shape`.

    Parameters
    ----------
    target_shape : sequence of int
        Without the batch. One entry may be -1: what remains for it.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    The values keep their order, with the last axis fastest. In rows that are shorter than T, the
    steps they lack are zeros, and all outputs are valid.
    """

    def __init__(
        self, target_shape: Sequence[int], *, name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if isinstance(target_shape, (str, bytes)) or not isinstance(target_shape, Sequence):
            raise TypeError(
                "target_shape: expected a sequence of int, got "
                f"{_checks.describe(target_shape)}; for one axis write (size,)"
            )
        sizes = [_checks.integer(size, "target_shape", -1) for size in target_shape]
        if not 1 <= len(sizes) <= 4 or 0 in sizes or sizes.count(-1) > 1:
            raise ValueError(
                "target_shape: expected one to four sizes of at least 1, or -1 for one of them, "
                f"got {tuple(sizes)}"
            )
        self.target_shape = sizes
        self._sizes: tuple[int | None, ...] = ()

    def build(self, input_shape: Shape) -> Shape:
        """Fix the shape of a row, and what -1 stands for."""
        self._accept(input_shape, (2, 3, 4, 5), "(N, T, C) or (N, C)")
        known = math.prod(size for size in self.target_shape if size != -1)
        rest, open_axes = input_shape[1:], None in input_shape[1:]
        count = math.prod(size or 1 for size in rest)
        fits = -1 in self.target_shape if open_axes else count % known == 0
        if fits and not open_axes and -1 not in self.target_shape:
            fits = count == known
        if not fits:
            self._input_shape = None
            raise ValueError(
                f"target_shape: expected as many values as a row of "
                f"{_checks.show_shape(input_shape)} has, got {tuple(self.target_shape)}"
            )
        fill = None if open_axes else count // known
        self._sizes = tuple(fill if size == -1 else size for size in self.target_shape)
        if self._sizes[-1] is None:
            self._input_shape = None
            raise ValueError(
                "target_shape: expected a known last size, the width of the next layer's inputs, "
                f"got {tuple(self.target_shape)} for {_checks.show_shape(input_shape)}; put "
                "Input((T, C)) first in the model"
            )
        return (input_shape[0], *self._sizes)

    @property
    def mixes_steps(self) -> bool:
        """Whether an axis of time is changed, or made."""
        return self.input_shape is None or max(len(self.input_shape), len(self._sizes) + 1) > 2

    def output_lengths(self, lengths: Array) -> Array:
        """Return the number of steps of the outputs, all of which are valid."""
        if len(self._sizes) < 2 or self.input_shape is None:
            return lengths
        if self._sizes[0] is not None:
            return np.full_like(lengths, self._sizes[0])
        each = math.prod(size or 1 for size in self.input_shape[2:])
        return np.asarray(lengths * each // math.prod(size or 1 for size in self._sizes))

    def _arrange(self, values: Array) -> Array:
        try:
            return values.reshape(len(values), *(size or -1 for size in self._sizes))
        except ValueError:
            raise ValueError(
                f"inputs: expected rows whose values fill {tuple(self.target_shape)}, got shape "
                f"{values.shape}"
            ) from None


class Permute(_Rearranged):
    """Reorder the axes other than the batch: with ``dims=(2, 1)`` (N, T, C) to (N, C, T).

    Parameters
    ----------
    dims : sequence of int
        For each axis of the outputs, counted from 1 without the batch, that of the inputs.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    If time becomes another axis, T must be known: from an `Input`, or else from the first data that
    the model sees. Steps past a row's length then count as zeros, and all outputs are valid.
    """

    def __init__(
        self, dims: Sequence[int], *, name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if isinstance(dims, (str, bytes)) or not isinstance(dims, Sequence):
            raise TypeError(f"dims: expected a sequence of int, got {_checks.describe(dims)}")
        self.dims = [_checks.integer(axis, "dims", 1) for axis in dims]
        if not self.dims or sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                "dims: expected each axis once, counted from 1 without the batch, such as (2, 1), "
                f"got {tuple(self.dims)}"
            )

    def build(self, input_shape: Shape) -> Shape:
        """Fix the sizes of the axes."""
        if len(input_shape) != len(self.dims) + 1:
            raise WrongRank(
                f"Permute: dims {tuple(self.dims)} are for inputs with {len(self.dims) + 1} axes, "
                f"the batch included, got {_checks.show_shape(input_shape)}"
            )
        self._accept(input_shape, (len(self.dims) + 1,), "(N, T, C)")
        shape = (input_shape[0], *(input_shape[axis] for axis in self.dims))
        if shape[-1] is None:
            self._input_shape = None
            raise ValueError(
                "Permute: expected a known number of steps, which becomes the width of the "
                f"outputs, got {_checks.show_shape(input_shape)}; put Input((T, C)) first in the "
                "model"
            )
        return shape

    @property
    def _known_from(self) -> int:
        return ANY_AXES if self.dims == sorted(self.dims) else 1

    @property
    def mixes_steps(self) -> bool:
        """Whether time becomes another axis."""
        return self.dims[0] != 1

    def output_lengths(self, lengths: Array) -> Array:
        """Return the number of steps of the outputs, all of which are valid."""
        if self.input_shape is None or self.dims[0] == 1:
            return lengths
        size = self.input_shape[self.dims[0]]
        return lengths if size is None else np.full_like(lengths, size)

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _Context]:
        """Reorder the axes; see `Layer.forward`."""
        if self.dims[0] == 1:  # steps remain steps
            return self._arrange(inputs), lengths, _Context(inputs.shape, None)
        return super().forward(inputs, lengths, training, seed)

    def _arrange(self, values: Array) -> Array:
        return np.ascontiguousarray(values.transpose(0, *self.dims))

    def _arrange_back(self, dy: Array, shape: tuple[int, ...]) -> Array:
        back = np.argsort([0, *self.dims])
        return np.ascontiguousarray(dy.transpose(*back))


class RepeatVector(Layer):
    """Repeat a vector at `n` steps: (N, C) to (N, n, C).

    Between an LSTM that reads a sequence and one that writes another.

    Parameters
    ----------
    n : int
        Steps of the outputs, at least 1.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def __init__(self, n: int, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.n = _checks.integer(n, "n", 1)

    def build(self, input_shape: Shape) -> Shape:
        """Accept (N, C)."""
        width = self._accept(input_shape, (2,), "(N, C)")
        return (input_shape[0], self.n, width)

    def output_lengths(self, lengths: Array) -> Array:
        """Return `n` for each row."""
        return np.full_like(lengths, self.n)

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, None, None]:
        """Repeat the vectors; see `Layer.forward`."""
        return np.repeat(inputs[:, None], self.n, axis=1), None, None

    def backward(self, context: None, dy: Array, need_x: bool = True) -> Array:
        """Sum `dy` over the steps."""
        return np.asarray(dy.sum(axis=1))
