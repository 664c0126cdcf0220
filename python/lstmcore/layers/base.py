"""The base of all layers."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import describe_arguments
from lstmcore._intake import Intake
from lstmcore._options import arguments, by_class
from lstmcore._typing import Array, ArrayLike, Shape
from lstmcore.functional import LSTMState
from lstmcore.layers.nodes import Node
from lstmcore.layers.parameters import Parameters, WeightSpec, check_count
from lstmcore.layers.shapes import (
    ANY_AXES,
    WrongRank,
    check_shape,
    missing_axes,
    shape_to_build,
)
from lstmcore.layers.switches import SWITCHES, follow_trainable, frozen_weights

__all__ = ["Layer"]


class Layer(Node):
    """A differentiable function with weights.

    A subclass implements `build`, `weight_specs`, `forward` and `backward`. A layer stores nothing
    of a forward in itself: what its backward needs is the *context* that `forward` returns, so
    several forwards can be in progress at once.

    Parameters
    ----------
    name : str, optional
        Unique within a model; the model chooses one ("lstm", "lstm_1", ...) if it is not given.
    trainable : bool, default True
        Whether training changes the weights; see `trainable`.
    """

    input_kind: str = "floats"
    """The kind of input: "floats", "ids" (int64) or "text"."""

    last_activation: str = "linear"
    """The activation applied last; a loss may compute it itself, stably, from logits."""

    _set_when_made = ("trainable",)

    seed: int | None = None
    """Seeds initial values and randomness in training; None: the model's seed is used."""

    @property
    def _known_from(self) -> int:
        """The first axis from which on all sizes must be known when the layer is built.

        1 is that of steps. By default only the last axis must be known.
        """
        return ANY_AXES

    @property
    def _finds_lengths(self) -> bool:
        """Whether `lengths_of` reads from the inputs where each row ends."""
        return False

    def __init__(self, *, name: str | None = None, trainable: bool = True) -> None:
        self._held_by: str | None = None  # the class of the model or layer that it is in
        self._frozen_by: str | None = None  # the class of the layer that has read its options
        self.name = name
        self._trainable = _checks.flag(trainable, "trainable")
        self._input_shape: Shape | None = None
        self._node_shapes: list[Shape] | None = None  # of its inputs in a graph
        self._parameters: Parameters | None = None
        self._alone = False
        self._names: dict[str, str] = {}
        self._weights: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}

    @property
    def name(self) -> str | None:
        """The name; fixed once the layer is in a model, whose weights have it in their names."""
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        if self._held_by is not None:
            raise AttributeError(
                f"name: cannot be set, since the layer is part of a {self._held_by}, "
                "whose weights are named after it"
            )
        self._name = None if name is None else _checks.label(name)

    @property
    def input_shape(self) -> Shape | None:
        """Shape of a batch, with None for variable sizes; None before the layer is built."""
        return self._input_shape

    @property
    def parameters(self) -> Parameters | None:
        """The parameters of the whole model; None before the layer is built."""
        return self._parameters

    # ---- options -----------------------------------------------------------------------------

    _live_options: ClassVar[tuple[str, ...]] = ()
    """Options that may change at any time, since they are read whenever they act."""

    def _why_fixed(self, name: str) -> str | None:
        if name in self._live_options:
            return None
        if self._input_shape is not None or self._parameters is not None:
            return "the layer is built; make a new one with it"
        if self._frozen_by is not None:
            return f"a {self._frozen_by} was made from the layer; set it before that"
        return None

    def _take_over(self, name: str, found: Mapping[str, Any]) -> None:
        if name in self._live_options:
            super()._take_over(name, found)
        else:  # with everything that the constructor makes of it
            kept = {"_made", "_held_by", *self._open_attributes}
            vars(self).update((key, entry) for key, entry in found.items() if key not in kept)

    # ---- what is trained ---------------------------------------------------------------------

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; may be set at any time, for the steps to come.

        Setting it also sets the layers and cells within; these can be set one by one afterwards,
        and the last setting counts. A layer whose weights belong to layers within it is trainable
        if one of them is.

        A frozen weight keeps its bits: no step, decay, penalty or constraint changes it, its
        gradient is not computed and does not count in `clipnorm` and `global_clipnorm`. The
        optimizer's slots for it stay as they are until it is trained again. Dropout applies in a
        frozen layer as in any other.
        """
        return self._is_trainable()

    @trainable.setter
    def trainable(self, value: bool) -> None:
        value = _checks.flag(value, "trainable")
        for layer in self._layers_within():
            layer._trainable = value

    @property
    def _trainable(self) -> bool:
        """Whether the layer itself trains, regardless of layers within it."""
        return self._switch

    @_trainable.setter
    def _trainable(self, value: bool) -> None:
        self._switch = value
        SWITCHES.note()

    def _is_trainable(self) -> bool:
        return self._trainable

    def _frozen_weights(self) -> set[str]:
        """Return the names in `parameters` of the weights that this layer freezes.

        Weights of a layer within it are left to that layer.
        """
        return set() if self._trainable else set(self._names.values())

    @property
    def frozen_size(self) -> int:
        """How many of the layer's parameters are not trained."""
        if self.parameters is None:
            return 0
        specs, frozen = self.parameters.specs, frozen_weights(self._layers_within())
        return sum(
            math.prod(specs[name].shape)
            for name in self._names.values()
            if name in frozen or not specs[name].trainable
        )

    @property
    def _trains(self) -> bool:
        """Whether any weight is trained; `parameters` knows which are frozen."""
        parameters = self._parameters
        return parameters is not None and not parameters.frozen.issuperset(self._names.values())

    def _follow_trainable(self) -> None:
        """Tell `parameters` which weights are frozen, as a model does for the layers in it."""
        if self._alone and self._parameters is not None:
            follow_trainable(self._parameters, self._layers_within)

    def gradient_place(self, name: str) -> Array | None:
        """Return the array for the gradient of the weight `name`.

        Returns
        -------
        ndarray or None
            Writable; None if the layer has no such weight or it is not trained.
        """
        full = self._names.get(name)
        if full is None or self._parameters is None or full in self._parameters.frozen:
            return None
        return self._gradients[name]

    # ---- for subclasses ----------------------------------------------------------------------

    def build(self, input_shape: Shape) -> Shape:
        """Fix the widths.

        Parameters
        ----------
        input_shape : tuple of int or None
            Of a batch: (None, None, C) is (N, T, C) with any N and T.

        Returns
        -------
        tuple of int or None
            The shape of the output.

        Raises
        ------
        ValueError
            If the layer cannot work on such input.
        """
        raise NotImplementedError

    def weight_specs(self) -> list[WeightSpec]:
        """List the weights of the built layer."""
        return []

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Any]:
        """Compute the outputs of one batch.

        Parameters
        ----------
        inputs : ndarray
            Of the shape that the layer was built for.
        lengths : ndarray of int64, shape (N,), or None
            Valid steps of each row; None: all.
        training : bool
            Whether dropout is applied and a context for `backward` is returned.
        seed : int
            Seeds what is random in this call.

        Returns
        -------
        outputs : ndarray
        lengths : ndarray of int64, shape (N,), or None
            Of the outputs, if they have a time axis.
        context
            For `backward`; serves once.
        """
        raise NotImplementedError

    def forward_logits(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Any]:
        """Compute as `forward` does, but without the layer's `last_activation`."""
        return self.forward(inputs, lengths, training, seed)

    def forward_from(
        self,
        inputs: Array,
        lengths: Array | None,
        training: bool,
        seed: int,
        state: Mapping[str, LSTMState],
        reset: Array | None = None,
    ) -> tuple[Array, Array | None, Any, dict[str, LSTMState]]:
        """Compute as `forward` does, from `state`, and also return the state at the end.

        Parameters
        ----------
        inputs, lengths, training, seed
            As in `forward`.
        state : mapping of str to LSTMState
            By the names in `recurrent_parts`; a part without an entry begins with zeros.
        reset : ndarray of bool, shape (N, T), optional
            True where a new sequence begins.

        Returns
        -------
        outputs, lengths, context
            As in `forward`.
        state : dict of str to LSTMState
            Of all `recurrent_parts` after the last valid step of each row.
        """
        return (*self.forward(inputs, lengths, training, seed), {})

    def recurrent_parts(self) -> "Mapping[str, Layer]":
        """List the `Recurrent` layers whose state `forward_from` takes and returns; "": itself."""
        return {}

    @property
    def _passes_state(self) -> bool:
        """Whether `forward_from` computes what `forward` does: not if only that is overridden."""
        return _passes_state(type(self))

    def backward(self, context: Any, dy: Array, need_x: bool = True) -> Array | None:
        """Compute the gradients of one forward.

        Weight gradients are written (not added) to what `gradient_place` returns, unless that is
        None.

        Parameters
        ----------
        context
            From `forward` with ``training=True``.
        dy : ndarray
            Gradient of the loss with respect to the outputs.
        need_x : bool, default True
            Whether to compute the gradient with respect to the inputs.

        Returns
        -------
        ndarray or None
            Gradient of the loss with respect to the inputs.
        """
        raise NotImplementedError

    def lengths_of(self, inputs: Array, lengths: Array | None) -> Array | None:
        """Return the lengths of the rows; a layer that masks reads them from its inputs."""
        return lengths

    def output_lengths(self, lengths: Array) -> Array:
        """Return the lengths of the outputs for inputs of these lengths.

        Parameters
        ----------
        lengths : ndarray of int64, shape (M,)

        Returns
        -------
        ndarray of int64, shape (M,)
            `lengths` themselves, unless the layer makes more or fewer steps.
        """
        return lengths

    @property
    def mixes_steps(self) -> bool:
        """Whether an output step depends on several input steps other than through a state.

        Such a layer must see whole sequences: its outputs for parts of them differ.
        """
        return type(self).output_lengths is not Layer.output_lengths

    def check_values(self, inputs: Array) -> None:
        """Raise ValueError if inputs of the right type and shape hold values it cannot take."""

    def _layers_within(self) -> list["Layer"]:
        """List this layer and all those within it, such as cells."""
        found: list[Layer] = [self]
        for value in vars(self).values():
            for entry in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(entry, Layer):
                    found += entry._layers_within()
        return found

    # ---- weights -----------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal layer; ``trainable`` only if it is False."""
        names = [name for name in arguments(type(self)) if name != "trainable"]
        config = describe_arguments(self, names)
        return config if self.trainable else {**config, "trainable": False}

    def bind(self, parameters: Parameters, names: Mapping[str, str]) -> None:
        """Use the weights and gradients that `parameters` holds under `names`.

        Parameters
        ----------
        parameters : Parameters
            The object that holds them.
        names : mapping of str to str
            From this layer's names to those in `parameters`.
        """
        self._parameters, self._alone, self._names = parameters, False, dict(names)
        self._take_views()

    def _take_views(self) -> None:
        parameters, names = self.parameters, self._names
        assert parameters is not None
        self._weights = {name: parameters.value(full) for name, full in names.items()}
        self._gradients = {name: parameters.gradient(full) for name, full in names.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_weights": {}, "_gradients": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.parameters is not None:
            self._take_views()

    @property
    def weights(self) -> dict[str, Array]:
        """Read-only views of the weights by name; `set_weights` changes them."""
        if self.parameters is None:
            return {}
        views = self.parameters.as_mapping()
        return {name: views[full] for name, full in self._names.items()}

    def get_weights(self) -> list[Array]:
        """Copy the weights, in the order of `weights`."""
        return [view.copy() for view in self._weights.values()]

    def set_weights(self, weights: Sequence[Array]) -> None:
        """Copy `weights` in, in the order of `get_weights`, converted to the layer's type.

        Raises
        ------
        ValueError
            If the layer is not built, its model is quantized, or the number or a shape is wrong.
        TypeError
            If they are not a sequence of arrays of numbers.
        """
        if self.parameters is None:
            which = "the layer" if self.name is None else f"layer {self.name!r}"
            raise ValueError(
                f"set_weights: {which} has no weights yet, since it does not know the shape of its "
                "inputs; call it on an array, or build its model, first"
            )
        check_count(weights, self._weights)
        self.parameters.assign(dict(zip(self._names.values(), weights, strict=True)), convert=True)

    def copy(self, *, name: str | None = None) -> "Layer":
        """Make a layer like this one that belongs to no model.

        It can be used in another model, which then begins with these weights::

            body = [layer.copy() for layer in trained.layers[:-1]]
            model = lc.Sequential([*body, lc.layers.Dense(3)])

        Parameters
        ----------
        name : str, optional
            None: that of this layer.

        Returns
        -------
        Layer
            Of the same class and options, frozen where this one is, built if this one is, with
            its own copy of the weights.
        """
        shared = self.parameters
        if shared is None:
            twin = copy.deepcopy(self)
        else:
            own = shared.part(self._names.values())
            twin = copy.deepcopy(self, {id(shared): own})
            twin._alone = True
        twin._held_by = twin._frozen_by = twin._node_shapes = None
        if name is not None:
            twin.name = _checks.label(name)
        return twin

    def _leave(self) -> None:
        """Move the weights from the model's parameters to parameters of the layer's own."""
        if self.parameters is not None:
            self.bind(self.parameters.part(self._names.values()), self._names)
            self._alone = True

    # ---- a layer on its own ------------------------------------------------------------------

    def __call__(
        self,
        inputs: ArrayLike,
        *,
        lengths: ArrayLike | None = None,
        training: bool = False,
        seed: int = 0,
    ) -> Array:
        """Apply the layer to an array; the first call fixes the widths and the element type.

        Parameters
        ----------
        inputs : array_like
            Finite numbers. The first call with float64 makes a layer of float64; anything else one
            of float32, to which numbers of other types are converted.
        lengths : array_like of int, shape (N,), optional
            Valid steps of each row. Later steps may hold anything.
        training : bool, default False
            Whether to compute as in training: with dropout, noise and statistics of the batch.
        seed : int, default 0
            Seeds what is random.

        Returns
        -------
        ndarray
        """
        array, valid = self._prepare_call(inputs, lengths)
        outputs = self.forward(array, valid, training, seed)[0]
        if training and self.parameters is not None:
            self.parameters.settle()
        return outputs

    def _prepare_call(
        self, inputs: Any, lengths: Any, mask: Any = None
    ) -> tuple[Array, Array | None]:
        """Check and convert the arguments of a call, and build the layer if this is the first.

        Steps past a row's length, or where `mask` is False, may hold anything.
        """
        intake = Intake(switch=False)
        given = intake.numbers(inputs, "inputs")
        valid = steps = None
        if mask is not None:
            flags = _checks.flags_array(mask, "mask")
            valid = flags if flags.shape == given.shape[:2] else None  # the engine reports this
        if lengths is not None:
            if given.ndim < 2:
                raise ValueError(f"lengths: inputs of shape {given.shape} have no time axis")
            lengths = intake.numbers(lengths, "lengths")
            if lengths.dtype != np.bool_:  # which would be a mask
                lengths = intake.integers(lengths, "lengths")
            steps = _checks.lengths_array(lengths, given.shape[0], given.shape[1])
            valid = np.arange(given.shape[1]) < steps[:, None]
        if self.input_kind == "ids":
            array = intake.integers(given, "inputs", valid)
        else:
            dtype = None if self.parameters is None else self.parameters.dtype
            array = intake.floats(given, "inputs", dtype, valid)
        if self.input_shape is None:
            ids = self.input_kind == "ids"
            shape = shape_to_build(array.shape, self._known_from, ids)
            try:
                self._build_alone(shape, np.float32 if ids else array.dtype)
            except WrongRank as error:
                raise ValueError(f"{error}{missing_axes(array.ndim)}") from error
        self._check_shape(array.shape)
        self.check_values(array)
        return array, steps

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless `shape` is what the layer was built for."""
        assert self.input_shape is not None
        check_shape(shape, self.input_shape)

    def _build_alone(self, input_shape: Shape, dtype: Any) -> None:
        """Build the layer without a model.

        Parameters
        ----------
        input_shape : tuple of int or None
            As in `build`.
        dtype : {"float32", "float64"}
            Of the weights.
        """
        element = _checks.float_dtype(dtype)
        self.build(input_shape)
        specs = {spec.name: spec for spec in self.weight_specs()}
        parameters = Parameters(specs, element)
        parameters.initialize(list(specs), self.seed or 0)
        self.bind(parameters, {name: name for name in specs})
        self._alone = True

    def _accept(self, input_shape: Shape, ranks: tuple[int, ...], expected: str) -> int:
        """Store the input shape, and return the width of its last axis."""
        if len(input_shape) not in ranks:
            raise WrongRank(
                f"{type(self).__name__}: expected inputs of shape {expected}, "
                f"got {_checks.show_shape(input_shape)}"
            )
        width = input_shape[-1]
        if self.input_kind == "floats" and not width:
            raise ValueError(
                f"{type(self).__name__}: the width of the inputs, their last axis, must be known "
                f"and at least 1, got {_checks.show_shape(input_shape)}"
            )
        self._input_shape = (None, *input_shape[1:])
        return width or 0


@by_class
def _passes_state(kind: type[Layer]) -> bool:
    return next(
        "forward_from" in vars(base)
        for base in kind.__mro__
        if "forward_from" in vars(base) or "forward" in vars(base)
    )
