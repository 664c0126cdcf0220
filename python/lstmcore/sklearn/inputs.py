"""Convert the many forms in which sequences are passed to one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from lstmcore._typing import Array
from lstmcore.sklearn.columns import check_finite, check_numbers, column_names
from lstmcore.sklearn.samples import is_nested, rows_of_nested

__all__ = ["Panel", "read_panel"]

FLOATS = (np.float64, np.float32)


@dataclass(frozen=True)
class Panel:
    """N sequences, concatenated into one array.

    Attributes
    ----------
    values : ndarray, shape (sum of lengths, C)
    lengths : ndarray of int64, shape (N,)
    form : {"table", "array", "list"}
        The form of the input: (N, T), (N, T, C), or a list of sequences.
    """

    values: Array
    lengths: Array
    form: str

    def __len__(self) -> int:
        return len(self.lengths)

    def scaled(self, mean: Array, scale: Array, dtype: "np.dtype[Any]") -> "Panel":
        """Subtract `mean`, divide by `scale`, both (C,), and convert to `dtype`."""
        with np.errstate(over="ignore"):
            values = cast((self.values - mean) / scale, dtype, "X")
        return Panel(values, self.lengths, self.form)

    def scaled_each(self, dtype: "np.dtype[Any]") -> "Panel":
        """Scale each channel of each sequence separately to mean 0 and standard deviation 1."""
        with np.errstate(over="ignore", invalid="ignore"):
            parts = self._split(self.values)
            scales = [spread(row) for row in parts]
            rows = [
                (row - row.mean(axis=0)) / scale for row, scale in zip(parts, scales, strict=True)
            ]
        _check_spread(np.concatenate(scales), self.values, "X")
        return Panel(cast(np.concatenate(rows), dtype, "X"), self.lengths, self.form)

    def slopes(self) -> Array:
        """Return each channel's slope per step, by central differences: (steps, C)."""
        rows = [
            np.gradient(row, axis=0) if len(row) > 1 else np.zeros_like(row)
            for row in self._split(self.values)
        ]
        return np.concatenate(rows)

    def beside(self, values: Array) -> "Panel":
        """Append further channels (steps, D)."""
        values = values.astype(self.values.dtype)
        return Panel(np.column_stack([self.values, values]), self.lengths, self.form)

    def patched(self, size: int) -> "Panel":
        """Combine every `size` steps into one, with ``size * C`` channels.

        The last step is repeated to fill the last patch.
        """
        if size == 1:
            return self
        lengths = -(-self.lengths // size)
        begins = np.cumsum(self.lengths) - self.lengths
        steps = [
            begin + np.minimum(np.arange(count * size), length - 1)
            for begin, count, length in zip(begins, lengths, self.lengths, strict=True)
        ]
        values = self.values[np.concatenate(steps)]
        return Panel(values.reshape(len(values) // size, -1), lengths, self.form)

    def positions(self) -> Array:
        """Return numbers that rise from the first to the last step of each sequence: (steps, 1).

        They go from -sqrt(3) to sqrt(3), and so have a standard deviation of about 1, like scaled
        channels; they are 0 in sequences of one step.
        """
        edge = 3.0**0.5
        rises = [
            np.linspace(-edge, edge, length) if length > 1 else np.zeros(1)
            for length in self.lengths
        ]
        return np.concatenate(rises)[:, None]

    def take(self, numbers: Array) -> "Panel":
        """Choose sequences."""
        rows = self._split(self.values)
        values = np.concatenate([rows[number] for number in numbers])
        return Panel(values, self.lengths[numbers], self.form)

    def inputs(self) -> Any:
        """Return the form that `Sequential` takes: an array (N, T, C), or a list of (T_i, C)."""
        if len(self) and (self.lengths == self.lengths[0]).all():
            return self.values.reshape(len(self), int(self.lengths[0]), -1)
        return self._split(self.values)

    def _split(self, values: Array) -> list[Array]:
        return np.split(values, np.cumsum(self.lengths)[:-1])


def spread(values: Array) -> Array:
    """Return the standard deviation of each column, 1 for constant columns."""
    deviation = values.std(axis=0)
    # Rounding alone makes the deviation of a constant column slightly more than 0.
    tiny = 10 * np.finfo(values.dtype).eps * np.abs(values).max(axis=0, initial=0.0)
    return np.where(deviation > tiny, deviation, 1.0)


def statistics(values: Array, name: str) -> tuple[Array, Array]:
    """Return mean and spread of each column; errors call the values `name`."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = values.mean(axis=0), spread(values)
    _check_spread(np.concatenate([mean, scale]), values, name)
    return mean, scale


def _check_spread(computed: Array, values: Array, name: str) -> None:
    if not np.isfinite(computed).all():
        raise ValueError(
            f"{name}: expected values whose squares {values.dtype} can sum, got magnitudes up to "
            f"{np.abs(values).max():.3g}"
        )


def cast(values: Array, dtype: "np.dtype[Any]", name: str) -> Array:
    """Convert scaled values to `dtype`; raise ValueError if they do not fit into it."""
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if not np.isfinite(converted).all():
        raise ValueError(
            f"{name}: expected values that {np.dtype(dtype)}, the type of computation, can hold "
            "after scaling, got much larger ones"
        )
    return converted


def read_panel(estimator: Any, x: Any, *, reset: bool) -> Panel:
    """Check sequences and convert them to a `Panel` of float32 or float64.

    Parameters
    ----------
    estimator : estimator
        Has the attributes that describe the inputs `fit` saw; with `reset`, they are set.
    x : array_like, or list of array_like
        (N, T, C); (N, T) or a frame with N rows, for N sequences of one channel; a list of N
        sequences (T_i, C) or (T_i,), or frames with T_i rows; or a nested frame, (N, C) cells that
        are sequences (T_i,).
    reset : bool
        Whether to record a description of `x` instead of comparing it with what `fit` saw.

    Returns
    -------
    Panel

    Raises
    ------
    TypeError
        If it is sparse.
    ValueError
        If it does not fit, is not finite, or has columns of dates or text.
    """
    fitted = None if reset else estimator.input_form_
    if is_nested(x):
        names = column_names(x)
        return _read_list(estimator, rows_of_nested(x), reset, names)
    rows = _as_rows(x, fitted)
    if rows is not None:
        return _read_list(estimator, rows, reset)
    check_numbers(x, "X")
    rank = _rank(x)
    if rank == 3:
        array = _checked(estimator, x)
        check_finite(array, "X")
        return _read_array(estimator, array, reset)
    if rank == 2 and fitted not in (None, "table"):
        # Each row is a series of one channel, whatever its number of steps.
        array = check_array(
            x, dtype=FLOATS, ensure_all_finite=False, estimator=estimator, input_name="X"
        )
        check_finite(array, "X", given=x)
        single = "; for a single sequence pass X[None]"
        advice = single if array.shape[1] == estimator.n_channels_ else ""
        _check_channels(estimator, 1, f"one channel, of shape {array.shape}{advice}")
        return _uniform(array[..., None], "table")
    array = validate_data(estimator, x, reset=reset, dtype=FLOATS, ensure_all_finite=False)
    check_finite(array, "X", given=x)
    if reset:
        estimator.input_form_, estimator.n_channels_ = "table", 1
    return _uniform(array[..., None], "table")


def _checked(estimator: Any, values: Any) -> Array:
    # Skip check_array, which takes longer than a small model, if no conversion is needed.
    if type(values) is np.ndarray and values.dtype in FLOATS and values.size:
        return values
    checked: Array = check_array(
        values,
        dtype=FLOATS,
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        estimator=estimator,
        input_name="X",
    )
    return checked


def _uniform(array: Array, form: str) -> Panel:
    lengths = np.full(len(array), array.shape[1], dtype=np.int64)
    return Panel(array.reshape(-1, array.shape[2]), lengths, form)


def _rank(x: Any) -> int:
    shape = getattr(x, "shape", None)
    if shape is not None:
        return len(shape)
    try:
        return np.asarray(x).ndim
    except ValueError:
        return 2  # uneven at a deeper level, which the check of a table reports best


def _as_rows(x: Any, fitted: str | None) -> list[Any] | None:
    """Return the rows of a list of sequences; None if `x` is an array or a table."""
    if isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1:
        x = list(x)
    if not isinstance(x, (list, tuple)):
        return None
    if len(x) == 0:
        raise ValueError("X: expected at least one sequence, got none")
    if any(hasattr(row, "shape") and len(row.shape) > 0 for row in x):
        return list(x)
    if not all(isinstance(row, (list, tuple)) for row in x):
        return None
    # `fit` takes plain lists of equal length as a table, as scikit-learn does everywhere. But the
    # sequences in a fold of a cross-validation may have equal lengths by chance, so later calls
    # take such lists as sequences.
    if fitted is not None or len({len(row) for row in x}) > 1:
        return list(x)
    return None


def _read_list(
    estimator: Any, rows: list[Any], reset: bool, nested: list[Any] | None = None
) -> Panel:
    """Read sequences, whose columns have the names `nested` if they come from a nested frame."""
    names = [column_names(row) if nested is None else nested for row in rows]
    arrays: list[Array] = []
    for place, row in enumerate(rows):
        check_numbers(row, f"X[{place}]")
        array = _row(row, place)
        if array.ndim not in (1, 2) or 0 in array.shape:
            raise ValueError(
                f"X: expected sequences (T, C) or (T,) of at least one step, got shape "
                f"{array.shape} at {place}"
            )
        array = array.reshape(len(array), -1)
        if arrays and array.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"X: expected {arrays[0].shape[1]} channels like the first sequence, got "
                f"{array.shape[1]} at {place}"
            )
        arrays.append(array)
    values = _checked(estimator, np.concatenate(arrays))
    if not np.isfinite(values).all():
        begin = 0
        for place, array in enumerate(arrays):
            part = values[begin : begin + len(array)]
            check_finite(part, "X", f"[{place}]", rows[place])
            begin += len(array)
    first = next((columns for columns in names if columns is not None), None)
    expected = first if reset else getattr(estimator, "feature_names_in_", None)
    if expected is not None:
        for place, columns in enumerate(names):
            if columns is not None and columns != list(expected):
                raise ValueError(
                    f"X: expected the columns {', '.join(map(str, expected))} in this order, got "
                    f"{', '.join(map(str, columns))} at {place}"
                )
    _describe(estimator, values.shape[1], "list", reset, first)
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    return Panel(values, lengths, "list")


def _row(row: Any, place: int) -> Array:
    try:
        return np.asarray(row)
    except ValueError:
        raise ValueError(
            f"X: expected a sequence of numbers, got uneven lists at {place}"
        ) from None


def _read_array(estimator: Any, array: Array, reset: bool) -> Panel:
    if array.shape[1] == 0 or array.shape[2] == 0:
        raise ValueError(f"X: expected at least one step and one channel, got shape {array.shape}")
    _describe(estimator, array.shape[2], "array", reset, None)
    return _uniform(array, "array")


def _describe(
    estimator: Any, channels: int, form: str, reset: bool, names: list[Any] | None
) -> None:
    if not reset:
        _check_channels(estimator, channels, f"{channels} channels")
        return
    estimator.n_features_in_ = estimator.n_channels_ = channels
    estimator.input_form_ = form
    if names is not None and all(isinstance(name, str) for name in names):
        estimator.feature_names_in_ = np.array(names, dtype=object)
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_


def _check_channels(estimator: Any, channels: int, came: str) -> None:
    if channels != estimator.n_channels_:
        raise ValueError(
            f"X: expected sequences of {estimator.n_channels_} channels, as "
            f"{type(estimator).__name__} was fitted with, got {came}"
        )
