"""Matrices as 8-bit integers with a float32 scale for each output, as in the engine.

``quantize_panel`` in ``cpp/src/kernels/lowp/factors.hpp`` computes the same numbers, and
``cpp/src/model_file/model_file.cpp`` makes the same checks of a file.
"""

from collections.abc import Mapping

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.layers.parameters import WeightSpec

__all__ = ["check_names", "decode", "encode", "is_matrix", "pack", "unpack"]

SCALE = ".scale"
"""Suffix that turns a tensor's name into the name of its scales."""

LARGEST = np.float32(127)
LEAST_SCALE = np.float32(1e-37)
"""Smallest scale; a smaller one's inverse would overflow, and its values are practically zero."""
MOST_SCALE = np.finfo(np.float32).max / LARGEST
"""Largest scale; above it, the product of a number and its scale would overflow."""

_LOW_DIGITS = np.uint32(0xFF)


def encode(name: str, values: Array, inputs: int | tuple[int, ...]) -> tuple[Array, Array]:
    """Round `values` to multiples of a scale for each output.

    Parameters
    ----------
    name : str
        Name in errors.
    values : ndarray of float32
    inputs : int or tuple of int
        The axes that an output sums over; the other axes are those of the outputs.

    Returns
    -------
    numbers : ndarray of int8, shape of `values`
        From -127 to 127, rounded to nearest, ties to even.
    scales : ndarray of float32
        The largest magnitude of an output's values divided by 127, rounded up to 16 significant
        bits. The product of a number and a scale is therefore exact, and encoding such products
        returns the same numbers and scales.

    Raises
    ------
    ValueError
        If a value is not finite, or so large that its rounded value is not.
    """
    largest = np.abs(values).max(axis=inputs, keepdims=True, initial=0)
    if not np.isfinite(largest).all():
        raise ValueError(f"{name}: expected finite values, got {_first_other(values)}")
    bits = (largest / LARGEST).view(np.uint32)
    scales: Array = ((bits + _LOW_DIGITS) & ~_LOW_DIGITS).view(np.float32)
    if (scales > MOST_SCALE).any():
        raise ValueError(f"{name}: too large to be rounded, got {largest.max()}")
    scales[scales < LEAST_SCALE] = 0.0
    inverse = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales > 0)
    numbers: Array = np.rint(values * inverse).astype(np.int8)
    return numbers, scales.squeeze(inputs)


def decode(numbers: Array, scales: Array, inputs: int | tuple[int, ...]) -> Array:
    """Return the float32 values of numbers and scales; see `encode`."""
    values: Array = numbers.astype(np.float32) * np.expand_dims(scales, inputs)
    return values


def _scale_shape(spec: WeightSpec) -> tuple[int, ...]:
    """Return the shape of a matrix's scales, which is that of its outputs."""
    inputs = (spec.inputs,) if isinstance(spec.inputs, int) else spec.inputs
    summed = {axis % len(spec.shape) for axis in inputs}
    return tuple(size for axis, size in enumerate(spec.shape) if axis not in summed)


def is_matrix(spec: WeightSpec) -> bool:
    """Return whether a weight is stored as integers, as all but vectors and statistics are."""
    return spec.rounded and len(spec.shape) > 1


def check_names(specs: Mapping[str, WeightSpec]) -> None:
    """Raise ValueError if the name of a matrix's scales would clash with another weight."""
    for name, spec in specs.items():
        if is_matrix(spec) and name + SCALE in specs:
            raise ValueError(
                f"{name + SCALE}: expected no weight of this name, which is reserved for the "
                f"scales of {name}"
            )


def pack(weights: Mapping[str, Array], specs: Mapping[str, WeightSpec]) -> dict[str, Array]:
    """Turn the weights of a quantized model into the tensors of a file.

    Raises
    ------
    ValueError
        If numbers and scales cannot represent a matrix exactly, because it was modified.
    """
    tensors: dict[str, Array] = {}
    for name, values in weights.items():
        spec = specs[name]
        if not is_matrix(spec):
            tensors[name] = values
            continue
        numbers, scales = encode(name, values, spec.inputs)
        if not np.array_equal(decode(numbers, scales, spec.inputs), values):
            raise ValueError(
                f"{name}: expected values that 8 bits and a scale represent, as after quantize, "
                "got some that were changed afterwards; change the model and quantize it again"
            )
        tensors[name], tensors[name + SCALE] = numbers, scales
    return tensors


def unpack(tensors: Mapping[str, Array], specs: Mapping[str, WeightSpec]) -> dict[str, Array]:
    """Undo `pack`, with strict checks; pass on tensors that belong to no weight.

    Raises
    ------
    ValueError
        If numbers or scales are missing, or `encode` cannot have made them.
    """
    rest = dict(tensors)
    values: dict[str, Array] = {}
    for name, spec in specs.items():
        if not is_matrix(spec):
            continue
        numbers = _take(rest, name, spec.shape, np.dtype(np.int8))
        scales = _take(rest, name + SCALE, _scale_shape(spec), np.dtype(np.float32))
        _check_scales(name + SCALE, scales)
        largest = np.abs(numbers.astype(np.int16)).max(axis=spec.inputs, initial=0)
        wrong = largest != np.where(scales > 0, LARGEST, 0)
        if wrong.any():
            place = tuple(map(int, np.argwhere(wrong)[0]))
            expected = int(LARGEST) if scales[place] > 0 else 0
            raise ValueError(
                f"{name}: expected {expected} as the largest magnitude of the integers that "
                f"{name + SCALE} scales by {scales[place]}, got {largest[place]}"
            )
        values[name] = decode(numbers, scales, spec.inputs)
    return {**rest, **values}


def _take(
    tensors: dict[str, Array], name: str, shape: tuple[int, ...], dtype: "np.dtype[np.generic]"
) -> Array:
    if name not in tensors:
        raise ValueError(f"tensors: missing {_checks.shortened(name)}")
    tensor = tensors.pop(name)
    if tensor.shape != shape or tensor.dtype != dtype:
        raise ValueError(
            f"{name}: expected {dtype} of shape {shape}, got {tensor.dtype} of shape {tensor.shape}"
        )
    return tensor


def _check_scales(name: str, scales: Array) -> None:
    """Raise ValueError unless `encode` can have made such scales."""
    flat = scales.reshape(-1)
    in_range = (flat >= LEAST_SCALE) & (flat <= MOST_SCALE)
    wrong = ~in_range & (flat.view(np.uint32) != 0)
    if wrong.any():
        raise ValueError(
            f"{name}: expected scales of 0 or from {LEAST_SCALE} to {MOST_SCALE}, "
            f"got {flat[wrong][0]}"
        )
    longer = (flat.view(np.uint32) & _LOW_DIGITS) != 0
    if longer.any():
        raise ValueError(
            f"{name}: expected scales of 16 binary digits, got {float(flat[longer][0])!r}"
        )


def _first_other(values: Array) -> str:
    """Format the first value that is not finite."""
    return str(values[~np.isfinite(values)].flat[0])
