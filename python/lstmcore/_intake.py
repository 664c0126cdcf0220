"""Convert input data to numbers of the right type; errors name the position of a bad value."""

import copy
import datetime
import decimal
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, NoReturn, TypeAlias

import numpy as np

from lstmcore import _checks, _core
from lstmcore._arrays import PLAIN, columns_of, is_frame
from lstmcore._typing import Array

__all__ = [
    "READ_FIRST",
    "Intake",
    "Where",
    "first_place",
    "is_finite",
    "warn_of_infinite",
    "written",
]

Where: TypeAlias = Callable[[tuple[Any, ...]], str]
"""Formats the position of an element as the caller would write it: "[3, 17, 0]".

The index of a frame's column may be replaced by the column's name, as text.
"""

_HERE = os.path.dirname(__file__) + os.sep
_INTEGERS = (int, np.integer, np.bool_)  # bool is an int
READ_FIRST = "read the file first, with numpy.load, or pandas.read_csv for a table"
_TEXT = {"U": "strings", "S": "bytes", "T": "strings"}
_ADVICE = {
    "M": "dates; pass numbers from them, such as the hour or the weekday, or leave them out",
    "m": "durations; pass them as numbers, such as seconds: values / numpy.timedelta64(1, 's')",
    "c": "complex numbers; pass .real and .imag as features",
}


