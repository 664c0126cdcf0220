"""What both estimators have in common: tags, collections, and the parameters of aeon's checks."""

from typing import Any

import numpy as np

__all__ = ["QUICK", "TAGS", "WITHOUT", "steps_first"]

TAGS: dict[str, Any] = {
    "X_inner_type": ["np-list", "numpy3D"],
    "algorithm_type": "deeplearning",
    "capability:multivariate": True,
    "capability:unequal_length": True,
}
WITHOUT = ("warm_start",)
"""Hyper-parameters without a meaning in aeon, where `fit` begins with a reset."""

QUICK: dict[str, Any] = {"hidden_size": 4, "max_updates": 5, "random_state": 0}
"""Hyper-parameters with which aeon's checks, which do not ask for accuracy, take seconds."""


def steps_first(collection: Any) -> Any:
    """Return series (C, T), in one array (N, C, T) or in a list, as sequences (T, C)."""
    if isinstance(collection, np.ndarray):
        return collection.transpose(0, 2, 1)
    return [series.transpose() for series in collection]
