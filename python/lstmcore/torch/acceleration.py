"""`accelerate`: puts lstmcore under PyTorch's LSTM operators for a process, and undoes it."""

from __future__ import annotations

import collections
import functools
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

import torch

from lstmcore import _core
from lstmcore._acceleration import Use, decorated
from lstmcore.torch import calls
from lstmcore.torch.aten import OPERATORS
from lstmcore.torch.operators import KERNELS, KEYS

F = TypeVar("F", bound=Callable[..., Any])


class _Switch:
    """The registration of the kernels, which exists while its count is above zero."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._count = 0
        self._library: torch.library.Library | None = None
        self._threads = 1  # of lstmcore, before its calls followed PyTorch's number
        # Another thread may be about to call a kernel while it is removed, and PyTorch does not
        # hold the kernel for it. These references do, until long after.
        self._removed: collections.deque[Any] = collections.deque(maxlen=1000)

    def enter(self, verbose: bool) -> None:
        with self.lock:
            if self._count == 0:
                calls.record.begin()
                self._threads = _core.get_num_threads()
                self._register()
            self._count += 1
        if verbose:
            calls.record.begin_log()

    def leave(self, verbose: bool) -> None:
        if verbose:
            calls.record.end_log()
        with self.lock:
            self._count -= 1
            if self._count == 0:
                self._remove()
                _core.set_num_threads(self._threads)

    def _register(self) -> None:
        self._library = torch.library.Library("aten", "IMPL")
        try:
            for name, kernel in KERNELS.items():
                _hide_from_compiler(kernel)
                for key, records in KEYS.items():
                    self._library.impl(name, functools.partial(kernel, records), key)
        except BaseException:
            self._remove()
            raise
        _forget_resolved()

    def _remove(self) -> None:
        library, self._library = self._library, None
        if library is not None:
            self._removed.extend(_registered())
            library._destroy()
            _forget_resolved()


_switch = _Switch()


def _renew_lock() -> None:
    _switch.lock = threading.Lock()  # another thread may have held it when the process was forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _registered() -> list[Any]:
    """Return references to the kernels that the dispatcher calls now."""
    get_kernel = getattr(torch.library, "get_kernel", None)
    if get_kernel is None:  # before PyTorch 2.9
        return []
    return [get_kernel(operator, key) for operator in OPERATORS.values() for key in KEYS]


def _forget_resolved() -> None:
    """Drop which kernels PyTorch's dispatcher in Python, used while it traces, has looked up."""
    for operator in OPERATORS.values():
        operator._dispatch_cache.clear()


def _hide_from_compiler(kernel: Callable[..., Any]) -> None:
    """Have torch.compile run a kernel, and all that it calls, as it is.

    A compiled function that calls an LSTM lets Python run it, and would then try to compile this.
    """
    frames = torch._C._dynamo.eval_frame
    if hasattr(frames, "set_code_exec_strategy"):  # from PyTorch 2.7
        skip = frames._FrameAction.SKIP
        frames.set_code_exec_strategy(kernel.__code__, frames._FrameExecStrategy(skip, skip))


class Acceleration(Use):
    """A use of `accelerate`: what to undo, a context manager, and a decorator.

    Made by `accelerate`, and in effect from then on. As a context manager it ends with the block.
    As a decorator it is in effect only during calls of the function.
    """

    def _enter(self) -> None:
        _switch.enter(self._verbose)

    def _leave(self) -> None:
        _switch.leave(self._verbose)


@overload
def accelerate(function: None = None, /, *, verbose: bool = False) -> Acceleration: ...


@overload
def accelerate(function: F, /, *, verbose: bool = False) -> F: ...


def accelerate(function: Any = None, /, *, verbose: bool = False) -> Any:
    """Run every ``torch.nn.LSTM`` and ``LSTMCell`` of this process on lstmcore, on the CPU.

    Their modules, parameters, state dicts and classes stay PyTorch's; what changes is the kernel
    under PyTorch's operators ``aten::lstm`` and ``aten::lstm_cell``. So it makes no difference who
    built the model, or when. Results, gradients and second derivatives are those of PyTorch except
    for rounding, and dropout draws the same masks from PyTorch's generator. What lstmcore does not
    compute goes to PyTorch's own kernel: see Notes.

    Parameters
    ----------
    function : callable, optional
        A function to decorate: ``@accelerate`` has effect only during its calls.
    verbose : bool, default False
        Log each kind of call once, with its shape and what computed it, by the logger
        ``lstmcore.torch``, to standard error if the program has no handlers.

    Returns
    -------
    Acceleration
        In effect until its ``undo()``; or until the end of a block,
        ``with accelerate(): ...``. With `function`, the decorated function.

    Raises
    ------
    TypeError
        If `function` is no function that could be decorated, or `verbose` no bool.

    Notes
    -----
    On lstmcore run dense tensors of float32 or float64 on the CPU: batches, single sequences,
    `PackedSequence`, layers, both directions, projections, with and without gradients, on as many
    threads as ``torch.set_num_threads`` allows. Within ``torch.autocast`` to bfloat16 so do LSTMs
    over tensors, with products in bfloat16, if the processor has instructions for them.
    PyTorch computes the rest: other dtypes and devices, other autocast, subclasses of Tensor,
    everything inside transforms of ``torch.func``, forward mode, graphs of ``torch.compile`` and
    ``torch.export``, and third derivatives. `accelerated_calls` counts both, with reasons.

    Uses may be nested and may end in any order; the last one to end restores PyTorch's kernels.
    Threads of the process share the effect, and so do processes that are forked from it (workers of
    a `DataLoader` on Linux); one that is started otherwise calls `accelerate` itself.

    Examples
    --------
    >>> accelerate()
    <Acceleration: in effect>
    """
    if not isinstance(verbose, bool):
        raise TypeError(f"accelerate: verbose: expected True or False, got {verbose!r}")
    if function is not None:
        return decorated(Acceleration, function, verbose)
    return Acceleration(verbose)
