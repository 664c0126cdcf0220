"""The output layer of a language model that uses the vectors of its embedding again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lstmcore import _checks, _core
from lstmcore._typing import Array, LayerActivation, Shape
from lstmcore.layers import functions, initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.embedding import Embedding
from lstmcore.layers.parameters import WeightSpec

__all__ = ["TiedDense"]


@dataclass
class _Context:
    rows: Array
    logits: Array
    activation: str
    gradient: Array | None = None
    """Of the vectors, from `backward` until it is added to the embedding's own."""


class TiedDense(Layer):
    """``activation(x vectors^T + bias)``: (N, T, E) to (N, T, V), with an `Embedding`'s vectors.

    The output projection of a language model whose weights are the embedding's own (Press & Wolf
    2017; Inan, Khosravi & Socher 2017): they are counted once, saved once, and their gradient is
    the sum of both uses.

    Parameters
    ----------
    tied_to : str, default "embedding"
        Name of the `Embedding`, the first layer of the same model that computes.
    activation : str, optional
        A name that `Activation` takes; None is "linear".
    use_bias : bool, default True
        Whether a bias is added.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        Whether the bias is trained; the vectors are if the embedding is.

    Notes
    -----
    Weights: ``bias`` (V,), if used. The layer computes only as a layer of a model: a copy, or one
    that `pop` returns, is tied again by the model that it is added to.
    """

    def __init__(
        self,
        tied_to: str = "embedding",
        activation: LayerActivation | None = None,
        use_bias: bool = True,
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.tied_to = _checks.label(tied_to, "tied_to")
        self.activation = (
            "linear" if activation is None else functions.canonical(activation, "activation")
        )
        self.last_activation = self.activation
        self.use_bias = _checks.flag(use_bias, "use_bias")
        self._size: tuple[int, int] | None = None

    @property
    def units(self) -> int | None:
        """V, the width of the output; None before the layer is in a model with its embedding."""
        return None if self._size is None else self._size[0]

    def _tie(self, below: Sequence[Layer]) -> None:
        """Find the embedding among the layers below; a model does this before it builds the layer.

        Raises
        ------
        ValueError
            If there is no `Embedding` of that name.
        """
        found = [layer for layer in below if layer.name == self.tied_to]
        if not found or not isinstance(found[0], Embedding):
            came = f"a {type(found[0]).__name__}" if found else "no layer of that name"
            known = [str(layer.name) for layer in below if isinstance(layer, Embedding)]
            raise ValueError(
                f"tied_to: expected the name of an Embedding below this layer "
                f"({', '.join(map(repr, known)) or 'there is none'}), got {self.tied_to!r}, "
                f"{came}"
            )
        self._size = (found[0].input_dim, found[0].output_dim)

    def build(self, input_shape: Shape) -> Shape:
        """Check that the input is as wide as the embedding's vectors."""
        if self._size is None:
            raise ValueError(
                f"TiedDense: is tied to the layer {self.tied_to!r} of a model, so it must be one "
                "of the model's own layers, above that"
            )
        units, width = self._size
        came = self._accept(input_shape, (2, 3), "(N, E) or (N, T, E)")
        if came != width:
            raise ValueError(
                f"expected inputs as wide as the vectors of {self.tied_to!r}, {width}, got {came}; "
                f"a Dense({width}) before this layer makes them so"
            )
        return (*input_shape[:-1], units)

    def weight_specs(self) -> list[WeightSpec]:
        """List ``bias`` (V,), if used."""
        assert self._size is not None
        zeros = initializers.get("zeros", "bias_initializer")
        return [WeightSpec("bias", self._size[:1], zeros)] if self.use_bias else []

    @property
    def _vectors(self) -> str:
        """The name of the shared weight in the model's parameters."""
        full = f"{self.tied_to}.embeddings"
        if self.parameters is None or full not in self.parameters.specs:
            raise ValueError(
                f"TiedDense: is tied to the layer {self.tied_to!r} of a model; add it to one that "
                "has such an Embedding"
            )
        return full

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _Context]:
        """Compute the outputs; see `Layer.forward`."""
        return self._apply(inputs, lengths, self.activation)

    def forward_logits(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, _Context]:
        """Compute the input of the activation."""
        return self._apply(inputs, lengths, "linear")

    def _apply(
        self, inputs: Array, lengths: Array | None, activation: str
    ) -> tuple[Array, Array | None, _Context]:
        full = self._vectors
        assert self.parameters is not None
        vectors = self.parameters.value(full)
        rows = np.ascontiguousarray(inputs.reshape(-1, vectors.shape[1]))
        # x vectors^T is the gradient of a product with `vectors` with respect to its left factor,
        # of which only the shape is read.
        left = np.empty((len(rows), len(vectors)), rows.dtype)
        logits = _core.dense_backward(left, vectors, rows, rows, "linear", True, None, None)
        assert logits is not None
        if self.use_bias:
            logits += self._weights["bias"]
        outputs = logits
        if activation != "linear":
            outputs = functions.function(activation, None).value(logits)
        shaped = outputs.reshape((*inputs.shape[:-1], len(vectors)))
        return shaped, lengths, _Context(rows, logits, activation)

    def backward(self, context: _Context, dy: Array, need_x: bool = True) -> Array | None:
        """Compute dx and write the gradient of the bias; see `Layer.backward`.

        The gradient of the vectors is left in `context`, for `_finish_backward`.
        """
        self._follow_trainable()
        full = self._vectors
        assert self.parameters is not None
        vectors = self.parameters.value(full)
        rows = context.rows
        dlogits = np.ascontiguousarray(dy.reshape(-1, len(vectors)))
        if context.activation != "linear":
            dlogits = functions.function(context.activation, None).pullback(context.logits, dlogits)
        bias = self.gradient_place("bias")
        if bias is not None:  # a product with a matrix that is not read, but for its bias
            turned = vectors.reshape(vectors.shape[::-1])
            _core.dense_backward(rows, turned, dlogits, dlogits, "linear", False, None, bias)
        if full not in self.parameters.frozen:
            context.gradient = np.empty_like(vectors)
            _core.dense_backward(
                dlogits, vectors, rows, rows, "linear", False, context.gradient, None
            )
        if not need_x:
            return None
        dx = _core.dense_forward(dlogits, vectors, None, "linear")
        return dx.reshape((*dy.shape[:-1], vectors.shape[1]))

    def _finish_backward(self, context: _Context) -> None:
        """Add the gradient of the vectors to that which the embedding has just written."""
        if context.gradient is None or self.parameters is None:
            return
        self.parameters.gradient(self._vectors)[...] += context.gradient
        self.parameters.note_finite(self._vectors, False)  # what the embedding noted is its own
        context.gradient = None
