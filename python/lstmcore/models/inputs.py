"""From what a caller of `Sequential` passes as x to checked samples."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from lstmcore._intake import Intake
from lstmcore._typing import Array
from lstmcore.models.layer_stack import LayerStack
from lstmcore.training.data import Examples, Ragged, Rows, explain_lists, read_inputs, typed
from lstmcore.training.masks import check_mask, compact

__all__ = ["read_examples"]


def read_examples(
    model: LayerStack, x: Any, mask: Any = None, intake: Intake | None = None
) -> Examples:
    """Check inputs, and build the model for them if it is not built yet.

    With a mask they become ragged rows of the steps where it is True.
    """
    network = model._network
    if not network:
        raise ValueError("the model has no layers")
    intake = Intake(switch=False) if intake is None else intake
    first = network[0]
    if model.vectorizer is not None:
        if mask is not None:
            raise ValueError("mask: expected None for texts, whose steps are all valid")
        return _build_and_check(model, Ragged(*model.vectorizer.encode(x)), None)
    with explain_lists(x):
        inputs = read_inputs(x, first.input_kind, "x", intake)
    valid = None if mask is None else check_mask(mask, inputs, first.input_kind)
    inputs = typed(inputs, first.input_kind, model.dtype, "x", intake, valid)
    with explain_lists(x):  # of shapes that do not fit, not of values
        return _build_and_check(model, inputs, valid)


def _build_and_check(model: LayerStack, inputs: Rows, valid: Array | None) -> Examples:
    ids = model._network[0].input_kind == "ids"
    rank = len(inputs.shape)
    with nullcontext() if model.built else model._unchanged_on_error():
        if not model.built:
            model.build((None,) * rank if ids else (*(None,) * (rank - 1), inputs.shape[-1]))
        if valid is None or len(valid) == 0:
            return _examples_of(model, inputs)
        assert not isinstance(inputs, Ragged)
        _check_masked(model, inputs, valid)
        examples = _examples_of(model, compact(inputs, valid, "x"))
        return replace(examples, there=valid)


def _check_masked(model: LayerStack, inputs: Array, valid: Array) -> None:
    """Raise ValueError if the mask does not go with the inputs or with the layers."""
    if getattr(model._network[0], "mask_zero", False):
        wrong = np.argwhere(valid & (inputs == 0))
        if len(wrong):
            raise ValueError(
                "mask: with mask_zero=True, id 0 is padding, but the mask says that the one at "
                f"{tuple(map(int, wrong[0]))} is valid; expected mask & (x != 0)"
            )
    steps = np.arange(valid.shape[1] + 1, dtype=np.int64)
    for layer in model._network if len(model.output_shape) > 2 else []:
        if (layer.output_lengths(steps) != steps).any():
            raise ValueError(
                f"mask: layer {layer.name!r} changes the number of steps, so that outputs do "
                "not belong to steps of x; expected one output for each step, or for a sequence"
            )


def _examples_of(model: LayerStack, inputs: Rows) -> Examples:
    """Check inputs of the right type against the shape that the model was built for."""
    first = model._network[0]
    ids = first.input_kind == "ids"
    shape, fixed = inputs.shape, model.input_shape[1:2]
    if isinstance(inputs, Ragged) and fixed != (None,) and shape[1] <= (fixed[0] or 0):
        shape = (shape[0], fixed[0] or 0, *shape[2:])
    first._check_shape(shape)
    values = inputs.values if isinstance(inputs, Ragged) else inputs
    first.check_values(values)
    if not isinstance(inputs, Ragged):
        lengths = first.lengths_of(inputs, None)
        return Examples(inputs, lengths, output_lengths=model._output_lengths)
    if ids and values.size and not values.all():
        lengths = first.lengths_of(inputs.padded(), inputs.lengths)
        assert lengths is not None
        inputs = Ragged(inputs.values, lengths, inputs.starts)
    return Examples(inputs, inputs.lengths, output_lengths=model._output_lengths)
