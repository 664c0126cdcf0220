"""Samples: checked once, then gathered batch by batch."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import as_array, is_frame, refuse_sparse
from lstmcore._intake import READ_FIRST, Intake
from lstmcore._typing import Array

__all__ = [
    "Batch",
    "Examples",
    "Ragged",
    "batch_rows",
    "explain_lists",
    "gather",
    "prepare_inputs",
    "read_inputs",
    "rows_of",
    "typed",
    "whole_batches",
]

_NUMBERS = (int, float, complex, np.generic)
_NOTHING = nullcontext()
POOL = 50  # batches whose rows are sorted by length together, so that few steps are padding


class Ragged:
    """Sequences of different lengths, end to end in one array.

    Parameters
    ----------
    values : ndarray, shape (sum of lengths, ...)
    lengths : ndarray of int64, shape (N,)
    starts : ndarray of int64, shape (N,), optional
        Where in `values` each row begins; None: where the previous one ends.
    """

    def __init__(self, values: Array, lengths: Array, starts: Array | None = None) -> None:
        self.values, self.lengths = values, lengths
        self.starts = np.cumsum(lengths) - lengths if starts is None else starts

    @classmethod
    def from_rows(
        cls, rows: Sequence[Any], name: str, width: bool, intake: Intake, rank: int = 2
    ) -> "Ragged":
        """Join rows of numbers of shape (T_i,) or, with `width`, (T_i, C); of the widest type.

        With `width`, rows may have more axes: `rank` of them.
        """
        arrays = [intake.numbers(row, f"{name}[{place}]") for place, row in enumerate(rows)]
        return cls._joined(arrays, name, rank if width else 1)

    @classmethod
    def from_flags(cls, rows: Sequence[Any], name: str) -> "Ragged":
        """Join rows of bools of shape (T_i,)."""
        arrays = [_checks.flags_array(row, f"{name}[{place}]") for place, row in enumerate(rows)]
        return cls._joined(arrays, name, 1)

    @classmethod
    def _joined(cls, arrays: list[Array], name: str, rank: int) -> "Ragged":
        filled = [array for array in arrays if array.size] or arrays[:1]
        for place, array in enumerate(arrays):
            if array.ndim != rank and array.size:
                shape = {1: "(T,)", 2: "(T, C)"}.get(rank, f"(T, ...) with {rank} axes")
                raise ValueError(
                    f"{name}: expected rows of shape {shape}, got {array.shape} at {place}"
                )
            if array.size and array.shape[1:] != filled[0].shape[1:]:
                raise ValueError(
                    f"{name}: expected all rows alike, got shape {array.shape} at {place}, "
                    f"{filled[0].shape} before"
                )
        lengths = np.array([len(array) for array in arrays], dtype=np.int64)
        return cls(np.concatenate(filled), lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all rows padded to the longest."""
        return (len(self), int(self.lengths.max(initial=0)), *self.values.shape[1:])

    def where(self, index: tuple[int, ...]) -> str:
        """Write the place of an element of `values`, before any `take`: "[3][17, 0]"."""
        row = int(np.searchsorted(self.starts + self.lengths, index[0], side="right"))
        step = index[0] - int(self.starts[row])
        return f"[{row}][{', '.join(map(str, (step, *index[1:])))}]"

    def take(self, rows: Array | slice) -> "Ragged":
        """Choose rows, without copying their values."""
        return Ragged(self.values, self.lengths[rows], self.starts[rows])

    def padded(self, steps: int | None = None) -> Array:
        """Make one array (N, T, ...), zero past each row's length; T is at least 1."""
        steps = max(1, int(self.lengths.max(initial=0))) if steps is None else steps
        time = np.arange(steps)
        valid = time < self.lengths[:, None]
        array = np.zeros((len(self), steps, *self.values.shape[1:]), self.values.dtype)
        array[valid] = self.values[(self.starts[:, None] + time)[valid]]
        return array


Rows: TypeAlias = Array | Ragged


