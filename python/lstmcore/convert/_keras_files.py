"""Keras' files and live objects: their configurations and variables.

A `.keras` file is a zip archive of ``metadata.json``, ``config.json`` and ``model.weights.h5``. The
latter, and a `.weights.h5` file, hold each variable at an address. An `.h5` file of Keras 2 holds
the configuration as an attribute, and the variables in a group for each layer of the model, whose
attribute lists them; weights alone lie in the same groups at the root.
"""

import io
import json
import math
import os
import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._extras import how_to_install
from lstmcore._files import check_source
from lstmcore._typing import Array
from lstmcore.convert._hdf5_sizes import check_attribute, check_chunks
from lstmcore.convert._keras_weights import LAYERS, ByAddress, ByGroup, Numbering, Weights
from lstmcore.convert._strict import Tensor

LARGEST_JSON = 1 << 21
"""Bytes of a configuration; it may also be as large as its archive."""

TIMES, ROOM = 4, 1 << 26
"""What a file says that it holds may be so many times as large as the file, and so much larger.

Compression, and tensors of which HDF5 stores nothing because they are all zeros, would otherwise
let a small file ask for any amount of memory.
"""

DEEPEST = 32  # levels of nested groups

CHILDREN = ("layers", "cell", "cells", "layer", "forward_layer", "backward_layer")
"""Attributes of Keras' objects that hold other objects with variables."""

OLD_LAYERS = "_layer_checkpoint_dependencies/"
"""What Keras 2 calls `LAYERS` in `.keras` files."""

TOP_LEVEL = "top_level_model_weights"
"""The group of weights that belong to none of the layers."""


@dataclass(frozen=True)
class KerasFile:
    """What a file holds, before any of it is checked."""

    document: dict[str, Any]
    """The configuration of the model; {} if it holds weights alone."""
    version: str
    """Of the Keras that wrote it; "" if the file does not say."""
    weights: Weights


def file_path(source: Any, name: str) -> Path:
    """Return `source` as a path."""
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"{name}: expected a Keras object or the path of a file, got {_checks.describe(source)}"
        )
    return Path(source)


@contextmanager
def open_file(path: Path) -> Iterator[KerasFile]:
    """Open a file for reading its tensors; its content decides how, not its ending.

    Errors of the block pass as they are.

    Raises
    ------
    ValueError
        If it is not one of Keras' files, or is damaged.
    """
    h5py = import_h5py()
    check_source(path, "source")
    with path.open("rb") as content, ExitStack() as opened:
        with naming(path):
            found = _opened(h5py, content, path, opened)
        yield found


def _opened(h5py: Any, content: Any, path: Path, opened: ExitStack) -> KerasFile:
    archived = content.read(4) == b"PK\x03\x04"
    if archived or (path.suffix == ".keras" and not h5py.is_hdf5(path)):
        document, version, weights = _unzip(path)
        inner = io.BytesIO(weights)
        file = opened.enter_context(_hdf5(h5py, inner, path))
        return KerasFile(document, version, _by_address(_tensors(h5py, inner, file, path)))
    content.seek(0)
    file = opened.enter_context(_hdf5(h5py, content, path))
    return _old_or_alone(h5py, content, file, path)


def _hdf5(h5py: Any, content: Any, path: Path) -> Any:
    try:
        return h5py.File(content, "r")
    except (OSError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{path}: expected a file of Keras, .keras, .h5 or .weights.h5; its weights are not "
            f"an HDF5 file: {error}"
        ) from error


def _by_address(tensors: dict[str, Tensor]) -> ByAddress:
    doubled = any(address.startswith(OLD_LAYERS) for address in tensors)
    if doubled:
        tensors = {name.replace(OLD_LAYERS, LAYERS): entry for name, entry in tensors.items()}
    return ByAddress(tensors, doubled)


