"""The two sides of an `EncoderDecoder`: what it reads and what it writes, as rows of numbers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._typing import Array, AttentionKind, choices
from lstmcore.layers import TextVectorization
from lstmcore.layers.shapes import single_sample
from lstmcore.layers.texts import PLAIN_SPLITS
from lstmcore.models.encoder_decoder.pairs import target_rows, token_rows
from lstmcore.training.data import Ragged, prepare_inputs

__all__ = [
    "NO_VOCABULARY",
    "Source",
    "Target",
    "check_attention",
    "check_sides",
    "learn_vocabularies",
    "make_source",
    "make_target",
]

NO_VOCABULARY = (
    "the model has no vocabulary yet; call adapt(x, y), or fit with texts in memory, or adapt the "
    "TextVectorization before it is passed"
)


@dataclass(frozen=True)
class Source:
    """What the encoder reads.

    Attributes
    ----------
    kind : {"ids", "steps", "vector"}
        Rows of ids or texts; sequences (T, C) of numbers; one vector (C,) of numbers.
    width : int or None
        Size of the vocabulary, or C; None: a vocabulary that is not known yet.
    vectorizer : TextVectorization or None
        Turns texts into ids.
    """

    kind: Literal["ids", "steps", "vector"]
    width: int | None
    vectorizer: TextVectorization | None = None

    @property
    def rank(self) -> int:
        """The number of axes of x for one batch."""
        if self.vectorizer is not None:
            return 1
        return 3 if self.kind == "steps" else 2

    def rows(self, x: Any, dtype: "np.dtype[Any]", intake: Intake) -> Ragged:
        """Check sources and convert them to rows; a vector becomes a row of one step.

        Raises
        ------
        TypeError, ValueError
            If they are not of this kind and width.
        """
        if self.width is None:
            raise ValueError(NO_VOCABULARY)
        if self.vectorizer is not None:
            return encoded(self.vectorizer, x, "x")
        if self.kind == "ids":
            return token_rows(x, "x", self.width)
        rows = prepare_inputs(x, "floats", dtype, "x", intake)
        rank, shape = (3, "(N, T, C)") if self.kind == "steps" else (2, "(N, C)")
        if not isinstance(rows, Ragged) and rows.shape == (0,):
            return Ragged(rows.reshape(0, self.width), np.zeros(0, np.int64))
        if len(rows.shape) != rank or rows.shape[-1] != self.width:
            single = len(rows.shape) == rank - 1 and rows.shape[-1] == self.width
            raise ValueError(
                f"x: expected shape {shape} with C = {self.width}, got {rows.shape}"
                f"{f'; {single_sample()}' if single else ''}"
            )
        if isinstance(rows, Ragged):
            return rows
        steps = rows.shape[1] if self.kind == "steps" else 1
        return Ragged(rows.reshape(-1, self.width), np.full(len(rows), steps, np.int64))

    def adapted(self) -> "Source":
        """Return this source with the size of the vocabulary that its vectorizer knows now."""
        if self.vectorizer is None:
            return self
        return replace(self, width=known_size(self.vectorizer))


@dataclass(frozen=True)
class Target:
    """What the decoder writes: ids, or texts.

    Attributes
    ----------
    vocabulary : int or None
        Its size, start and end token included; None: not known yet.
    start, end : int or None
    vectorizer : TextVectorization or None
        Turns texts into ids and back. Its markers are start and end token; those that it lacks are
        the ids after its own.
    """

    vocabulary: int | None
    start: int | None
    end: int | None
    vectorizer: TextVectorization | None = None

    @property
    def known(self) -> tuple[int, int, int]:
        """Size of the vocabulary, start and end token.

        Raises
        ------
        ValueError
            If they are not known yet.
        """
        if self.vocabulary is None or self.start is None or self.end is None:
            raise ValueError(NO_VOCABULARY)
        return self.vocabulary, self.start, self.end

    def rows(self, y: Any) -> tuple[Ragged, Ragged]:
        """Make the decoder's inputs and labels of targets; see `target_rows`."""
        vocabulary, start, end = self.known
        if y is None:
            raise ValueError("y: expected targets, got None")
        if self.vectorizer is None:
            rows = token_rows(y, "y", vocabulary)
        else:
            rows = encoded(self.vectorizer, y, "y")
        return target_rows(rows, "y", start, end)

    def adapted(self) -> "Target":
        """Return this target with what its vectorizer knows now."""
        if self.vectorizer is None:
            return self
        size = known_size(self.vectorizer)
        if size is None:
            return self
        start, end, count = self.vectorizer.start_id, self.vectorizer.end_id, size
        if start is None:
            start, count = count, count + 1
        if end is None:
            end, count = count, count + 1
        return replace(self, vocabulary=count, start=start, end=end)

    def texts(self, rows: Sequence[Array], words: Sequence[Mapping[str, int]]) -> list[str]:
        """Turn ids without start and end token into texts.

        Parameters
        ----------
        rows : sequence of ndarray of int64
        words : sequence of mapping of str to int
            The words of each row's source that have ids of their own; empty without copying.
        """
        assert self.vectorizer is not None
        if not words:
            return self.vectorizer.decode(list(rows)) if len(rows) else []
        known = self.vectorizer.get_vocabulary()
        join = PLAIN_SPLITS[str(self.vectorizer.split)][1].join
        found = []
        for row, own in zip(rows, words, strict=True):
            spelled = {number: word for word, number in own.items()}
            found.append(join(spelled.get(int(id), known[min(id, len(known) - 1)]) for id in row))
        return found

    def spelled(self) -> list[str] | None:
        """Return the texts of the first ids; None if they are not known."""
        if self.vectorizer is None or self.vocabulary is None:
            return None
        return self.vectorizer.get_vocabulary()