@dataclass(frozen=True)
class Batch:
    """Rows that are computed together.

    Attributes
    ----------
    inputs : ndarray, shape (N, ...), or whatever else the model's `forward` takes
    lengths : ndarray of int64, shape (N,), or None
    targets : ndarray or None
        (N,) or (N, T) class numbers, or (N, U) or (N, T, U) values.
    weights : ndarray or None
        (N,) or (N, T).
    reset : ndarray of bool, shape (N, T), or None
        Where new sequences begin.
    target_lengths : ndarray of int64, shape (N,), or None
        Of targets (N, S) that are sequences with their own lengths, for a `SequenceLoss`.
    known : ndarray of bool, shape (N,) or (N, T), or None
        True where a target is known; elsewhere weights are 0. None: everywhere.
    heads : tuple of Batch
        Targets and weights of each output, of a model with several; their inputs are None.
    """

    inputs: Any
    lengths: Array | None
    targets: Array | None
    weights: Array | None
    reset: Array | None = None
    target_lengths: Array | None = None
    known: Array | None = None
    heads: "tuple[Batch, ...]" = ()


@dataclass(frozen=True)
class Examples:
    """All samples of a call, checked; the fields are those of `Batch`.

    Attributes
    ----------
    output_lengths : callable, optional
        Computes the lengths of the model's outputs from those of its inputs, if they differ.
    in_time : bool
        Whether each time step has a target.
    there : ndarray of bool, shape (N, T), optional
        The mask: which steps of the caller's inputs are those of `inputs`; None: all.
    sample_weights : ndarray, Ragged or None
        `weights` without those of classes.
    """

    inputs: Rows
    lengths: Array | None
    targets: Rows | None = None
    weights: Rows | None = None
    reset: Rows | None = None
    output_lengths: Callable[[Array], Array] | None = None
    in_time: bool = False
    there: Array | None = None
    sample_weights: Rows | None = None
    known: Rows | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def output_steps(self, steps: int) -> int:
        """Return the number of steps of the outputs for inputs of `steps`."""
        if self.output_lengths is None:
            return steps
        return int(self.output_lengths(np.array([steps], dtype=np.int64))[0])

    def target_lengths(self) -> Array | None:
        """Return the valid steps of each row's outputs; None: all."""
        if self.lengths is None or self.output_lengths is None:
            return self.lengths
        return self.output_lengths(self.lengths)

    def part(self, rows: slice) -> "Examples":
        """Choose consecutive samples."""
        return replace(
            self,
            inputs=_choose(self.inputs, rows),
            lengths=None if self.lengths is None else self.lengths[rows],
            targets=_choose(self.targets, rows),
            weights=_choose(self.weights, rows),
            reset=_choose(self.reset, rows),
            there=_choose(self.there, rows),
            sample_weights=_choose(self.sample_weights, rows),
            known=_choose(self.known, rows),
        )

    def without_class_weight(self) -> "Examples":
        """Return the same samples without class weights."""
        return replace(self, weights=self.sample_weights)

    def outputs_in_rows(self, output_shape: Any) -> Any:
        """Return whether outputs are a list of rows as long as the samples are.

        With several outputs, of which `output_shape` is a list, a list of that.
        """
        return isinstance(self.inputs, Ragged) and len(output_shape) > 2

    def batch(self, rows: Array | slice) -> Batch:
        """Gather the samples `rows`."""
        inputs = gather(self.inputs, rows)
        lengths = None if self.lengths is None else self.lengths[rows]
        width = inputs.shape[1] if isinstance(self.inputs, Ragged) else None
        return self.labelled(rows, inputs, lengths, width)

    def labelled(
        self, rows: Array | slice, inputs: Any, lengths: Array | None, width: int | None
    ) -> Batch:
        """Add targets and weights of the samples `rows` to inputs, of `width` steps if ragged."""
        steps = self.output_steps(width) if self.in_time and width is not None else None
        return Batch(
            inputs,
            lengths,
            gather(self.targets, rows, steps),
            gather(self.weights, rows, steps),
            gather(self.reset, rows, width),
            self.targets.lengths[rows]
            if isinstance(self.targets, Ragged) and not self.in_time
            else None,
            gather(self.known, rows, steps),
        )

    def windows(self, rows: Array | slice, size: int | None) -> Iterator[Batch]:
        """Gather the samples `rows` in windows of `size` time steps; the last may be shorter.

        A row that has ended has length 0 in a window; the windows end with the longest row. None:
        all steps at once.
        """
        if size is None:
            yield self.batch(rows)
            return
        lengths = None if self.lengths is None else self.lengths[rows]
        width = self.inputs.shape[1]
        steps = width if lengths is None else max(1, int(lengths.max(initial=0)))
        last = steps if isinstance(self.inputs, Ragged) else width
        for begin in range(0, steps, size):
            end = min(begin + size, last)
            yield Batch(
                _window(self.inputs, rows, begin, end),
                None if lengths is None else np.clip(lengths - begin, 0, end - begin),
                _window(self.targets, rows, begin, end),
                _window(self.weights, rows, begin, end),
                _window(self.reset, rows, begin, end),
                known=_window(self.known, rows, begin, end),
            )


