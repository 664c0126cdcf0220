"""Shapes of inputs, and what an error advises about those that do not fit."""

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, Shape

__all__ = [
    "ANY_AXES",
    "WrongRank",
    "check_shape",
    "missing_axes",
    "row_ends",
    "shape_to_build",
    "single_sample",
]

ANY_AXES = 64
"""An axis beyond all that arrays have: see `Layer._known_from`."""


class WrongRank(ValueError):
    """Inputs have another number of axes than the layer takes."""


ONE_VALUE_A_STEP = (
    "for N sequences of one value at each step pass x[..., None] (for a table "
    "x.to_numpy()[..., None])"
)


def single_sample(name: str = "x") -> str:
    """Return what errors say of a sample without the axis of samples."""
    return f"for a single sample pass {name}[None]"


def missing_axes(rank: int) -> str:
    """Return the end of an error: how to reshape inputs with `rank` axes, if these are too few."""
    return {
        1: "; for a single sequence of one value at each step pass x[None, :, None]",
        2: f"; {ONE_VALUE_A_STEP}, {single_sample()}",
    }.get(rank, "")


def shape_to_build(shape: tuple[int, ...], known_from: int, ids: bool) -> Shape:
    """Return the shape to build a layer or a model for, given that of its first inputs.

    Parameters
    ----------
    shape : tuple of int
    known_from : int
        The first axis whose size is fixed, and not left open; see `Layer._known_from`.
    ids : bool
        Whether the inputs are token ids, which have no axis of features.
    """
    fixed = (size if axis >= max(known_from, 1) else None for axis, size in enumerate(shape))
    return tuple(fixed) if ids else (*tuple(fixed)[:-1], shape[-1])


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        size is None or size == came for size, came in zip(expected, shape, strict=True)
    )


def check_shape(shape: tuple[int, ...], expected: Shape, name: str = "x") -> None:
    """Raise ValueError unless inputs of `shape` are what a layer was built for.

    `name` is what the caller of a model writes for these inputs.
    """
    if not _fits(shape, expected):
        advice = ""
        if len(shape) == len(expected) - 1:
            if len(expected) == 3 and expected[-1] == 1 != shape[-1]:
                advice = f"; {ONE_VALUE_A_STEP}"
            elif _fits(shape, expected[1:]):
                advice = f"; {single_sample(name)}"
        raise ValueError(
            f"inputs: expected shape {_checks.show_shape(expected)}, got {shape}{advice}"
        )


def row_ends(valid: Array) -> tuple[Array, int | None]:
    """Return where the padding of each row begins, if it is at the end of the row.

    Parameters
    ----------
    valid : ndarray of bool, shape (N, T)

    Returns
    -------
    lengths : ndarray of int64, shape (N,)
    wrong : int or None
        The first row in which a valid step follows another kind; None: there is none.
    """
    lengths: Array = valid.sum(axis=1, dtype=np.int64)
    wrong = (valid != (np.arange(valid.shape[1]) < lengths[:, None])).any(axis=1)
    return lengths, int(wrong.argmax()) if wrong.any() else None
