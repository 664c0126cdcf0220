"""Samples with targets, for training and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.cli.answers import Answers
from lstmcore.cli.layout import Layout
from lstmcore.cli.report import counted
from lstmcore.cli.scores import class_table, score_amounts, score_classes
from lstmcore.cli.sequences import features_of, groups_of, labels_of, windows_of
from lstmcore.cli.tables import Table
from lstmcore.models import Sequential

__all__ = ["Samples", "read_samples", "score"]

UNITS = {"text": "text", "sequences": "sequence", "series": "window"}
ROWS = 256  # samples that are predicted at once


@dataclass(frozen=True)
class Samples:
    """Inputs and targets.

    Attributes
    ----------
    x : list
        Texts, or arrays (T_i, C).
    y : list
        Targets for `fit`, one for each sample: a class, a standardized amount, or an array of
        either, for each step or each step ahead.
    targets : list of ndarray
        Classes, or amounts in their original units, of each sample.
    last : ndarray of float64, shape (N,), or None
        For windows of a series, the last value of each window.
    kind, per_step
        See `Layout`.
    """

    x: list[Any]
    y: list[Any]
    targets: list[Array]
    last: Array | None
    kind: str
    per_step: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def take(self, places: Array) -> "Samples":
        """Choose samples."""
        return Samples(
            [self.x[place] for place in places],
            [self.y[place] for place in places],
            [self.targets[place] for place in places],
            None if self.last is None else self.last[places],
            self.kind,
            self.per_step,
        )

    def fit_targets(self) -> Any:
        """Return the targets for `fit`: an array, or a list if numbers of steps differ."""
        return self.y if self.per_step else np.array(self.y)

    def count(self) -> str:
        """Return the number of samples with their kind, such as "20 texts"."""
        return counted(len(self), UNITS[self.kind])


def read_samples(table: Table, layout: Layout, classes: Sequence[str] | None) -> Samples:
    """Make samples from a table, in its order.

    Parameters
    ----------
    table : Table
    layout : Layout
        Includes the means and scales of the features.
    classes : sequence of str or None
        Names of the classes, in the order of the outputs; None if targets are amounts.
    """
    if layout.kind == "series":
        return _windows(table, layout)
    rows: Array
    if classes is not None:
        rows = labels_of(table, layout, classes)
        scaled = rows
    else:
        rows = table.numbers(layout.target)
        scaled = ((rows - layout.target_mean) / layout.target_scale).astype(np.float32)
    if layout.kind == "text":
        assert layout.text is not None
        return Samples(table.texts(layout.text), list(scaled), list(rows[:, None]), None, "text")
    groups = groups_of(table, layout)
    x = features_of(table, layout, groups)
    if layout.per_step:
        wide = scaled if classes is not None else scaled[:, None]
        y: list[Any] = [wide[group.rows] for group in groups]
        targets = [rows[group.rows] for group in groups]
    else:
        for group in groups:
            own = rows[group.rows]
            if (own != own[0]).any():
                row = int(group.rows[np.flatnonzero(own != own[0])[0]])
                raise ValueError(
                    f"{table.place(row, layout.target)}: expected the same target in all rows of "
                    f"{layout.key} {group.key!r}, got {table.texts(layout.target)[row]!r} after "
                    f"{table.texts(layout.target)[int(group.rows[0])]!r}"
                )
        firsts = np.array([group.rows[0] for group in groups])
        y, targets = list(scaled[firsts]), list(rows[firsts][:, None])
    return Samples(x, y, targets, None, "sequences", layout.per_step)


def _windows(table: Table, layout: Layout) -> Samples:
    cut = windows_of(table, layout, groups_of(table, layout), layout.horizon)
    inputs = np.concatenate([part.inputs for part in cut])
    last = np.concatenate([part.last for part in cut])
    following = np.concatenate([part.following for part in cut])
    y = ((following - last[:, None]) / layout.target_scale).astype(np.float32)
    return Samples(list(inputs), list(y), list(following), last, "series")


def score(
    model: Sequential, answers: Answers, samples: Samples, *, by_class: bool = False
) -> dict[str, Any]:
    """Compute the loss and the figures of a model on samples.

    Figures of amounts are in their original units; the loss is the model's training loss, of
    standardized amounts.
    """
    x = np.stack(samples.x) if samples.kind == "series" else samples.x
    evaluated = model.evaluate(x, samples.fit_targets(), ROWS, verbose=0, return_dict=True)
    figures: dict[str, Any] = {"loss": float(evaluated["loss"])}
    predicted = model.predict(x, ROWS, verbose=0)
    rows = np.concatenate([np.reshape(row, (-1, np.shape(row)[-1])) for row in predicted])
    if answers.classes is not None:
        labels = np.concatenate(samples.targets)
        chosen = answers.probabilities(rows).argmax(axis=1)
        figures |= score_classes(labels, chosen)
        if by_class:
            figures["classes"] = class_table(labels, chosen, answers.classes)
        return figures
    if samples.last is not None:
        targets, last = np.stack(samples.targets), samples.last[:, None]
        return figures | score_amounts(targets, answers.amounts(rows) + last, last, "last_value")
    targets = np.concatenate(samples.targets)
    amounts = answers.amounts(rows)[:, 0]
    return figures | score_amounts(targets, amounts, targets.mean(), "mean")
