"""What the classifier and the regressor have in common: tags, panels, parameters of checks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore._typing import Array

__all__ = ["COMMON", "QUICK", "TAGS", "WITHOUT", "sequences"]

COMMON: dict[str, Any] = {
    "authors": "lstmcore",
    "maintainers": "lstmcore",
    "capability:random_state": True,
    "property:randomness": "derandomized",  # by random_state
}
"""Tags of all three estimators."""

TAGS: dict[str, Any] = {
    **COMMON,
    "X_inner_mtype": "df-list",  # the only one for which every panel of unequal length converts
    "capability:multivariate": True,
    "capability:unequal_length": True,
}
WITHOUT = ("warm_start",)
"""Hyper-parameters without a meaning in sktime, where `fit` begins with a reset."""

QUICK: list[dict[str, Any]] = [
    {"hidden_size": 4, "max_updates": 5, "random_state": 0},
    {"hidden_size": 3, "max_updates": 5, "random_state": 0, "pooling": "last", "scale": "series"},
]
"""Hyper-parameters with which sktime's checks, which do not ask for accuracy, take seconds."""


def sequences(panel: Sequence[Any], columns: Sequence[Any]) -> list[Array]:
    """Return the frames of a panel as arrays (T_i, C), with the columns in the order of `fit`.

    Containers without names of columns have some made up by sktime, so frames with others than
    those are taken as they are.
    """
    names = list(columns)
    found = []
    for frame in panel:
        given = list(frame.columns)
        if given != names and len(given) == len(names) and set(given) == set(names):
            frame = frame[names]
        found.append(np.asarray(frame.to_numpy()))
    return found
