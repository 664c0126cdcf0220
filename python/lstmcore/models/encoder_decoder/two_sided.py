"""What an `EncoderDecoder` knows of its two sides: vocabularies, and data as checked rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lstmcore._intake import Intake
from lstmcore._typing import AttentionKind, Inputs
from lstmcore.layers import TextVectorization
from lstmcore.layers.parameters import WeightSpec
from lstmcore.layers.texts import as_texts
from lstmcore.models.encoder_decoder.network import Coder
from lstmcore.models.encoder_decoder.pairs import PairExamples
from lstmcore.models.encoder_decoder.sides import (
    Source,
    Target,
    check_sides,
    learn_vocabularies,
)
from lstmcore.models.encoder_decoder.tokens import token_texts
from lstmcore.models.encoder_decoder.words import CopiedSources, copied_labels, copied_sources
from lstmcore.models.stored import Stored
from lstmcore.training.data import Ragged, explain_lists
from lstmcore.training.samples import Samples

__all__ = ["TwoSided"]


class TwoSided(Stored):
    """The part of `EncoderDecoder` that turns sources and targets into rows of numbers.

    Parameters
    ----------
    seed, dtype
        As in `EncoderDecoder`, which sets all attributes.
    """

    _coder: Coder
    _source: Source
    _target: Target
    _specs: dict[str, WeightSpec] | None
    _target_tokens: list[str] | None
    source: TextVectorization | None
    target: TextVectorization | None
    attention: AttentionKind | None
    share_embeddings: bool
    copying: bool

    # ---- vocabularies ------------------------------------------------------------------------

    @property
    def source_vocabulary(self) -> int | None:
        """The number of ids of sources; None if they are numbers, or it is not known yet."""
        return self._source.width if self._source.kind == "ids" else None

    @property
    def target_vocabulary(self) -> int | None:
        """The number of ids of targets; None if it is not known yet."""
        return self._target.vocabulary

    @property
    def start(self) -> int | None:
        """The token before each target; None if the vocabulary is not known yet."""
        return self._target.start

    @property
    def end(self) -> int | None:
        """The token after each target; None if the vocabulary is not known yet."""
        return self._target.end

    @property
    def _knows_vocabularies(self) -> bool:
        return self._source.width is not None and self._target.vocabulary is not None

    def adapt(self, x: Inputs | None, y: Inputs | None) -> None:
        """Learn the vocabularies that are not known yet from texts, as the first `fit` does.

        Parameters
        ----------
        x, y : sequence of str, or None
            Sources and targets; each is read only if its side has no vocabulary yet. One
            `TextVectorization` for both sides learns from both.

        Raises
        ------
        TypeError, ValueError
            As `TextVectorization.adapt`, or if all vocabularies are known already.
        """
        if self._knows_vocabularies:
            raise ValueError("adapt: expected a side without a vocabulary, but the model knows all")
        with self._unchanged_on_error():
            self._learn_vocabularies(Samples(x, y))

    def _learn_vocabularies(self, samples: Samples) -> None:
        """Learn the vocabularies that are not known yet; see `Trained._learn_vocabularies`."""
        if self._knows_vocabularies:
            return
        learn_vocabularies(self.source, self.target, samples.x, samples.y)
        self._source, self._target = self._source.adapted(), self._target.adapted()
        self._check_sides()
        self._coder.set_vocabularies(self._source.width or 0, self._target.known[0])
        self._specs = self._coder.plan()

    @contextmanager
    def _unchanged_on_error(self, *others: Any) -> Iterator[None]:
        """Also restore the vocabularies; see `Weighted._unchanged_on_error`."""
        vectorizers = [one for one in (self.source, self.target) if one is not None]
        with super()._unchanged_on_error(*vectorizers, *others):
            yield

    def _check_sides(self) -> None:
        """Raise ValueError if an option needs vocabularies other than those that are known."""
        check_sides(self._source, self._target, self.attention, self.share_embeddings, self.copying)

    @property
    def target_tokens(self) -> list[str] | None:
        """The texts of the target ids, in their order from 0; saved with the model.

        With `target` its vocabulary. If targets are ids, they may be set, for example to
        `get_vocabulary` of the `TextVectorization` that made them: a text for each id, except that
        the start and the end token need none if they are the last ids. None if it was not set.
        `decode` and `predict` accept these texts as `forbidden`, and never output "[UNK]" if it is
        among them.
        """
        if self._target.vectorizer is not None:
            return self._target.spelled()
        return None if self._target_tokens is None else list(self._target_tokens)

    @target_tokens.setter
    def target_tokens(self, tokens: Sequence[str] | None) -> None:
        if tokens is not None and self._target.vectorizer is not None:
            raise ValueError(
                "target_tokens: cannot be set, since target, a TextVectorization, has them"
            )
        self._target_tokens = None if tokens is None else token_texts(tokens, *self._target.known)

    # ---- data --------------------------------------------------------------------------------

    def _source_rows(self, x: Any, intake: Intake | None = None) -> Ragged:
        intake = Intake() if intake is None else intake
        if self.copying and self.source is not None:
            x = as_texts(x, "x")  # which are read twice
        with explain_lists(x):
            rows = self._source.rows(x, self.dtype, intake)
        if not self.copying:
            return rows
        return copied_sources(rows, x, self.source, self.target, self._target.known[0])

    def _pairs(
        self, x: Any, y: Any, intake: Intake | None = None
    ) -> tuple[Ragged, tuple[Ragged, Ragged]]:
        if self.copying and self.target is not None and y is not None:
            y = as_texts(y, "y")
        sources, (given, labels) = self._source_rows(x, intake), self._target.rows(y)
        if len(sources) != len(given):
            raise ValueError(f"y: expected {len(sources)} entries like x, got {len(given)}")
        if isinstance(sources, CopiedSources) and self.target is not None:
            labels = copied_labels(labels, y, sources, self.target)
        return sources, (given, labels)

    def _pair_examples(self, x: Any, y: Any) -> PairExamples:
        """Check pairs without weights, apart from any loss."""
        sources, (given, labels) = self._pairs(x, y)
        return PairExamples(sources, sources.lengths + given.lengths, labels, given=given)
