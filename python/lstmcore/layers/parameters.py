"""All weights of a model in one flat array, all gradients in another of the same layout.

An optimizer step is then one call of the engine over everything, and several machines can add up
their gradients in one call.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcore import _checks, _core
from lstmcore._intake import Intake
from lstmcore._seeds import derive
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array
from lstmcore.constraints import MaxNorm
from lstmcore.layers.initializers import Initializer

__all__ = ["Parameters", "WeightSpec", "check_count"]

SHOWN = 12  # names that an error lists


@dataclass(frozen=True)
class WeightSpec:
    """One weight of a layer: its shape, initial values and penalties."""

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    l1: float = 0.0
    l2: float = 0.0
    constraint: MaxNorm | None = None
    inputs: int | tuple[int, ...] = 0
    """The axis or axes of inputs, for `constraint` and for the scales of `quantize`."""
    trainable: bool = True
    """Whether optimizers may ever change it; see also `Layer.trainable`."""
    rounded: bool = True
    """Whether `quantize` rounds it, if it is a matrix."""


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
        Flat. After writing to `values`, call `touch`.
    version : int
        Grows with every change of `values`, so that caches derived from them can be checked.
    frozen : frozenset of str
        Names of the weights that are not trained; see `freeze`.
    trained_parts : list of slice
        The trained ranges of the flat arrays; neighbouring weights are joined.
    followed : int or None
        The count of `SWITCHES` that `frozen` reflects; see `switches.follow_trainable`.
    """

    def __init__(self, specs: Mapping[str, WeightSpec], dtype: "np.dtype[Any]") -> None:
        self.specs = dict(specs)
        self.dtype = dtype
        size = sum(math.prod(spec.shape) for spec in self.specs.values())
        self.values: Array = np.zeros(size, dtype)
        self.gradients: Array = np.zeros(size, dtype)
        self.version = 0
        self._fixed = self._find_fixed()
        self.frozen = self._fixed
        self.followed: int | None = None
        self.trained_parts = self.parts_without(self.frozen)
        self._finite: frozenset[str] = frozenset()
        self._unknown_parts = self.trained_parts
        self._locked: str | None = None
        self._averages: dict[str, tuple[float, Array]] = {}
        self._rows: dict[str, tuple[Array, Array | None]] = {}
        self._wanted_rows: frozenset[str] = frozenset()
        self._make_views()

    def _make_views(self) -> None:
        self._values: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        if self._locked is not None:
            self.values.flags.writeable = False
        begin = 0
        for name, spec in self.specs.items():
            part = slice(begin, begin + math.prod(spec.shape))
            self._values[name] = self.values[part].reshape(spec.shape)
            self._gradients[name] = self.gradients[part].reshape(spec.shape)
            begin = part.stop

    def __repr__(self) -> str:
        frozen = f", {self.frozen_size:,} not trained" if self.frozen_size else ""
        return (
            f"Parameters({self.values.size:,} {self.dtype} values of {len(self.specs)} weights"
            f"{frozen})"
        )

    # A copied view would not look into the copied array, so copies and pickles make new views.

    def __getstate__(self) -> dict[str, Any]:
        absent = {"_values": None, "_gradients": None, "followed": None}
        return {**self.__dict__, **absent, "_rows": {}, "_wanted_rows": frozenset()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_views()

    def freeze(self, names: Collection[str]) -> None:
        """Train all weights from now on except `names` and those whose spec is not trainable.

        The gradient of a weight that is not trained is zero, so sums over all gradients count
        only the trained ones.
        """
        self.followed = None
        frozen = frozenset(self.specs).intersection(names).union(self._fixed)
        if frozen == self.frozen:
            return
        for name in frozen - self.frozen:
            self._gradients[name].fill(0)
        self.frozen = frozen
        self._find_parts()

    def _find_fixed(self) -> frozenset[str]:
        """Return the names of the weights that are never trained."""
        return frozenset(name for name, spec in self.specs.items() if not spec.trainable)

    def _find_parts(self) -> None:
        self.trained_parts = self.parts_without(self.frozen)
        self._unknown_parts = self.parts_without(self.frozen | self._finite)

    def parts_without(self, names: Collection[str]) -> list[slice]:
        """Return the ranges of the flat arrays without the weights `names`, neighbours joined."""
        parts: list[slice] = []
        begin = 0
        for name, spec in self.specs.items():
            end = begin + math.prod(spec.shape)
            if name not in names:
                if parts and parts[-1].stop == begin:
                    parts[-1] = slice(parts[-1].start, end)
                else:
                    parts.append(slice(begin, end))
            begin = end
        return parts

    def note_finite(self, name: str, finite: bool) -> None:
        """Note whether the gradient `name`, just written, is known to be finite.

        Worth it for large gradients that follow from few numbers: checking those few is much faster
        than `gradients_are_finite`, which then skips the gradient.
        """
        spec = self.specs[name]
        finite = finite and not (spec.l1 or spec.l2)  # penalties add their gradients later
        gone = self._rows.pop(name, None)
        assert gone is None or gone[1] is None, "rows were asked for that another layer adds to"
        if finite != (name in self._finite):
            self._finite ^= {name}
            self._find_parts()

    # ---- gradients that are zero but for some rows ---------------------------------------------

    def want_rows(self, names: Collection[str]) -> None:
        """Ask for the gradients `names` by `give_rows`, and not in their places."""
        self._wanted_rows = frozenset(names)

    def wants_rows(self, name: str) -> bool:
        """Return whether the gradient `name` is to be given by `give_rows`."""
        return name in self._wanted_rows

    def give_rows(self, name: str, rows: Array, values: Array | None) -> None:
        """Note that the gradient `name` is zero but for some rows.

        A layer that adds something to the gradient calls `note_finite`, which ends the note.

        Parameters
        ----------
        name : str
        rows : ndarray of int64, shape (U,)
            Which rows; rising and different if there are `values`.
        values : ndarray, shape (U, E), or None
            What they hold; None: what is in the gradient's place.
        """
        self._rows[name] = (rows, values)

    def take_rows(self) -> dict[str, tuple[Array, Array | None]]:
        """Return what was given by `give_rows`, and forget it."""
        taken, self._rows = self._rows, {}
        return taken

    def is_finite(self, name: str) -> bool:
        """Return whether the gradient `name` is known to be finite; see `note_finite`."""
        return name in self._finite

    def gradients_are_finite(self) -> bool:
        """Return whether the gradients of all trained weights are free of NaN and infinities."""
        for part in self._unknown_parts:
            gradients = self.gradients[part]
            finite = math.isfinite(_core.squared_norm(gradients))  # or the sum overflows
            if not finite and not np.isfinite(gradients).all():
                return False
        return True

    def change(self, specs: Mapping[str, WeightSpec]) -> None:
        """Hold the weights `specs` instead; weights are added or removed at the end only.

        New ones are zero. The caller binds the layers again and resizes the optimizer's slots.
        """
        self.specs = dict(specs)
        size = sum(math.prod(spec.shape) for spec in self.specs.values())
        old, grown = self.values.size, size > self.values.size
        # Views of weights that stay remain valid where the array gets shorter.
        values = np.zeros(size, self.dtype) if grown else self.values[:size]
        gradients = np.zeros(size, self.dtype) if grown else self.gradients[:size]
        if grown:
            values[:old], gradients[:old] = self.values, self.gradients
        self.values, self.gradients = values, gradients
        self._fixed = self._find_fixed()
        self.frozen = self.frozen.intersection(self.specs) | self._fixed
        self.followed, self._finite = None, frozenset()
        self._averages.clear()
        self._rows.clear()
        self._find_parts()
        self._make_views()
        self.touch()

    @property
    def frozen_size(self) -> int:
        """How many of the parameters are not trained."""
        return sum(math.prod(self.specs[name].shape) for name in self.frozen)

    def part(self, names: Iterable[str]) -> "Parameters":
        """Copy some weights into parameters of their own, in the order of `names`."""
        part = Parameters({name: self.specs[name] for name in names}, self.dtype)
        for name in part.specs:
            part.value(name)[...] = self.value(name)
        part.touch()
        return part

    def _lock(self, reason: str) -> None:
        """Make `values` read-only from now on; `reason` is the error of `assign`."""
        self._locked = reason
        self._make_views()

    def touch(self) -> None:
        """Note that `values` have changed."""
        self.version += 1

    # ---- weights that are moving averages ------------------------------------------------------

    def note_average(self, name: str, values: Array, momentum: float) -> None:
        """Note what a forward adds to the weight `name`, an average, at the next `settle`.

        The weight becomes ``momentum * weight + (1 - momentum) * values``; several such notes
        follow each other.
        """
        factor, shift = self._averages.get(name, (1.0, np.zeros(())))
        moved = momentum * shift + (1.0 - momentum) * values
        self._averages[name] = (momentum * factor, np.asarray(moved))

    def settle(self) -> None:
        """Move the averages that were noted: a step has been made."""
        if self._averages:
            for name, (factor, shift) in self._averages.items():
                self._values[name][...] = factor * self._values[name] + shift
            self._averages.clear()
            self.touch()

    def forget_averages(self) -> None:
        """Drop what was noted: the step was not made."""
        self._averages.clear()

    def take_averages(self) -> dict[str, tuple[float, Array]]:
        """Return what was noted, and forget it.

        Returns
        -------
        dict of str to (float, ndarray)
            For each average a factor and a shift: it becomes ``factor * weight + shift``.
        """
        taken, self._averages = self._averages, {}
        return taken

    def note_moves(self, moves: Mapping[str, tuple[float, Array]]) -> None:
        """Note what `settle` does to averages, in the form of `take_averages`."""
        self._averages = dict(moves)

    def forget_finite(self) -> None:
        """Note that no gradient is known to be finite; see `note_finite`."""
        if self._finite:
            self._finite = frozenset()
            self._find_parts()

    def value(self, name: str) -> Array:
        """Return the view of one weight, writable unless `_lock` was called."""
        return self._values[name]

    def gradient(self, name: str) -> Array:
        """Return the writable view of one gradient."""
        return self._gradients[name]

    def initialize(self, names: Sequence[str], seed: int) -> None:
        """Set the weights `names` to their initial values.

        Each weight has a generator of its own, so that no value depends on another weight's shape.
        """
        for index, name in enumerate(names):
            spec = self.specs[name]
            random = np.random.Generator(np.random.PCG64(derive(seed, index)))
            self._values[name][...] = spec.initializer(spec.shape, random)
        self.touch()

    def assign(self, values: Mapping[str, Any], convert: bool = False) -> None:
        """Copy `values` in, after checking all of them; `convert` allows numbers of any type.

        Raises
        ------
        ValueError
            If `_lock` was called, a name is unknown or a shape is wrong; nothing is written then.
        TypeError
            If a dtype is wrong; nothing is written then.
        """
        if self._locked is not None:
            raise ValueError(self._locked)
        arrays = {}
        intake = Intake(check_finite=False)
        for name, value in values.items():
            if name not in self._values:
                hint = did_you_mean(name, self._values)
                raise ValueError(f"weights: expected {', '.join(self._values)}; got {name!r}{hint}")
            target = self._values[name]
            array = (
                intake.floats(value, name, target.dtype)
                if convert
                else _checks.any_array(value, name)
            )
            if array.shape != target.shape:
                raise ValueError(f"{name}: expected shape {target.shape}, got {array.shape}")
            if array.dtype != target.dtype:
                raise TypeError(f"{name}: expected {target.dtype}, got {array.dtype}")
            arrays[name] = array
        for name, array in arrays.items():
            self._values[name][...] = array
        self.touch()

    def as_mapping(self) -> dict[str, Array]:
        """Return read-only views of all weights by name."""
        return {name: _read_only(view) for name, view in self._values.items()}


def check_count(weights: Any, names: Collection[str]) -> None:
    """Check that there is one array for each name.

    Raises
    ------
    TypeError
        If `weights` is not a sequence, but for example a layer or a model.
    ValueError
        If the number is wrong.
    """
    if not isinstance(weights, (Sequence, np.ndarray)) or isinstance(weights, (str, bytes)):
        advice = ""
        if hasattr(weights, "get_weights"):
            advice = "; pass its get_weights()"
        elif isinstance(weights, Mapping):
            advice = "; a layer's have no names of their own: pass list(weights.values())"
        raise TypeError(
            "weights: expected a sequence of arrays, as get_weights returns it, got "
            f"{_checks.describe(weights)}{advice}"
        )
    if len(weights) != len(names):
        shown = f" ({', '.join(names)})" if len(names) <= SHOWN else ""
        none = "" if len(weights) else ", as of a layer that is not built yet"
        raise ValueError(f"weights: expected {len(names)} arrays{shown}, got {len(weights)}{none}")


def _read_only(view: Array) -> Array:
    view = view.view()
    view.flags.writeable = False
    return view
