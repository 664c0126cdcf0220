"""`accelerate`: Keras' own LSTM layers on the engine, for a while."""

from __future__ import annotations

import functools
import gc
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

import keras

from lstmcore._acceleration import Use, decorated
from lstmcore.keras import calls, inner
from lstmcore.keras.layer import LSTM

P = ParamSpec("P")
R = TypeVar("R")


class Acceleration(Use):
    """A use of `accelerate`: what to undo, a context manager, and a decorator.

    Made by `accelerate`, and in effect from then on. As a context manager it ends with the block.
    As a decorator it is in effect only during calls of the function.
    """

    def _enter(self) -> None:
        with _switch.lock:
            _switch.change(1)
        if self._verbose:
            calls.record.begin_log()

    def _leave(self) -> None:
        with _switch.lock:
            _switch.change(-1)
        if self._verbose:
            calls.record.end_log()


@overload
def accelerate(function: None = None, /, *, verbose: bool = False) -> Acceleration: ...
@overload
def accelerate(function: Callable[P, R], /, *, verbose: bool = False) -> Callable[P, R]: ...
def accelerate(
    function: Callable[P, R] | None = None, /, *, verbose: bool = False
) -> Acceleration | Callable[P, R]:
    """Run every LSTM layer of Keras in this process on lstmcore's engine.

    One line serves models that exist already, from whatever library, and those made later:
    ``accelerate()`` for all that follows, ``with accelerate():`` for a block, ``@accelerate`` for
    calls of a function. ``keras.layers.LSTM``, ``Bidirectional`` around it, and
    ``keras.layers.RNN`` of a ``keras.layers.LSTMCell`` then compute on the engine, forward and
    backward. The layers, their weights and files stay Keras'. What the engine does not compute runs
    in Keras' own loop; `lstmcore.keras.LSTM` has the list, and `accelerated_calls` counts it.

    Parameters
    ----------
    function : callable, optional
        A function to decorate: ``@accelerate`` has effect only during its calls.
    verbose : bool, default False
        Log once for each layer and reason where its calls run, by the logger ``lstmcore.keras``, to
        the standard error if the program has no handlers.

    Returns
    -------
    Acceleration
        In effect until its ``undo()``; or until the end of a block, ``with accelerate(): ...``.
        With `function`, the decorated function.

    Raises
    ------
    TypeError
        If `function` is no function that could be decorated, or `verbose` no bool.

    Notes
    -----
    Uses may be nested and may end in any order; with the last one Keras is as it was. Threads of
    the process share the effect. With TensorFlow and JAX, ``fit``, ``evaluate`` and ``predict`` of
    models that have run before are compiled anew at the beginning and at the end; functions that
    you compiled yourself, by ``tf.function`` or ``jax.jit``, stay as they were traced.
    """
    if not isinstance(verbose, bool):
        raise TypeError(f"accelerate: verbose: expected True or False, got {verbose!r}")
    if function is None:
        return Acceleration(verbose)
    return decorated(Acceleration, function, verbose)


class _Switch:
    """Keras' methods and those in their place, which are there while the count is above zero."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._count = 0
        self._methods: list[tuple[Any, Callable[..., Any], Callable[..., Any]]] = []

    def in_effect(self) -> bool:
        return self._count > 0

    def change(self, by: int) -> None:
        """Count the uses in effect; the first one replaces the methods, the last one undoes it."""
        before = self._count
        self._count += by
        if before and self._count:
            return
        if before:
            self._restore()
        else:
            calls.record.begin()
            self._replace()
        _compile_anew()

    def _replace(self) -> None:
        for kind in (keras.layers.LSTM, keras.layers.RNN):
            own = kind.__dict__["inner_loop"]
            ours = _loop_of(kind, own)
            self._methods.append((kind, own, ours))
            kind.inner_loop = ours

    def _restore(self) -> None:
        for kind, own, ours in self._methods:
            # Another library may have wrapped ours, which then calls Keras' own from now on.
            if kind.__dict__["inner_loop"] is ours:
                kind.inner_loop = own
        self._methods.clear()


_switch = _Switch()


def _renew_lock() -> None:
    _switch.lock = threading.RLock()  # another thread may have held it when the process was forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _loop_of(kind: type, own: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method that replaces `own`, the method ``inner_loop`` of a class of Keras."""
    # These come from their own method, which has already tried the engine.
    tried: Any = LSTM if kind is keras.layers.LSTM else keras.layers.LSTM

    @functools.wraps(own)
    def inner_loop(
        self: Any, sequences: Any, initial_state: Any, mask: Any, training: Any = False
    ) -> Any:
        if isinstance(self, tried) or not _has_lstm_cell(self):
            return own(self, sequences, initial_state, mask=mask, training=training)
        in_effect = _switch.in_effect
        return inner.inner_loop(own, self, sequences, initial_state, mask, training, in_effect)

    return inner_loop


def _has_lstm_cell(layer: Any) -> bool:
    """Return whether an LSTM is in a layer, which then is worth a reason in the counts."""
    cells = getattr(layer.cell, "cells", [layer.cell])
    return any(isinstance(cell, keras.layers.LSTMCell) for cell in cells)


_FUNCTIONS = ("train", "test", "predict")


def _compile_anew() -> None:
    """Let models that were traced before be traced again, with the loop that now holds."""
    if keras.backend.backend() not in ("tensorflow", "jax"):
        return
    for thing in gc.get_objects():
        if not issubclass(type(thing), keras.Model):
            continue
        traced = [name for name in _FUNCTIONS if getattr(thing, f"{name}_function", None)]
        if traced and any(isinstance(part, keras.layers.RNN) for part in thing._flatten_layers()):
            for name in traced:
                getattr(thing, f"make_{name}_function")(force=True)
