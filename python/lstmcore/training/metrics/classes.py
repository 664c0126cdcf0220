"""Precision, recall and F1: metrics of decisions between classes, counted batch by batch."""

from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, Average, choices
from lstmcore.training.losses import Loss
from lstmcore.training.losses.crossentropy import check_labels, no_distributions
from lstmcore.training.metrics.base import Metric, counted_rows, middle, no_flags

__all__ = [
    "F1",
    "Precision",
    "Recall",
    "class_numbers",
    "decide",
    "in_columns",
    "no_decisions",
    "is_multilabel",
    "optional_flag",
]


class _Decisions(Metric):
    """Base of the metrics of decisions; see `Precision` for the arguments."""

    labels = None
    greater_is_better = True

    def __init__(
        self,
        name: str | None = None,
        *,
        average: Average = "auto",
        threshold: float = 0.5,
        multilabel: bool | None = None,
    ) -> None:
        self.average = _checks.choice(average, "average", choices(Average))
        self.threshold = _checks.real(threshold, "threshold")
        self.multilabel = optional_flag(multilabel, "multilabel")
        self._multilabel = self.multilabel
        super().__init__(name)

    @classmethod
    def named(cls, name: str, loss: Loss, **options: Any) -> "Metric":
        """See `Metric.named`."""
        return cls(name, threshold=middle(loss), **options)

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`."""
        super().bind(loss, step_loss)
        self._multilabel = is_multilabel(self.multilabel, loss)

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        return no_decisions(targets, self._multilabel) if self._beside_numbers else None

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._hits = self._decided = self._wanted = np.zeros(1)  # of every class
        self._columns = False  # whether the classes are independent labels

    def accumulate(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """See `Metric.accumulate`."""
        targets, outputs, weights = counted_rows(targets, outputs, weights)
        wanted, chosen = decide(targets, outputs, self.threshold, self._multilabel)
        factors = np.ones(len(outputs)) if weights is None else weights.astype(np.float64)
        self._columns = wanted.ndim == 2
        classes = max(2, outputs.shape[1])
        self._check_average(classes, self._columns)
        if self._columns:
            counts = [factors @ flags for flags in (chosen & wanted, chosen, wanted)]
        else:
            hits = chosen == wanted
            counts = [
                np.bincount(rows, factors[which], classes).astype(np.float64)
                for rows, which in ((chosen[hits], hits), (chosen, ...), (wanted, ...))
            ]
        self._hits, self._decided, self._wanted = (
            before + more
            for before, more in zip((self._hits, self._decided, self._wanted), counts, strict=True)
        )

    def gathered(self) -> Any:
        """See `Metric.gathered`."""
        return self._hits, self._decided, self._wanted, self._columns

    def merge(self, gathered: Any) -> None:
        """See `Metric.merge`."""
        hits, decided, wanted, columns = gathered
        self._hits, self._decided = self._hits + hits, self._decided + decided
        self._wanted = self._wanted + wanted
        self._columns = self._columns or columns

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`."""
        several = targets is not None and targets > 1 and self._multilabel is not False
        self._check_average(units, several)

    def _check_average(self, classes: int, labels: bool) -> None:
        if self.average == "binary" and (labels or classes > 2):
            raise ValueError(
                f"average: expected 'macro', 'micro' or 'weighted' for {classes} "
                f"{'labels' if labels else 'classes'}, got 'binary'"
            )

    def denominators(self, decided: Array, wanted: Array) -> Array:
        """Return what hits are divided by, for each class.

        Parameters
        ----------
        decided, wanted : ndarray
            How often each class was decided for, and how often it was the target.
        """
        raise NotImplementedError

    def result(self) -> float:
        """See `Metric.result`; 0 where 0 would be divided by 0."""
        if not self._wanted.any():
            return 0.0
        hits, below = self._hits, self.denominators(self._decided, self._wanted)
        average = self.average
        if average == "auto":
            average = "macro" if self._columns or len(hits) > 2 else "binary"
        if average == "binary":
            return _share(hits[1], below[1])
        if average == "micro":
            return _share(hits.sum(), below.sum())
        figures = np.divide(hits, below, out=np.zeros(len(hits)), where=below > 0)
        if average == "weighted":
            return _share((figures * self._wanted).sum(), self._wanted.sum())
        occurring = self._decided + self._wanted > 0
        counted = figures if self._columns else figures[occurring]
        return float(counted.mean()) if len(counted) else 0.0


class Precision(_Decisions):
    """How many of the decisions for a class are right.

    Parameters
    ----------
    name : str, optional
        See `Metric`.
    average : {"auto", "binary", "macro", "micro", "weighted"}
        "binary": the figure of class 1 of two. "macro": the mean over classes; unless `multilabel`,
        over those alone that occur in targets or decisions. "micro": that of all decisions
        together. "weighted": the mean over classes weighted by how often they are targets. "auto":
        "binary" for one output or two classes, else "macro". All as in scikit-learn, where 0/0 is
        0.
    threshold : float, default 0.5
        Outputs above it are 1, where there is one output or one for each of several labels.
    multilabel : bool, optional
        Whether several outputs are an answer of yes or no each, not one class of several. None:
        True unless targets are class numbers or the model's loss is about a softmax.

    Notes
    -----
    Targets are class numbers (M,), or values (M, K), of which the greatest is the class or, for a
    single output or `multilabel`, those above 1/2 are 1.
    """

    default_name = "precision"

    def denominators(self, decided: Array, wanted: Array) -> Array:
        """Return how often each class was decided for."""
        return decided


class Recall(_Decisions):
    """How many of a class's targets are found.

    Parameters
    ----------
    name, average, threshold, multilabel
        As in `Precision`.
    """

    default_name = "recall"

    def denominators(self, decided: Array, wanted: Array) -> Array:
        """Return how often each class was the target."""
        return wanted


class F1(_Decisions):
    """Harmonic mean of precision and recall.

    Parameters
    ----------
    name, average, threshold, multilabel
        As in `Precision`.
    """

    default_name = "f1"

    def denominators(self, decided: Array, wanted: Array) -> Array:
        """Return the mean of both."""
        return (decided + wanted) / 2


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def optional_flag(value: bool | None, name: str) -> bool | None:
    """Return `value`, which must be True, False or None."""
    return None if value is None else _checks.flag(value, name)


def decide(
    targets: Array, outputs: Array, threshold: float, multilabel: bool | None
) -> tuple[Array, Array]:
    """Return what targets and outputs decide for.

    Parameters
    ----------
    targets : ndarray, shape (M,) or (M, K)
    outputs : ndarray, shape (M, U)
    threshold : float
        Outputs above it are 1, where there is one, or one for each of several labels.
    multilabel : bool or None
        See `Precision`.

    Returns
    -------
    wanted, chosen : ndarray
        Class numbers (M,), or bool (M, U) for several labels.
    """
    if in_columns(targets, multilabel):
        return targets > 0.5, outputs > threshold
    if outputs.shape[1] == 1:
        both = targets[:, 0] > 0.5, outputs[:, 0] > threshold
        return both[0].astype(np.int64), both[1].astype(np.int64)
    return class_numbers(targets, outputs), outputs.argmax(axis=1)


def in_columns(targets: Array, multilabel: bool | None) -> bool:
    """Return whether each column of targets is an independent label."""
    return targets.ndim == 2 and targets.shape[1] > 1 and multilabel is not False


def no_decisions(targets: Array, multilabel: bool | None) -> Array | None:
    """Return which rows (...) of targets (..., K) decide for no class; None: all of them do."""
    if targets.shape[-1] == 1 or multilabel is not False:
        return no_flags(targets)
    return no_distributions(targets)


def class_numbers(targets: Array, outputs: Array) -> Array:
    """Return the classes (M,) that targets (M,) or (M, U) denote.

    Raises
    ------
    ValueError
        If one is not a class of the outputs.
    """
    return check_labels(targets, outputs, None) if targets.ndim == 1 else targets.argmax(axis=1)


def is_multilabel(given: bool | None, loss: Loss) -> bool:
    """Return whether each of several outputs answers yes or no: as `given`, or by the loss."""
    return (not loss.labels and loss.activation != "softmax") if given is None else given