def make_source(
    vocabulary: int | None,
    vectorizer: TextVectorization | None,
    features: int | None,
    vector: int | None,
) -> Source:
    """Check what an `EncoderDecoder` is to read, of which exactly one is given."""
    if vectorizer is not None:
        _checks.instance(vectorizer, TextVectorization, "source", "a TextVectorization")
        source = Source("ids", None, vectorizer).adapted()
        if vocabulary is not None and vocabulary != source.width:
            raise ValueError(
                f"source_vocabulary: expected None with source, which has a vocabulary of its own, "
                f"got {vocabulary}"
            )
        vocabulary = None
    given = {
        "source_vocabulary": vocabulary,
        "source": vectorizer,
        "source_features": features,
        "source_vector": vector,
    }
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise ValueError(
            f"source_vocabulary: expected exactly one of {', '.join(given)}, got "
            f"{' and '.join(chosen) or 'none'}"
        )
    if vectorizer is not None:
        return source
    if vocabulary is not None:
        return Source("ids", _checks.integer(vocabulary, "source_vocabulary", 2))
    if features is not None:
        return Source("steps", _checks.integer(features, "source_features", 1))
    assert vector is not None
    return Source("vector", _checks.integer(vector, "source_vector", 1))


def make_target(
    vocabulary: int | None,
    vectorizer: TextVectorization | None,
    start: int | None,
    end: int | None,
) -> Target:
    """Check what an `EncoderDecoder` is to write: ids, or texts."""
    if vectorizer is not None:
        _checks.instance(vectorizer, TextVectorization, "target", "a TextVectorization")
        target = Target(None, None, None, vectorizer).adapted()
        found = {"target_vocabulary": vocabulary, "start": start, "end": end}
        for (name, value), own in zip(
            found.items(), (target.vocabulary, target.start, target.end), strict=True
        ):
            if value is not None and value != own:
                raise ValueError(
                    f"{name}: expected None with target, whose markers, or else the ids after its "
                    f"vocabulary, are start and end token, got {value}"
                )
        return target
    if vocabulary is None:
        raise ValueError("target_vocabulary: expected it or target, got none")
    vocabulary = _checks.integer(vocabulary, "target_vocabulary", 3)
    first = _special(1 if start is None else start, "start", vocabulary)
    last = _special(2 if end is None else end, "end", vocabulary)
    if first == last:
        raise ValueError(f"end: expected another token than start, got {last} for both")
    return Target(vocabulary, first, last)


