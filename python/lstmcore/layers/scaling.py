"""Fixed changes of scale, which are not trained: Normalization and Rescaling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._typing import Array, ArrayLike, Shape
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.shapes import ANY_AXES

__all__ = ["Normalization", "Rescaling"]

LEAST_DEVIATION = 1e-7
"""A smaller deviation counts as this one, as in Keras, so that constant features become 0."""


@dataclass(frozen=True, eq=False)
class _Known:
    """Initial values that are known; used where a function would not survive pickling."""

    values: Array

    def __call__(self, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        return self.values


class Normalization(Layer):
    """``(x - mean) / deviation`` with the mean and the deviation of data that it has seen.

    Parameters
    ----------
    axis : int, sequence of int, or None, default -1
        The axes each entry of which has its own mean and variance, counted with the batch as 0: -1
        is each feature, (1, 2) each feature at each step. None: one mean for all.
    mean, variance : float or array_like, optional
        Both, instead of `adapt`, for the entries of `axis` or the same for all.
    invert : bool, default False
        Whether to do the reverse: ``x * deviation + mean``.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights: ``mean`` and ``variance``, one entry for each of `axis`, which optimizers leave alone;
    none if `mean` and `variance` are given. Until `adapt` or `set_weights` they are 0 and 1. The
    variance divides by the number of values, and a deviation below 1e-7 counts as 1e-7, as in
    Keras.

    Examples
    --------
    >>> scale = lc.layers.Normalization()
    >>> scale.adapt(x_train)
    >>> model = lc.Sequential([scale, lc.layers.LSTM(32), lc.layers.Dense(1)])
    """

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: ArrayLike | None = None,
        variance: ArrayLike | None = None,
        invert: bool = False,
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if axis is None or isinstance(axis, (int, np.integer)):
            self.axis: int | list[int] | None = axis
            if axis is not None:
                self.axis = _checks.integer(axis, "axis")
        elif isinstance(axis, Sequence) and not isinstance(axis, (str, bytes)):
            self.axis = [_checks.integer(entry, "axis") for entry in axis]
        else:
            raise TypeError(
                f"axis: expected an int, a sequence of int or None, got {_checks.describe(axis)}"
            )
        if (mean is None) != (variance is None):
            missing = "mean" if mean is None else "variance"
            raise ValueError(f"{missing}: expected both mean and variance or neither, got None")
        self.mean = _constant(mean, "mean")
        self.variance = _constant(variance, "variance")
        if variance is not None and np.min(self.variance, initial=0) < 0:
            raise ValueError(f"variance: expected values of at least 0, got {self.variance}")
        self.invert = _checks.flag(invert, "invert")
        self._adapted: tuple[Array, Array] | None = None
        self._kept: tuple[int, ...] = ()

    @property
    def _known_from(self) -> int:
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        return 1 if any(axis not in (-1, None) for axis in axes) else ANY_AXES

    def build(self, input_shape: Shape) -> Shape:
        """Fix the sizes of `axis`."""
        self._accept(input_shape, (1, 2, 3, 4, 5), "(N, C) or (N, T, C)")
        try:
            self._kept = self._find_kept(input_shape)
            self._check_fits(input_shape)
        except ValueError:
            self._input_shape = None
            raise
        return input_shape

    def _find_kept(self, shape: Shape) -> tuple[int, ...]:
        """Return `axis` as rising numbers from 1, for inputs of `shape`."""
        given = self.axis if isinstance(self.axis, list) else [self.axis]
        axes = [axis for axis in given if axis is not None]
        kept = sorted({axis % len(shape) for axis in axes if -len(shape) <= axis < len(shape)})
        if len(kept) < len(axes):
            raise ValueError(
                f"axis: expected different axes of {_checks.show_shape(shape)}, from "
                f"{-len(shape)} to {len(shape) - 1}, got {self.axis}"
            )
        if any(shape[axis] is None for axis in kept):
            raise ValueError(
                f"axis: expected axes of known size of {_checks.show_shape(shape)}, got "
                f"{self.axis}; put Input((T, C)) first in the model for means of each step"
            )
        return tuple(kept)

    def _sizes(self, shape: Shape) -> tuple[int, ...]:
        return tuple(size for axis in self._kept if (size := shape[axis]) is not None)

    def _check_fits(self, shape: Shape) -> None:
        """Raise ValueError unless the statistics that are known are for inputs of `shape`."""
        sizes = self._sizes(shape)
        if self._adapted is not None and self._adapted[0].shape != sizes:
            came = self._adapted[0].shape
            raise ValueError(
                f"Normalization: expected inputs like the data of adapt, with means {came}, got "
                f"{_checks.show_shape(shape)}"
            )
        for name in ("mean", "variance"):
            value = 0.0 if getattr(self, name) is None else getattr(self, name)
            try:
                np.broadcast_to(value, sizes)
            except ValueError:
                raise ValueError(
                    f"{name}: expected a number, or values of shape {sizes} for inputs "
                    f"{_checks.show_shape(shape)}, got shape {np.shape(value)}"
                ) from None

    def weight_specs(self) -> list[WeightSpec]:
        """List ``mean`` and ``variance``, unless they are given."""
        if self.mean is not None or self._input_shape is None:
            return []
        make: list[initializers.Initializer] = [initializers.zeros, initializers.ones]
        if self._adapted is not None:
            make = [_Known(part) for part in self._adapted]
        shape = self._sizes(self._input_shape)
        return [
            WeightSpec(name, shape, known, trainable=False, rounded=False)
            for name, known in zip(("mean", "variance"), make, strict=True)
        ]

    def adapt(self, data: ArrayLike) -> None:
        """Compute mean and variance of `data`, which replace those of an earlier call.

        Parameters
        ----------
        data : array_like, shape (N, C) or (N, T, C), or list of array_like, each (T_i, C)
            Finite numbers, all of which count. Sums are in float64.

        Raises
        ------
        ValueError
            If the layer has a given `mean`, there is no data, or its shape does not fit the layer.
        TypeError
            If it is not numbers.
        """
        if self.mean is not None:
            raise ValueError("adapt: expected a layer without a given mean and variance")
        values = _joined(data)
        shape: Shape = (None, *values.shape[1:])
        if self._input_shape is None:
            kept = self._find_kept(shape)
        else:
            self._check_shape(values.shape)
            kept = self._kept
        if values.size == 0:
            raise ValueError(f"data: expected at least one value, got shape {values.shape}")
        others = tuple(axis for axis in range(values.ndim) if axis not in kept)
        self._adapted = (values.mean(axis=others), values.var(axis=others))
        if self.parameters is not None:
            names = (self._names[name] for name in ("mean", "variance"))
            self.parameters.assign(dict(zip(names, self._adapted, strict=True)), convert=True)

    def _statistics(self, inputs: Array) -> tuple[Array, Array]:
        """Return the mean and the deviation, in a shape that goes with the inputs."""
        given = (self.mean, self.variance)
        if self.mean is None:
            given = (self._weights["mean"], self._weights["variance"])
        sizes = tuple(inputs.shape[axis] for axis in self._kept)
        shape = tuple(size if axis in self._kept else 1 for axis, size in enumerate(inputs.shape))
        mean, variance = (
            np.broadcast_to(np.asarray(part, inputs.dtype), sizes).reshape(shape) for part in given
        )
        return mean, np.maximum(np.sqrt(variance), inputs.dtype.type(LEAST_DEVIATION))

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Array]:
        """Normalize; see `Layer.forward`."""
        mean, deviation = self._statistics(inputs)
        if self.invert:
            return inputs * deviation + mean, lengths, deviation
        return (inputs - mean) / deviation, lengths, deviation

    def backward(self, context: Array, dy: Array, need_x: bool = True) -> Array:
        """Scale `dy`; see `Layer.backward`."""
        return np.asarray(dy * context if self.invert else dy / context)


class Rescaling(Layer):
    """``x * scale + offset``.

    Parameters
    ----------
    scale : float or array_like, shape (C,)
        For all features, or one for each.
    offset : float or array_like, shape (C,), default 0.0
        Likewise.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    def __init__(
        self,
        scale: ArrayLike,
        offset: ArrayLike = 0.0,
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.scale = _constant(scale, "scale")
        self.offset = _constant(offset, "offset")
        for key in ("scale", "offset"):
            value = getattr(self, key)
            if value is None or np.ndim(value) > 1:
                raise ValueError(
                    f"{key}: expected a number or one for each feature, got "
                    f"{_checks.describe(value)}"
                )

    def build(self, input_shape: Shape) -> Shape:
        """Accept any shape with as many features as there are scales and offsets."""
        width = self._accept(input_shape, (1, 2, 3, 4, 5), "(N, C) or (N, T, C)")
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if np.ndim(value) and len(value) not in (1, width):
                self._input_shape = None
                raise ValueError(
                    f"{name}: expected {width} values for inputs "
                    f"{_checks.show_shape(input_shape)}, got {len(value)}"
                )
        return input_shape

    def _constants(self, dtype: Any) -> tuple[Array, Array]:
        return np.asarray(self.scale, dtype), np.asarray(self.offset, dtype)

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, None]:
        """Scale and shift; see `Layer.forward`."""
        scale, offset = self._constants(inputs.dtype)
        return np.asarray(inputs * scale + offset), lengths, None

    def backward(self, context: None, dy: Array, need_x: bool = True) -> Array:
        """Scale `dy`; see `Layer.backward`."""
        return np.asarray(dy * self._constants(dy.dtype)[0])


def _constant(value: Any, name: str) -> Any:
    """Return numbers as a float or lists of floats, which a model file can hold; None as it is."""
    if value is None:
        return None
    array = Intake(switch=False).floats(value, name, np.dtype(np.float64))
    return array.tolist()


def _joined(data: Any) -> Array:
    """Return data as one array of float64; rows of different lengths end to end."""
    intake, double = Intake(switch=False), np.dtype(np.float64)
    if isinstance(data, (list, tuple)) and len({np.shape(row)[:1] for row in data}) > 1:
        rows = [intake.floats(row, f"data[{place}]", double) for place, row in enumerate(data)]
        if {row.ndim for row in rows} != {2} or len({row.shape[1] for row in rows}) > 1:
            raise ValueError(
                "data: expected an array, or a list of rows (T, C) of the same width, got shapes "
                f"{', '.join(str(row.shape) for row in rows[:3])}"
            )
        return np.concatenate(rows)[None]
    return intake.floats(data, "data", double)
