"""Initial values of weights, by Keras' names."""

from collections.abc import Callable

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array

__all__ = ["NAMES", "get"]

Initializer = Callable[[tuple[int, ...], np.random.Generator], Array]
"""Makes float64 values of a shape whose last axis counts outputs, the others inputs."""


def glorot_uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Uniform within sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010)."""
    inputs, outputs = int(np.prod(shape[:-1])), shape[-1]
    limit = np.sqrt(6.0 / (inputs + outputs))
    return random.uniform(-limit, limit, shape)


def he_uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Uniform within sqrt(6 / inputs) (He et al. 2015)."""
    limit = np.sqrt(6.0 / int(np.prod(shape[:-1])))
    return random.uniform(-limit, limit, shape)


def orthogonal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al. 2014)."""
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    normal = random.standard_normal((max(rows, columns), min(rows, columns)))
    basis, triangle = np.linalg.qr(normal)
    basis *= np.where(np.diag(triangle) < 0, -1.0, 1.0)  # else the distribution is not uniform
    return (basis if rows >= columns else basis.T).reshape(shape)


def uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Uniform within 0.05."""
    return random.uniform(-0.05, 0.05, shape)


def zeros(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """All zero."""
    return np.zeros(shape)


def ones(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """All one."""
    return np.ones(shape)


_INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "he_uniform": he_uniform,
    "orthogonal": orthogonal,
    "uniform": uniform,
    "zeros": zeros,
    "ones": ones,
}

NAMES = tuple(_INITIALIZERS)


def get(name: str, argument: str) -> Initializer:
    """Find an initializer by name; `argument` is what an error calls it."""
    return _INITIALIZERS[_checks.choice(name, argument, NAMES)]
