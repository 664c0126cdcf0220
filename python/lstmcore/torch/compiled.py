"""The engine as an operator that ``torch.compile`` and ``torch.export`` put into graphs unchanged.

Such an operator takes and returns tensors, numbers and strings, and computes the shapes of its
results without running. The tape is one of the tensors (`lstmcore.torch.tapes`). A compiled graph
has no second derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lstmcore.config import LSTMConfig
from lstmcore.torch import engine
from lstmcore.torch.autograd import needs_of, spread
from lstmcore.torch.engine import Call
from lstmcore.torch.plan import Plan, plan_of

# The arguments besides x, h, c and the weights: tensors without gradients, then the options.
_DESCRIPTION = (
    "Tensor? lengths, Tensor? reset, Tensor? mask, Tensor? seed, int[] sizes, bool bias, "
    "float dropout, bool bidirectional, str options, bool time_major, bool cell, bool sequences, "
    "bool random"
)
_FORWARD = (
    f"(Tensor x, Tensor? h, Tensor? c, Tensor[] weights, {_DESCRIPTION}, bool keep) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
_BACKWARD = (
    "(bool[] needs, Tensor tape, Tensor? dy, Tensor? dh, Tensor? dc, Tensor x, Tensor? h, "
    f"Tensor? c, Tensor[] weights, {_DESCRIPTION}) -> Tensor[]"
)


def lstm(
    x: Any, h: Any, c: Any, weights: Sequence[Any], description: Sequence[Any], keep: bool
) -> tuple[Any, Any, Any]:
    """Return y, h and c as `lstmcore.torch.autograd.lstm` does, through the operator."""
    y, h_after, c_after, _ = torch.ops.lstmcore.lstm(x, h, c, list(weights), *description, keep)
    return y, h_after, c_after


def _plan(sizes: Sequence[int], bias: bool, dropout: float, both: bool, options: str) -> Plan:
    input_size, hidden_size, num_layers, proj_size = sizes
    return plan_of(input_size, hidden_size, num_layers, bias, dropout, both, proj_size, options)


def _call(description: Sequence[Any]) -> Call:
    lengths, reset, mask, seed, *of_plan, time_major, cell, sequences, random = description
    return Call(
        _plan(*of_plan),
        time_major,
        cell,
        sequences,
        None if lengths is None else lengths.numpy(),
        None if reset is None else reset.numpy(),
        None if mask is None else mask.numpy(),
        0 if seed is None else int(seed[0]),
        random,
        None,
    )


def _batch(x: Any, config: LSTMConfig, time_major: bool, cell: bool) -> tuple[Any, ...]:
    """Return the shape of a state without its last axis."""
    if cell:
        return (x.shape[0],)
    return (config.num_layers * config.num_directions, x.shape[1 if time_major else 0])


@torch.library.custom_op("lstmcore::lstm", mutates_args=(), schema=_FORWARD)
def _lstm(x: Any, h: Any, c: Any, weights: Any, *rest: Any) -> Any:
    *description, keep = rest
    y, h_after, c_after, tape = engine.forward(_call(description), x, h, c, weights, keep)
    y = x.new_empty(0) if y is None else y
    return (
        y,
        h_after,
        c_after,
        torch.empty(1, dtype=torch.int64, device="cpu") if tape is None else tape,
    )


@_lstm.register_fake
def _(x: Any, h: Any, c: Any, weights: Any, *rest: Any) -> Any:
    _, _, _, _, *of_plan, time_major, cell, sequences, _, _ = rest
    config = _plan(*of_plan).config
    tape = torch.empty((1,), dtype=torch.int64, device="cpu")
    batch = _batch(x, config, time_major, cell)
    y = (*x.shape[:2], config.output_size) if sequences else (0,)
    return (
        x.new_empty(y),
        x.new_empty((*batch, config.state_size)),
        x.new_empty((*batch, config.hidden_size)),
        tape,
    )


@torch.library.custom_op("lstmcore::lstm_backward", mutates_args=(), schema=_BACKWARD)
def _lstm_backward(needs: Any, tape: Any, dy: Any, dh: Any, dc: Any, *rest: Any) -> Any:
    x, h, c, weights, *description = rest
    call = _call(description)
    results = engine.gradients(call, needs, tape, (dy, dh, dc), x, h, c, weights)
    return [x.new_empty(0) if result is None else result for result in results]


@_lstm_backward.register_fake
def _(needs: Any, tape: Any, dy: Any, dh: Any, dc: Any, *rest: Any) -> Any:
    x, _, _, _, _, _, _, _, *of_plan, time_major, cell, _, _ = rest
    plan = _plan(*of_plan)
    config = plan.config
    batch = _batch(x, config, time_major, cell)
    shapes = [x.shape, (*batch, config.state_size), (*batch, config.hidden_size)]
    shapes += [plan.shapes[first] for _, first, _ in plan.places]
    return [
        x.new_empty(shape if needed else (0,)) for shape, needed in zip(shapes, needs, strict=True)
    ]


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    x, h, c, weights, lengths, reset, mask, seed, *ctx.rest, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[3], x, h, c, lengths, reset, mask, seed, *weights)


def _backward(ctx: Any, *grads: Any) -> Any:
    tape, x, h, c, lengths, reset, mask, seed, *weights = ctx.saved_tensors
    description = (lengths, reset, mask, seed, *ctx.rest)
    plan = _plan(*ctx.rest[:5])
    by_inputs = [*ctx.needs_input_grad[:3], *ctx.needs_input_grad[3]]
    needs = needs_of(plan, by_inputs)
    results: list[Any] = torch.ops.lstmcore.lstm_backward(
        needs, tape, *grads[:3], x, h, c, weights, *description
    )
    wanted = [result if needed else None for result, needed in zip(results, needs, strict=True)]
    dx, dh, dc, *by_weights = spread(plan, wanted, by_inputs)
    return dx, dh, dc, by_weights, *[None] * (len(description) + 1)


_lstm.register_autograd(_backward, setup_context=_setup_context)
