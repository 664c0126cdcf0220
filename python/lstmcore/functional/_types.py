"""Types that the functions take and return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from lstmcore import _checks, _core
from lstmcore._arrays import refuse_masked
from lstmcore._configurable import named_fields

FloatArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Lengths: TypeAlias = npt.NDArray[np.integer[Any]] | Sequence[int]
Reset: TypeAlias = npt.NDArray[np.bool_] | Sequence[Sequence[bool]]
StatePair: TypeAlias = tuple[FloatArray | None, FloatArray | None]

LSTMTape = _core.LstmTape
"""What a training forward records for its one backward: copies of all it needs, and its weights."""

LSTMTangentTape = _core.LstmTangentTape
"""The same for a forward with tangents."""


class LSTMState(NamedTuple):
    """State of every layer and direction, entry layer * D + direction.

    Attributes
    ----------
    h : ndarray, shape (layers * D, N, H), with a projection (layers * D, N, P)
        Hidden state.
    c : ndarray, shape (layers * D, N, H)
        Cell state.
    """

    h: FloatArray
    c: FloatArray

    def __repr__(self) -> str:
        return named_fields(self)


class LSTMGradients(NamedTuple):
    """Gradients with respect to the inputs of a forward.

    Attributes
    ----------
    x : ndarray, shape (N, T, C), or None
        With respect to the input; zero past a row's length. None if not requested.
    state : LSTMState or None
        With respect to the initial state. None if not requested.
    weights : dict of str to ndarray
        With respect to the weights, with their names and shapes. Empty if not requested.
    """

    x: FloatArray | None
    state: LSTMState | None
    weights: dict[str, FloatArray]

    def __repr__(self) -> str:
        return named_fields(self)


def as_pair(name: str, state: Any) -> StatePair:
    """Return h and c of a state; `name` is its name in errors."""
    try:
        h, c = state
    except (TypeError, ValueError) as error:
        came = type(state).__name__
        if isinstance(error, ValueError):
            came += f" of {len(state)}"
        raise type(error)(f"{name}: expected a pair (h, c) of arrays, got {came}") from None
    refuse_masked(h, f"{name} h")
    refuse_masked(c, f"{name} c")
    return h, c


def flags_array(value: Any, name: str) -> npt.NDArray[np.bool_]:
    """Convert to an array of flags; an empty list has no type of its own and becomes one too."""
    flags = _checks.any_array(value, name)
    return flags.astype(np.bool_) if flags.size == 0 else flags