class Intake:
    """The rules by which one call converts its arrays.

    Numbers of any type are converted to the requested type, with a copy only if theirs differs.

    Parameters
    ----------
    check_finite : bool, default True
        Whether to refuse NaN and infinities.
    switch : bool, default True
        Whether the call has an argument `check_finite`, which errors may then mention.
    """

    def __init__(self, check_finite: bool = True, switch: bool = True) -> None:
        self.check_finite = _checks.flag(check_finite, "check_finite")
        self.switch = switch
        self._warned: set[str] = set()
        self._columns: dict[str, list[Any]] = {}  # columns of the first frame of each argument
        self.where: Where = written

    def of_window(self, rows: Sequence[int] | Array, begin: int) -> "Intake":
        """Return the same rules for windows of larger arrays; errors name positions in those.

        Parameters
        ----------
        rows : sequence of int
            Indices of the window's rows.
        begin : int
            Index of its first step.
        """

        def where(index: tuple[int, ...]) -> str:
            row, *steps = index
            if steps:
                steps[0] += begin
            return written((int(rows[row]), *steps))

        found = copy.copy(self)  # shares the record of warnings and columns
        found.where = where
        return found

    def numbers(self, values: Any, name: str) -> Array:
        """Return `values` as an array of bool, integers or floats of any width.

        Raises
        ------
        TypeError
            If they are not real numbers: strings (even of digits), dates, complex numbers.
        ValueError
            If a value is missing, rows have different lengths, or a frame's columns or their order
            differ from those of the argument's first frame in this call.
        """
        if type(values) is np.ndarray:
            array = values
        else:
            self._check_columns(values, name)
            array = _checks.any_array(values, name)
        kind = array.dtype.kind
        if kind in "fiub":
            return array
        if is_frame(values):
            columns = [
                self.numbers(column, f"{name}: column {label!r}")
                for label, column in columns_of(values)
            ]
            return np.stack(columns, axis=1)
        if kind == "O":
            return _from_objects(array, name)
        if kind in _TEXT:
            what = _checks.describe(array.item()) if array.ndim == 0 else _TEXT[kind]
            raise TypeError(f"{name}: expected numbers, got {what}; {_on_text(array, name)}")
        foreign = kind == "V" and array.dtype.names is None  # such as ml_dtypes' bfloat16
        how = ".astype('float32')" if foreign else "an array of floats or integers"
        what = _ADVICE.get(kind, f"{array.dtype}; pass {how}")
        raise TypeError(f"{name}: expected numbers, got {what}")

    def _check_columns(self, values: Any, name: str) -> None:
        """Raise ValueError if `values` is a frame, or a list with one, with different columns.

        Once converted to numbers, columns in another order would be confused with each other.
        """
        if isinstance(values, (list, tuple)):
            if values and not isinstance(values[0], PLAIN):
                for place, row in enumerate(values):
                    if not isinstance(row, np.ndarray) and is_frame(row):
                        self._check_columns(row, f"{name}[{place}]")
            return
        if not is_frame(values):
            return
        names = list(values.columns)
        if names == list(range(len(names))):  # pandas' default names
            return
        first = self._columns.setdefault(name.partition("[")[0], names)
        # If widths differ, the shape check reports it, or columns are steps, such as token ids.
        if names == first or len(names) != len(first):
            return
        place = [got == expected for got, expected in zip(names, first, strict=True)].index(False)
        raise ValueError(
            f"{name}: expected the columns of the first frame in the same order: column "
            f"{place} is {first[place]!r}, got {names[place]!r}; columns are matched by "
            "position: choose the same ones from every frame, such as frame[names]"
        )

    def _first(self, wrong: Array, array: Array, name: str, where: Where | None) -> tuple[str, Any]:
        """Return the position and the value of the first wrong element.

        Columns of frames are shown by name.
        """
        index = first_place(wrong)
        shown: tuple[Any, ...] = index
        labels = self._columns.get(name.partition("[")[0], ())
        if array.ndim > 1 and len(labels) == array.shape[-1]:
            shown = (*index[:-1], repr(labels[index[-1]]))
        return (where or self.where)(shown), array[index]

    def floats(
        self,
        values: Any,
        name: str,
        dtype: "np.dtype[Any] | None",
        valid: Array | None = None,
        where: Where | None = None,
    ) -> Array:
        """Return `values` as an array of `dtype`.

        Parameters
        ----------
        values : array_like
        name : str
            Name in errors.
        dtype : dtype or None
            float32 or float64; None: float64 if the values have that or a wider type, else float32.
        valid : ndarray of bool, optional
            A mask over the first axes of `values`: where it is True, values must be finite. None:
            everywhere.
        where : callable, optional
            See `Where`; None: the position in the array.

        Warns
        -----
        RuntimeWarning
            Once for each name, if finite values become infinite because they exceed the range of
            `dtype`.

        Raises
        ------
        TypeError, ValueError
            See `numbers`; also if a value is NaN or infinite, unless `check_finite` is off.
        """
        array = self.numbers(values, name)
        if self.check_finite:
            self.refuse_infinite(array, name, valid, where)
        if dtype is None:
            wide = array.dtype.kind == "f" and array.dtype.itemsize >= 8
            dtype = np.dtype(np.float64 if wide else np.float32)
        if array.dtype == dtype:
            return array
        try:
            with np.errstate(over="raise"):
                return array.astype(dtype)
        except FloatingPointError:
            with np.errstate(over="ignore"):
                converted = array.astype(dtype)
        lost = _among(np.isinf(converted) & np.isfinite(array), valid)
        if lost.any() and name not in self._warned:
            self._warned.add(name)
            place, value = self._first(lost, array, name, where)
            warnings.warn(
                f"{name}: {int(lost.sum())} of {array.size} values became infinite, since {dtype} "
                f"holds at most {np.finfo(dtype).max:.2g}; the first is {name}{place} = "
                f"{value:.3g}. Scale the data, or make the model with dtype='float64'",
                RuntimeWarning,
                stacklevel=_levels_to_the_caller(),
            )
        return converted

    def integers(
        self, values: Any, name: str, valid: Array | None = None, where: Where | None = None
    ) -> Array:
        """Return `values`, whole numbers of any type, as a contiguous array of int64.

        Parameters
        ----------
        values, name, where
            See `floats`.
        valid : ndarray of bool, optional
            Where it is False, any value is allowed, and floats become 0.

        Raises
        ------
        TypeError, ValueError
            See `numbers`; also if a value is not whole or does not fit into 64 bits.
        """
        array = self.numbers(values, name)
        if array.dtype == np.int64 and array.flags.c_contiguous:
            return array
        if array.dtype.kind == "f":
            # The range of float16 ends far below 2**63, which float16 cannot even represent.
            fits = np.isfinite(array) if array.dtype.itemsize < 4 else np.abs(array) < 2.0**63
            with np.errstate(invalid="ignore"):
                wrong = _among(~(fits & (array == np.trunc(array))), valid)
            if wrong.any():
                place, value = self._first(wrong, array, name, where)
                raise ValueError(f"{name}: expected whole numbers, but {name}{place} is {value}")
            if valid is not None:
                array = np.where(_spread(valid, array), array, 0)
        if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise ValueError(f"{name}: expected integers below 2**63, got {array.max()}")
        return np.ascontiguousarray(array, dtype=np.int64)

    def refuse_infinite(
        self,
        array: Array,
        name: str,
        valid: Array | None = None,
        where: Where | None = None,
        always: str = "",
    ) -> None:
        """Raise ValueError if a value of `array` is NaN or infinite; see `floats`.

        `always` is the advice for values that must be finite whatever `check_finite` says.
        """
        if is_finite(array):
            return
        wrong = _among(~np.isfinite(array), valid)
        if wrong.any():
            place, value = self._first(wrong, array, name, where)
            advice = always or (
                f"fill it in, leave the row out, or {_how_to_leave_out(name)}"
                + ("; check_finite=False lets it pass" if self.switch else "")
            )
            raise ValueError(f"{name}{place} is {value}; expected finite numbers: {advice}")