def gather(values: Any, rows: Array | slice, steps: int | None = None) -> Any:
    """Choose `rows`, padded to `steps` if they are ragged, cut to `steps` if they are longer."""
    if values is None:
        return None
    if isinstance(values, Ragged):
        return values.take(rows).padded(steps)
    chosen = values[rows]
    return chosen[:, :steps] if steps is not None and chosen.ndim > 1 else chosen


def _window(values: Any, rows: Array | slice, begin: int, end: int) -> Any:
    """Choose `rows` and, of what has a time axis, the steps from `begin` to `end`."""
    if values is None:
        return None
    if isinstance(values, Ragged):
        taken = values.take(rows)
        lengths = np.clip(taken.lengths - begin, 0, end - begin)
        return Ragged(taken.values, lengths, taken.starts + begin).padded(end - begin)
    if values.ndim == 1:
        return values[rows]
    return np.ascontiguousarray(values[rows, begin:end])


def _choose(values: Any, rows: slice) -> Any:
    return values.take(rows) if isinstance(values, Ragged) else gather(values, rows)


def batch_rows(
    count: int, batch_size: int, lengths: Array | None, seed: int | None, bucket: bool
) -> Iterator[Array | slice]:
    """Divide samples into batches.

    Parameters
    ----------
    count : int
        Number of samples.
    batch_size : int
    lengths : ndarray of int64, shape (count,), or None
        Of ragged samples.
    seed : int or None
        Of a random order; None: the given order.
    bucket : bool
        Whether to put samples of similar lengths into a batch. Without a seed all samples are then
        sorted by length.

    Yields
    ------
    ndarray of int64 or slice
        The samples of one batch.
    """
    if seed is None and (lengths is None or not bucket):
        yield from (slice(at, min(at + batch_size, count)) for at in range(0, count, batch_size))
        return
    random = None if seed is None else np.random.Generator(np.random.PCG64(seed))
    order = np.arange(count) if random is None else random.permutation(count)
    if lengths is None or not bucket:
        yield from _chunks(order, batch_size)
    elif random is None:
        yield from _chunks(order[np.argsort(lengths, kind="stable")], batch_size)
    else:
        batches = [
            batch
            for pool in _chunks(order, POOL * batch_size)
            for batch in _chunks(pool[np.argsort(lengths[pool], kind="stable")], batch_size)
        ]
        yield from (batches[place] for place in random.permutation(len(batches)))


def whole_batches(samples: int, batch_size: int, name: str) -> int:
    """Return the size of every batch."""
    if samples <= batch_size:
        return max(samples, 1)
    if samples % batch_size:
        raise ValueError(
            f"{name}: expected whole batches of {batch_size} samples, since each continues the one "
            f"before, got {samples} samples"
        )
    return batch_size


def _chunks(values: Array, size: int) -> list[Array]:
    return [values[at : at + size] for at in range(0, len(values), size)]


def rows_of(values: Any, name: str) -> Any:
    """Return what another library's object holds: an array, or a list of the rows of a column.

    A table stays as it is, since it knows the names of its columns.
    """
    if type(values) is np.ndarray and values.dtype.kind != "O":
        return values
    if is_frame(values):
        return values
    values = as_array(values, name)
    if isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1:
        return list(values)
    return values


