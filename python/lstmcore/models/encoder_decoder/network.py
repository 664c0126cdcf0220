"""The computing half of `EncoderDecoder`: layers, forward, backward, one step of decoding."""

from typing import Any, NamedTuple

import numpy as np

from lstmcore import _checks, layers
from lstmcore._seeds import derive
from lstmcore._typing import Array, AttentionKind, Precision
from lstmcore.functional import LSTMState
from lstmcore.layers.attention import Look, Memory
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.recurrent import Recurrent
from lstmcore.models.encoder_decoder.pairs import PADDING, Pair

__all__ = ["Beams", "Coder", "Encoded"]

# Keys of `derive(seed, key)` for the random decisions of one forward.
SOURCE, ENCODER, TARGET, DECODER, OUTPUT, COIN = range(6)


class Encoded(NamedTuple):
    """The encoder's result, from which the decoder starts."""

    memory: Memory | None
    state: LSTMState
    """(layers, N, H)."""


class _EncoderContext(NamedTuple):
    embedding: Any
    dropout: Any
    tape: Any
    bridges: list[Any]


class _DecoderContext(NamedTuple):
    embedding: Any
    dropout: Any
    tape: Any
    """Of all steps, or a list with one for each step."""
    looks: list[Look]
    """One for all steps, or one for each step."""
    queries: Array | None
    """(N, S, H), the queries of the looks."""
    combine: Any
    output_dropout: Any
    output: Any


class Context(NamedTuple):
    """What `Coder.backward` needs."""

    encoder: _EncoderContext
    memory: Memory | None
    decoder: _DecoderContext


class Beams(NamedTuple):
    """The state of the decoder in B beams of each of R rows."""

    memory: Memory | None
    """Of R rows."""
    state: LSTMState
    """(layers, R * B, H)."""
    width: int
    """B."""

    @classmethod
    def begin(cls, encoded: Encoded, width: int) -> "Beams":
        """Start every row with `width` equal beams."""
        h: Array = np.repeat(encoded.state.h, width, axis=1)
        c: Array = np.repeat(encoded.state.c, width, axis=1)
        return cls(encoded.memory, LSTMState(h, c), width)

    def rows(self, rows: Array) -> "Beams":
        """Choose rows."""
        memory = self.memory
        if memory is not None:
            lengths = None if memory.lengths is None else memory.lengths[rows]
            memory = Memory(memory.values[rows], lengths, memory.keys[rows])
        return Beams(
            memory, self._take(rows[:, None] * self.width + np.arange(self.width)), self.width
        )

    def beams(self, parents: Array) -> "Beams":
        """Select for each row and beam the parent beam, (R, B), that it continues."""
        if self.width == 1:
            return self
        first = np.arange(len(parents))[:, None] * self.width
        return self._replace(state=self._take(first + parents))

    def _take(self, places: Array) -> LSTMState:
        flat = places.reshape(-1)
        return LSTMState(self.state.h[:, flat], self.state.c[:, flat])


