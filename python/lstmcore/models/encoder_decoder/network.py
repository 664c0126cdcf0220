"""The computing half of `EncoderDecoder`: layers, forward, backward, one step of decoding."""

from typing import Any, NamedTuple

import numpy as np

from lstmcore import _checks, layers
from lstmcore._seeds import derive
from lstmcore._typing import Array
from lstmcore.functional import LSTMState
from lstmcore.layers.attention import Look, Memory
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.recurrent import Recurrent
from lstmcore.models.encoder_decoder.copying import (
    Copies,
    CopyContext,
    Copying,
    with_weights,
)
from lstmcore.models.encoder_decoder.encoders import Encoder, EncoderContext
from lstmcore.models.encoder_decoder.pairs import PADDING, Pair
from lstmcore.models.encoder_decoder.structure import Structure
from lstmcore.models.encoder_decoder.words import UNKNOWN_ID

__all__ = ["Beams", "Coder", "Encoded"]

# Keys of `derive(seed, key)` for the random decisions of one forward; the encoder has 0 and 1.
TARGET, DECODER, OUTPUT, COIN = range(2, 6)


class Encoded(NamedTuple):
    """The encoder's result, from which the decoder starts."""

    memory: Memory | None
    state: LSTMState
    """(layers, N, H)."""
    copies: Copies | None = None


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
    copied: CopyContext | None


