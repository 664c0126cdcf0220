"""Attributions of an `EncoderDecoder`: what of the source a target follows from."""

import copy
from typing import Any, cast

import numpy as np

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.explain.network import Network, Side, make_still, same_outputs, steps_of
from lstmcore.explain.samples import tokens_of
from lstmcore.models import EncoderDecoder
from lstmcore.models.encoder_decoder.network import Coder, Context, weights_of
from lstmcore.models.encoder_decoder.pairs import Pair, pair_of, target_rows
from lstmcore.models.encoder_decoder.search import log_softmax
from lstmcore.models.encoder_decoder.words import CopiedSources
from lstmcore.training.data import Ragged

__all__ = ["Pairs"]


class Pairs(Network):
    """Sources and targets: from the numbers that the encoder reads to a log-probability.

    Parameters
    ----------
    model : EncoderDecoder
    x : object
        Sources, as in `predict`.
    y : object
        Targets, as in `fit`; None: what the model decodes greedily.

    Attributes
    ----------
    coder : Coder
        The model's layers, copied, frozen and without dropout; its encoder reads vectors.
    pair : Pair
        All rows, with vectors as their sources.
    ends : ndarray of int64, shape (N,)
        Steps of the decoder: those of each target, and the end token.
    target_tokens : list of (list of str or None)
        The tokens of each target, as far as their texts are known.
    """

    coder: Coder

    def __init__(self, model: EncoderDecoder, x: Any, y: Any) -> None:
        sources, given, labels = _rows_of(model, x, y)
        if not len(sources):
            raise ValueError("x: expected at least one sample, got none")
        whole = pair_of(sources, given)
        own = copy.deepcopy(model)
        for layer in [*own.layers, own._coder.dropout]:
            make_still(layer)
        own._follow_trainable()
        self.coder, self._kind = own._coder, model._source.kind
        vectors, lengths = whole.source, whole.source_lengths
        if self.coder.encoder.embedding is not None:
            vectors, _, _ = self.coder.encoder.embedding.forward(vectors, lengths, False, 0)
            self.coder.encoder.embedding = None  # so that it reads vectors
        self.pair = whole._replace(source=vectors)
        self.ends, self._labels = given.lengths, labels.padded()
        of_ids, flat = self._kind == "ids", self._kind == "vector"
        counts = [int(count) for count in lengths]
        tokens = tokens_of(model.source, x, counts, markers=False)
        values = [vectors[:, 0] if flat else vectors]
        self.sides = [Side("x", values, of_ids, None if flat else counts, None, tokens)]
        self.rows = np.arange(len(vectors))
        self.target_tokens = _target_tokens(model, labels, sources)
        expected = model.forward(whole, self.ends, False, 0, True)[0]
        found, _ = self._forward(self.values, self.rows, training=True)
        steps = np.arange(expected.shape[1]) < self.ends[:, None]
        same_outputs(found[steps], expected[steps])

    def choose(self, target: int | None, step: int | None) -> None:
        """Choose what is explained: the whole target, or a token of one of its steps."""
        steps = np.arange(self._labels.shape[1])
        self._tokens = self._labels
        if step is None:
            if target is not None:
                raise ValueError(
                    "target: expected None without step, which says whose token it is, got "
                    f"{target}"
                )
            self._counts = steps < self.ends[:, None]
            self.target = [None] * len(self.rows)
        else:
            places = steps_of(_checks.integer(step, "step"), self.ends)
            self._counts = steps == places[:, None]
            if target is not None:
                chosen, size = _checks.integer(target, "target", 0), self._size
                if chosen >= size:
                    raise ValueError(f"target: expected 0 to {size - 1}, got {chosen}")
                self._tokens = np.full_like(self._labels, chosen)
            self.target = [int(token) for token in self._tokens[self.rows, places]]
        self.output = self.outputs(self.values, self.rows)

    @property
    def _size(self) -> int:
        copies = self.pair.copies
        return self.coder.target.input_dim + (0 if copies is None else copies.extra)

    def attention(self) -> Array:
        """Return the weight of each step of the source at each step of the decoder, (N, S, T)."""
        _, context = self._forward(self.values, self.rows, training=True)
        assert context is not None
        return weights_of(context.decoder.looks)

    def _forward(
        self, values: list[Array], rows: Array, *, training: bool
    ) -> tuple[Array, Context | None]:
        """Return the scores of all tokens at all steps, (M, S, V), and a context."""
        source = values[0][:, None] if self._kind == "vector" else values[0]
        copies = self.pair.copies
        pair = Pair(
            np.ascontiguousarray(source, self.pair.source.dtype),
            self.pair.source_lengths[rows],
            self.pair.given[rows],
            None if copies is None else copies.rows(rows),
        )
        return self.coder.forward(pair, self.ends[rows], training, 0, True, 0.0, ())

    def _compute(self, values: list[Array], rows: Array) -> Array:
        scores, _ = self._forward(values, rows, training=False)
        picked = np.take_along_axis(log_softmax(scores), self._tokens[rows][..., None], 2)[..., 0]
        return np.asarray(np.where(self._counts[rows], picked, 0).sum(axis=1))

    def _slopes(self, values: list[Array], rows: Array) -> list[Array]:
        scores, context = self._forward(values, rows, training=True)
        gradient = -np.exp(log_softmax(scores))
        first, steps = np.indices(gradient.shape[:2])
        gradient[first, steps, self._tokens[rows]] += 1
        gradient *= self._counts[rows][..., None]
        assert context is not None
        slope = self.coder.backward(context, gradient.astype(scores.dtype), need_source=True)
        assert slope is not None
        return [slope[:, 0] if self._kind == "vector" else slope]


def _rows_of(model: EncoderDecoder, x: Any, y: Any) -> tuple[Ragged, Ragged, Ragged]:
    """Return sources, what the decoder reads, and what it should say."""
    if y is not None:
        sources, (given, labels) = model._pairs(x, y)
        return sources, given, labels
    sources = model._source_rows(x)
    decoded = model.decode(cast(Any, sources), 1) if len(sources) else []
    found = [one[0].tokens for one in decoded]
    lengths = np.array([len(row) for row in found], np.int64)
    tokens = np.concatenate([np.zeros(0, np.int64), *found])
    _, start, end = model._target.known
    return sources, *target_rows(Ragged(tokens, lengths), "y", start, end)


def _target_tokens(
    model: EncoderDecoder, labels: Ragged, sources: Ragged
) -> list[list[str] | None]:
    """Return the texts of the tokens of each target, without the end token."""
    known = model.target_tokens
    if known is None:
        return [None] * len(labels)
    words: Any = sources.words if isinstance(sources, CopiedSources) else [{}] * len(labels)
    size = model._target.known[0]
    found: list[list[str] | None] = []
    for start, length, own in zip(labels.starts, labels.lengths, words, strict=True):
        spelled = dict(zip(own.values(), own, strict=True))
        row = labels.values[start : start + length - 1]
        found.append([spelled[int(id)] if id >= size else known[int(id)] for id in row])
    return found
