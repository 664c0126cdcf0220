"""The LSTM as a loop in JAX's own operations, for derivatives that the engine does not compute.

The gradient of a gradient is computed by differentiating this loop twice, which is slow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lstmcore._typing import CellActivation
from lstmcore.config import Activation
from lstmcore.jax.call import Call

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linear": lambda x: x,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "softsign": jax.nn.soft_sign,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "hard_sigmoid": lambda x, alpha, beta: jnp.clip(alpha * x + beta, 0, 1),
}
"""Functions of x and of the parameters that an activation has."""


def _function(activation: CellActivation | Activation) -> Callable[[Any], Any]:
    if isinstance(activation, str):
        return _FUNCTIONS[activation]
    function, parameters = _FUNCTIONS[activation.name], activation[1:]
    return lambda x: function(x, *(number for number in parameters if number is not None))


def lstm(call: Call, *operands: Any) -> tuple[Any, ...]:
    """Return the outputs of `call`: y, if ``call.sequences``, h and c.

    Formula: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as in
    `lstmcore.jax.lstm`.
    """
    given = dict(zip(call.operands, operands, strict=True))
    w_ih, w_hh, b = given["w_ih"], given["w_hh"], given.get("b", 0)
    gate, function = _function(call.gate), _function(call.cell)
    x = given["x"] if call.time_major else given["x"].swapaxes(0, 1)
    zeros = jnp.zeros((x.shape[1], w_hh.shape[1]), x.dtype)
    state = given.get("h0", zeros), given.get("c0", zeros)
    valid = _valid(call, given, *x.shape[:2])

    def step(state: Any, inputs: Any) -> Any:
        h, c = state
        x, valid = inputs
        i, f, g, o = jnp.split(x @ w_ih.T + h @ w_hh.T + b, 4, axis=-1)
        new_c = gate(f) * c + gate(i) * function(g)
        new_h = gate(o) * function(new_c)
        y = jnp.where(valid, new_h, 0)
        return (jnp.where(valid, new_h, h), jnp.where(valid, new_c, c)), y

    (h, c), y = jax.lax.scan(step, state, (x, valid), reverse=call.reverse)
    if not call.sequences:
        return h, c
    return y if call.time_major else y.swapaxes(0, 1), h, c


def _valid(call: Call, given: dict[str, Any], steps: int, batch: int) -> Any:
    """Return which steps count, (T, N, 1)."""
    if "mask" in given:
        mask = given["mask"] if call.time_major else given["mask"].T
    elif "lengths" in given:
        mask = jnp.arange(steps)[:, None] < given["lengths"]
    else:
        mask = jnp.ones((steps, batch), bool)
    return mask[..., None]
