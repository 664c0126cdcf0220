"""A count of the changes of `Layer.trainable`, by which a step knows that nothing has changed."""

import itertools

__all__ = ["SWITCHES", "Switches"]


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
