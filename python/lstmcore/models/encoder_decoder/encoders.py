"""The encoding half of `EncoderDecoder`: from sources to the decoder's first state."""

from typing import Any, NamedTuple

import numpy as np

from lstmcore import layers
from lstmcore._seeds import derive
from lstmcore._typing import Array
from lstmcore.functional import LSTMState
from lstmcore.layers.recurrent import Recurrent

__all__ = ["Encoder", "EncoderContext"]

# Keys of `derive(seed, key)` for the random decisions of one encoder.
SOURCE, ENCODER = range(2)


class EncoderContext(NamedTuple):
    """What `Encoder.backward` needs."""

    embedding: Any
    dropout: Any
    tape: Any
    bridges: list[Any]


class Encoder:
    """An LSTM over the source, bridges from states of another width, or bridges alone.

    Parameters
    ----------
    embedding : Embedding or None
        Of the ids; None: the source is numbers.
    rnn : Recurrent or None
        None: the source is one vector, which only the bridges read.
    units, num_layers : int
        Of the decoder.
    dropout : Dropout
    """

    def __init__(
        self,
        embedding: layers.Embedding | None,
        rnn: Recurrent | None,
        units: int,
        num_layers: int,
        dropout: layers.Dropout,
    ) -> None:
        self.embedding, self.rnn, self.dropout = embedding, rnn, dropout
        self.units = units
        self.bridges: list[tuple[layers.Dense, layers.Dense]] = []
        if rnn is None or isinstance(rnn, layers.Bidirectional):
            self.bridges = [
                (
                    layers.Dense(units, "tanh", name=f"bridge_h_l{layer}"),
                    layers.Dense(units, name=f"bridge_c_l{layer}"),
                )
                for layer in range(num_layers)
            ]

    def layers(self) -> list[layers.Layer]:
        """List all layers with weights but the embedding, in the order of the model file."""
        first = [] if self.rnn is None else [self.rnn]
        return [*first, *(part for pair in self.bridges for part in pair)]

    def plan(self, width: int) -> int:
        """Fix all widths for steps of `width` numbers, and return that of the outputs."""
        seen = width
        if self.rnn is not None:
            seen = self.rnn.build((None, None, width))[-1] or 0
        crossed = width if self.rnn is None else 2 * self.units
        for pair in self.bridges:
            for part in pair:
                part.build((None, crossed))
        return seen

    @property
    def trains(self) -> bool:
        """Whether any of the layers but the embedding is trained."""
        return any(layer._trains for layer in self.layers())

    def forward(
        self, source: Array, lengths: Array, training: bool, seed: int
    ) -> tuple[Array | None, LSTMState, EncoderContext]:
        """Read sources: ids (N, T), or numbers (N, T, C).

        Returns
        -------
        values : ndarray, shape (N, T, C'), or None
            The outputs of all steps; None without an LSTM.
        state : LSTMState
            The decoder's first, (layers, N, H).
        context : EncoderContext
        """
        x, embedding, dropout = source, None, None
        if self.embedding is not None:
            x, _, embedding = self.embedding.forward(source, lengths, training, 0)
            x, _, dropout = self.dropout.forward(x, lengths, training, derive(seed, SOURCE))
        if self.rnn is None:
            vectors = np.ascontiguousarray(x[:, 0])
            state, bridges = self._cross([(vectors, vectors)] * len(self.bridges), training)
            return None, state, EncoderContext(embedding, dropout, None, bridges)
        values, state, tape = self.rnn._run(x, lengths, None, training, derive(seed, ENCODER))
        bridges = []
        if self.bridges:
            ends = [
                tuple(np.hstack([part[2 * layer], part[2 * layer + 1]]) for part in state)
                for layer in range(len(self.bridges))
            ]
            state, bridges = self._cross(ends, training)
        return values, state, EncoderContext(embedding, dropout, tape, bridges)

    def _cross(self, ends: list[Any], training: bool) -> tuple[LSTMState, list[Any]]:
        """Compute the decoder's h and c of each layer from a pair of arrays (N, ...) for each."""
        parts: tuple[list[Array], list[Array]] = ([], [])
        contexts = []
        for inputs, pair in zip(ends, self.bridges, strict=True):
            for part, values, bridge in zip(parts, inputs, pair, strict=True):
                crossed, _, context = bridge.forward(values, None, training, 0)
                part.append(crossed)
                contexts.append(context)
        return LSTMState(*(np.stack(part) for part in parts)), contexts

    def backward(
        self, context: EncoderContext, dvalues: Array | None, dstate: LSTMState, below: bool
    ) -> Array | None:
        """Write the gradients of the trained weights.

        Parameters
        ----------
        context : EncoderContext
        dvalues : ndarray or None
            With respect to the outputs.
        dstate : LSTMState
            With respect to the decoder's first state.
        below : bool
            Whether the gradient with respect to the vectors of ids, or to numbers, is wanted.

        Returns
        -------
        ndarray, shape (N, T, E) or (N, T, C), or None
        """
        vectors: Array | None = None
        if self.bridges:
            needed = below or (self.rnn is not None and self.rnn._trains)
            both: tuple[list[Array], list[Array]] = ([], [])
            for layer, pair in enumerate(self.bridges):
                for place, (part, gradient, bridge) in enumerate(
                    zip(both, dstate, pair, strict=True)
                ):
                    crossed = context.bridges[2 * layer + place]
                    joined = bridge.backward(crossed, gradient[layer], needed)
                    if joined is not None and self.rnn is not None:
                        part += np.hsplit(joined, 2)
                    elif joined is not None:
                        vectors = joined if vectors is None else vectors + joined
            if not needed or self.rnn is None:
                return None if vectors is None else vectors[:, None]
            dstate = LSTMState(*(np.stack(part) for part in both))
        assert self.rnn is not None
        dx, _ = self.rnn._run_backward(context.tape, dvalues, dstate)
        return self.dropout.backward(context.dropout, dx) if below else None
