"""From PyTorch's parameters to the engine's weights, laid out for every call or once for many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lstmcore import _core
from lstmcore._typing import Array
from lstmcore.torch.plan import Plan
from lstmcore.torch.tensors import array_of


def arrays_of(plan: Plan, tensors: Sequence[Any]) -> dict[str, Array]:
    """Return the engine's weights, in the tensors' memory but for biases, which are added."""
    like = tensors[0]
    names = plan.names
    array_of(like, names[0])  # what all others must be like
    arrays: dict[str, Array] = {}
    for name, first, second in plan.places:
        array = array_of(tensors[first], names[first], like)
        if second >= 0:
            array = array + array_of(tensors[second], names[second], like)
        arrays[name] = array
    return arrays


def pack(plan: Plan, tensors: Sequence[Any]) -> _core.Lstm:
    """Lay the weights out for the engine, which costs about as much as copying them."""
    return _core.Lstm(plan.core, arrays_of(plan, tensors))


class Frozen:
    """Weights of one module, packed at its first call inside `frozen`."""

    def __init__(self) -> None:
        self._lstm: _core.Lstm | None = None
        self._marks: list[Any] = []

    def packed(self, plan: Plan, tensors: Sequence[Any]) -> _core.Lstm:
        """Return the packed weights.

        Raises
        ------
        RuntimeError
            If a tensor was replaced or, as far as PyTorch counts it, changed since the first call.
        """
        marks: list[Any] = [plan]
        for tensor in tensors:
            version = -1 if tensor.is_inference() else tensor._version
            marks.append((tensor.data_ptr(), version))
        if self._lstm is None:
            lstm = pack(plan, tensors)
            self._marks = marks
            self._lstm = lstm
        elif marks != self._marks:
            raise RuntimeError(
                "weights: expected none to change inside lstmcore.torch.frozen, got a change: end "
                "the with block before the optimizer's step, and begin another"
            )
        return self._lstm


@contextlib.contextmanager
def frozen(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Promise that the weights of every LSTM and LSTMCell in `module` stay as they are for a while.

    Without it each call lays the weights out anew, about the time of copying them, so that no
    change of them can go unseen. Inside ``with frozen(model):`` this is done once, at a module's
    first call, which pays where a call does little else: single steps, small batches, a loop over
    an `LSTMCell`. Gradients are as ever, by the weights as they were at that call.

    Parameters
    ----------
    module : torch.nn.Module
        A model, or one LSTM.

    Yields
    ------
    torch.nn.Module
        `module`.

    Raises
    ------
    RuntimeError
        By a call inside, if weights were replaced or changed by an operation that PyTorch counts
        (an optimizer's step, ``load_state_dict``). What writes past PyTorch, through ``.data`` or
        ``.numpy()``, is not noticed, and not looked at before the block ends.

    Notes
    -----
    Calls inside ``torch.compile`` and ``torch.func`` lay the weights out each time.
    """
    from lstmcore.torch.cell import LSTMCell
    from lstmcore.torch.module import LSTM

    before = [
        (part, part._frozen) for part in module.modules() if isinstance(part, (LSTM, LSTMCell))
    ]
    for part, _ in before:
        part._frozen = Frozen()
    try:
        yield module
    finally:
        for part, packed in before:
            part._frozen = packed
