"""The base of all losses, and what they share.

Letters: M rows (samples, or samples times valid steps), U outputs of a row, K targets of a row.
"""

from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._options import arguments
from lstmcore._typing import Array, ArrayLike, Shape
from lstmcore.training.target_checks import ChecksTargets

__all__ = [
    "Elementwise",
    "Loss",
    "by_row",
    "clip_probabilities",
    "sigmoid",
    "softmax",
    "softplus",
    "weighted_sum",
]

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1, as in Keras


class Loss(ChecksTargets):
    """Base of the losses.

    A subclass overrides `sum`. If the outputs do not estimate the targets directly, as with a
    mean and a variance for each target, it also overrides `target_width` and `predictions`.

    Attributes
    ----------
    labels : bool
        Whether targets are class numbers, one for each row of outputs, instead of K values.
    activation : str or None
        The activation that turns logits into the probabilities that the loss compares.
    from_logits : bool
        Whether it takes logits.
    sees_sequences : bool
        Whether it judges whole sequences, so that metrics see no logits but what it makes of them.
    check_gradient : bool
        Whether `fit` compares value and gradient on a few rows before it trains with a loss that is
        not part of this package. False: for a subclass whose gradient differs on purpose.
    """

    check_gradient = True
    labels = False
    activation: str | None = None
    from_logits = False
    sees_sequences = False

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
        targets : ndarray of int64, shape (M,), or float, shape (M, K)
            Class numbers if `labels`, else values, with K = ``target_width(U)``.
        outputs : ndarray, shape (M, U)
        weights : ndarray, shape (M,), optional
            None: all 1. A row of weight 0 does not count, and its label is ignored.
        scale : float, default 1.0
            Factor of the gradient.
        need_gradient : bool, default False

        Returns
        -------
        value : float
        gradient : ndarray, shape (M, U), or None
            With respect to the outputs, times `scale`.
        """
        raise NotImplementedError

    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Compute the mean loss.

        Parameters
        ----------
        y_true : array_like
            Targets: shape (..., K), or (...) for class numbers.
        y_pred : array_like, shape (..., U)
        sample_weight : array_like, shape (...), optional

        Returns
        -------
        float
        """
        return self._mean(y_true, y_pred, sample_weight, False)[0]

    def value_and_gradient(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, Array]:
        """Compute the mean loss and its gradient.

        Parameters
        ----------
        y_true, y_pred, sample_weight : array_like
            As in a call.

        Returns
        -------
        value : float
        gradient : ndarray, shape (..., U)
            With respect to `y_pred`.
        """
        value, gradient = self._mean(y_true, y_pred, sample_weight, True)
        assert gradient is not None
        return value, gradient

    def _mean(
        self, y_true: Any, y_pred: Any, sample_weight: Any, need_gradient: bool
    ) -> tuple[float, Array | None]:
        intake = Intake(switch=False)
        outputs = intake.floats(y_pred, "y_pred", None)
        if outputs.ndim == 0:
            raise ValueError("y_pred: expected shape (..., U), got a single number")
        rows = outputs.reshape(-1, outputs.shape[-1])
        given = intake.numbers(y_true, "y_true")
        intake.refuse_infinite(given, "y_true")
        targets = self.targets(given, self.target_shape(outputs.shape), outputs.dtype, "y_true")
        weights = None
        if sample_weight is not None:
            weights = intake.floats(sample_weight, "sample_weight", outputs.dtype).reshape(-1)
            if weights.shape != rows.shape[:1]:
                raise ValueError(
                    f"sample_weight: expected shape {outputs.shape[:-1]}, "
                    f"got {np.shape(sample_weight)}"
                )
        flat = targets.reshape(-1) if self.labels else targets.reshape(len(rows), -1)
        wrong = self.wrong_rows(flat)
        if wrong is not None:
            if weights is not None:
                wrong &= weights != 0
            wrong, shaped = wrong.reshape(outputs.shape[:-1]), flat.reshape(targets.shape)
            self.refuse_rows(shaped, wrong, "y_true")
        count = max(len(rows), 1)
        value, gradient = self.sum(flat, rows, weights, 1.0 / count, need_gradient)
        return value / count, None if gradient is None else gradient.reshape(outputs.shape)

    def target_width(self, units: int) -> int:
        """Return K, the number of values of a row of targets for `units` outputs.

        Raises
        ------
        ValueError
            If this loss cannot have `units` outputs.
        """
        return units

    def target_shape(self, output_shape: Shape) -> Shape:
        """Return the shape of the targets for outputs of a shape (..., U)."""
        units = output_shape[-1]
        if self.labels or units is None:
            return output_shape[:-1]
        return (*output_shape[:-1], self.target_width(units))

    def predictions(self, outputs: Array) -> Array:
        """Return what the outputs predict, to be compared with targets, as metrics do.

        Parameters
        ----------
        outputs : ndarray, shape (..., U)

        Returns
        -------
        ndarray, shape (..., K), or (..., U) if `labels`
            By default the outputs themselves.
        """
        return outputs

    def estimates(self, outputs: Array, mean: float = 0.0, scale: float = 1.0) -> dict[str, Array]:
        """Return everything that the outputs say about the targets, by name.

        Parameters
        ----------
        outputs : ndarray, shape (..., U)
        mean, scale : float
            Of targets that were standardized as ``(target - mean) / scale``: estimates are in the
            original units.

        Returns
        -------
        dict of str to ndarray, shape (..., K)
            By default the predictions as "value", probabilities where the outputs are logits.
        """
        values = self.activate(outputs) if self.from_logits else self.predictions(outputs)
        return {"value": np.asarray(values * scale + mean)}

    def targets(self, y: Any, shape: Shape, dtype: "np.dtype[Any]", name: str = "y") -> Array:
        """Check targets and convert them to `shape`; an axis of width 1 may be missing or extra.

        Raises
        ------
        TypeError
            If they are not numbers.
        ValueError
            If the shape is wrong, a label is not whole, or a value is not allowed for this loss.
        """
        intake = Intake(check_finite=False)  # the caller has checked
        array = intake.integers(y, name) if self.labels else intake.floats(y, name, dtype)
        if self.labels and array.ndim == len(shape) + 1 and array.shape[-1] == 1:
            array = array[..., 0]
        if not self.labels and array.ndim == len(shape) - 1 and shape[-1] == 1:
            array = array[..., None]
        if array.ndim != len(shape) or any(
            size is not None and size != came for size, came in zip(shape, array.shape, strict=True)
        ):
            hint = ""
            if self.activation == "softmax" and not self.labels and array.ndim == len(shape) - 1:
                hint = "; for class numbers use sparse_categorical_crossentropy"
            raise ValueError(
                f"{name}: expected shape {_checks.show_shape(shape)} for {type(self).__name__}, "
                f"got {array.shape}{hint}"
            )
        self.check_targets(array, name)
        return array

    def check_targets(self, targets: Array, name: str) -> None:
        """Raise ValueError if a value is not allowed for this loss."""

    def behind(self, activation: str) -> "tuple[Loss, bool]":
        """Choose how to compute the loss after a last layer with `activation`.

        Returns
        -------
        loss : Loss
            To use.
        takes_logits : bool
            Whether the last layer leaves its activation to this loss, which then computes both
            together: faster, and exact where probabilities are close to 0 or 1.
        """
        if self.activation != activation:
            return self, False
        if self.from_logits:
            raise ValueError(
                f"loss: {type(self).__name__}(from_logits=True) expects logits, but the last layer "
                f"applies {activation} already; use from_logits=False or activation=None"
            )
        return self.with_logits(), True

    @property
    def shows_logits(self) -> bool:
        """Whether metrics see logits: the model's outputs, if this loss takes logits."""
        return self.from_logits

    def with_logits(self) -> "Loss":
        """Return this loss, with the same options, as one that takes logits."""
        options = {name: getattr(self, name) for name in arguments(type(self))}
        return type(self)(**{**options, "from_logits": True})

    def activate(self, logits: Array) -> Array:
        """Turn logits (..., U) into the probabilities that the loss compares."""
        return sigmoid(logits) if self.activation == "sigmoid" else softmax(logits)


