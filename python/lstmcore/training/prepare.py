"""From what the caller gives to checked `Examples`: all errors come before anything is computed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake, Where, written
from lstmcore._typing import Array, Shape
from lstmcore.training.data import Examples, Ragged, Rows, rows_of, typed
from lstmcore.training.losses import Loss, SequenceLoss
from lstmcore.training.masks import compact, compact_resets

__all__ = ["add_reset", "add_targets", "split"]


def add_targets(
    inputs: Examples,
    loss: Loss,
    output_shape: Shape,
    dtype: "np.dtype[Any]",
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    intake: Intake | None = None,
) -> Examples:
    """Add checked targets and weights to inputs.

    Parameters
    ----------
    inputs : Examples
        Without targets.
    loss : Loss
        Which targets there are.
    output_shape : tuple of int or None
        Of the model: (None, U) or (None, None, U).
    dtype : dtype
        Of the model.
    y : array_like
        (N,) or (N, T) numbers of classes, or (N, U) or (N, T, U) values; one entry per time step
        may also be a list of rows.
    sample_weight : array_like, shape (N,) or (N, T), optional
    class_weight : mapping of int to float, optional
        Weight of the samples of each class; 1 for the others.
    intake : Intake, optional
        None: as it is by default.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    intake = Intake() if intake is None else intake
    if len(output_shape) not in (2, 3):
        raise ValueError(
            "training needs outputs of shape (N, U) or (N, T, U), this model's have "
            f"{_checks.show_shape(output_shape)}"
        )
    if len(inputs) == 0:
        raise ValueError("x: expected at least one sample, got none")
    if y is None:
        raise ValueError("y: expected targets, got None")
    if isinstance(loss, SequenceLoss):
        return _add_sequences(
            inputs, loss, output_shape, dtype, y, sample_weight, class_weight, intake
        )
    targets = _targets(inputs, loss, output_shape, dtype, rows_of(y, "y"), intake)
    in_time = len(output_shape) == 3
    own = None
    if sample_weight is not None:
        own = _sample_weights(
            rows_of(sample_weight, "sample_weight"), inputs, in_time, dtype, intake
        )
    weights = own
    if class_weight is not None:
        weights = _class_weights(class_weight, targets, loss, output_shape[-1], dtype)
        if own is not None:
            weights = _product(own, weights)
    _refuse_rows(loss, targets, own, inputs, intake)
    return replace(inputs, targets=targets, weights=weights, sample_weights=own, in_time=in_time)


def _refuse_rows(
    loss: Loss, targets: Rows, weights: Rows | None, inputs: Examples, intake: Intake
) -> None:
    """Raise ValueError if a row of targets that counts is one that `loss` cannot have."""
    values = targets.values if isinstance(targets, Ragged) else targets
    wrong = loss.wrong_rows(values)
    if wrong is None:
        return
    if isinstance(targets, Ragged):
        if isinstance(weights, Ragged):
            wrong &= weights.values != 0
        elif weights is not None:
            steps = targets.shape[1]
            spread = np.broadcast_to(
                weights[:, :steps] if weights.ndim == 2 else weights[:, None], (len(targets), steps)
            )
            wrong &= spread[np.arange(steps) < targets.lengths[:, None]] != 0
        where = targets.where
        if inputs.there is not None:  # the rows are those of an array, without its gaps
            steps_there = np.argwhere(inputs.there)

            def where(index: tuple[int, ...]) -> str:
                return written(tuple(map(int, steps_there[index[0]])))

        loss.refuse_rows(values, wrong, "y", where)
        return
    valid = _valid_steps(values, inputs) if wrong.ndim == 2 else None
    if valid is not None:
        wrong &= valid
    if isinstance(weights, Ragged):
        weights = weights.padded(wrong.shape[1])
    if weights is not None and weights.ndim < wrong.ndim:
        weights = weights[:, None]
    if weights is not None:
        wrong &= weights[:, : wrong.shape[1]] != 0 if wrong.ndim == 2 else weights != 0
    loss.refuse_rows(values, wrong, "y", intake.where)


