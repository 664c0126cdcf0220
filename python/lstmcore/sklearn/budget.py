"""How long an estimator trains: batches, epochs and updates; and whether that was enough."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.training.callbacks import Callback, Logs

if TYPE_CHECKING:
    from lstmcore.sklearn.base import SequenceEstimator

__all__ = ["Budget", "Watch", "auto_or_integer", "plan", "warn_unless_converged"]

# Chosen on sets of 20 to 60 rows; see docs/scikit-learn.md. Twice as many updates gained nothing.
UPDATES = 1000
EPOCHS = 20  # at least, even if an epoch has many batches
BATCHES = (8, 32)  # smallest and largest size; between them, a quarter of the rows
PATIENCE = (10, 4)  # at least 10 epochs, and 1 / 4 of all epochs

PREDICT_ROWS = 256  # size of batches at inference, which affects only speed
STILL_FALLING = 0.1  # largest share of all progress that the last quarter of the epochs may make
STACK = 5  # stack level of the caller of `fit`, where the warning is shown
NEGLIGIBLE = 0.01  # share of the first loss; a lower loss need not fall further
NOTHING_LEARNT = 0.95  # share of the loss of the best constant output


@dataclass(frozen=True)
class Budget:
    """The extent of a training.

    Attributes
    ----------
    batch_size : int
    epochs : int
    patience : int
        Epochs without a better score after which early stopping ends the training.
    updates : int
        Optimizer steps in all epochs.
    """

    batch_size: int
    epochs: int
    patience: int
    updates: int


def plan(estimator: "SequenceEstimator", rows: int, *, incremental: bool) -> Budget:
    """Compute an estimator's budget for `rows` samples; `incremental` means one epoch."""
    size = estimator.batch_size
    if size == "auto":
        low, high = BATCHES
        size = min(max(2 ** int(np.log2(max(rows // 4, 1))), low), high)
    size = min(size, rows)
    batches = -(-rows // size)
    epochs = 1 if incremental else _epochs(estimator, batches)
    patience = estimator.n_iter_no_change
    if patience == "auto":
        least, share = PATIENCE
        patience = max(least, epochs // share)
    return Budget(size, epochs, patience, epochs * batches)


def _epochs(estimator: "SequenceEstimator", batches: int) -> int:
    most, updates = estimator.max_iter, estimator.max_updates
    if most is None and updates is None:
        return max(EPOCHS, -(-estimator._updates // batches))
    if updates is None:
        return int(most)
    whole = -(-int(updates) // batches)
    return whole if most is None else min(int(most), whole)


class Watch(Callback):
    """Record each epoch's loss and validation score; stop when the score stops improving."""

    def __init__(self, estimator: "SequenceEstimator", validation: Any, patience: int) -> None:
        self.estimator, self.validation, self.patience = estimator, validation, patience
        self.waited = 0
        self.stopped = False
        self.best_weights: list[Array] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Record the epoch, and stop if the score no longer improves."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = logs["loss"]
        estimator.loss_curve_.append(logs["loss"])
        if self.validation is None:
            return
        x, targets, weights = self.validation
        outputs = self.model.predict(x, PREDICT_ROWS, 0)  # type: ignore[attr-defined]
        if not np.isfinite(outputs).all():
            raise estimator._diverged("outputs became NaN or infinite")
        score = estimator._validation_score(targets, outputs, weights)
        estimator.validation_scores_.append(score)
        best = estimator.best_validation_score_
        improves = best is None or score >= best + estimator.tol
        self.waited = 0 if improves else self.waited + 1
        # Among equal scores, which are common with few samples, later weights are better trained.
        if best is None or score >= best:
            estimator.best_validation_score_ = score
            self.best_weights = self.model.get_weights()
        if self.waited >= self.patience:
            self.model.stop_training = self.stopped = True


def warn_unless_converged(losses: Sequence[float], constant: float | None, updates: int) -> None:
    """Warn if training ended too early, or if almost nothing was learnt.

    Parameters
    ----------
    losses : sequence of float
        Mean loss of each epoch.
    constant : float, optional
        Loss of the best output that does not depend on the input; None if it cannot be compared.
    updates : int
        Optimizer steps.

    Warns
    -----
    ConvergenceWarning
        If the last quarter of the epochs made more than a tenth of all progress and left a loss
        that is not negligible, or if the loss is hardly, or not, below `constant`.
    """
    advice = "raise max_updates or max_iter, or learning_rate_init"
    # A negative log-likelihood may be below 0.
    if constant and losses[-1] > constant - (1 - NOTHING_LEARNT) * abs(constant):
        place = "hardly" if losses[-1] < constant else "not"
        warnings.warn(
            f"fit: after {updates} updates the training loss, {losses[-1]:.3g}, is {place} below "
            f"the {constant:.3g} of one constant output, so almost nothing was learnt; {advice}",
            ConvergenceWarning,
            stacklevel=STACK,
        )
        return
    tail = max(len(losses) // 8, 1)
    begin = len(losses) - max(len(losses) // 4, 1) - 1
    if begin < 0:
        return
    # Medians, since the loss of a single epoch may be an outlier.
    before = float(np.median(losses[max(begin - tail + 1, 0) : begin + 1]))
    after = float(np.median(losses[-tail:]))
    first = max(losses[0], constant or 0.0)
    if after > NEGLIGIBLE * first and before - after > STILL_FALLING * (first - after):
        warnings.warn(
            f"fit: after {updates} updates the training loss is still falling, from {before:.3g} "
            f"to {after:.3g} in the last quarter of the epochs; {advice}",
            ConvergenceWarning,
            stacklevel=STACK,
        )


def auto_or_integer(value: Any, name: str, low: int) -> None:
    """Raise TypeError or ValueError unless `value` is "auto" or an integer of at least `low`."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(
                f'{name}: expected "auto" or an integer of at least {low}, got {value!r}'
            )
        return
    _checks.integer(value, name, low)
