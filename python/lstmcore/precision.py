"""How exactly an LSTM's products are computed, where nothing else is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Precision, choices

__all__ = ["get_precision", "set_precision", "checked", "in_force"]

_NAMES = choices(Precision)

_default: Precision = "fp32"


def checked(precision: Precision | None, name: str = "precision") -> Precision | None:
    """Return `precision` if it is None or the name of one."""
    if precision is not None:
        _checks.choice(precision, name, _NAMES)
    return precision


def in_force(precision: Precision | None, dtype: Any) -> Precision:
    """Return what weights of `dtype` are packed for: what is asked for, or their default.

    Raises
    ------
    ValueError
        If float64 is to be computed in another precision than its own.
    """
    if precision is None:
        return _default if dtype == np.float32 else "fp32"
    if dtype == np.float64 and precision not in ("fp32", "auto"):
        raise ValueError(
            f'precision: expected "fp32" or "auto" for float64, whose products are computed as '
            f"such, got {precision!r}"
        )
    return precision


def get_precision() -> Precision:
    """Return the precision of float32 weights that are packed without one; see `set_precision`."""
    return _default


def set_precision(precision: Precision) -> None:
    """Set the precision of float32 weights that are packed without one, for the whole process.

    Weights that are packed already keep theirs. float64 always is computed as such.

    Parameters
    ----------
    precision : str
        ``"fp32"``: multiply-adds of float32, the default. ``"bf16x3"``: on a matrix unit, factors
        split into three bfloat16 pieces, as accurate as float32. ``"bf16x2"``: two pieces, errors
        of about 1e-6. ``"bf16"``: one piece, on a matrix unit or AVX-512's dot products, errors of
        about 4e-3 of each factor. ``"int8"``: inference with weights and activations of 8 bits.
        ``"auto"``: the fastest that is as accurate as float32 on this machine. Where the machine
        has no unit for a precision that is faster than float32's multiply-adds, these are used
        instead: `cpu_info` says what computes each.

    Raises
    ------
    ValueError
        If `precision` is no such name.
    """
    global _default
    _checks.choice(precision, "precision", _NAMES)
    _default = precision