def _old_or_alone(h5py: Any, content: Any, file: Any, path: Path) -> KerasFile:
    """Describe a file in Keras 2's layout, or a `.weights.h5` file."""
    tensors = _tensors(h5py, content, file, path)
    attributes = _Attributes(h5py, content)
    with _damage(path):
        within = "model_weights/" if "model_weights" in file else ""
        root = file[within or "/"]
        if not _has_list(root, "layer_names"):
            return KerasFile({}, "", _by_address(tensors))
        names = attributes.distinct(root, "layer_names")
        names += [TOP_LEVEL] if TOP_LEVEL in root else []
        groups = {
            name: {
                entry: tensors[f"{within}{name}/{entry}"]
                for entry in attributes.distinct(root[name], "weight_names")
            }
            for name in names
        }
        config = attributes.one(file, "model_config")
        backend, version = (
            _text(attributes.one(file, name, attributes.one(root, name, "")))
            for name in ("backend", "keras_version")
        )
    document = {} if config is None else _parse(config, "model_config", path)
    return KerasFile(document, version, ByGroup(groups, backend == "theano"))


def _has_list(group: Any, name: str) -> bool:
    return name in group.attrs or f"{name}0" in group.attrs


class _Attributes:
    """Reads attributes, after comparing what they declare with what the file holds."""

    def __init__(self, h5py: Any, content: Any) -> None:
        self._h5py, self._content = h5py, content

    def distinct(self, group: Any, name: str) -> list[str]:
        """Return a list of names; raise ValueError if one stands in it twice.

        Each of them is looked up, so that a short file could ask for the same lists again and
        again.
        """
        names = self.list(group, name)
        if len(set(names)) < len(names):
            twice = next(entry for entry, count in Counter(names).items() if count > 1)
            raise ValueError(f"{name}: expected distinct names, got {twice!r} more than once")
        return names

    def list(self, group: Any, name: str) -> list[str]:
        """Return a list of names, which several attributes share if it is too long for one."""
        if name in group.attrs:
            parts = [self.one(group, name)]
        else:
            parts = []
            while f"{name}{len(parts)}" in group.attrs:
                parts.append(self.one(group, f"{name}{len(parts)}"))
        return [_text(entry) for part in parts for entry in np.asarray(part).ravel()]

    def one(self, holder: Any, name: str, default: Any = None) -> Any:
        """Return an attribute of a group, or `default` if it has none of this name."""
        if name not in holder.attrs:
            return default
        known = holder.attrs.get_id(name)
        if known.shape is None:
            raise ValueError(f"its attribute {name!r} holds nothing")
        if (size := math.prod(known.shape) * known.dtype.itemsize) > ROOM:
            raise ValueError(f"its attribute {name!r} would have {size} bytes")
        check_attribute(self._h5py, self._content, holder, name)
        return holder.attrs[name]


def _text(value: Any) -> str:
    """Return an attribute as text; some versions of Keras and h5py wrote bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def import_h5py() -> Any:
    """Import h5py.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"h5py is not installed: {how_to_install('keras')}") from error
    return h5py


def live_tensors(root: Any) -> dict[str, Any]:
    """List a live object's variables by address."""
    found: dict[str, Any] = {}
    _visit(root, "", found)
    return found


def describe_variable(variable: Any) -> Tensor:
    """Describe a live variable."""
    keras = sys.modules["keras"]

    def read() -> Array:
        value = getattr(variable, "value", variable)
        if hasattr(value, "detach"):  # a PyTorch tensor, which may be on another device
            return np.array(value.detach().cpu().numpy())
        return np.array(keras.ops.convert_to_numpy(value))

    return Tensor(tuple(variable.shape), str(variable.dtype), read)


def _visit(thing: Any, address: str, found: dict[str, Any]) -> None:
    own: dict[str, Any] = {}
    thing.save_own_variables(own)
    for key, variable in own.items():
        found[f"{address}vars/{key}"] = variable
    for attribute in CHILDREN:
        child = getattr(thing, attribute, None)
        if isinstance(child, (list, tuple)):
            names = Numbering()
            for entry in child:
                name = names.next(type(entry).__name__)
                _visit(entry, f"{address}{attribute}/{name}/", found)
        elif hasattr(child, "save_own_variables"):
            _visit(child, f"{address}{attribute}/", found)


_BROKEN: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_BROKEN += (NotImplementedError, RuntimeError)
try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without
    pass
else:
    _BROKEN += (LZMAError,)