def read_inputs(x: Any, kind: str, name: str, intake: Intake) -> Rows:
    """Convert inputs to an array of numbers or to `Ragged`, of the type that they have.

    Parameters
    ----------
    x : array_like, or list of array_like
        A list (or a column of a table) of rows (T_i,) of ids or (T_i, C) of values is ragged, and
        so is one of rows (T_i, ...) of values with more axes if their lengths differ.
    kind : {"ids", "floats"}
    name : str
        Name of the argument in errors.
    intake : Intake

    Raises
    ------
    TypeError
        If they are not numbers.
    ValueError
        If `x` has no sample, or rows do not fit together.
    """
    if type(x) is np.ndarray and x.dtype.kind in "fiub" and x.ndim:  # the usual case, at once
        return x
    if isinstance(x, (Mapping, Set)):
        refuse_sparse(x, name)  # SciPy's dok_matrix is a dict, too
        raise TypeError(
            f"{name}: expected an array or a list of rows, got {_checks.describe(x)}; a model has "
            "one input"
        )
    if isinstance(x, range):
        x = np.array(x)
    given, x = x, rows_of(x, name)
    if not (isinstance(x, (np.ndarray, list, tuple, str, *_NUMBERS)) or is_frame(x)):
        plain = callable(given) and not isinstance(given, type)
        call = "; call it and pass what it returns" if plain else ""
        if isinstance(given, os.PathLike):
            call = f"; {READ_FIRST}"
        raise TypeError(
            f"{name}: expected an array, a list of rows, or a source of batches: a generator, an "
            "iterable such as a DataLoader, or a sequence with __len__ and __getitem__; got "
            f"{_checks.describe(given)}{call}"
        )
    ids = kind == "ids"
    if isinstance(x, (list, tuple)) and len(x):
        x = [
            row if isinstance(row, np.ndarray) or is_frame(row) else as_array(row, name)
            for row in x
        ]
        rank = max(_rank(row, name) for row in x)
        if (rank == 1 and ids) or (rank == 2 and not ids):
            return Ragged.from_rows(x, name, not ids, intake)
        if rank > 2 and not ids and len({len(row) for row in x}) > 1:  # such as videos
            return Ragged.from_rows(x, name, True, intake, rank)
    array = intake.numbers(x, name)
    if array.ndim == 0:
        raise ValueError(f"{name}: expected a batch of samples, got a single number")
    return array


def typed(
    rows: Rows,
    kind: str,
    dtype: "np.dtype[Any]",
    name: str,
    intake: Intake,
    valid: Array | None = None,
) -> Rows:
    """Convert numbers: ids to int64, floats to `dtype`; see `Intake` for `valid`."""
    where = rows.where if isinstance(rows, Ragged) else None
    values = rows.values if isinstance(rows, Ragged) else rows
    converted = (
        intake.integers(values, name, valid, where)
        if kind == "ids"
        else intake.floats(values, name, dtype, valid, where)
    )
    if isinstance(rows, Ragged):
        return Ragged(converted, rows.lengths, rows.starts)
    return converted


def prepare_inputs(x: Any, kind: str, dtype: "np.dtype[Any]", name: str, intake: Intake) -> Rows:
    """Convert inputs to an array of the model's type or to `Ragged`; see `read_inputs`.

    Raises
    ------
    TypeError, ValueError
        As `read_inputs`, or if a value is not finite, or an id is not whole.
    """
    return typed(read_inputs(x, kind, name, intake), kind, dtype, name, intake)


def explain_lists(x: Any, y: Any = None) -> AbstractContextManager[None]:
    """Add to an error of the block that a model has one input, if `x` may be meant as several.

    With `y`, the block is about targets, and an error says so only if there is one for each sample
    of such inputs, and not for each entry of `x`.
    """
    return _explained(x, y) if isinstance(x, (list, tuple)) else _NOTHING


@contextmanager
def _explained(x: list[Any] | tuple[Any, ...], y: Any) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        if not 2 <= len(x) < 10 or any(map(is_frame, x)):
            raise
        shapes: list[tuple[int, ...]] = [getattr(entry, "shape", ()) for entry in x]
        if any(len(shape) < 2 or shape[0] != shapes[0][0] for shape in shapes):
            raise
        if y is not None and _count(y) not in {shapes[0][0]} - {len(x)}:
            raise
        raise type(error)(
            f"{error}; if x is meant as {len(x)} inputs of {shapes[0][0]} samples, a model has one "
            "input: join them with numpy.concatenate(x, axis=-1)"
        ) from error


def _count(values: Any) -> int | None:
    try:
        return len(values)
    except TypeError:  # of a single number, which an error is about
        return None


def _rank(row: Any, name: str) -> int:
    try:
        return np.ndim(row)
    except ValueError:
        raise ValueError(
            f"{name}: expected rows that are arrays, got one of uneven lists"
        ) from None
