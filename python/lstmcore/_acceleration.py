"""What the `accelerate` of every bridge returns: a use that can be undone, a block, a decorator."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
Own = TypeVar("Own", bound="Use")


class Use:
    """A use of an `accelerate`, in effect from when it is made.

    As a context manager it ends with the block. As a decorator it is in effect only during calls of
    the function. Derived classes define what begins and ends with it.
    """

    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose
        self._lock = threading.Lock()
        self._uses = 0
        self._begin()
        self._new = True  # until a block or a function takes it over

    def _enter(self) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        raise NotImplementedError

    def _begin(self) -> None:
        with self._lock:
            self._enter()
            self._uses += 1

    def _end(self) -> None:
        with self._lock:
            if self._uses:
                self._uses -= 1
                self._leave()

    def undo(self) -> None:
        """End it; the framework's own code runs again unless another `accelerate` is in effect.

        Calls that other threads have begun still end on lstmcore. A second `undo` does nothing.
        """
        self._new = False
        while self._uses:
            self._end()

    def __enter__(self: Own) -> Own:
        if self._new:
            self._new = False
        else:
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, function: F) -> F:
        """Return `function` with `accelerate` in effect during its calls."""
        if self._new:
            self.undo()
        return decorated(type(self), function, self._verbose)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'in effect' if self._uses else 'ended'}>"


def decorated(kind: type[Use], function: F, verbose: bool) -> F:
    """Return `function` with a use of `kind` in effect during its calls."""
    if inspect.isclass(function) or not callable(function):
        raise TypeError(f"accelerate: expected a function to decorate, got {function!r}")
    if (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise TypeError(
            "accelerate: expected a function that runs when it is called, got the generator or "
            f"coroutine {function.__name__}: write `with accelerate():` inside it"
        )

    @functools.wraps(function)
    def accelerated(*arguments: Any, **options: Any) -> Any:
        with kind(verbose):
            return function(*arguments, **options)

    return accelerated  # type: ignore[return-value]
