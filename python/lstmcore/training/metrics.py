"""Metrics: figures about predictions that are reported but not minimized."""

from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import Configurable
from lstmcore._typing import Array
from lstmcore.training.losses import Loss

__all__ = [
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "SparseCategoricalAccuracy",
    "get",
]


class Metric(Configurable):
    """A weighted mean over rows, gathered batch by batch.

    Parameters
    ----------
    name : str, optional
        Its key in logs and histories.

    Attributes
    ----------
    labels : bool
        Whether targets are numbers of classes instead of values of the outputs' shape.
    takes_logits : bool
        Whether logits serve as well as probabilities.
    """

    labels = False
    takes_logits = False
    default_name = "metric"

    def __init__(self, name: str | None = None) -> None:
        self.name = self.default_name if name is None else _checks.label(name)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._total, self._weight = 0.0, 0.0

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch in.

        Parameters
        ----------
        y_true : array_like
            Targets: shape (..., U), or (...) for numbers of classes.
        y_pred : array_like, shape (..., U)
        sample_weight : array_like, shape (...), optional
        """
        outputs = np.asarray(y_pred)
        outputs = outputs.reshape(-1, outputs.shape[-1])
        targets = np.asarray(y_true).reshape((-1,) if self.labels else outputs.shape)
        if len(targets) != len(outputs):
            raise ValueError(f"y_true: expected {len(outputs)} labels, got {len(targets)}")
        values = self.values(targets, outputs)
        if sample_weight is None:
            self._total += float(values.sum(dtype=np.float64))
            self._weight += len(values)
        else:
            weights = np.asarray(sample_weight).reshape(-1)
            self._total += float(np.where(weights == 0, 0, values * weights).sum(dtype=np.float64))
            self._weight += float(weights.sum(dtype=np.float64))

    def result(self) -> float:
        """Give the mean over all batches since `reset`; 0 if there was nothing."""
        return self._total / self._weight if self._weight else 0.0

    def values(self, targets: Array, outputs: Array) -> Array:
        """Compute the figure of each row.

        Parameters
        ----------
        targets : ndarray, shape (M,) or (M, U)
        outputs : ndarray, shape (M, U)

        Returns
        -------
        ndarray, shape (M,)
        """
        raise NotImplementedError


class SparseCategoricalAccuracy(Metric):
    """How often the greatest output is that of the label; targets are numbers of classes."""

    labels = True
    takes_logits = True
    default_name = "sparse_categorical_accuracy"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(outputs.argmax(axis=-1) == targets)


class CategoricalAccuracy(Metric):
    """How often the greatest output is where the target is greatest."""

    takes_logits = True
    default_name = "categorical_accuracy"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(outputs.argmax(axis=-1) == targets.argmax(axis=-1))


class BinaryAccuracy(Metric):
    """How often outputs are on the target's side of a threshold.

    Parameters
    ----------
    name : str, optional
        See `Metric`.
    threshold : float, default 0.5
        Outputs above it are 1.
    """

    default_name = "binary_accuracy"

    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = _checks.real(threshold, "threshold")

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray((targets == (outputs > self.threshold)).mean(axis=-1))


class MeanSquaredError(Metric):
    """Mean over the outputs of ``(output - target)**2``."""

    default_name = "mse"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(((outputs - targets) ** 2).mean(axis=-1))


class MeanAbsoluteError(Metric):
    """Mean over the outputs of ``abs(output - target)``."""

    default_name = "mae"

    def values(self, targets: Array, outputs: Array) -> Array:
        """See `Metric.values`."""
        return np.asarray(np.abs(outputs - targets).mean(axis=-1))


_NAMES: dict[str, type[Metric]] = {
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "binary_accuracy": BinaryAccuracy,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
}
_ACCURACIES = {
    "SparseCategoricalCrossentropy": SparseCategoricalAccuracy,
    "CategoricalCrossentropy": CategoricalAccuracy,
    "BinaryCrossentropy": BinaryAccuracy,
}


def get(metric: Metric | str, loss: Loss) -> Metric:
    """Turn a name into a metric, "accuracy" into the one that fits `loss`; pass a metric on.

    Raises
    ------
    ValueError
        If the name is unknown or the metric needs other targets than the loss.
    """
    if isinstance(metric, Metric):
        found = metric
    elif metric in ("accuracy", "acc"):
        accuracy = _ACCURACIES.get(type(loss).__name__)
        if accuracy is None:
            raise ValueError(f"metrics: {metric!r} has no meaning with {type(loss).__name__}")
        # The outputs are what the loss takes: the middle between two classes is at logit 0.
        found = accuracy(name=metric)
        if isinstance(found, BinaryAccuracy) and loss.from_logits:
            found = BinaryAccuracy(metric, threshold=0.0)
    else:
        kind = _NAMES.get(str(metric))
        if kind is None:
            names = ", ".join(repr(name) for name in ("accuracy", *_NAMES))
            raise ValueError(f"metrics: expected a Metric or one of {names}, got {metric!r}")
        found = kind(name=metric)
    if found.labels != loss.labels:
        expected = "numbers of classes" if found.labels else "values of the outputs' shape"
        raise ValueError(
            f"metrics: {type(found).__name__} expects {expected} as targets, "
            f"{type(loss).__name__} does not"
        )
    return found
