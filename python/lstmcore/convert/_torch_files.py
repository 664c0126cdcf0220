"""Read state dicts: mappings, safetensors files, and files that PyTorch reads."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._extras import how_to_install
from lstmcore._files import check_source
from lstmcore._typing import Array
from lstmcore.convert._strict import Tensor, tensor

PICKLED = (".pt", ".pth", ".bin")
COUNTER = "num_batches_tracked"
"""A BatchNorm's count of its training steps, an integer that is no weight."""

SAFE_NAMES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16"}


def read_state(source: Any, prefixes: Iterable[str] = ()) -> dict[str, Tensor]:
    """Describe the tensors of a state dict, or of a file that holds one, by name.

    A checkpoint holds state dicts among other things. Only state dicts whose names begin one of the
    prefixes are read; the tensors' names then begin with that name too.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.suffix == ".safetensors":
            check_source(path, "source")
            return _read_safetensors(path)
        if path.suffix not in PICKLED:
            raise ValueError(
                f"source: expected a file .safetensors, {', '.join(PICKLED)}, got {path.name!r}"
            )
        source = _load(path)
    if not isinstance(source, Mapping):
        raise TypeError(
            "source: expected a PyTorch module, a state dict or the path of one, got "
            f"{_checks.describe(source)}"
        )
    return {
        name: tensor(value, name)
        for name, value in _reached(source, prefixes).items()
        if not _counts(name)
    }


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def import_torch() -> Any:
    """Import PyTorch.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"PyTorch is not installed: {how_to_install('torch')}") from error
    return torch


def _load(path: Path) -> Any:
    torch = import_torch()
    check_source(path, "source")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ImportError):
        raise
    except Exception as error:  # one of many classes, with advice to run the file's code
        raise ValueError(
            f"{path}: expected a file of a state dict, as torch.save(module.state_dict(), path) "
            "writes it; this one is damaged, or holds other objects, such as a whole module, which "
            f"PyTorch does not load from a file without running code ({type(error).__name__})"
        ) from None


def _reached(source: Mapping[Any, Any], prefixes: Iterable[str]) -> dict[str, Any]:
    """Return the mappings inside that prefixes lead into; all of `source` if it holds none."""
    inner = {str(name): part for name, part in source.items() if isinstance(part, Mapping)}
    if not inner:
        return {str(name): value for name, value in source.items()}
    found: dict[str, Any] = {}
    for name, part in inner.items():
        rest = [
            prefix[len(name) + 1 :] for prefix in prefixes if f"{prefix}.".startswith(f"{name}.")
        ]
        if rest:
            found |= {f"{name}.{key}": value for key, value in _reached(part, rest).items()}
    if not found:
        name = next(iter(inner))
        raise TypeError(
            f"{name}: expected an array, got a mapping; a state dict in a checkpoint is read by a "
            f"prefix that begins with its name, such as {name!r}; there are "
            f"{', '.join(map(repr, inner))}"
        )
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    def read(name: str) -> Array:
        with safe_open(path, framework="numpy") as file:
            return np.array(file.get_tensor(name), order="C")

    found = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                if _counts(name):
                    continue
                part = file.get_slice(name)
                kind = SAFE_NAMES.get(part.get_dtype(), part.get_dtype())
                found[name] = Tensor(
                    tuple(part.get_shape()),
                    kind,
                    lambda name=name: read(name),  # type: ignore[misc]
                )
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file: {error}") from error
    return found
