"""What is known about a call while JAX traces it: which operands it has, and its options."""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

from lstmcore._typing import CellActivation
from lstmcore.config import Activation

WEIGHTS = {"w_ih": "weight_ih_l0", "w_hh": "weight_hh_l0", "b": "bias_l0"}
"""The engine's names of the weights."""

DIFFERENTIABLE = ("x", *WEIGHTS, "h0", "c0")
"""Operands that have gradients, in the order of operands; `mask` and `lengths` follow."""


class Call(NamedTuple):
    """Everything about a call except the values of its arrays; hashable.

    Attributes
    ----------
    operands : tuple of str
        The arguments that are arrays, in the order in which they are passed on.
    reverse, time_major : bool
        Arguments of `lstmcore.jax.lstm`.
    wanted : tuple of str
        The operands whose gradients a backward computes.
    gate, cell : str or Activation
        Activations: of i, f and o; of g and of the new c.
    sequences : bool
        Whether y is among the outputs.
    layer : str
        The name under which forwards are reported to `lstmcore.jax.engine.observers`, or "".
    """

    operands: tuple[str, ...]
    reverse: bool
    time_major: bool
    wanted: tuple[str, ...] = ()
    gate: CellActivation | Activation = "sigmoid"
    cell: CellActivation | Activation = "tanh"
    sequences: bool = True
    layer: str = ""

    def wanting(self, operands: tuple[str, ...]) -> Call:
        """Return the same call with gradients of those `operands` that have any."""
        return self._replace(wanted=tuple(name for name in operands if name in DIFFERENTIABLE))


def text_of(call: Call) -> str:
    """Return `call` as text, which a compiled program holds."""
    return json.dumps(call)


@functools.lru_cache(maxsize=1024)
def call_of(text: bytes) -> Call:
    """Return the call that `text_of` has written."""
    operands, reverse, time_major, wanted, gate, cell, *others = json.loads(text)
    functions = (_activation(gate), _activation(cell))
    return Call(tuple(operands), reverse, time_major, tuple(wanted), *functions, *others)


def _activation(value: Any) -> Any:
    """Return an activation that was a name or, as a list, a name with its parameters."""
    return value if isinstance(value, str) else Activation(*value)
