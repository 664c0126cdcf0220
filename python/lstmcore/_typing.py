"""Type aliases. Letters: N batch, T time steps, C features, U units of an output."""

from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array whose element type is checked at run time."""

Shape: TypeAlias = tuple[int | None, ...]
"""The shape of a batch; None where it may differ from batch to batch: (None, None, C)."""
