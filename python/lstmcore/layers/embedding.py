"""Vectors for token ids."""

import math

import numpy as np

from lstmcore import _checks, _core, regularizers
from lstmcore._typing import Array, InitializerName, Shape
from lstmcore.layers import initializers
from lstmcore.layers.base import Layer
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.shapes import row_ends

__all__ = ["Embedding"]


class Embedding(Layer):
    """A learnt vector for each token id: ids (N, T) to vectors (N, T, E).

    Parameters
    ----------
    input_dim : int
        V, the size of the vocabulary; ids are 0 .. V - 1.
    output_dim : int
        E, the width of the vectors.
    embeddings_initializer : str, default "uniform"
        Name of the initial values.
    embeddings_regularizer : L1, L2, L1L2, float or str, optional
        Penalty on the vectors.
    mask_zero : bool, default False
        Whether id 0 is padding. Then each row's length is where its padding begins; padding may
        appear only at the right end, unless a model gets ``mask=(x != 0)`` with x.
    seed : int, optional
        Of the initial values; None: the model's.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    Weights: ``embeddings`` (V, E).
    """

    input_kind: str = "ids"

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: InitializerName = "uniform",
        embeddings_regularizer: regularizers.RegularizerLike = None,
        *,
        mask_zero: bool = False,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.input_dim = _checks.integer(input_dim, "input_dim", 1)
        self.output_dim = _checks.integer(output_dim, "output_dim", 1)
        self.mask_zero = _checks.flag(mask_zero, "mask_zero")
        self.embeddings_initializer = embeddings_initializer
        self._initializer = initializers.get(embeddings_initializer, "embeddings_initializer")
        self.embeddings_regularizer = regularizers.get(
            embeddings_regularizer, "embeddings_regularizer"
        )
        self.seed = None if seed is None else _checks.integer(seed, "seed")

    @property
    def _finds_lengths(self) -> bool:
        return self.mask_zero

    def build(self, input_shape: Shape) -> Shape:
        """Fix the rank of the ids: (N, T), or (N,) without `mask_zero`."""
        self._accept(input_shape, (2,) if self.mask_zero else (1, 2, 3), "(N, T)")
        return (*input_shape, self.output_dim)

    def weight_specs(self) -> list[WeightSpec]:
        """List ``embeddings`` (V, E)."""
        penalty = regularizers.strengths(self.embeddings_regularizer)
        shape = (self.input_dim, self.output_dim)
        # Each entry of the vocabulary is a separate output.
        return [WeightSpec("embeddings", shape, self._initializer, *penalty, inputs=1)]

    def forward(
        self, inputs: Array, lengths: Array | None, training: bool, seed: int
    ) -> tuple[Array, Array | None, Array]:
        """Look ids (N, T) up; see `Layer.forward`."""
        ids = inputs.reshape(-1)
        vectors = _core.embedding_forward(self._weights["embeddings"], ids)
        outputs = vectors.reshape((*inputs.shape, self.output_dim))
        return outputs, self.lengths_of(inputs, lengths), ids

    def backward(self, context: Array, dy: Array, need_x: bool = True) -> None:
        """Write the gradient of the vectors; ids have none."""
        self._follow_trainable()
        gradient = self.gradient_place("embeddings")
        if gradient is None:
            return
        assert self.parameters is not None
        name, dy = self._names["embeddings"], dy.reshape(-1, self.output_dim)
        own = type(self).backward is Embedding.backward  # not that of a subclass, which may differ
        if own and self.parameters.wants_rows(name):
            rows, places = np.unique(context, return_inverse=True)
            values = np.empty((len(rows), self.output_dim), dy.dtype)
            _core.embedding_backward(places.reshape(-1), dy, values)
            self.parameters.give_rows(name, rows, values)
            return
        _core.embedding_backward(context, dy, gradient)
        self._note_finite(dy, own)
        if own:
            self.parameters.give_rows(name, context, None)

    def _note_finite(self, dy: Array, own: bool) -> None:
        """Note whether `dy` alone shows that the gradient, a large array, is finite.

        Each of its entries sums entries of dy, so it is at most ``sqrt(dy.size) * norm(dy)``
        (Cauchy and Schwarz). Up to a tenth of the range, rounding cannot make the sums infinite.
        """
        assert self.parameters is not None
        bound = math.sqrt(dy.size * _core.squared_norm(dy))
        finite = bound < 0.1 * float(np.finfo(dy.dtype).max)
        self.parameters.note_finite(self._names["embeddings"], finite and own)

    def lengths_of(self, inputs: Array, lengths: Array | None) -> Array | None:
        """Return the lengths of the rows: where the padding of each begins.

        Raises
        ------
        ValueError
            If an id that is not 0 follows a 0.
        """
        if not self.mask_zero:
            return lengths
        counts, wrong = row_ends(inputs != 0)
        if wrong is not None:
            raise ValueError(
                "inputs: with mask_zero=True, id 0 is padding and may appear only at the right end "
                f"of a row; row {wrong} has another id after a 0; for padding elsewhere pass "
                "mask=(x != 0) to fit or predict"
            )
        return counts

    def check_values(self, inputs: Array) -> None:
        """Raise ValueError if an id is outside 0 .. V - 1."""
        if inputs.size and (inputs.min() < 0 or inputs.max() >= self.input_dim):
            place = np.argwhere((inputs < 0) | (inputs >= self.input_dim))[0]
            raise ValueError(
                f"inputs: expected token ids in 0..{self.input_dim - 1} (input_dim is "
                f"{self.input_dim}), got {inputs[tuple(place)]} at {tuple(map(int, place))}"
            )