class Elementwise(Loss):
    """Base of losses that average the losses of a row's outputs."""

    def elements(
        self, targets: Array, outputs: Array, need_gradient: bool
    ) -> tuple[Array, Array | None]:
        """Compute the loss of each output, and its derivative with respect to that output.

        Parameters
        ----------
        targets, outputs : ndarray, shape (M, U)
        need_gradient : bool

        Returns
        -------
        losses : ndarray, shape (M, U)
        derivatives : ndarray, shape (M, U), or None
        """
        raise NotImplementedError

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `Loss.sum`."""
        losses, derivatives = self.elements(targets, outputs, need_gradient)
        value = weighted_sum(losses.mean(axis=-1), weights)
        if derivatives is None:
            return value, None
        share = outputs.dtype.type(scale / outputs.shape[-1])
        return value, by_row(np.asarray(derivatives * share, outputs.dtype), weights)


def clip_probabilities(loss: Loss, outputs: Array) -> tuple[Array, Array]:
    """Clip probabilities away from 0 and 1, and also return where that changed nothing.

    Raises
    ------
    ValueError
        If they are not probabilities.
    """
    if (outputs < 0).any() or (outputs > 1 + 1e-4).any():
        kind = type(loss).__name__
        raise ValueError(
            f"loss: {kind} expects probabilities in [0, 1]; end the model with "
            f"activation={loss.activation!r}, or use {kind}(from_logits=True)"
        )
    clipped = np.clip(outputs, SMALLEST, 1 - SMALLEST)
    return clipped, clipped == outputs


def sigmoid(values: Array) -> Array:
    """Logistic function without overflow."""
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1, small) / (1 + small), dtype=values.dtype)


def softmax(values: Array) -> Array:
    """Softmax over the last axis without overflow."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=values.dtype)


def softplus(values: Array) -> Array:
    """``log(1 + exp(x))`` without overflow."""
    return np.asarray(np.maximum(values, 0) + np.log1p(np.exp(-np.abs(values))))


def weighted_sum(losses: Array, weights: Array | None) -> float:
    """Sum the losses (M,) of all rows times their weights; a row of weight 0 may hold anything."""
    if weights is not None:
        losses = np.where(weights == 0, 0, losses * weights)
    return float(losses.sum(dtype=np.float64))


def by_row(gradient: Array, weights: Array | None) -> Array:
    """Multiply the rows of a gradient (M, U) by weights (M,); rows of weight 0 become 0."""
    if weights is None:
        return gradient
    return np.asarray(np.where(weights[:, None] == 0, 0, gradient * weights[:, None]))
