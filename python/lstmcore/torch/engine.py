"""One call of the engine with tensors: results, gradients, tangents and second derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from lstmcore import _core
from lstmcore._typing import Array
from lstmcore.torch import tapes
from lstmcore.torch.plan import Plan
from lstmcore.torch.tensors import array_of
from lstmcore.torch.weights import pack


class Call(NamedTuple):
    """The arguments of a call, except the tensors that have gradients.

    Attributes
    ----------
    plan : Plan
    time_major : bool
        x is (T, N, C) instead of (N, T, C), and so is y.
    cell : bool
        One step: x is (N, C), h is (N, P), c is (N, H), and y is None.
    sequences : bool
        Whether y is returned.
    lengths, reset, mask : ndarray or None
        In the engine's layout, (N,) and (N, T).
    seed : int
        Seed of the masks.
    random : bool
        Whether dropout and zoneout act.
    packed : Lstm or None
        The packed weights; None: they are not packed yet.
    """

    plan: Plan
    time_major: bool
    cell: bool
    sequences: bool
    lengths: Array | None
    reset: Array | None
    mask: Array | None
    seed: int
    random: bool
    packed: _core.Lstm | None


def own_steps(call: Call) -> Call:
    """Return `call` with copies of the caller's arrays, since a graph outlives the call."""
    if call.lengths is None and call.reset is None and call.mask is None:
        return call
    arrays = (call.lengths, call.reset, call.mask)
    lengths, reset, mask = (None if array is None else array.copy() for array in arrays)
    return call._replace(lengths=lengths, reset=reset, mask=mask)


def forward(
    call: Call, x: Any, h: Any, c: Any, weights: Sequence[Any], keep: bool
) -> tuple[Any, ...]:
    """Return y (None without `call.sequences`), h, c and a tape's tensor (None without `keep`)."""
    plan = call.plan
    lstm = pack(plan, weights) if call.packed is None else call.packed
    inputs, h_before, c_before = _inputs(call, x, h, c, weights[0])
    y, h_after, c_after, tape = lstm.forward(
        inputs,
        h_before,
        c_before,
        call.lengths,
        call.reset,
        call.sequences,
        keep or call.random,
        call.seed,
        call.mask,
        plan.recompute if keep else 0,
        call.random,
        call.time_major,
    )
    if call.cell:
        h_after, c_after = h_after[0], c_after[0]
    output = None
    if y is not None:
        output = torch.from_numpy(y.swapaxes(0, 1) if call.time_major else y)
    saved = tapes.tensor_of(tape) if keep and tape is not None else None
    return output, torch.from_numpy(h_after), torch.from_numpy(c_after), saved


def _inputs(call: Call, x: Any, h: Any, c: Any, like: Any) -> tuple[Any, Any, Any]:
    """Return x, h and c, or tangents of them, as arrays with the engine's axes."""
    inputs: Any = None if x is None else array_of(x, "input", like)
    h = None if h is None else array_of(h, "hx[0]", like)
    c = None if c is None else array_of(c, "hx[1]", like)
    if call.cell:
        inputs = None if inputs is None else inputs[:, None]
        h = None if h is None else h[None]
        c = None if c is None else c[None]
    elif call.time_major and inputs is not None:
        inputs = inputs.swapaxes(0, 1)
    return inputs, h, c


def gradients(
    call: Call,
    needs: Sequence[bool],
    tape_tensor: Any,
    outputs: Sequence[Any],
    x: Any,
    h: Any,
    c: Any,
    weights: Sequence[Any],
) -> list[Any]:
    """Return gradients with respect to x, h, c and the engine's weights; None: not in `needs`."""
    dy, dh, dc = _output_gradients(call, outputs)
    tape = tapes.take(tape_tensor)
    if tape is None:
        tape = tapes.take(forward(call, x, h, c, weights, True)[3])
        assert tape is not None
    arrays: dict[str, Array] = {}
    results: list[Any] = [None, None, None]
    for wanted, (name, first, _) in zip(needs[3:], call.plan.places, strict=True):
        gradient: Any = None
        if wanted:
            gradient = torch.empty(call.plan.shapes[first], dtype=x.dtype, device="cpu")
            arrays[name] = gradient.numpy()
        results.append(gradient)
    dx, dh0, dc0 = tape.backward(dy, dh, dc, needs[0], needs[1] or needs[2], arrays or None)
    _put(call, results, needs, (dx, dh0, dc0))
    return results