def check_attention(attention: Any, kind: str) -> AttentionKind | None:
    """Check the option `attention` for a kind of source, and resolve "auto"."""
    if attention == "auto":
        return None if kind == "vector" else "multiplicative"
    if attention is None:
        return None
    _checks.choice(attention, "attention", (*choices(AttentionKind), "auto"))
    if kind == "vector":
        raise ValueError(
            f"attention: expected None with source_vector, whose sources have no steps to attend "
            f"to, got {attention!r}"
        )
    return cast(AttentionKind, attention)


def check_sides(
    source: Source, target: Target, attention: str | None, share: bool, copying: bool
) -> None:
    """Raise ValueError unless the two vocabularies allow a shared embedding, and copying.

    A vocabulary that is not known yet is checked when it is.
    """
    texts = source.vectorizer is not None, target.vectorizer is not None
    if share and (source.kind != "ids" or texts[0] != texts[1]):
        raise ValueError(
            "share_embeddings: expected False, since source and target do not have one vocabulary, "
            "got True"
        )
    if share and source.vectorizer is not target.vectorizer and not _same_tokens(source, target):
        raise ValueError(
            "share_embeddings: expected source and target to be the same TextVectorization, or two "
            "with equal vocabularies, got two others"
        )
    sizes = source.width, target.vocabulary
    if share and not any(texts) and sizes[0] != sizes[1]:
        raise ValueError(
            f"share_embeddings: expected equal source_vocabulary and target_vocabulary, got "
            f"{sizes[0]} and {sizes[1]}"
        )
    if not copying:
        return
    if attention is None:
        raise ValueError(
            "copying: expected False with attention=None, since it copies what the "
            "decoder attends to, got True"
        )
    if source.kind != "ids" or texts[0] != texts[1]:
        raise ValueError(
            "copying: expected False unless sources and targets are both texts or both ids, got "
            "True"
        )
    for name, one in (("source", source.vectorizer), ("target", target.vectorizer)):
        if one is not None and not (isinstance(one.split, str) and one.split in PLAIN_SPLITS):
            raise ValueError(
                f"copying: expected a {name} that splits texts by {', '.join(PLAIN_SPLITS)}, since "
                f"subwords are not words to copy, got {one.split!r}"
            )
    if not any(texts) and (sizes[0] or 0) > (sizes[1] or 0):
        raise ValueError(
            f"copying: expected ids of one numbering, with a source_vocabulary of at most "
            f"target_vocabulary, {sizes[1]}, got {sizes[0]}"
        )


def _same_tokens(source: Source, target: Target) -> bool:
    one, other = source.vectorizer, target.vectorizer
    if one is None or other is None:
        return one is other
    return one.vocabulary is not None and one.vocabulary == other.vocabulary


def learn_vocabularies(
    source: TextVectorization | None, target: TextVectorization | None, x: Any, y: Any
) -> None:
    """Adapt the vectorizers that have no vocabulary yet to the texts of their sides."""
    sides = {"x": (source, x), "y": (target, y)}
    pending = {
        name: side
        for name, side in sides.items()
        if side[0] is not None and side[0].vocabulary is None
    }
    for name, (_, texts) in pending.items():
        if texts is None:
            raise ValueError(f"{name}: expected texts to learn the vocabulary from, got None")
    if source is target and pending:
        pending = {"x and y": (source, [*x, *y])}
    for name, (vectorizer, texts) in pending.items():
        assert vectorizer is not None
        with named(name):
            vectorizer.adapt(texts)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Let errors about texts name the argument `name`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        text = name + text.removeprefix("texts") if text.startswith("texts") else f"{name}: {text}"
        raise type(error)(text) from error


def encoded(vectorizer: TextVectorization, texts: Any, name: str) -> Ragged:
    """Number the tokens of texts, without markers; errors name the argument `name`."""
    with named(name):
        return Ragged(*vectorizer.encode(texts, markers=False))


def known_size(vectorizer: TextVectorization) -> int | None:
    """Return the size of a vocabulary; None if it is not known yet."""
    return None if vectorizer.vocabulary is None else vectorizer.vocabulary_size()


def _special(token: int, name: str, vocabulary: int) -> int:
    token = _checks.integer(token, name, 1)
    if token >= vocabulary:
        raise ValueError(f"{name}: expected a token in 1..{vocabulary - 1}, got {token}")
    return token
