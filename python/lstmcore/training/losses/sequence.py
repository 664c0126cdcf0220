"""Losses of whole sequences, whose targets have their own lengths.

Letters: N sequences, T steps of outputs, S positions of targets, U outputs of a step.
"""

from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake, first_place
from lstmcore._typing import Array, ArrayLike, Shape
from lstmcore.training.data import Ragged
from lstmcore.training.losses.base import (
    Loss,
    by_row,
    clip_probabilities,
    sigmoid,
    softplus,
    weighted_sum,
)

__all__ = ["PresenceCrossentropy", "SequenceLoss"]


class SequenceLoss(Loss):
    """Base of the losses that see a whole sequence of outputs and a sequence of labels at once.

    Targets are a list of N rows (S_n,) of class numbers, of any lengths, or an array (N, S); the
    model's outputs have the shape (N, T, U). The reported value is the mean over sequences, and
    `sample_weight` has one number for each. A subclass overrides `sum_sequences` and, if metrics
    can be used with it, `for_metrics`, or `labels_of` for those of sequences.
    """

    sees_sequences = True

    def sum_sequences(
        self,
        targets: Array,
        target_lengths: Array,
        outputs: Array,
        lengths: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """Compute the weighted sum of the losses of all sequences.

        Parameters
        ----------
        targets : ndarray of int64, shape (N, S)
            Labels; entries past a row's length are ignored.
        target_lengths : ndarray of int64, shape (N,)
            Labels of each row.
        outputs : ndarray, shape (N, T, U)
        lengths : ndarray of int64, shape (N,)
            Valid steps of each row of outputs.
        weights : ndarray, shape (N,), optional
            None: all 1. A sequence of weight 0 does not count.
        scale : float, default 1.0
            Factor of the gradient.
        need_gradient : bool, default False

        Returns
        -------
        value : float
        gradient : ndarray, shape (N, T, U), or None
            With respect to the outputs, times `scale`; 0 past each row's length.
        """
        raise NotImplementedError

    def for_metrics(
        self, targets: Array, target_lengths: Array, outputs: Array, lengths: Array
    ) -> tuple[Array, Array]:
        """Return targets and predictions for metrics, one row for each sequence.

        Parameters
        ----------
        targets, target_lengths, outputs, lengths
            As in `sum_sequences`.

        Returns
        -------
        targets, predictions : ndarray, shape (N, U)
        """
        raise NotImplementedError

    def labels_of(self, outputs: Array, lengths: Array) -> list[Array]:
        """Return the labels that a model decides for each sequence, for metrics of sequences.

        Parameters
        ----------
        outputs, lengths
            As in `sum_sequences`.

        Returns
        -------
        list of ndarray of int64, each of shape (S_n,)
        """
        raise NotImplementedError

    @property
    def decodes(self) -> bool:
        """Whether metrics of sequences can be used with this loss."""
        return type(self).labels_of is not SequenceLoss.labels_of

    @property
    def shows_logits(self) -> bool:
        """Always False: metrics see what `for_metrics` returns, which are no logits."""
        return False

    @property
    def has_metrics(self) -> bool:
        """Whether metrics can be used with this loss."""
        return type(self).for_metrics is not SequenceLoss.for_metrics

    def sum(
        self,
        targets: Array,
        outputs: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """Refuse: rows are not enough; see `sum_sequences`."""
        raise TypeError(
            f"loss: {type(self).__name__} applies to whole sequences; see "
            "SequenceLoss.sum_sequences"
        )

    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
    ) -> float:
        """Compute the mean loss.

        Parameters
        ----------
        y_true : list of array_like of int, or array_like of int, shape (N, S)
            Labels.
        y_pred : array_like, shape (N, T, U)
        sample_weight : array_like, shape (N,), optional
        lengths : array_like of int, shape (N,), optional
            Valid steps of `y_pred`.
        target_lengths : array_like of int, shape (N,), optional
            Labels of each row of an array `y_true`; the others may be anything.

        Returns
        -------
        float
        """
        return self._sequence_mean(y_true, y_pred, sample_weight, lengths, target_lengths, False)[0]

    def value_and_gradient(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        target_lengths: ArrayLike | None = None,
    ) -> tuple[float, Array]:
        """Compute the mean loss and its gradient.

        Parameters
        ----------
        y_true, y_pred, sample_weight, lengths, target_lengths
            As in a call.

        Returns
        -------
        value : float
        gradient : ndarray, shape (N, T, U)
            With respect to `y_pred`.
        """
        value, gradient = self._sequence_mean(
            y_true, y_pred, sample_weight, lengths, target_lengths, True
        )
        assert gradient is not None
        return value, gradient

    def _sequence_mean(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        lengths: Any,
        target_lengths: Any,
        need_gradient: bool,
    ) -> tuple[float, Array | None]:
        # Past the lengths, outputs may be anything.
        intake = Intake(check_finite=lengths is None, switch=False)
        outputs = intake.floats(y_pred, "y_pred", None)
        if outputs.ndim != 3:
            raise ValueError(f"y_pred: expected shape (N, T, U), got {outputs.shape}")
        count, steps, units = outputs.shape
        if target_lengths is not None:
            y_true = _cut_rows(y_true, target_lengths)
        rows = self.label_rows(y_true, units, "y_true")
        if len(rows) != count:
            raise ValueError(f"y_true: expected {count} rows like y_pred, got {len(rows)}")
        if lengths is None:
            lengths = np.full(count, steps, np.int64)
        else:
            lengths = _checks.lengths_array(lengths, count, steps)
        weights = None
        if sample_weight is not None:
            weights = intake.floats(sample_weight, "sample_weight", outputs.dtype)
            if weights.shape != (count,):
                raise ValueError(f"sample_weight: expected shape ({count},), got {weights.shape}")
        self.refuse_pairs(rows, lengths, weights, "y_true")
        value, gradient = self.sum_sequences(
            rows.padded(),
            rows.lengths,
            outputs,
            lengths,
            weights,
            1.0 / max(count, 1),
            need_gradient,
        )
        return value / max(count, 1), gradient

    def target_shape(self, output_shape: Shape) -> Shape:
        """Return (N, S) with a variable S.

        Raises
        ------
        ValueError
            If the outputs have no time axis.
        """
        if len(output_shape) != 3:
            raise ValueError(
                f"loss: {type(self).__name__} expects a model with outputs (N, T, U), this model's "
                f"have {_checks.show_shape(output_shape)}; use return_sequences=True"
            )
        return (output_shape[0], None)

    def label_rows(self, y: Any, units: int, name: str = "y") -> Ragged:
        """Check targets and convert them to rows, each with its own length.

        Parameters
        ----------
        y : list of array_like of int, or array_like of int, shape (N, S)
        units : int
            U, the number of classes.
        name : str
            Name of the argument in errors.

        Raises
        ------
        TypeError, ValueError
            If they are not rows of labels in 0 .. U - 1.
        """
        rows = self.trim(_read_rows(self, y, name))
        values = rows.values
        if values.size and (values.min() < 0 or values.max() >= units):
            place = first_place((values < 0) | (values >= units))
            wrong = int(values[place])
            raise ValueError(
                f"{name}: expected labels in 0..{units - 1} (the model has {units} outputs), got "
                f"{wrong} at {name}{rows.where(place)}{self.label_advice(wrong)}"
            )
        return rows

    def trim(self, rows: Ragged) -> Ragged:
        """Return the rows of targets without what only pads them; by default all of it counts."""
        return rows

    def label_advice(self, label: int) -> str:
        """Return what the error about a label out of range advises, after a semicolon."""
        return ""

    def refuse_pairs(
        self, targets: Ragged, lengths: Array, weights: Array | None, name: str
    ) -> None:
        """Raise ValueError if a row of targets cannot go with its outputs; by default all can.

        Parameters
        ----------
        targets : Ragged
            Labels, (S_n,) for each of the N sequences.
        lengths : ndarray of int64, shape (N,)
            Valid steps of the outputs.
        weights : ndarray, shape (N,), or None
            Those of samples; a sequence of weight 0 does not count.
        name : str
            What the error calls the targets.
        """


def _read_rows(loss: SequenceLoss, y: Any, name: str) -> Ragged:
    """Read rows (S_n,) of whole numbers from a list of rows or an array (N, S)."""
    intake = Intake()
    if isinstance(y, (list, tuple)):
        found = [intake.integers(row, f"{name}[{place}]") for place, row in enumerate(y)]
        wrong = [place for place, row in enumerate(found) if row.ndim != 1]
        if wrong:
            raise ValueError(
                f"{name}: expected rows (S,) of labels, got shape {found[wrong[0]].shape} at "
                f"{wrong[0]}"
            )
        lengths = np.array([len(row) for row in found], np.int64)
        return Ragged(np.concatenate(found) if found else np.zeros(0, np.int64), lengths)
    array = intake.integers(y, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name}: expected a list of rows of labels, or an array (N, S), for "
            f"{type(loss).__name__}, got shape {array.shape}"
        )
    return Ragged(array.reshape(-1), np.full(len(array), array.shape[1], np.int64))


