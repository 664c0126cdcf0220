"""Layers one after the other: structure, weights, forward and backward."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._options import Checked
from lstmcore._seeds import derive
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array, DType, Inputs, Shape
from lstmcore.functional import LSTMState
from lstmcore.layers import (
    Attention,
    Input,
    Layer,
    LSTMCell,
    Residual,
    TextVectorization,
    TimeDistributed,
)
from lstmcore.layers.base import (
    HOW_TO_REUSE,
    SWITCHES,
    WrongRank,
    follow_trainable,
    lowest_trained,
    missing_axes,
)
from lstmcore.layers.parameters import Parameters, WeightSpec
from lstmcore.layers.recurrent import Recurrent
from lstmcore.layers.residual import parts
from lstmcore.layers.states import parts_of, run_from
from lstmcore.training.data import Examples, Ragged, Rows, explain_lists, read_inputs, typed
from lstmcore.training.masks import check_mask, compact
from lstmcore.transfer import LoadedWeights, find_layer, layer_weights, load_weights, read_weights

__all__ = ["ModelState", "Network", "Weighted"]

ModelState: TypeAlias = dict[str, LSTMState]
"""State of each recurrent layer, by the layer's name."""

RESERVED = ("optimizer", "callbacks")  # what else has tensors in a model file
NO_CONTEXT = "no context"  # of a layer beneath all that train: its memory is free again
INITIAL_VALUES = 0  # the place of randomness beside those of the training loop


