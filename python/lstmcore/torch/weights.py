"""PyTorch's parameters as the engine's weights, packed at every call or once for many calls."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from lstmcore import _core
from lstmcore._typing import Array
from lstmcore.torch.plan import Plan
from lstmcore.torch.tensors import array_of

T = TypeVar("T")


def arrays_of(plan: Plan, tensors: Sequence[Any]) -> dict[str, Array]:
    """Return the engine's weights, which share the tensors' memory except for biases, the sums."""
    names = plan.names
    like: Any = None  # the first tensor, whose dtype all others must have
    arrays: dict[str, Array] = {}
    for name, first, second in plan.places:
        array = array_of(tensors[first], names[first], like)
        if second >= 0:
            array = array + array_of(tensors[second], names[second], like)
        arrays[name] = array
        like = tensors[0]
    return arrays


def pack(plan: Plan, tensors: Sequence[Any]) -> _core.Lstm:
    """Pack the weights for the engine, which costs about as much as copying them."""
    return _core.Lstm(plan.core, arrays_of(plan, tensors), plan.precision)


# Other types of tensors may have no memory of their own.
_PLAIN = (torch.nn.Parameter, torch.Tensor)


class Remembered:
    """The packed weights of a module's last call, for calls that find the weights unchanged.

    Every change is noticed, even one through ``.data`` or ``.numpy()``: the tensors must have the
    same addresses, and their bytes the fingerprint of those that were packed, which takes less time
    than packing. Weights are packed for later calls when a second call in a row finds the same
    tensors with the same versions, so that training on whole sequences does not pay for it. The
    tensors' memory is not held.
    """

    MOST_BYTES = 1 << 24
    """Size of the weights above which nothing is remembered, to save the memory of packed ones."""

    def __init__(self) -> None:
        # Replaced as a whole, so that threads which share a module see a consistent state.
        self._state: tuple[list[Any], list[Array], _core.Fingerprints, _core.Lstm | None] = (
            [],
            [],
            _core.Fingerprints([]),
            None,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Remembered, ()  # a copy of a module packs its own weights

    def packed(self, plan: Plan, tensors: Sequence[Any]) -> _core.Lstm:
        """Return the packed weights."""
        if any(type(tensor) not in _PLAIN or tensor.is_neg() for tensor in tensors):
            return pack(plan, tensors)
        marks = _marks(plan, tensors)
        seen, views, fingerprints, lstm = self._state
        if marks != seen:
            self._state = marks, [], fingerprints, None
            return pack(plan, tensors)
        if lstm is not None and fingerprints.match(views):
            return lstm
        return self._keep(plan, tensors, marks)

    def _keep(self, plan: Plan, tensors: Sequence[Any], marks: list[Any]) -> _core.Lstm:
        views = [
            _unowned(array_of(tensor, name))
            for tensor, name in zip(tensors, plan.names, strict=True)
        ]
        if sum(view.nbytes for view in views) > self.MOST_BYTES:
            return pack(plan, tensors)
        # Of copies, since another thread may change the tensors meanwhile.
        copies = [view.copy() for view in views]
        lstm = pack(plan, [torch.from_numpy(copy) for copy in copies])
        self._state = marks, views, _core.Fingerprints(copies), lstm
        return lstm


class _Memory:
    """The description of an array's memory, which it does not hold."""

    def __init__(self, array: Array) -> None:
        self.__array_interface__ = array.__array_interface__


def _unowned(array: Array) -> Array:
    """Return an array with the same memory, to be read only while something else holds that."""
    return np.asarray(_Memory(array))


def _marks(plan: Plan, tensors: Sequence[Any]) -> list[Any]:
    """Return the addresses, layouts and, as far as PyTorch counts them, versions of tensors."""
    try:
        marks: list[Any] = [
            (tensor.data_ptr(), tensor._version, tensor.shape, tensor.stride(), tensor.dtype)
            for tensor in tensors
        ]
    except RuntimeError:  # tensors made in inference mode have no versions
        marks = [
            (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors
        ]
    marks.append(plan)
    return marks


class ByTensors(Generic[T]):
    """Values that belong to tensors, such as their packed form, and that hold no tensor.

    A value is dropped when its tensor is freed, or when `MOST` newer ones have been added. No lock
    is needed, since each change is a single operation on a dict, and since a tensor may be freed
    while any other line runs.
    """

    MOST = 64

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[T, weakref.ref[Any]]] = {}

    def get(self, key: Hashable) -> T | None:
        """Return the value stored with `key`."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: Hashable, value: T, tensor: Any) -> None:
        """Store a value until `tensor` is freed."""
        values = self._values
        values[key] = value, weakref.ref(tensor, lambda _: values.pop(key, None))
        if len(values) > self.MOST:
            for old in list(values)[: -self.MOST]:
                values.pop(old, None)

    def __len__(self) -> int:
        return len(self._values)


class RememberedByTensors:
    """`Remembered` for calls that get weights as tensors and know of no module."""

    def __init__(self) -> None:
        self._found: ByTensors[Remembered] = ByTensors()

    def packed(self, plan: Plan, tensors: Sequence[Any]) -> _core.Lstm:
        """Return the packed weights."""
        key = plan, tensors[0].data_ptr()
        remembered = self._found.get(key)
        if remembered is None:
            remembered = Remembered()
            self._found.put(key, remembered, tensors[0])
        return remembered.packed(plan, tensors)


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
    """Promise not to change the weights of any LSTM or LSTMCell in `module` within a block.

    Outside such a block each call compares the weights with those of the previous call or packs
    them again, which takes about as long as copying them, so that every change takes effect. Inside
    ``with frozen(model):`` they are packed once, at the first call of each module. This pays where
    a call computes little else: single steps, small batches, a loop over an `LSTMCell`. Gradients
    are the same, with respect to the weights at that call.

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
        In a call inside, if weights were replaced, or changed by an operation that PyTorch counts
        (an optimizer's step, ``load_state_dict``). Changes through ``.data`` or ``.numpy()`` are
        not noticed and take effect only after the block.

    Notes
    -----
    Calls inside ``torch.compile`` and ``torch.func`` pack the weights each time.
    """
    # Each block removes only its own entries, since blocks may end in any order, and the class of a
    # module may have changed by then (`restore_lstm`).
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