class Coder:
    """The layers of an `EncoderDecoder` and the computations with them.

    Parameters
    ----------
    source_vocabulary, target_vocabulary, embedding_size, units, num_layers, bidirectional
        As in `EncoderDecoder`, like all other parameters.
    """

    def __init__(
        self,
        source_vocabulary: int,
        target_vocabulary: int,
        embedding_size: int,
        units: int,
        num_layers: int,
        bidirectional: bool,
        attention: AttentionKind | None,
        attention_units: int | None,
        attention_scale: bool,
        dropout: float,
        precision: Precision | None,
    ) -> None:
        between = dropout if num_layers > 1 else 0.0

        def walk(name: str | None) -> layers.LSTM:
            return layers.LSTM(
                units,
                return_sequences=True,
                num_layers=num_layers,
                dropout=between,
                precision=precision,
                name=name,
            )

        self.units = units
        self.source = layers.Embedding(
            source_vocabulary, embedding_size, mask_zero=True, name="source_embedding"
        )
        self.encoder: Recurrent = (
            layers.Bidirectional(walk(None), name="encoder") if bidirectional else walk("encoder")
        )
        self.bridges: list[tuple[layers.Dense, layers.Dense]] = []
        if bidirectional:
            self.bridges = [
                (
                    layers.Dense(units, "tanh", name=f"bridge_h_l{layer}"),
                    layers.Dense(units, name=f"bridge_c_l{layer}"),
                )
                for layer in range(num_layers)
            ]
        self.target = layers.Embedding(target_vocabulary, embedding_size, name="target_embedding")
        self.decoder = walk("decoder")
        self.attention: layers.Attention | None = None
        self.combine: layers.Dense | None = None
        if attention is not None:
            self.attention = layers.Attention(
                attention,
                attention_units or (units if attention == "additive" else None),
                query_size=units,
                scale=attention_scale,
                name="attention",
            )
            self.combine = layers.Dense(units, "tanh", name="combine")
        self.output = layers.Dense(target_vocabulary, "softmax", name="output")
        self.dropout = layers.Dropout(dropout)
        self.feeding = attention == "additive"

    def layers(self) -> list[layers.Layer]:
        """List all layers with weights, in the order of the model file."""
        bridges = [part for pair in self.bridges for part in pair]
        between = [layer for layer in (self.attention, self.combine) if layer is not None]
        return [
            self.source,
            self.encoder,
            *bridges,
            self.target,
            self.decoder,
            *between,
            self.output,
        ]

    def plan(self) -> dict[str, WeightSpec]:
        """Fix all widths, and list the weights by full name; nothing is allocated yet."""
        embedded = self.source.build((None, None))
        memory = self.encoder.build(embedded)
        for pair in self.bridges:
            for part in pair:
                part.build((None, 2 * self.units))
        width = self.target.build((None, None))[-1] or 0
        seen = memory[-1] or 0
        self.decoder.build((None, None, width + seen if self.feeding else width))
        if self.attention is not None and self.combine is not None:
            self.attention.build(memory)
            self.combine.build((None, None, seen + self.units))
        self.output.build((None, None, self.units))
        self.dropout.build((None, None, self.units))
        return {
            f"{layer.name}.{spec.name}": spec
            for layer in self.layers()
            for spec in layer.weight_specs()
        }

    # ---- the encoder -------------------------------------------------------------------------

    def encode(
        self, source: Array, lengths: Array, training: bool, seed: int
    ) -> tuple[Encoded, _EncoderContext]:
        """Read sources: ids (N, T)."""
        x, _, embedding = self.source.forward(source, lengths, training, 0)
        x, _, dropout = self.dropout.forward(x, lengths, training, derive(seed, SOURCE))
        values, state, tape = self.encoder._run(x, lengths, None, training, derive(seed, ENCODER))
        bridges: list[Any] = []
        if self.bridges:
            parts: tuple[list[Array], list[Array]] = ([], [])
            for layer, pair in enumerate(self.bridges):
                for part, both, bridge in zip(parts, state, pair, strict=True):
                    joined = np.hstack([both[2 * layer], both[2 * layer + 1]])
                    crossed, _, context = bridge.forward(joined, None, training, 0)
                    part.append(crossed)
                    bridges.append(context)
            state = LSTMState(*(np.stack(part) for part in parts))
        memory = None if self.attention is None else self.attention.remember(values, lengths)
        return Encoded(memory, state), _EncoderContext(embedding, dropout, tape, bridges)

    def encode_backward(
        self, context: _EncoderContext, dvalues: Array | None, dstate: LSTMState
    ) -> None:
        """Write the gradients of the encoder's trained weights."""
        if self.bridges:
            below = self.encoder._trains or self.source._trains
            both: tuple[list[Array], list[Array]] = ([], [])
            for layer, pair in enumerate(self.bridges):
                for place, (part, gradient, bridge) in enumerate(
                    zip(both, dstate, pair, strict=True)
                ):
                    joined = bridge.backward(
                        context.bridges[2 * layer + place], gradient[layer], below
                    )
                    if joined is not None:
                        part += np.hsplit(joined, 2)
            if not below:
                return
            dstate = LSTMState(*(np.stack(part) for part in both))
        dx, _ = self.encoder._run_backward(context.tape, dvalues, dstate)
        if self.source._trains:
            self.source.backward(context.embedding, self.dropout.backward(context.dropout, dx))

    # ---- the decoder, all steps at once -------------------------------------------------------

    def forward(
        self,
        pair: Pair,
        lengths: Array,
        training: bool,
        seed: int,
        logits: bool,
        own_share: float,
        barred: tuple[int, ...],
    ) -> tuple[Array, Context | None]:
        """Compute the outputs for given targets; see `EncoderDecoder.forward`.

        Parameters
        ----------
        pair : Pair
        lengths : ndarray of int64, shape (N,)
            Of the decoder's inputs.
        training, seed, logits
            As in `Network.forward`.
        own_share : float
            Probability that the decoder reads its own prediction instead of the target.
        barred : tuple of int
            Tokens that it never predicts.
        """
        encoded, encoder = self.encode(pair.source, pair.source_lengths, training, seed)
        given = pair.given
        if own_share > 0.0:
            given = self._mixed(encoded, given, lengths, own_share, derive(seed, COIN), barred)
        outputs, decoder = self._decode(encoded, given, lengths, training, seed, logits)
        return outputs, Context(encoder, encoded.memory, decoder) if training else None

    def _decode(
        self,
        encoded: Encoded,
        given: Array,
        lengths: Array,
        training: bool,
        seed: int,
        logits: bool,
    ) -> tuple[Array, _DecoderContext]:
        x, _, embedding = self.target.forward(given, None, training, 0)
        x, _, dropout = self.dropout.forward(x, None, training, derive(seed, TARGET))
        memory, queries = encoded.memory, None
        tape: Any
        looks: list[Look] = []
        place = derive(seed, DECODER)
        if self.attention is None or self.combine is None or memory is None:
            y, _, tape = self.decoder._run(x, lengths, encoded.state, training, place)
            combine = None
        else:
            if self.feeding:
                y, seen, queries, looks, tape = self._walk(
                    x, lengths, encoded.state, memory, training, place
                )
            else:
                y, _, tape = self.decoder._run(x, lengths, encoded.state, training, place)
                seen, look = self.attention.look(memory, y, lengths)
                queries, looks = y, [look]
            joined = np.concatenate([seen, y], axis=-1)
            y, _, combine = self.combine.forward(joined, lengths, training, 0)
        y, _, output_dropout = self.dropout.forward(y, lengths, training, derive(seed, OUTPUT))
        run = self.output.forward_logits if logits else self.output.forward
        outputs, _, output = run(y, lengths, training, 0)
        return outputs, _DecoderContext(
            embedding, dropout, tape, looks, queries, combine, output_dropout, output
        )

    def _walk(
        self,
        x: Array,
        lengths: Array,
        state: LSTMState,
        memory: Memory,
        training: bool,
        seed: int,
    ) -> tuple[Array, Array, Array, list[Look], list[Any]]:
        """Run the decoder step by step: the state before a step attends; its context is an input.

        So the gradient of a step's input reaches the state before it, and each step must have a
        tape of its own.
        """
        assert self.attention is not None
        samples, steps, _ = x.shape
        y = np.empty((samples, steps, self.units), x.dtype)
        seen = np.empty((samples, steps, memory.values.shape[2]), x.dtype)
        queries, looks, tapes = np.empty_like(y), [], []
        for step in range(steps):
            valid = (step < lengths).astype(np.int64)
            queries[:, step] = state.h[-1]
            context, look = self.attention.look(memory, queries[:, step : step + 1], valid)
            joined = np.concatenate([x[:, step : step + 1], context], axis=-1)
            out, state, tape = self.decoder._run(joined, valid, state, training, derive(seed, step))
            y[:, step], seen[:, step] = out[:, 0], context[:, 0]
            if training:
                looks.append(look)
                tapes.append(tape)
        return y, seen, queries, looks, tapes

    def backward(self, context: Context, dy: Array) -> None:
        """Write the gradients of all trained weights, and stop below the lowest of them."""
        decoder, attention, memory = context.decoder, self.attention, context.memory
        bridges = [part for pair in self.bridges for part in pair]
        reads = any(layer._trains for layer in (self.source, self.encoder, *bridges))
        walks = reads or self.target._trains or self.decoder._trains
        looks = walks or (attention is not None and attention._trains)
        below = looks or (self.combine is not None and self.combine._trains)
        gradient = self.output.backward(decoder.output, dy, below)
        if gradient is None:
            return
        gradient = self.dropout.backward(decoder.output_dropout, gradient)
        dvalues: Array | None = None
        if attention is None or self.combine is None or memory is None:
            dx, dstate = self.decoder._run_backward(decoder.tape, gradient, None)
        else:
            joined = self.combine.backward(decoder.combine, gradient, looks)
            if joined is None:
                return
            width = memory.values.shape[2]
            dseen, dh = joined[..., :width], joined[..., width:]
            if self.feeding:
                dx, dstate, dmet, dkeys, dvalues = self._walk_back(decoder, memory, dseen, dh)
            else:
                (look,) = decoder.looks
                asked, dmet, dkeys, dvalues = attention.look_backward(look, dseen, None)
                if walks:
                    dx, dstate = self.decoder._run_backward(decoder.tape, dh + asked, None)
            assert decoder.queries is not None
            attention.query_backward(decoder.queries, dmet)
            if reads or attention._trains:
                dvalues = attention.remember_backward(memory, dkeys, dvalues, reads)
        if self.target._trains:
            self.target.backward(decoder.embedding, self.dropout.backward(decoder.dropout, dx))
        if reads:
            self.encode_backward(context.encoder, dvalues, dstate)

    def _walk_back(
        self, decoder: _DecoderContext, memory: Memory, dseen: Array, dh: Array
    ) -> tuple[Array, LSTMState, Array, Array, Array]:
        attention = self.attention
        assert attention is not None
        samples, steps, _ = dseen.shape
        width = self.target.output_dim
        dx = np.empty((samples, steps, width), dseen.dtype)
        dmet = np.empty((samples, steps, memory.keys.shape[2]), dseen.dtype)
        dkeys, dvalues = np.zeros_like(memory.keys), np.zeros_like(memory.values)
        dscore = attention._score_gradient
        part = None if dscore is None else np.empty_like(dscore)
        if dscore is not None:
            dscore[...] = 0
        dstate: LSTMState | None = None
        for step in reversed(range(steps)):
            now = slice(step, step + 1)
            gradient, dstate = self.decoder._run_backward(
                decoder.tape[step], dh[:, now], dstate, add=step + 1 < steps
            )
            dx[:, now] = gradient[..., :width]
            dcontext = gradient[..., width:] + dseen[:, now]
            dquery, met, keys, values = attention.look_backward(decoder.looks[step], dcontext, part)
            dstate.h[-1] += dquery[:, 0]
            dmet[:, now] = met
            dkeys += keys
            dvalues += values
            if dscore is not None:
                dscore += part
        assert dstate is not None
        return dx, dstate, dmet, dkeys, dvalues

    # ---- the decoder, step by step ------------------------------------------------------------

    def step(self, tokens: Array, beams: Beams) -> tuple[Array, Beams, Array | None]:
        """Advance by tokens (R, B); return logits (R, B, V), the next state, weights (R, B, T)."""
        rows, width = tokens.shape
        x, _, _ = self.target.forward(tokens, None, False, 0)
        memory, weights = beams.memory, None

        def run(inputs: Array) -> tuple[Array, LSTMState]:
            flat = np.ascontiguousarray(inputs).reshape(rows * width, 1, -1)
            y, state, _ = self.decoder._run(flat, None, beams.state, False, 0)
            return y.reshape(rows, width, -1), state

        if self.attention is None or self.combine is None or memory is None:
            y, state = run(x)
        else:
            if self.feeding:
                query = beams.state.h[-1].reshape(rows, width, -1)
                seen, look = self.attention.look(memory, query, None)
                y, state = run(np.concatenate([x, seen], axis=-1))
            else:
                y, state = run(x)
                seen, look = self.attention.look(memory, y, None)
            weights = look.weights
            y, _, _ = self.combine.forward(np.concatenate([seen, y], axis=-1), None, False, 0)
        logits, _, _ = self.output.forward_logits(y, None, False, 0)
        return logits, beams._replace(state=state), weights

    def _mixed(
        self,
        encoded: Encoded,
        given: Array,
        lengths: Array,
        share: float,
        seed: int,
        barred: tuple[int, ...],
    ) -> Array:
        """Replace each token, with probability `share`, by the decoder's prediction of it."""
        random = np.random.Generator(np.random.PCG64(seed))
        steps = np.arange(given.shape[1])
        own = (random.random(given.shape) < share) & (steps > 0) & (steps < lengths[:, None])
        if not own.any():
            return given
        mixed, beams = given.copy(), Beams.begin(encoded, 1)
        for step in range(int(np.flatnonzero(own.any(axis=0))[-1])):
            logits, beams, _ = self.step(mixed[:, step : step + 1], beams)
            logits[..., [PADDING, *barred]] = -np.inf
            predicted = logits[:, 0].argmax(axis=-1)
            chosen = own[:, step + 1]
            mixed[chosen, step + 1] = predicted[chosen]
        return mixed


def check_share(value: Any) -> float:
    """Check and return a probability of scheduled sampling."""
    return _checks.real(value, "scheduled_sampling", 0.0, 1.0)
