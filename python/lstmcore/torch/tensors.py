"""Tensors as arrays that share their memory, and errors that advise what to do otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lstmcore import _checks
from lstmcore._typing import Array

FLOAT_TYPES = (torch.float32, torch.float64)


class InputError(ValueError, RuntimeError):
    """An argument of a call is wrong; programs for PyTorch's modules catch RuntimeError."""


class InputTypeError(InputError, TypeError):
    """An argument of a call is of the wrong type: not a tensor, or one of another dtype or kind."""


def input_error(error: Exception) -> InputError:
    """Return the error of a call for one that knows nothing of PyTorch."""
    return (InputTypeError if isinstance(error, TypeError) else InputError)(str(error))


def pytorchs_words(check: Callable[..., Any], *arguments: Any) -> str:
    """Return the message of PyTorch's own check, as the end of a message about the same mistake.

    Programs look for such words. "" if PyTorch has none for it.
    """
    if torch.compiler.is_compiling():
        return ""
    try:
        with torch.no_grad():
            check(*arguments)
    except (RuntimeError, ValueError) as error:
        return f" (PyTorch: {str(error).splitlines()[0]})"
    except Exception:  # an argument that PyTorch does not expect at all
        return ""
    return ""


def array_of(tensor: Any, name: str, like: Any = None) -> Array:
    """Return an array that shares the memory of a tensor (for a lazily negated one, a copy).

    Raises InputTypeError unless it is a dense tensor of float32 or float64 on the CPU, with the
    dtype of `like` if that is not None.
    """
    try:
        array: Array = (tensor.detach() if tensor.requires_grad else tensor).resolve_neg().numpy()
        if array.dtype.char in "fd" and (like is None or tensor.dtype is like.dtype):
            return array
    except (AttributeError, RuntimeError, TypeError, NotImplementedError) as error:
        raise InputTypeError(complaint(tensor, name, like, error)) from error
    raise InputTypeError(complaint(tensor, name, like))


def expect_tensor(value: Any, name: str) -> None:
    """Raise InputTypeError unless `value` is a tensor with a shape; the call checks the rest."""
    if not isinstance(value, torch.Tensor) or value.is_nested:
        raise InputTypeError(complaint(value, name, None))


def complaint(tensor: Any, name: str, like: Any, error: Exception | None = None) -> str:
    """Return the message of an error: what is wrong with `tensor`, and what to do."""
    served = "torch.float32 or torch.float64"
    wanted = f"{like.dtype} like the weights" if isinstance(like, torch.Tensor) else served
    if not isinstance(tensor, torch.Tensor):
        came = type(tensor).__name__
        advice = "; torch.from_numpy shares its memory" if isinstance(tensor, np.ndarray) else ""
        return f"{name}: expected a tensor of {wanted}, got {came}{advice}"
    if tensor.device.type == "meta":
        return (
            f"{name}: expected a tensor on the CPU, got one on meta, which has no values: give the "
            "module memory by .to_empty(device='cpu') and load its weights"
        )
    if tensor.device.type != "cpu":
        return (
            f"{name}: expected a tensor on the CPU, got one on {tensor.device}: lstmcore computes "
            "on the CPU only, so call .cpu(), or restore_lstm(model) for torch.nn.LSTM there"
        )
    if tensor.is_nested:
        return (
            f"{name}: expected a dense tensor, got a nested one: call .to_padded_tensor(0.0), and "
            "pass lengths"
        )
    if tensor.layout is not torch.strided:
        return f"{name}: expected a dense tensor, got {tensor.layout}: call .to_dense()"
    came = f"got {tensor.dtype}"
    if tensor.dtype in (torch.bfloat16, torch.float16):
        advice = "convert by .float()"
        if torch.is_autocast_enabled("cpu"):
            advice += ", and call inside torch.autocast('cpu', enabled=False)"
    elif tensor.dtype.is_complex:
        advice = "an LSTM of complex numbers is not defined; pass .real and .imag as features"
    elif tensor.dtype in FLOAT_TYPES:
        advice = f"convert this by .to(...) or the module by .to({tensor.dtype})"
    else:
        advice = "convert by .float()"
    if error is not None and tensor.dtype in FLOAT_TYPES:
        return (
            f"{name}: expected a tensor with memory of its own, got {type(tensor).__name__} "
            f"({str(error).splitlines()[0]})"
        )
    return f"{name}: expected {wanted}, {came}; nothing is converted silently: {advice}"


def flags_of(value: Any, name: str, shape: tuple[Any, ...], letters: str) -> Any:
    """Return bools of `shape` as a tensor; in errors `letters` names the shape."""
    flags = _small(value, name, "bools")
    if flags.dtype is not torch.bool or flags.device.type != "cpu":
        raise InputTypeError(
            f"{name}: expected bools on the CPU, got {flags.dtype} on {flags.device}"
        )
    if tuple(flags.shape) != shape:
        raise InputError(f"{name}: expected shape {letters} = {shape}, got {tuple(flags.shape)}")
    return flags


def _small(value: Any, name: str, what: str) -> Any:
    """Return an argument, a tensor or array_like of `what`, as a tensor."""
    if isinstance(value, torch.Tensor):
        return value
    try:
        if isinstance(
            value, np.ndarray
        ):  # copied, since it may be read-only or have negative strides
            value = np.array(value)
        return torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(f"{name}: expected {what}, got {repr(value)[:60]}") from error
    except OverflowError:
        message = f"{name}: expected {what} of at most 64 bits, got {_checks.describe(value)}"
        raise InputError(message) from None


def lengths_of(value: Any, batch: Any, batch_first: bool, steps: Any) -> Any:
    """Return lengths as a tensor of int64 with shape (N,); the engine checks their values."""
    value = _small(value, "lengths", "integers")
    if value.dtype is torch.bool or value.dtype.is_floating_point or value.dtype.is_complex:
        raise InputTypeError(f"lengths: expected integers, got {value.dtype}")
    if value.device.type != "cpu":
        raise InputTypeError(f"lengths: expected a tensor on the CPU, got one on {value.device}")
    if tuple(value.shape) != (batch,):
        hint = ""
        if tuple(value.shape) == (steps,):
            hint = f"; with batch_first={batch_first} the input has {batch} sequences of {steps}"
        raise InputError(
            f"lengths: expected shape (N,) = ({batch},), got {tuple(value.shape)}{hint}"
        )
    return value.to(torch.int64)


def seed_of(value: Any) -> Any:
    """Return the seed of all masks of a call as a tensor (1,); None: from torch's generator."""
    if value is None:
        return torch.randint(0, 2**63 - 1, (1,), dtype=torch.int64, device="cpu")
    if torch.compiler.is_compiling() and type(value) is int and value >= 0:
        number = value  # remains a symbol, so that one graph serves all seeds
    else:
        number = _checks.integer(value, "seed", 0)
    if number >= 2**63:
        raise InputError(f"seed: expected an integer below 2**63, got {number}")
    return torch.tensor([number], dtype=torch.int64, device="cpu")
