"""Bytes of bool arrays become 0 or 1, which is all that ONNX Runtime expects of them.

NumPy takes every byte but 0 for true, such as those of a mask of bytes that is viewed as bool. ONNX
Runtime computes something else with them, without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from lstmcore._typing import Array

__all__ = ["has_odd_bools", "plain_bools", "with_plain_bools"]


def plain_bools(array: Array) -> Array:
    """Return a bool array, copied only if a byte of it is neither 0 nor 1."""
    numbers = array.view(np.uint8)
    return numbers != 0 if numbers.max(initial=0) > 1 else array


def with_plain_bools(inputs: Mapping[str, Array], names: Iterable[str]) -> Mapping[str, Array]:
    """Return inputs in which the named ones that are bool arrays have bytes of 0 and 1.

    Whatever else is wrong with them is left to those who check them.
    """
    if not isinstance(inputs, Mapping):
        return inputs
    mended = {}
    for name in names:
        value = inputs.get(name)
        array = np.asarray(value) if isinstance(value, np.bool_) else value
        if type(array) is np.ndarray and array.dtype == np.bool_:
            plain = plain_bools(array)
            if plain is not array:
                mended[name] = plain
    return {**inputs, **mended} if mended else inputs


def has_odd_bools(tensor: Any) -> bool:
    """Return whether a tensor of a file has bytes of bools that are neither 0 nor 1."""
    if tensor.data_type != TensorProto.BOOL:
        return False
    return bool(np.frombuffer(tensor.raw_data, np.uint8).max(initial=0) > 1)
