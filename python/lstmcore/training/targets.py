"""Targets: converted, and refused where the loss or a metric cannot have them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake, Where, first_place, written
from lstmcore._typing import Array, Shape
from lstmcore.training.alignment import (
    enough_steps,
    is_ragged,
    same_count,
    same_lengths,
    valid_steps,
)
from lstmcore.training.data import Examples, Ragged, Rows
from lstmcore.training.losses import Loss
from lstmcore.training.masks import compact
from lstmcore.training.metrics.base import Metric

__all__ = ["read_targets", "refuse_rows"]


def read_targets(
    inputs: Examples,
    loss: Loss,
    output_shape: Shape,
    dtype: "np.dtype[Any]",
    y: Any,
    weights: Rows | None,
    intake: Intake,
) -> tuple[Rows, Rows | None]:
    """Check targets and convert them.

    Parameters
    ----------
    inputs, loss, output_shape, dtype, y, intake
        As of `add_targets`.
    weights : ndarray, Ragged or None
        Checked weights of samples. Where one is 0, the target may be anything, such as NaN or -1.

    Returns
    -------
    targets : ndarray or Ragged
        0 where a step is not valid or the target is not known.
    known : ndarray of bool, Ragged or None
        Where a target is known, (N,) or (N, T): all but those of weight 0 that the loss could not
        take. None: everywhere.
    """
    in_time = len(output_shape) == 3
    shape = loss.target_shape(output_shape)
    reading = _Reading(loss, output_shape[-1], dtype, intake, in_time)
    there = inputs.there if in_time else None
    if in_time and there is None and is_ragged(y, 1 if loss.labels else 2):
        rows = Ragged.from_rows(y, "y", not loss.labels, intake)
        counted = _counted(weights, rows.shape[:2], None)
        if counted is not None:
            counted = counted[np.arange(rows.shape[1]) < rows.lengths[:, None]]
        values, flags = reading.read(rows.values, shape[1:], None, counted, rows.where)
        same_count(len(rows), inputs, "y")
        same_lengths(rows.lengths, inputs, "y")
        steps = None
        if not isinstance(inputs.inputs, Ragged):
            steps = inputs.output_steps(inputs.inputs.shape[1])
        return _rows(values, rows, steps), None if flags is None else _rows(flags, rows, steps)
    given = intake.numbers(y, "y")
    _explain_shape(given.shape, shape, loss, output_shape[-1], inputs)
    valid = there if there is not None else valid_steps(given, inputs) if in_time else None
    if there is not None and given.shape[:2] != there.shape:
        compact(given, there, "y")  # raises the error that says so
    counted = _counted(weights, given.shape[: 2 if in_time else 1], there)
    array, known = reading.read(given, shape, valid, counted, intake.where)
    if there is not None:
        return compact(array, there, "y"), None if known is None else compact(known, there, "y")
    same_count(len(array), inputs, "y")
    if in_time:
        enough_steps(array, inputs, "y")
    return array, known


def _rows(values: Array, like: Ragged, steps: int | None) -> Rows:
    """Make rows of `values`, or an array of this many steps."""
    rows = Ragged(values, like.lengths, like.starts)
    return rows if steps is None else rows.padded(steps)


def _counted(weights: Rows | None, shape: tuple[int, ...], there: Array | None) -> Array | None:
    """Say which of the targets (N,) or (N, T) have a weight; None: all.

    Parameters
    ----------
    weights : ndarray, Ragged or None
    shape : tuple of int
        (N,) or (N, T), of the targets.
    there : ndarray of bool, shape (N, T), or None
        Which steps a mask leaves, those that ragged weights belong to.
    """
    if weights is None or len(weights) != shape[0]:  # which is refused soon
        return None
    if isinstance(weights, Ragged):
        flags = Ragged(weights.values != 0, weights.lengths, weights.starts)
        if there is None:
            array = flags.padded()
        else:
            array = np.zeros(there.shape, np.bool_)
            array[there] = flags.values
    else:
        array = weights != 0
    if array.all():
        return None
    if len(shape) == 1:
        return array
    if array.ndim == 1:
        return np.repeat(array[:, None], shape[1], axis=1)
    missing = max(shape[1] - array.shape[1], 0)
    return np.pad(array, ((0, 0), (0, missing)), constant_values=True)[:, : shape[1]]


class _Reading:
    """The conversion of targets of one call; attributes are the arguments of `read_targets`."""

    def __init__(
        self,
        loss: Loss,
        classes: int | None,
        dtype: "np.dtype[Any]",
        intake: Intake,
        in_time: bool,
    ) -> None:
        self.loss, self.classes, self.dtype = loss, classes, dtype
        self.intake, self.in_time = intake, in_time

    def read(
        self,
        given: Array,
        shape: Shape,
        valid: Array | None,
        weighed: Array | None,
        where: Where,
    ) -> tuple[Array, Array | None]:
        """Return targets of `shape`, and over their first axes which are known; None: all.

        Parameters
        ----------
        given : ndarray
            Numbers.
        shape : tuple of int or None
        valid : ndarray of bool, or None
            Over the first axes, which steps there are; None: all.
        weighed : ndarray of bool, or None
            Over the first axes, which have a weight; None: all.
        where : callable
            Writes places.
        """
        loss, known = self.loss, None
        counted = valid
        if weighed is not None:
            counted = weighed if valid is None else weighed & valid
        if loss.labels:
            array = self.intake.integers(given, "y", counted, where)
        else:
            array = self.intake.floats(given, "y", self.dtype, counted, where)
        if weighed is not None:
            unknown = self._impossible(given, weighed.ndim) & ~weighed
            if unknown.any():
                known = ~unknown
        used = valid if known is None else known if valid is None else known & valid
        if used is not None:  # what does not count may be anything
            array = np.where(used.reshape(used.shape + (1,) * (array.ndim - used.ndim)), array, 0)
        if loss.labels:
            self._check_labels(array, len(shape), where)
        elif loss.activation == "sigmoid":
            self._check_shares(array, len(shape) - 1, where)
        return loss.targets(array, shape, self.dtype), known

    def _impossible(self, given: Array, axes: int) -> Array:
        """Return, over the first axes, where the loss cannot take the targets."""
        with np.errstate(invalid="ignore"):
            if self.loss.labels:
                assert self.classes is not None
                fits = (given >= 0) & (given < self.classes)
                if given.dtype.kind == "f":
                    fits &= given == np.trunc(given)
            elif self.loss.activation == "sigmoid":
                fits = (given >= 0) & (given <= 1)
            else:
                fits = np.isfinite(given)
        return np.asarray(~np.asarray(fits).reshape(*given.shape[:axes], -1).all(axis=-1))

    def _check_labels(self, labels: Array, axes: int, where: Where) -> None:
        classes = self.classes
        assert classes is not None
        if not labels.size or (labels.min() >= 0 and labels.max() < classes):
            return
        index = first_place((labels < 0) | (labels >= classes))
        wrong = labels[index]
        advice = _how_to_number(labels, classes) or self._how_to_leave_out(wrong)
        raise ValueError(
            f"y: expected labels in 0..{classes - 1} (the model has {classes} outputs), got "
            f"{wrong} at y{where(index[:axes])}{advice}"
        )

    def _check_shares(self, targets: Array, axes: int, where: Where) -> None:
        if not targets.size or (targets.min() >= 0 and targets.max() <= 1):
            return
        index = first_place((targets < 0) | (targets > 1))
        advice = _how_to_number(targets, 2) or self._how_to_leave_out(targets[index])
        raise ValueError(
            f"y: {type(self.loss).__name__} expects targets in [0, 1], got {targets.min():g} to "
            f"{targets.max():g}, the first outside at y{where(index[:axes])}{advice}"
        )

    def _how_to_leave_out(self, mark: Any) -> str:
        """Say how steps are left out whose labels are -1, or the -100 of PyTorch's losses."""
        if mark >= 0 or mark != int(mark):
            return ""
        what = "steps" if self.in_time else "samples"
        unlike = f"(y != {mark:g})"
        advice = f"; where it marks {what} without a label, sample_weight={unlike} leaves them out"
        if self.in_time:
            advice += f", and where it marks padding, mask={unlike} or rows of different lengths do"
        return advice


