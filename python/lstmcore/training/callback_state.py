"""What a callback remembers from one training to the next, which resumes it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["CallbackState"]


class CallbackState(NamedTuple):
    """What one callback remembers.

    Attributes
    ----------
    class_name : str
        The callback's class.
    number : int
        Place among the callbacks of this class, from 0.
    state : mapping of str to anything
        What `Callback.get_state` returned.
    """

    class_name: str
    number: int
    state: Mapping[str, Any]
