"""What a graph computes: forward along the uses of layers, backward against them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lstmcore._seeds import derive
from lstmcore._typing import Array
from lstmcore.layers import Layer
from lstmcore.layers.nodes import NodeOutputs
from lstmcore.models.graph.structure import Structure, Use

__all__ = ["Feed", "Network", "Tape", "Watch"]

Watch: TypeAlias = Callable[[Use, list[Array], list[Array | None], NodeOutputs], None]
"""Called with each use of a layer: its inputs, their lengths, and what it computed."""


class Feed(NamedTuple):
    """The inputs of one batch.

    Attributes
    ----------
    values : tuple of ndarray
    lengths : tuple of (ndarray of int64, shape (N,)) or None
        Valid steps of each row of each input; None: all, or it has no steps.
    """

    values: tuple[Array, ...]
    lengths: tuple[Array | None, ...]


@dataclass
class Tape:
    """What the backward of one forward needs.

    Attributes
    ----------
    contexts : dict of int to object
        Those of the uses that train, or lead to ones that do, by their places.
    """

    contexts: dict[int, Any] = field(default_factory=dict)


class Network:
    """Computes a graph whose layers have their weights.

    Parameters
    ----------
    structure : Structure
    explained : collection of int, optional
        Values whose gradients `backward` returns besides writing those of the weights.
    """

    def __init__(self, structure: Structure, explained: Collection[int] = ()) -> None:
        self.structure, self._explained = structure, tuple(explained)
        uses, ends = structure.uses, set(structure.outputs.values())
        last = {value: at for at, use in enumerate(uses) for value in use.inputs}
        # The use, its layer, and the values that no later use takes, whose memory is freed.
        self._plan = [
            (
                use,
                structure.layers[use.layer],
                [one for one in set(use.inputs) if last[one] == at and one not in ends],
            )
            for at, use in enumerate(uses)
        ]
        self._ends = list(structure.outputs.values())
        self._known: tuple[Any, list[bool], set[int]] = (None, [], set())

    def _trained(self) -> tuple[list[bool], set[int]]:
        """Return which uses need a backward, and which values lead to weights that train."""
        parameters = self.structure.layers[0].parameters
        assert parameters is not None
        frozen = parameters.frozen  # another object whenever it changes
        if self._known[0] is not frozen:
            wanted = set(self._explained)
            uses: list[bool] = []
            for use, layer, _ in self._plan:
                needed = layer._trains or any(value in wanted for value in use.inputs)
                uses.append(needed)
                if needed:
                    wanted.update(use.outputs)
            self._known = (frozen, uses, wanted)
        return self._known[1:]

    def forward(
        self,
        feed: Feed,
        training: bool,
        seed: int,
        logits: Sequence[bool],
        given: Mapping[int, tuple[Array, Array | None]] | None = None,
        watch: Watch | None = None,
    ) -> tuple[list[Array], list[Array | None], Tape]:
        """Compute the outputs of one batch.

        Parameters
        ----------
        feed : Feed
        training : bool
            Whether dropout is applied and a tape is filled.
        seed : int
            Seeds what is random.
        logits : sequence of bool
            Which outputs skip their last activation.
        given : mapping of int to (ndarray, ndarray or None), optional
            First outputs of uses, with their lengths, which stand for what these would compute.
        watch : callable, optional
            Called after each use.

        Returns
        -------
        outputs : list of ndarray
        lengths : list of (ndarray of int64, shape (N,)) or None
            Valid steps of the rows of each output.
        tape : Tape
        """
        ends = self._ends
        bare = {value for value, skip in zip(ends, logits, strict=True) if skip}
        values: dict[int, Array] = dict(enumerate(feed.values))
        lengths: dict[int, Array | None] = dict(enumerate(feed.lengths))
        for value, (array, counts) in (given or {}).items():
            values[value], lengths[value] = array, counts
        trained = self._trained()[0] if training else []
        tape = Tape()
        for at, (use, layer, released) in enumerate(self._plan):
            if use.outputs[0] in values:  # given
                continue
            taken = [values[value] for value in use.inputs]
            ends_of = [lengths[value] for value in use.inputs]
            found = layer._forward_node(
                taken,
                ends_of,
                training,
                derive(seed, at) if training else 0,
                use.outputs[0] in bare,
            )
            for value, array, counts in zip(use.outputs, found.values, found.lengths, strict=True):
                values[value], lengths[value] = array, counts
            if training and trained[at]:
                tape.contexts[at] = found.context
            if watch is not None:
                watch(use, taken, ends_of, found)
            for value in released:
                del values[value]
        return [values[end] for end in ends], [lengths[end] for end in ends], tape

    def backward(self, tape: Tape, gradients: Sequence[Array | None]) -> list[Array | None]:
        """Write the gradients of all trained weights, summed over all uses of a layer.

        Parameters
        ----------
        tape : Tape
        gradients : sequence of ndarray or None
            With respect to the outputs; None: zeros.

        Returns
        -------
        list of ndarray or None
            With respect to the values of `explained`; None: zeros.
        """
        _, wanted = self._trained()
        flow: dict[int, Array] = {}
        owned: set[int] = set()  # sums, which no layer holds
        for value, own in zip(self._ends, gradients, strict=True):
            _add(flow, owned, value, own)
        written: set[int] = set()
        for at in sorted(tape.contexts, reverse=True):
            use, layer, _ = self._plan[at]
            given = [flow.pop(value, None) for value in use.outputs]
            again = use.layer in written
            written.add(use.layer)
            context = tape.contexts.pop(at)
            if all(gradient is None for gradient in given):  # a layer above passed nothing on
                if not again:
                    _clear(layer)
                continue
            earlier = _gradients_of(layer) if again else {}
            needed = [value in wanted for value in use.inputs]
            found = layer._backward_node(context, given, needed)
            for value, gradient, asked in zip(use.inputs, found, needed, strict=True):
                if asked:
                    _add(flow, owned, value, gradient)
            _add_back(layer, earlier)
        return [flow.get(value) for value in self._explained]


def _add(flow: dict[int, Array], owned: set[int], value: int, gradient: Array | None) -> None:
    """Add a gradient to what flows to a value, never into an array that a layer may hold."""
    if gradient is None:
        return
    if value not in flow:
        flow[value] = gradient
    elif value in owned:
        flow[value] += gradient
    else:
        flow[value] = np.asarray(flow[value] + gradient)
        owned.add(value)


def _clear(layer: Layer) -> None:
    """Zero the gradients of a layer on which the loss does not depend."""
    for gradient in layer._gradients.values():
        gradient.fill(0)


def _gradients_of(layer: Layer) -> dict[str, tuple[Array, bool]]:
    """Copy the gradients that an earlier use wrote, with whether each is known to be finite."""
    parameters = layer.parameters
    assert parameters is not None
    names = [name for name in layer._names.values() if name not in parameters.frozen]
    return {name: (parameters.gradient(name).copy(), parameters.is_finite(name)) for name in names}


def _add_back(layer: Layer, earlier: dict[str, tuple[Array, bool]]) -> None:
    """Add the gradients of an earlier use to those of this one."""
    parameters = layer.parameters
    for name, (gradient, finite) in earlier.items():
        assert parameters is not None
        total = parameters.gradient(name)
        total += gradient
        parameters.note_finite(name, finite and parameters.is_finite(name))
