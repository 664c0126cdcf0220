"""Pictures of training and attention as SVG, for every browser. Needs no plotting library."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

__all__ = ["attention_map", "learning_curve"]

TRAINING_COLOUR = "#2563eb"
VALIDATION_COLOUR = "#ea580c"
GRID_COLOUR = "#e5e7eb"
TEXT_COLOUR = "#374151"
STYLE = (
    "text { font-family: 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif; "
    f"font-size: 12px; fill: {TEXT_COLOUR}; }} "
    ".title { font-size: 17px; font-weight: 600; } .label { font-size: 13px; } "
    f".grid {{ stroke: {GRID_COLOUR}; stroke-width: 1; }} "
    f".axis {{ stroke: {TEXT_COLOUR}; stroke-width: 1; }} "
    ".line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }"
)

PANEL_WIDTH, PANEL_HEIGHT = 380, 260  # of the area inside the axes
LEFT, RIGHT, TOP, BOTTOM = 74, 26, 88, 58  # around it
CELL, LETTER = 22, 8  # of a map: side of a cell, width of a letter beside it
MOST_MARKERS = 40  # above that many epochs, lines alone are clearer


class HistoryLike(Protocol):
    """What `fit` returns."""

    @property
    def history(self) -> Mapping[str, Sequence[float]]:
        """Values of each epoch by name."""


class _Axis(NamedTuple):
    """A linear map from values to pixels, with its ticks."""

    low: float
    high: float
    start: float
    stop: float
    ticks: list[float]

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def learning_curve(
    history: HistoryLike | Mapping[str, Sequence[float]],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Learning curve",
) -> str:
    """Draw loss and metrics by epoch, training beside validation.

    Parameters
    ----------
    history : History or mapping of str to sequence of float
        What `fit` returned, or its ``history``: one value per epoch for each name. ``val_*`` shares
        the panel of the name without the prefix. Learning rates are left out. Values that are not
        finite leave a gap.
    path : path-like, optional
        Where to write the picture. Missing folders are made.
    title : str, default "Learning curve"
        Stands above the panels.

    Returns
    -------
    str
        The SVG document.

    Raises
    ------
    ValueError
        If there is no epoch to draw.
    """
    values = history if isinstance(history, Mapping) else history.history
    names = [name for name in values if _is_panel(name) and len(values[name]) > 0]
    if not names:
        raise ValueError("history: expected at least one epoch of at least one metric, got none")

    width = len(names) * (LEFT + PANEL_WIDTH + RIGHT)
    height = TOP + PANEL_HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text class="title" x="{LEFT}" y="32">{escape(title)}</text>',
        *_legend(any(f"val_{name}" in values for name in names)),
    ]
    for index, name in enumerate(names):
        left = index * (LEFT + PANEL_WIDTH + RIGHT) + LEFT
        parts += _panel(name, values[name], values.get(f"val_{name}", ()), left)
    parts.append("</svg>\n")
    return _written("\n".join(parts), path)


def attention_map(
    weights: npt.ArrayLike,
    source: Sequence[str],
    target: Sequence[str],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Attention",
) -> str:
    """Draw what each token of a target looked at, a row of cells for each.

    Parameters
    ----------
    weights : array_like, shape (S, T)
        In 0 .. 1, such as `Hypothesis.attention`; darker is more.
    source : sequence of str
        What the T columns stand for; a string is one of characters.
    target : sequence of str
        What the S rows stand for.
    path : path-like, optional
        Where to write the picture. Missing folders are made.
    title : str, default "Attention"
        Stands above.

    Returns
    -------
    str
        The SVG document.

    Raises
    ------
    ValueError
        If the shape is not that of the texts, there is no cell, or a weight is not in 0 .. 1.
    """
    cells = np.asarray(weights, np.float64)
    if cells.shape != (len(target), len(source)):
        raise ValueError(
            f"weights: expected shape ({len(target)}, {len(source)}) for {len(target)} tokens that "
            f"look at {len(source)}, got {cells.shape}"
        )
    if cells.size == 0:
        raise ValueError(f"weights: expected at least one, got shape {cells.shape}")
    if not (cells.min() >= 0 and cells.max() <= 1 + 1e-6):  # so that NaN is refused too
        raise ValueError(f"weights: expected numbers in [0, 1], got {cells.min()} to {cells.max()}")

    left = 40 + LETTER * max(len(text) for text in target)
    top = 62 + LETTER * max(len(text) for text in source)
    right, bottom = left + CELL * len(source), top + CELL * len(target)
    width, height = max(right + RIGHT, left + 11 * len(title)), bottom + RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text class="title" x="{left}" y="32">{escape(title)}</text>',
    ]
    for column, text in enumerate(source):
        x = left + CELL * (column + 0.5)
        upright = len(text) == 1
        place = (
            f'x="{x}" y="{top - 9}"'
            if upright
            else f'transform="translate({x + 4} {top - 9}) rotate(-90)"'
        )
        anchor = ' text-anchor="middle"' if upright else ""
        parts.append(f"<text {place}{anchor}>{escape(text)}</text>")
    for row, text in enumerate(target):
        y = top + CELL * row
        parts.append(
            f'<text x="{left - 9}" y="{y + CELL / 2 + 4}" text-anchor="end">{escape(text)}</text>'
        )
        for column, weight in enumerate(cells[row]):
            parts.append(
                f'<rect class="cell" x="{left + CELL * column}" y="{y}" width="{CELL}" '
                f'height="{CELL}" fill="{TRAINING_COLOUR}" fill-opacity="{min(weight, 1.0):.3f}" '
                f'stroke="{GRID_COLOUR}"><title>{weight:.3f}</title></rect>'
            )
    parts.append("</svg>\n")
    return _written("\n".join(parts), path)


def _written(document: str, path: str | os.PathLike[str] | None) -> str:
    """Write a document, if it is to be written, and give it back."""
    if path is not None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(document, encoding="utf-8")
    return document


def _is_panel(name: str) -> bool:
    return not name.startswith("val_") and name not in ("lr", "learning_rate")


def _legend(with_validation: bool) -> list[str]:
    parts = []
    entries = [("training", TRAINING_COLOUR), ("validation", VALIDATION_COLOUR)]
    for index, (text, colour) in enumerate(entries[: 1 + with_validation]):
        x = LEFT + 96 * index
        parts += [
            f'<path class="line" stroke="{colour}" d="M{x} 56h22"/>',
            f'<circle cx="{x + 11}" cy="56" r="3.2" fill="{colour}"/>',
            f'<text x="{x + 29}" y="60">{text}</text>',
        ]
    return parts


def _panel(
    name: str, training: Sequence[float], validation: Sequence[float], left: int
) -> list[str]:
    epochs = max(len(training), len(validation))
    x = _epoch_axis(epochs, left + 12, left + PANEL_WIDTH - 12)
    finite = [float(value) for value in (*training, *validation) if math.isfinite(value)]
    y = _value_axis(finite or [0.0], TOP + PANEL_HEIGHT, TOP)
    right, bottom = left + PANEL_WIDTH, TOP + PANEL_HEIGHT

    parts = ["<g>"]
    for tick in y.ticks:
        parts += [
            f'<path class="grid" d="M{left} {y(tick):.1f}H{right}"/>',
            f'<text x="{left - 9}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{_tick_text(tick, y.ticks)}</text>",
        ]
    for tick in x.ticks:
        parts += [
            f'<path class="axis" d="M{x(tick):.1f} {bottom}v5"/>',
            f'<text x="{x(tick):.1f}" y="{bottom + 20}" text-anchor="middle">{tick:.0f}</text>',
        ]
    middle = TOP + PANEL_HEIGHT / 2
    parts += [
        f'<path class="axis" d="M{left} {bottom}H{right}"/>',
        f'<text class="label" x="{(left + right) / 2}" y="{bottom + 43}" text-anchor="middle">'
        "epoch</text>",
        f'<text class="label" text-anchor="middle" '
        f'transform="translate({left - 54} {middle}) rotate(-90)">'
        f"{escape(name.replace('_', ' '))}</text>",
        *_series(training, TRAINING_COLOUR, x, y),
        *_series(validation, VALIDATION_COLOUR, x, y),
        "</g>",
    ]
    return parts


def _series(values: Sequence[float], colour: str, x: _Axis, y: _Axis) -> list[str]:
    points = [
        (x(epoch), y(float(value))) if math.isfinite(value) else None
        for epoch, value in enumerate(values, start=1)
    ]
    commands, pen_down = [], False
    for point in points:
        if point is not None:
            commands.append(f"{'L' if pen_down else 'M'}{point[0]:.1f} {point[1]:.1f}")
        pen_down = point is not None
    if not commands:
        return []
    parts = [f'<path class="line" stroke="{colour}" d="{"".join(commands)}"/>']
    if len(values) <= MOST_MARKERS:
        parts += [
            f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3.2" fill="{colour}"/>'
            for point in points
            if point is not None
        ]
    return parts


def _epoch_axis(epochs: int, start: float, stop: float) -> _Axis:
    """Whole epochs from 1."""
    step = max(1.0, _nice_step(epochs / 10))
    ticks = [1.0] if step > 1 else []
    ticks += [step * index for index in range(1, int(epochs / step) + 1)]
    # A single epoch stands in the middle of an axis that has room around it.
    low, high = (1.0, float(epochs)) if epochs > 1 else (0.0, 2.0)
    return _Axis(low, high, start, stop, ticks)


def _value_axis(values: Sequence[float], start: float, stop: float) -> _Axis:
    """A range that holds every value, with round ticks at both ends."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a flat line
        margin = 0.1 * abs(low) or 1.0
        low, high = low - margin, high + margin
    step = _nice_step((high - low) / 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [index * step for index in range(first, last + 1)]
    return _Axis(ticks[0], ticks[-1], start, stop, ticks)


def _nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    factors = (1, 2, 5, 10) if rough >= 1 else (1, 2, 2.5, 5, 10)
    return next(factor * power for factor in factors if factor * power >= rough * (1 - 1e-9))


def _tick_text(tick: float, ticks: Sequence[float]) -> str:
    """Every tick of an axis with the same number of decimals, just enough to tell them apart."""
    largest, step = max(map(abs, ticks)), ticks[1] - ticks[0]
    if largest >= 1e6 or step < 1e-4:
        return f"{tick:.3g}"
    decimals = next(d for d in range(7) if abs(step - round(step, d)) <= 1e-6 * step)
    text = f"{tick:.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.lstrip("-")
