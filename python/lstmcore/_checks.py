"""Check arguments: each error names the argument, what was expected and what was passed."""

import operator
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

import numpy as np

from lstmcore._arrays import as_array, refuse_masked_in
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array

METADATA_KEY = "lstmcore"
"""Name of lstmcore's own entry in the metadata of a model file."""

LONGEST = 60
"""Characters of a value that an error message shows: a file may hold 20,000."""

LONGEST_MESSAGE = 1000
"""Characters of an error about a file, whose names of layers may stand in any message."""

MOST_NAMES = 20
"""Names that an error message lists."""

FLOAT_TYPES: tuple["np.dtype[Any]", ...] = (np.dtype(np.float32), np.dtype(np.float64))


def integer(value: SupportsIndex, name: str, low: int | None = None) -> int:
    """Return `value` as an int that is at least `low`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {describe(value)}") from None
    if not -(2**63) <= number < 2**64:  # the range of model files and of the engine
        bits = number.bit_length()
        raise ValueError(f"{name}: expected an integer of 64 bits, got one of {bits} bits")
    if low is not None and number < low:
        raise ValueError(f"{name}: expected an integer of at least {low}, got {number}")
    return number


def flag(value: Any, name: str) -> bool:
    """Return `value`, which must be True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


def real(
    value: Any,
    name: str,
    low: float = -float("inf"),
    high: float = float("inf"),
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return `value` as a finite float from `low` to `high`; an open end is excluded."""
    if isinstance(value, (str, bytes, bool, np.bool_)):
        raise TypeError(f"{name}: expected a number, got {describe(value)}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {describe(value)}") from None
    except OverflowError:  # an integer beyond the range of float
        number = float("inf") if value > 0 else -float("inf")
    inside = (number > low if low_open else number >= low) and (
        number < high if high_open else number <= high
    )
    if not inside or abs(number) == float("inf"):
        opening = "(" if low_open or low == -float("inf") else "["
        closing = ")" if high_open or high == float("inf") else "]"
        interval = f"number in {opening}{low:g}, {high:g}{closing}"
        if high == -low == float("inf"):
            interval = "finite number"
        raise ValueError(f"{name}: expected a {interval}, got {number}")
    return number


def choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """Return `value`, which must be one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        expected = ", ".join(repr(entry) for entry in choices)
        hint = did_you_mean(value, choices)
        raise ValueError(f"{name}: expected one of {expected}, got {quote(value)}{hint}")
    return value


def label(value: Any, name: str = "name") -> str:
    """Return `value`, which must be a string without dots."""
    if not isinstance(value, str) or not value or "." in value:
        raise ValueError(f"{name}: expected a non-empty string without dots, got {quote(value)}")
    return text(value, name)


def text(value: str, name: str) -> str:
    """Return `value`, which must be text that UTF-8, and so a file, can represent."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name}: expected text that UTF-8 can hold, got half of a surrogate pair, "
            f"{value[error.start]!r}, in {describe(value)}; "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') repairs it"
        ) from None
    return value


def metadata(values: Any) -> dict[str, str]:
    """Return `values` as a dict from str to str, without the reserved name."""
    if not isinstance(values, Mapping):
        raise TypeError(f"metadata: expected a mapping from str to str, got {describe(values)}")
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(
                f"metadata: expected a str for each str, got {describe(value)} for {describe(key)}"
            )
        if not key or key == METADATA_KEY:
            raise ValueError(f"metadata: expected names other than '' and {METADATA_KEY!r}")
        text(key, "metadata")
        text(value, f"metadata[{key!r}]")
    return {str(key): str(value) for key, value in values.items()}


def class_names(names: Any) -> list[str]:
    """Return `names` as a list of different printable strings."""
    if isinstance(names, (str, bytes)):
        raise TypeError(f"class_names: expected a sequence of strings, got {quote(names)}")
    found = list(names)
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"class_names: expected strings, got {describe(name)}")
        if not name or not name.isprintable():
            raise ValueError(f"class_names: expected printable names, got {quote(name)}")
    if len(set(found)) < len(found):
        raise ValueError(f"class_names: expected different names, got {listed(found)}")
    return found


def instance(value: Any, kind: Any, name: str, expected: str) -> None:
    """Raise TypeError unless `value` is of `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")


def float_dtype(value: Any, name: str = "dtype") -> "np.dtype[Any]":
    """Return `value` as the dtype float32 or float64."""
    for dtype in FLOAT_TYPES:
        try:
            if value is not None and np.dtype(value) == dtype:
                return dtype
        except TypeError:
            break
    raise ValueError(f"{name}: expected 'float32' or 'float64', got {quote(value)}")


def float_array(values: Any, name: str, dtype: "np.dtype[Any] | None" = None) -> Array:
    """Return `values` as an array, which must have `dtype`, or if that is None a float type.

    Lists and tuples of Python numbers have no float type of their own and are converted.
    """
    values = as_array(values, name)
    if isinstance(values, (list, tuple)):
        refuse_masked_in(values, name)
        try:
            array = np.asarray(values, dtype=dtype)
        except (TypeError, ValueError):
            raise TypeError(
                f"{name}: expected an array of {dtype or 'numbers'}, got {describe(values)}"
            ) from None
        except OverflowError:
            raise ValueError(
                f"{name}: expected numbers that {dtype} can hold, got {describe(values)}"
            ) from None
    else:
        array = np.asarray(values)
    if (array.dtype in FLOAT_TYPES) if dtype is None else (array.dtype == dtype):
        return array
    expected = "float32 or float64" if dtype is None else dtype.name
    raise TypeError(
        f"{name}: expected {expected}, got {array.dtype}; nothing is converted silently, "
        f"convert with .astype({expected.split()[0]!r})"
    )


def strings(values: Any, name: str) -> list[str]:
    """Return `values`, a sequence of at least one string, as a list."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name}: expected a sequence of strings, got {describe(values)}")
    found = list(values)
    for place, value in enumerate(found):
        if not isinstance(value, str):
            raise TypeError(f"{name}[{place}]: expected a string, got {describe(value)}")
        text(value, f"{name}[{place}]")
    if not found:
        raise ValueError(f"{name}: expected at least one string, got none")
    return found


def integer_array(values: Any, name: str) -> Array:
    """Return `values`, integers of any width, as a contiguous array of int64."""
    array = any_array(values, name)
    if array.size == 0 and isinstance(values, (list, tuple)):
        array = array.astype(np.int64)
    if array.dtype == object and all(isinstance(entry, int) for entry in array.flat):
        try:
            array = array.astype(np.int64)
        except OverflowError:
            raise ValueError(
                f"{name}: expected integers of 64 bits, got {describe(values)}"
            ) from None
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {array.dtype}")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: expected integers below 2**63, got {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int64)


def any_array(values: Any, name: str) -> Array:
    """Return `values` as an array of their own type."""
    values = as_array(values, name)
    refuse_masked_in(values, name)
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(
            f"{name}: expected an array, got rows of different lengths, {describe(values)}"
        ) from None


def flags_array(values: Any, name: str) -> Array:
    """Return `values`, which must be bools or an empty list, as an array of bool."""
    array = any_array(values, name)
    if array.size == 0 or (
        array.dtype == object and all(isinstance(entry, (bool, np.bool_)) for entry in array.flat)
    ):
        return array.astype(np.bool_)
    if array.dtype != np.bool_:
        raise TypeError(
            f"{name}: expected an array of bool, got {array.dtype}; for 0 and 1 pass .astype(bool)"
        )
    return array


def lengths_array(lengths: Any, rows: int, steps: int, name: str = "lengths") -> Array:
    """Return `lengths` as int64 of shape (rows,), every entry in 0..steps."""
    array = integer_array(lengths, name)
    if array.shape != (rows,):
        raise ValueError(f"{name}: expected shape ({rows},), got {array.shape}")
    wrong = np.flatnonzero((array < 0) | (array > steps))
    if wrong.size:
        row = int(wrong[0])
        raise ValueError(f"{name}: expected 0..{steps}, got {array[row]} in row {row}")
    return array


def describe(value: Any) -> str:
    """Describe `value` in a few words, for an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    if isinstance(value, type):
        return f"the class {value.__name__}; call it to make an object"
    return f"{quote(value)} ({type(value).__name__})"


def quote(value: Any) -> str:
    """Write `value` in a few words and without its type, for an error message."""
    return shortened(" ".join(repr(value).split()))  # error messages have one line


def listed(names: Iterable[str]) -> str:
    """Write names in an error message, the first of many, each without its end if it is long."""
    found = list(names)
    more = f", ... ({len(found)} in all)" if len(found) > MOST_NAMES else ""
    return ", ".join(map(shortened, found[:MOST_NAMES])) + more


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return `text` without its end if it has more than `longest` characters."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def show_shape(shape: tuple[int | None, ...], letters: str = "NTCDEFG") -> str:
    """Write a shape with letters for variable sizes: (N, T, 64)."""
    known = letters.ljust(len(shape), "?")
    names = [known[axis] if size is None else str(size) for axis, size in enumerate(shape)]
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"
