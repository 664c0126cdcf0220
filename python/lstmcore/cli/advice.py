"""Advice about a field that should be a number, by the role of its column and the command."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from lstmcore.cli.tables import NumberError

__all__ = ["advised"]


@contextmanager
def advised(options: argparse.Namespace, target: str, *, series: bool) -> Iterator[None]:
    """Add advice for the command's user to a `NumberError` that the block raises.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command.
    target : str
        Column of the targets; "" if there is none.
    series : bool
        Whether the target is a series.

    Raises
    ------
    ValueError
        In place of a `NumberError`.
    """
    try:
        yield
    except NumberError as error:
        if error.column == options.time:
            advice = f"--time {error.column} needs a number or a date in every row"
        elif error.column == target:
            advice = _about_target(error, options, series)
        else:
            advice = _about_feature(error, options)
        raise ValueError(f"{error}; {advice}") from None


def _about_target(error: NumberError, options: argparse.Namespace, series: bool) -> str:
    if error.problem == "missing":
        # Leaving a row out of a series would make the steps around it neighbours.
        return "fill it in" if series else "fill it in, or leave the row out of the table"
    if not hasattr(options, "target"):
        return "convert it to a number, as in training"
    other = "name a column of numbers with --target"
    return other if series or not hasattr(options, "task") else f"{other}, or pass --task classify"


def _about_feature(error: NumberError, options: argparse.Namespace) -> str:
    column = error.column
    ways = {"missing": "fill it in", "date": "", "text": "convert it to a number"}
    found = [ways[error.problem]] if ways[error.problem] else []
    if error.problem == "date" and hasattr(options, "drop") and options.time is None:
        found.append(f"sort by it with --time {column}")
    if column in (options.features or ()):
        found.append("take the column out of --features")
    elif hasattr(options, "drop"):
        found.append(f"leave the column out with --drop {column}")
    else:
        found.append("name the columns of numbers with --features")
    return ", or ".join(found)
