"""Replace the LSTMs of a model in place: torch.nn's by lstmcore's, and back."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from lstmcore import _checks
from lstmcore.torch.cell import LSTMCell
from lstmcore.torch.module import LSTM
from lstmcore.torch.plan import plan_of
from lstmcore.torch.recurrent import Recurrent

# What each class of torch.nn becomes.
_KINDS: dict[type, type[Recurrent]] = {kind._of_torch: kind for kind in (LSTM, LSTMCell)}

_SCRIPTED = ("LSTM", "LSTMCell")  # `original_name` of modules that torch.jit compiled


def replace_lstm(module: torch.nn.Module) -> torch.nn.Module:
    """Turn every ``torch.nn.LSTM`` and ``LSTMCell`` of a model into lstmcore's, in place.

    The modules remain the same objects and become `LSTM` and `LSTMCell`, which are subclasses, so
    that ``isinstance(module, torch.nn.LSTM)`` stays true. Parameters, names, hooks, and references
    that an optimizer or another part of the model holds remain valid. Results are the same except
    for rounding.

    Parameters
    ----------
    module : torch.nn.Module
        A model, or an LSTM itself.

    Returns
    -------
    torch.nn.Module
        `module`.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If an LSTM has ``dropout=1``, which lstmcore does not support; nothing is changed then.

    Warns
    -----
    UserWarning
        For a module of a class derived from ``torch.nn.LSTM`` or ``LSTMCell``, such as a
        parametrized one, and for one compiled by ``torch.jit``. These are not replaced.
    """
    _checks.instance(module, torch.nn.Module, "module", "a torch.nn.Module")
    found: list[tuple[str, Any]] = []
    for name, part in module.named_modules():
        if type(part) in _KINDS:
            found.append((name, part))
        elif isinstance(part, Recurrent):
            continue
        elif getattr(part, "original_name", "") in _SCRIPTED and _is_script(part):
            warnings.warn(
                f"replace_lstm leaves {name or 'the module'} as it is: it is a compiled "
                f"{part.original_name} of torch.jit; call replace_lstm first, and use "
                "torch.compile instead of torch.jit",
                stacklevel=2,
            )
        elif isinstance(part, (torch.nn.LSTM, torch.nn.LSTMCell)):
            _warn_of_derived("replace_lstm", name, part, "torch.nn's")
    for name, part in found:
        _check(name, part)
    for _, part in found:
        part.__class__ = _KINDS[type(part)]
    return module


def restore_lstm(module: torch.nn.Module) -> torch.nn.Module:
    """Turn every `LSTM` and `LSTMCell` of a model into ``torch.nn``'s, in place.

    Use it for what lstmcore does not support: other devices, ``torch.jit``, exporters.

    Parameters
    ----------
    module : torch.nn.Module
        A model, or an LSTM itself.

    Returns
    -------
    torch.nn.Module
        `module`.

    Raises
    ------
    TypeError
        If `module` is no module.
    ValueError
        If an LSTM has options that ``torch.nn`` does not know; nothing is changed then.

    Warns
    -----
    UserWarning
        For a module of a class derived from `LSTM` or `LSTMCell`, such as a parametrized one. These
        are not replaced.
    """
    _checks.instance(module, torch.nn.Module, "module", "a torch.nn.Module")
    found: list[Any] = []
    derived: list[tuple[str, Any]] = []
    for name, part in module.named_modules():
        if type(part) in _KINDS.values():
            if foreign := part._beyond_torch():
                raise ValueError(
                    "restore_lstm: expected modules with torch.nn's options alone, got "
                    f"{name or 'a module'} ({type(part).__name__}) with {foreign}"
                )
            found.append(part)
        elif isinstance(part, Recurrent):
            derived.append((name, part))
    for name, part in derived:
        _warn_of_derived("restore_lstm", name, part, "lstmcore.torch's")
    for part in found:
        part._become_torchs()
    return module


def _warn_of_derived(function: str, name: str, part: Any, whose: str) -> None:
    warnings.warn(
        f"{function} leaves {name or 'the module'} as it is: its class {type(part).__name__} is "
        f"derived from {whose} and may compute something else",
        stacklevel=3,
    )


def _check(name: str, part: Any) -> None:
    """Raise ValueError or TypeError if the engine does not support a module of torch.nn."""
    try:
        plan_of(  # a cell is an LSTM of one layer and direction
            part.input_size,
            part.hidden_size,
            getattr(part, "num_layers", 1),
            bool(part.bias),
            getattr(part, "dropout", 0.0),
            bool(getattr(part, "bidirectional", False)),
            getattr(part, "proj_size", 0),
            "",
        )
    except (TypeError, ValueError) as error:
        raise type(error)(f"replace_lstm: {name or 'the module'}: {error}") from error


def _is_script(part: Any) -> bool:
    return isinstance(part, torch.jit.ScriptModule)
