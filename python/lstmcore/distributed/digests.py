"""Digests by which processes find out whether they train the same model on the same data."""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any, Protocol

import numpy as np

from lstmcore import _core
from lstmcore._configurable import encode
from lstmcore._typing import Array
from lstmcore.precision import get_precision
from lstmcore.training.data import Ragged
from lstmcore.training.trainable import Trainable

__all__ = ["SLOTS", "WEIGHTS", "digest", "digests_of", "digests_of_training", "platform"]

WEIGHTS, SLOTS = "weights", "optimizer's slots"
"""Names of what training changes."""

MAPPED = 2**24
"""Of an array in a mapped file, the bytes that are read."""

BLOCK = 2**24
"""Bytes of an array that are copied at a time where they do not lie side by side."""

SAMPLE = 2**12
"""Bytes of each of the places, evenly spread, at which an array is read that is not read whole."""


CHANGED = ("slots", "iterations")
"""Attributes of optimizers that training changes."""

DEPTH = 6
"""How far objects of the user's own are looked into."""

_PLAIN = (bool, int, float, str, bytes, np.generic, np.ndarray)


class _Hash(Protocol):
    def update(self, data: Any, /) -> None: ...


def platform() -> dict[str, Any]:
    """Return the versions and processor features on which the bits of a result depend."""
    return {
        "version of lstmcore": _core.__version__,
        "version of NumPy": np.__version__,
        "processor features for NumPy": _numpy_features(),
        "instruction set": _core.isa(),
        "precision": get_precision(),
        "units": {name: _core.product_unit(name) for name in _core.precision_names()},
    }


def _numpy_features() -> list[str]:
    """Return the vector extensions that NumPy uses: its sums are in another order with others."""
    found: Any = np.show_config(mode="dicts")
    return sorted(found["SIMD Extensions"].get("found", []))


def digests_of(model: Trainable, what: Mapping[str, object]) -> dict[str, str]:
    """Return a digest of everything that must not differ between processes.

    Parameters
    ----------
    model : Trainable
        Built and compiled, with an optimizer that is built.
    what : mapping of str to object
        Data and arguments of `fit`, by name.
    """
    subject: Any = model  # every model describes itself, for its file
    parts = {
        **platform(),
        "layers": _described(subject._document()),
        "seed": (model.seed, model.dtype.name),
        "optimizer, loss and metrics": _steering(subject.compiled),
        **what,
    }
    return {**{name: digest(value) for name, value in parts.items()}, **digests_of_training(model)}


def digests_of_training(model: Trainable) -> dict[str, str]:
    """Return digests of what training changes: weights, and what the optimizer remembers."""
    optimizer = model.optimizer
    return {
        WEIGHTS: digest(model.parameters.values),
        SLOTS: digest((optimizer.iterations, optimizer.slots)),
    }


def digest(value: object, whole: int | None = None) -> str:
    """Return a digest of arrays and numbers, and of tuples, dicts and dataclasses of them.

    Of an array of more than `whole` bytes, or in a mapped file, only a sample counts; of one that a
    library reads from a file, its shape and its first and last row; of any other object, its class.
    """
    # SHA-1 reads 1.9 GB a second here, BLAKE2b 0.8. Nobody is deceived: it guards against mistakes.
    found = hashlib.sha1(usedforsecurity=False)
    _add(found, value, whole)
    return found.hexdigest()


def _described(description: Any) -> str:
    """Return a description as text that is the same in every process."""
    with suppress(ValueError):
        description = encode(description)
    return json.dumps(description, sort_keys=True, default=lambda other: type(other).__name__)


def _steering(compiled: Any) -> list[Any]:
    """Return what can be compared of an optimizer, losses and metrics, each apart."""
    heads = compiled.heads
    things = [compiled.optimizer]
    for head in heads:
        things += [head.loss, *head.metrics]
    weighted = [[metric.name for metric in head.weighted] for head in heads]
    return [*map(_thing, things), weighted, getattr(compiled, "loss_weights", None)]


def _thing(thing: Any) -> list[Any]:
    """Return the configuration of an object, and what lies in it if the user wrote some of it."""
    found: list[Any] = [type(thing).__qualname__]
    try:
        found.append(encode(thing))
    except Exception:  # of a class that no file can hold
        found.append(None)
    own = {name: value for name, value in vars(thing).items() if name not in CHANGED}
    ours = type(thing).__module__.startswith("lstmcore.")
    if not ours or any(isinstance(value, FunctionType) for value in own.values()):
        found.append(_inside(own, DEPTH))
    return found


def _inside(value: Any, depth: int) -> Any:
    """Return the plain values and arrays in a value, also those that functions refer to."""
    if depth == 0 or value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {str(key): _inside(entry, depth - 1) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [_inside(entry, depth - 1) for entry in value]
    if isinstance(value, FunctionType):
        code, cells = value.__code__, inspect.getclosurevars(value).nonlocals
        parts = (value.__defaults__, value.__kwdefaults__, code.co_consts, cells)
        return [value.__qualname__, code.co_names, *(_inside(part, depth - 1) for part in parts)]
    return [type(value).__qualname__, _inside(getattr(value, "__dict__", {}), depth - 1)]


def _add(found: _Hash, value: Any, whole: int | None) -> None:
    found.update(type(value).__name__.encode())
    if isinstance(value, np.ndarray):
        _add_array(found, value, whole)
    elif isinstance(value, Ragged):
        for part in (value.values, value.lengths, value.starts):
            _add(found, part, whole)
    elif isinstance(value, (bool, int, float, str, bytes, np.generic)):
        found.update(repr(value).encode())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            found.update(str(key).encode())
            _add(found, value[key], whole)
    elif isinstance(value, (tuple, list)):
        for part in value:
            _add(found, part, whole)
    elif is_dataclass(value):
        for field in fields(value):
            found.update(field.name.encode())
            _add(found, getattr(value, field.name), whole)
    elif hasattr(value, "shape") and hasattr(value, "__getitem__"):  # such as an array in a file
        found.update(repr((tuple(value.shape), str(value.dtype))).encode())
        for row in (slice(0, 1), slice(len(value) - 1, len(value))) if value.shape[0] else ():
            _add_array(found, np.asarray(value[row]), whole)


def _add_array(found: _Hash, array: Array, whole: int | None) -> None:
    found.update(repr((array.dtype.str, array.shape)).encode())
    if array.dtype.hasobject:
        found.update(repr(array.tolist()).encode())
        return
    if whole is None and isinstance(array, np.memmap):
        whole = MAPPED
    if whole is None or array.nbytes <= whole:
        for block in _blocks(array):
            found.update(block.reshape(-1).view(np.uint8))
        return
    if not array.flags.c_contiguous:
        rows = max(1, whole * len(array) // array.nbytes)
        array = array[np.linspace(0, len(array) - 1, rows).astype(np.int64)]
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for begin in np.linspace(0, max(0, flat.size - SAMPLE), whole // SAMPLE).astype(np.int64):
        found.update(flat[begin : begin + SAMPLE])


def _blocks(array: Array) -> Iterator[Array]:
    """Yield an array in the order of C, in blocks, so that a copy of no more than one is needed."""
    if array.flags.c_contiguous or array.ndim == 0:
        yield np.ascontiguousarray(array)
        return
    rows = max(1, BLOCK * len(array) // max(1, array.nbytes))
    for begin in range(0, len(array), rows):
        yield np.ascontiguousarray(array[begin : begin + rows])
