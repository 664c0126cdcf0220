"""The areas under the ROC and the precision-recall curve, exact, from all scores of an epoch."""

import math
import warnings
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import AreaAverage, Array, Curve, choices
from lstmcore.training.losses import Loss
from lstmcore.training.losses.base import softmax
from lstmcore.training.metrics.base import Metric, counted_rows
from lstmcore.training.metrics.classes import (
    class_numbers,
    in_columns,
    is_multilabel,
    no_decisions,
    optional_flag,
)

__all__ = ["AUC"]


class AUC(Metric):
    """Area under a curve over all thresholds, computed from ranks and not from a few thresholds.

    Parameters
    ----------
    curve : {"ROC", "PR"}
        "ROC": how often a positive row scores higher than a negative one, a tie counting half.
        "PR": average precision, the sum over thresholds of the precision times the rise of recall;
        nothing is interpolated between points. Both as in scikit-learn.
    average : {"auto", "macro", "micro"}
        For more than two classes, or `multilabel`: "macro" (and "auto"): the mean of the areas of
        each class against the others; "micro": the area of all scores together. Two classes have
        one area, that of class 1.
    multilabel : bool, optional
        As in `Precision`.
    from_logits : bool, default False
        Whether the outputs are logits; it makes a difference with several classes only.
    name : str, optional
        See `Metric`.

    Notes
    -----
    All scores of an epoch are stored. Where a class has no positive row (or for "ROC" no negative
    one), the area is not defined: the result is NaN, with a RuntimeWarning.
    """

    labels = None
    running = False
    greater_is_better = True
    default_name = "auc"

    def __init__(
        self,
        curve: Curve = "ROC",
        *,
        average: AreaAverage = "auto",
        multilabel: bool | None = None,
        from_logits: bool = False,
        name: str | None = None,
    ) -> None:
        self.curve = _checks.choice(curve, "curve", choices(Curve))
        self.average = _checks.choice(average, "average", choices(AreaAverage))
        self.multilabel = optional_flag(multilabel, "multilabel")
        self.from_logits = _checks.flag(from_logits, "from_logits")
        self._multilabel = self.multilabel
        super().__init__(name)

    @classmethod
    def named(cls, name: str, loss: Loss, **options: Any) -> "Metric":
        """See `Metric.named`."""
        return cls(name=name, from_logits=loss.shows_logits, **options)

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`."""
        super().bind(loss, step_loss)
        self._multilabel = is_multilabel(self.multilabel, loss)

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        return no_decisions(targets, self._multilabel) if self._beside_numbers else None

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._parts: list[tuple[Array, Array, Array]] = []
        self._area: float | None = None

    def accumulate(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """See `Metric.accumulate`."""
        targets, outputs, weights = counted_rows(targets, outputs, weights)
        units = outputs.shape[1]
        if units == 1 or in_columns(targets, self._multilabel):
            positive, scores = targets > 0.5, outputs
        else:
            if self.from_logits:
                outputs = softmax(outputs)
            first = 1 if units == 2 else 0
            positive = class_numbers(targets, outputs)[:, None] == np.arange(first, units)
            scores = outputs[:, first:]
        factors = np.ones(len(scores)) if weights is None else weights.astype(np.float64)
        self._parts.append((positive, np.array(scores), factors))
        self._area = None

    def gathered(self) -> Any:
        """See `Metric.gathered`."""
        return self._parts

    def merge(self, gathered: Any) -> None:
        """See `Metric.merge`."""
        self._parts.extend(gathered)
        self._area = None

    def result(self) -> float:
        """See `Metric.result`; NaN if it is not defined."""
        if self._area is None:
            self._area = self._compute()
        return self._area

    def _compute(self) -> float:
        if not self._parts:
            return self._undefined("there are no rows")
        positive, scores, weights = (
            np.concatenate([part[place] for part in self._parts]) for place in range(3)
        )
        columns = positive.shape[1]
        if np.isnan(scores).any():
            return math.nan
        if self.average == "micro":
            weights = np.repeat(weights, columns)
            positive, scores, columns = positive.reshape(-1, 1), scores.reshape(-1, 1), 1
        areas = []
        for column in range(columns):
            hits, misses = _curve(positive[:, column], scores[:, column], weights)
            if hits[-1] == 0 or (self.curve == "ROC" and misses[-1] == 0):
                which = f" of column {column}" if columns > 1 else ""
                return self._undefined(
                    f"all targets{which} are {'negative' if hits[-1] == 0 else 'positive'}"
                )
            areas.append(_roc(hits, misses) if self.curve == "ROC" else _pr(hits, misses))
        return float(np.mean(areas))

    def _undefined(self, reason: str) -> float:
        warnings.warn(f"{self.name} is not defined: {reason}", RuntimeWarning, stacklevel=3)
        return math.nan


def _curve(positive: Array, scores: Array, weights: Array) -> tuple[Array, Array]:
    """Return the weights of true and of false positives, at every threshold, from the highest."""
    if not len(scores):
        return np.zeros(1), np.zeros(1)
    order = np.argsort(-scores, kind="stable")
    falling, weights = scores[order], weights[order]
    hits = np.cumsum(np.where(positive[order], weights, 0.0))
    misses = np.cumsum(np.where(positive[order], 0.0, weights))
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of equal scores
    return hits[ends], misses[ends]


def _roc(hits: Array, misses: Array) -> float:
    widths = np.diff(misses, prepend=0.0)
    before = np.concatenate([[0.0], hits[:-1]])
    return float((widths * (hits + before)).sum() / (2 * hits[-1] * misses[-1]))


def _pr(hits: Array, misses: Array) -> float:
    rises = np.diff(hits, prepend=0.0)
    decided = hits + misses
    precision = np.divide(hits, decided, out=np.zeros(len(hits)), where=decided > 0)
    return float((rises * precision).sum() / hits[-1])
