"""Where batches come from: samples in memory, or an iterable that yields batches."""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Protocol

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import is_sparse
from lstmcore._typing import Array
from lstmcore.training.data import Examples, Ragged, batch_rows

__all__ = [
    "BATCH_SIZE",
    "InMemory",
    "Iterated",
    "Source",
    "inputs_of",
    "is_batches",
    "is_streamed",
    "joined",
    "parts_of",
    "refuse_beside",
]

BATCH_SIZE = 32
"""Rows of a batch by default."""

_NO_BATCHES = (np.ndarray, tuple, str, bytes, Mapping, Set, range, type(None))
_EXPORTS = ("__array__", "__array_interface__", "__dlpack__", "to_numpy")


class Source(Protocol):
    """What `fit` and `evaluate` walk through."""

    @property
    def steps(self) -> int | None:
        """Batches of an epoch; None if the number is known only at its end."""

    def batches(
        self, seed: int | None = None, epoch: int = 0
    ) -> "Iterator[tuple[Examples, Array | slice]]":
        """Yield the batches of an epoch: rows of samples; `seed` is that of a random order."""


@dataclass(frozen=True)
class InMemory:
    """Samples that are all in memory.

    Attributes
    ----------
    examples : Examples
    batch_size : int
    bucket : bool
        Whether to put samples of similar lengths into a batch.
    limit : int or None
        How many of the batches make an epoch; None: all.
    name : str
        Name of `limit` in errors.
    """

    examples: Examples
    batch_size: int
    bucket: bool
    limit: int | None = None
    name: str = "steps"

    def __post_init__(self) -> None:
        there = -(-len(self.examples) // self.batch_size)
        if self.limit is not None and self.limit > there:
            raise ValueError(
                f"{self.name}: expected at most {there}, the number of batches of "
                f"{self.batch_size} in {len(self.examples)} samples, got {self.limit}"
            )

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.limit or -(-len(self.examples) // self.batch_size)

    def batches(
        self, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Examples, Array | slice]]:
        """Yield the batches of one epoch; see `Source`."""
        examples = self.examples
        lengths = examples.lengths if isinstance(examples.inputs, Ragged) else None
        order = batch_rows(len(examples), self.batch_size, lengths, seed, self.bucket)
        for rows in islice(order, self.limit):
            yield examples, rows


class Iterated:
    """Batches from the caller: a generator, an iterable, a sequence of batches.

    An iterator, which can be consumed only once, continues where the previous epoch stopped. An
    iterable starts over in each epoch; with a number of steps it continues too, and starts over at
    its end, unless every epoch must have the same batches.

    Parameters
    ----------
    x : iterator, iterable, or object with __len__ and __getitem__
    prepare : callable
        Converts an item of `x` to checked `Examples`.
    name : str
        Name of `x` in errors.
    steps : int or None
        Batches of an epoch; None: all.
    argument : str
        Name of `steps` in errors.
    same : bool, default False
        Whether every epoch starts over, as for validation, so that its results are comparable.
    """

    def __init__(
        self,
        x: Any,
        prepare: Callable[[Any], Examples],
        name: str,
        steps: int | None,
        argument: str,
        same: bool = False,
    ) -> None:
        _refuse_single_samples(x, name)
        self.x, self.prepare, self.name = x, prepare, name
        self.limit = None if steps is None else _checks.integer(steps, argument, 1)
        self.argument, self.same = argument, same
        self.once = hasattr(x, "__next__")
        self._walk: Iterator[Any] | None = None
        self._first: list[Examples] = []  # a batch that `peek` took before its turn
        self._number = 0  # of the batch within its walk

    @property
    def steps(self) -> int | None:
        """Batches of an epoch; None if that shows only at its end."""
        return self.limit if self.limit is not None else _length(self.x)

    def check_epochs(self, epochs: int) -> None:
        """Raise ValueError unless `x` can yield this many epochs."""
        if self.once and self.limit is None and epochs > 1:
            raise ValueError(
                f"{self.argument}: expected the number of batches of an epoch, since {self.name} "
                "is an iterator (such as a generator), which can be consumed only once or never "
                f"ends; got None for {epochs} epochs. Or pass something that can start over: a "
                "DataLoader, a sequence with __len__ and __getitem__, an object with __iter__"
            )

    def peek(self) -> Examples:
        """Look at the first batch before its turn."""
        if not self._first:
            first = self._next()
            if first is None:
                raise ValueError(f"{self.name}: expected at least one batch, got none")
            self._first = [first]
        return self._first[0]

    def batches(
        self, seed: int | None = None, epoch: int = 0
    ) -> Iterator[tuple[Examples, Array | slice]]:
        """Yield the batches of one epoch; see `Source`. Their order is that of `x`."""
        made = 0
        while self.limit is None or made < self.limit:
            examples = self._next()
            if examples is None and self.limit is None:
                break
            before = self._number
            if examples is None and not self.once:  # start over
                examples = self._next()
            if examples is None:
                raise ValueError(
                    f"{self.name}: expected {self.limit} batches in each epoch ({self.argument}), "
                    f"but it ended after {before} batches, {made} into an epoch; pass something "
                    "that can start over, or ask for fewer"
                )
            made += 1
            yield examples, slice(None)
        if made == 0:
            raise ValueError(f"{self.name}: expected at least one batch, got none")
        if self.same and not self.once and self._walk is not None:
            self._end()

    def _end(self) -> None:
        """End this pass over `x`, so that the next batch is the first of another pass."""
        self._walk = None
        _tell(self.x, "on_epoch_end")

    def _next(self) -> Examples | None:
        """Take the next batch of this pass; None at its end."""
        if self._first:
            return self._first.pop()
        if self._walk is None:
            self._walk, self._number = _walk(self.x, self.limit is not None, self.argument), 0
            _tell(self.x, "on_epoch_begin")
        try:
            item = next(self._walk)
        except StopIteration:
            self._end()
            return None
        number, self._number = self._number, self._number + 1
        where = f"batch {number}" if self.name == "x" else f"{self.name}: batch {number}"
        try:
            return self.prepare(item)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}: {error}") from error