class Weighted(Checked):
    """Layers whose weights lie side by side: what every model is.

    Parameters
    ----------
    seed, dtype
        As in `Sequential`.

    Attributes
    ----------
    layers : list of Layer
        Each with its name.
    """

    def __init__(self, seed: int, dtype: DType) -> None:
        self.seed = seed
        self.dtype = _checks.float_dtype(dtype)
        self._layers: list[Layer] = []
        self._parameters: Parameters | None = None
        self._quantized = False
        self._inner_layers: tuple[Layer, ...] = ()  # all layers with weights, inner ones too

    def _why_fixed(self, name: str) -> str | None:
        if name == "layers":
            return "layers are added by add and removed by pop"
        return "it is fixed when the model is made; make a new one with it"

    @property
    def layers(self) -> list[Layer]:
        """The layers, each with its name; `add` and `pop` change them."""
        return self._layers

    @property
    def seed(self) -> int:
        """Of everything random; set after building, it acts on what is drawn from then on."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = _checks.integer(seed, "seed")

    @property
    def _network(self) -> list[Layer]:
        """The layers that compute."""
        return self.layers

    @contextmanager
    def _unchanged_on_error(self, *others: Any) -> Iterator[None]:
        """Give this model, its layers and `others` their attributes back if the block raises.

        So a refused call leaves no half-built model behind, nor one built for refused data.
        """
        layers = [inner for layer in self.layers for inner in layer._layers_within()]
        before = [(thing, dict(vars(thing))) for thing in (self, *layers, *others)]
        try:
            yield
        except BaseException:
            for thing, attributes in before:
                vars(thing).clear()
                vars(thing).update(attributes)
            SWITCHES.note()  # among the attributes is what is frozen
            raise

    @property
    def built(self) -> bool:
        """Whether the widths are fixed and the weights there."""
        return self._parameters is not None

    @property
    def parameters(self) -> Parameters:
        """All weights in one flat array, and all gradients."""
        if self._parameters is None:
            raise ValueError(
                "the model is not built yet; call build(input_shape), or fit or predict"
            )
        return self._parameters

    @property
    def quantized(self) -> bool:
        """Whether this is a model for inference with weights of 8 bits; see `quantize`."""
        return self._quantized

    def _become_quantized(self) -> None:
        """Take note that the matrices are multiples of their scales, and compute accordingly.

        From now on nobody writes to the weights.
        """
        for layer in self._network:
            for cell in layer._layers_within():
                if isinstance(cell, LSTMCell):
                    cell.precision = "int8"
        self.parameters._lock(
            "set_weights: a quantized model keeps the weights that quantize gave it; set those of "
            "the model that it was made of and quantize that again"
        )
        self._quantized = True

    def _check_quantized(self) -> None:
        """Raise ValueError if a layer does not compute as those of a quantized model do."""
        for layer in self._network:
            for cell in layer._layers_within():
                if isinstance(cell, LSTMCell) and cell.precision != "int8":
                    raise ValueError(
                        f"layer {layer.name!r}: expected precision 'int8' in a quantized model, "
                        f"got {cell.precision!r}"
                    )

    # ---- layers ------------------------------------------------------------------------------

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or by its place in `layers`.

        Parameters
        ----------
        name : str, optional
        index : int, optional
            From 0; negative from the end. Either `name` or `index` is given.

        Returns
        -------
        Layer

        Raises
        ------
        ValueError
            If there is no such layer; the error says which there are.
        TypeError
            If `name` is no string or `index` no integer.
        """
        return find_layer(self.layers, name, index)

    @property
    def trainable(self) -> bool:
        """Whether any of the layers is trainable; setting it sets all; see `Layer.trainable`.

        A model has no switch of its own beside those of its layers: after
        ``model.trainable = False`` and ``model.layers[-1].trainable = True`` the last layer trains.
        """
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = _checks.flag(value, "trainable")
        for layer in self.layers:
            layer.trainable = value

    def _follow_trainable(self) -> None:
        """Tell `parameters` which weights are frozen now; every step begins with this."""
        follow_trainable(self.parameters, lambda: self._inner_layers)

    # ---- weights -----------------------------------------------------------------------------

    @property
    def weights(self) -> dict[str, Array]:
        """Read-only views of all weights by name ("lstm.weight_hh_l0"), in the order of layers."""
        return self.parameters.as_mapping()

    def get_weights(self) -> list[Array]:
        """Copy all weights, in the order of `weights`."""
        return [view.copy() for view in self.weights.values()]

    def set_weights(self, weights: Sequence[Array] | Mapping[str, Array]) -> None:
        """Copy weights in.

        Parameters
        ----------
        weights : sequence of ndarray, or mapping of str to ndarray
            All, in the order of `get_weights`; or some, by name. Numbers of any type are converted
            to the model's.

        Raises
        ------
        ValueError
            If the number, a name or a shape is wrong, or the model is quantized; nothing is changed
            then.
        TypeError
            If they are no numbers; nothing is changed then.
        """
        if isinstance(weights, Mapping):
            self.parameters.assign(weights, convert=True)
            return
        names = list(self.parameters.specs)
        if len(weights) != len(names):
            raise ValueError(f"weights: expected {len(names)} arrays, got {len(weights)}")
        self.parameters.assign(dict(zip(names, weights, strict=True)), convert=True)

    def load_weights(
        self,
        source: "str | os.PathLike[str] | Weighted",
        by_name: bool = True,
        skip_mismatch: bool = False,
    ) -> LoadedWeights:
        """Copy the weights of another model, or of its file, into this model's layers.

        What is frozen is loaded too, and what the optimizer remembers stays.

        Parameters
        ----------
        source : str, path or model
            A file that `Model.save` wrote, or a built model. Weights are converted to this model's
            dtype.
        by_name : bool, default True
            Whether layers are matched by their names; layers that only one side has are left
            alone. False: by their order, counting those that have weights, of which both sides must
            have equally many.
        skip_mismatch : bool, default False
            Whether a layer whose weights have other names or shapes than its counterpart's is
            skipped instead of being an error.

        Returns
        -------
        LoadedWeights
            Which layers were loaded, skipped, and not found.

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError
            If `source` is neither a path nor a model.
        ValueError
            If the file is damaged or no model file, this model or `source` is not built, this model
            is quantized, layers do not fit, or there is nothing to load. Nothing is changed then.
        """
        by_name = _checks.flag(by_name, "by_name")
        skip_mismatch = _checks.flag(skip_mismatch, "skip_mismatch")
        found = layer_weights(source) if isinstance(source, Weighted) else read_weights(source)
        return load_weights(self, found, by_name, skip_mismatch)

    def count_params(self) -> int:
        """Count the parameters."""
        return int(self.parameters.values.size)

    # ---- for subclasses ----------------------------------------------------------------------

    def _check_trains(self) -> None:
        """Raise ValueError if a layer computes in a precision that is for inference only."""
        assert self.parameters is not None  # all layers are bound to them
        for inner in self._inner_layers:
            if isinstance(inner, Recurrent) and inner.parameters is not None:
                inner._check_trains()

    def _make_parameters(
        self, specs: Mapping[str, WeightSpec], initialize: bool = True
    ) -> Parameters:
        """Allocate all weights and bind the layers to them.

        Without `initialize` they are zeros, for who writes all of them next.
        """
        parameters = Parameters(specs, self.dtype)
        for index in range(len(self._network)):
            self._give_place(parameters, index, initialize)
        self._find_inner_layers()
        return parameters

    def _give_place(self, parameters: Parameters, index: int, initialize: bool) -> None:
        """Bind the layer at `index` to `parameters`, where its weights have their places."""
        layer = self._network[index]
        names = {spec.name: f"{layer.name}.{spec.name}" for spec in layer.weight_specs()}
        before = layer.weights
        seed = derive(self.seed, INITIAL_VALUES, index) if layer.seed is None else layer.seed
        if initialize:
            parameters.initialize(list(names.values()), seed)
        if before:  # of a layer that was called on its own
            parameters.assign({names[name]: value for name, value in before.items()})
        layer.bind(parameters, names)

    def _find_inner_layers(self) -> None:
        every = (inner for layer in self._network for inner in layer._layers_within())
        self._inner_layers = tuple(dict.fromkeys(every))

    def _check_may_change(self, name: str) -> None:
        """Raise ValueError, which calls the method `name`, unless layers may come and go."""
        if self.quantized:
            raise ValueError(
                f"{name}: the layers of a quantized model are fixed; change the model that it was "
                "made of and quantize that again"
            )

    def _structure_changed(self) -> None:
        """Let go of what belongs to the layers that the model had before."""


