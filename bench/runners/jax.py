"""JAX: scan under jit, its own arrays, time first; each call waits for its result. The loop is
measured both plain and unrolled by four steps. The input part is one product over all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from bench.problem import cell_names, digest, make_problem, time_major
from bench.runners import Prepared, Unsupported
from bench.shapes import Case

jax: Any = import_module("jax")
jnp: Any = import_module("jax.numpy")


def load(threads: int) -> JaxRunner:
    """Allow float64. The process uses as many threads as it is pinned to processors."""
    del threads
    jax.config.update("jax_enable_x64", True)
    return JaxRunner()


def _direction(
    weights: dict[str, Any], suffix: str, x: Any, state: Any, alive: Any, how: Any
) -> Any:
    """Return y of one direction of one layer; `how` is (reverse, unroll)."""
    reverse, unroll = how
    recurrent = weights["weight_hh" + suffix].T
    parts = x @ weights["weight_ih" + suffix].T + weights["bias" + suffix]

    def step(carry: Any, inputs: Any) -> Any:
        h, c = carry
        part, valid = inputs
        i, f, g, o = jnp.split(part + h @ recurrent, 4, axis=-1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        new_h = jax.nn.sigmoid(o) * jnp.tanh(new_c)
        if valid is not None:
            new_c = jnp.where(valid, new_c, c)
            new_h = jnp.where(valid, new_h, h)
        return (new_h, new_c), new_h

    return jax.lax.scan(step, state, (parts, alive), reverse=reverse, unroll=unroll)[1]


def _forward(case: Case, alive: Any, unroll: int) -> Callable[..., Any]:
    shape = case.shape
    names = cell_names(shape)
    d = shape.num_directions

    def forward(weights: dict[str, Any], x: Any, h0: Any, c0: Any) -> Any:
        for layer in range(shape.layers):
            outputs = []
            for direction in range(d):
                cell = layer * d + direction
                state = (h0[cell], c0[cell])
                how = (direction == 1, unroll)
                outputs.append(_direction(weights, names[cell], x, state, alive, how))
            x = outputs[0] if d == 1 else jnp.concatenate(outputs, axis=-1)
        return x

    return forward


class JaxRunner:
    """See `bench.runners.Runner`."""

    def versions(self) -> dict[str, str]:
        jaxlib: Any = import_module("jaxlib")
        return {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "numpy": np.__version__}

    def prepare(self, case: Case) -> Prepared:
        shape = case.shape
        if shape.projection or shape.int8:
            raise Unsupported("not written for projection or 8-bit weights")
        problem = make_problem(case)
        alive = None
        if problem.lengths is not None:
            if shape.bidirectional:
                raise Unsupported("not written for ragged batches in both directions")
            alive = jnp.asarray((np.arange(shape.steps)[:, None] < problem.lengths)[..., None])
        weights = {name: jnp.asarray(array) for name, array in problem.weights.items()}
        x = jnp.asarray(time_major(problem.x))
        dy = jnp.asarray(time_major(problem.dy))
        h0, c0 = jnp.asarray(problem.h0), jnp.asarray(problem.c0)
        if not case.training:
            h0, c0 = jnp.zeros_like(h0), jnp.zeros_like(c0)

        def variant(unroll: int) -> Callable[[], Any]:
            forward = _forward(case, alive, unroll)

            def train(*arguments: Any) -> Any:
                *inputs, gradient = arguments
                y, backward = jax.vjp(forward, *inputs)
                return y, backward(gradient)

            if case.training:
                compiled = jax.jit(train)
                return lambda: jax.block_until_ready(compiled(weights, x, h0, c0, dy))
            compiled = jax.jit(forward)
            return lambda: jax.block_until_ready(compiled(weights, x, h0, c0))

        plain = variant(1)
        variants = {"scan": plain}
        if shape.steps > 1:
            variants["scan, unroll 4"] = variant(4)

        def sums() -> dict[str, float]:
            if not case.training:
                return digest(shape, np.asarray(plain()).swapaxes(0, 1))
            y, gradients = plain()
            arrays = [np.asarray(array).swapaxes(0, 1) for array in (y, gradients[1])]
            return digest(shape, *arrays)

        return Prepared(variants, sums)
