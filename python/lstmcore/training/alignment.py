"""Whether targets, weights and resets go with the inputs: as many rows, and as many steps."""

from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.training.data import Examples, Ragged

__all__ = ["enough_steps", "is_ragged", "same_count", "same_lengths", "valid_steps"]


def valid_steps(array: Array, inputs: Examples) -> Array | None:
    """Return which steps (N, T) count, in an array with a step for each output; None: all."""
    lengths = inputs.target_lengths()
    if lengths is None or array.ndim < 2 or len(array) != len(lengths):
        return None
    return np.arange(array.shape[1]) < lengths[:, None]


def is_ragged(values: Any, rank: int) -> bool:
    """Return whether `values` is a list of arrays of `rank`, not an array or a nested list."""
    return (
        isinstance(values, (list, tuple))
        and len(values) > 0
        and all(np.ndim(row) == rank for row in values)
    )


def same_count(count: int, inputs: Examples, name: str) -> None:
    """Raise ValueError, naming the rows `name`, unless their number is that of the samples."""
    if count != len(inputs):
        raise ValueError(f"{name}: expected {len(inputs)} entries like x, got {count}")


def same_lengths(lengths: Array, inputs: Examples, name: str) -> None:
    """Raise ValueError unless rows are as long as those of the model's outputs."""
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


def enough_steps(array: Array, inputs: Examples, name: str) -> None:
    """Raise ValueError unless an array has a step for each of the model's outputs."""
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
