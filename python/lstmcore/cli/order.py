"""Check whether the rows of a table are in the order of their dates, and form one series."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lstmcore._typing import Array
from lstmcore.cli.layout import Layout
from lstmcore.cli.sequences import groups_of, likely_keys
from lstmcore.cli.tables import Table

__all__ = ["doubts_about_order"]


def doubts_about_order(table: Table, layout: Layout, dropped: Sequence[str] = ()) -> list[str]:
    """List the signs that the order of the file is not the order of the steps.

    Parameters
    ----------
    table : Table
    layout : Layout
    dropped : sequence of str
        Columns that the user excluded.
    """
    if layout.kind == "text" or layout.time is not None:
        return []
    used = {layout.target, *layout.columns(), *dropped}
    unused = [name for name in table.names if name not in used]
    dates = {name: found for name in unused if (found := table.dates(name)) is not None}
    doubts = [doubt for name in dates if (doubt := _about_dates(table, layout, name, dates[name]))]
    if not doubts and layout.kind == "series" and layout.key is None:
        doubts = [
            f"column {name!r}, which is not used, changes only "
            f"{'once' if changes == 1 else f'{changes} times'} along the table; if each of its "
            f"values is a separate series, pass --key {name}"
            for name in unused
            if name not in dates and (changes := _blocks(table, name) - 1) > 0
        ]
    return doubts


def _about_dates(table: Table, layout: Layout, name: str, moments: Array) -> str | None:
    keys = [] if layout.key is not None else likely_keys(table, layout, name, moments)
    for group in groups_of(table, layout):
        gaps = np.diff(moments[group.rows])
        wrong = np.flatnonzero(gaps < 0 if not keys else gaps <= 0)
        if len(wrong):
            row = int(group.rows[wrong[0] + 1])
            key = f" --key {keys[0]}" if keys else ""
            return (
                f"{table.place(row, name)}: {table.texts(name)[row]!r} is not after the date of "
                f"the row before it, and the steps are in the order of the file; --time {name}"
                f"{key} would sort them{' and tell several series apart' if keys else ''}"
            )
    return None


def _blocks(table: Table, name: str) -> int:
    """Count the values of a column of names if each forms one block of rows, else return 0."""
    fields = table.texts(name)
    changes = sum(field != before for before, field in pairwise(fields))
    few = changes + 1 == len(set(fields)) <= len(fields) // 2
    return changes + 1 if few and not table.is_numeric(name) else 0
