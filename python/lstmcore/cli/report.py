"""Format numbers, scores and notes as text."""

import sys
from typing import Any

__all__ = ["class_lines", "counted", "describe_scores", "note"]

GUESSES = {"mean": "always the mean", "last_value": "always the last value"}


def counted(number: int, what: str) -> str:
    """Write a count: ``counted(1, "row")`` is "1 row", ``counted(2000, "row")`` "2,000 rows"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def note(text: str) -> None:
    """Write a note, which is not an error, to the error stream."""
    print(f"lstmcore: note: {text}", file=sys.stderr)


def describe_scores(figures: dict[str, Any]) -> str:
    """Write the figures of `samples.score`, and those of a guess for comparison, in one line."""
    loss = f"loss {figures['loss']:.4g}"
    if "accuracy" in figures:
        guess = f"always the most frequent class: {figures['majority_accuracy']:.3f}"
        return f"accuracy {figures['accuracy']:.3f} ({guess}), {loss}"
    name = next(name for name in GUESSES if f"{name}_mae" in figures)
    parts = [
        f"{words} {figures[key]:.4g} ({GUESSES[name]}: {figures[f'{name}_{key}']:.4g})"
        for key, words in (("mae", "mean absolute error"), ("rmse", "root mean square error"))
    ]
    if "r2" in figures:
        parts.append(f"R2 {figures['r2']:.3f}")
    return ", ".join([*parts, loss])


def class_lines(table: dict[str, dict[str, Any]]) -> list[str]:
    """Write precision, recall and F1 of each class as the lines of a table."""
    width = max(map(len, [*table, "class"]))
    lines = [f"{'class':<{width}}  precision  recall     f1  count"]
    lines += [
        f"{name:<{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  {row['f1']:5.3f}  "
        f"{row['count']:5}"
        for name, row in table.items()
    ]
    return lines