class Context(NamedTuple):
    """What `Coder.backward` needs."""

    encoder: EncoderContext
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
    copies: Copies | None = None

    @classmethod
    def begin(cls, encoded: Encoded, width: int) -> "Beams":
        """Start every row with `width` equal beams."""
        h: Array = np.repeat(encoded.state.h, width, axis=1)
        c: Array = np.repeat(encoded.state.c, width, axis=1)
        return cls(encoded.memory, LSTMState(h, c), width, encoded.copies)

    def rows(self, rows: Array) -> "Beams":
        """Choose rows."""
        memory = self.memory
        if memory is not None:
            lengths = None if memory.lengths is None else memory.lengths[rows]
            memory = Memory(memory.values[rows], lengths, memory.keys[rows])
        places = rows[:, None] * self.width + np.arange(self.width)
        copies = None if self.copies is None else self.copies.rows(rows)
        return Beams(memory, self._take(places), self.width, copies)

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
    structure : Structure
        With placeholders for vocabularies that are not known yet; see `set_vocabularies`.
    """

    def __init__(self, structure: Structure) -> None:
        one = structure
        between = one.dropout if one.num_layers > 1 else 0.0

        def walk(name: str | None) -> layers.LSTM:
            return layers.LSTM(
                one.units,
                return_sequences=True,
                num_layers=one.num_layers,
                dropout=between,
                precision=one.precision,
                name=name,
            )

        self.structure, self.units = structure, one.units
        self.dropout = layers.Dropout(one.dropout)
        self.target = layers.Embedding(
            one.target_vocabulary,
            one.embedding_size,
            name="embedding" if one.share_embeddings else "target_embedding",
        )
        self.source: layers.Embedding | None = None
        if one.share_embeddings:
            self.source = self.target
        elif one.kind == "ids":
            self.source = layers.Embedding(
                one.source_width, one.embedding_size, mask_zero=True, name="source_embedding"
            )
        rnn: Recurrent | None = None
        if one.kind != "vector":
            rnn = walk("encoder")
            if one.bidirectional:
                rnn = layers.Bidirectional(walk(None), name="encoder")
        self.encoder = Encoder(self.source, rnn, one.units, one.num_layers, self.dropout)
        self.decoder = walk("decoder")
        self.attention: layers.Attention | None = None
        self.combine: layers.Dense | None = None
        if one.attention is not None:
            self.attention = layers.Attention(
                one.attention,
                one.attention_units or (one.units if one.attention == "additive" else None),
                query_size=one.units,
                scale=one.attention_scale,
                name="attention",
            )
            self.combine = layers.Dense(one.units, "tanh", name="combine")
        self.output: layers.Dense | layers.TiedDense = (
            layers.TiedDense(self.target.name or "", "softmax", name="output")
            if one.tie_embeddings
            else layers.Dense(one.target_vocabulary, "softmax", name="output")
        )
        self.copying = Copying() if one.copying else None
        self.feeding = one.attention == "additive"

    def set_vocabularies(self, source: int, target: int) -> None:
        """Replace placeholders by the sizes of vocabularies, before `plan`."""
        if self.source is not None:
            self.source.input_dim = source
        self.target.input_dim = target
        if isinstance(self.output, layers.Dense):  # a tied one asks the table
            self.output.units = target

    def layers(self) -> list[layers.Layer]:
        """List all layers with weights, in the order of the model file."""
        gate = None if self.copying is None else self.copying.gate
        between = [layer for layer in (self.attention, self.combine, gate) if layer is not None]
        return [
            *([] if self.source is None or self.source is self.target else [self.source]),
            *self.encoder.layers(),
            self.target,
            self.decoder,
            *between,
            self.output,
        ]

    def plan(self) -> dict[str, WeightSpec]:
        """Fix all widths, and list the weights by full name; nothing is allocated yet."""
        width = self.target.build((None, None))[-1] or 0
        read = self.structure.source_width
        if self.source is not None:
            read = self.source.build((None, None))[-1] or 0
        seen = self.encoder.plan(read)
        self.decoder.build((None, None, width + seen if self.feeding else width))
        if self.attention is not None and self.combine is not None:
            self.attention.build((None, None, seen))
            self.combine.build((None, None, seen + self.units))
        if self.copying is not None:
            self.copying.gate.build((None, None, seen + self.units + width))
        if isinstance(self.output, layers.TiedDense):
            self.output._tie([self.target])
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
    ) -> tuple[Encoded, EncoderContext]:
        """Read sources: ids (N, T), or numbers (N, T, C)."""
        values, state, context = self.encoder.forward(source, lengths, training, seed)
        memory = None
        if self.attention is not None:
            assert values is not None
            memory = self.attention.remember(values, lengths)
        return Encoded(memory, state), context

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
        encoded = encoded._replace(copies=pair.copies)
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
        x, _, embedding = self.target.forward(self._readable(given), None, training, 0)
        x, _, dropout = self.dropout.forward(x, None, training, derive(seed, TARGET))
        memory, queries = encoded.memory, None
        tape: Any
        looks: list[Look] = []
        place = derive(seed, DECODER)
        if self.attention is None or self.combine is None or memory is None:
            y, _, tape = self.decoder._run(x, lengths, encoded.state, training, place)
            parts, combine = [], None
        else:
            if self.feeding:
                y, seen, queries, looks, tape = self._walk(
                    x, lengths, encoded.state, memory, training, place
                )
            else:
                y, _, tape = self.decoder._run(x, lengths, encoded.state, training, place)
                seen, look = self.attention.look(memory, y, lengths)
                queries, looks = y, [look]
            parts = [seen, y]
            y, _, combine = self.combine.forward(
                np.concatenate(parts, axis=-1), lengths, training, 0
            )
        y, _, output_dropout = self.dropout.forward(y, lengths, training, derive(seed, OUTPUT))
        run = self.output.forward_logits if logits or self.copying else self.output.forward
        outputs, _, output = run(y, lengths, training, 0)
        copied = None
        if self.copying is not None:
            assert encoded.copies is not None
            outputs, copied = self.copying.forward(
                outputs, [*parts, x], weights_of(looks), encoded.copies, logits
            )
        return outputs, _DecoderContext(
            embedding, dropout, tape, looks, queries, combine, output_dropout, output, copied
        )

    def decoder_inputs(self, encoded: Encoded, given: Array, lengths: Array) -> Array:
        """Return what the decoder's LSTM reads at each step, without dropout.

        Parameters
        ----------
        encoded : Encoded
        given : ndarray of int64, shape (N, S)
            The tokens before those that it says.
        lengths : ndarray of int64, shape (N,)

        Returns
        -------
        ndarray, shape (N, S, E), with additive attention (N, S, E + C)
        """
        x, _, _ = self.target.forward(self._readable(given), None, False, 0)
        if not self.feeding or encoded.memory is None:
            return x
        _, seen, *_ = self._walk(x, lengths, encoded.state, encoded.memory, False, 0)
        return np.concatenate([x, seen], axis=-1)

    def _readable(self, tokens: Array) -> Array:
        """Return tokens with the unknown one in place of words outside the vocabulary."""
        if self.copying is None:
            return tokens
        return np.where(tokens < self.target.input_dim, tokens, UNKNOWN_ID)

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
            if training or self.copying is not None:
                looks.append(look)
                tapes.append(tape)
        return y, seen, queries, looks, tapes

    def backward(self, context: Context, dy: Array, need_source: bool = False) -> Array | None:
        """Write the gradients of all trained weights, and stop below the lowest of them.

        Parameters
        ----------
        context : Context
        dy : ndarray, shape (N, S, V)
            With respect to the outputs.
        need_source : bool, default False
            Whether to go on to what the encoder reads.

        Returns
        -------
        ndarray, shape (N, T, E) or (N, T, C), or None
            With respect to the vectors of the source's ids, or to its numbers; None unless
            `need_source`.
        """
        decoder, attention, memory = context.decoder, self.attention, context.memory
        embeds = self.source is not None and self.source._trains
        reads = embeds or self.encoder.trains or need_source
        walks = reads or self.target._trains or self.decoder._trains
        looks = walks or (attention is not None and attention._trains)
        meets = looks or (self.combine is not None and self.combine._trains)
        dparts, dweights = None, None
        if self.copying is not None:
            assert decoder.copied is not None
            dy, dparts, dweights = self.copying.backward(
                decoder.copied, dy, weights_of(decoder.looks), looks
            )
        gradient = self.output.backward(decoder.output, dy, meets)
        if gradient is None:
            return None
        gradient = self.dropout.backward(decoder.output_dropout, gradient)
        dx: Array | None
        dstate: LSTMState | None
        dvalues: Array | None = None
        if attention is None or self.combine is None or memory is None:
            dx, dstate = self.decoder._run_backward(decoder.tape, gradient, None)
        else:
            joined = self.combine.backward(decoder.combine, gradient, looks)
            if joined is None:
                return None
            dx, dstate, dvalues = self._attend_back(
                decoder, memory, joined, dparts, dweights, walks, reads
            )
        read: list[tuple[Array, Array]] = []
        dsource: Array | None = None
        if reads:
            assert dstate is not None
            below = embeds or need_source
            dsource = self.encoder.backward(context.encoder, dvalues, dstate, below)
            if embeds and dsource is not None and self.source is self.target:
                read = [(context.encoder.embedding, dsource)]
            elif embeds and dsource is not None and self.source is not None:
                self.source.backward(context.encoder.embedding, dsource)
        if self.target._trains:
            assert dx is not None
            read.append((decoder.embedding, self.dropout.backward(decoder.dropout, dx)))
            self._table_backward(read, decoder.output)
        return dsource if need_source else None

    def _attend_back(
        self,
        decoder: _DecoderContext,
        memory: Memory,
        joined: Array,
        dparts: Array | None,
        dweights: Array | None,
        walks: bool,
        reads: bool,
    ) -> tuple[Array | None, LSTMState | None, Array | None]:
        """Go back through attention and decoder.

        Parameters
        ----------
        decoder : _DecoderContext
        memory : Memory
        joined : ndarray, shape (N, S, C + H)
            With respect to contexts and outputs of the decoder, from `combine`.
        dparts, dweights : ndarray or None
            With respect to contexts, outputs and inputs, and to the attention's weights, from
            copying.
        walks, reads : bool
            Whether something is trained below the attention, and whether on the encoder's side.

        Returns
        -------
        dx : ndarray or None
            With respect to the decoder's inputs; None unless `walks`.
        dstate : LSTMState or None
            With respect to its first state; None unless `walks`.
        dvalues : ndarray or None
            With respect to the encoder's outputs; None unless `reads`.
        """
        attention, width = self.attention, memory.values.shape[2]
        assert attention is not None
        if dparts is not None:
            joined += dparts[..., : width + self.units]
        dseen, dh = joined[..., :width], joined[..., width:]
        dx: Array | None = None
        dstate: LSTMState | None = None
        wide = memory
        if dweights is not None:
            wide, dseen = with_weights(memory, dseen, dweights)
        if self.feeding:
            dx, dstate, dmet, dkeys, dvalues = self._walk_back(decoder, wide, dseen, dh)
        else:
            look = decoder.looks[0]._replace(memory=wide)
            asked, dmet, dkeys, dvalues = attention.look_backward(look, dseen, None)
            if walks:
                dx, dstate = self.decoder._run_backward(decoder.tape, dh + asked, None)
        if dx is not None and dparts is not None:
            dx = dx + dparts[..., width + self.units :]
        assert decoder.queries is not None
        attention.query_backward(decoder.queries, dmet)
        read: Array | None = None
        if reads or attention._trains:
            own = np.ascontiguousarray(dvalues[..., :width])
            read = attention.remember_backward(memory, dkeys, own, reads)
        return dx, dstate, read

    def _table_backward(self, read: list[tuple[Array, Array]], output: Any) -> None:
        """Write the gradient of the target's table from all that used it.

        Parameters
        ----------
        read : list of (ndarray, ndarray)
            Ids and gradients of their vectors.
        output : context of the output
        """
        width = self.target.output_dim
        ids = np.concatenate([ids.reshape(-1) for ids, _ in read])
        self.target.backward(ids, np.concatenate([dy.reshape(-1, width) for _, dy in read]))
        if isinstance(self.output, layers.TiedDense):
            self.output._finish_backward(output)

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
            # More channels than the context has carry the gradient of the weights.
            dcontext = dseen[:, now].copy()
            dcontext[..., : gradient.shape[2] - width] += gradient[..., width:]
            look = decoder.looks[step]._replace(memory=memory)
            dquery, met, keys, values = attention.look_backward(look, dcontext, part)
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
        x, _, _ = self.target.forward(self._readable(tokens), None, False, 0)
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
            weights, parts = look.weights, [seen, y, x]
            y, _, _ = self.combine.forward(np.concatenate([seen, y], axis=-1), None, False, 0)
        logits, _, _ = self.output.forward_logits(y, None, False, 0)
        if self.copying is not None:
            assert beams.copies is not None
            assert weights is not None
            logits, _ = self.copying.forward(logits, parts, weights, beams.copies, True)
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


def weights_of(looks: list[Look]) -> Array:
    """Return the weights of all steps, (N, S, T)."""
    if len(looks) == 1:
        return looks[0].weights
    return np.concatenate([look.weights for look in looks], axis=1)


def check_share(value: Any) -> float:
    """Check and return a probability of scheduled sampling."""
    return _checks.real(value, "scheduled_sampling", 0.0, 1.0)
