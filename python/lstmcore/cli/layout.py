"""The roles of a table's columns for a model, stored in the model's file."""

import argparse
import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from lstmcore._checks import listed
from lstmcore.cli.tables import Table, as_number, is_missing

__all__ = ["METADATA_NAME", "Layout", "choose_layout"]

METADATA_NAME = "lstmcore.table"
"""The entry of a model's metadata that holds its `Layout` as JSON."""

KINDS = ("text", "sequences", "series")
MOST_CLASSES = 20  # a column with more different whole numbers holds amounts


@dataclass(frozen=True)
class Layout:
    """The roles of a table's columns.

    Attributes
    ----------
    kind : {"text", "sequences", "series"}
        What a row is: a text; a step of one of many sequences, which `key` distinguishes; or a step
        of a series, whose next values are forecast.
    classes : bool
        Whether the target is a class rather than an amount.
    per_step : bool
        Whether each step of a sequence has its own target.
    target : str
    text, key, time : str or None
    features : tuple of str
        Columns of numbers; for a series, those besides the target.
    means, scales : tuple of float
        Means and scales of the features in training: the model sees (x - mean) / scale.
    target_mean, target_scale : float
        The same for a target that is an amount. For a series, the scale of its changes.
    window, horizon : int
        Past steps that a forecast is based on, and steps that it forecasts.
    """

    kind: str
    target: str
    classes: bool = False
    per_step: bool = False
    text: str | None = None
    key: str | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    scales: tuple[float, ...] = ()
    target_mean: float = 0.0
    target_scale: float = 1.0
    window: int = 0
    horizon: int = 0

    def to_json(self) -> str:
        """Write the layout as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> "Layout":
        """Undo `to_json`.

        Raises
        ------
        ValueError
            If `text` is something else; the error calls it `source`.
        """
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError("expected an object")
            made = cls(**{name: _tuple(value) for name, value in values.items()})
            made.check()
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{source}: its metadata {METADATA_NAME!r} is damaged: {error}"
            ) from None
        return made

    def check(self) -> None:
        """Raise ValueError or TypeError unless training can make such a layout."""
        names = (self.target, self.text, self.key, self.time, *self.features)
        numbers = (*self.means, *self.scales, self.target_mean, self.target_scale)
        steps = (self.window, self.horizon) if self.kind == "series" else ()
        if (
            self.kind not in KINDS
            or not all(name is None or isinstance(name, str) for name in names)
            or not len(self.features) == len(self.means) == len(self.scales)
            or not all(map(math.isfinite, numbers))
            or not all((*self.scales, self.target_scale))
            or not all(type(count) is int and count > 0 for count in steps)
        ):
            raise ValueError("columns, numbers or their kinds do not fit together")

    def columns(self) -> list[str]:
        """Return the names of all columns that predictions need."""
        own = [self.text, self.key, self.time, *self.features]
        if self.kind == "series":
            own.append(self.target)
        return [name for name in own if name is not None]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def choose_layout(table: Table, options: argparse.Namespace) -> Layout:
    """Determine the roles of the columns of `table` from the options.

    Raises
    ------
    ValueError
        If columns are unknown, or their roles are not clear.
    """
    named = [
        ("--target", [options.target]),
        ("--text", [options.text]),
        ("--key", [options.key]),
        ("--time", [options.time]),
        ("--features", options.features or []),
        ("--drop", options.drop or []),
    ]
    taken: dict[str, str] = {}
    for option, names in named:
        given = [name for name in names if name is not None]
        table.check_names(given, option)
        for name in given:
            if name in taken:
                raise ValueError(
                    f"{option}: expected a column other than {taken[name]}, got {name!r} for both"
                )
            taken[name] = option
    rest = [name for name in table.names if name not in taken]
    if options.horizon is not None:
        layout = _series(options)
    elif options.key is not None:
        layout = _sequences(table, options, rest)
    else:
        layout = _text(table, options, rest)
    return replace(layout, classes=_is_class(table, options, layout))


def _series(options: argparse.Namespace) -> Layout:
    _refuse(options, "--horizon", "text", "per", "pooling")
    if options.task == "classify":
        raise ValueError("--task: expected regress with --horizon, which forecasts amounts")
    window = options.window or max(2 * options.horizon, 24)
    return Layout(
        "series",
        options.target,
        key=options.key,
        time=options.time,
        features=tuple(options.features or ()),
        window=window,
        horizon=options.horizon,
    )


def _sequences(table: Table, options: argparse.Namespace, rest: list[str]) -> Layout:
    _refuse(options, "--key", "text", "window")
    features = tuple(options.features or rest)
    if not features:
        raise ValueError(
            f"{table.source}: expected columns of numbers besides target, key and time, got none"
        )
    keys, targets = table.filled(options.key, "a key"), table.filled(options.target, "a target")
    first: dict[str, str] = {}
    changing = next(
        (
            key
            for key, target in zip(keys, targets, strict=True)
            if first.setdefault(key, target) != target
        ),
        None,
    )
    if options.per == "sequence" and changing is not None:
        raise ValueError(
            f"--per: expected one {options.target!r} for each sequence, got several for "
            f"{options.key} {changing!r}; --per step trains on the target of each row"
        )
    per_step = changing is not None if options.per is None else options.per == "step"
    if per_step and options.pooling is not None:
        raise ValueError("--pooling: has no meaning if each step has its own target")
    return Layout(
        "sequences",
        options.target,
        per_step=per_step,
        key=options.key,
        time=options.time,
        features=features,
    )


def _text(table: Table, options: argparse.Namespace, rest: list[str]) -> Layout:
    _refuse(options, "--text", "time", "per", "features", "window")
    text = options.text
    if text is None:
        if len(rest) != 1 or table.is_numeric(rest[0]):
            raise ValueError(
                f"{table.source}: expected one column of texts besides the target, got "
                f"{listed(rest) or 'none'}; pass --text COLUMN, or --key COLUMN if rows are "
                "steps of sequences, or --horizon STEPS to forecast a series"
            )
        text = rest[0]
    return Layout("text", options.target, text=text)


def _refuse(options: argparse.Namespace, beside: str, *names: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            what = "a table of texts" if beside == "--text" else f"a table with {beside}"
            raise ValueError(f"--{name}: has no meaning for {what}")


def _is_class(table: Table, options: argparse.Namespace, layout: Layout) -> bool:
    if options.task is not None or layout.kind == "series":
        return bool(options.task == "classify")
    fields = table.filled(options.target, "a target")
    if any(as_number(field) is None for field in fields if not is_missing(field)):
        return True
    different = set(table.numbers(options.target))  # its error names missing values
    return len(different) <= MOST_CLASSES and all(number.is_integer() for number in different)
