"""What is measured: shapes and cases.

Letters: T time steps, N batch, C input features, H hidden units, L layers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

ALL_PEERS = (
    "pytorch",
    "onnxruntime",
    "openvino",
    "jax",
    "tensorflow",
    "ncnn",
    "mnn",
    "litert",
)
"""Peers that run one LSTM layer."""

KERAS_BACKENDS = ("keras-jax", "keras-torch")
"""Keras on other backends than TensorFlow, for some layers and the whole training step."""

KERAS = ("keras", *KERAS_BACKENDS)
"""Keras on every backend. For other shapes, its layer on TensorFlow counts as TensorFlow's."""

DIRECTIONS = ("inference", "training")
DTYPES = ("float32", "float64")

KINDS = {
    "lstm": "layers over a batch of sequences",
    "cell": "a loop over single steps, with training",
    "model": "one training step of embedding, LSTM, dense and Adam",
    "stream": "one step of one sequence, state carried along",
    "small_models": "many small models, one after the other, from Python threads",
    "overhead": "a call with next to no work",
}


@dataclass(frozen=True)
class Shape:
    """One row of a grid.

    Attributes
    ----------
    name : str
        Unique.
    reason : str
        Why the shape is measured.
    steps, batch, inputs, hidden : int
        T, N, C, H.
    kind : str
        One of `KINDS`.
    layers : int
        L.
    bidirectional : bool
    projection : int
        Width that h is projected to; 0 means no projection.
    shortest : int
        Lengths are uniform in shortest..T; with 0 every row has all T steps.
    variant : tuple of (str, value)
        Further arguments of `lstmcore.LSTMConfig`.
    recompute : str
        Argument of `functional.lstm` in training; empty: the tape stores everything.
    resets, holes : float
        Share of the steps at which a row is reset, and of those that a mask leaves out.
    cost : float
        Allowed time of an option, relative to the plain cell; 0 if the shape is no option.
    int8 : bool
        Weights quantized to 8 bits, where a peer offers that.
    vocabulary, classes : int
        Sizes of the kind "model".
    models, python_threads : int
        Of the kind "small_models".
    directions, dtypes : tuple of str
        Default choice of what is measured.
    threads : tuple of int or None
        The only thread counts that make sense; None: the requested ones.
    peers : tuple of str or None
        The only peers that make sense; None: `ALL_PEERS`.
    keras : bool
        Whether `KERAS_BACKENDS` are measured, too.
    cell : bool
        Whether it is a cell of the grid that goals are set for.
    share : bool
        Whether its share of the limit has a goal; AVX2 is then measured too.
    memory : bool
        Whether the memory of one training step is measured.
    quick : bool
        Whether it belongs to the quick grid.
    precisions : bool
        Whether it is measured in every precision of products, and in no other way.
    """

    name: str
    reason: str
    steps: int = 1
    batch: int = 1
    inputs: int = 1
    hidden: int = 1
    kind: str = "lstm"
    layers: int = 1
    bidirectional: bool = False
    projection: int = 0
    shortest: int = 0
    variant: tuple[tuple[str, Any], ...] = ()
    recompute: str = ""
    resets: float = 0.0
    holes: float = 0.0
    cost: float = 0.0
    int8: bool = False
    vocabulary: int = 0
    classes: int = 0
    models: int = 0
    python_threads: int = 1
    directions: tuple[str, ...] = DIRECTIONS
    dtypes: tuple[str, ...] = ("float32",)
    threads: tuple[int, ...] | None = None
    peers: tuple[str, ...] | None = None
    keras: bool = False
    cell: bool = False
    share: bool = False
    memory: bool = False
    quick: bool = False
    precisions: bool = False

    @property
    def num_directions(self) -> int:
        """D, the number of directions."""
        return 2 if self.bidirectional else 1

    def lengths(self) -> npt.NDArray[np.int64] | None:
        """Valid steps of each row, the same in every process; None if all are T."""
        if not self.shortest:
            return None
        random = np.random.default_rng(7)
        return random.integers(self.shortest, self.steps + 1, self.batch, dtype=np.int64)

    @property
    def total_steps(self) -> int:
        """S, the valid steps of all rows together."""
        lengths = self.lengths()
        return self.steps * self.batch if lengths is None else int(lengths.sum())

    def flags(self, share: float) -> npt.NDArray[np.bool_] | None:
        """Mark a share of all steps, the same in every process; None if the share is 0."""
        if not share:
            return None
        return np.asarray(np.random.default_rng(8).random((self.batch, self.steps)) < share)

    def describe(self) -> str:
        """Return T x N x C x H and what is special."""
        text = f"{self.steps} x {self.batch} x {self.inputs} x {self.hidden}"
        if self.layers > 1:
            text += f", {self.layers} layers"
        if self.bidirectional:
            text += ", bidirectional"
        if self.projection:
            text += f" -> {self.projection}"
        if self.shortest:
            text += f", lengths {self.shortest}..{self.steps}"
        for name, value in self.variant:
            text += f", {name}" if value is True else f", {name} {value}"
        if self.int8:
            text += ", int8"
        if self.vocabulary:
            text += f", vocabulary {self.vocabulary}"
        if self.models:
            text += f", {self.models} models, {self.python_threads} Python threads"
        return text


