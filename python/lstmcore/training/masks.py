"""Masked steps: removed before anything is computed, and put back into the outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.training.data import Ragged, Rows

__all__ = ["check_mask", "compact", "compact_resets", "spread"]


def check_mask(mask: Any, inputs: Rows, kind: str) -> Array:
    """Return `mask` as an array of bool (N, T): which steps of `inputs` are valid.

    Parameters
    ----------
    mask : array_like of bool, shape (N, T)
    inputs : ndarray, shape (N, T) or (N, T, C)
    kind : {"ids", "floats"}
        Of inputs.

    Raises
    ------
    TypeError
        If it is not of bool.
    ValueError
        If the shape is wrong, or `inputs` have no time axis or are ragged already.
    """
    if isinstance(inputs, Ragged):
        raise ValueError(
            "mask: expected None for x that is a list of rows, whose lengths say which steps there "
            "are; expected x to be one array with a time axis"
        )
    rank, letters = (2, "(N, T)") if kind == "ids" else (3, "(N, T, C)")
    if inputs.ndim != rank:
        raise ValueError(f"mask: expected x of shape {letters} with it, got {inputs.shape}")
    there = _checks.flags_array(mask, "mask")
    if there.shape != inputs.shape[:2]:
        raise ValueError(
            f"mask: expected shape (N, T) = {inputs.shape[:2]} like x, got {there.shape}"
        )
    return np.array(there, dtype=np.bool_)


def compact(values: Array, there: Array, name: str) -> Ragged:
    """Make rows of the valid steps.

    Raises
    ------
    ValueError
        If `values` are not of shape (N, T, ...) like the mask.
    """
    if values.shape[:2] != there.shape:
        raise ValueError(
            f"{name}: expected {len(there)} rows of {there.shape[1]} steps like x and mask, "
            f"got shape {values.shape}"
        )
    return Ragged(values[there], there.sum(axis=1, dtype=np.int64))


def compact_resets(reset: Array, there: Array) -> Ragged:
    """Make rows of resets; one at a masked step acts on the next valid step."""
    seen = compact(np.cumsum(reset, axis=1, dtype=np.int64), there, "reset")
    before = np.zeros_like(seen.values)
    before[1:] = seen.values[:-1]
    before[seen.starts[seen.lengths > 0]] = 0
    return Ragged(seen.values > before, seen.lengths)


def spread(rows: Sequence[Array], there: Array) -> Array:
    """Put the outputs (T_i, ...) of each row where its steps are, zeros elsewhere."""
    outputs = np.zeros((*there.shape, *rows[0].shape[1:]), rows[0].dtype)
    outputs[there] = np.concatenate(rows)
    return outputs
