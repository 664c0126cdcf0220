"""Weights of attention."""

from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.explain.results import Attribution
from lstmcore.explain.samples import as_rows, check_model, counts_of, read, tokens_of
from lstmcore.layers import Attention

__all__ = ["attention"]


def attention(model: Any, x: Any, *, mask: Any = None) -> list[Attribution]:
    """Return the weight that an `Attention` layer gives to each step of each sample.

    Weights show where the model looks, not what it concludes from it: compare `attribute`, and see
    Jain & Wallace 2019.

    Parameters
    ----------
    model : Sequential
        Built, with an `Attention` layer, before which no layer changes the number of steps.
    x, mask
        As in `Sequential.predict`.

    Returns
    -------
    list of Attribution
        Their `values` (T_i,) are at least 0 and sum to 1.

    Raises
    ------
    TypeError
        If `model` is no `Sequential`, or `x` does not fit.
    ValueError
        If the model is not built, quantized, or has no `Attention` or several.
    """
    model = check_model(model)
    found = [layer for layer in model._network if isinstance(layer, Attention)]
    if len(found) != 1:
        names = ", ".join(str(layer.name) for layer in found)
        raise ValueError(
            "model: expected exactly one Attention layer, got "
            + (names or "none; the models of EncoderDecoder return their attention with decode")
        )
    examples = read(model, x, mask)
    batch = examples.batch(slice(None))
    inputs, lengths = batch.inputs, batch.lengths
    for layer in model._network[: model._network.index(found[0])]:
        inputs, lengths, _ = layer.forward(inputs, lengths, False, 0)
    if inputs.shape[1] != batch.inputs.shape[1]:
        raise ValueError(
            f"layer {found[0].name!r}: expected a step for each of the input's "
            f"{batch.inputs.shape[1]}, got {inputs.shape[1]}; layers before it change their number"
        )
    weights: Array = found[0].attention_weights(inputs, lengths).astype(np.float64)
    rows = as_rows(weights, examples)
    names_of = tokens_of(model, x, counts_of(examples))
    return [
        Attribution(row, "attention", tokens=tokens)
        for row, tokens in zip(rows, names_of, strict=True)
    ]
