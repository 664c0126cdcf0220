"""State dicts: mappings, safetensors files, and files that PyTorch reads."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.convert._strict import Tensor, tensor

PICKLED = (".pt", ".pth", ".bin")
SAFE_NAMES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16"}


def read_state(source: Any) -> dict[str, Tensor]:
    """Describe the tensors of a state dict or of a file of one, by name."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if path.suffix not in PICKLED:
            raise ValueError(
                f"source: expected a file .safetensors, {', '.join(PICKLED)}, got {path.name!r}"
            )
        from lstmcore.convert.pytorch import import_torch

        source = import_torch().load(path, map_location="cpu", weights_only=True)
    if not isinstance(source, Mapping):
        raise TypeError(
            "source: expected a PyTorch module, a state dict or the path of one, got "
            f"{_checks.describe(source)}"
        )
    return {str(name): tensor(value, str(name)) for name, value in source.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    def read(name: str) -> Array:
        with safe_open(path, framework="numpy") as file:
            return np.array(file.get_tensor(name), order="C")

    found = {}
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                part = file.get_slice(name)
                kind = SAFE_NAMES.get(part.get_dtype(), part.get_dtype())
                found[name] = Tensor(
                    tuple(part.get_shape()),
                    kind,
                    lambda name=name: read(name),  # type: ignore[misc]
                )
    except SafetensorError as error:
        raise ValueError(f"{path}: no safetensors file: {error}") from error
    return found