class Network(Weighted):
    """The computing half of `Sequential`.

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
            To a model that is built already it is built at once, for what the last layer returns.
            The other layers keep their weights, and the optimizer what it remembers of them; see
            also `pop`.

        Raises
        ------
        TypeError, ValueError
            If the layer does not fit; nothing is changed then.
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

        The others keep their weights, and the optimizer what it remembers of them. What `compile`
        was told stays, unless the loss does not go with what is the last activation now, and so do
        `class_names` if they are as many as the outputs.

        Returns
        -------
        Layer
            With its weights, which are its own now: it can stand in another model.

        Raises
        ------
        ValueError
            If there is no layer, the model is quantized, or `fit` is running.
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
        """Hold the weights `specs`: those of the last layer came or went."""
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
        """Fix all widths and make the initial values.

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
        """Do as `build`, but for the initial values: for who writes all weights next."""
        self._build(input_shape, initialize=False)

    def _build(self, input_shape: Sequence[int | None], initialize: bool) -> None:
        if self._parameters is not None:
            raise ValueError("build: the model is built already")
        with self._unchanged_on_error():
            specs = self._plan(input_shape)
            self._parameters = self._make_parameters(specs, initialize)

    def _plan(self, input_shape: Sequence[int | None]) -> dict[str, WeightSpec]:
        """Fix all widths, and list the weights by full name; nothing is allocated yet.

        The half of `build` that tells whether layers fit together.
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
        try:
            shape = layer.build(shape)
        except ValueError as error:
            advice = self._axis_advice(index, shape) if isinstance(error, WrongRank) else ""
            raise ValueError(f"layer {layer.name!r}: {error}{advice}") from error
        return shape, {f"{layer.name}.{spec.name}": spec for spec in layer.weight_specs()}

    def _axis_advice(self, index: int, shape: Shape) -> str:
        """Say what to do about inputs of `shape` that have too few axes for a layer."""
        if index == 0:
            return missing_axes(len(shape))
        for before in reversed(self._network[:index]):
            if len(shape) == 2 and getattr(before, "return_sequences", True) is False:
                return (
                    f"; layer {before.name!r} returns its last step alone, with "
                    "return_sequences=True it returns all"
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

    @property
    def input_shape(self) -> Shape:
        """Of a batch, None where it is open."""
        assert self.parameters is not None
        assert self._input_shape is not None
        return self._input_shape

    @property
    def output_shape(self) -> Shape:
        """Of a batch, None where it is open."""
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
            Whether dropout acts and contexts are wanted.
        seed : int
            Of the dropout masks.
        logits : bool
            Whether the last layer leaves its activation out.

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
        """Compute as `forward` does, from `state`, and also give the state at the end.

        Parameters
        ----------
        inputs, lengths, training, seed, logits
            As in `forward`.
        state : mapping of str to LSTMState
            Checked; recurrent layers that are not in it begin with zeros.
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
        """Give the time steps of the outputs for those of the inputs; see `Layer`."""
        for layer in self._network:
            lengths = layer.output_lengths(lengths)
        return lengths

    def backward(self, contexts: list[Any], dy: Array) -> None:
        """Write the gradients of all trained weights to ``parameters.gradients``.

        Nothing is computed beneath the lowest layer that trains.
        """
        self._follow_trainable()
        network = self._network
        first = lowest_trained(network)
        while first < len(network) and contexts[first] is NO_CONTEXT:
            first += 1  # what trains only since the forward
        gradient: Array | None = dy
        for index in range(len(network) - 1, first - 1, -1):
            assert gradient is not None
            gradient = network[index].backward(contexts[index], gradient, need_x=index > first)

    # ---- state -------------------------------------------------------------------------------

    @property
    def recurrent_layers(self) -> dict[str, Recurrent]:
        """The layers that have a state, by name; "residual.0" is the first in a `Residual`."""
        found: dict[str, Recurrent] = {}
        for layer in self._network:
            found.update(parts_of(str(layer.name), layer))
        return found

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
            layers; h is P wide with a projection. A value like any other: copy it, choose its rows,
            change it, pass it on.

        Raises
        ------
        ValueError
            If the model is not built, or a state cannot pass from what comes before to what comes
            after: there is no recurrent layer, or one that begins at the end, or another that looks
            at several steps.
        """
        rows = _checks.integer(batch_size, "batch_size", 0)
        dtype = self.parameters.dtype
        self._check_passes_state("initial_state")
        return {
            name: LSTMState(*(np.zeros(shape, dtype) for shape in layer._state_shapes(rows)))
            for name, layer in self.recurrent_layers.items()
        }

    def _check_passes_state(self, name: str) -> None:
        """Raise ValueError, which calls the argument `name`, unless a state can be passed on."""
        self._check_reset(name)
        for key, layer in self.recurrent_layers.items():
            if layer.bidirectional or layer.go_backwards:
                raise ValueError(
                    f"{name}: layer {key!r} walks from the end of the sequence, so it needs "
                    "all of it at once; expected layers that walk forwards only"
                )

    def _check_reset(self, name: str) -> None:
        """Raise ValueError, which calls the argument `name`, unless a sequence can begin anew."""
        for layer in self._network:
            for part in _hidden_parts(layer):
                kind = type(part).__name__
                what = f"is a {kind}" if part is layer else f"holds one of class {kind}"
                raise ValueError(
                    f"{name}: layer {layer.name!r} {what}, but has a forward of its own, which "
                    "takes and gives no state"
                )
        if not self.recurrent_layers:
            raise ValueError(f"{name}: the model has no recurrent layer")
        for layer in self._network:
            if layer.mixes_steps:
                raise ValueError(
                    f"{name}: layer {layer.name!r} makes an output of several time steps, which "
                    "must all be there; expected layers that work step by step"
                )

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
            As `initial_state` makes it.
        rows : int, optional
            N; None: whatever the first has.
        name : str
            What an error calls it.
        intake : Intake, optional
            None: as it is by default.

        Raises
        ------
        TypeError, ValueError
            If it is not a state of this model.
        """
        intake = Intake(switch=False) if intake is None else intake
        self._check_passes_state(name)
        layers = self.recurrent_layers
        if not isinstance(state, Mapping):
            raise TypeError(
                f"{name}: expected a mapping from names of layers to pairs (h, c), got "
                f"{_checks.describe(state)}"
            )
        if set(state) != set(layers):
            raise ValueError(
                f"{name}: expected entries for {', '.join(layers)}, "
                f"got {', '.join(map(str, state)) or 'none'}"
            )
        checked: ModelState = {}
        for key, layer in layers.items():
            pair = state[key]
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise TypeError(
                    f"{name}[{key!r}]: expected a pair (h, c), got {type(pair).__name__}"
                )
            dtype = self.parameters.dtype
            h, c = (
                intake.floats(part, f"{name}[{key!r}].{letter}", dtype)
                for part, letter in zip(pair, "hc", strict=True)
            )
            if rows is None:
                rows = h.shape[1] if h.ndim == 3 else 0
            for part, array, shape in zip("hc", (h, c), layer._state_shapes(rows), strict=True):
                if array.shape != shape:
                    raise ValueError(
                        f"{name}[{key!r}].{part}: expected shape {shape}, got {array.shape}"
                    )
            checked[key] = LSTMState(h, c)
        return checked

    def __call__(self, x: Inputs, *, training: bool = False, seed: int = 0) -> Array:
        """Compute the outputs of all samples at once.

        Parameters
        ----------
        x : array_like
            See `Sequential`.
        training : bool, default False
            Whether dropout acts.
        seed : int, default 0
            Of the dropout masks.

        Returns
        -------
        ndarray
            Of ragged input, padded with what the last layer gives past each row's length.
        """
        examples = self._inputs(x)
        batch = examples.batch(slice(None))
        return self.forward(batch.inputs, batch.lengths, training, seed, False)[0]

    def inputs_of(self, x: Inputs, layer: Layer | str) -> tuple[Array, Array | None]:
        """Compute what comes into a layer, to look at what it makes of it.

        Parameters
        ----------
        x : array_like
            See `Sequential`.
        layer : Layer or str
            One of the layers that compute, or its name.

        Returns
        -------
        inputs : ndarray
        lengths : ndarray of int64, shape (N,), or None
            Valid steps of each row, None if all are.

        Raises
        ------
        ValueError
            If the model has no such layer.
        """
        network = self._network
        places = [at for at, own in enumerate(network) if own is layer or own.name == layer]
        if not places:
            known = [str(own.name) for own in network]
            raise ValueError(
                f"layer: expected one of {', '.join(map(repr, known))}, "
                f"got {_checks.describe(layer)}{did_you_mean(layer, known)}"
            )
        batch = self._inputs(x).batch(slice(None))
        inputs, lengths = batch.inputs, batch.lengths
        for own in network[: places[0]]:
            inputs, lengths, _ = own.forward(inputs, lengths, False, 0)
        return inputs, lengths

    # ---- checks ------------------------------------------------------------------------------

    def _append(self, layer: Layer | Input) -> None:
        if isinstance(layer, Input):
            if self.layers or self._declared is not None:
                raise ValueError("layers: Input may only stand first")
            self._declared = (None, *layer.shape)
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: expected layers, got {_checks.describe(layer)}")
        if isinstance(layer, LSTMCell):
            raise TypeError("LSTMCell: makes one step; in a model put it into lc.layers.RNN(cell)")
        if isinstance(layer, TextVectorization) and self._declared is not None:
            raise ValueError("layers: texts have no shape, so no Input stands before them")
        own = {id(part) for part in parts(layer)}
        if any(id(part) in own for other in self.layers for part in parts(other)):
            raise ValueError(f"layers: the same {type(layer).__name__} object stands there twice")
        names = {other.name for other in self.layers}
        if layer.name is None:
            layer.name = _free_name(type(layer).__name__, names)
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
        within = layer._layers_within()
        if any(isinstance(inner, Attention) and inner.query_size for inner in within):
            raise ValueError(
                f"layer {layer.name!r}: query_size is for calling the layer on its own; in a model "
                "each layer has one input"
            )
        if any(part.stateful for part in _hidden_parts(layer)):
            raise ValueError(
                f"layer {layer.name!r}: expected stateful=False, since its forward takes no state"
            )
        if layer.input_kind == "text":
            raise ValueError(f"layer {layer.name!r}: TextVectorization may only stand first")
        if layer.input_kind == "ids" and index > 0:
            raise ValueError(f"layer {layer.name!r}: takes token ids, so it must stand first")
        if self.vectorizer and index == 0 and layer.input_kind != "ids":
            raise ValueError(f"layer {layer.name!r}: expected an Embedding after TextVectorization")
        if layer.weights and not layer._alone:
            raise ValueError(
                f"layer {layer.name!r}: belongs to another model already; {HOW_TO_REUSE}"
            )

    def _inputs(self, x: Any, mask: Any = None, intake: Intake | None = None) -> Examples:
        """Check inputs; build the model by them if it is not built.

        With a mask they are made ragged rows of the steps that are there.
        """
        network = self._network
        if not network:
            raise ValueError("the model has no layers")
        intake = Intake(switch=False) if intake is None else intake
        first = network[0]
        there: Array | None = None
        if mask is not None and self.vectorizer is not None:
            raise ValueError("mask: expected None for texts, whose steps are all there")
        if self.vectorizer is not None:
            inputs: Rows = Ragged(*self.vectorizer.encode(x))
            return self._build_and_check(inputs, there)
        with explain_lists(x):
            inputs = read_inputs(x, first.input_kind, "x", intake)
        if mask is not None:
            there = check_mask(mask, inputs, first.input_kind)
        inputs = typed(inputs, first.input_kind, self.dtype, "x", intake, there)
        with explain_lists(x):  # of shapes that do not fit, not of values
            return self._build_and_check(inputs, there)

    def _build_and_check(self, inputs: Rows, there: Array | None) -> Examples:
        first = self._network[0]
        ids = first.input_kind == "ids"
        rank = len(inputs.shape)
        with nullcontext() if self.built else self._unchanged_on_error():
            if not self.built:
                self.build((None,) * rank if ids else (*(None,) * (rank - 1), inputs.shape[-1]))
            if there is None or len(there) == 0:
                return self._examples_of(inputs)
            assert not isinstance(inputs, Ragged)
            self._check_masked(inputs, there)
            examples = self._examples_of(compact(inputs, there, "x"))
            return replace(examples, there=there)

    def _check_masked(self, inputs: Array, there: Array) -> None:
        """Raise ValueError if the mask does not go with the inputs or with the layers."""
        if getattr(self._network[0], "mask_zero", False):
            wrong = np.argwhere(there & (inputs == 0))
            if len(wrong):
                raise ValueError(
                    "mask: with mask_zero=True, id 0 is padding, but the mask says that the one at "
                    f"{tuple(map(int, wrong[0]))} is there; expected mask & (x != 0)"
                )
        steps = np.arange(there.shape[1] + 1, dtype=np.int64)
        for layer in self._network if len(self.output_shape) > 2 else []:
            if (layer.output_lengths(steps) != steps).any():
                raise ValueError(
                    f"mask: layer {layer.name!r} changes the number of steps, so that outputs do "
                    "not belong to steps of x; expected one output for each step, or for a sequence"
                )

    def _examples_of(self, inputs: Array | Ragged) -> Examples:
        """Check inputs of the right type against what the model was built for."""
        first = self._network[0]
        ids = first.input_kind == "ids"
        shape, fixed = inputs.shape, self.input_shape[1:2]
        if isinstance(inputs, Ragged) and fixed != (None,) and shape[1] <= (fixed[0] or 0):
            shape = (shape[0], fixed[0] or 0, *shape[2:])
        first._check_shape(shape)
        values = inputs.values if isinstance(inputs, Ragged) else inputs
        first.check_values(values)
        if not isinstance(inputs, Ragged):
            lengths = first.lengths_of(inputs, None)
            return Examples(inputs, lengths, output_lengths=self._output_lengths)
        if ids and values.size and not values.all():
            lengths = first.lengths_of(inputs.padded(), inputs.lengths)
            assert lengths is not None
            inputs = Ragged(inputs.values, lengths, inputs.starts)
        return Examples(inputs, inputs.lengths, output_lengths=self._output_lengths)


def _hidden_parts(layer: Layer) -> list[Recurrent]:
    """List what is recurrent in a layer that neither takes nor gives its state.

    A `TimeDistributed` has none to take or give: its sequences begin and end within a step.
    """
    if isinstance(layer, TimeDistributed):
        return []
    if not layer._passes_state:
        return [part for part in layer._layers_within() if isinstance(part, Recurrent)]
    members = layer.layers if isinstance(layer, Residual) else []
    return [part for member in members for part in _hidden_parts(member)]


def _free_name(class_name: str, taken: set[str | None]) -> str:
    """Make "global_max_pooling1d" of "GlobalMaxPooling1D", with a number if it is taken."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", class_name)
    name = base = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", words).lower()
    number = 0
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name
