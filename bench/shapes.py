"""What is measured, and why.

Letters: T time steps, N batch, C input features, H hidden units, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

ALL_PEERS = ("pytorch", "onnxruntime", "openvino", "jax", "tensorflow")
"""Peers that run one LSTM layer; Keras joins for the whole training step."""

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


def _cell(steps: int, batch: int, inputs: int, hidden: int, reason: str, **more: Any) -> Shape:
    name = f"{steps}x{batch}x{inputs}x{hidden}"
    return Shape(name, reason, steps, batch, inputs, hidden, cell=True, **more)


CELLS = (
    _cell(1, 1, 32, 32, "a single small step: the cost of a call", quick=True),
    _cell(1, 1, 128, 256, "a single step whose weights fill a core's own cache", quick=True),
    _cell(100, 1, 32, 64, "batch one, small: bound by latency", quick=True),
    _cell(100, 1, 128, 256, "batch one, medium: bound by reading the weights", quick=True),
    _cell(100, 32, 32, 64, "small hidden size: activations weigh as much as products", quick=True),
    _cell(
        100,
        32,
        128,
        128,
        "the common middle",
        quick=True,
        share=True,
        dtypes=("float32", "float64"),
        memory=True,
    ),
    _cell(
        100, 64, 256, 512, "large: weights do not fit a core's own cache", quick=True, share=True
    ),
    _cell(50, 128, 1024, 1024, "very large: weights live in the last cache", share=True),
    _cell(365, 256, 8, 64, "daily time series: long, wide batch, few features", memory=True),
)

_PYTORCH_ONLY = ("pytorch",)

OTHERS = (
    Shape(
        "ragged-400x64",
        "ragged batch: cost must follow the data",
        400,
        64,
        128,
        256,
        shortest=40,
        peers=("pytorch", "onnxruntime", "jax"),
    ),
    Shape(
        "padded-400x64",
        "the same batch with all steps valid",
        400,
        64,
        128,
        256,
        peers=_PYTORCH_ONLY,
        memory=True,
    ),
    Shape(
        "ragged-100x32",
        "a smaller ragged batch",
        100,
        32,
        128,
        128,
        shortest=10,
        quick=True,
        peers=("pytorch", "onnxruntime", "jax"),
    ),
    Shape(
        "long-2000x4",
        "very long, hardly any rows",
        2000,
        4,
        64,
        128,
        peers=("pytorch", "onnxruntime", "openvino"),
    ),
    Shape("projection", "h projected to fewer units", 100, 32, 128, 256, projection=64),
    Shape(
        "cell-steps",
        "LSTMCell in a Python loop: one engine call a step",
        100,
        32,
        128,
        128,
        kind="cell",
        directions=("training",),
        peers=_PYTORCH_ONLY,
        quick=True,
    ),
    Shape(
        "stacked-bidirectional",
        "two layers, both directions",
        100,
        32,
        128,
        128,
        layers=2,
        bidirectional=True,
    ),
    Shape(
        "training-step",
        "the whole training step of a text classifier",
        100,
        32,
        64,
        128,
        kind="model",
        vocabulary=10_000,
        classes=5,
        directions=("training",),
        peers=("pytorch", "keras"),
        quick=True,
    ),
    *(
        Shape(
            f"stream-{hidden}",
            "latency of one step from Python",
            inputs=1,
            hidden=hidden,
            kind="stream",
            directions=("inference",),
            threads=(1,),
            peers=("pytorch", "onnxruntime"),
            quick=True,
        )
        for hidden in (16, 32, 64)
    ),
    Shape(
        "call-overhead",
        "what a call of F.lstm costs before any work",
        kind="overhead",
        directions=("inference",),
        threads=(1,),
        peers=_PYTORCH_ONLY,
        quick=True,
    ),
    *(
        Shape(
            f"small-models-{python_threads}",
            "many small models in threads: calls must not wait for each other",
            100,
            1,
            8,
            32,
            kind="small_models",
            models=1000,
            python_threads=python_threads,
            threads=(1,),
            peers=_PYTORCH_ONLY,
            quick=True,
        )
        for python_threads in (1, 2)
    ),
    *(
        Shape(
            f"int8-{steps}x{batch}x{inputs}x{hidden}",
            "dynamic 8-bit quantization, for scale: results differ by up to 2e-2",
            steps,
            batch,
            inputs,
            hidden,
            int8=True,
            directions=("inference",),
            peers=("onnxruntime",),
        )
        for steps, batch, inputs, hidden in (
            (100, 1, 128, 256),
            (100, 32, 128, 128),
            (100, 64, 256, 512),
        )
    ),
)

PLAIN = "100x32x128x128"
"""The shape that options are compared with."""


def _option(name: str, cost: float = 1.25, **what: Any) -> Shape:
    reason = f"an option alone, to be compared with {PLAIN}"
    return Shape(
        f"option-{name}", reason, 100, 32, 128, 128, cost=cost, peers=(), quick=True, **what
    )


_VARIANTS: tuple[tuple[str, Any], ...] = (
    ("bias", False),
    ("peephole", True),
    ("coupled_gates", True),
    ("layer_norm", True),
    ("gate_clip", 3.0),
    ("cell_clip", 3.0),
    ("zoneout_h", 0.1),
    ("zoneout_c", 0.1),
    ("recurrent_dropout", 0.2),
    ("input_dropout", 0.2),
    ("weight_dropout", 0.2),
    ("gate_activation", "hard_sigmoid"),
    ("gate_activation", "softplus"),
    ("gate_activation", "elu"),
    ("cell_activation", "leaky_relu"),
    ("cell_activation", "scaled_tanh"),
    ("cell_activation", "softsign"),
    ("output_activation", "softplus"),
    ("output_activation", "elu"),
)

OPTIONS = (
    *(
        _option(
            f"{name}-{value}" if name.endswith("activation") else name, variant=((name, value),)
        )
        for name, value in _VARIANTS
    ),
    _option("reset", resets=0.02),
    _option("mask", holes=0.02),
    # The allowed time is in proportion to the arithmetic: 4 H (C + P) + P H, not 4 H (C + H).
    _option("projection-64", 1.25 * 0.8125, projection=64),
    _option("projection-64-clip", 1.25 * 0.8125, projection=64, variant=(("proj_clip", 1.0),)),
    # It has twice as many layers.
    _option("dropout-2-layers", 2.5, layers=2, variant=(("dropout", 0.2),)),
    _option("recompute", 1.4, recompute="sqrt", directions=("training",)),
)
"""One shape for each option."""

PRECISION = tuple(
    Shape(
        f"precision-{steps}x{batch}x{inputs}x{hidden}",
        reason,
        steps,
        batch,
        inputs,
        hidden,
        peers=("pytorch", "onnxruntime", "openvino", "jax"),
        precisions=True,
        quick=hidden == 128,
    )
    for steps, batch, inputs, hidden, reason in (
        (100, 32, 128, 128, "products in lower precision: weights in a core's own cache"),
        (100, 64, 256, 512, "the same: weights that two cores share"),
        (50, 128, 1024, 1024, "the same: weights from the last cache"),
    )
)
"""Layers in every precision of products."""

SHAPES = (*CELLS, *OTHERS, *OPTIONS, *PRECISION)


def select(grid: str) -> list[Shape]:
    """Return the shapes of a named grid, or those whose names are listed, separated by commas.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    grids: dict[str, Iterable[Shape]] = {
        "full": SHAPES,
        "options": [shape for shape in SHAPES if shape.cost or shape.name == PLAIN],
        "cells": CELLS,
        "precision": PRECISION,
        "quick": [shape for shape in SHAPES if shape.quick],
    }
    chosen: dict[str, Shape] = {}
    by_name = {shape.name: shape for shape in SHAPES}
    for name in grid.split(","):
        if name in grids:
            chosen.update({shape.name: shape for shape in grids[name]})
        elif name in by_name:
            chosen[name] = by_name[name]
        else:
            known = ", ".join([*grids, *by_name])
            raise ValueError(f"grid: expected some of {known}, got {name!r}")
    return list(chosen.values())


