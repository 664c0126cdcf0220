"""Attributions of a graph of layers."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array
from lstmcore.explain.network import OutputNetwork, Side, make_still
from lstmcore.explain.samples import read
from lstmcore.models import Model
from lstmcore.models.graph.inputs import Given, has_steps
from lstmcore.models.graph.network import Feed, Network, Tape

__all__ = ["Graph"]


class Graph(OutputNetwork):
    """A graph as it computes in `predict`, from its inputs or the vectors of their ids.

    Parameters
    ----------
    model : Model
    x, mask
        As in `predict`.
    output : str or None
        The name of an output; None: the only one.
    logits : bool
        Whether its activation is left out.
    """

    def __init__(self, model: Model, x: Any, mask: Any, output: str | None, logits: bool) -> None:
        examples = read(model, x, mask)
        self._feed: Feed = examples.batch(slice(None)).inputs
        self._end = _place_of(model, output)
        own = copy.deepcopy(model)
        for layer in own.layers:
            make_still(layer)
        own._follow_trainable()
        structure = own._structure
        name = list(structure.outputs)[self._end]
        value = structure.outputs[name]
        maker = structure.maker(value)
        assert maker is not None
        if structure.layers[maker.layer]._decides:
            raise ValueError(
                f"output {name!r}: expected one with a gradient, got tags of the layer "
                f"{structure.layers[maker.layer].name!r}"
            )
        if logits and (
            structure.consumers(value) or list(structure.outputs.values()).count(value) > 1
        ):
            raise ValueError(
                f"logits: expected False for the output {name!r}, which the graph also uses for "
                "something else, got True"
            )
        self._logits = [logits and place == self._end for place in range(len(structure.outputs))]
        self.sides = []
        self._numbers: list[int] = []  # of the values of all sides
        self._lengths: dict[int, Array | None] = {}  # of the vectors of ids
        for place, (entry, given) in enumerate(zip(structure.inputs, examples.given, strict=True)):
            values = self._leaves(structure, place)
            timed = has_steps(structure, place)
            counts = _counts(given) if timed else None
            of_ids = structure.is_ids(place)
            tokens: list[list[str] | None] = [None] * len(examples)
            there = given.there if timed else None
            self.sides.append(Side(entry.name, values, of_ids, counts, there, tokens))
        self._network = Network(structure, self._numbers)
        self.rows = np.arange(len(examples))
        plain, _, _ = model._graph.forward(self._feed, False, 0, self._logits)
        self._all = plain[self._end]
        self._begin()

    def _leaves(self, structure: Any, place: int) -> list[Array]:
        """Return what is explained of an input, and note the numbers of these values."""
        if not structure.is_ids(place):
            self._numbers.append(place)
            return [self._feed.values[place]]
        found = []
        for use in structure.consumers(place):
            made = structure.layers[use.layer]._forward_node(
                [self._feed.values[place]], [self._feed.lengths[place]], False, 0, False
            )
            self._numbers.append(use.outputs[0])
            self._lengths[use.outputs[0]] = made.lengths[0]
            found.append(made.values[0])
        return found

    def _forward(
        self, values: Sequence[Array], rows: Array, *, training: bool
    ) -> tuple[Array, Array | None, Tape]:
        arrays = [own[rows] for own in self._feed.values]
        lengths = [None if own is None else own[rows] for own in self._feed.lengths]
        given: dict[int, tuple[Array, Array | None]] = {}
        for number, own, array in zip(self._numbers, self.values, values, strict=True):
            array = np.ascontiguousarray(array, own.dtype)
            if number < len(arrays):
                arrays[number] = array
                continue
            counts = self._lengths[number]
            given[number] = (array, None if counts is None else counts[rows])
        feed = Feed(tuple(arrays), tuple(lengths))
        outputs, ends, tape = self._network.forward(feed, training, 0, self._logits, given)
        return outputs[self._end], ends[self._end], tape

    def _backward(self, context: Tape, gradient: Array) -> list[Array]:
        gradients: list[Array | None] = [None] * len(self._logits)
        gradients[self._end] = gradient
        found = self._network.backward(context, gradients)
        return [
            np.zeros((len(gradient), *own.shape[1:]), own.dtype) if slope is None else slope
            for slope, own in zip(found, self.values, strict=True)
        ]


def _place_of(model: Model, output: str | None) -> int:
    """Return the place of an output by its name."""
    names = model.output_names
    if output is None:
        if len(names) > 1:
            raise ValueError(
                f"output: expected the name of one of the outputs {', '.join(names)}, got None"
            )
        return 0
    if output not in names:
        raise ValueError(
            f"output: expected one of {', '.join(names)}, got {output!r}"
            f"{did_you_mean(output, names)}"
        )
    return names.index(output)


def _counts(given: Given) -> list[int]:
    """Return the number of valid steps of each row of an input."""
    if given.lengths is None:
        return [given.rows.shape[1]] * len(given.rows)
    return [int(length) for length in given.lengths]
