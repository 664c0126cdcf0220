"""What is trained: which weights layers freeze, and a count of the changes of that."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from lstmcore.layers.parameters import Parameters

if TYPE_CHECKING:
    from lstmcore.layers.base import Layer

__all__ = ["SWITCHES", "Switches", "follow_trainable", "frozen_weights", "lowest_trained"]


class Switches:
    """Counts changes of `trainable` of any layer, so that a step need not ask all layers.

    Attributes
    ----------
    now : int
        Another number after every change.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)  # next() takes a number atomically
        self.now = 0

    def note(self) -> None:
        """Count a change that has been made."""
        self.now = next(self._numbers)


SWITCHES = Switches()


def lowest_trained(layers: "Sequence[Layer]") -> int:
    """Return the index of the first of `layers` that trains, or their number if none does.

    No backward need be computed below it.
    """
    for place, layer in enumerate(layers):
        if layer._trains:
            return place
    return len(layers)


def frozen_weights(layers: "Iterable[Layer]") -> set[str]:
    """Return the names in the parameters of all weights that one of `layers` freezes."""
    return {name for layer in layers for name in layer._frozen_weights()}


def follow_trainable(parameters: Parameters, layers: "Callable[[], Iterable[Layer]]") -> None:
    """Tell `parameters` which weights `layers` freeze, unless no layer has changed since."""
    now = SWITCHES.now  # read first, so that a change in the meantime is noticed
    if parameters.followed != now:
        parameters.freeze(frozen_weights(layers()))
        parameters.followed = now