_OWN_DTYPES = ("model", "small_models", "overhead")
"""Kinds that are measured only in the element types that their shapes name."""


@dataclass(frozen=True)
class Choice:
    """The choices besides the grid; None leaves the choice to each shape."""

    threads: Sequence[int] = (1,)
    directions: Sequence[str] | None = None
    dtypes: Sequence[str] | None = None

    def cases(self, shapes: Iterable[Shape]) -> list[Case]:
        """Return every case, by thread count, then by shape."""
        shapes = list(shapes)
        counts = sorted({*self.threads, *(t for shape in shapes for t in shape.threads or ())})
        cases: list[Case] = []
        for threads in counts:
            for shape in shapes:
                if threads not in (shape.threads or self.threads):
                    continue
                dtypes: Sequence[str] = shape.dtypes
                if self.dtypes is not None:
                    dtypes = self.dtypes
                    if shape.int8 or shape.kind in _OWN_DTYPES:
                        dtypes = [name for name in self.dtypes if name in shape.dtypes]
                for direction in shape.directions:
                    if self.directions is None or direction in self.directions:
                        cases += [Case(shape, direction, dtype, threads) for dtype in dtypes]
        return cases


def smaller(case: Case) -> Case:
    """Return the same work on very little data, to trigger all lazy loading.

    Every size differs, so that no freed memory fits the larger case.
    """
    shape = case.shape
    lengths = min(shape.shortest, 2)
    small = replace(shape, steps=2, batch=2, inputs=3, hidden=5, shortest=lengths)
    return replace(case, shape=small)