def _how_to_leave_out(name: str) -> str:
    """Return advice on excluding a value of the argument `name`."""
    if name.startswith("y"):
        return "give it sample_weight 0"
    return "exclude the step with a mask, lengths or rows of different lengths"


def is_finite(array: Array) -> bool:
    """Return whether the sum of `array`, or of its squares, is finite; then all values are finite.

    The converse holds unless values are so large that the sum overflows. This reads memory once,
    whereas `numpy.isfinite` also writes an array.
    """
    if array.dtype.kind != "f":
        return True
    if array.flags.c_contiguous and array.dtype in _checks.FLOAT_TYPES:
        return math.isfinite(_core.squared_norm(array))  # computed in double by all threads
    with np.errstate(all="ignore"):
        total = array.sum(dtype=np.float32 if array.dtype.itemsize < 4 else None)
    return bool(np.isfinite(total))


def warn_of_infinite(weights: Mapping[str, Array]) -> None:
    """Warn, when a file is written, if weights are not finite; the warning names the first."""
    spoilt = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if spoilt:
        more = f" (and {len(spoilt) - 1} more of {len(weights)} do)" if len(spoilt) > 1 else ""
        warnings.warn(
            f"weight {spoilt[0]!r} holds NaN or infinite values{more}, which are written as they "
            "are; such a model predicts NaN: train it again with a lower learning_rate, or "
            "load an earlier file",
            RuntimeWarning,
            stacklevel=_levels_to_the_caller(),
        )


def _from_objects(array: Array, name: str) -> Array:
    """Convert an array of objects, Python's or other libraries' numbers, to int64 or float64."""
    kinds = {type(value) for value in array.flat}
    wrong = {kind for kind in kinds if not issubclass(kind, (Real, *_INTEGERS, decimal.Decimal))}
    if wrong:
        for place, value in np.ndenumerate(array):
            if type(value) in wrong:
                _refuse_object(value, name, f" at {written(place)}" if place else "")
    whole = all(issubclass(kind, _INTEGERS) for kind in kinds)
    try:
        return array.astype(np.int64 if whole and array.size else np.float64)
    except OverflowError:
        what = "integers of 64 bits" if whole else "numbers that float64 can hold"
        raise ValueError(f"{name}: expected {what}, got {_checks.describe(array)}") from None


def _on_text(array: Array, name: str) -> str:
    """Return advice on text that was passed as the argument `name` instead of numbers."""
    if array.ndim == 0:
        first = array.item()
        if isinstance(first, os.PathLike) or os.path.splitext(os.fspath(first))[1]:
            return READ_FIRST
        return "pass an array, or a list of samples"
    try:
        array.astype(np.float64)
    except ValueError:
        pass
    else:
        return (
            f"convert digits to numbers with numpy.asarray({name.partition(':')[0]}, dtype=float)"
        )
    if "column" in name:
        return "leave the column out, or convert it to numbers, categories with pandas.get_dummies"
    if name.startswith("y"):
        return "pass numbers, for classes numpy.unique(..., return_inverse=True)[1]"
    return (
        "pass numbers; lc.layers.TextVectorization turns texts into ids, as the first layer of a "
        "Sequential, before an Embedding, or called: vectorizer(texts)"
    )


def _refuse_object(value: Any, name: str, place: str) -> NoReturn:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        raise ValueError(
            f"{name}: expected a value in every place, got {value}{place}; fill it in or leave "
            "that row out"
        )
    advice = ""
    if isinstance(value, (str, bytes, os.PathLike)):
        advice = f"; {_on_text(np.array(value, ndmin=bool(place)), name)}"
    elif isinstance(value, datetime.date):
        advice = f"; for dates {_ADVICE['M'].partition('; ')[2]}"
    raise TypeError(f"{name}: expected numbers, got {_checks.describe(value)}{place}{advice}")


def _spread(valid: Array, array: Array) -> Array:
    """Reshape a mask over the first axes so that it broadcasts over all axes of `array`."""
    return valid.reshape(valid.shape + (1,) * (array.ndim - valid.ndim))


def _among(wrong: Array, valid: Array | None) -> Array:
    return wrong if valid is None else wrong & _spread(valid, wrong)


def first_place(wrong: Array) -> tuple[int, ...]:
    """Return the index of the first element that is True."""
    return tuple(map(int, np.unravel_index(int(np.argmax(wrong)), wrong.shape)))


def written(index: tuple[Any, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _levels_to_the_caller() -> int:
    """Count the stack levels from a warning to the line outside this package that caused it."""
    level = 1
    while sys._getframe(level).f_code.co_filename.startswith(_HERE):
        level += 1
    return level
