"""The default precision of an LSTM's products."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcore import _checks, _core
from lstmcore._typing import Precision, choices

__all__ = ["get_precision", "set_precision", "checked", "in_force"]

_NAMES = choices(Precision)


def checked(precision: Precision | None, name: str = "precision") -> Precision | None:
    """Return `precision`, which must be None or a known name."""
    if precision is not None:
        _checks.choice(precision, name, _NAMES)
    return precision


def in_force(precision: Precision | None, dtype: Any) -> Precision:
    """Return the precision that weights of `dtype` are packed for: `precision` or the default.

    Raises
    ------
    ValueError
        If float64 is to be computed in a precision other than its own.
    """
    if precision is None:
        return get_precision() if dtype == np.float32 else "fp32"
    if dtype == np.float64 and precision not in ("fp32", "auto"):
        raise ValueError(
            f'precision: expected "fp32" or "auto" for float64, whose products are always '
            f"float64, got {precision!r}"
        )
    return precision


def get_precision() -> Precision:
    """Return the default precision of float32 weights; see `set_precision`."""
    precision: Precision = _core.get_precision()
    return precision


def set_precision(precision: Precision) -> None:
    """Set the default precision of float32 weights, for the whole process.

    It applies to weights that are packed from now on without a precision of their own. float64 is
    always computed as float64.

    Parameters
    ----------
    precision : str
        ``"fp32"``: float32 multiply-adds, the default. ``"bf16x3"``: on a matrix unit, factors are
        split into three bfloat16 terms, as accurate as float32. ``"bf16x2"``: two terms, errors of
        about 1e-6. ``"bf16"``: one term, on a matrix unit or by AVX-512's dot products, errors of
        about 4e-3 of each factor. ``"int8"``: inference with weights and activations of 8 bits.
        ``"auto"``: the fastest on this machine that is as accurate as float32. If the machine has
        no unit for a precision that is faster than float32 multiply-adds, these are used instead;
        `cpu_info` says which unit computes each precision.

    Raises
    ------
    ValueError
        If `precision` is not one of these.
    """
    _checks.choice(precision, "precision", _NAMES)
    _core.set_precision(precision)
