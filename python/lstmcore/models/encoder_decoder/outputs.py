"""From the decoder's outputs to tokens: a projection that shares the table of an embedding."""

from typing import Any, NamedTuple

import numpy as np

from lstmcore import _core, layers
from lstmcore._typing import Array, Shape
from lstmcore.layers.parameters import WeightSpec

__all__ = ["TiedDense"]


class _Table:
    """Holds the embedding; a `Layer` as an attribute would make it a layer within this one."""

    def __init__(self, embedding: layers.Embedding) -> None:
        self.embedding = embedding


class _Context(NamedTuple):
    inputs: Array
    values: Array
    activation: str


class TiedDense(layers.Dense):
    """``softmax(x E^T + b)``, where E (V, H) is the table of an embedding (Press & Wolf 2017).

    The only weight of its own is ``bias`` (V,).

    Parameters
    ----------
    embedding : Embedding
        Its width is that of x.
    name : str
        See `Layer`.
    """

    def __init__(self, embedding: layers.Embedding, name: str) -> None:
        super().__init__(embedding.input_dim, "softmax", name=name)
        self._table = _Table(embedding)

    def build(self, input_shape: Shape) -> Shape:
        """Fix H from (N, T, H), and V, which the table may not have known before."""
        object.__setattr__(self, "units", self._table.embedding.input_dim)
        return super().build(input_shape)

    def weight_specs(self) -> list[WeightSpec]:
        """List ``bias`` (V,)."""
        return [spec for spec in super().weight_specs() if spec.name == "bias"]

    @property
    def _kernel(self) -> Array:
        """The transposed table, (H, V)."""
        return np.ascontiguousarray(self._table.embedding._weights["embeddings"].T)

    def _apply(
        self, inputs: Array, lengths: Array | None, activation: str
    ) -> tuple[Array, Array | None, Any]:
        rows = inputs.reshape(-1, self._width)
        values = _core.dense_forward(rows, self._kernel, self._weights["bias"], activation)
        shaped = values.reshape((*inputs.shape[:-1], self.units))
        return shaped, lengths, _Context(inputs, values, activation)

    def backward(self, context: Any, dy: Array, need_x: bool = True) -> Array | None:
        """Compute dx and write the gradient of the bias; see `Layer.backward`."""
        return self.backward_with_table(context, dy, need_x, False)[0]

    def backward_with_table(
        self, context: Any, dy: Array, need_x: bool, need_table: bool
    ) -> tuple[Array | None, Array | None]:
        """Compute dx and the table's gradient, (V, H), and write that of the bias."""
        self._follow_trainable()
        kernel = self._kernel
        dkernel = np.empty_like(kernel) if need_table else None
        dx = _core.dense_backward(
            context.inputs.reshape(-1, self._width),
            kernel,
            context.values,
            dy.reshape(-1, self.units),
            context.activation,
            need_x,
            dkernel,
            self.gradient_place("bias"),
        )
        shaped = None if dx is None else dx.reshape(context.inputs.shape)
        return shaped, None if dkernel is None else dkernel.T
