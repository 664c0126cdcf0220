"""From PyTorch's parameters to the engine's weights, laid out for every call or once for many."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lstmcore import _core
from lstmcore._typing import Array
from lstmcore.torch.plan import Plan
from lstmcore.torch.tensors import array_of


def arrays_of(plan: Plan, tensors: Sequence[Any]) -> dict[str, Array]:
    """Return the engine's weights, in the tensors' memory but for biases, which are added."""
    names = plan.names
    like: Any = None  # the first, which is what all others must be like
    arrays: dict[str, Array] = {}
    for name, first, second in plan.places:
        array = array_of(tensors[first], names[first], like)
        if second >= 0:
            array = array + array_of(tensors[second], names[second], like)
        arrays[name] = array
        like = tensors[0]
    return arrays


def pack(plan: Plan, tensors: Sequence[Any]) -> _core.Lstm:
    """Lay the weights out for the engine, which costs about as much as copying them."""
    return _core.Lstm(plan.core, arrays_of(plan, tensors))


# Not those that may have no memory of their own, as lazily negated ones do not.
_PLAIN = (torch.nn.Parameter, torch.Tensor)


class Kept:
    """A module's weights as its last call had them, packed, for calls that find them unchanged.

    Any change is seen, one through ``.data`` or ``.numpy()`` too: where the tensors lie tells where
    to look, and their bytes are compared with a copy, which takes less than to lay them out. The
    copy is made when a second call in a row finds the same tensors, of the same version as far as
    PyTorch counts it, so that training by whole sequences does not pay for it.
    """

    MOST_BYTES = 1 << 24  # of weights, beside which the copy would count

    def __init__(self) -> None:
        # Replaced as a whole, so that threads which share a module see all of one call's.
        self._state: tuple[list[Any], list[Array], list[Array], _core.Lstm | None] = (
            [],
            [],
            [],
            None,
        )

    def packed(self, plan: Plan, tensors: Sequence[Any]) -> _core.Lstm:
        """Return the packed weights."""
        if any(type(tensor) not in _PLAIN or tensor.is_neg() for tensor in tensors):
            return pack(plan, tensors)
        marks = _marks(plan, tensors)
        seen, views, copies, lstm = self._state
        if marks != seen:
            self._state = marks, [], [], None
            return pack(plan, tensors)
        if lstm is not None and _core.same_bytes(views, copies):
            return lstm
        return self._keep(plan, tensors, marks)

    def _keep(self, plan: Plan, tensors: Sequence[Any], marks: list[Any]) -> _core.Lstm:
        views = [array_of(tensor, name) for tensor, name in zip(tensors, plan.names, strict=True)]
        if sum(view.nbytes for view in views) > self.MOST_BYTES:
            return pack(plan, tensors)
        # Packed are the copies, so that no change by another thread comes in between.
        copies = [view.copy() for view in views]
        lstm = pack(plan, [torch.from_numpy(copy) for copy in copies])
        self._state = marks, views, copies, lstm
        return lstm


def _marks(plan: Plan, tensors: Sequence[Any]) -> list[Any]:
    """Where tensors lie, and how often they changed as far as PyTorch counts it."""
    try:
        marks: list[Any] = [
            (tensor.data_ptr(), tensor._version, tensor.shape, tensor.stride(), tensor.dtype)
            for tensor in tensors
        ]
    except RuntimeError:  # tensors made in inference mode have no version
        marks = [
            (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors
        ]
    marks.append(plan)
    return marks


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
        marks = _marks(plan, tensors)
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


class Freezable(torch.nn.Module):
    """A module whose weights `frozen` may hold on to."""

    _frozen: tuple[Frozen, ...] = ()  # of the blocks that are open, the last of which counts


_lock = threading.Lock()


@contextlib.contextmanager
def frozen(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Promise that the weights of every LSTM and LSTMCell in `module` stay as they are for a while.

    Without it each call compares the weights with those of the call before, or lays them out anew,
    about the time of copying them, so that no change of them can go unseen. Inside ``with
    frozen(model):`` they are laid out once, at a module's first call, which pays where a call does
    little else: single steps, small batches, a loop over an `LSTMCell`. Gradients are as ever, by
    the weights as they were at that call.

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
    # Each block takes away what it put there, since blocks may end in any order, and a module may
    # be another's by then.
    blocks = [(part, Frozen()) for part in module.modules() if isinstance(part, Freezable)]
    with _lock:
        for part, block in blocks:
            part._frozen = (*part._frozen, block)
    try:
        yield module
    finally:
        with _lock:
            for part, block in blocks:
                if isinstance(part, Freezable):
                    part._frozen = tuple(other for other in part._frozen if other is not block)
