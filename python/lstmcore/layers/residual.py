"""Layers with a shortcut: their input is added to their output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _checks
from lstmcore._seeds import derive
from lstmcore._typing import Array, Shape
from lstmcore.functional import LSTMState
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.cell import LSTMCell
from lstmcore.layers.dense import Dense
from lstmcore.layers.nodes import HOW_TO_REUSE
from lstmcore.layers.parameters import Parameters, WeightSpec
from lstmcore.layers.states import parts_of, run_from
from lstmcore.layers.switches import lowest_trained

__all__ = ["Residual"]


class _Context(NamedTuple):
    inner: list[Any]
    projection: Any
    lengths: Array | None


@dataclass(frozen=True)
class _Seeded:
    """Initial values of weight number `place` of a layer with a seed of its own."""

    make: initializers.Initializer
    seed: int
    place: int

    def __call__(self, shape: tuple[int, ...], random: np.random.Generator) -> Array:
        own = np.random.Generator(np.random.PCG64(derive(self.seed, self.place)))
        return self.make(shape, own)


def parts(layer: Layer) -> list[Layer]:
    """List a layer and, if it is a `Residual`, those within it."""
    inner = layer.layers if isinstance(layer, Residual) else []
    return [layer, *(part for member in inner for part in parts(member))]


class Residual(Layer):
    """``y = x + f(x)``, f being a layer or a chain of layers (He et al. 2016).

    Parameters
    ----------
    layers : Layer or sequence of Layer
        f. Its outputs have the shape of its inputs, except for their width with a `projection`: an
        LSTM needs ``return_sequences=True``, a `Conv1D` ``padding="same"`` or "causal".
    projection : bool, default False
        Whether x passes through a `Dense` without bias if f changes the width:
        ``y = x P + f(x)``. If f does not, x is added unchanged.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights are named by the layers' positions, such as ``0.weight_ih_l0``, followed by
    ``projection.kernel`` (C, F). States are named in the same way. The
    output past a row's length is zero.
    """

    def __init__(
        self,
        layers: Layer | Sequence[Layer],
        projection: bool = False,
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        found = [layers] if isinstance(layers, Layer) else layers
        if not isinstance(found, (list, tuple)) or not found:
            raise TypeError(
                f"layers: expected a layer or a list of layers, got {_checks.describe(layers)}"
            )
        for layer in found:
            _checks.instance(layer, Layer, "layers", "layers")
            if isinstance(layer, LSTMCell):
                raise TypeError("layers: an LSTMCell computes one step; wrap it in an RNN")
            if layer.input_kind != "floats":
                raise ValueError(
                    f"layers: expected layers that take values, got {type(layer).__name__}, which "
                    f"takes {layer.input_kind}"
                )
            if getattr(layer, "return_state", False):
                raise ValueError(
                    "layers: expected return_state=False, since it adds a single output"
                )
            if getattr(layer, "merge_mode", "") is None:
                raise ValueError(
                    "layers: expected a merge_mode, since it adds a single output, got None"
                )
        self.layers: list[Layer] = list(found)
        for layer in found:
            layer._frozen_by = "Residual"
        if len(set(map(id, parts(self)))) < len(parts(self)):
            raise ValueError("layers: expected different layers, got the same one twice")
        self.projection = _checks.flag(projection, "projection")
        self._dense: Dense | None = None
        if not trainable:
            self.trainable = False  # of the layers too

    def _is_trainable(self) -> bool:
        if any(layer.trainable for layer in self.layers):
            return True
        projects = self.projection and (self.input_shape is None or self._dense is not None)
        return projects and self._trainable

    def _frozen_weights(self) -> set[str]:
        """Return the projection's weight if it is frozen; the others belong to the layers."""
        own = self._names.get("projection.kernel")
        return set() if self._trainable or own is None else {own}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; ``trainable`` is the projection's, since layers have their own."""
        config = super().get_config()
        config.pop("trainable", None)
        return config if self._trainable else {**config, "trainable": False}

    def _restore_entry(self, name: str, value: Any) -> None:
        """Set ``trainable`` of the projection alone."""
        self._trainable = _checks.flag(value, name)

    @property
    def _known_from(self) -> int:
        return min(layer._known_from for layer in self.layers)

    def build(self, input_shape: Shape) -> Shape:
        """Build the layers, and the projection if their width differs from C."""
        width = self._accept(input_shape, (2, 3, 4), "(N, C) or (N, T, C)")
        for layer in parts(self)[1:]:
            if self.parameters is None and layer.weights and not layer._alone:
                raise ValueError(f"layers: belong to another model already; {HOW_TO_REUSE}")
        try:
            shape = self._build_layers(input_shape)
        except ValueError:
            self._input_shape = None
            raise
        self._dense = None
        if shape[-1] != width:
            assert shape[-1] is not None
            self._dense = Dense(shape[-1], use_bias=False, trainable=self._trainable)
            self._dense.build(input_shape)
        return shape

    def _build_layers(self, input_shape: Shape) -> Shape:
        shape = input_shape
        for place, layer in enumerate(self.layers):
            try:
                shape = layer.build(shape)
            except ValueError as error:
                raise ValueError(f"layers[{place}]: {error}") from error
        expected = input_shape if not self.projection else (*input_shape[:-1], shape[-1])
        if shape != expected or not self._keeps_time():
            where = "" if self.projection else " (or another width with projection=True)"
            raise ValueError(
                f"layers: expected outputs of shape {_checks.show_shape(input_shape)} like the "
                f"inputs{where}, got {self._came(input_shape, shape)}"
            )
        return shape

    def _keeps_time(self) -> bool:
        """Return whether the number of steps stays the same, whatever it is."""
        before = np.arange(64)
        return all(np.array_equal(layer.output_lengths(before), before) for layer in self.layers)

    def _came(self, before: Shape, after: Shape) -> str:
        shown = _checks.show_shape(after)
        if before[:-1] == after[:-1]:
            return shown if self._keeps_time() else f"{shown} with fewer time steps"
        return shown

    def _members(self) -> dict[str, Layer]:
        """The layers within, by the prefix of their weights' names."""
        members = {str(place): layer for place, layer in enumerate(self.layers)}
        return members if self._dense is None else {**members, "projection": self._dense}

    def weight_specs(self) -> list[WeightSpec]:
        """List the weights of the layers, then that of the projection."""
        return [
            replace(
                spec,
                name=f"{prefix}.{spec.name}",
                initializer=spec.initializer
                if layer.seed is None
                else _Seeded(spec.initializer, layer.seed, place),
            )
            for prefix, layer in self._members().items()
            for place, spec in enumerate(layer.weight_specs())
        ]

    def bind(self, parameters: Parameters, names: Mapping[str, str]) -> None:
        """Share the views with the layers."""
        super().bind(parameters, names)
        for prefix, layer in self._members().items():
            own = (spec.name for spec in layer.weight_specs())
            layer.bind(parameters, {name: names[f"{prefix}.{name}"] for name in own})

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _Context]:
        """Run the layers and add the inputs; see `Layer.forward`."""
        return self.forward_from(inputs, lengths, training, seed, {})[:3]

    def forward_from(
        self,
        inputs: Array,
        lengths: Array | None,
        training: bool,
        seed: int,
        state: Mapping[str, LSTMState],
        reset: Array | None = None,
    ) -> tuple[Array, Array | None, _Context, dict[str, LSTMState]]:
        """Run the layers from a state to a state; see `Layer.forward_from`."""
        outputs, contexts = inputs, []
        after: dict[str, LSTMState] = {}
        for place, layer in enumerate(self.layers):
            own = derive(seed, place) if training else 0
            outputs, _, context, ends = run_from(
                str(place), layer, outputs, lengths, training, own, state, reset
            )
            contexts.append(context)
            after.update(ends)
        straight, projected = inputs, None
        if self._dense is not None:
            straight, _, projected = self._dense.forward(inputs, lengths, training, 0)
        total = straight + outputs
        return self._cut(total, lengths), lengths, _Context(contexts, projected, lengths), after

    def recurrent_parts(self) -> dict[str, Layer]:
        """List the recurrent parts of the layers, named by the layers' places."""
        found: dict[str, Layer] = {}
        for place, layer in enumerate(self.layers):
            found.update(parts_of(str(place), layer))
        return found

    @property
    def mixes_steps(self) -> bool:
        """Whether one of the layers mixes steps."""
        return any(layer.mixes_steps for layer in self.layers)

    def backward(self, context: _Context, dy: Array, need_x: bool = True) -> Array | None:
        """Run the layers' backward and add `dy`; see `Layer.backward`."""
        self._follow_trainable()
        if context.lengths is not None:
            dy = self._cut(dy.copy(), context.lengths)
        gradient: Array | None = dy
        last = 0 if need_x else lowest_trained(self.layers)
        for place in range(len(self.layers) - 1, last - 1, -1):
            assert gradient is not None
            wanted = need_x or place > last
            gradient = self.layers[place].backward(context.inner[place], gradient, wanted)
        straight: Array | None = dy
        if self._dense is not None and (need_x or self._dense._trains):
            straight = self._dense.backward(context.projection, dy, need_x)
        if not need_x:
            return None
        assert gradient is not None
        assert straight is not None
        return np.asarray(gradient + straight)

    @staticmethod
    def _cut(values: Array, lengths: Array | None) -> Array:
        """Set the steps past each row's length to zero, in place."""
        if lengths is not None:
            values[np.arange(values.shape[1]) >= lengths[:, None]] = 0
        return values

    def check_values(self, inputs: Array) -> None:
        """Check the values as the first layer does."""
        self.layers[0].check_values(inputs)
