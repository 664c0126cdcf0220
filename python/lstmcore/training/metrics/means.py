"""Metrics that are means over rows, or a function of one."""

import math
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.training.losses import (
    CategoricalCrossentropy,
    Loss,
    SparseCategoricalCrossentropy,
)
from lstmcore.training.losses.crossentropy import no_distributions
from lstmcore.training.metrics.base import Metric, middle, no_flags

__all__ = [
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanLoss",
    "MeanSquaredError",
    "Perplexity",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "TopK",
]


class SparseCategoricalAccuracy(Metric):
    """How often the greatest output is that of the label; targets are class numbers."""

    labels = True
    takes_logits = True
    greater_is_better = True
    default_name = "sparse_categorical_accuracy"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(outputs.argmax(axis=-1) == targets)


class CategoricalAccuracy(Metric):
    """How often the greatest output is where the target is greatest."""

    takes_logits = True
    greater_is_better = True
    default_name = "categorical_accuracy"

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        return no_distributions(targets) if self._beside_numbers else None

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`."""
        _several(units)

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(outputs.argmax(axis=-1) == targets.argmax(axis=-1))


class BinaryAccuracy(Metric):
    """How often outputs are on the target's side: above the threshold where it is above 0.5.

    So probabilities may be targets, too; in Keras they never match, since outputs become 0 or 1.

    Parameters
    ----------
    name : str, optional
        See `Metric`.
    threshold : float, default 0.5
        Outputs above it are 1.
    """

    greater_is_better = True
    default_name = "binary_accuracy"

    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = _checks.real(threshold, "threshold")

    @classmethod
    def named(cls, name: str, loss: Loss, **options: Any) -> "Metric":
        """See `Metric.named`: the middle between two classes is at logit 0."""
        return cls(name, threshold=middle(loss), **options)

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        return no_flags(targets) if self._beside_numbers else None

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(((targets > 0.5) == (outputs > self.threshold)).mean(axis=-1))


class TopK(Metric):
    """How often the target's class is among the k greatest outputs; a tie with the k-th counts.

    Targets are class numbers, or distributions whose greatest entry is the class.

    Parameters
    ----------
    k : int, default 5
        1 up to the number of classes.
    name : str, optional
        See `Metric`.
    """

    labels = None
    takes_logits = True
    greater_is_better = True
    default_name = "top_k"

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(name)
        self.k = _checks.integer(k, "k", 1)

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        return no_distributions(targets) if self._beside_numbers else None

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`."""
        if self.k > units:
            advice = f"; pass lstmcore.metrics.TopK({units - 1})" if units > 2 else ""
            raise ValueError(
                f"k: expected at most {units}, the number of classes, got {self.k}{advice}"
            )
        _several(units)

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        classes = outputs.shape[-1]
        self.check_outputs(classes, None)
        if targets.ndim == 2:
            targets = targets.argmax(axis=-1)
        # A row of weight 0 may have a label that is no class.
        known = (targets >= 0) & (targets < classes)
        own = np.take_along_axis(outputs, np.where(known, targets, 0)[:, None], axis=-1)
        return np.asarray(known & np.isfinite(own[:, 0]) & ((outputs > own).sum(axis=-1) < self.k))


class MeanSquaredError(Metric):
    """Mean over the outputs of ``(output - target)**2``."""

    greater_is_better = False
    default_name = "mse"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(((outputs - targets) ** 2).mean(axis=-1))


class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean, over all rows and outputs, of ``(output - target)**2``."""

    default_name = "rmse"

    def result(self) -> float:
        """See `Metric.result`."""
        return math.sqrt(super().result())


class MeanAbsoluteError(Metric):
    """Mean over the outputs of ``abs(output - target)``."""

    greater_is_better = False
    default_name = "mae"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(np.abs(outputs - targets).mean(axis=-1))


class MeanAbsolutePercentageError(Metric):
    """Mean over the outputs of ``abs(output - target) / abs(target)``: 0.1 is 10 %.

    Defined as in scikit-learn, and not in percent as in Keras, whose figure is 100 times this one.
    A target of 0 counts as 2.2e-16, so that the figure becomes very large but stays finite.
    """

    greater_is_better = False
    default_name = "mape"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        sizes = np.maximum(np.abs(targets, dtype=np.float64), np.finfo(np.float64).eps)
        return np.asarray((np.abs(outputs - targets) / sizes).mean(axis=-1))


