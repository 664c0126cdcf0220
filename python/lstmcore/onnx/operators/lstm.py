"""The LSTM operators, run by the engine: the standard's, and ONNX Runtime's with 8-bit weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore import functional as F
from lstmcore._typing import Array, Precision
from lstmcore.convert.onnx import from_onnx, split_directions
from lstmcore.onnx.graph import Node
from lstmcore.onnx.operators.registry import Bound, Function, operator

__all__ = ["PADDED", "QUANTIZED", "WORK", "better_left", "packed_bytes"]

QUANTIZED = "com.microsoft.DynamicQuantizeLSTM"
"""The label of ONNX Runtime's operator with 8-bit weights."""

WORK: ContextVar[list[int] | None] = ContextVar("WORK", default=None)
"""Where every call of an LSTM adds the number of its multiplications, if somebody wants to know."""

Cells = list[F.PackedWeights]
"""One LSTM for all directions, or one for each direction if their activations differ."""

PADDED = 16
"""The engine packs weights for a multiple of so many units, where its vectors are longest."""

SEQUENCES = (0, 4, 5, 6)
"""Positions of X, sequence_lens, initial_h and initial_c; the other inputs are weights."""

_clip_output: ContextVar[bool] = ContextVar("_clip_output", default=True)


@contextmanager
def clipping_output(value: bool) -> Iterator[None]:
    """Build the nodes within as `convert.from_onnx` does with this `clip_output`."""
    token = _clip_output.set(value)
    try:
        yield
    finally:
        _clip_output.reset(token)


def better_left() -> frozenset[str]:
    """Return the labels of the operators that are slower here than in ONNX Runtime.

    On processors without instructions for products of bytes (VNNI, AMX), the engine multiplies
    8-bit numbers no faster than floats; ONNX Runtime does.
    """
    unit = _core.product_unit("int8").split()[0]
    return frozenset([QUANTIZED] if unit == _core.isa() else [])


@operator("LSTM", since=1, several=True, kind="recurrent")
def _lstm(node: Node) -> Function | Bound:
    """Build LSTM: X, W, R, B, sequence_lens, initial_h, initial_c, P to Y, Y_h, Y_c."""
    return _layer(node, _preparation(node), (1, 2, 3, 7))  # W, R, B, P


@operator(QUANTIZED, several=True, kind="recurrent")
def _quantized(node: Node) -> Function | Bound:
    """Build the same with W_scale, W_zero_point, R_scale, R_zero_point as further inputs.

    The weights that the bytes stand for are packed with the precision "int8", so that x and h are
    quantized row by row, as the operator means it. See also `better_left`.
    """
    missing = [place for place in (0, 1, 2, 8, 9, 10, 11) if not node.has_input(place)]
    if missing:
        node.fail(
            f"inputs: expected X, W, R and the scales and zero points of W and R (12 inputs "
            f"in all), but those at {missing} are missing"
        )
    pack = _preparation(node, "int8")

    def prepare(w: Array, r: Array, b: Any, p: Any, *scales: Array) -> Cells:
        w_scale, w_zero, r_scale, r_zero = scales
        return pack(
            _dequantized(node, "W", w, w_scale, w_zero),
            _dequantized(node, "R", r, r_scale, r_zero),
            b,
            p,
        )

    return _layer(node, prepare, (1, 2, 3, 7, 8, 9, 10, 11))


def _dequantized(node: Node, name: str, values: Array, scale: Array, zero: Array) -> Array:
    """Return (values - zero) scale in the standard's order of axes, (D, 4H, C).

    Parameters
    ----------
    node : Node
    name : str
    values : ndarray of int8 or uint8, shape (D, C, 4H)
    scale : ndarray of float32, shape (D,) or (D, 4H)
    zero : ndarray of int8 or uint8, shape (D,) or (D, 4H)
    """
    if values.ndim != 3 or values.dtype not in (np.int8, np.uint8):
        node.fail(
            f"{name}: expected int8 or uint8 of shape (D, C, 4H), got {values.dtype} {values.shape}"
        )
    directions, _, columns = values.shape
    for what, given in ((f"{name}_scale", scale), (f"{name}_zero_point", zero)):
        if given.shape not in ((directions,), (directions, columns)):
            node.fail(
                f"{what}: expected shape ({directions},) or ({directions}, {columns}), "
                f"got {given.shape}"
            )
    if zero.dtype != values.dtype:
        node.fail(f"{name}_zero_point: expected {values.dtype} like {name}, got {zero.dtype}")
    scale, offset = (given.reshape(directions, 1, -1).astype(np.float32) for given in (scale, zero))
    exact = (values.astype(np.float32) - offset) * scale  # bytes and differences are exact
    return np.ascontiguousarray(exact.swapaxes(1, 2))


