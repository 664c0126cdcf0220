"""Checks of all conversions: refuse tensors that are missing, extra or of another shape or type."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.config import LSTMConfig

LONGEST_NAME = 200
"""Characters of a tensor's name that an error message shows; names of nested modules are long."""


@dataclass(frozen=True)
class Tensor:
    """An array that may not have been read yet."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]


def tensor(value: Any, name: str) -> Tensor:
    """Describe an array or another framework's tensor."""
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        kind = str(value.dtype).removeprefix("torch.")
        if str(getattr(value, "device", "")) == "meta":
            raise ValueError(f"{name}: expected a tensor with numbers, got one on device 'meta'")
        return Tensor(tuple(value.shape), kind, lambda: _copy(value.detach().cpu().numpy()))
    if isinstance(value, Mapping):
        raise TypeError(f"{name}: expected an array, got a mapping; pass the one that holds arrays")
    array = _checks.any_array(value, name)
    return Tensor(array.shape, array.dtype.name, lambda: _copy(array))


def check(
    what: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]
) -> "np.dtype[Any]":
    """Return the common type of all tensors, after checking that they are those expected.

    Parameters
    ----------
    what : str
        Name of the tensors' owner, for errors.
    expected : mapping of str to tuple of int
        Names and shapes.
    found : mapping of str to Tensor

    Raises
    ------
    ValueError
        If tensors are missing, extra or have another shape; the error names all of them.
    TypeError
        If some are neither float32 nor float64, or they have different types.
    """
    problems = [
        f"missing {_short(name)} {shape}" for name, shape in expected.items() if name not in found
    ]
    problems += [
        f"unexpected {_short(name)} {found[name].shape}" for name in found if name not in expected
    ]
    problems += [
        f"{_short(name)}: expected shape {shape}, got {found[name].shape}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    wrong = type_problems(found)
    if problems:
        raise ValueError(f"{what}: {'; '.join(problems + wrong)}")
    if wrong:
        raise TypeError(f"{what}: {'; '.join(wrong)}")
    return np.dtype(next(iter(found.values())).dtype if found else "float32")


def type_problems(found: Mapping[str, Tensor]) -> list[str]:
    """Describe the tensors that do not have the one type that all must share."""
    names = [kind.name for kind in _checks.FLOAT_TYPES]
    wrong = [
        f"{_short(name)}: expected float32 or float64, got {entry.dtype}"
        for name, entry in found.items()
        if entry.dtype not in names
    ]
    if not wrong and len({entry.dtype for entry in found.values()}) > 1:
        kinds = ", ".join(f"{_short(name)} {entry.dtype}" for name, entry in found.items())
        wrong = [f"expected tensors of one type, got {kinds}"]
    return wrong


def refuse_options(config: LSTMConfig, allowed: Collection[str], form: str) -> None:
    """Raise ValueError if `config` has options that `form` cannot express."""
    plain = LSTMConfig(config.input_size, config.hidden_size)
    other = [
        f"{entry.name}={getattr(config, entry.name)!r}"
        for entry in fields(config)
        if entry.name not in allowed and getattr(config, entry.name) != getattr(plain, entry.name)
    ]
    if other:
        raise ValueError(f"config: {form} cannot express {', '.join(other)}")


def check_weights(weights: Any, config: Any) -> dict[str, Array]:
    """Return the weights of `config` as arrays, after checking both."""
    _checks.instance(config, LSTMConfig, "config", "an LSTMConfig")
    _checks.instance(weights, Mapping, "weights", "a mapping of names to arrays")
    found = {name: tensor(value, name) for name, value in weights.items()}
    check("weights", config.parameter_shapes(), found)
    return {name: found[name].read() for name in config.parameter_shapes()}


def _short(name: str) -> str:
    """Shorten a name that no framework gives, but a damaged file may hold."""
    return _checks.shortened(name, LONGEST_NAME)


def _copy(array: Array) -> Array:
    return np.array(array, order="C")
