"""What both estimators have in common: tags, collections, and the parameters of aeon's checks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lstmcore._typing import Array

__all__ = ["QUICK", "TAGS", "WITHOUT", "OfCollections", "steps_first"]

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


class OfCollections:
    """Base of the classifier and the regressor, beside aeon's own: fits what it contains."""

    _contained: ClassVar[Any]
    """The class of `lstmcore.sklearn` that is contained."""

    if TYPE_CHECKING:
        get_params: Callable[..., dict[str, Any]]  # of aeon's base

    def _fit(self, X: Any, y: Array) -> Any:
        estimator = self._contained(**self.get_params(deep=False))
        self.estimator_: Any = estimator.fit(steps_first(X), y)
        return self

    def _predict(self, X: Any) -> Array:
        predictions: Array = self.estimator_.predict(steps_first(X))
        return predictions

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return dict(QUICK)