class MeanLoss(Metric):
    """The mean of a loss that is not the one minimized.

    Parameters
    ----------
    loss : Loss
        Of outputs as the model's loss takes them.
    name : str, optional
        See `Metric`.
    """

    greater_is_better = False
    default_name = "mean_loss"

    _open_attributes = ("takes_logits",)

    def __init__(self, loss: Loss, name: str | None = None) -> None:
        super().__init__(name)
        if not isinstance(loss, Loss) or loss.sees_sequences:
            raise TypeError(f"loss: expected a Loss of rows, got {_checks.describe(loss)}")
        self.loss = loss
        self.labels = loss.labels
        # Such a loss takes the outputs that describe a distribution.
        self.takes_outputs = type(loss).predictions is not Loss.predictions
        self._computed = loss

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`: where a step has logits, they are taken, as by the model's loss."""
        super().bind(loss, step_loss)
        self._computed, self.takes_logits = self.loss, False
        if step_loss is not loss and step_loss.activation is not None:
            self._computed, self.takes_logits = self.loss.behind(step_loss.activation)

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        if not self._beside_numbers or self.loss.activation != "sigmoid":
            return self.loss.wrong_rows(targets) if self._beside_numbers else None
        fits = (targets >= 0) & (targets <= 1)
        return None if fits.all() else np.asarray(~fits.all(axis=-1))

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`."""
        width = None if self.labels else self.loss.target_width(units)
        if width != targets:
            raise ValueError(
                f"{type(self.loss).__name__} with {units} outputs expects {width} targets, the "
                f"model's loss has {targets}"
            )

    def match(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.match`."""
        shape = self.loss.target_shape(outputs.shape)
        return targets.reshape((-1,) if self.labels else tuple(size or -1 for size in shape))

    def accumulate(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """See `Metric.accumulate`."""
        if not self.labels:
            targets = targets.astype(outputs.dtype, copy=False)
        self.add(self._computed.sum(targets, outputs, weights)[0], len(outputs), weights)


class Perplexity(MeanLoss):
    """``exp`` of the mean cross-entropy: the number of classes between which the model wavers.

    Targets are class numbers or distributions.

    Parameters
    ----------
    name : str, optional
        See `Metric`.
    from_logits : bool, default False
        Whether the outputs are logits.
    """

    default_name = "perplexity"

    def __init__(self, name: str | None = None, *, from_logits: bool = False) -> None:
        super().__init__(SparseCategoricalCrossentropy(from_logits), name)
        self.from_logits = self.loss.from_logits
        self.labels = None

    @classmethod
    def named(cls, name: str, loss: Loss, **options: Any) -> "Metric":
        """See `Metric.named`."""
        return cls(name, from_logits=loss.shows_logits, **options)

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`."""
        if loss.activation == "sigmoid":
            raise ValueError(
                f"metrics: Perplexity expects a loss about classes, got {type(loss).__name__}"
            )
        super().bind(loss, step_loss)

    def wrong_rows(self, targets: Array) -> Array | None:
        """See `Metric.wrong_rows`."""
        return no_distributions(targets) if self._beside_numbers else None

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`."""
        _several(units)

    def match(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.match`."""
        return Metric.match(self, targets, outputs)

    def accumulate(self, targets: Array, outputs: Array, weights: Array | None) -> None:
        """See `Metric.accumulate`."""
        if targets.ndim == 2:
            dense = CategoricalCrossentropy(self._computed.from_logits)
            targets = targets.astype(outputs.dtype, copy=False)
            total = dense.sum(targets, outputs, weights)[0]
        else:
            total = self._computed.sum(targets, outputs, weights)[0]
        self.add(total, len(outputs), weights)

    def result(self) -> float:
        """See `Metric.result`; infinite where ``exp`` overflows."""
        mean = super().result()
        return math.exp(mean) if mean < 709.0 else math.inf


def _several(units: int) -> None:
    """Raise ValueError unless there are several classes."""
    if units < 2:
        raise ValueError(
            "expected an output for each class, got a single one, which is the greatest in any "
            "case; for two classes and one output use 'binary_accuracy'"
        )
