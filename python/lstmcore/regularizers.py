"""Penalties on weights, added to the loss."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from lstmcore import _checks
from lstmcore._configurable import Configurable
from lstmcore._suggest import public
from lstmcore._typing import RegularizerName, choices

__all__ = ["L1", "L1L2", "L2"]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)


class L1L2(Configurable):
    """Adds ``l1 * sum(abs(w)) + l2 * sum(w**2)`` to the loss, as Keras does.

    The derivative of abs(w) at 0 is taken as 0.

    Parameters
    ----------
    l1, l2 : float, default 0.0
        At least 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _checks.real(l1, "l1", 0.0)
        self.l2 = _checks.real(l2, "l2", 0.0)


class L1(L1L2):
    """Adds ``l1 * sum(abs(w))`` to the loss, as Keras does.

    Parameters
    ----------
    l1 : float, default 0.01
        At least 0.
    """

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1, 0.0)


class L2(L1L2):
    """Adds ``l2 * sum(w**2)`` to the loss, as Keras does.

    Parameters
    ----------
    l2 : float, default 0.01
        At least 0.
    """

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(0.0, l2)


RegularizerLike: TypeAlias = L1L2 | float | RegularizerName | None
"""Values that a layer accepts as a penalty on weights."""


def get(value: RegularizerLike, name: str) -> L1L2 | None:
    """Convert a layer's argument to a penalty.

    Parameters
    ----------
    value : L1, L2, L1L2, float, "l1", "l2", "l1_l2" or None
        A number is the strength of an `L2`; "l1" and "l2" stand for ``L1()`` and ``L2()``, "l1_l2"
        for ``L1L2(0.01, 0.01)``.
    name : str
        Name of the argument.

    Raises
    ------
    TypeError
        If it has another type.
    ValueError
        If the strength is negative or the name unknown.
    """
    if value is None or isinstance(value, L1L2):
        return value
    if isinstance(value, str):
        return _BY_NAME[_checks.choice(value, name, choices(RegularizerName))]()
    return L2(_checks.real(value, name, 0.0))


_BY_NAME: dict[str, Callable[[], L1L2]] = {
    "l1": L1,
    "l2": L2,
    "l1_l2": lambda: L1L2(0.01, 0.01),
}


def strengths(penalty: L1L2 | None) -> tuple[float, float]:
    """Return l1 and l2, both 0 without a penalty."""
    return (0.0, 0.0) if penalty is None else (penalty.l1, penalty.l2)
