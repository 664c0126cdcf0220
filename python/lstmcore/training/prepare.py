"""From the caller's arrays to checked `Examples`: errors come before anything is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake, Where
from lstmcore._typing import Array, Shape
from lstmcore.training.alignment import (
    enough_steps,
    is_ragged,
    same_count,
    same_lengths,
    valid_steps,
)
from lstmcore.training.data import Examples, Ragged, Rows, rows_of
from lstmcore.training.losses import Loss, SequenceLoss
from lstmcore.training.masks import compact, compact_resets
from lstmcore.training.metrics.base import Metric
from lstmcore.training.targets import read_targets, refuse_rows

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
    metrics: Sequence[Metric] = (),
) -> Examples:
    """Add checked targets and weights to inputs.

    Parameters
    ----------
    inputs : Examples
        Without targets.
    loss : Loss
        Determines the kind of targets.
    output_shape : tuple of int or None
        Of the model: (None, U) or (None, None, U).
    dtype : dtype
        Of the model.
    y : array_like
        (N,) or (N, T) class numbers, or (N, U) or (N, T, U) values; entries per time step may
        also be a list of rows.
    sample_weight : array_like, shape (N,) or (N, T), optional
    class_weight : mapping of int to float, optional
        Weight of the samples of each class; 1 for the others.
    intake : Intake, optional
        None: with its default options.
    metrics : sequence of Metric
        The metrics that will compare the outputs with the targets.

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
    in_time = len(output_shape) == 3
    if loss.sees_sequences and class_weight is not None:
        raise ValueError(
            f"class_weight: expected None for {type(loss).__name__}, which judges the tags of a "
            "sequence together; use sample_weight"
        )
    own = None
    if sample_weight is not None:
        own = _sample_weights(
            rows_of(sample_weight, "sample_weight"),
            inputs,
            in_time and not loss.sees_sequences,
            dtype,
            intake,
        )
    # A target with weight 0 may have any value.
    targets, known = read_targets(inputs, loss, output_shape, dtype, rows_of(y, "y"), own, intake)
    weights = own
    if class_weight is not None:
        weights = _class_weights(class_weight, targets, loss, output_shape[-1], dtype)
        if own is not None:
            weights = _product(own, weights)
    examples = replace(
        inputs,
        targets=targets,
        weights=weights,
        known=known,
        sample_weights=own,
        in_time=in_time,
    )
    refuse_rows(loss, metrics, examples, intake)
    return examples


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
    """Add targets that are sequences with their own lengths, and weights of whole sequences."""
    if class_weight is not None:
        raise ValueError(
            f"class_weight: expected None for {type(loss).__name__}, whose targets are not one "
            "class; use sample_weight"
        )
    loss.target_shape(output_shape)
    units = output_shape[-1]
    assert units is not None
    targets = loss.label_rows(rows_of(y, "y"), units)
    same_count(len(targets), inputs, "y")
    weights = None
    if sample_weight is not None:
        sample_weight = rows_of(sample_weight, "sample_weight")
        weights = _sample_weights(sample_weight, inputs, False, dtype, intake)
    lengths = inputs.target_lengths()
    if lengths is None:
        lengths = np.full(len(inputs), inputs.output_steps(inputs.inputs.shape[1]), np.int64)
    loss.refuse_pairs(targets, lengths, cast("Array | None", weights), "y")
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
    if is_ragged(reset, 1):
        rows = Ragged.from_flags(reset, "reset")
        same_count(len(rows), inputs, "reset")
        same_lengths(rows.lengths, inputs, "reset")
        flags: Rows = rows
        if not isinstance(inputs.inputs, Ragged):
            flags = rows.padded(inputs.inputs.shape[1])
        return replace(inputs, reset=flags)
    array = _checks.flags_array(reset, "reset")
    if array.ndim != 2:
        raise ValueError(f"reset: expected shape (N, T), got {array.shape}")
    same_count(len(array), inputs, "reset")
    enough_steps(array, inputs, "reset")
    return replace(inputs, reset=array)


def split(examples: Examples, share: float) -> tuple[Examples, Examples]:
    """Split off the last `share` of the samples for validation, without class weights."""
    share = _checks.real(share, "validation_split", 0.0, 1.0, high_open=True)
    at = int(len(examples) * (1.0 - share))
    if at == 0 or at == len(examples):
        raise ValueError(
            f"validation_split: {share} of {len(examples)} samples leaves one part without any"
        )
    held_out = examples.part(slice(at, len(examples)))
    return examples.part(slice(0, at)), held_out.without_class_weight()


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
    elif in_time and is_ragged(sample_weight, 1):
        rows = Ragged.from_rows(sample_weight, "sample_weight", False, intake)
        rows.values = _weight_values(rows.values, dtype, intake, where=rows.where)
        same_count(len(rows), inputs, "sample_weight")
        same_lengths(rows.lengths, inputs, "sample_weight")
        if isinstance(inputs.inputs, Ragged):
            return rows
        return rows.padded(inputs.output_steps(inputs.inputs.shape[1]))
    array = intake.numbers(sample_weight, "sample_weight")
    valid = valid_steps(array, inputs) if in_time and array.ndim == 2 else None
    array = _weight_values(array, dtype, intake, valid)
    if array.ndim != 1 and not (in_time and array.ndim == 2):
        expected = "(N,) or (N, T)" if in_time else "(N,)"
        raise ValueError(f"sample_weight: expected shape {expected}, got {array.shape}")
    same_count(len(array), inputs, "sample_weight")
    if array.ndim == 2:
        enough_steps(array, inputs, "sample_weight")
    return array


def _weight_values(
    array: Array,
    dtype: "np.dtype[Any]",
    intake: Intake,
    valid: Array | None = None,
    where: Where | None = None,
) -> Array:
    """Convert weights: finite even if other arrays need not be, and 0 at invalid steps."""
    advice = "0 for entries that must not count"
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
    """Look up the weight of every target's class."""
    assert units is not None
    binary = loss.activation == "sigmoid" and units == 1
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            "class_weight: expected a mapping from class numbers to weights, such as "
            f"{{0: 1.0, 1: 3.0}}, got {_checks.describe(class_weight)}; "
            + (
                "balanced ones are counts = np.bincount(y); "
                "dict(enumerate(len(y) / (len(counts) * counts)))"
                if isinstance(class_weight, str)
                else "if they are a list with one for each class, pass dict(enumerate(weights))"
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
