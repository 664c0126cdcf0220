"""The base of all metrics, which are means over rows by default.

Letters: M rows (samples, or samples times valid steps), U outputs of a row, K targets of a row.
"""

from typing import Any, TypeVar

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake, Where, first_place, written
from lstmcore._typing import Array, ArrayLike
from lstmcore.training.losses import Loss
from lstmcore.training.losses.crossentropy import show_row
from lstmcore.training.target_checks import ChecksTargets

__all__ = ["Metric", "counted_rows", "middle", "no_flags"]

MetricT = TypeVar("MetricT", bound="Metric")
_CHANGED_IN_PLACE = (list, dict, set, np.ndarray)


class Metric(ChecksTargets):
    """A figure gathered batch by batch: by default a weighted mean over rows.

    A mean of rows overrides `values`; any other metric `reset`, `accumulate` and `result`, and for
    training on several processes `gathered` and `merge`.

    Parameters
    ----------
    name : str, optional
        Its key in logs and histories.

    Attributes
    ----------
    labels : bool or None
        Whether targets are class numbers instead of values; None: it takes both.
    takes_logits : bool
        Whether it accepts logits as well as probabilities.
    takes_outputs : bool
        Whether it needs the outputs themselves and not what they predict, which differs for losses
        such as `GaussianNLL`; see `Loss.predictions`.
    takes_weights : bool
        Whether it may be one of `weighted_metrics`.
    running : bool
        Whether the logs of batches contain the figure so far. False: only those of epochs do, since
        it takes long to compute or means little before the end.
    greater_is_better : bool or None
        For callbacks with mode "auto"; None: not known.
    """

    labels: bool | None = False
    takes_logits = False
    takes_outputs = False
    takes_weights = True
    running = True
    greater_is_better: bool | None = None
    default_name = "metric"
    _beside_numbers = False
    """Whether the model's loss is not about classes, so that targets may be any numbers."""

    def __init__(self, name: str | None = None) -> None:
        self.name = self.default_name if name is None else _checks.label(name)
        self.reset()

    @classmethod
    def named(cls, name: str, loss: Loss, **options: Any) -> "Metric":
        """Make the metric that a short name means with `loss`."""
        return cls(name=name, **options)

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """Learn the losses of the model, before it is trained or evaluated.

        Parameters
        ----------
        loss : Loss
            As the user passed it.
        step_loss : Loss
            What a step computes: `loss`, or its form that takes logits.

        Raises
        ------
        ValueError
            If the metric needs other targets than the loss.
        """
        self._beside_numbers = not loss.labels and loss.activation is None
        if self.labels is not None and self.labels != loss.labels:
            expected = "class numbers" if self.labels else "values of the outputs' shape"
            raise ValueError(
                f"metrics: {type(self).__name__} expects {expected} as targets, "
                f"{type(loss).__name__} does not"
            )

    def refuse_rows(
        self, targets: Array, wrong: Array, name: str, where: Where | None = None
    ) -> None:
        """See `ChecksTargets.refuse_rows`."""
        if not wrong.any():
            return
        index = first_place(wrong)
        raise ValueError(
            f"metrics: {self.name!r} is about classes and expects 0 and 1 as targets, or a share "
            f"for each class, got {show_row(targets[index])} at {name}{(where or written)(index)}; "
            "for numbers use 'mae', 'rmse' or 'r2'"
        )

    def check_outputs(self, units: int, targets: int | None) -> None:
        """Check whether it can judge the outputs of a model, before that is trained or evaluated.

        Parameters
        ----------
        units : int
            U, the width of the outputs that it will be given.
        targets : int or None
            K, the width of the targets; None: they are class numbers.

        Raises
        ------
        ValueError
            If it cannot.
        """

    def fresh(self: MetricT) -> MetricT:
        """Return a copy that has gathered nothing and shares nothing that a batch changes.

        Models gather in such copies, so that a metric may be compiled into several of them, and a
        callback may call `evaluate` in the middle of an epoch.
        """
        copy = object.__new__(type(self))
        copy.__dict__.update(
            (name, value.copy() if isinstance(value, _CHANGED_IN_PLACE) else value)
            for name, value in self.__dict__.items()
        )
        copy.reset()
        return copy

    def reset(self) -> None:
        """Forget everything."""
        self._total, self._weight = 0.0, 0.0

    def update(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        y_true : array_like
            Targets: shape (..., K), or (...) for class numbers.
        y_pred : array_like, shape (..., U)
        sample_weight : array_like, shape (...), optional
            A row of weight 0 does not count and may hold any values.
        """
        intake = Intake(check_finite=False)
        outputs = intake.floats(y_pred, "y_pred", None)
        outputs = outputs.reshape(-1, outputs.shape[-1])
        if not len(outputs):
            return
        read = intake.integers if self.labels else intake.numbers
        given = read(y_true, "y_true")
        if self.labels is False and given.dtype == np.bool_:  # which have no difference
            given = given.astype(outputs.dtype)
        count = len(self.match(given, outputs))
        if count != len(outputs):
            raise ValueError(f"y_true: expected {len(outputs)} labels, got {count}")
        weights = None
        if sample_weight is not None:
            weights = intake.numbers(sample_weight, "sample_weight").reshape(-1)
            if len(weights) != len(outputs):
                raise ValueError(
                    f"sample_weight: expected {len(outputs)} like y_pred, got {len(weights)}"
                )
        self.update_rows(given, outputs, weights)

    def update_rows(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """Add rows that are checked already: `update` without its checks and conversions.

        Parameters
        ----------
        targets : ndarray, shape (M,) or (M, K)
            int64 if `labels`, else numbers.
        outputs : ndarray, shape (M, U)
        weights : ndarray, shape (M,), or None
        """
        if len(outputs):
            self.accumulate(self.match(targets, outputs), outputs, weights)

    def match(self, targets: Array, outputs: Array) -> Array:
        """Convert targets to the shape (M,) or (M, K) that fits outputs (M, U)."""
        labels = self.labels
        if labels is None:
            labels = targets.size == len(outputs) and outputs.shape[1] != 1
        return targets.reshape((-1,) if labels else outputs.shape)

    def accumulate(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """Add rows.

        Parameters
        ----------
        targets : ndarray, shape (M,) or (M, K)
        outputs : ndarray, shape (M, U)
        weights : ndarray, shape (M,), or None
        """
        values = self.values(targets, outputs)
        if weights is not None:
            values = np.where(weights == 0, 0, values * weights)
        self.add(float(values.sum(dtype=np.float64)), len(outputs), weights)

    def add(self, total: float, rows: int, weights: Array | None) -> None:
        """Add the weighted sum of the figures of `rows` rows."""
        self._total += total
        self._weight += rows if weights is None else float(weights.sum(dtype=np.float64))

    def result(self) -> float:
        """Return the figure over all batches since `reset`; 0 for the mean of no rows."""
        return self._total / self._weight if self._weight else 0.0

    def gathered(self) -> Any:
        """Return what has been gathered since `reset`, for `merge`: arrays, numbers and tuples."""
        return self._total, self._weight

    def merge(self, gathered: Any) -> None:
        """Add what an equal metric has `gathered`, as if its batches followed.

        Training on several processes needs it. A subclass that overrides `reset` also overrides
        `gathered` and `merge`, or cannot be used there.
        """
        total, weight = gathered
        self._total += total
        self._weight += weight

    @property
    def merges(self) -> bool:
        """Whether `merge` knows everything that `reset` resets."""
        bases = type(self).__mro__
        resets, merges = (
            next(place for place, base in enumerate(bases) if name in vars(base))
            for name in ("reset", "merge")
        )
        return merges <= resets

    def values(self, targets: Array, outputs: Array) -> Array:
        """Compute the figure of each row.

        Parameters
        ----------
        targets : ndarray, shape (M,) or (M, K)
        outputs : ndarray, shape (M, U)

        Returns
        -------
        ndarray, shape (M,)
        """
        raise NotImplementedError


def no_flags(targets: Array) -> Array | None:
    """Return which rows (...) of targets (..., K) have an entry other than 1, 0 and -1.

    None: no row has.
    """
    fits = (targets == 1) | (targets == 0) | (targets == -1)
    return None if fits.all() else ~fits.all(axis=-1)


def counted_rows(
    targets: Array, outputs: Array, weights: Array | None
) -> tuple[Array, Array, Array | None]:
    """Leave out rows of weight 0; weights that are all 1 become None."""
    if weights is None:
        return targets, outputs, None
    if not (there := weights != 0).all():
        targets, outputs, weights = targets[there], outputs[there], weights[there]
    return targets, outputs, None if (weights == 1).all() else weights


def middle(loss: Loss) -> float:
    """Return the output that is as near to one of two classes as to the other."""
    return 0.0 if loss.shows_logits else 0.5
