"""Sequences in frames: long tables with a column that names the sample, and nested frames."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.sklearn.columns import column_names

__all__ = ["is_nested", "rows_of_nested", "split_samples"]


def split_samples(
    table: Any, sample: Hashable, *, order: Hashable | None = None
) -> tuple[list[Any], Array]:
    """Divide a long table into one frame for each sample.

    `LSTMClassifier` and `LSTMRegressor` take the list of frames, also in a `Pipeline`, in
    `GridSearchCV` and in `cross_val_predict`, which divide a list by its entries.

    Parameters
    ----------
    table : frame
        A pandas or polars frame with a row for each step of each sample.
    sample : str
        The column that names the sample of each row; for pandas, it may be a level of the index.
        Rows of a sample need not be next to each other.
    order : str, optional
        The column, or level of the index, by which the rows of each sample are sorted, such as a
        time; it must not have the same value twice in a sample. None: rows are in order.

    Returns
    -------
    frames : list of frame
        For each sample, its rows, without the columns `sample` and `order`.
    names : ndarray, shape (N,)
        The samples' names, in the order of `frames`: that of their first rows.

    Raises
    ------
    TypeError
        If `table` is not a frame.
    ValueError
        If it is empty or lacks a column, a row has no value of `sample` or `order`, or `order` has
        a value twice in a sample.

    Examples
    --------
    >>> import pandas
    >>> table = pandas.DataFrame({"id": ["b", "a", "b"], "day": [2, 1, 1], "load": [5.0, 6.0, 7.0]})
    >>> frames, names = split_samples(table, "id", order="day")
    >>> names.tolist(), frames[0]["load"].tolist()
    (['b', 'a'], [7.0, 5.0])
    """
    columns = column_names(table)
    if columns is None:
        raise TypeError(
            f"table: expected a pandas or polars frame, got {_checks.describe(table)}; lists and "
            "arrays (N, T, C) are divided into samples already"
        )
    groups, names = _groups(_column(table, sample, "sample"))
    keys = None if order is None else _column(table, order, "order")
    if keys is not None and (keys != keys).any():
        raise ValueError(f"order: expected a value of {order!r} in every row, got missing ones")
    channels = table[[name for name in columns if name not in (sample, order)]]
    frames = []
    for name, rows in zip(names, groups, strict=True):
        if keys is not None:
            rows = rows[np.argsort(keys[rows], kind="stable")]
            if (keys[rows][1:] == keys[rows][:-1]).any():
                raise ValueError(
                    f"order: expected each value of {order!r} once in a sample, got one twice in "
                    f"sample {name!r}"
                )
        frames.append(channels.iloc[rows] if hasattr(channels, "iloc") else channels[rows.tolist()])
    return frames, names


def _column(table: Any, name: Any, argument: str) -> Array:
    """Return the values of a column, or of a level of the index."""
    if name in list(table.columns):
        return np.asarray(table[name])
    levels = [level for level in getattr(getattr(table, "index", None), "names", []) if level]
    if name in levels:
        return np.asarray(table.index.get_level_values(name))
    raise ValueError(
        f"{argument}: expected a column of table, which are "
        f"{', '.join(map(str, [*table.columns, *levels]))}; got {name!r}"
    )


def _groups(samples: Array) -> tuple[list[Array], Array]:
    """Return the rows of each sample, and the samples' names, in the order of first rows."""
    if len(samples) == 0:
        raise ValueError("table: expected at least one row, got none")
    numbers: dict[Any, int] = {}
    codes = np.empty(len(samples), np.int64)
    for place, name in enumerate(samples.tolist()):
        if name is None or (name == name) is not True:  # NaN, pandas.NA
            raise ValueError(f"sample: expected a name in every row, got {name} in row {place}")
        codes[place] = numbers.setdefault(name, len(numbers))
    ends = np.cumsum(np.bincount(codes))
    groups = np.split(np.argsort(codes, kind="stable"), ends[:-1])
    return groups, np.asarray(samples[[rows[0] for rows in groups]])


def is_nested(values: Any) -> bool:
    """Return whether `values` is a frame whose cells are sequences: a row for each sample.

    Raises
    ------
    ValueError
        If only some columns hold sequences.
    """
    columns = column_names(values)
    if not columns or len(values) == 0:
        return False
    nested = [_is_sequence(_first_cell(values[name])) for name in columns]
    if any(nested) and not all(nested):
        plain = columns[nested.index(False)]
        raise ValueError(
            f"X: expected sequences in all columns or in none, but column {plain!r} has a single "
            "value for each row; repeat it for each step, or leave it out"
        )
    return all(nested)


def _first_cell(column: Any) -> Any:
    return column.iloc[0] if hasattr(column, "iloc") else column[0]


def _is_sequence(cell: Any) -> bool:
    return hasattr(cell, "__len__") and not isinstance(cell, (str, bytes))


def rows_of_nested(frame: Any) -> list[Array]:
    """Return the sequences (T_i, C) of a frame whose cells are sequences (T_i,).

    Raises
    ------
    ValueError
        If a cell is not a sequence, or the cells of a row have different lengths.
    """
    names = list(frame.columns)
    rows = []
    for place, row in enumerate(zip(*(frame[name].to_list() for name in names), strict=True)):
        arrays = [np.asarray(cell) for cell in row]
        for name, array in zip(names, arrays, strict=True):
            if array.ndim != 1 or len(array) == 0:
                raise ValueError(
                    "X: expected a sequence of at least one number in each cell, got shape "
                    f"{array.shape} in column {name!r} of row {place}"
                )
            if len(array) != len(arrays[0]):
                raise ValueError(
                    f"X: expected sequences of equal length in row {place}, got {len(arrays[0])} "
                    f"steps in column {names[0]!r} and {len(array)} in {name!r}"
                )
        rows.append(np.stack(arrays, axis=1))
    return rows