def _cut_rows(y_true: Any, target_lengths: Any) -> list[Array]:
    """Return the first `target_lengths` labels of each row of an array."""
    array = np.asarray(y_true)
    if array.ndim != 2:
        raise ValueError(
            f"y_true: expected an array (N, S) alongside target_lengths, got shape {array.shape}"
        )
    lengths = _checks.lengths_array(target_lengths, len(array), array.shape[1], "target_lengths")
    return [row[:length] for row, length in zip(array, lengths, strict=True)]


class PresenceCrossentropy(SequenceLoss):
    """Learn which labels occur in a sequence with outputs that say where.

    The output p[t, u] is the probability that the label u is present at step t. The probability
    that it occurs at all is ``P[u] = 1 - prod_t (1 - p[t, u])``, the noisy-or of multiple-instance
    learning (Maron & Lozano-Perez 1998; Zhang, Platt & Viola 2005). The loss is the mean over the U
    labels of ``-log P[u]`` if u is among the targets and ``-log(1 - P[u])`` if it is not. So labels
    of whole sequences, without positions, train a model that finds the positions. A sequence
    without valid steps costs nothing.

    Targets are the labels that occur, (S_n,) for each sequence, in any order; the row is empty if
    there are none. Metrics compare P (N, U) with 0 and 1.

    Parameters
    ----------
    from_logits : bool, default False
        Whether the outputs are logits. With False, and a last layer that ends with sigmoid, loss
        and activation are computed together from logits anyway.
    """

    activation = "sigmoid"

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = _checks.flag(from_logits, "from_logits")

    def sum_sequences(
        self,
        targets: Array,
        target_lengths: Array,
        outputs: Array,
        lengths: Array,
        weights: Array | None = None,
        scale: float = 1.0,
        need_gradient: bool = False,
    ) -> tuple[float, Array | None]:
        """See `SequenceLoss.sum_sequences`."""
        units = outputs.shape[-1]
        there = self._present(targets, target_lengths, units)
        valid = _valid(outputs, lengths)
        absence = self._absence(outputs, valid)
        nothing = absence == 0  # without valid steps; log P would be infinite
        counted = np.where(nothing, 1.0, absence)
        losses = np.where(there, -np.log(-np.expm1(-counted)), absence)
        value = weighted_sum(np.where(nothing, 0.0, losses).mean(axis=1), weights)
        if not need_gradient:
            return value, None
        slopes = np.where(there, -1.0 / np.expm1(counted), 1.0)
        slopes = np.where(nothing, 0.0, slopes) * (scale / units)
        gradient = by_row(slopes, weights)[:, None, :] * self._absence_slopes(outputs)
        if weights is not None:
            valid = valid & (weights != 0)[:, None, None]
        return value, np.asarray(np.where(valid, gradient, 0), outputs.dtype)

    def for_metrics(
        self, targets: Array, target_lengths: Array, outputs: Array, lengths: Array
    ) -> tuple[Array, Array]:
        """See `SequenceLoss.for_metrics`."""
        present = -np.expm1(-self._absence(outputs, _valid(outputs, lengths)))
        there = self._present(targets, target_lengths, outputs.shape[-1])
        return there.astype(outputs.dtype), present.astype(outputs.dtype)

    def _present(self, targets: Array, target_lengths: Array, units: int) -> Array:
        """Return which labels are targets, (N, U)."""
        samples, places = targets.shape
        there = np.zeros((samples, units), np.bool_)
        rows = np.repeat(np.arange(samples), target_lengths)
        there[rows, targets[np.arange(places) < target_lengths[:, None]]] = True
        return there

    def _absence(self, outputs: Array, valid: Array) -> Array:
        """Return -log(1 - P), (N, U) in float64: the sum over the valid steps of -log(1 - p)."""
        if self.from_logits:
            steps = softplus(outputs.astype(np.float64))
        else:
            steps = -np.log1p(-clip_probabilities(self, outputs.astype(np.float64))[0])
        return np.asarray(np.where(valid, steps, 0).sum(axis=1))

    def _absence_slopes(self, outputs: Array) -> Array:
        """Return the derivatives of -log(1 - p) with respect to the outputs, (N, T, U)."""
        if self.from_logits:
            return sigmoid(outputs.astype(np.float64))
        clipped, free = clip_probabilities(self, outputs.astype(np.float64))
        return np.where(free, 1.0 / (1.0 - clipped), 0.0)


def _valid(outputs: Array, lengths: Array) -> Array:
    """Return which steps count, (N, T, 1)."""
    return (np.arange(outputs.shape[1]) < lengths[:, None])[:, :, None]
