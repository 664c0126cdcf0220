"""Losses: what is minimized, and its gradient.

The reported value is the sum over all samples (and valid time steps) of loss times weight, divided
by their number, as Keras does.
"""

from typing import Any

import numpy as np

from lstmcore import _checks, _core
from lstmcore._configurable import Configurable
from lstmcore._typing import Array

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "get",
]

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1, as in Keras


class Loss(Configurable):
    """Base of the losses.

    Attributes
    ----------
    labels : bool
        Whether targets are numbers of classes, one for each row of outputs, instead of values of
        the outputs' shape.
    activation : str or None
        The activation that turns logits into the probabilities that the loss is about.
    from_logits : bool
        Whether it takes logits.
    """

    labels = False
    activation: str | None = None
    from_logits = False

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """Compute the weighted sum of the losses of all rows.

        Parameters
        ----------
        targets : ndarray of int64, shape (M,), or float, shape (M, U)
        outputs : ndarray, shape (M, U)
        weights : ndarray, shape (M,), optional
            None: all 1. A row of weight 0 does not count, and its label is not looked at.
        scale : float, default 1.0
            Factor of the gradient.
        need_gradient : bool, default False

        Returns
        -------
        value : float
        gradient : ndarray, shape (M, U), or None
            By the outputs, times `scale`.
        """
        raise NotImplementedError

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Compute the mean loss.

        Parameters
        ----------
        y_true : array_like
            Targets: shape (..., U), or (...) for numbers of classes.
        y_pred : array_like, shape (..., U)
        sample_weight : array_like, shape (...), optional

        Returns
        -------
        float
        """
        outputs = _checks.float_array(y_pred, "y_pred")
        if outputs.ndim == 0:
            raise ValueError("y_pred: expected shape (..., U), got a single number")
        rows = outputs.reshape(-1, outputs.shape[-1])
        shape = outputs.shape[:-1] if self.labels else outputs.shape
        targets = self.targets(y_true, shape, outputs.dtype)
        weights = None
        if sample_weight is not None:
            weights = np.ascontiguousarray(sample_weight, dtype=outputs.dtype).reshape(-1)
            if weights.shape != rows.shape[:1]:
                raise ValueError(
                    f"sample_weight: expected shape {outputs.shape[:-1]}, "
                    f"got {np.shape(sample_weight)}"
                )
        flat = targets.reshape(-1) if self.labels else targets.reshape(rows.shape)
        return self.sum(flat, rows, weights)[0] / max(len(rows), 1)

    def targets(
        self, y: Any, shape: tuple[int | None, ...], dtype: "np.dtype[Any]", name: str = "y"
    ) -> Array:
        """Check targets and bring them to `shape`: an axis of width 1 may be missing or too many.

        Raises
        ------
        TypeError
            If the dtype is wrong.
        ValueError
            If the shape is wrong, or a value is one that this loss cannot have.
        """
        if self.labels:
            array = _checks.integer_array(y, name)
        else:
            array = _checks.any_array(y, name)
            exact = array.dtype.kind in "iub"
            array = array.astype(dtype) if exact else _checks.float_array(y, name, dtype)
        if self.labels and array.ndim == len(shape) + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        if not self.labels and array.ndim == len(shape) - 1 and shape[-1] == 1:
            array = array[..., None]
        if array.ndim != len(shape) or any(
            size is not None and size != came for size, came in zip(shape, array.shape, strict=True)
        ):
            hint = ""
            if self.activation == "softmax" and not self.labels and array.ndim == len(shape) - 1:
                hint = "; for numbers of classes use sparse_categorical_crossentropy"
            raise ValueError(
                f"{name}: expected shape {_checks.show_shape(shape)} for {type(self).__name__}, "
                f"got {array.shape}{hint}"
            )
        self.check_targets(array, name)
        return array

    def check_targets(self, targets: Array, name: str) -> None:
        """Raise ValueError if a value is one that this loss cannot have."""

    def behind(self, activation: str) -> "tuple[Loss, bool]":
        """Choose how to compute the loss behind a last layer with `activation`.

        Returns
        -------
        loss : Loss
            To use.
        takes_logits : bool
            Whether the last layer shall leave its activation to this loss, which then computes both
            together: faster, and exact where probabilities are close to 0 or 1.
        """
        if self.activation != activation:
            return self, False
        if self.from_logits:
            raise ValueError(
                f"loss: {type(self).__name__}(from_logits=True) expects logits, but the last layer "
                f"applies {activation} already; use from_logits=False or activation=None"
            )
        return type(self)(from_logits=True), True  # type: ignore[call-arg]


class _Crossentropy(Loss):
    """A loss about probabilities."""

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = _checks.flag(from_logits, "from_logits")

    def _probabilities(self, outputs: Array) -> tuple[Array, Array]:
        """Clip, and say where that changed nothing."""
        if (outputs < 0).any() or (outputs > 1 + 1e-4).any():
            raise ValueError(
                f"loss: {type(self).__name__} expects probabilities in [0, 1]; end the model with "
                f"activation={self.activation!r}, or use {type(self).__name__}(from_logits=True)"
            )
        clipped = np.clip(outputs, SMALLEST, 1 - SMALLEST)
        return clipped, clipped == outputs


class SparseCategoricalCrossentropy(_Crossentropy):
    """``-log p[label]``; targets are numbers of classes.

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with softmax,
        loss and activation are computed together from logits all the same.
    """

    labels = True
    activation = "softmax"

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        if self.from_logits:
            return _core.softmax_cross_entropy(outputs, targets, weights, scale, need_gradient)
        classes = outputs.shape[-1]
        counted = targets if weights is None else np.where(weights == 0, 0, targets)
        if counted.size and (counted.min() < 0 or counted.max() >= classes):
            raise ValueError(f"y: expected labels in 0..{classes - 1}")
        rows = np.arange(len(outputs))
        clipped, free = self._probabilities(outputs[rows, counted])
        value = _weighted(-np.log(clipped), weights)
        if not need_gradient:
            return value, None
        gradient = np.zeros_like(outputs)
        gradient[rows, counted] = np.where(free, -scale / clipped, 0)
        return value, _times(gradient, weights)


class CategoricalCrossentropy(_Crossentropy):
    """``-sum(y * log p)`` over the outputs; targets are distributions.

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with softmax,
        loss and activation are computed together from logits all the same.
    """

    activation = "softmax"

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        if self.from_logits:
            return _core.softmax_cross_entropy(outputs, targets, weights, scale, need_gradient)
        clipped, free = self._probabilities(outputs)
        value = _weighted(-(targets * np.log(clipped)).sum(axis=-1), weights)
        if not need_gradient:
            return value, None
        gradient = np.where(free, -scale * targets / clipped, 0).astype(outputs.dtype)
        return value, _times(gradient, weights)


class BinaryCrossentropy(_Crossentropy):
    """Mean over the outputs of ``-y log p - (1 - y) log(1 - p)``; targets are in [0, 1].

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with sigmoid,
        loss and activation are computed together from logits all the same.
    """

    activation = "sigmoid"

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        share = scale / outputs.shape[-1]
        if self.from_logits:
            # log(1 + exp(z)) - y z, without overflow.
            losses = np.maximum(outputs, 0) - outputs * targets + np.log1p(np.exp(-abs(outputs)))
            value = _weighted(losses.mean(axis=-1), weights)
            if not need_gradient:
                return value, None
            return value, _times((sigmoid(outputs) - targets) * outputs.dtype.type(share), weights)
        p, free = self._probabilities(outputs)
        losses = -(targets * np.log(p) + (1 - targets) * np.log(1 - p))
        value = _weighted(losses.mean(axis=-1), weights)
        if not need_gradient:
            return value, None
        gradient = np.where(free, share * (p - targets) / (p * (1 - p)), 0).astype(outputs.dtype)
        return value, _times(gradient, weights)

    def check_targets(self, targets: Array, name: str) -> None:
        """Raise ValueError unless all targets are in [0, 1]."""
        if targets.size and (targets.min() < 0 or targets.max() > 1):
            raise ValueError(
                f"{name}: BinaryCrossentropy expects targets in [0, 1], "
                f"got {targets.min()} to {targets.max()}"
            )


class MeanSquaredError(Loss):
    """Mean over the outputs of ``(output - target)**2``."""

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        return _core.mean_squared_error(outputs, targets, weights, scale, need_gradient)


class MeanAbsoluteError(Loss):
    """Mean over the outputs of ``abs(output - target)``; its gradient at 0 is 0."""

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        differences = outputs - targets
        value = _weighted(np.abs(differences).mean(axis=-1), weights)
        if not need_gradient:
            return value, None
        share = outputs.dtype.type(scale / outputs.shape[-1])
        return value, _times(np.sign(differences) * share, weights)


def sigmoid(values: Array) -> Array:
    """Logistic function without overflow."""
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1, small) / (1 + small), dtype=values.dtype)


def softmax(values: Array) -> Array:
    """Softmax over the last axis without overflow."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=values.dtype)


def _weighted(losses: Array, weights: Array | None) -> float:
    if weights is not None:
        losses = np.where(weights == 0, 0, losses * weights)
    return float(losses.sum(dtype=np.float64))


def _times(gradient: Array, weights: Array | None) -> Array:
    if weights is None:
        return gradient
    return np.asarray(np.where(weights[:, None] == 0, 0, gradient * weights[:, None]))


_NAMES: dict[str, type[Loss]] = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
}


def get(loss: Loss | str) -> Loss:
    """Turn a name into a loss with default values; pass a loss on."""
    if isinstance(loss, Loss):
        return loss
    kind = _NAMES.get(str(loss))
    if kind is None:
        names = ", ".join(repr(name) for name in _NAMES)
        raise ValueError(f"loss: expected a Loss or one of {names}, got {loss!r}")
    return kind()