def _explain_shape(
    came: tuple[int, ...], shape: Shape, loss: Loss, classes: int | None, inputs: Examples
) -> None:
    """Raise ValueError where targets have a time axis and outputs have not, or the reverse."""
    rank, width = len(shape), 1 if loss.labels else shape[-1]
    if loss.labels and len(came) == rank + 1 and came[-1] == classes != 1:
        raise ValueError(
            f"y: expected shape {_checks.show_shape(shape)} for {type(loss).__name__}, "
            f"got {came}; for targets with an entry for each class use "
            "categorical_crossentropy, or pass y.argmax(axis=-1)"
        )
    whole = rank if loss.labels else rank - 1  # axes of a target without its values: (N,), (N, T)
    values = came[whole:] if len(came) > whole else (1,)
    advice = ""
    if whole == 2:
        steps = inputs.output_steps(inputs.inputs.shape[1])
        if len(came) == 1 or (len(came) == 2 and came[1] == width != steps):
            advice = (
                "; for a target for each sequence, and not for each step, the last recurrent layer "
                "needs return_sequences=False, or pooling after it"
            )
    elif len(inputs.inputs.shape) > 2 or _are_ids(inputs):
        steps = inputs.inputs.shape[1]
        if came[1:2] == (steps,) and (len(came) == 3 or values != (width,)):
            advice = (
                "; for a target for each step, and not for each sequence, recurrent layers need "
                "return_sequences=True, with no pooling after them"
            )
    if advice:
        raise ValueError(
            f"y: expected shape {_checks.show_shape(shape)} for {type(loss).__name__}, "
            f"got {came}{advice}"
        )