def _layer(node: Node, prepare: Callable[..., Cells], weights: tuple[int, ...]) -> Function | Bound:
    """Build a node whose inputs at the places `weights` are what `prepare` packs, in that order."""
    batch_first = node.get("layout", 0)
    if batch_first not in (0, 1):
        node.fail(f"layout: expected 0 or 1, got {batch_first}")
    wanted = tuple(node.has_output(place) for place in range(3))

    def run(cells: Cells, x: Any, lengths: Any = None, h: Any = None, c: Any = None) -> Any:
        if x.ndim != 3:
            node.fail(f"X: expected three axes, got shape {x.shape}")
        done = WORK.get()
        if done is not None:
            done.append(x.shape[0] * x.shape[1] * sum(map(_multiplications, cells)))
        if batch_first:
            h = None if h is None else h.swapaxes(0, 1)
            c = None if c is None else c.swapaxes(0, 1)
        else:
            x = x.swapaxes(0, 1)
        y, h, c = _run(cells, x, lengths, h, c, wanted[0], not batch_first)
        if wanted[0]:
            n, steps, _ = y.shape
            y = y.reshape(n, steps, len(h), h.shape[2])  # (N, T, D, H)
            y = y if batch_first else y.transpose(1, 2, 0, 3)
        return (y, h.swapaxes(0, 1), c.swapaxes(0, 1)) if batch_first else (y, h, c)

    if all(node.constant(place) is not None or not node.has_input(place) for place in weights):
        cells = prepare(*(node.constant(place) for place in weights))
        rest = [place for place in SEQUENCES if place < len(node.inputs)]
        return Bound(partial(run, cells), tuple(rest))

    def lstm(*inputs: Array | None) -> Any:
        given = [*inputs, *[None] * (max(*weights, *SEQUENCES) + 1 - len(inputs))]
        cells = prepare(*(given[place] for place in weights))
        return run(cells, *(given[place] for place in SEQUENCES))

    return lstm


def packed_bytes(node: Node) -> tuple[int, int]:
    """Return the bytes of a node's constant weights, as the engine packs them and as floats.

    Both are 0 if the weights are no constants, or have shapes that no LSTM has.
    """
    w, r = node.constant(1), node.constant(2)
    if w is None or r is None or w.ndim != 3 or r.ndim != 3 or r.size == 0:
        return 0, 0
    hidden, width = min(r.shape[1:]), max(w.itemsize, r.itemsize, 4)
    floats = (w.size + r.size) * width
    return -(-floats // hidden) * (-(-hidden // PADDED) * PADDED), floats


def _multiplications(cell: F.PackedWeights) -> int:
    """Return how many multiplications a step of a row takes."""
    config = cell.config
    width = config.input_size + config.hidden_size
    return 4 * config.hidden_size * width * config.num_directions


def _preparation(node: Node, precision: Precision | None = None) -> Callable[..., Cells]:
    """Return the function that packs W, R, B and P according to the node's attributes."""
    options = {
        name: node.get(name)
        for name in ("activations", "activation_alpha", "activation_beta", "clip")
    }
    options["input_forget"] = node.get("input_forget", 0)
    # DynamicQuantizeLSTM is ONNX Runtime's own, so that its way is right.
    options["clip_output"] = precision is None and _clip_output.get()
    direction: Any = str(node.get("direction", "forward")).lower()
    names = node.get("activations")
    apart = direction == "bidirectional" and names is not None and _differ(options)

    def prepare(w: Array, r: Array, b: Array | None, p: Array | None) -> Cells:
        arguments: dict[str, Any] = {"W": w, "R": r, "B": b, "P": p}
        hidden = int(node.get("hidden_size", r.shape[-1]))
        try:
            if apart:
                parts = split_directions(**arguments, hidden_size=hidden, **options)
                return [F.pack(*from_onnx(**part), precision) for part in parts]
            made = from_onnx(**arguments, hidden_size=hidden, direction=direction, **options)
            return [F.pack(*made, precision)]
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
    cells: Cells,
    x: Array,
    lengths: Array | None,
    h: Array | None,
    c: Array | None,
    sequences: bool,
    time_major: bool,
) -> tuple[Any, Array, Array]:
    """Return y (N, T, D H), in memory with time first if `time_major`, and the states after it."""
    if len(cells) == 1:  # without functional.lstm's checks, which a node does not need
        y, h, c, _ = cells[0]._lstm.forward(
            x, h, c, lengths, None, sequences, time_major=time_major
        )
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
