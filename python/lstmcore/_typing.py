"""Type aliases. Letters: N batch, T time steps, C features, U units of an output."""

from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array whose element type is checked at run time."""

Shape: TypeAlias = tuple[int | None, ...]
"""The shape of a batch; None where it may differ from batch to batch: (None, None, C)."""


class _SupportsDLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


class _SupportsArray(Protocol):
    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


Exporter: TypeAlias = _SupportsDLPack | _SupportsArray
"""Another library's array or table, such as PyTorch's or pandas', which is read where it lies."""
