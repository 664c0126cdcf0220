"""From what a caller of `Sequential` passes as x to checked samples."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from lstmcore._intake import Intake
from lstmcore._typing import Array, Shape
from lstmcore.layers import Masking
from lstmcore.layers.shapes import row_ends
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
    if model.vectorizer is not None and model._takes_texts(x):
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
    with nullcontext() if model.built else model._unchanged_on_error():
        if not model.built:
            model.build(_shape_for(model, inputs.shape))
        if not isinstance(inputs, Ragged):
            valid = _with_own_mask(model, inputs, valid)
        if valid is None or len(valid) == 0:
            return _examples_of(model, inputs)
        assert not isinstance(inputs, Ragged)
        _check_masked(model, inputs, valid)
        examples = _examples_of(model, compact(inputs, valid, "x"))
        return examples if _has_own_steps(model) else replace(examples, there=valid)


def _shape_for(model: LayerStack, shape: tuple[int, ...]) -> Shape:
    """Return the shape to build a model for, given that of its first inputs.

    The number of steps is left open, unless a layer must know it.
    """
    inner = (part for layer in model._network for part in layer._layers_within())
    if any(part._needs_steps for part in inner):
        return (None, *shape[1:])
    ids = model._network[0].input_kind == "ids"
    return (None,) * len(shape) if ids else (*(None,) * (len(shape) - 1), shape[-1])


def _with_own_mask(model: LayerStack, inputs: Array, valid: Array | None) -> Array | None:
    """Return the mask with the steps left out that a `Masking` finds.

    None if no mask was passed, and lengths can say the same.
    """
    first = model._network[0]
    if not isinstance(first, Masking) or inputs.ndim != 3:  # which is reported with the shape
        return valid
    own = first.valid_steps(inputs)
    if valid is not None:
        return np.asarray(valid & own)
    return None if row_ends(own)[1] is None else own


def _has_own_steps(model: LayerStack) -> bool:
    """Return whether the outputs have steps, but not those of x, which a layer has ended."""
    return len(model.output_shape) > 2 and any(len(shape) < 3 for shape in model._shapes)


def _check_masked(model: LayerStack, inputs: Array, valid: Array) -> None:
    """Raise ValueError if the mask does not go with the inputs or with the layers."""
    if getattr(model._network[0], "mask_zero", False):
        wrong = np.argwhere(valid & (inputs == 0))
        if len(wrong):
            raise ValueError(
                "mask: with mask_zero=True, id 0 is padding, but the mask says that the one at "
                f"{tuple(map(int, wrong[0]))} is valid; expected mask & (x != 0)"
            )
    if len(model.output_shape) < 3 or _has_own_steps(model):
        return
    steps = np.arange(valid.shape[1] + 1, dtype=np.int64)
    for layer in model._network:
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
    marked = ids and values.size and not values.all()
    if isinstance(first, Masking):
        marked = not first.valid_steps(values[None]).all()
    if marked:
        lengths = first.lengths_of(inputs.padded(), inputs.lengths)
        assert lengths is not None
        inputs = Ragged(inputs.values, lengths, inputs.starts)
    return Examples(inputs, inputs.lengths, output_lengths=model._output_lengths)
