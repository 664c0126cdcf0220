"""A chain of layers: how it is put together, and what it computes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._seeds import derive
from lstmcore._typing import Array, DType, Shape
from lstmcore.functional import LSTMState
from lstmcore.layers import (
    Attention,
    Bidirectional,
    Input,
    Layer,
    LSTMCell,
    Masking,
    TextVectorization,
    TiedDense,
)
from lstmcore.layers.nodes import HOW_TO_REUSE
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.recurrent import Recurrent
from lstmcore.layers.residual import parts
from lstmcore.layers.shapes import WrongRank, missing_axes
from lstmcore.layers.states import ModelState, parts_of, run_from
from lstmcore.layers.switches import lowest_trained
from lstmcore.models import states
from lstmcore.models.stored import Stored

__all__ = ["RESERVED", "LayerStack", "free_name"]

RESERVED = ("optimizer", "callbacks")  # first names of the other tensors in a model file
NO_CONTEXT = "no context"  # of a layer below all trained ones, whose memory is freed


class LayerStack(Stored):
    """A model whose layers pass their outputs on to each other: `Sequential` without its samples.

    Parameters
    ----------
    layers, seed, dtype
        As in `Sequential`.
    """

    def __init__(self, layers: Sequence[Layer | Input] | None, seed: int, dtype: DType) -> None:
        super().__init__(seed, dtype)
        self._declared: Shape | None = None
        self._shapes: list[Shape] = []
        self._input_shape: Shape | None = None
        for layer in layers or []:
            self._append(layer)
        if self._declared is not None and self.layers:
            self.build(self._declared)

    # ---- structure ---------------------------------------------------------------------------

    def add(self, layer: Layer | Input) -> None:
        """Append a layer.

        Parameters
        ----------
        layer : Layer
            If the model is already built, the layer is built at once for the outputs of the last
            layer. The other layers keep their weights and the optimizer its slots for them; see
            also `pop`.

        Raises
        ------
        TypeError, ValueError
            If the layer does not fit; the model is then unchanged.
        """
        if self._parameters is None:
            self._append(layer)
            return
        self._check_may_change("add")
        inner = layer._layers_within() if isinstance(layer, Layer) else []
        count = len(self.layers)
        try:
            with self._unchanged_on_error(*inner, self.parameters):
                self._append(layer)
                added = self._network[-1]
                shape, specs = self._plan_layer(added, len(self._network) - 1, self._shapes[-1])
                self._shapes = [*self._shapes, shape]
                self._change({**self.parameters.specs, **specs})
        except BaseException:
            del self._layers[count:]
            raise

    def pop(self) -> Layer:
        """Take the last layer out of the model.

        The others keep their weights and the optimizer its slots for them. The model stays compiled
        unless the loss does not fit the new last activation, and keeps `class_names` if their
        number still matches the outputs.

        Returns
        -------
        Layer
            With weights of its own now, so that it can be added to another model.

        Raises
        ------
        ValueError
            If the model has no layers, is quantized, or `fit` is running.
        """
        if not self.layers:
            raise ValueError("pop: the model has no layers")
        self._check_may_change("pop")
        last = self.layers[-1]
        if self._parameters is not None and last in self._network:
            last._leave()
        self._layers.pop()
        last._held_by = None
        if self._parameters is None:
            return last
        if not self._network:
            self._parameters, self._input_shape, self._shapes = None, None, []
            self._inner_layers = ()
            self._structure_changed()
            return last
        self._shapes = self._shapes[: len(self._network)]
        own = f"{last.name}."
        specs = self.parameters.specs
        self._change({name: specs[name] for name in specs if not name.startswith(own)})
        return last

    def _change(self, specs: Mapping[str, WeightSpec]) -> None:
        """Hold the weights `specs` from now on: the last layer was added or removed."""
        parameters = self.parameters
        bound = [layer for layer in self._network if layer.parameters is parameters]
        parameters.change(specs)
        for layer in bound:
            layer.bind(parameters, layer._names)
        if len(bound) < len(self._network):
            self._give_place(parameters, len(bound), initialize=True)
        self._find_inner_layers()
        self._structure_changed()

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Fix all widths and initialize the weights.

        Parameters
        ----------
        input_shape : sequence of int or None
            Of a batch, with None for the samples: (None, None, C), or (None, None) for token ids.

        Raises
        ------
        ValueError
            If the model is built already or the layers do not fit.
        """
        self._build(input_shape, initialize=True)

    def _build_to_fill(self, input_shape: Sequence[int | None]) -> None:
        """Build without initial values, for a caller that fills in all weights next."""
        self._build(input_shape, initialize=False)

    def _build(self, input_shape: Sequence[int | None], initialize: bool) -> None:
        if self._parameters is not None:
            raise ValueError("build: the model is built already")
        with self._unchanged_on_error():
            specs = self._plan(input_shape)
            self._parameters = self._make_parameters(specs, initialize)

    def _plan(self, input_shape: Sequence[int | None]) -> dict[str, WeightSpec]:
        """Fix all widths and list the weights by full name; nothing is allocated yet.

        This half of `build` finds out whether the layers fit together.
        """
        network = self._network
        if not network:
            raise ValueError("layers: expected at least one layer that computes, got none")
        shape: Shape = tuple(
            None if size is None else _checks.integer(size, "input_shape", 1)
            for size in input_shape
        )
        self._shapes, self._input_shape = [], shape
        specs: dict[str, WeightSpec] = {}
        for index, layer in enumerate(network):
            shape, own = self._plan_layer(layer, index, shape)
            self._shapes.append(shape)
            specs.update(own)
        return specs

    def _plan_layer(
        self, layer: Layer, index: int, shape: Shape
    ) -> tuple[Shape, dict[str, WeightSpec]]:
        """Build a layer for inputs of `shape`; return that of its outputs, and its weights."""
        self._check_place(layer, index)
        if isinstance(layer, TiedDense):
            layer._tie(self._network[:index])
        try:
            shape = layer.build(shape)
        except ValueError as error:
            advice = self._axis_advice(index, shape) if isinstance(error, WrongRank) else ""
            raise ValueError(f"layer {layer.name!r}: {error}{advice}") from error
        return shape, {f"{layer.name}.{spec.name}": spec for spec in layer.weight_specs()}

    def _axis_advice(self, index: int, shape: Shape) -> str:
        """Return the end of an error about inputs of `shape` with too few axes for a layer."""
        if index == 0:
            return missing_axes(len(shape))
        for before in reversed(self._network[:index]):
            if len(shape) == 2 and getattr(before, "return_sequences", True) is False:
                return (
                    f"; layer {before.name!r} returns only its last step; with "
                    "return_sequences=True it returns all steps"
                )
        return ""

    @property
    def _network(self) -> list[Layer]:
        """The layers that compute: all but a `TextVectorization`."""
        return self._layers[1:] if self.vectorizer else self._layers

    @property
    def vectorizer(self) -> TextVectorization | None:
        """The first layer, if it turns text into ids."""
        first = self._layers[0] if self._layers else None
        return first if isinstance(first, TextVectorization) else None

    def _takes_texts(self, x: Any) -> bool:
        """Return whether `x`, inputs of a model with a `vectorizer`, are texts and not ids."""
        return True

    @property
    def input_shape(self) -> Shape:
        """Shape of a batch, with None for variable sizes."""
        assert self.parameters is not None
        assert self._input_shape is not None
        return self._input_shape

    @property
    def output_shape(self) -> Shape:
        """Shape of a batch, with None for variable sizes."""
        assert self.parameters is not None
        return self._shapes[-1]

    # ---- computation -------------------------------------------------------------------------

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int, logits: bool
    ) -> tuple[Array, Array | None, list[Any]]:
        """Run all layers on one checked batch.

        Parameters
        ----------
        inputs : ndarray, shape (N, ...)
        lengths : ndarray of int64, shape (N,), or None
        training : bool
            Whether dropout is applied and contexts are returned.
        seed : int
            Of the dropout masks.
        logits : bool
            Whether the last layer skips its activation.

        Returns
        -------
        outputs : ndarray
        lengths : ndarray of int64, shape (N,), or None
            Of the outputs.
        contexts : list
            For `backward`.
        """
        return self._forward_from(inputs, lengths, training, seed, logits, {})[:3]

    def _forward_from(
        self,
        inputs: Array,
        lengths: Array | None,
        training: bool,
        seed: int,
        logits: bool,
        state: Mapping[str, LSTMState],
        reset: Array | None = None,
    ) -> tuple[Array, Array | None, list[Any], ModelState]:
        """Compute as `forward` does, from `state`, and also return the state at the end.

        Parameters
        ----------
        inputs, lengths, training, seed, logits
            As in `forward`.
        state : mapping of str to LSTMState
            Checked; recurrent layers without an entry begin with zeros.
        reset : ndarray of bool, shape (N, T), optional
            True where a new sequence begins, for all recurrent layers.

        Returns
        -------
        outputs, lengths, contexts
            As of `forward`.
        state : dict of str to LSTMState
            Of every recurrent layer after the last valid step of each row.
        """
        contexts: list[Any] = []
        network = self._network
        first = len(network)
        if training:
            self._follow_trainable()
            first = lowest_trained(network)
        after: ModelState = {}
        for index, layer in enumerate(network):
            place = derive(seed, index) if training else 0
            if logits and layer is network[-1] and not layer._passes_state:
                inputs, lengths, context = layer.forward_logits(inputs, lengths, training, place)
            else:
                inputs, lengths, context, ends = run_from(
                    str(layer.name), layer, inputs, lengths, training, place, state, reset
                )
                after.update(ends)
            contexts.append(context if index >= first else NO_CONTEXT)
        return inputs, lengths, contexts, after

    def _output_lengths(self, lengths: Array) -> Array:
        """Return the lengths of the outputs for those of the inputs; see `Layer.output_lengths`."""
        for layer in self._network:
            lengths = layer.output_lengths(lengths)
        return lengths

    def backward(self, contexts: list[Any], dy: Array) -> None:
        """Write the gradients of all trained weights to ``parameters.gradients``.

        Nothing is computed below the lowest layer that trains.
        """
        self._follow_trainable()
        network = self._network
        first = lowest_trained(network)
        while first < len(network) and contexts[first] is NO_CONTEXT:
            first += 1  # a layer made trainable after the forward has no context
        gradient: Array | None = dy
        for index in range(len(network) - 1, first - 1, -1):
            assert gradient is not None
            gradient = network[index].backward(contexts[index], gradient, need_x=index > first)
        for layer, context in zip(network[first:], contexts[first:], strict=True):
            if isinstance(layer, TiedDense):
                layer._finish_backward(context)

    # ---- state -------------------------------------------------------------------------------

    @property
    def recurrent_layers(self) -> dict[str, Recurrent]:
        """The layers that have a state, by name; "residual.0" is the first in a `Residual`."""
        found: dict[str, Layer] = {}
        for layer in self._network:
            found.update(parts_of(str(layer.name), layer))
        return cast("dict[str, Recurrent]", found)

    def initial_state(self, batch_size: int) -> ModelState:
        """Make the state before the first step: zeros.

        Parameters
        ----------
        batch_size : int
            Rows, N.

        Returns
        -------
        dict of str to LSTMState
            For each recurrent layer, by name, a pair of h (L, N, H) and c (L, N, H), with L stacked
            layers; h is P wide with a projection. It is a plain value: you may copy it, select
            rows, change it and pass it on.

        Raises
        ------
        ValueError
            If the model is not built, or no state can pass from one call to the next, since it has
            no recurrent layer, or a layer walks backwards, or a layer combines several steps.
        """
        rows = _checks.integer(batch_size, "batch_size", 0)
        dtype = self.parameters.dtype
        self._check_passes_state("initial_state")
        return {
            name: LSTMState(*(np.zeros(shape, dtype) for shape in layer._state_shapes(rows)))
            for name, layer in self.recurrent_layers.items()
        }

    # ---- checks ------------------------------------------------------------------------------

    def _check_passes_state(self, name: str) -> None:
        """Raise ValueError, naming the argument `name`, unless a state can be passed on."""
        self._check_reset(name)
        states.check_forwards(self.recurrent_layers, name)

    def _check_reset(self, name: str) -> None:
        """Raise ValueError, naming the argument `name`, unless sequences can be reset."""
        states.check_reset(self._network, self.recurrent_layers, name)

    def _check_state(
        self,
        state: Any,
        rows: int | None = None,
        name: str = "state",
        intake: Intake | None = None,
    ) -> ModelState:
        """Return `state` with its pairs checked, in the model's type.

        Parameters
        ----------
        state : mapping of str to pair of ndarray
            As returned by `initial_state`.
        rows : int, optional
            N; None: that of the first array.
        name : str
            The argument's name in errors.
        intake : Intake, optional
            None: with its default options.

        Raises
        ------
        TypeError, ValueError
            If it is not a state of this model.
        """
        intake = Intake(switch=False) if intake is None else intake
        self._check_passes_state(name)
        layers = self.recurrent_layers
        states.check_names(state, layers, name)
        return states.check_pairs(state, layers, self.parameters.dtype, rows, name, intake)

    # ---- which layers fit together -----------------------------------------------------------

    def _append(self, layer: Layer | Input) -> None:
        if isinstance(layer, Input):
            if self.layers or self._declared is not None:
                raise ValueError("layers: Input must come first")
            self._declared = layer.shape
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: expected layers, got {_checks.describe(layer)}")
        if isinstance(layer, LSTMCell):
            raise TypeError("LSTMCell: computes one step; in a model wrap it: lc.layers.RNN(cell)")
        if isinstance(layer, TextVectorization) and self._declared is not None:
            raise ValueError("layers: texts have no shape, so no Input may come before them")
        own = {id(part) for part in parts(layer)}
        if any(id(part) in own for other in self.layers for part in parts(other)):
            raise ValueError(f"layers: the same {type(layer).__name__} object appears twice")
        names = {other.name for other in self.layers}
        if layer.name is None:
            layer.name = free_name(type(layer).__name__, names)
        elif layer.name in names or layer.name in RESERVED:
            raise ValueError(f"layers: the name {layer.name!r} is taken")
        layer._held_by = type(self).__name__
        self._layers.append(layer)

    def _check_place(self, layer: Layer, index: int) -> None:
        if isinstance(layer, Recurrent) and layer.return_state:
            raise ValueError(
                f"layer {layer.name!r}: return_state=True is for calling the layer on its own; in "
                "a model each layer has one output"
            )
        before = self._network[index - 1] if index else None
        if before is not None and before._decides:
            raise ValueError(
                f"layer {layer.name!r}: expected no layer after the {type(before).__name__} "
                f"{before.name!r}, which returns tags"
            )
        within = layer._layers_within()
        if any(isinstance(inner, Attention) and inner.query_size for inner in within):
            raise ValueError(
                f"layer {layer.name!r}: query_size is for calling the layer on its own; in a model "
                "each layer has one input"
            )
        if any(part.stateful for part in states.hidden_parts(layer)):
            raise ValueError(
                f"layer {layer.name!r}: expected stateful=False, since its forward takes no state"
            )
        if any(isinstance(inner, Bidirectional) and inner.merge_mode is None for inner in within):
            raise ValueError(
                f"layer {layer.name!r}: merge_mode=None, which returns two outputs, is for calling "
                "the layer on its own; in a model each layer has one output, such as that of "
                "'concat'"
            )
        below = within[1:] if index == 0 else within
        if any(isinstance(inner, Masking) for inner in below):
            raise ValueError(
                f"layer {layer.name!r}: Masking must come first, since all layers skip the steps "
                "that it leaves out"
            )
        if layer.input_kind == "text":
            raise ValueError(f"layer {layer.name!r}: TextVectorization must come first")
        if layer.input_kind == "ids" and index > 0:
            raise ValueError(f"layer {layer.name!r}: takes token ids, so it must come first")
        if self.vectorizer and index == 0 and layer.input_kind != "ids":
            raise ValueError(f"layer {layer.name!r}: expected an Embedding after TextVectorization")
        if layer.weights and not layer._alone:
            raise ValueError(
                f"layer {layer.name!r}: belongs to another model already; {HOW_TO_REUSE}"
            )


def free_name(class_name: str, taken: set[str | None]) -> str:
    """Turn "GlobalMaxPooling1D" into "global_max_pooling1d", with a number if that is taken."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", class_name)
    name = base = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", words).lower()
    number = 0
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name
