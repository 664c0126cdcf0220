"""What the classifier and the regressor have in common: tags, panels, parameters of checks."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lstmcore._typing import Array

__all__ = ["COMMON", "TAGS", "WITHOUT", "OfPanels"]

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


def _sequences(panel: Sequence[Any], columns: Sequence[Any]) -> list[Array]:
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


class OfPanels:
    """Base of the classifier and the regressor, beside sktime's own: fits what it contains."""

    _contained: ClassVar[Any]
    """The class of `lstmcore.sklearn` that is contained."""

    if TYPE_CHECKING:
        get_params: Callable[..., dict[str, Any]]  # of sktime's base

    def _fit(self, X: Any, y: Array) -> Any:
        self.columns_ = list(X[0].columns)
        estimator = self._contained(**self.get_params(deep=False))
        self.estimator_: Any = estimator.fit(self._inputs(X), y)
        return self

    def _predict(self, X: Any) -> Array:
        predictions: Array = self.estimator_.predict(self._inputs(X))
        return predictions

    def _inputs(self, X: Any) -> list[Array]:
        return _sequences(X, self.columns_)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return hyper-parameters for sktime's checks."""
        return [dict(options) for options in QUICK]
