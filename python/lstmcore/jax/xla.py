"""Functions that XLA calls with the memory of its arrays.

XLA's interface for foreign functions is C's, so the handlers are in ``_core``. The usual forward
and backward of training are computed there without Python: the program's main thread may hold the
GIL for milliseconds. All other calls come here, with arrays that share XLA's memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lstmcore import _core
from lstmcore._typing import Array
from lstmcore.config import core_config
from lstmcore.jax import engine, tapes
from lstmcore.jax.call import Call, call_of

Function = Callable[[Call, Sequence[Array], Sequence[Array]], None]
"""Takes a call, its operands and its results, which it writes."""


class _Direct:
    """Calls that need no Python: whether there may be any, and how many there were."""

    def __init__(self) -> None:
        self._plans: list[tuple[str, _core.ForeignPlan]] = []
        self._allowed = True

    def plan_of(self, text: bytes) -> _core.ForeignPlan:
        """Return what a program's text says about its calls."""
        call = call_of(text)
        config = core_config(engine.config_of(1, 1, call))
        plan = _core.ForeignPlan(
            config, call.operands, call.wanted, call.time_major, call.sequences
        )
        plan.allowed = self._allowed
        self._plans.append((call.layer, plan))
        return plan

    def allow(self, allowed: bool) -> None:
        """Leave all calls to Python from now on, or no longer."""
        self._allowed = allowed
        for _, plan in self._plans:
            plan.allowed = allowed

    def counts(self) -> Counter[str]:
        """Return how many forwards there were so far, by the name of the layer."""
        found: Counter[str] = Counter()
        for layer, plan in self._plans:
            if layer:
                found[layer] += plan.count
        return found

    def watch(self, watched: bool) -> None:
        """Let `lstmcore.jax.engine.observers` learn of each forward at once, or no longer."""
        self.allow(not watched)


direct = _Direct()


def _handler(function: Function) -> Callable[[bytes, list[Array], list[Array]], None]:
    def handle(text: bytes, operands: list[Array], results: list[Array]) -> None:
        function(call_of(text), operands, results)

    return handle


def register(
    infer: tuple[str, Function], record: tuple[str, Function], backward: tuple[str, Function]
) -> None:
    """Make functions callable by compiled programs, each under the name before it."""
    store = tapes.store
    handlers: dict[str, Any] = {
        infer[0]: _core.foreign_function(_handler(infer[1])),
        record[0]: _core.foreign_record(_handler(record[1]), direct.plan_of, store),
        backward[0]: _core.foreign_backward(_handler(backward[1]), direct.plan_of, store),
    }
    for target, handler in handlers.items():
        jax.ffi.register_ffi_target(target, handler, platform="cpu")
