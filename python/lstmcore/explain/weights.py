"""Weights of attention."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array
from lstmcore.explain.pairs import Pairs
from lstmcore.explain.results import AttentionMap, Attribution
from lstmcore.explain.samples import (
    as_rows,
    check_model,
    counts_of,
    no_targets,
    read,
    tokens_of,
    vectorizer_for,
)
from lstmcore.layers import Attention, Layer
from lstmcore.layers.nodes import NodeOutputs
from lstmcore.models import EncoderDecoder, Model, Sequential
from lstmcore.models.graph.inputs import Steps, steps_of
from lstmcore.models.graph.structure import Use

__all__ = ["attention"]


@overload
def attention(
    model: Sequential, x: Any, y: None = None, *, layer: str | None = None, mask: Any = None
) -> list[Attribution]: ...
@overload
def attention(
    model: EncoderDecoder, x: Any, y: Any = None, *, layer: None = None, mask: None = None
) -> list[AttentionMap]: ...
@overload
def attention(
    model: Model, x: Any, y: None = None, *, layer: str | None = None, mask: Any = None
) -> Any: ...
def attention(
    model: Sequential | Model | EncoderDecoder,
    x: Any,
    y: Any = None,
    *,
    layer: str | None = None,
    mask: Any = None,
) -> Any:
    """Return the weight that an `Attention` layer gives to each step of each sample.

    Weights show where the model looks, not what it concludes from it: compare `attribute`, and see
    Jain & Wallace 2019.

    Parameters
    ----------
    model : Sequential, Model or EncoderDecoder
        Built, with an `Attention` layer, before which no layer of a `Sequential` changes the number
        of steps; or an `EncoderDecoder` with attention.
    x : object
        As in `predict`.
    y : object, optional
        For an `EncoderDecoder` the targets, as in `fit`; None: what it decodes greedily.
    layer : str, optional
        The name of the layer, if there are several.
    mask : object, optional
        As in `predict`.

    Returns
    -------
    list of Attribution, or of AttentionMap
        One for each sample. The weights (T_i,) of an `Attribution` are at least 0 and sum to 1. An
        `EncoderDecoder`, and an `Attention` with several queries in a `Model`, have a map
        (S_i, T_i), of which each row does: one for each token of the target, or query.

    Raises
    ------
    TypeError
        If `model` is none of these, or `x` does not fit.
    ValueError
        If the model is not built, quantized, or has no `Attention`, or several of which none is
        named; or the graph uses the layer several times.
    """
    model = check_model(model)
    if isinstance(model, EncoderDecoder):
        if layer is not None:
            raise ValueError(
                "layer: expected None for an EncoderDecoder, which has one attention, got "
                f"{layer!r}"
            )
        model._check_no_mask(mask)
        return _maps_of_pairs(model, x, y)
    no_targets(y, model)
    if isinstance(model, Model):
        return _of_graph(model, x, mask, layer)
    chosen = _chosen(model._network, layer)
    examples = read(model, x, mask)
    batch = examples.batch(slice(None))
    inputs, lengths = batch.inputs, batch.lengths
    for below in model._network[: model._network.index(chosen)]:
        inputs, lengths, _ = below.forward(inputs, lengths, False, 0)
    if inputs.shape[1] != batch.inputs.shape[1]:
        raise ValueError(
            f"layer {chosen.name!r}: expected a step for each of the input's "
            f"{batch.inputs.shape[1]}, got {inputs.shape[1]}; layers before it change their number"
        )
    weights: Array = chosen.attention_weights(inputs, lengths).astype(np.float64)
    counts = counts_of(examples)
    rows = as_rows(weights, counts, examples.there)
    names_of = tokens_of(vectorizer_for(model, x), x, counts)
    return [
        Attribution(row, "attention", tokens=tokens)
        for row, tokens in zip(rows, names_of, strict=True)
    ]


def _chosen(layers: Sequence[Layer], name: str | None) -> Attention:
    """Return the layer of a name, or the only `Attention`."""
    found = {str(layer.name): layer for layer in layers if isinstance(layer, Attention)}
    if name is not None:
        if name not in found:
            known = ", ".join(found) or "none"
            raise ValueError(
                f"layer: expected the name of an Attention layer, {known}, got {name!r}"
                f"{did_you_mean(name, found)}"
            )
        return found[name]
    if len(found) != 1:
        raise ValueError(
            "model: expected exactly one Attention layer, got "
            + (f"{', '.join(found)}; name one as layer" if found else "none")
        )
    return next(iter(found.values()))


def _of_graph(
    model: Model, x: Any, mask: Any, name: str | None
) -> list[Attribution] | list[AttentionMap]:
    chosen = _chosen(model.layers, name)
    examples = read(model, x, mask)
    seen: list[tuple[Use, Array]] = []

    def watch(
        use: Use, taken: list[Array], lengths: list[Array | None], found: NodeOutputs
    ) -> None:
        if model.layers[use.layer] is chosen:
            seen.append((use, chosen._weights_at(found.context).astype(np.float64)))

    count = len(model.output_names)
    model._graph.forward(examples.batch(slice(None)).inputs, False, 0, [False] * count, watch=watch)
    if len(seen) > 1:
        raise ValueError(
            f"layer {chosen.name!r}: expected one that the graph uses once, got {len(seen)} uses"
        )
    ((use, weights),) = seen
    every = steps_of(model._structure, examples.given)
    steps = every[use.inputs[0]]
    assert steps is not None
    query = use.inputs[1] if len(use.inputs) > 1 else None
    if query is None or len(model._structure.shapes[query]) == 2:
        return [Attribution(row, "attention") for row in _cut(weights[:, 0], steps)]
    asked = every[query]
    assert asked is not None
    columns = _cut(np.swapaxes(weights, 1, 2), steps)
    return [
        AttentionMap(np.ascontiguousarray(row.T[:count]))
        for row, count in zip(columns, asked.lengths, strict=True)
    ]


def _cut(padded: Array, steps: Steps) -> list[Array]:
    """Cut (N, T, ...) to the steps of each row."""
    return as_rows(padded, [int(length) for length in steps.lengths], steps.there)


def _maps_of_pairs(model: EncoderDecoder, x: Any, y: Any) -> list[AttentionMap]:
    if model.attention is None:
        raise ValueError("model: expected one with attention, got attention=None")
    pairs = Pairs(model, x, y)
    weights = pairs.attention().astype(np.float64)
    counts = pairs.sides[0].counts
    assert counts is not None
    tokens = zip(pairs.sides[0].tokens, pairs.target_tokens, strict=True)
    return [
        AttentionMap(row[: end - 1, :count].copy(), source, target)
        for row, end, count, (source, target) in zip(
            weights, pairs.ends, counts, tokens, strict=True
        )
    ]