def _add_sequences(
    inputs: Examples,
    loss: SequenceLoss,
    output_shape: Shape,
    dtype: "np.dtype[Any]",
    y: Any,
    sample_weight: Any,
    class_weight: Mapping[int, float] | None,
    intake: Intake,
) -> Examples:
    """Add targets that are sequences of lengths of their own, and weights of whole sequences."""
    if class_weight is not None:
        raise ValueError(
            f"class_weight: expected None for {type(loss).__name__}, whose targets are not one "
            "class; use sample_weight"
        )
    loss.target_shape(output_shape)
    units = output_shape[-1]
    assert units is not None
    targets = loss.label_rows(rows_of(y, "y"), units)
    _same_count(len(targets), inputs, "y")
    weights = None
    if sample_weight is not None:
        sample_weight = rows_of(sample_weight, "sample_weight")
        weights = _sample_weights(sample_weight, inputs, False, dtype, intake)
    return replace(inputs, targets=targets, weights=weights, sample_weights=weights)


def add_reset(inputs: Examples, reset: Any) -> Examples:
    """Add checked places where new sequences begin.

    Parameters
    ----------
    inputs : Examples
    reset : array_like of bool, shape (N, T), or list of array_like of bool, each of shape (T_i,)
        None: nowhere.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    if reset is None:
        return inputs
    if len(inputs.inputs.shape) < 2:
        raise ValueError("reset: expected None for inputs without a time axis")
    reset = rows_of(reset, "reset")
    if inputs.there is not None:
        given = _checks.flags_array(reset, "reset")
        if given.ndim != 2:
            raise ValueError(f"reset: expected shape (N, T), got {given.shape}")
        return replace(inputs, reset=compact_resets(given, inputs.there))
    if _is_ragged(reset, 1):
        rows = Ragged.from_flags(reset, "reset")
        _same_count(len(rows), inputs, "reset")
        _same_lengths(rows.lengths, inputs, "reset")
        flags: Rows = rows
        if not isinstance(inputs.inputs, Ragged):
            flags = rows.padded(inputs.inputs.shape[1])
        return replace(inputs, reset=flags)
    array = _checks.flags_array(reset, "reset")
    if array.ndim != 2:
        raise ValueError(f"reset: expected shape (N, T), got {array.shape}")
    _same_count(len(array), inputs, "reset")
    _enough_steps(array, inputs, "reset")
    return replace(inputs, reset=array)


def split(examples: Examples, share: float) -> tuple[Examples, Examples]:
    """Take the last `share` of the samples off, for validation, where classes weigh alike."""
    share = _checks.real(share, "validation_split", 0.0, 1.0, high_open=True)
    at = int(len(examples) * (1.0 - share))
    if at == 0 or at == len(examples):
        raise ValueError(
            f"validation_split: {share} of {len(examples)} samples leaves one part without any"
        )
    held_out = examples.part(slice(at, len(examples)))
    return examples.part(slice(0, at)), held_out.without_class_weight()


def _targets(
    inputs: Examples,
    loss: Loss,
    output_shape: Shape,
    dtype: "np.dtype[Any]",
    y: Any,
    intake: Intake,
) -> Rows:
    in_time = len(output_shape) == 3
    shape = loss.target_shape(output_shape)
    classes = output_shape[-1]
    kind = "ids" if loss.labels else "floats"

    def checked(values: Array, shape: Shape) -> Array:
        """Check values all of which count."""
        if loss.labels:
            _check_labels(values, classes)
        elif loss.activation == "sigmoid":
            _check_shares(values, loss)
        return loss.targets(values, shape, dtype)

    if in_time and inputs.there is not None:
        given = intake.numbers(y, "y")
        if given.shape[:2] == inputs.there.shape:
            given = _array(typed(given, kind, dtype, "y", intake, inputs.there))
        rows = compact(given, inputs.there, "y")
        rows.values = checked(rows.values, shape[1:])
        return rows
    if in_time and _is_ragged(y, 1 if loss.labels else 2):
        rows = _ragged(
            typed(Ragged.from_rows(y, "y", not loss.labels, intake), kind, dtype, "y", intake)
        )
        rows.values = checked(rows.values, shape[1:])
        _same_count(len(rows), inputs, "y")
        _same_lengths(rows.lengths, inputs, "y")
        if isinstance(inputs.inputs, Ragged):
            return rows
        return rows.padded(inputs.output_steps(inputs.inputs.shape[1]))
    given = intake.numbers(y, "y")
    valid = _valid_steps(given, inputs) if in_time else None
    if loss.labels and given.ndim == len(shape) + 1 and given.shape[-1] == classes != 1:
        raise ValueError(
            f"y: expected shape {_checks.show_shape(shape)} for {type(loss).__name__}, "
            f"got {given.shape}; for targets with an entry for each class use "
            "categorical_crossentropy, or pass y.argmax(axis=-1)"
        )
    array = _array(typed(given, kind, dtype, "y", intake, valid))
    if valid is not None:  # what does not count may be anything
        array = np.where(valid.reshape(valid.shape + (1,) * (array.ndim - 2)), array, 0)
    array = checked(array, shape)
    _same_count(len(array), inputs, "y")
    if in_time:
        _enough_steps(array, inputs, "y")
    return array


def _array(rows: Rows) -> Array:
    assert isinstance(rows, np.ndarray)
    return rows


def _ragged(rows: Rows) -> Ragged:
    assert isinstance(rows, Ragged)
    return rows


def _valid_steps(array: Array, inputs: Examples) -> Array | None:
    """Say which steps (N, T) of an array that has one for each of the outputs count; None: all."""
    lengths = inputs.target_lengths()
    if lengths is None or array.ndim < 2 or len(array) != len(lengths):
        return None
    return np.arange(array.shape[1]) < lengths[:, None]


def _check_labels(labels: Array, classes: int | None) -> None:
    assert classes is not None
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        wrong = labels[(labels < 0) | (labels >= classes)].flat[0]
        raise ValueError(
            f"y: expected labels in 0..{classes - 1} (the model has {classes} outputs), got {wrong}"
            + _how_to_number(labels, classes)
        )


def _check_shares(targets: Array, loss: Loss) -> None:
    if targets.size and (targets.min() < 0 or targets.max() > 1):
        raise ValueError(
            f"y: {type(loss).__name__} expects targets in [0, 1], got {targets.min():g} to "
            f"{targets.max():g}" + _how_to_number(targets, 2)
        )


def _how_to_number(labels: Array, classes: int) -> str:
    """Say how to make the numbers 0, 1, ... of labels that are off in a usual way."""
    low, high = labels.min(), labels.max()
    if low == -1 and (np.abs(labels) == 1).all():
        return "; of -1 and 1 make 0 and 1 by y > 0"
    if not (labels == np.trunc(labels)).all():
        return ""
    if low == 1 and high == classes:
        return f"; labels count from 0, so of 1 to {classes} make 0 to {classes - 1} by y - 1"
    if low >= 0 and high <= 1000:
        return (
            f"; for the labels 0 to {int(high)} end the model with "
            f"Dense({int(high) + 1}, activation='softmax') and use sparse_categorical_crossentropy"
        )
    return ""


def _sample_weights(
    sample_weight: Any, inputs: Examples, in_time: bool, dtype: "np.dtype[Any]", intake: Intake
) -> Rows:
    """Check weights and convert them to the model's float type."""
    if in_time and inputs.there is not None:
        array = intake.numbers(sample_weight, "sample_weight")
        if array.shape == inputs.there.shape:
            array = _weight_values(array, dtype, intake, inputs.there)
        if array.ndim == 2:
            return compact(array, inputs.there, "sample_weight")
    elif in_time and _is_ragged(sample_weight, 1):
        rows = Ragged.from_rows(sample_weight, "sample_weight", False, intake)
        rows.values = _weight_values(rows.values, dtype, intake, where=rows.where)
        _same_count(len(rows), inputs, "sample_weight")
        _same_lengths(rows.lengths, inputs, "sample_weight")
        if isinstance(inputs.inputs, Ragged):
            return rows
        return rows.padded(inputs.output_steps(inputs.inputs.shape[1]))
    array = intake.numbers(sample_weight, "sample_weight")
    valid = _valid_steps(array, inputs) if in_time and array.ndim == 2 else None
    array = _weight_values(array, dtype, intake, valid)
    if array.ndim != 1 and not (in_time and array.ndim == 2):
        expected = "(N,) or (N, T)" if in_time else "(N,)"
        raise ValueError(f"sample_weight: expected shape {expected}, got {array.shape}")
    _same_count(len(array), inputs, "sample_weight")
    if array.ndim == 2:
        _enough_steps(array, inputs, "sample_weight")
    return array


