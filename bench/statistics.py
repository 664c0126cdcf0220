"""Medians, spread and means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of `values` lie, interpolated between neighbours.

    Raises
    ------
    ValueError
        If there are no values.
    """
    if not values:
        raise ValueError("values: expected at least one, got none")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return quantile(values, 0.5)


def geometric_mean(values: Iterable[float]) -> float:
    """Return the n-th root of the product.

    Raises
    ------
    ValueError
        If there are no values, or one is not positive.
    """
    logarithms = []
    for value in values:
        if value <= 0:
            raise ValueError(f"values: expected positive numbers, got {value}")
        logarithms.append(math.log(value))
    if not logarithms:
        raise ValueError("values: expected at least one, got none")
    return math.exp(sum(logarithms) / len(logarithms))
