"""All weights of a model in one flat array, all gradients in another of the same layout.

So an optimizer step is one call of the engine over everything, and many machines can add up their
gradients in one call.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._seeds import derive
from lstmcore._typing import Array
from lstmcore.constraints import MaxNorm
from lstmcore.layers.initializers import Initializer

__all__ = ["Parameters", "WeightSpec"]


@dataclass(frozen=True)
class WeightSpec:
    """One weight of a layer: what to allocate and how to begin."""

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    l1: float = 0.0
    l2: float = 0.0
    constraint: MaxNorm | None = None
    inputs: int | tuple[int, ...] = 0
    """The axis, or axes, that count inputs, for `constraint` and for the scales of `quantize`."""
    trainable: bool = True
    """Whether optimizers change it; the gradient of one that is not is zero."""


class Parameters:
    """Named weights and their gradients, each a view into one flat array.

    Parameters
    ----------
    specs : mapping of str to WeightSpec
        By full name ("lstm.weight_hh_l0"), in the order of the flat arrays.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    values, gradients : ndarray, shape (P,)
        Flat. Whoever writes to `values` calls `touch`.
    version : int
        Grows with every change of `values`, so that what was derived from them can be kept.
    """

    def __init__(self, specs: Mapping[str, WeightSpec], dtype: "np.dtype[Any]") -> None:
        self.specs = dict(specs)
        self.dtype = dtype
        size = sum(math.prod(spec.shape) for spec in self.specs.values())
        self.values: Array = np.zeros(size, dtype)
        self.gradients: Array = np.zeros(size, dtype)
        self.version = 0
        self._locked: str | None = None
        self._make_views()

    def _make_views(self) -> None:
        self._values: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        self._frozen: list[slice] = []
        if self._locked is not None:
            self.values.flags.writeable = False
        begin = 0
        for name, spec in self.specs.items():
            part = slice(begin, begin + math.prod(spec.shape))
            self._values[name] = self.values[part].reshape(spec.shape)
            self._gradients[name] = self.gradients[part].reshape(spec.shape)
            if not spec.trainable:
                self._frozen.append(part)
            begin = part.stop

    # A copy of a view is no view of the copy, so copies and pickles make theirs anew.

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_values": None, "_gradients": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_views()

    @property
    def frozen_size(self) -> int:
        """How many of the parameters are not trained."""
        return sum(part.stop - part.start for part in self._frozen)

    def lock(self, reason: str) -> None:
        """Let nobody write to `values` any more; `reason` is what `assign` says then."""
        self._locked = reason
        self._make_views()

    def touch(self) -> None:
        """Say that `values` changed."""
        self.version += 1

    def value(self, name: str) -> Array:
        """Give the view of one weight, writable unless `lock` was called."""
        return self._values[name]

    def gradient(self, name: str) -> Array:
        """Give the writable view of one gradient."""
        return self._gradients[name]

    @contextmanager
    def untouched_if_frozen(self) -> Iterator[None]:
        """Give weights that are not trainable their values back after a step over all of them."""
        kept = [self.values[part].copy() for part in self._frozen]
        yield
        for part, values in zip(self._frozen, kept, strict=True):
            self.values[part] = values

    def initialize(self, names: Sequence[str], seed: int) -> None:
        """Give the weights `names` their initial values.

        Each weight has a generator of its own, so that no value depends on another weight's shape.
        """
        for index, name in enumerate(names):
            spec = self.specs[name]
            random = np.random.Generator(np.random.PCG64(derive(seed, index)))
            self._values[name][...] = spec.initializer(spec.shape, random)
        self.touch()

    def assign(self, values: Mapping[str, Any]) -> None:
        """Copy `values` in, after checking all of them.

        Raises
        ------
        ValueError
            If `lock` was called, a name is unknown or a shape is wrong; nothing is written then.
        TypeError
            If a dtype is wrong; nothing is written then.
        """
        if self._locked is not None:
            raise ValueError(self._locked)
        arrays = {}
        for name, value in values.items():
            if name not in self._values:
                raise ValueError(f"weights: expected {', '.join(self._values)}; got {name!r}")
            array, target = _checks.any_array(value, name), self._values[name]
            if array.shape != target.shape:
                raise ValueError(f"{name}: expected shape {target.shape}, got {array.shape}")
            if array.dtype != target.dtype:
                raise TypeError(f"{name}: expected {target.dtype}, got {array.dtype}")
            arrays[name] = array
        for name, array in arrays.items():
            self._values[name][...] = array
        self.touch()

    def as_mapping(self) -> dict[str, Array]:
        """Give read-only views of all weights by name."""
        return {name: _read_only(view) for name, view in self._values.items()}


def _read_only(view: Array) -> Array:
    view = view.view()
    view.flags.writeable = False
    return view