def _output_gradients(call: Call, outputs: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Return gradients with respect to y, h and c as arrays with the engine's axes."""
    dy, dh, dc = outputs
    dy = None if dy is None else array_of(dy, "gradient of the output")
    dh = None if dh is None else array_of(dh, "gradient of h")
    dc = None if dc is None else array_of(dc, "gradient of c")
    if not call.sequences:
        dy = None
    elif dy is not None and call.time_major:
        dy = dy.swapaxes(0, 1)
    if call.cell:
        dh = None if dh is None else dh[None]
        dc = None if dc is None else dc[None]
    return dy, dh, dc


def _put(call: Call, results: list[Any], needs: Sequence[bool], arrays: Sequence[Any]) -> None:
    """Write gradients with respect to x, h and c, with the caller's axes, where needed."""
    dx, dh0, dc0 = arrays
    if dx is not None and call.cell:
        dx = dx[:, 0]
    elif dx is not None and call.time_major:
        dx = dx.swapaxes(0, 1)
    if call.cell and dh0 is not None:
        dh0, dc0 = dh0[0], dc0[0]
    for place, array in enumerate((dx, dh0, dc0)):
        if array is not None and needs[place]:
            results[place] = torch.from_numpy(array)


def tangents(
    call: Call, x: Any, h: Any, c: Any, weights: Sequence[Any], directions: Sequence[Any]
) -> tuple[tuple[Any, Any, Any], _core.LstmTangentTape]:
    """Return the tangents of y, h and c along `directions`, and a tape of values and tangents.

    `directions` holds a tensor, or None for zeros, for x, h, c and each of the engine's weights.
    """
    lstm = pack(call.plan, weights) if call.packed is None else call.packed
    inputs, h_before, c_before = _inputs(call, x, h, c, weights[0])
    x_tangent, h_tangent, c_tangent = _inputs(
        call, directions[0], directions[1], directions[2], weights[0]
    )
    along: dict[str, Array] = {}
    for direction, (name, _, _) in zip(directions[3:], call.plan.places, strict=True):
        if direction is not None:
            along[name] = array_of(direction, name)
    _, _, _, y, h_after, c_after, tape = _core.lstm_jvp(
        lstm,
        inputs,
        h_before,
        c_before,
        call.lengths,
        call.reset,
        call.mask,
        x_tangent,
        h_tangent,
        c_tangent,
        along,
        call.random,
        call.seed,
    )
    if call.cell:
        h_after, c_after = h_after[0], c_after[0]
    output = None
    if call.sequences:
        output = torch.from_numpy(y.swapaxes(0, 1) if call.time_major else y)
    return (output, torch.from_numpy(h_after), torch.from_numpy(c_after)), tape


def second_gradients(
    call: Call,
    tape: _core.LstmTangentTape,
    outputs: Sequence[Any],
    needs: Sequence[bool],
    output_tangents: Sequence[Any] = (None, None, None),
) -> list[Any]:
    """Return the derivatives of the results of `gradients` along the direction of `tape`."""
    values = arrays_like(tape)
    derivatives = arrays_like(tape)
    *_, dx, dh0, dc0 = tape.backward(
        *_output_gradients(call, outputs),
        *_output_gradients(call, output_tangents),
        values,
        derivatives,
    )
    results: list[Any] = [None, None, None]
    _put(call, results, needs, (dx, dh0, dc0))
    for wanted, (name, _, _) in zip(needs[3:], call.plan.places, strict=True):
        results.append(torch.from_numpy(derivatives[name]) if wanted else None)
    return results


def arrays_like(tape: _core.LstmTangentTape) -> dict[str, Array]:
    """Return new arrays for the gradients with respect to all weights of `tape`."""
    return {name: np.empty(shape, tape.dtype) for name, shape in tape.parameters()}
