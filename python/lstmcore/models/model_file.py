"""Model files: one safetensors file; all that is not an array is JSON in its metadata.

The format is described in docs/model_files.md. Files are written atomically and read strictly.
"""

import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._checks import METADATA_KEY
from lstmcore._files import OWN, as_path, check_ending, check_source, reading_hint, replace
from lstmcore._typing import Array

__all__ = ["FORMAT", "QUANTIZED_FORMAT", "read", "read_notes", "write"]

FORMAT = 1
"""The version of the format of models whose tensors are all of one type."""

QUANTIZED_FORMAT = 2
"""The version for quantized models, with tensors of int8; the newest that this package reads."""

DEEPEST = 64  # objects and lists within each other in the metadata

_DTYPES = {FORMAT: ("F32", "F64"), QUANTIZED_FORMAT: ("F32", "I8")}


def write(
    path: "str | os.PathLike[str]",
    tensors: Mapping[str, Array],
    document: Mapping[str, Any],
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a model file, atomically: `path` never holds half a file.

    Parameters
    ----------
    path : str or path
        An existing file is replaced.
    tensors : mapping of str to ndarray
        float32 or float64; with "quantization" in `document` float32 or int8.
    document : mapping
        Everything else, as JSON can hold it; "format" and "checksum" are added.
    notes : mapping of str to str, optional
        Other entries of the metadata, which readers of models ignore.

    Raises
    ------
    ValueError
        If the ending of `path` is that of another format, or `document` is nested too deeply to be
        read again.
    """
    from safetensors.numpy import save

    destination = as_path(path)
    check_ending(destination, OWN)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    version = QUANTIZED_FORMAT if "quantization" in document else FORMAT
    _check_depth(document)
    complete = {"format": version, **document, "checksum": checksum(arrays)}
    text = json.dumps(complete, ensure_ascii=False, allow_nan=False)
    replace(destination, save(arrays, {**(notes or {}), METADATA_KEY: text}))


def read(path: "str | os.PathLike[str]") -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a model file.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    tensors : dict of str to ndarray
    document : dict
        What `write` was given.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError
        If `path` is not a path.
    ValueError
        If it is truncated, damaged, not a model file, or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    check_source(as_path(path))
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            document = _document(path, file.metadata())
            known = _DTYPES[QUANTIZED_FORMAT if "quantization" in document else FORMAT]
            names = file.keys()
            tensors = {name: _tensor(path, file, name, known) for name in names}
    except SafetensorError as error:
        raise ValueError(
            f"{path}: truncated, damaged or not a safetensors file: "
            f"{_checks.shortened(str(error), _checks.LONGEST_MESSAGE)}{reading_hint(path)}"
        ) from error
    found = document.pop("checksum", None)
    if type(found) is not int or found != checksum(tensors):
        raise ValueError(f"{path}: the tensors are not those that were saved (wrong checksum)")
    return tensors, document


def read_notes(path: "str | os.PathLike[str]") -> dict[str, str]:
    """Read the metadata's entries other than the model's, from a file that `read` has read."""
    from safetensors import safe_open

    with safe_open(os.fspath(path), framework="numpy") as file:
        metadata = file.metadata() or {}
    return {name: text for name, text in metadata.items() if name != METADATA_KEY}


def checksum(tensors: Mapping[str, Array]) -> int:
    """Compute the CRC-32 of all tensors' bytes, in the order of their names."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(
            np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data, value
        )
    return value


def _document(path: Any, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise ValueError(f"{path}: not an lstmcore model, its metadata has no {METADATA_KEY!r}")
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        _check_depth(document)
    except RecursionError:
        raise ValueError(f"{path}: its metadata is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: its metadata is not JSON: {error}") from error
    if not isinstance(document, dict) or type(document.get("format")) is not int:
        raise ValueError(f"{path}: its metadata has no format number")
    version = document.pop("format")
    if version not in _DTYPES:
        newer = " by a newer lstmcore" if version > QUANTIZED_FORMAT else ""
        raise ValueError(
            f"{path}: written{newer} in format {version}, "
            f"expected format {FORMAT} or {QUANTIZED_FORMAT}"
        )
    if ("quantization" in document) != (version == QUANTIZED_FORMAT):
        problem = "missing" if version == QUANTIZED_FORMAT else f"format {version} has no"
        raise ValueError(f"{path}: metadata: {problem} quantization")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {_checks.quote(twice)} appears twice in an object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _check_depth(document: Any) -> None:
    """Raise ValueError if `document` is nested deeper than that of any model."""
    level = [document]
    for _ in range(DEEPEST):
        level = [
            entry
            for value in level
            if isinstance(value, (Mapping, list))
            for entry in (value.values() if isinstance(value, Mapping) else value)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST} deep")


def _tensor(path: Any, file: Any, name: str, known: tuple[str, ...]) -> Array:
    dtype = file.get_slice(name).get_dtype()
    if dtype not in known:
        what = _checks.shortened(name)
        raise ValueError(f"{path}: {what}: expected {' or '.join(known)}, got {dtype}")
    return np.asarray(file.get_tensor(name))
