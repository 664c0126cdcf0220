"""The data that a caller passes for training or evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Samples"]


@dataclass(frozen=True)
class Samples:
    """The arguments that hold data, as they were passed: nothing is checked yet.

    Attributes
    ----------
    x, y, sample_weight, class_weight, reset, mask
        As in `Model.fit`.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    class_weight: Mapping[int, float] | None = None
    reset: Any = None
    mask: Any = None
