"""The LSTM operator, run by the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from lstmcore import functional as F
from lstmcore._typing import Array
from lstmcore.convert.onnx import from_onnx, split_directions
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.registry import Bound, Function, operator

Cells = list[F.PackedWeights]
"""One LSTM for all directions, or one for each direction if their activations differ."""

_clip_output: ContextVar[bool] = ContextVar("_clip_output", default=True)


@contextmanager
def clipping_output(value: bool) -> Iterator[None]:
    """Build the nodes within as `convert.from_onnx` does with this `clip_output`."""
    token = _clip_output.set(value)
    try:
        yield
    finally:
        _clip_output.reset(token)


@operator("LSTM", since=1, several=True)
def _lstm(node: Node) -> Function | Bound:
    """Build LSTM: X, W, R, B, sequence_lens, initial_h, initial_c, P to Y, Y_h, Y_c."""
    batch_first = node.get("layout", 0)
    if batch_first not in (0, 1):
        node.fail(f"layout: expected 0 or 1, got {batch_first}")
    wanted = tuple(node.has_output(place) for place in range(3))
    prepare = _preparation(node)

    def run(cells: Cells, x: Array, lengths: Any = None, h: Any = None, c: Any = None) -> Any:
        if x.ndim != 3:
            node.fail(f"X: expected three axes, got shape {x.shape}")
        if batch_first:
            h = None if h is None else h.swapaxes(0, 1)
            c = None if c is None else c.swapaxes(0, 1)
        else:
            x = x.swapaxes(0, 1)
        y, h, c = _run(cells, x, lengths, h, c, wanted[0])
        if wanted[0]:
            n, steps, _ = y.shape
            y = y.reshape(n, steps, len(h), h.shape[2])  # (N, T, D, H)
            y = y if batch_first else y.transpose(1, 2, 0, 3)
        return (y, h.swapaxes(0, 1), c.swapaxes(0, 1)) if batch_first else (y, h, c)

    places = (1, 2, 3, 7)  # W, R, B, P
    if all(node.constant(place) is not None or not node.has_input(place) for place in places):
        cells = prepare(*(node.constant(place) for place in places))
        rest = [place for place in (0, 4, 5, 6) if place < len(node.inputs)]
        return Bound(partial(run, cells), tuple(rest))

    def lstm(x: Array, w: Array, r: Array, *rest: Array | None) -> Any:
        b, lengths, h, c, p = ([*rest] + [None] * 5)[:5]
        return run(prepare(w, r, b, p), x, lengths, h, c)

    return lstm


def _preparation(node: Node) -> Callable[..., Cells]:
    """Return the function that packs W, R, B and P according to the node's attributes."""
    options = {
        name: node.get(name)
        for name in ("activations", "activation_alpha", "activation_beta", "clip")
    }
    options["input_forget"] = node.get("input_forget", 0)
    options["clip_output"] = _clip_output.get()
    direction: Any = str(node.get("direction", "forward")).lower()
    names = node.get("activations")
    apart = direction == "bidirectional" and names is not None and _differ(options)

    def prepare(w: Array, r: Array, b: Array | None, p: Array | None) -> Cells:
        arguments: dict[str, Any] = {"W": w, "R": r, "B": b, "P": p}
        hidden = int(node.get("hidden_size", r.shape[-1]))
        try:
            if apart:
                parts = split_directions(**arguments, hidden_size=hidden, **options)
                return [F.pack(*from_onnx(**part)) for part in parts]
            return [
                F.pack(*from_onnx(**arguments, hidden_size=hidden, direction=direction, **options))
            ]
        except (TypeError, ValueError) as error:
            raise type(error)(f"{node}: {error}") from None

    return prepare


def _differ(options: dict[str, Any]) -> bool:
    """Return whether the directions' activations may differ, in name or in a parameter."""
    names = [name.lower() for name in options["activations"]]
    half = len(names) // 2
    if names[:half] != names[half:]:
        return True
    lists = (options["activation_alpha"] or [], options["activation_beta"] or [])
    return any(
        values and values[: len(values) // 2] != values[len(values) // 2 :] for values in lists
    )


def _run(
    cells: Cells, x: Array, lengths: Array | None, h: Array | None, c: Array | None, sequences: bool
) -> tuple[Any, Array, Array]:
    if len(cells) == 1:  # without functional.lstm's checks, which a node does not need
        y, h, c, _ = cells[0]._lstm.forward(x, h, c, lengths, None, sequences)
        return y, h, c
    outputs, states = [], []
    for place, cell in enumerate(cells):
        begin = tuple(None if part is None else part[place : place + 1] for part in (h, c))
        y, state = F.lstm(
            x, cell, state=(begin[0], begin[1]), lengths=lengths, return_sequences=sequences
        )
        outputs.append(y)
        states.append(state)
    return (
        np.concatenate(outputs, axis=-1),
        np.concatenate([state.h for state in states]),
        np.concatenate([state.c for state in states]),
    )
