"""Penalties on weights, added to the loss."""

from lstmcore import _checks
from lstmcore._configurable import Configurable

__all__ = ["L2"]


class L2(Configurable):
    """Adds ``l2 * sum(w**2)`` to the loss, as Keras does.

    Parameters
    ----------
    l2 : float, default 0.01
        At least 0.
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _checks.real(l2, "l2", 0.0)


def get(value: "L2 | float | str | None", name: str) -> L2 | None:
    """Turn what a layer's argument may be into a penalty.

    Parameters
    ----------
    value : L2, float, "l2" or None
        A number is the strength of an `L2`; "l2" stands for ``L2()``.
    name : str
        Of the argument.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If the strength is negative or the name unknown.
    """
    if value is None or isinstance(value, L2):
        return value
    if isinstance(value, str):
        _checks.choice(value, name, ("l2",))
        return L2()
    return L2(_checks.real(value, name, 0.0))