def is_batches(x: Any, rank: int, lone: bool = False) -> bool:
    """Return whether `x` yields batches; arrays, lists of rows and sliceable sources hold samples.

    Parameters
    ----------
    x : anything
    rank : int
        That of the model's x. A list of tuples whose first entries have this rank holds batches.
    lone : bool, default False
        Whether targets are missing unless they are in `x`: then a list of tuples (x, y) of arrays
        of any rank is meant as batches.
    """
    if isinstance(x, list):
        return bool(x) and all(
            isinstance(entry, tuple)
            and 1 <= len(entry) <= 3
            and (
                isinstance(entry[0], Mapping)  # of the inputs of a graph
                or _rank(entry[0]) == rank
                or (lone and len(entry) > 1 and hasattr(entry[0], "shape"))
            )
            for entry in x
        )
    if isinstance(x, _NO_BATCHES) or any(hasattr(x, name) for name in _EXPORTS):
        return False
    if is_streamed(x) or is_sparse(x):
        return False
    try:
        memoryview(x)
        return False
    except TypeError:
        pass
    if isinstance(x, type):
        return False
    if hasattr(x, "__iter__") or hasattr(x, "__next__"):
        return True
    return hasattr(x, "__getitem__") and (hasattr(x, "__len__") or _counts(x))


def is_streamed(values: Any) -> bool:
    """Return whether `values` is read in slices [rows, steps], as a file is, not all at once."""
    if isinstance(values, np.memmap):
        return values.ndim >= 2
    if isinstance(values, (np.ndarray, list, tuple, str)) or hasattr(values, "__dlpack__"):
        return False
    if is_sparse(values):
        return False
    return (
        all(hasattr(values, name) for name in ("shape", "dtype", "__getitem__"))
        and len(values.shape) >= 2
    )


