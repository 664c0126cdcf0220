"""The grids: what is measured, and why.

Letters: T time steps, N batch, C input features, H hidden units, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.shapes import KERAS, Case, Shape


def _cell(steps: int, batch: int, inputs: int, hidden: int, reason: str, **more: Any) -> Shape:
    name = f"{steps}x{batch}x{inputs}x{hidden}"
    return Shape(name, reason, steps, batch, inputs, hidden, cell=True, **more)


CELLS = (
    _cell(1, 1, 32, 32, "a single small step: the cost of a call", quick=True),
    _cell(1, 1, 128, 256, "a single step whose weights fill a core's own cache", quick=True),
    _cell(100, 1, 32, 64, "batch one, small: bound by latency", quick=True),
    _cell(
        100, 1, 128, 256, "batch one, medium: bound by reading the weights", quick=True, keras=True
    ),
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
        keras=True,
    ),
    _cell(
        100,
        64,
        256,
        512,
        "large: weights do not fit into a core's own cache",
        quick=True,
        share=True,
        keras=True,
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
        peers=("pytorch", *KERAS),
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
    ("output_clip", 3.0),
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
        "company": [shape for shape in SHAPES if shape.name == "training-step"],
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
    """The choices besides the grid; None leaves the choice to each shape.

    With `brief`, only cells are measured on every thread count, other shapes on the largest.
    """

    threads: Sequence[int] = (1,)
    directions: Sequence[str] | None = None
    dtypes: Sequence[str] | None = None
    brief: bool = False

    def cases(self, shapes: Iterable[Shape]) -> list[Case]:
        """Return every case, by thread count, then by shape."""
        shapes = list(shapes)
        counts = sorted({*self.threads, *(t for shape in shapes for t in shape.threads or ())})
        cases: list[Case] = []
        for threads in counts:
            for shape in shapes:
                if threads not in (shape.threads or self.threads):
                    continue
                if self.brief and not (shape.cell or shape.threads) and threads != max(counts):
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
