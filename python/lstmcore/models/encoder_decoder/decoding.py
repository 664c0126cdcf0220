"""What a trained `EncoderDecoder` writes: greedy decoding, beam search and random draws."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _checks, sampling
from lstmcore._seeds import derive
from lstmcore._suggest import suggests
from lstmcore._typing import Array, Inputs, Verbose
from lstmcore.models.encoder_decoder.network import Beams
from lstmcore.models.encoder_decoder.pairs import Chunk, source_chunks
from lstmcore.models.encoder_decoder.search import Hypothesis, Limits, beam_search, draw
from lstmcore.models.encoder_decoder.tokens import forbidden_ids
from lstmcore.models.encoder_decoder.two_sided import TwoSided
from lstmcore.models.encoder_decoder.words import CopiedSources
from lstmcore.training.data import Ragged, batch_rows
from lstmcore.training.progress import with_bar

__all__ = ["Decoding"]

MOST_OF_A_VECTOR = 50
"""The most tokens for a source without steps, unless the caller says how many."""

MOST_BEAMS = 1000
"""The widest beam: beyond a hundred, results hardly change, or become worse."""


class Decoding(TwoSided):
    """The part of `EncoderDecoder` that finds targets.

    Parameters
    ----------
    seed, dtype
        As in `EncoderDecoder`.
    """

    @suggests
    def decode(
        self,
        x: Inputs,
        beam_width: int = 1,
        *,
        max_length: int | None = None,
        min_length: int = 0,
        length_penalty: float = 0.6,
        forbidden: int | str | Sequence[int | str] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        return_attention: bool = False,
        batch_size: int = 32,
        verbose: Verbose = 0,
    ) -> list[list[Hypothesis]]:
        """Find targets: the likeliest by beam search, or one at random.

        Parameters
        ----------
        x : array_like, or list of array_like or of str
            Sources; see `EncoderDecoder`.
        beam_width : int, default 1
            How many hypotheses are followed at once, 1000 at most; 1 is greedy decoding. Time and
            memory grow with it.
        max_length : int, optional
            The most tokens of a target, not counting the end token. None: twice the length of its
            source plus ten; 50 for a source that is one vector; but at least `min_length`.
        min_length : int, default 0
            The fewest tokens of a target, not counting the end token, which cannot come earlier.
            If it is above the limit that follows from ``max_length=None``, targets have exactly
            this many tokens.
        length_penalty : float, default 0.6
            Hypotheses are ranked by their log-probability divided by ``((6 + S) / 6)`` to this
            power, for S tokens (Wu et al. 2016). 0 ranks by probability alone, which favours short
            ones. With a width of 1 it changes nothing.
        forbidden : int, str, or sequence of int or str, optional
            Tokens that are never output, besides padding and the start token: ids, or texts of
            `target_tokens`. None: the unknown token, "[UNK]", if `target_tokens` has it. ``()``: no
            others.
        temperature, top_k, top_p : float, int, float, optional
            If one of them is given, every token is drawn at random, given those before it, by
            `sampling.sample`: from the model's probabilities to the power ``1 / temperature``
            (greater than 0; None: 1), among the `top_k` likeliest tokens, and among the likeliest
            that have together the probability `top_p`. Only with a width of 1.
        seed : int, default 0
            Of the draws. A target depends on it, on its source and on the source's place in x.
        return_attention : bool, default False
            Whether the hypotheses hold the attention weights of their tokens.
        batch_size : int, default 32
            Sources decoded together. Changes the speed, not the result.
        verbose : {0, 1, 2, "auto"}
            As in `Sequential.predict`.

        Returns
        -------
        list of list of Hypothesis
            For each source at most `beam_width`, the best first; with their texts, if the model
            writes texts.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit, or `return_attention` is True without attention.
        """
        wanted = self._wanted(
            beam_width=beam_width,
            max_length=max_length,
            min_length=min_length,
            length_penalty=length_penalty,
            forbidden=forbidden,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            return_attention=return_attention,
        )
        rows = _checks.integer(batch_size, "batch_size", 1)
        sources = x if isinstance(x, Ragged) else self._source_rows(x)
        return self._find(Chunk(sources, rows, verbose), wanted, 0)

    def _wanted(
        self,
        *,
        beam_width: int,
        max_length: int | None,
        min_length: int,
        length_penalty: float,
        forbidden: int | str | Sequence[int | str] | None,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        seed: int,
        return_attention: bool,
    ) -> "_Wanted":
        """Check the options of `decode`."""
        width = _checks.integer(beam_width, "beam_width", 1)
        if width > MOST_BEAMS:
            raise ValueError(
                f"beam_width: expected at most {MOST_BEAMS}, since every hypothesis takes the time "
                f"and memory of a source of its own, got {width}"
            )
        vocabulary, start, end = self._target.known
        least = _checks.integer(min_length, "min_length", 0)
        if max_length is not None:
            max_length = _checks.integer(max_length, "max_length", 1)
            if least > max_length:
                raise ValueError(
                    f"min_length: expected at most max_length, {max_length}, got {least}"
                )
        penalty = _checks.real(length_penalty, "length_penalty", 0.0)
        barred = forbidden_ids(forbidden, self.target_tokens, vocabulary, start, end)
        choice = _Choice.of(temperature, top_k, top_p, seed, width)
        if _checks.flag(return_attention, "return_attention") and self.attention is None:
            raise ValueError("return_attention: expected False, since the model has no attention")
        return _Wanted(width, max_length, least, penalty, barred, choice, return_attention)

    def _find(self, chunk: Chunk, wanted: "_Wanted", first: int) -> list[list[Hypothesis]]:
        """Find the targets of sources, of which `first` others come before."""
        assert self.parameters is not None
        sources, (_, start, end) = chunk.sources, self._target.known
        results: list[list[Hypothesis]] = [[]] * len(sources)
        places = np.arange(len(sources))
        batches = batch_rows(len(sources), chunk.batch_size, sources.lengths, None, bucket=True)
        total = -(-len(sources) // chunk.batch_size)
        for rows in with_bar(batches, total, "Decode", chunk.verbose):
            chosen = sources.take(rows)
            most = self._most(chosen.lengths, wanted.most, wanted.least)
            encoded, _ = self._coder.encode(chosen.padded(), chosen.lengths, False, 0)
            if isinstance(chosen, CopiedSources):
                encoded = encoded._replace(copies=chosen.copies())
            search: Any = partial(beam_search, beam_width=wanted.width)
            if wanted.choice is not None:
                search = partial(draw, choose=wanted.choice.for_sources(first + places[rows]))
            found = search(
                self._coder.step,
                Beams.begin(encoded, wanted.width),
                Limits(most, wanted.least, start, end, wanted.barred),
                chosen.lengths,
                length_penalty=wanted.penalty,
                keep_attention=wanted.attention,
            )
            for place, hypotheses in zip(places[rows], found, strict=True):
                results[place] = hypotheses
        return self._spelled(results, sources) if self._target.vectorizer is not None else results

    def _most(self, lengths: Array, max_length: int | None, least: int) -> Array:
        """Return the most tokens of each target, for the lengths of the sources."""
        if max_length is not None:
            return np.full_like(lengths, max_length)
        if self._source.kind == "vector":
            return np.full_like(lengths, max(MOST_OF_A_VECTOR, least))
        return np.asarray(np.maximum(2 * lengths + 10, least))

    def _spelled(self, results: list[list[Hypothesis]], sources: Ragged) -> list[list[Hypothesis]]:
        """Add their texts to hypotheses."""
        words = []
        if isinstance(sources, CopiedSources):
            words = [own for own, row in zip(sources.words, results, strict=True) for _ in row]
        tokens = [one.tokens for row in results for one in row]
        texts = iter(self._target.texts(tokens, words))
        return [[one._replace(text=next(texts)) for one in row] for row in results]

    @suggests
    def predict(
        self,
        x: Inputs,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        *,
        steps: int | None = None,
        beam_width: int = 1,
        max_length: int | None = None,
        min_length: int = 0,
        length_penalty: float = 0.6,
        forbidden: int | str | Sequence[int | str] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> list[Any]:
        """Find the target of each source: the best hypothesis of `decode`.

        Parameters
        ----------
        x, beam_width, max_length, min_length, length_penalty, forbidden
            As in `decode`; `x` may also yield batches, as in `Model.fit` or of sources alone.
        temperature, top_k, top_p, seed
            As in `decode`; the places of sources count on from batch to batch.
        batch_size : int, optional
            As in `decode`; None: 32. It cannot be combined with batches.
        verbose : {0, 1, 2, "auto"} or bool
            As in `Sequential.predict`.
        steps : int, optional
            How many batches to read, from the first on; None: all.

        Returns
        -------
        list of ndarray of int64, each of shape (S_i,), or list of str
            Without start and end token; texts, if the model writes texts.
        """
        wanted = self._wanted(
            beam_width=beam_width,
            max_length=max_length,
            min_length=min_length,
            length_penalty=length_penalty,
            forbidden=forbidden,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            return_attention=False,
        )
        found: list[list[Hypothesis]] = []
        for chunk in source_chunks(
            x, self._source_rows, self._source.rank, batch_size, steps, verbose
        ):
            found += self._find(chunk, wanted, len(found))
        if self._target.vectorizer is not None:
            return [hypotheses[0].text if hypotheses else "" for hypotheses in found]
        nothing = np.zeros(0, np.int64)
        return [hypotheses[0].tokens if hypotheses else nothing for hypotheses in found]


class _Wanted(NamedTuple):
    """The options of `decode`, checked."""

    width: int
    most: int | None
    least: int
    penalty: float
    barred: tuple[int, ...]
    choice: "_Choice | None"
    attention: bool


class _Choice:
    """Draws tokens, for each source from random numbers of its own."""

    def __init__(self, seed: int, options: dict[str, Any]) -> None:
        self.seed, self.options = seed, options

    @classmethod
    def of(
        cls,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        seed: int,
        width: int,
    ) -> "_Choice | None":
        """Check the options of `decode`; None if tokens are not to be drawn."""
        seed = _checks.integer(seed, "seed")
        if (temperature, top_k, top_p) == (None, None, None):
            return None
        if width != 1:
            raise ValueError(
                "beam_width: expected 1 with temperature, top_k or top_p, which draw tokens at "
                f"random, got {width}"
            )
        heat = 1.0 if temperature is None else temperature
        sampling.check_options(heat, top_k, top_p)
        return cls(seed, {"temperature": heat, "top_k": top_k, "top_p": top_p})

    def for_sources(self, numbers: Array) -> Callable[[Array, Array], Array]:
        """Return what `draw` calls, for sources with these numbers."""
        random = [np.random.default_rng(derive(self.seed, int(number))) for number in numbers]

        def choose(logs: Array, rows: Array) -> Array:
            return sampling.sample_each(logs, [random[row] for row in rows], **self.options)

        return choose
