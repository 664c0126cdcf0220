"""What is known about a call while JAX traces it: which operands it has, and its options."""

from __future__ import annotations

import functools
import json
from typing import NamedTuple

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
    """

    operands: tuple[str, ...]
    reverse: bool
    time_major: bool
    wanted: tuple[str, ...] = ()

    def wanting(self, operands: tuple[str, ...]) -> Call:
        """Return the same call with gradients of those `operands` that have any."""
        return self._replace(wanted=tuple(name for name in operands if name in DIFFERENTIABLE))


def text_of(call: Call) -> str:
    """Return `call` as text, which a compiled program holds."""
    return json.dumps(call)


@functools.lru_cache(maxsize=1024)
def call_of(text: bytes) -> Call:
    """Return the call that `text_of` has written."""
    operands, reverse, time_major, wanted = json.loads(text)
    return Call(tuple(operands), reverse, time_major, tuple(wanted))
