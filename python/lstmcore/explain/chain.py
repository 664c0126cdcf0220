"""Attributions of a chain of layers."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.explain.network import OutputNetwork, Side, make_still
from lstmcore.explain.samples import counts_of, read, tokens_of, vectorizer_for
from lstmcore.models import Sequential

__all__ = ["Chain"]


class Chain(OutputNetwork):
    """The layers after the embedding, if there is one, as they compute in `predict`.

    Parameters
    ----------
    model : Sequential
    x, mask
        As in `predict`.
    logits : bool
        Whether the last activation is left out.
    """

    def __init__(self, model: Sequential, x: Any, mask: Any, logits: bool) -> None:
        examples = read(model, x, mask)
        batch = examples.batch(slice(None))
        inputs, self._lengths = batch.inputs, batch.lengths
        own = copy.deepcopy(model)
        layers = own._network
        of_ids = layers[0].input_kind == "ids"
        if of_ids:
            inputs, self._lengths, _ = layers[0].forward(inputs, self._lengths, False, 0)
            layers = layers[1:]
        if inputs.ndim < 3:
            raise ValueError(
                f"x: expected sequences, got inputs of shape {inputs.shape} for the first layer"
            )
        for layer in layers:
            make_still(layer)
        own._follow_trainable()
        self._layers, self._logits = layers, logits
        counts = counts_of(examples)
        tokens = tokens_of(vectorizer_for(model, x), x, counts)
        self.sides = [Side("x", [inputs], of_ids, counts, examples.there, tokens)]
        self.rows = np.arange(len(inputs))
        self._all = model.forward(batch.inputs, batch.lengths, False, 0, logits)[0]
        self._begin()

    def _forward(
        self, values: Sequence[Array], rows: Array, *, training: bool
    ) -> tuple[Array, Array | None, list[Any]]:
        lengths = None if self._lengths is None else self._lengths[rows]
        contexts = []
        outputs = np.ascontiguousarray(values[0], self.values[0].dtype)
        for layer in self._layers:
            run = layer.forward
            if self._logits and layer is self._layers[-1]:
                run = layer.forward_logits
            outputs, lengths, context = run(outputs, lengths, training, 0)
            contexts.append(context)
        return outputs, lengths, contexts

    def _backward(self, context: list[Any], gradient: Array) -> list[Array]:
        for layer, own in zip(reversed(self._layers), reversed(context), strict=True):
            back = layer.backward(own, gradient, True)
            assert back is not None
            gradient = back
        return [gradient]