def _weight_values(
    array: Array,
    dtype: "np.dtype[Any]",
    intake: Intake,
    valid: Array | None = None,
    where: Where | None = None,
) -> Array:
    """Convert weights, which must be finite whatever else may be, and 0 where nothing is valid."""
    advice = "0 for what shall not count"
    intake.refuse_infinite(array, "sample_weight", valid, where, advice)
    converted = intake.floats(array, "sample_weight", dtype, valid, where)
    if valid is not None:
        converted = np.where(valid, converted, 0)
    if converted.size and not converted.min() >= 0:
        raise ValueError(
            f"sample_weight: expected finite numbers of at least 0, got {converted.min():g}"
        )
    return converted


def _class_weights(
    class_weight: Mapping[int, float],
    targets: Rows,
    loss: Loss,
    units: int | None,
    dtype: "np.dtype[Any]",
) -> Rows:
    """Look the weight of every target's class up."""
    assert units is not None
    binary = loss.activation == "sigmoid" and units == 1
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            "class_weight: expected a mapping from numbers of classes to weights, such as "
            f"{{0: 1.0, 1: 3.0}}, got {_checks.describe(class_weight)}; "
            + (
                "balanced ones are counts = np.bincount(y); "
                "dict(enumerate(len(y) / (len(counts) * counts)))"
                if isinstance(class_weight, str)
                else "of a list with one for each class make dict(enumerate(weights))"
            )
        )
    if not (loss.labels or binary or loss.activation == "softmax"):
        raise ValueError(f"class_weight: {type(loss).__name__} with {units} outputs has no classes")
    count = 2 if binary else units
    table = np.ones(count, dtype)
    for number, weight in class_weight.items():
        number = _class_number(number)
        if not 0 <= number < count:
            raise ValueError(f"class_weight: expected classes 0..{count - 1}, got {number}")
        table[number] = _checks.real(weight, f"class_weight[{number}]", 0.0)
    values = targets.values if isinstance(targets, Ragged) else targets
    if binary:
        values = (values[..., 0] > 0.5).astype(np.int64)
    elif not loss.labels:
        values = values.argmax(axis=-1)
    # Labels past a row's length may be anything; they do not count.
    factors: Array = table[np.clip(values, 0, count - 1)]
    if isinstance(targets, Ragged):
        return Ragged(factors, targets.lengths, targets.starts)
    return factors


