"""Constraints on weights, enforced after every optimizer step."""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import Configurable
from lstmcore._suggest import public
from lstmcore._typing import Array, ConstraintName, choices

__all__ = ["MaxNorm"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)


class MaxNorm(Configurable):
    """Scales the weights that lead to a unit down to a norm of at most `max_value`.

    This is the max-norm constraint of Srivastava et al. 2014, in Keras ``MaxNorm(max_value,
    axis=0)`` on kernels. A bias is scaled as a whole.

    Parameters
    ----------
    max_value : float, default 2.0
        Greater than 0.
    """

    def __init__(self, max_value: float = 2.0) -> None:
        self.max_value = _checks.real(max_value, "max_value", 0.0, low_open=True)

    def restore(self, weight: Array, inputs: int | tuple[int, ...]) -> None:
        """Scale `weight` in place; `inputs` are its input axes.

        Raises
        ------
        TypeError
            If it is not an array of floats, which could not be changed in place.
        """
        if not (isinstance(weight, np.ndarray) and weight.dtype.kind == "f"):
            raise TypeError(
                "weight: expected an array of floats, which is changed in place, got "
                f"{_checks.describe(weight)}"
            )
        norm = np.sqrt(np.square(weight).sum(axis=inputs, keepdims=True))
        np.multiply(weight, self.max_value / np.maximum(norm, self.max_value), out=weight)


ConstraintLike: TypeAlias = MaxNorm | ConstraintName | None
"""Values that a layer accepts as a constraint on weights."""


def get(value: ConstraintLike, name: str) -> MaxNorm | None:
    """Convert a layer's argument to a constraint.

    Parameters
    ----------
    value : MaxNorm, "max_norm" or None
        "max_norm" stands for ``MaxNorm()``.
    name : str
        Name of the argument.

    Raises
    ------
    TypeError
        If it has another type.
    ValueError
        If the name is unknown.
    """
    if isinstance(value, str):
        _checks.choice(value, name, choices(ConstraintName))
        return MaxNorm()
    if value is None or isinstance(value, MaxNorm):
        return value
    raise TypeError(
        f"{name}: expected a MaxNorm, 'max_norm' or None, got {_checks.describe(value)}"
    )
