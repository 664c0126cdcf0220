"""The error function, by rational approximations, in blocks that fit into a cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lstmcore._typing import Array

__all__ = ["erf"]

BLOCK = 16384

# For float32: x P(x^2) / Q(x^2) up to where the function rounds to 1, fitted by weighted least
# squares; the largest relative error is 2e-8, a third of half a unit in the last place.
END = np.float32(3.92)
SINGLE_P = (
    1.1283791462106942,
    0.19040536343951509,
    0.052748583770682665,
    0.003765570670839308,
    0.0002848818575177795,
    2.0500984791746478e-06,
)
SINGLE_Q = (
    1.0,
    0.5020751012680439,
    0.11410866113120229,
    0.014969124888441907,
    0.0011625245440355975,
    3.809178465202513e-05,
)

# For float64, beyond a series for small numbers: W. J. Cody, Rational Chebyshev approximations for
# the error function, Mathematics of Computation 23 (1969), 631-637. Powers ascend.
SMALL = 0.85
"""Up to here the Maclaurin series is used, 2 x / sqrt(pi) (1 - z / 3 + ...) with z = x^2."""

SERIES = (
    0.1283791670955126,  # 2 / sqrt(pi) - 1: adding x itself last rounds least
    *(2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(1, 17)),
)
MIDDLE_P = (
    1.23033935479799725e03,
    2.05107837782607147e03,
    1.71204761263407058e03,
    8.81952221241769090e02,
    2.98635138197400131e02,
    6.61191906371416295e01,
    8.88314979438837594e00,
    5.64188496988670089e-1,
    2.15311535474403846e-8,
)
MIDDLE_Q = (
    1.23033935480374942e03,
    3.43936767414372164e03,
    4.36261909014324716e03,
    3.29079923573345963e03,
    1.62138957456669019e03,
    5.37181101862009858e02,
    1.17693950891312499e02,
    1.57449261107098347e01,
    1.0,
)
FAR_P = (
    6.58749161529837803e-4,
    1.60837851487422766e-2,
    1.25781726111229246e-1,
    3.60344899949804439e-1,
    3.05326634961232344e-1,
    1.63153871373020978e-2,
)
FAR_Q = (
    2.33520497626869185e-3,
    6.05183413124413191e-2,
    5.27905102951428412e-1,
    1.87295284992346725e00,
    2.56852019228982242e00,
    1.0,
)


def erf(x: Array) -> Any:
    """Compute the error function of every element, in the type of x.

    The error is at most two units in the last place in float64 and one in float32.
    """
    values = np.asarray(x)
    kind: Any = {"float32": np.float32, "float16": np.float32}.get(values.dtype.name, np.float64)
    flat = np.ascontiguousarray(values, kind).reshape(-1)
    result = np.empty_like(flat)
    compute = _single if kind is np.float32 else _double
    for start in range(0, flat.size, BLOCK):
        part = slice(start, start + BLOCK)
        compute(flat[part], result[part])
    return result.reshape(values.shape).astype(values.dtype, copy=False)


def _polynomial(coefficients: tuple[float, ...], z: Array) -> Array:
    """Evaluate a polynomial by Horner's rule, in the type of z."""
    total: Array = z * z.dtype.type(coefficients[-1])
    for coefficient in coefficients[-2:0:-1]:
        total += z.dtype.type(coefficient)
        total *= z
    total += z.dtype.type(coefficients[0])
    return total


def _single(x: Array, result: Array) -> None:
    y = np.clip(x, -END, END).astype(np.float64)  # whose rounding errors are negligible
    z = y * y
    y *= _polynomial(SINGLE_P, z)
    y /= _polynomial(SINGLE_Q, z)
    np.clip(y, -1, 1, out=result, casting="same_kind")


def _double(x: Array, result: Array) -> None:
    size = np.abs(x)
    small, far = size <= SMALL, size > 4
    if small.any():
        near = x[small]
        result[small] = near + near * _polynomial(SERIES, near * near)
    middle = ~(small | far)  # and NaN
    if middle.any():
        y = size[middle]
        rest = _polynomial(MIDDLE_P, y) / _polynomial(MIDDLE_Q, y)
        result[middle] = np.copysign(1 - rest * _bell(y), x[middle])
    if far.any():
        y = np.minimum(size[far], 7)  # the function has reached 1 long before
        z = 1 / (y * y)
        rest = z * _polynomial(FAR_P, z) / _polynomial(FAR_Q, z)
        rest = (1 / math.sqrt(math.pi) - rest) / y
        result[far] = np.copysign(1 - rest * _bell(y), x[far])


def _bell(y: Array) -> Any:
    """Return exp(-y^2), with y^2 in two parts, the first of which is exact."""
    first = np.trunc(y * 16) / 16
    return np.exp(-first * first) * np.exp(-(y - first) * (y + first))