def _class_number(key: Any) -> int:
    """Return the number of a class; labels may be bools or whole floats, and so may these."""
    if isinstance(key, (bool, np.bool_)) or (
        isinstance(key, (float, np.floating)) and float(key).is_integer()
    ):
        return int(key)
    return _checks.integer(key, "class_weight")


def _product(weights: Rows, factors: Rows) -> Rows:
    if isinstance(weights, Ragged) and isinstance(factors, Ragged):
        return Ragged(weights.values * factors.values, weights.lengths)
    if isinstance(factors, Ragged):
        factors = factors.padded()
    if isinstance(weights, Ragged):
        weights = weights.padded(factors.shape[1])
    if weights.ndim < factors.ndim:
        weights = weights[:, None]
    elif weights.ndim == 2:
        weights, factors = weights[:, : factors.shape[1]], factors[:, : weights.shape[1]]
    return np.asarray(weights * factors)


def _is_ragged(values: Any, rank: int) -> bool:
    """Tell a list of arrays of `rank` from an array or a plain nested list of numbers."""
    return (
        isinstance(values, (list, tuple))
        and len(values) > 0
        and all(np.ndim(row) == rank for row in values)
    )


def _same_count(count: int, inputs: Examples, name: str) -> None:
    if count != len(inputs):
        raise ValueError(f"{name}: expected {len(inputs)} entries like x, got {count}")


def _same_lengths(lengths: Array, inputs: Examples, name: str) -> None:
    expected = inputs.target_lengths()
    if expected is None:
        expected = np.full(len(inputs), inputs.output_steps(inputs.inputs.shape[1]))
    wrong = np.flatnonzero(lengths != expected)
    if wrong.size:
        row = wrong[0]
        raise ValueError(
            f"{name}: expected {expected[row]} entries in row {row} like {_what(inputs)}, "
            f"got {lengths[row]}"
        )


def _enough_steps(array: Array, inputs: Examples, name: str) -> None:
    steps = inputs.output_steps(inputs.inputs.shape[1])
    ragged = isinstance(inputs.inputs, Ragged)
    if array.shape[1] < steps or (not ragged and array.shape[1] != steps):
        raise ValueError(
            f"{name}: expected {steps} time steps like {_what(inputs)}, got {array.shape[1]}"
        )


def _what(inputs: Examples) -> str:
    """Say what targets must be as long as."""
    steps = inputs.inputs.shape[1]
    return "x" if inputs.output_steps(steps) == steps else "the model's outputs"