@dataclass(frozen=True)
class Case:
    """A shape with everything else that a measurement needs."""

    shape: Shape
    direction: str
    dtype: str
    threads: int

    @property
    def key(self) -> str:
        """The unique name."""
        return f"{self.shape.name}/{self.direction}/{self.dtype}/{self.threads}"

    @property
    def training(self) -> bool:
        """Whether the backward pass is part of it."""
        return self.direction == "training"

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def flops(self) -> float:
        """Floating-point operations of the products of one call.

        A step of a row takes 2 * 4H * (inputs + H) forward, as many for the gradients with respect
        to the inputs, and as many for those with respect to the weights. Nothing else is counted.
        """
        shape = self.shape
        state = shape.projection or shape.hidden
        a_step = 0.0
        for layer in range(shape.layers):
            inputs = shape.inputs if layer == 0 else shape.num_directions * state
            gates = 2.0 * 4 * shape.hidden * (inputs + state)
            projected = 2.0 * shape.hidden * shape.projection
            a_step += shape.num_directions * (gates + projected)
        passes = 3 if self.training else 1
        return passes * a_step * shape.total_steps * max(1, shape.models)

    @property
    def bytes(self) -> float:
        """Bytes that one call must move if nothing is read twice.

        Weights, x and y; in training also the tape, written and read once (4 gates and c per
        unit), and the gradients with respect to x, y and the weights.
        """
        shape = self.shape
        state = shape.projection or shape.hidden
        weights = 0
        kept = 0
        for layer in range(shape.layers):
            inputs = shape.inputs if layer == 0 else shape.num_directions * state
            weights += shape.num_directions * (
                4 * shape.hidden * (inputs + state + 1) + shape.hidden * shape.projection
            )
            kept += shape.num_directions * 5 * shape.hidden
        ends = shape.total_steps * (shape.inputs + shape.num_directions * state)
        elements = weights + ends
        if self.training:
            elements += weights + ends + 2 * shape.total_steps * kept
        return float(elements * self.itemsize * max(1, shape.models))

    @property
    def step_weight_bytes(self) -> float:
        """Bytes of the weights that a step must read: the recurrent ones, or all for a single step.

        The input part of many steps can be one product, which reads its weights once.
        """
        shape = self.shape
        state = shape.projection or shape.hidden
        elements = 0
        for layer in range(shape.layers):
            inputs = shape.inputs if layer == 0 else shape.num_directions * state
            columns = state + (inputs if shape.steps == 1 else 0)
            elements += shape.num_directions * 4 * shape.hidden * columns
        return float(elements * self.itemsize)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Case:
        """Return the case that `to_json` was called on."""
        fields: dict[str, Any] = {name: _as_tuple(value) for name, value in data["shape"].items()}
        return Case(Shape(**fields), data["direction"], data["dtype"], data["threads"])


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def smaller(case: Case) -> Case:
    """Return the same work on very little data, to trigger all lazy loading.

    Every size differs, so that no freed memory fits the larger case.
    """
    shape = case.shape
    lengths = min(shape.shortest, 2)
    small = replace(shape, steps=2, batch=2, inputs=3, hidden=5, shortest=lengths)
    return replace(case, shape=small)
