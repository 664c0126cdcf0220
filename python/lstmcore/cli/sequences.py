"""Convert a table with a layout to the inputs of models."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstmcore._checks import listed
from lstmcore._typing import Array
from lstmcore.cli.layout import Layout
from lstmcore.cli.report import counted
from lstmcore.cli.tables import Table

__all__ = [
    "Group",
    "features_of",
    "groups_of",
    "labels_of",
    "likely_keys",
    "standardized",
    "mean_and_scale",
    "windows_of",
]


class Group(NamedTuple):
    """The rows of one sequence.

    Attributes
    ----------
    key : str
        The key that the rows share.
    rows : ndarray of int64, shape (T,)
        Indices of the rows in the table, in the order of the steps.
    """

    key: str
    rows: Array


def groups_of(table: Table, layout: Layout) -> list[Group]:
    """Group rows with the same key, in the order of the file or of the time column.

    Raises
    ------
    ValueError
        If two rows of a sequence have the same time.
    """
    moments = None if layout.time is None else table.moments(layout.time)
    found: dict[str, list[int]] = {}
    if layout.key is None:
        found[""] = list(range(len(table)))
    else:
        for row, key in enumerate(table.filled(layout.key, "a key")):
            found.setdefault(key, []).append(row)
    groups = []
    for key, places in found.items():
        rows = np.array(places, dtype=np.int64)
        if moments is not None:
            rows = rows[np.argsort(moments[rows], kind="stable")]
            same = np.flatnonzero(np.diff(moments[rows]) == 0)
            if len(same):
                raise ValueError(_twice(table, layout, moments, rows[same[0] : same[0] + 2]))
        groups.append(Group(key, rows))
    return groups


def _twice(table: Table, layout: Layout, moments: Array, rows: Array) -> str:
    """Return the error message for two rows of a sequence with the same time."""
    assert layout.time is not None
    first, second = map(int, rows)
    field = table.texts(layout.time)[second]
    own = "" if layout.key is None else f" for {layout.key} {table.texts(layout.key)[second]!r}"
    advice = "remove one of them"
    if layout.key is None:
        keys = likely_keys(table, layout, layout.time, moments)
        advice = (
            f"--key {keys[0]} if that tells several series apart"
            if keys
            else "--key COLUMN tells several series apart"
        )
    return (
        f"{table.place(second, layout.time)}: expected distinct times{own}, got {field!r} also in "
        f"line {table.lines[first]}; {advice}"
    )


def likely_keys(table: Table, layout: Layout, time: str, moments: Array) -> list[str]:
    """Return unused columns that may be keys: values repeat, but never at the same time."""
    used = {layout.target, time, *layout.columns()}
    found = []
    for name in table.names:
        fields = table.texts(name)
        different = len(set(fields))
        if name in used or not 1 < different <= len(fields) // 2:
            continue
        if len(set(zip(fields, moments.tolist(), strict=True))) == len(fields):
            found.append(name)
    return found


def features_of(table: Table, layout: Layout, groups: Sequence[Group]) -> list[Array]:
    """Return the standardized features of each sequence, (T_i, C) of float32."""
    columns = _scaled(table, layout)
    return [columns[group.rows].astype(np.float32) for group in groups]


def _scaled(table: Table, layout: Layout) -> Array:
    columns = [
        (table.numbers(name) - mean) / scale
        for name, mean, scale in zip(layout.features, layout.means, layout.scales, strict=True)
    ]
    return np.column_stack(columns) if columns else np.empty((len(table), 0))


def standardized(table: Table, layout: Layout, rows: Array) -> Layout:
    """Return `layout` with the means and deviations of the features in `rows`."""
    means, scales = [], []
    for name in layout.features:
        mean, scale = mean_and_scale(table.numbers(name)[rows])
        means.append(mean)
        scales.append(scale)
    return replace(layout, means=tuple(means), scales=tuple(scales))


def mean_and_scale(values: Array) -> tuple[float, float]:
    """Return mean and standard deviation, 1 in place of a deviation of 0."""
    scale = float(values.std())
    return float(values.mean()), scale if scale > 0 else 1.0


def labels_of(table: Table, layout: Layout, classes: Sequence[str]) -> Array:
    """Return the index of each row's class.

    Raises
    ------
    ValueError
        If a row's class is not among `classes`; the error says where.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    fields = table.filled(layout.target, "a class")
    for row, field in enumerate(fields):
        if field not in numbers:
            raise ValueError(
                f"{table.place(row, layout.target)}: expected one of {listed(classes)}, got "
                f"{field!r}"
            )
    return np.array([numbers[field] for field in fields], dtype=np.int64)


class Windows(NamedTuple):
    """The inputs of a forecaster, and the values that follow.

    Attributes
    ----------
    inputs : ndarray of float32, shape (N, window, 1 + C)
        The series minus its last value, divided by its scale; then the features.
    last : ndarray of float64, shape (N,)
        The last value of each window.
    following : ndarray of float64, shape (N, horizon)
        The values that follow; (N, 0) if they are unknown.
    """

    inputs: Array
    last: Array
    following: Array


def windows_of(table: Table, layout: Layout, groups: Sequence[Group], ahead: int) -> list[Windows]:
    """Return all windows of each series with `ahead` values after them; with 0, only the last."""
    target, features = table.numbers(layout.target), _scaled(table, layout)  # read once for all
    found = []
    for group in groups:
        series, others = target[group.rows], features[group.rows]
        if len(series) < layout.window + ahead:
            name = f"series {group.key!r}" if layout.key else "the series"
            least = counted(layout.window + ahead, "row")
            raise ValueError(
                f"{table.source}: expected at least {least} in {name} (window "
                f"{layout.window}{f' and horizon {ahead}' if ahead else ''}), got {len(series)}; "
                "leave out a series that is too short, or train with a smaller --window"
            )
        found.append(_cut(series, others, layout, ahead))
    return found


def _cut(series: Array, others: Array, layout: Layout, ahead: int) -> Windows:
    window = layout.window
    count = len(series) - window - ahead + 1
    starts = slice(0, count) if ahead else slice(count - 1, count)
    seen = sliding_window_view(series, window)[starts]
    last = seen[:, -1]
    channels = [((seen - last[:, None]) / layout.target_scale)[:, :, None]]
    if others.shape[1]:
        channels.append(sliding_window_view(others, window, axis=0)[starts].transpose(0, 2, 1))
    following = np.empty((len(seen), 0))
    if ahead:
        following = sliding_window_view(series[window:], ahead)[:count]
    return Windows(np.concatenate(channels, axis=2).astype(np.float32), last, following)