def _unzip(path: Path) -> tuple[dict[str, Any], str, bytes]:
    """Return the configuration, the version of Keras, and the HDF5 file of a `.keras` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            missing = {"metadata.json", "config.json", "model.weights.h5"} - names
            if missing:
                raise ValueError(f"{path}: not a Keras model: no {', '.join(sorted(missing))}")
            metadata = _json(archive, "metadata.json", path)
            version = str(metadata.get("keras_version", ""))
            config = _json(archive, "config.json", path)
            size = archive.getinfo("model.weights.h5").file_size
            _check_size("model.weights.h5", size, path)
            return config, version, archive.read("model.weights.h5")
    except OSError as error:
        if error.filename is not None:
            raise
        if error.errno is not None:  # of a disk, perhaps
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise ValueError(f"{path}: not a readable zip archive: {error}") from error  # bz2's
    except _BROKEN as error:
        raise ValueError(f"{path}: not a readable zip archive: {error}") from error


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    if archive.getinfo(name).file_size > LARGEST_JSON + path.stat().st_size:
        raise ValueError(f"{path}: {name} is larger than any configuration")
    return _parse(archive.read(name), name, path)


def _check_size(what: str, size: int, path: Path) -> None:
    """Raise ValueError if what a file says that it holds is far larger than the file."""
    stored = path.stat().st_size
    if size > TIMES * stored + ROOM:
        raise ValueError(f"{path}: {what} would have {size} bytes, in a file of {stored} bytes")


def _parse(text: str | bytes, name: str, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: {name} is not JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise ValueError(f"{path}: {name} is not an object")
    return dict(document)


def _tensors(h5py: Any, content: Any, file: Any, path: Path) -> dict[str, Tensor]:
    """List all tensors of an HDF5 file by their addresses."""
    contents = _Contents(h5py, content, path)
    with _damage(path):
        contents.collect(file, "")
    return contents.tensors


class _Contents:
    """What was found in an HDF5 file."""

    def __init__(self, h5py: Any, content: Any, path: Path) -> None:
        self._h5py, self._content, self._path = h5py, content, path
        self._bytes = 0
        self._groups: set[int] = set()
        self.tensors: dict[str, Tensor] = {}

    def collect(self, group: Any, address: str) -> None:
        """Enter the tensors of a group and of those in it."""
        if address.count("/") > DEEPEST:
            raise ValueError(f"{self._path}: its groups are nested too deeply")
        place = self._h5py.h5o.get_info(group.id).addr
        if place in self._groups:  # one that holds itself, perhaps
            raise ValueError(f"{self._path}: the group {address!r} has another name too")
        self._groups.add(place)
        for name in group:
            full = f"{address}{name}"
            # Links may lead out of the file or form cycles.
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise ValueError(f"{self._path}: {full} is a link")
            entry = group[name]
            if isinstance(entry, self._h5py.Group):
                self.collect(entry, full + "/")
            elif isinstance(entry, self._h5py.Dataset):
                self._enter(entry, full)

    def _enter(self, entry: Any, full: str) -> None:
        if entry.external or entry.is_virtual:
            raise ValueError(f"{self._path}: {full} lies in another file")
        shape, kind = tuple(entry.shape or ()), entry.dtype.name
        self._bytes += math.prod(shape) * entry.dtype.itemsize
        _check_size("its tensors", self._bytes, self._path)
        self.tensors[full] = Tensor(shape, kind, self._reader(entry))

    def _reader(self, entry: Any) -> Callable[[], Array]:
        def read() -> Array:
            most = TIMES * self._path.stat().st_size + ROOM
            with naming(self._path), _damage(self._path):
                check_chunks(self._h5py, self._content, entry, most)
                return np.array(entry[()], dtype=entry.dtype.newbyteorder("="))

        return read


@contextmanager
def naming(path: Path, *arguments: str) -> Iterator[None]:
    """Let errors about what a file holds name it, without the ends of its long texts.

    Those that begin with one of the caller's `arguments` pass as they are, as do other classes.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        if text.startswith(tuple(f"{name}: " for name in arguments)):
            raise
        short = _checks.shortened(text, _checks.LONGEST_MESSAGE)
        if str(path) not in short:
            short = f"{path}: {short}"
        if short == text or type(error) not in (TypeError, ValueError):
            raise
        raise type(error)(short) from error


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn h5py's many exceptions for damaged files into ValueError."""
    try:
        yield
    except (RuntimeError, LookupError, OSError, OverflowError, UnicodeError) as error:
        raise ValueError(f"{path}: its weights cannot be read: {error}") from error
