"""The base of all models: layers, their weights, and what a subclass computes with them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._options import Checked
from lstmcore._seeds import derive
from lstmcore._suggest import did_you_mean
from lstmcore._typing import Array, DType, Shape
from lstmcore.functional import LSTMState
from lstmcore.layers import Layer, LSTMCell
from lstmcore.layers.parameters import Parameters, WeightSpec, check_count
from lstmcore.layers.recurrent import Recurrent
from lstmcore.layers.states import ModelState
from lstmcore.layers.switches import SWITCHES, follow_trainable

__all__ = ["Weighted"]

INITIAL_VALUES = 0  # key of `derive` for initial values, besides those of the training loop


class Weighted(Checked):
    """Layers whose weights lie side by side in one array.

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
        """Seeds all randomness; setting it after building affects only later draws."""
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
        """Restore the attributes of this model, its layers and `others` if the block raises.

        A refused call then leaves no half-built model behind, nor one built for refused data.
        """
        layers = [inner for layer in self.layers for inner in layer._layers_within()]
        before = [(thing, dict(vars(thing))) for thing in (self, *layers, *others)]
        try:
            yield
        except BaseException:
            for thing, attributes in before:
                vars(thing).clear()
                vars(thing).update(attributes)
            SWITCHES.note()  # `trainable` is among the attributes
            raise

    @property
    def built(self) -> bool:
        """Whether the widths are fixed and the weights allocated."""
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
        """Compute with int8 from now on: the matrices are multiples of their scales.

        The weights may no longer be written to.
        """
        for layer in self._network:
            for cell in layer._layers_within():
                if isinstance(cell, LSTMCell):
                    cell.precision = "int8"
        self.parameters._lock(
            "set_weights: a quantized model keeps the weights that quantize gave it; set those of "
            "the model that it was made from and quantize that again"
        )
        self._quantized = True

    def _check_quantized(self) -> None:
        """Raise ValueError if a layer does not compute with int8, as a quantized model must."""
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
            If no layer has this name or place; the error lists the layers.
        TypeError
            If `name` is not a string or `index` not an integer.
        """
        return _find_layer(self.layers, name, index)

    @property
    def trainable(self) -> bool:
        """Whether any of the layers is trainable; setting it sets all; see `Layer.trainable`.

        A model has no switch of its own besides those of its layers: after
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
            All of them in the order of `get_weights`, or some by name. Numbers of any type are
            converted to the model's dtype.

        Raises
        ------
        ValueError
            If the model is not built or is quantized, or the number, a name or a shape is wrong;
            nothing is changed then.
        TypeError
            If they are not numbers; nothing is changed then.
        """
        if isinstance(weights, Mapping):
            self.parameters.assign(weights, convert=True)
            return
        names = list(self.parameters.specs)
        check_count(weights, names)
        self.parameters.assign(dict(zip(names, weights, strict=True)), convert=True)

    def count_params(self) -> int:
        """Count the parameters."""
        return int(self.parameters.values.size)

    # ---- parameters --------------------------------------------------------------------------

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

        Without `initialize` they are zeros, for a caller that fills in all of them next.
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
        if before:  # the layer was called on its own and keeps its weights
            parameters.assign({names[name]: value for name, value in before.items()})
        layer.bind(parameters, names)

    def _find_inner_layers(self) -> None:
        every = (inner for layer in self._network for inner in layer._layers_within())
        self._inner_layers = tuple(dict.fromkeys(every))

    def _check_may_change(self, name: str) -> None:
        """Raise ValueError, naming the method `name`, unless layers may be added and removed."""
        if self.quantized:
            raise ValueError(
                f"{name}: the layers of a quantized model are fixed; change the model that it was "
                "made from and quantize that again"
            )

    def _structure_changed(self) -> None:
        """Drop what depends on the layers that the model had before."""

    # ---- what a subclass computes ---------------------------------------------------------------

    @property
    def output_shape(self) -> Shape:
        """Shape of a batch of outputs, with None for variable sizes."""
        raise NotImplementedError

    @property
    def _last_activation(self) -> str:
        """The activation of the outputs; see `Layer.last_activation`."""
        return self._network[-1].last_activation

    def forward(
        self, inputs: Any, lengths: Array | None, training: bool, seed: int, logits: bool
    ) -> tuple[Array, Array | None, Any]:
        """Compute one checked batch; see `Sequential.forward`."""
        raise NotImplementedError

    def _forward_from(
        self,
        inputs: Any,
        lengths: Array | None,
        training: bool,
        seed: int,
        logits: bool,
        state: Mapping[str, LSTMState],
        reset: Array | None = None,
    ) -> tuple[Array, Array | None, Any, ModelState]:
        """Compute as `forward` does, from a state to the state at the end.

        See `Sequential._forward_from`.
        """
        return (*self.forward(inputs, lengths, training, seed, logits), {})

    def backward(self, contexts: Any, dy: Array) -> None:
        """Write the gradients of all weights to ``parameters.gradients``."""
        raise NotImplementedError

    def _check_passes_state(self, name: str) -> None:
        """Raise ValueError, naming the argument `name`, unless a state can be passed on."""
        raise ValueError(
            f"{name}: not for {type(self).__name__}, which works on whole sequences, so that no "
            "state passes from one call to the next"
        )

    def _check_state(
        self,
        state: Any,
        rows: int | None = None,
        name: str = "state",
        intake: Intake | None = None,
    ) -> ModelState:
        """Return `state` with its pairs checked; see `Sequential._check_state`."""
        self._check_passes_state(name)
        return dict(state)


def _find_layer(layers: Sequence[Layer], name: Any, index: Any) -> Layer:
    """Return a layer by its name or its place; see `Weighted.get_layer`."""
    if (name is None) == (index is None):
        given = "neither" if name is None else "both"
        raise ValueError(f"get_layer: expected either a name or an index, got {given}")
    names = [str(layer.name) for layer in layers]
    known = ", ".join(map(repr, names)) or "none, since the model has no layers"
    if index is not None:
        place = _checks.integer(index, "index")
        if not -len(layers) <= place < len(layers):
            raise ValueError(
                f"index: expected {-len(layers)} to {len(layers) - 1}, the places of {known}, "
                f"got {place}"
            )
        return layers[place]
    if isinstance(name, (int, np.integer)):
        raise TypeError(f"name: expected a str, got {name}; for a position write index={name}")
    _checks.instance(name, str, "name", "a str")
    if name not in names:
        hint = did_you_mean(name, names)
        raise ValueError(f"name: expected one of {known}, got {name!r}{hint}")
    return layers[names.index(name)]
