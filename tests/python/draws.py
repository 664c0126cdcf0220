"""Random calls of the LSTM with any options, and how their results and gradients are checked.

A draw is a function of its number alone. `check` compares it with `reference_of_rows`, in plain
NumPy and float64, and its gradients with slopes, or those of float64.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

import lstmcore as lc
import reference_of_rows
from lstmcore import functional as F
from lstmcore.config import Activation, LSTMConfig

OPTIONS = {
    "stack": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "go_backwards": {"go_backwards": True},
    "no bias": {"bias": False},
    "peephole": {"peephole": True},
    "coupled gates": {"coupled_gates": True},
    "projection": {"proj_size": 3},
    "layer norms": {"layer_norm": True, "layer_norm_epsilon": 0.05},
    "activations": {
        "gate_activation": Activation("hard_sigmoid", 0.3, 0.4),
        "cell_activation": "softsign",
        "output_activation": Activation("elu", 0.7),
    },
    "gate clip": {"gate_clip": 0.9},
    "cell clip": {"cell_clip": 0.7},
    "output clip": {"output_clip": 0.4},
    "zoneout of h": {"zoneout_h": 0.3},
    "zoneout of c": {"zoneout_c": 0.3},
    "recurrent dropout": {"recurrent_dropout": 0.3},
    "input dropout": {"input_dropout": 0.3},
    "weight dropout": {"weight_dropout": 0.3},
    "dropout": {"dropout": 0.3, "num_layers": 2},
    # Options of the call, not of the configuration.
    "lengths": {},
    "mask": {},
    "reset": {},
    "recompute": {},
}
REFUSED = {("bidirectional", "go_backwards"), ("lengths", "mask")}
PAIRS = [pair for pair in combinations(OPTIONS, 2) if pair not in REFUSED]

# Precisions of products, and the largest errors of values and of gradients: root mean squares of
# the differences, relative to those of what is expected, array by array. Beyond the worst of
# many draws, but below 1: zeros differ from anything by 1, another sign by 2.
BOUNDS = {
    "float64": (1e-12, 1e-12),
    "fp32": (1e-4, 1e-3),
    "bf16x3": (1e-4, 1e-3),
    "bf16x2": (1e-3, 2e-2),
    "bf16": (0.15, 0.6),
    "int8": (0.8, 0.0),  # which does not train
}
# The bounds must hold for calls whose results nearly cancel, so that an error that all calls share
# may stay below them. So the errors of many draws have smaller ones, a few times what they are:
# of the median and of the 90th percentile, of values and of gradients.
USUAL = {
    "float64": ((1e-15, 2e-15), (2e-10, 1e-9)),
    "fp32": ((5e-7, 1e-6), (1e-6, 2e-6)),
    "bf16x3": ((6e-7, 1.2e-6), (1.5e-6, 3e-6)),
    "bf16x2": ((2e-5, 4e-5), (4e-5, 8e-5)),
    "bf16": ((1e-2, 2e-2), (2e-2, 8e-2)),
    "int8": ((2e-2, 4e-2), (0.0, 0.0)),
}
ENOUGH = 30
KINKS = {"activations", "gate clip", "cell clip", "output clip"}
NEARBY = 4
SMALLEST = 1e-30  # norm of what is expected, below which it is nothing
# An array of gradients that is smaller than this share of the largest one may be what is left of
# sums that cancel, such as the two numbers of x's gradient for one feature: its error is relative
# to the share.
CANCELLED = 0.05
NUMBER_OF_OPTIONS = (0, 1, 2, 3, 4, 6, 9)


@dataclass
class Draw:
    """A call.

    Attributes
    ----------
    names : tuple of str
        Its options, in the order of `OPTIONS`.
    precision : str
        A key of `BOUNDS`.
    config, x, weights, state, arguments
        Of `functional.lstm`; all arrays in float64, rounded to float32 unless that is the dtype.
    valid : ndarray of bool, shape (N, T)
    training : bool
    threads : int
    """

    number: int
    names: tuple[str, ...]
    precision: str
    config: LSTMConfig
    x: np.ndarray
    weights: dict[str, np.ndarray]
    state: tuple[np.ndarray, np.ndarray]
    valid: np.ndarray
    arguments: dict[str, Any] = field(default_factory=dict)
    training: bool = False
    threads: int = 1

    def __repr__(self):
        return (
            f"draw {self.number}: {self.precision}, {self.config}, x {self.x.shape}, "
            f"{', '.join(self.arguments)}, training={self.training}, {self.threads} threads"
        )


def draw(number: int, precision: str | None = None) -> Draw:
    """Return the draw with this number."""
    random = np.random.default_rng([number, 1])
    if precision is None:
        precision = tuple(BOUNDS)[number % len(BOUNDS)]
    names = _names(random)
    kinds: dict[str, Any] = {}
    for name in names:
        kinds |= OPTIONS[name]
    hidden = int(random.choice([1, 2, 3, 5, 8, 9, 16, 17, 33]))
    if "projection" in names:
        kinds["proj_size"] = int(random.integers(1, hidden + 1))
    config = LSTMConfig(int(random.integers(1, 6)), hidden, **kinds)
    batch, steps = int(random.integers(0, 7)), int(random.integers(0, 7))
    cells = config.num_layers * config.num_directions
    arrays = {
        name: random.normal(scale=0.5, size=shape)
        for name, shape in config.parameter_shapes().items()
    }
    arrays["x"] = random.normal(size=(batch, steps, config.input_size))
    arrays["h"] = random.normal(scale=0.5, size=(cells, batch, config.state_size))
    arrays["c"] = random.normal(scale=0.5, size=(cells, batch, hidden))
    if precision != "float64":
        arrays = {name: rounded(array) for name, array in arrays.items()}
    x, h, c = arrays.pop("x"), arrays.pop("h"), arrays.pop("c")
    valid = np.ones((batch, steps), bool)
    arguments: dict[str, Any] = {}
    if "lengths" in names:
        arguments["lengths"] = random.integers(0, steps + 1, batch)
        valid = np.arange(steps) < arguments["lengths"][:, None]
    if "mask" in names:
        valid = arguments["mask"] = random.random((batch, steps)) < 0.7
    if "reset" in names:
        arguments["reset"] = random.random((batch, steps)) < 0.25
    training = "recompute" in names or bool(random.random() < 0.6)
    if precision == "int8":
        training = False
    if "recompute" in names and training:
        arguments["recompute"] = (1, 2, 3, "sqrt")[random.integers(4)]
    x[~valid] = np.nan
    threads = int(random.integers(1, 4))
    found = (number, names, precision, config, x, arrays, (h, c), valid)
    return Draw(*found, arguments, training, threads)


def rounded(array: np.ndarray) -> np.ndarray:
    """Return an array of float64 whose values are those of float32."""
    return array.astype(np.float32).astype(np.float64)


def _names(random: np.random.Generator) -> tuple[str, ...]:
    """Draw a set of options that go together."""
    count = int(random.choice(NUMBER_OF_OPTIONS))
    chosen = set(random.choice(list(OPTIONS), count, replace=False).tolist())
    for one, other in REFUSED:
        if {one, other} <= chosen:
            chosen.remove((one, other)[random.integers(2)])
    return tuple(name for name in OPTIONS if name in chosen)


def error(result: np.ndarray, wanted: np.ndarray, least: float = 0.0) -> float:
    """Return the root mean square of the differences, relative to that of `wanted` or `least`."""
    assert result.shape == wanted.shape
    difference = float(np.linalg.norm(result.astype(np.float64) - wanted))
    scale = max(float(np.linalg.norm(wanted)), least * float(np.sqrt(wanted.size)), SMALLEST)
    return difference / scale if difference else 0.0


def largest(errors: Iterable[float]) -> float:
    """Return the largest error, or NaN if there is one, which `max` passes over."""
    return float(np.max(list(errors)))


def check(one: Draw) -> tuple[float, float]:
    """Raise AssertionError if a result is wrong; return the errors of values and gradients."""
    lc.set_num_threads(one.threads)
    seed = one.number
    y, h, c, gradients = run(one, seed)
    wanted = expected(one, seed)
    of_values = largest(map(error, (y, h, c), wanted))
    assert of_values <= BOUNDS[one.precision][0], f"{one}: values differ by {of_values:.1e}"
    if not one.training:
        return of_values, 0.0
    if one.precision == "float64":
        return of_values, slope_error(one, seed, (y, h, c), gradients)
    of_gradients = gradient_error(one, seed)
    assert of_gradients <= BOUNDS[one.precision][1], f"{one}: gradients off by {of_gradients:.1e}"
    return of_values, of_gradients


@dataclass
class Errors:
    """The errors of many draws of one precision.

    Attributes
    ----------
    precision : str
    values, gradients : list of float
        Of the draws that have any, so without those in which every row is empty.
    """

    precision: str
    values: list[float] = field(default_factory=list)
    gradients: list[float] = field(default_factory=list)

    def add(self, one: Draw, errors: tuple[float, float]) -> None:
        """Keep what `check` returned for a draw."""
        if one.valid.any():
            self.values.append(errors[0])
            if one.training:
                self.gradients.append(errors[1])

    def usual(self) -> dict[str, list[float]]:
        """Return the median and the 90th percentile of each kind, if there are enough draws."""
        kinds = {"values": self.values, "gradients": self.gradients}
        return {
            kind: [float(one) for one in np.percentile(errors, [50, 90])]
            for kind, errors in kinds.items()
            if len(errors) >= ENOUGH and not (self.precision == "int8" and kind == "gradients")
        }

    def check(self) -> None:
        """Raise AssertionError if the draws are all a little wrong, or a tenth of them."""
        bounds = dict(zip(("values", "gradients"), USUAL[self.precision], strict=True))
        for kind, found in self.usual().items():
            assert all(one <= most for one, most in zip(found, bounds[kind], strict=True)), (
                f"{self.precision}: {kind} usually differ by {found[0]:.1e}, and one in ten by "
                f"{found[1]:.1e} or more"
            )


def gradient_error(one: Draw, seed: int) -> float:
    """Compare the gradients with those of float64; return the largest difference.

    A rounding that crosses a kink or a bound changes a gradient as a whole; then other points
    nearby are tried.
    """
    random = np.random.default_rng([one.number, 3])
    closest = np.inf
    for _ in range(1 if KINKS.isdisjoint(one.names) else NEARBY):
        found, exact = run(one, seed)[3], run(one, seed, np.float64)[3]
        rms = (float(np.sqrt(np.mean(np.square(array)))) for array in exact.values() if array.size)
        least = CANCELLED * max(rms, default=0.0)
        worst = largest(error(found[name], exact[name], least) for name in exact)
        if np.isnan(worst):  # no kink makes one
            return worst
        closest = min(closest, worst)
        if closest <= BOUNDS[one.precision][1]:
            break
        one = replace(one, x=rounded(one.x + 0.1 * random.normal(size=one.x.shape)))
    return closest


def upstream(array: np.ndarray) -> np.ndarray:
    """Return a gradient with respect to a result, which is smooth in it."""
    return np.cos(3 * array.astype(np.float64)).astype(array.dtype)


def run(one: Draw, seed: int, dtype: Any = None, moved: Any = None) -> tuple[Any, ...]:
    """Return y, h, c and, if it trains, the gradients, with respect to weights, x, h0 and c0."""
    if dtype is None:
        dtype = np.float64 if one.precision == "float64" else np.float32
    inputs = {**one.weights, "x": one.x, "h0": one.state[0], "c0": one.state[1]}
    inputs = {name: array.astype(dtype) for name, array in (moved or inputs).items()}
    x, state = inputs.pop("x"), (inputs.pop("h0"), inputs.pop("c0"))
    plain = dtype == np.float64
    packed = F.pack(inputs, one.config, "fp32" if plain else one.precision)
    options = {"training": True, "seed": seed} if one.training else {}
    y, after, *tape = F.lstm(x, packed, state=state, **one.arguments, **options)
    if not tape or moved is not None:
        return y, *after, {}
    found = F.lstm_backward(tape[0], upstream(y), tuple(map(upstream, after)))
    parts = {"x": found.x, "h0": found.state.h, "c0": found.state.c}
    return y, *after, {**found.weights, **parts}


def slope_error(one: Draw, seed: int, results: Any, gradients: dict[str, Any]) -> float:
    """Compare the gradients with the slope along a random direction; return the difference.

    Where the direction crosses a kink or a bound, the slope of a shorter step counts.
    """
    random = np.random.default_rng([one.number, 2])
    inputs = {**one.weights, "x": np.where(one.valid[..., None], one.x, 0)}
    inputs |= {"h0": one.state[0], "c0": one.state[1]}
    along = {name: random.normal(size=value.shape) for name, value in inputs.items()}
    factors = [upstream(result) for result in results]

    def loss(distance: float) -> float:
        moved = {name: value + distance * along[name] for name, value in inputs.items()}
        found = run(one, seed, moved=moved)[:3]
        return sum(float((a * b).sum()) for a, b in zip(found, factors, strict=True))

    terms = np.concatenate([(gradients[name] * along[name]).ravel() for name in inputs])
    size, closest = 1 + np.abs(terms).sum(), np.inf
    for width, bound in ((1e-5, 1e-7), (1e-6, 1e-7), (1e-7, 1e-6)):
        slope = (loss(width) - loss(-width)) / (2 * width)
        closest = min(closest, abs(float(terms.sum()) - slope) / size)
        if closest <= bound:
            return closest
    raise AssertionError(f"{one}: the gradient differs from the slope by {closest:.1e}")


def expected(one: Draw, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute y, h and c by the reference; masked steps are removed, then restored."""
    batch, steps = one.valid.shape
    order = np.argsort(~one.valid, axis=1, kind="stable")
    row = np.arange(batch)[:, None]
    reset = one.arguments.get("reset", np.zeros_like(one.valid))
    masks = F.lstm_masks(one.config, batch, steps, seed) if one.training else {}
    if "mask" in one.arguments:  # a reset at a masked step acts on the next valid one
        seen = np.cumsum(reset, axis=1)[row, order]
        reset = np.diff(seen, axis=1, prepend=0) > 0
        for name in ("zoneout_h", "zoneout_c", "dropout"):
            if name in masks:
                masks[name] = masks[name][:, row, order]
    lengths = one.valid.sum(axis=1)
    y, h, c = reference_of_rows.lstm(
        one.x[row, order], one.weights, one.config, *one.state, lengths, reset, masks
    )
    whole = np.zeros_like(y)
    whole[row, order] = y
    return whole, h, c
