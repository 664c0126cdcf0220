"""Initial values of weights, by Keras' names."""

from collections.abc import Callable

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array, InitializerName, choices

__all__ = ["NAMES", "get"]

Initializer = Callable[[tuple[int, ...], np.random.Generator], Array]
"""Makes float64 values of a shape whose last axis counts outputs, the others inputs."""


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs of an output, and outputs of an input: (K, C, F) has K C and K F."""
    return int(np.prod(shape[:-1])), int(np.prod(shape[:-2])) * shape[-1]


def _within(shape: tuple[int, ...], random: np.random.Generator, square: float) -> Array:
    """Uniform between -sqrt(square) and sqrt(square)."""
    limit = np.sqrt(square)
    return random.uniform(-limit, limit, shape)


def truncated_normal(
    shape: tuple[int, ...], random: np.random.Generator, deviation: float = 0.05
) -> Array:
    """Normal with deviation 0.05, drawn again beyond two deviations."""
    values = random.standard_normal(shape)
    while (beyond := np.abs(values) > 2.0).any():
        values[beyond] = random.standard_normal(int(beyond.sum()))
    return np.asarray(deviation * values)


def _normal_of(shape: tuple[int, ...], random: np.random.Generator, variance: float) -> Array:
    """Truncated, as Keras draws it; truncation leaves 0.8796 of a deviation."""
    return truncated_normal(shape, random, float(np.sqrt(variance)) / 0.87962566103423978)


def glorot_uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Uniform within sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010)."""
    return _within(shape, random, 6.0 / sum(_fans(shape)))


def glorot_normal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Truncated normal with variance 2 / (inputs + outputs) (Glorot & Bengio 2010)."""
    return _normal_of(shape, random, 2.0 / sum(_fans(shape)))


def he_uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Uniform within sqrt(6 / inputs) (He et al. 2015)."""
    return _within(shape, random, 6.0 / _fans(shape)[0])


def he_normal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Truncated normal with variance 2 / inputs (He et al. 2015)."""
    return _normal_of(shape, random, 2.0 / _fans(shape)[0])


def lecun_uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Uniform within sqrt(3 / inputs) (LeCun et al. 1998)."""
    return _within(shape, random, 3.0 / _fans(shape)[0])


def lecun_normal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Truncated normal with variance 1 / inputs (LeCun et al. 1998)."""
    return _normal_of(shape, random, 1.0 / _fans(shape)[0])


def random_normal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Normal with deviation 0.05."""
    return 0.05 * random.standard_normal(shape)


def orthogonal(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al. 2014)."""
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    normal = random.standard_normal((max(rows, columns), min(rows, columns)))
    basis, triangle = np.linalg.qr(normal)
    basis *= np.where(np.diag(triangle) < 0, -1.0, 1.0)  # else the distribution is not uniform
    return (basis if rows >= columns else basis.T).reshape(shape)


def uniform(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Uniform from -0.05 to 0.05."""
    return random.uniform(-0.05, 0.05, shape)


def zeros(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """All zero."""
    return np.zeros(shape)


def ones(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """All one."""
    return np.ones(shape)


_INITIALIZERS: dict[InitializerName, Initializer] = {
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "orthogonal": orthogonal,
    "random_normal": random_normal,
    "random_uniform": uniform,
    "truncated_normal": truncated_normal,
    "uniform": uniform,
    "zeros": zeros,
    "ones": ones,
}

NAMES = choices(InitializerName)


def get(name: InitializerName, argument: str) -> Initializer:
    """Find an initializer by name; `argument` is its name in errors."""
    _checks.choice(name, argument, NAMES)
    return _INITIALIZERS[name]
