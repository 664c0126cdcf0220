"""Weights and data of a case, the same for every peer, and the peers' layouts of weights.

Weights have the names, shapes and gate order (i, f, g, o) of ``lstmcore.functional``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.shapes import Case, Shape

Array = npt.NDArray[np.floating]
Weights = dict[str, Array]


@dataclass(frozen=True)
class Problem:
    """Data of one case, batch first.

    Attributes
    ----------
    x : ndarray, shape (N, T, C)
    h0, c0 : ndarray, shape (L * D, N, H), or (L * D, N, projection) for h0
    dy : ndarray, shape (N, T, D * H)
        Gradient with respect to y; zero past a row's length.
    weights : dict of str to ndarray
    lengths : ndarray, shape (N,), or None
    """

    x: Array
    h0: Array
    c0: Array
    dy: Array
    weights: Weights
    lengths: npt.NDArray[np.int64] | None


def time_major(array: Array) -> Array:
    """Return a copy with the first two axes swapped."""
    return np.ascontiguousarray(np.swapaxes(array, 0, 1))


def cell_names(shape: Shape) -> list[str]:
    """Return the suffix of each layer and direction's weights: "_l0", "_l0_reverse", ..."""
    directions = ("", "_reverse") if shape.bidirectional else ("",)
    return [f"_l{layer}{name}" for layer in range(shape.layers) for name in directions]


def make_weights(shape: Shape, dtype: str, seed: int = 1) -> Weights:
    """Return weights uniform in +-1 / sqrt(H), as PyTorch initializes them."""
    random = np.random.default_rng(seed)
    limit = 1.0 / np.sqrt(shape.hidden)
    state = shape.projection or shape.hidden
    weights: Weights = {}
    for index, suffix in enumerate(cell_names(shape)):
        first = index < shape.num_directions
        inputs = shape.inputs if first else shape.num_directions * state
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (4 * shape.hidden, inputs),
            "weight_hh": (4 * shape.hidden, state),
        }
        if ("bias", False) not in shape.variant:
            shapes["bias"] = (4 * shape.hidden,)
        if ("layer_norm", True) in shape.variant:
            shapes |= dict.fromkeys(("gain_ih", "gain_hh"), (4 * shape.hidden,))
            shapes |= dict.fromkeys(("gain_c", "bias_c"), (shape.hidden,))
        if ("peephole", True) in shape.variant:
            shapes["peephole"] = (3 * shape.hidden,)
        if shape.projection:
            shapes["weight_hr"] = (shape.projection, shape.hidden)
        for name, extents in shapes.items():
            weights[name + suffix] = random.uniform(-limit, limit, extents).astype(dtype)
    return weights


def make_problem(case: Case) -> Problem:
    """Return the data of `case`, the same numbers in every process."""
    shape = case.shape
    random = np.random.default_rng(2)

    def normal(*extents: int) -> Array:
        return random.standard_normal(extents, dtype=np.float32).astype(case.dtype)

    state = shape.projection or shape.hidden
    cells = shape.layers * shape.num_directions
    x = normal(shape.batch, shape.steps, shape.inputs)
    h0 = normal(cells, shape.batch, state) * np.asarray(0.1, case.dtype)
    c0 = normal(cells, shape.batch, shape.hidden) * np.asarray(0.1, case.dtype)
    dy = normal(shape.batch, shape.steps, shape.num_directions * state)
    lengths = shape.lengths()
    if lengths is not None:
        dy[np.arange(shape.steps) >= lengths[:, None]] = 0
    return Problem(x, h0, c0, dy, make_weights(shape, case.dtype), lengths)


def digest(shape: Shape, y: Array, dx: Array | None = None) -> dict[str, float]:
    """Return a few sums over the valid steps, batch first, to compare the results of peers."""
    sums: dict[str, float] = {}
    lengths = shape.lengths()
    for name, array in (("y", y), ("dx", dx)):
        if array is None:
            continue
        values = np.array(array, np.float64)
        if lengths is not None:
            values[np.arange(shape.steps) >= lengths[:, None]] = 0
        # Weighted by position, so that a permuted result does not pass for the right one.
        place = np.cos(np.arange(values.size, dtype=np.float64)).reshape(values.shape)
        sums[name] = float(np.abs(values).sum())
        sums[name + " by place"] = float((values * place).sum() + np.abs(values).sum())
    return sums


def as_float64(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return copies in float64."""
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def largest_error(arrays: Sequence[Array], exact: Sequence[Array]) -> float:
    """Return the largest difference between arrays, each relative to the largest entry."""
    pairs = zip(arrays, exact, strict=True)
    return max(float(np.abs(array - true).max() / np.abs(true).max()) for array, true in pairs)


def gates(matrix: Array, order: str) -> Array:
    """Return rows of gates i, f, g, o in another order, such as "iofg"."""
    blocks = dict(zip("ifgo", np.split(matrix, 4), strict=True))
    return np.concatenate([blocks[gate] for gate in order])


def keras_weights(weights: Mapping[str, Array], suffix: str) -> list[Array]:
    """Return kernel (C, 4H), recurrent kernel (H, 4H) and bias (4H), gates i, f, g, o."""
    return [
        np.ascontiguousarray(weights["weight_ih" + suffix].T),
        np.ascontiguousarray(weights["weight_hh" + suffix].T),
        weights["bias" + suffix],
    ]


def onnx_weights(weights: Mapping[str, Array], suffixes: list[str]) -> tuple[Array, Array, Array]:
    """Return W (D, 4H, C), R (D, 4H, H) and B (D, 8H), gates i, o, f, g."""
    w = [gates(weights["weight_ih" + suffix], "iofg") for suffix in suffixes]
    r = [gates(weights["weight_hh" + suffix], "iofg") for suffix in suffixes]
    biases = [gates(weights["bias" + suffix], "iofg") for suffix in suffixes]
    b = [np.concatenate([bias, np.zeros_like(bias)]) for bias in biases]
    return np.stack(w), np.stack(r), np.stack(b)
