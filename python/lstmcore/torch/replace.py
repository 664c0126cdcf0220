"""Replace the LSTMs of a model in place: torch.nn's by lstmcore's, and back."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from lstmcore.torch.cell import LSTMCell
from lstmcore.torch.module import LSTM
from lstmcore.torch.plan import Plan, plan_of
from lstmcore.torch.recurrent import Recurrent

# Attributes in which torch.nn.LSTM stores lists of its parameters.
_OF_RNN_BASE = ("_flat_weights", "_flat_weight_refs", "_flat_weights_names", "_all_weights")

_SCRIPTED = ("LSTM", "LSTMCell")  # `original_name` of modules that torch.jit compiled


def replace_lstm(module: torch.nn.Module) -> torch.nn.Module:
    """Turn every ``torch.nn.LSTM`` and ``LSTMCell`` of a model into lstmcore's, in place.

    The modules remain the same objects and become `LSTM` and `LSTMCell`. Parameters, names, hooks,
    and references that an optimizer or another part of the model holds remain valid. Results are
    the same except for rounding.

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
    ValueError
        If an LSTM has ``dropout=1``, which lstmcore does not support; nothing is changed then.

    Warns
    -----
    UserWarning
        For a module of a class derived from ``torch.nn.LSTM`` or ``LSTMCell``, such as a
        parametrized one, and for one compiled by ``torch.jit``. These are not replaced.
    """
    found: list[tuple[str, Any, type[Recurrent]]] = []
    for name, part in module.named_modules():
        if type(part) is torch.nn.LSTM:
            found.append((name, part, LSTM))
        elif type(part) is torch.nn.LSTMCell:
            found.append((name, part, LSTMCell))
        elif getattr(part, "original_name", "") in _SCRIPTED and _is_script(part):
            warnings.warn(
                f"replace_lstm leaves {name or 'the module'} as it is: it is a compiled "
                f"{part.original_name} of torch.jit; call replace_lstm first, and use "
                "torch.compile instead of torch.jit",
                stacklevel=2,
            )
        elif isinstance(part, (torch.nn.LSTM, torch.nn.LSTMCell)):
            _warn_of_derived("replace_lstm", name, part, "torch.nn's")
    plans = [_plan(name, part) for name, part, _ in found]
    for (_, part, kind), plan in zip(found, plans, strict=True):
        for name in _OF_RNN_BASE:
            part.__dict__.pop(name, None)
        part.__class__ = kind
        part._set_names(plan)
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
    ValueError
        If an LSTM has options that ``torch.nn`` does not know; nothing is changed then.

    Warns
    -----
    UserWarning
        For a module of a class derived from `LSTM` or `LSTMCell`, such as a parametrized one. These
        are not replaced.
    """
    found: list[Any] = []
    derived: list[tuple[str, Any]] = []
    for name, part in module.named_modules():
        if type(part) in (LSTM, LSTMCell):
            foreign = part._options
            widest = 0 if isinstance(part, LSTMCell) else part.hidden_size - 1
            if part.proj_size > widest:
                foreign += f" proj_size {part.proj_size}"
            if foreign:
                raise ValueError(
                    "restore_lstm: expected modules with torch.nn's options alone, got "
                    f"{name or 'a module'} ({type(part).__name__}) with {foreign.strip()}"
                )
            found.append(part)
        elif isinstance(part, (LSTM, LSTMCell)):
            derived.append((name, part))
    for name, part in derived:
        _warn_of_derived("restore_lstm", name, part, "lstmcore.torch's")
    for part in found:
        for name in ("_masks", "_options", "_frozen", "_remembered", "_steps"):
            part.__dict__.pop(name, None)
        names = part.__dict__.pop("_parameter_names")
        if isinstance(part, LSTMCell):
            part.__class__ = torch.nn.LSTMCell
            continue
        part.__class__ = torch.nn.LSTM
        part.mode = "LSTM"
        part._flat_weights = []
        part._flat_weight_refs = []
        part._flat_weights_names = list(names)
        cells: dict[str, list[str]] = {}
        for name in names:
            cells.setdefault(name[name.rindex("_l") :], []).append(name)
        part._all_weights = list(cells.values())
        part._init_flat_weights()
    return module


def _warn_of_derived(function: str, name: str, part: Any, whose: str) -> None:
    warnings.warn(
        f"{function} leaves {name or 'the module'} as it is: its class {type(part).__name__} is "
        f"derived from {whose} and may compute something else",
        stacklevel=3,
    )


def _plan(name: str, part: Any) -> Plan:
    """Return the plan of a module of torch.nn; a cell is an LSTM of one layer and direction."""
    try:
        return plan_of(
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
