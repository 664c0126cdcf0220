"""The weights of Keras' files and live objects, by the addresses that Keras uses in its files.

A `.keras` file is a zip archive of ``metadata.json``, ``config.json`` and ``model.weights.h5``. The
latter, and a `.weights.h5` file, hold each variable at an address such as
``layers/lstm_1/cell/vars/0``: class names in snake case, numbered, then attributes.
"""

import io
import json
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._extras import how_to_install
from lstmcore._typing import Array
from lstmcore.convert._strict import Tensor

LARGEST_JSON = 1 << 26
DEEPEST = 32  # levels of nested groups

CHILDREN = ("layers", "cell", "cells", "layer", "forward_layer", "backward_layer")
"""Attributes of Keras' objects that hold other objects with variables."""


def file_path(source: Any, name: str) -> Path:
    """Return `source` as a path."""
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"{name}: expected a Keras object or the path of a file, got {_checks.describe(source)}"
        )
    return Path(source)


@contextmanager
def open_file(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Yield the configuration ({} for `.weights.h5`) and the tensors by address."""
    h5py = import_h5py()
    if path.name.endswith(".weights.h5"):
        config: dict[str, Any] = {}
        content: Any = path.open("rb")
    elif path.suffix == ".keras":
        config, weights = _unzip(path)
        content = io.BytesIO(weights)
    else:
        raise ValueError(
            f"{path}: expected a file .keras or .weights.h5, as Keras 3 writes them; load others "
            "with Keras and save them again"
        )
    with content:
        try:
            file = h5py.File(content, "r")
        except (OSError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{path}: its weights are not an HDF5 file: {error}") from error
        with file:
            found: dict[str, Tensor] = {}
            with _damage(path):
                _collect(h5py, file, "", found, path)
            yield config, found


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


def snake_case(name: str) -> str:
    """Write the name of a class as Keras writes it in addresses."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


class Numbering:
    """Numbers repeated names: lstm, lstm_1, lstm_2."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def next(self, class_name: str) -> str:
        """Return the next name for an object of this class."""
        name = snake_case(class_name)
        number = self._used.get(name, -1) + 1
        self._used[name] = number
        return f"{name}_{number}" if number else name


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


def _unzip(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            missing = {"metadata.json", "config.json", "model.weights.h5"} - names
            if missing:
                raise ValueError(f"{path}: not a Keras 3 model: no {', '.join(sorted(missing))}")
            metadata = _json(archive, "metadata.json", path)
            version = str(metadata.get("keras_version", ""))
            if not version.startswith("3."):
                raise ValueError(f"{path}: expected a file of Keras 3, got Keras {version!r}")
            config = _json(archive, "config.json", path)
            return config, archive.read("model.weights.h5")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: not a readable zip archive: {error}") from error


def _json(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    if archive.getinfo(name).file_size > LARGEST_JSON:
        raise ValueError(f"{path}: {name} is larger than any configuration")
    try:
        document = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {name} is not JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise ValueError(f"{path}: {name} is not an object")
    return dict(document)


def _collect(h5py: Any, group: Any, address: str, found: dict[str, Tensor], path: Path) -> None:
    if address.count("/") > DEEPEST:
        raise ValueError(f"{path}: its groups are nested too deeply")
    for name in group:
        full = f"{address}{name}"
        # Links may lead out of the file or form cycles.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{path}: {full} is a link")
        entry = group[name]
        if isinstance(entry, h5py.Group):
            _collect(h5py, entry, full + "/", found, path)
        elif isinstance(entry, h5py.Dataset):
            if entry.external or entry.is_virtual:
                raise ValueError(f"{path}: {full} lies in another file")
            shape, kind = tuple(entry.shape or ()), entry.dtype.name
            found[full] = Tensor(shape, kind, _reader(entry, path))


def _reader(entry: Any, path: Path) -> Callable[[], Array]:
    def read() -> Array:
        with _damage(path):
            return np.array(entry[()], dtype=entry.dtype.newbyteorder("="))

    return read


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn h5py's many exceptions for damaged files into ValueError."""
    try:
        yield
    except (RuntimeError, LookupError, OSError, OverflowError, UnicodeError) as error:
        raise ValueError(f"{path}: its weights cannot be read: {error}") from error
