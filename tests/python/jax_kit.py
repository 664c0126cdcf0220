"""An LSTM as a scan in plain JAX, and random arguments, for tests; needs JAX."""

import jax
import jax.numpy as jnp
import numpy as np

from lstmcore.jax import tapes
from reference import relative_error

DIFFERENTIABLE = ("x", "w_ih", "w_hh", "b", "h0", "c0")


def scan_lstm(
    x,
    w_ih,
    w_hh,
    b=None,
    h0=None,
    c0=None,
    *,
    reverse=False,
    mask=None,
    lengths=None,
    time_major=False,
):
    """Compute what `lstmcore.jax.lstm` computes, from its equations."""
    x = x if time_major else x.swapaxes(0, 1)
    steps, batch, _ = x.shape
    start = jnp.zeros((batch, w_hh.shape[1]), x.dtype)
    valid = jnp.ones((steps, batch), bool)
    if mask is not None:
        valid = mask if time_major else mask.T
    if lengths is not None:
        valid = jnp.arange(steps)[:, None] < jnp.asarray(lengths)

    def step(carry, now):
        h, c = carry
        x_t, counts = now
        gates = x_t @ w_ih.T + h @ w_hh.T + (0 if b is None else b)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        new_h = jax.nn.sigmoid(o) * jnp.tanh(new_c)
        counts = counts[:, None]
        after = jnp.where(counts, new_h, h), jnp.where(counts, new_c, c)
        return after, jnp.where(counts, new_h, 0)

    state = (start if h0 is None else h0, start if c0 is None else c0)
    (h, c), y = jax.lax.scan(step, state, (x, valid), reverse=reverse)
    return y if time_major else y.swapaxes(0, 1), h, c


def draw(dtype="float64", batch=4, steps=6, features=3, units=5, seed=0, without=()):
    """Draw the arguments of `lstm` that have gradients, by name, except `without`."""
    random = np.random.default_rng(seed)
    shapes = {
        "x": (batch, steps, features),
        "w_ih": (4 * units, features),
        "w_hh": (4 * units, units),
        "b": (4 * units,),
        "h0": (batch, units),
        "c0": (batch, units),
    }
    return {
        name: jnp.asarray(random.normal(scale=0.7, size=shape).astype(dtype))
        for name, shape in shapes.items()
        if name not in without
    }


def random_mask(batch=4, steps=6, seed=1):
    """Draw a mask with holes; the first row has no valid step, the second only valid ones."""
    mask = np.random.default_rng(seed).random((batch, steps)) < 0.6
    mask[0], mask[1] = False, True
    return jnp.asarray(mask)


def weighted_sum(outputs):
    """Sum all outputs with weights that differ from entry to entry, as a loss."""

    def of(array):
        weights = jnp.cos(jnp.arange(array.size, dtype=array.dtype))
        return (array * weights.reshape(array.shape)).sum()

    return sum(of(array) for array in jax.tree.leaves(outputs))


def close(actual, expected):
    """Compare arrays or trees of arrays, up to rounding."""
    pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype
        tolerance = 1e-12 if one.dtype == np.float64 else 5e-6
        assert relative_error(np.asarray(one), np.asarray(other)) <= tolerance


def release_tapes():
    """Release the tapes that earlier tests have left."""
    tapes.store.clear()
