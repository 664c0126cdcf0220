"""The same layer at every time step."""

from collections.abc import Mapping
from typing import Any

from lstmcore import _checks
from lstmcore._typing import Array, Shape
from lstmcore.layers.base import Layer
from lstmcore.layers.batch_normalization import BatchNormalization
from lstmcore.layers.parameters import Parameters, WeightSpec

__all__ = ["TimeDistributed"]


class TimeDistributed(Layer):
    """Apply `layer` to each step: it sees (N * T, ...) where this layer gets (N, T, ...).

    Parameters
    ----------
    layer : Layer
        With its weights shared by all steps. `Dense`, `Dropout`, `BatchNormalization` and others
        work on (N, T, C) by themselves.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights: those of `layer`.
    """

    def __init__(self, layer: Layer, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        _checks.instance(layer, Layer, "layer", "a layer")
        if getattr(layer, "return_state", False):
            raise ValueError("layer: expected return_state=False, since a step has one output")
        if getattr(layer, "merge_mode", "") is None:
            raise ValueError("layer: expected a merge_mode, since a step has one output, got None")
        if any(getattr(inner, "stateful", False) for inner in layer._layers_within()):
            raise ValueError(
                "layer: expected stateful=False, since each step is a sequence of its own"
            )
        if any(isinstance(inner, BatchNormalization) for inner in layer._layers_within()):
            raise ValueError(
                "layer: a BatchNormalization in a TimeDistributed would count padding; it works on "
                "(N, T, C) by itself, over all valid steps"
            )
        layer._frozen_by = "TimeDistributed"
        self.layer = layer
        self.input_kind = layer.input_kind
        self.last_activation = layer.last_activation
        self.seed = layer.seed
        if not trainable:
            self.trainable = False  # of the layer too

    def _is_trainable(self) -> bool:
        return self.layer.trainable

    def _frozen_weights(self) -> set[str]:
        """Name none, since all belong to the wrapped layer."""
        return set()

    @property
    def _known_from(self) -> int:
        """The sizes within a step; the number of steps may vary."""
        return self.layer._known_from + 1

    def build(self, input_shape: Shape) -> Shape:
        """Build the wrapped layer for one step."""
        self._accept(input_shape, (2, 3, 4, 5), "(N, T, ...)")
        inner = self.layer.build((None, *input_shape[2:]))
        return (*input_shape[:2], *inner[1:])

    def weight_specs(self) -> list[WeightSpec]:
        """List the weights of the wrapped layer."""
        return self.layer.weight_specs()

    def bind(self, parameters: Parameters, names: Mapping[str, str]) -> None:
        """Share the views with the wrapped layer."""
        super().bind(parameters, names)
        self.layer.bind(parameters, names)

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, tuple[tuple[int, ...], Any]]:
        """Run the wrapped layer on all steps at once; see `Layer.forward`."""
        steps = inputs.reshape((-1, *inputs.shape[2:]))
        outputs, _, context = self.layer.forward(steps, None, training, seed)
        return self._unfold(outputs, inputs), lengths, (inputs.shape, context)

    def forward_logits(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, tuple[tuple[int, ...], Any]]:
        """Compute what the wrapped layer's activation would be applied to."""
        steps = inputs.reshape((-1, *inputs.shape[2:]))
        outputs, _, context = self.layer.forward_logits(steps, None, training, seed)
        return self._unfold(outputs, inputs), lengths, (inputs.shape, context)

    def backward(self, context: Any, dy: Array, need_x: bool = True) -> Array | None:
        """Run the wrapped layer's backward on all steps at once."""
        self._follow_trainable()
        shape, inner = context
        dx = self.layer.backward(inner, dy.reshape((-1, *dy.shape[2:])), need_x)
        return None if dx is None else dx.reshape(shape)

    def check_values(self, inputs: Array) -> None:
        """Check as the wrapped layer does."""
        self.layer.check_values(inputs)

    @staticmethod
    def _unfold(outputs: Array, inputs: Array) -> Array:
        return outputs.reshape((*inputs.shape[:2], *outputs.shape[1:]))
