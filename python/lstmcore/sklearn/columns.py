"""Check the columns of frames and arrays, and locate values that cannot be trained on."""

import datetime
import re
from typing import Any

import numpy as np

from lstmcore._arrays import refuse_masked
from lstmcore._typing import Array

__all__ = ["check_finite", "check_numbers", "column_names"]

DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)

DATE = re.compile(r"\s*\d{1,4}([-/.]\d{1,2}[-/.]\d{1,4}|-\d{1,2}\s*$|\s?Q[1-4])")

ON_TEXT = "drop it, or encode it, for example with sklearn.preprocessing.OneHotEncoder"


def column_names(values: Any) -> list[Any] | None:
    """Return the column names of a pandas or polars frame; None for anything else.

    Raises
    ------
    ValueError
        If two columns have the same name.
    """
    columns = getattr(values, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"columns: expected different names, got {twice} more than once")
    return names


def check_numbers(values: Any, name: str, on_text: str = ON_TEXT) -> None:
    """Raise ValueError if a column holds dates or text, which the error names; refuse masks.

    Parameters
    ----------
    values : array_like or frame
        Without this check, dates would silently become nanoseconds, and text would raise an error
        that names no column.
    name : str
        Their name in errors.
    on_text : str
        Advice for errors about text.
    """
    refuse_masked(values, name)
    columns = column_names(values)
    if columns is not None:
        for column in columns:
            _refuse(_kind(values[column]), f"column {column!r}", name, on_text)
        return
    array = _as_array(values)
    label = getattr(values, "name", None)  # of a series
    if array is None or array.dtype.kind not in "mMOUST":
        return
    if label is None and array.ndim > 1 and array.dtype == object:
        for number in range(array.shape[-1]):
            _refuse(_kind(array[..., number]), f"column {number}", name, on_text)
    else:
        _refuse(_kind(array), "the array" if label is None else f"column {label!r}", name, on_text)


def _refuse(kind: str | None, place: str, name: str, on_text: str) -> None:
    if kind == "dates":
        raise ValueError(
            f"{name}: expected numbers, but {place} holds dates; drop it, or convert it to numbers "
            "that mean something to a model, such as the month or the day of the week"
        )
    if kind == "text":
        raise ValueError(f"{name}: expected numbers, but {place} holds text; {on_text}")


def _as_array(values: Any) -> Array | None:
    try:
        return np.asarray(values)
    except (TypeError, ValueError):  # other checks report what cannot become an array
        return None


def _kind(column: Any) -> str | None:
    """Return "dates" or "text" if a column or an array holds those, else None."""
    array = _as_array(column)
    if array is None:
        return None
    if array.dtype.kind in "mM":
        return "dates"
    if array.dtype.kind in "OUST":
        return _kind_of_objects(array)
    return None


def _kind_of_objects(array: Array) -> str | None:
    for entry in array.flat:
        if isinstance(entry, DATES):
            return "dates"
        if isinstance(entry, (str, bytes)) and not _is_number(entry):
            return "dates" if _is_date(entry) else "text"
    return None


def _is_number(text: str | bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_date(text: str | bytes) -> bool:
    return (
        DATE.match(text.decode(errors="replace") if isinstance(text, bytes) else text) is not None
    )


def _named(place: Array, given: Any) -> list[Any]:
    """Return the name of the column of `given` at index `place` (1,), or of a series at ()."""
    names = column_names(given)
    if names is not None and len(place):
        return [repr(names[place[0]])]
    label = getattr(given, "name", None)  # of a series
    return [repr(label)] if label and not len(place) else list(place)


def check_finite(values: Any, name: str, where: str = "", given: Any = None) -> None:
    """Raise ValueError if an array has a NaN or an infinity; the error says where.

    Parameters
    ----------
    values : ndarray of numbers
    name : str
        Their name in errors, which `where` follows, such as the number of a series.
    given : array_like or frame, optional
        The caller's form of `values`, whose column names an error shows.
    """
    finite = np.isfinite(values)
    if finite.all():
        return
    place = np.argwhere(~finite)[0]
    value = values[tuple(place)]
    what = "NaN" if np.isnan(value) else "infinity"
    at = ", ".join(map(str, [place[0], *_named(place[1:], given)]))
    raise ValueError(
        f"{name}: expected finite numbers, got {what}, the first at {name}{where}[{at}]; fill "
        "in missing values, or leave them out"
    )