def refuse_beside(**given: Any) -> None:
    """Raise ValueError if an argument is given that cannot be combined with batches."""
    reasons = {
        "y": "each batch is a tuple (x, y); if x is a sequence of rows, pass list(x)",
        "sample_weight": "each batch may be a tuple (x, y, sample_weight)",
        "batch_size": "each batch has the size in which it arrives",
        "validation_split": "it is not known where the last part begins; use validation_data",
        "shuffle": "the batches come in their own order; shuffle where they are made",
        "reset": "it is for samples in memory",
        "curriculum": "it orders samples in memory; order them where the batches are made",
        "mask": "it is for samples in memory; leave steps out, as in lists of rows",
        "state": "batches that do not continue each other begin with zeros; with stateful=True "
        "it is the state before the first",
        "return_state": "only with stateful=True is there one state after all batches",
    }
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}: expected none alongside x that yields batches, since {reasons[name]}"
            )


def parts_of(item: Any) -> tuple[Any, Any, Any]:
    """Return x, y and the weights, if any, of a batch to learn from or to be measured on."""
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
        raise TypeError(
            "x: expected each batch to be a tuple (x, y) or (x, y, sample_weight), got "
            f"{_checks.describe(item)}"
        )
    x, y, *weights = item
    if getattr(y, "ndim", None) == 0 or isinstance(y, (int, float, str)):
        raise ValueError(
            f"y: expected the targets of a batch, got a single one, {_checks.describe(y)}; x must "
            "yield batches of samples, not samples"
        )
    return x, y, weights[0] if weights else None


def inputs_of(item: Any, rank: int) -> Any:
    """Return x of a batch that is x itself or begins with it.

    A list is one of rows, unless the first of its at most three entries has already the `rank` of a
    batch, as in what a `DataLoader` collates.
    """
    if isinstance(item, tuple) and item:
        return item[0]
    if isinstance(item, list) and 1 <= len(item) <= 3 and _rank(item[0]) == rank:
        return item[0]
    return item


def joined(outputs: list[Any]) -> Any:
    """Join the outputs of batches: an array, or a list of rows if their lengths differ."""
    if all(
        isinstance(part, np.ndarray) and part.shape[1:] == outputs[0].shape[1:] for part in outputs
    ):
        return np.concatenate(outputs)
    return [row for part in outputs for row in part]


def _walk(x: Any, limited: bool, argument: str) -> Iterator[Any]:
    # Keras' PyDataset, which counts its batches, iterates forever if their number is not set.
    if not _counts(x) and (hasattr(x, "__iter__") or hasattr(x, "__next__")):
        return iter(x)
    length = _length(x)
    if length is None and not limited:
        raise ValueError(
            f"{argument}: expected the number of batches of an epoch, since "
            f"{type(x).__name__} does not say how many it has; got None"
        )
    return (x[number] for number in (count() if length is None else range(length)))


def _counts(x: Any) -> bool:
    return hasattr(type(x), "num_batches")


def _length(x: Any) -> int | None:
    """Return the number of batches in `x`, if it is known."""
    try:
        return int(x.num_batches)  # of Keras' PyDataset
    except (AttributeError, TypeError, NotImplementedError):
        pass
    try:
        return len(x)
    except (TypeError, NotImplementedError):
        return None


def _tell(x: Any, name: str) -> None:
    """Call the method of `x`, if it has one, as Keras does with its data sets."""
    method = getattr(x, name, None)
    if callable(method):
        method()


def _rank(value: Any) -> int:
    """Count the axes of an array, or of lists whose rows may have different lengths."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape)
    if isinstance(value, (list, tuple)):
        return 1 + (_rank(value[0]) if value else 0)
    return np.ndim(value)


def _refuse_single_samples(x: Any, name: str) -> None:
    """Refuse PyTorch's data sets, which hold samples that only a loader turns into batches."""
    for kind in type(x).__mro__:
        if kind.__name__ == "Dataset" and kind.__module__.startswith("torch.utils.data"):
            raise TypeError(
                f"{name}: expected batches, got a data set of single samples, {type(x).__name__}; "
                "pass torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)"
            )