def _are_ids(inputs: Examples) -> bool:
    values = inputs.inputs.values if isinstance(inputs.inputs, Ragged) else inputs.inputs
    return bool(values.dtype.kind == "i")


def _how_to_number(labels: Array, classes: int) -> str:
    """Say how to convert labels with a common mistake to the numbers 0, 1, ..."""
    low, high = labels.min(), labels.max()
    if low == -1 and (np.abs(labels) == 1).all():
        return "; for labels -1 and 1 pass y > 0"
    if not (labels == np.trunc(labels)).all():
        return ""
    if 1 <= low <= high <= 1000:
        low, high = int(low), int(high)
        count = high - low + 1
        more = f" and end the model with Dense({count}, activation='softmax')"
        return (
            f"; labels count from 0, so for {low} to {high} pass y - {low}"
            f"{more if count > classes else ''}; lc.sklearn.LSTMClassifier takes any labels"
        )
    if low == 0 and high <= 1000:
        return (
            f"; for the labels 0 to {int(high)} end the model with "
            f"Dense({int(high) + 1}, activation='softmax') and use sparse_categorical_crossentropy"
        )
    return ""


# ---- rows that a loss or a metric cannot have ---------------------------------------------------


def refuse_rows(loss: Loss, metrics: Sequence[Metric], examples: Examples, intake: Intake) -> None:
    """Raise ValueError if a target that counts is one that the loss or a metric cannot have."""
    targets = examples.targets
    assert targets is not None
    values = targets.values if isinstance(targets, Ragged) else targets
    wrong = loss.wrong_rows(values)
    if wrong is not None:
        loss.refuse_rows(values, *_counting(wrong, "y", examples, intake))
    for metric in metrics:
        wrong = metric.wrong_rows(values)
        if wrong is not None:
            metric.refuse_rows(values, *_counting(wrong, "y", examples, intake))


def _counting(
    wrong: Array, name: str, examples: Examples, intake: Intake
) -> tuple[Array, str, Where]:
    """Return `wrong` without rows that do not count, and the name of the others in errors."""
    # A class of weight 0 counts too, since validation ignores class weights.
    targets, weights = examples.targets, examples.sample_weights
    if isinstance(targets, Ragged):
        if isinstance(weights, Ragged):
            wrong = wrong & (weights.values != 0)
        elif weights is not None:
            steps = targets.shape[1]
            spread = np.broadcast_to(
                weights[:, :steps] if weights.ndim == 2 else weights[:, None], (len(targets), steps)
            )
            wrong = wrong & (spread[np.arange(steps) < targets.lengths[:, None]] != 0)
        where = targets.where
        if examples.there is not None:  # the rows are those of an array, without its gaps
            steps_there = np.argwhere(examples.there)

            def where(index: tuple[int, ...]) -> str:
                return written((*map(int, steps_there[index[0]]), *index[1:]))

        return wrong, name, where
    assert targets is not None
    valid = valid_steps(targets, examples) if wrong.ndim == 2 else None
    if valid is not None:
        wrong = wrong & valid
    if isinstance(weights, Ragged):
        weights = weights.padded(wrong.shape[1])
    if weights is not None and weights.ndim < wrong.ndim:
        weights = weights[:, None]
    if weights is not None:
        wrong = wrong & (weights[:, : wrong.shape[1]] != 0 if wrong.ndim == 2 else weights != 0)
    return wrong, name, intake.where
