"""The engine under Keras with PyTorch as its backend."""

from __future__ import annotations

import functools
from typing import Any

import torch
from keras import ops

from lstmcore.keras.arrays import Walk, config_of
from lstmcore.keras.calls import add
from lstmcore.torch import autograd
from lstmcore.torch.engine import Call
from lstmcore.torch.plan import Plan, options_text, plan_of

REPEATS_STATE = False
"""Whether Keras' output before the first valid step is the initial h; otherwise it is 0."""

# torch.compile must not look into the engine's calls: it would take their arrays for tensors.
entry = torch.compiler.disable

_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # from 2.7

_PLAIN = (torch.Tensor, torch.nn.Parameter)  # others may have no memory of their own

as_tensor = ops.convert_to_tensor


def reason_against(*tensors: Any) -> str | None:
    """Return why the engine cannot compute with these tensors, or None."""
    for tensor in tensors:
        if type(tensor) not in _PLAIN or tensor.layout is not torch.strided:
            return f"a tensor of type {type(tensor).__name__}"
        if tensor.device.type != "cpu":
            return f"a tensor on {tensor.device.type}"
    if torch.is_autocast_enabled("cpu"):
        return "torch.autocast"
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func"
    if torch.jit.is_tracing() or _is_exporting():
        return "an export"
    return None


@functools.lru_cache(maxsize=1024)
def _plan(walk: Walk, features: int, units: int, bias: bool) -> Plan:
    text = options_text(config_of(walk, features, units, bias), None)
    return plan_of(features, units, 1, bias, 0.0, False, 0, text)


def lstm(walk: Walk, mask: Any, x: Any, h: Any, c: Any, *weights: Any) -> tuple[Any, ...]:
    """Return y, if ``walk.sequences``, h and c, with gradients of two orders.

    Arguments are tensors of the shapes that `lstmcore.keras.arrays.forward` takes.
    """
    kernel, recurrent, *bias = weights
    plan = _plan(walk, kernel.shape[0], recurrent.shape[0], bool(bias))
    parameters = [kernel.T, recurrent.T]
    if bias:
        parameters += [bias[0], torch.zeros_like(bias[0])]  # PyTorch has two
    call = Call(
        plan,
        time_major=False,
        cell=False,
        sequences=walk.sequences,
        lengths=None,
        reset=None,
        mask=None if mask is None else mask.numpy(),
        seed=0,
        random=False,
        packed=None,
    )
    y, after_h, after_c = autograd.lstm(call, x, h[None], c[None], parameters)
    add(walk.layer)
    return (y, after_h[0], after_c[0]) if walk.sequences else (after_h[0], after_c[0])


def hold(y: Any, mask: Any, before: Any) -> Any:
    """Return y with the output of the last valid step at steps left out; `before` at the first."""
    steps = torch.arange(y.shape[1])
    last = torch.where(mask, steps, -1).cummax(1).values
    index = last.clamp(min=0)[..., None].expand_as(y)
    return torch.where((last >= 0)[..., None], y.gather(1, index), before[:, None])
