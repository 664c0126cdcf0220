"""Continue the time column of a table."""

import calendar
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from lstmcore._typing import Array
from lstmcore.cli.tables import as_number, moment_of

__all__ = ["times_after"]


def times_after(fields: Sequence[str], count: int) -> list[str] | None:
    """Continue evenly spaced times, in the format of the last one.

    Parameters
    ----------
    fields : sequence of str
        Numbers or ISO 8601 dates, ascending.
    count : int

    Returns
    -------
    list of str, or None
        The next `count` times; None if `fields` are not evenly spaced. They are if they differ by
        the same time, or by the same number of months, all on one day of the month or all at month
        ends.
    """
    numbers = [as_number(field) for field in fields]
    if all(number is not None for number in numbers):
        return _numbers(np.array(numbers, dtype=np.float64), count)
    moments = [moment_of(field) for field in fields]
    known = [moment for moment in moments if moment is not None]
    if len(known) < max(len(fields), 2) or len({moment.utcoffset() for moment in known}) > 1:
        return None
    following = _by_months(known, count) or _by_difference(known, count)
    if following is None:
        return None
    return [_written_like(fields[-1].strip(), moment) for moment in following]


def _numbers(values: Array, count: int) -> list[str] | None:
    gaps = np.diff(values)
    if not len(gaps) or not np.allclose(gaps, gaps[0], rtol=1e-6, atol=0):
        return None
    return [f"{value:.12g}" for value in values[-1] + gaps.mean() * np.arange(1, count + 1)]


def _by_difference(moments: Sequence[datetime], count: int) -> list[datetime] | None:
    gaps = {later - earlier for earlier, later in pairwise(moments)}
    if len(gaps) > 1:
        return None
    gap: timedelta = gaps.pop()
    return [moments[-1] + gap * step for step in range(1, count + 1)]


def _by_months(moments: Sequence[datetime], count: int) -> list[datetime] | None:
    months = [12 * moment.year + moment.month - 1 for moment in moments]
    gaps = {later - earlier for earlier, later in pairwise(months)}
    # The day that all of them fall on, except in months that are too short for it.
    at_ends = all(moment.day == _days(month) for moment, month in zip(moments, months, strict=True))
    day = 31 if at_ends else max(moment.day for moment in moments)
    if (
        len(gaps) > 1
        or 0 in gaps
        or len({moment.timetz() for moment in moments}) > 1
        or any(
            moment.day != min(day, _days(month))
            for moment, month in zip(moments, months, strict=True)
        )
    ):
        return None
    gap = gaps.pop()
    following = [months[-1] + gap * step for step in range(1, count + 1)]
    return [
        moments[-1].replace(year=month // 12, month=month % 12 + 1, day=min(day, _days(month)))
        for month in following
    ]


def _days(month: int) -> int:
    """Return the number of days of a month, given as 12 times the year plus 0 to 11."""
    return calendar.monthrange(month // 12, month % 12 + 1)[1]


def _written_like(example: str, moment: datetime) -> str:
    if len(example) <= len("2024-01-31"):
        return moment.date().isoformat()
    clock = example[11:].removesuffix("Z")
    length = len(clock.partition("+")[0].partition("-")[0])
    units = {2: "hours", 5: "minutes", 8: "seconds", 12: "milliseconds"}
    text = moment.isoformat(example[10], units.get(length, "auto"))
    return text.replace("+00:00", "Z") if example.endswith("Z") else text
