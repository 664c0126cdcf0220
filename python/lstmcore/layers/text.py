"""Text to token ids, and back."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lstmcore import _checks
from lstmcore._suggest import suggests
from lstmcore._typing import (
    Array,
    ArrayLike,
    Shape,
    Split,
    Standardize,
    SubwordSplit,
    choices,
)
from lstmcore.layers.base import Layer
from lstmcore.layers.subwords import Subwords, Tokenizer, is_tokenizer
from lstmcore.layers.texts import PLAIN_SPLITS, as_texts, id_rows, standardized

__all__ = ["TextVectorization"]

PADDING, UNKNOWN = "", "[UNK]"
FIRST = 2  # the number after those of padding and unknown tokens

STANDARDIZE: Standardize = "lower_and_strip_unicode_punctuation"


class TextVectorization(Layer):
    """Split texts into tokens and number them; `decode` turns numbers into texts again.

    The first layer of a model that takes strings; its vocabulary is saved with the model. Number 0
    is padding, 1 an unknown token "[UNK]"; then come `start` and `end`, if there are any, then the
    tokens.

    Parameters
    ----------
    max_tokens : int, optional
        Most entries of the vocabulary, padding and the unknown token included; None: no limit.
    standardize : str or None
        What happens to a text before it is split: "lower_and_strip_unicode_punctuation", "lower",
        "strip_unicode_punctuation", or, without "unicode", "lower_and_strip_punctuation" and
        "strip_punctuation". Those remove what ASCII calls punctuation, as Keras does, and the
        others also every character of Unicode's categories P, such as quotation marks, dashes and
        the full stops of other scripts. None: nothing.
    split : {"whitespace", "character", "raw_character", "bpe", "unigram"} or Tokenizer
        What a token is: a word; a character, where several white-space characters in a row count
        as one space; a character just as it is, so that lines and indents come back; or a subword,
        by byte-pair encoding or a unigram model, of which `adapt` learns `max_tokens`. Subwords
        need the package ``tokenizers``. A `tokenizers.Tokenizer` is used as it is, with
        ``standardize=None``. Later changes of it have no effect. A model file holds the contents
        of the tokenizer's own file.
    output_sequence_length : int, optional
        Longer texts are cut to it, markers included; a call of the layer pads to it. None: the
        longest of the batch.
    vocabulary : sequence of str, optional
        The tokens from number 2 on, instead of `adapt`.
    start, end : str, optional
        Markers such as "[START]" and "[END]" that are put before and after every text, for models
        that generate texts. They have the first numbers of the vocabulary: see `start_id` and
        `end_id`. None: no marker.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.

    Notes
    -----
    A text may also be a list of tokens, which is neither standardized nor split. An empty text has
    no tokens, only its markers. A token that is not in the vocabulary has the number 1; a text that
    holds "[UNK]" or a marker as one of its tokens gets that token's number.
    """

    input_kind = "text"
    _left_out_if_none: ClassVar[tuple[str, ...]] = ("start", "end")

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Standardize | None = STANDARDIZE,
        split: Split | Tokenizer | Subwords = "whitespace",
        *,
        output_sequence_length: int | None = None,
        vocabulary: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.start, self.end = _marker(start, "start"), _marker(end, "end")
        if start is not None and start == end:
            raise ValueError(f"end: expected another text than start, got {end!r} for both")
        self._markers = [marker for marker in (self.start, self.end) if marker is not None]
        self.max_tokens = (
            None
            if max_tokens is None
            else _checks.integer(max_tokens, "max_tokens", FIRST + len(self._markers) + 1)
        )
        if standardize is not None:
            _checks.choice(standardize, "standardize", choices(Standardize))
        self.standardize = standardize
        self.split = self._checked_split(split)
        self.output_sequence_length = (
            None
            if output_sequence_length is None
            else _checks.integer(
                output_sequence_length, "output_sequence_length", len(self._markers) + 1
            )
        )
        self._vocabulary: list[str] | None = None
        self._numbers: dict[str, int] = {}
        if isinstance(self.split, Subwords):
            if self.split.contents is not None:
                self._set_tokens(self.split.vocabulary())
            if vocabulary is not None and list(vocabulary) != self._vocabulary:
                raise ValueError("vocabulary: expected None with subwords; a tokenizer has its own")
        elif vocabulary is not None:
            self.set_vocabulary(vocabulary)

    def _checked_split(self, split: Any) -> "str | Subwords":
        """Return `split`, where subwords are an object of their own."""
        if is_tokenizer(split):
            split = Subwords(contents=split.to_str())
        elif isinstance(split, Mapping):  # as in a configuration
            split = Subwords(**split)
        if isinstance(split, Subwords):
            if split.algorithm is None and self.standardize is not None:
                raise ValueError(
                    "standardize: expected None with a tokenizer, which normalizes texts itself, "
                    f"got {self.standardize!r}"
                )
        elif split not in choices(SubwordSplit):
            return _checks.choice(split, "split", choices(Split))
        subwords = split if isinstance(split, Subwords) else Subwords(split)
        if subwords.contents is None and self.max_tokens is None:
            raise ValueError(
                "max_tokens: expected how many subwords to learn with "
                f"split={subwords.algorithm!r}, got None"
            )
        return subwords

    @property
    def vocabulary(self) -> list[str] | None:
        """The tokens from number 2 on; may be set, see `set_vocabulary`. None if there are none."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Sequence[str]) -> None:
        self.set_vocabulary(vocabulary)

    @property
    def start_id(self) -> int | None:
        """The number of the marker `start`: 2. None without it."""
        return None if self.start is None else FIRST

    @property
    def end_id(self) -> int | None:
        """The number of the marker `end`: the one after that of `start`. None without it."""
        return None if self.end is None else FIRST + len(self._markers) - 1

    def adapt(self, texts: Iterable[str] | Iterable[Sequence[str]]) -> None:
        """Learn the vocabulary: the most frequent tokens first, equally frequent ones by name.

        Parameters
        ----------
        texts : iterable of str, or of sequences of str
            Such as an open file, whose texts are its lines.

        Raises
        ------
        TypeError
            If an entry is neither a string nor a list of strings.
        ValueError
            If there is no token in them, one has half of a surrogate pair, which no file can hold,
            or the layer was made with a tokenizer of its own.
        """
        found = as_texts(texts)
        for place, text in enumerate(found):
            for part in [text] if isinstance(text, str) else text:
                _checks.text(part, f"texts[{place}]")
        room = None if self.max_tokens is None else self.max_tokens - FIRST - len(self._markers)
        if isinstance(self.split, Subwords):
            self._train(found, room)
            return
        counts: Counter[str] = Counter()
        for text in found:
            counts.update(self.tokens(text))
        for known in (UNKNOWN, *self._markers):
            counts.pop(known, None)
        if not counts:
            raise ValueError("texts: expected at least one token, got none")
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        self.set_vocabulary(ranked[:room])

    def _train(self, texts: "list[str | list[str]]", room: int | None) -> None:
        """Learn subwords from texts; lists of tokens have none."""
        assert isinstance(self.split, Subwords)
        if self.split.algorithm is None or room is None:
            raise ValueError("adapt: the tokenizer has its vocabulary already")
        plain = (standardized(text, self.standardize) for text in texts if isinstance(text, str))
        self.split.train(plain, room)
        self._set_tokens(self.split.vocabulary())

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Set the tokens after the markers; "" and "[UNK]", and then the markers, may precede them.

        Raises
        ------
        TypeError
            If it is not a sequence of strings.
        ValueError
            If tokens are empty or repeated, have half of a surrogate pair, which no file can hold,
            or are more than `max_tokens` allows; or if tokens are subwords.
        """
        if isinstance(self.split, Subwords):
            raise ValueError("set_vocabulary: not for subwords; a tokenizer has its own vocabulary")
        tokens = None if isinstance(vocabulary, (str, Mapping)) else list(vocabulary)
        if tokens is None or not all(isinstance(token, str) for token in tokens):
            raise TypeError("vocabulary: expected a sequence of strings")
        tokens = [
            _checks.text(str(token), f"vocabulary[{place}]") for place, token in enumerate(tokens)
        ]
        if tokens[:FIRST] == [PADDING, UNKNOWN]:
            tokens = tokens[FIRST:]
        self._set_tokens(tokens)

    def _set_tokens(self, tokens: list[str]) -> None:
        """Number checked tokens."""
        if isinstance(self.split, Subwords):  # which may have the markers among its tokens
            tokens = [token for token in tokens if token not in self._markers]
        if tokens[: len(self._markers)] != self._markers:
            tokens = [*self._markers, *tokens]
        numbers = {token: number for number, token in enumerate(tokens, start=FIRST)}
        if len(numbers) != len(tokens) or PADDING in numbers or UNKNOWN in numbers:
            also = "".join(f" or {marker!r}" for marker in self._markers)
            raise ValueError(
                f"vocabulary: expected different tokens, none of them '' or '[UNK]'{also} "
                "(which always stand for the first numbers)"
            )
        if self.max_tokens is not None and len(tokens) + FIRST > self.max_tokens:
            raise ValueError(
                f"vocabulary: expected at most {self.max_tokens - FIRST} tokens besides '' and "
                f"'[UNK]' (max_tokens={self.max_tokens}), got {len(tokens)}"
            )
        self._vocabulary, self._numbers = tokens, numbers

    def get_vocabulary(self) -> list[str]:
        """List all tokens by number, "" and "[UNK]" first.

        Raises
        ------
        ValueError
            If there is none yet.
        """
        return [PADDING, UNKNOWN, *self._known()]

    def vocabulary_size(self) -> int:
        """Count the entries of `get_vocabulary`: the `input_dim` of an `Embedding`."""
        return len(self._known()) + FIRST

    def tokens(self, text: str | Sequence[str]) -> list[str]:
        """Split one text, without markers; a list of tokens is returned as it is."""
        if not isinstance(text, str):
            return list(text)
        text = standardized(text, self.standardize)
        if isinstance(self.split, Subwords):
            return self.split.split(text)
        return PLAIN_SPLITS[self.split][0](text)

    def encode(
        self, texts: Iterable[str] | Iterable[Sequence[str]], *, markers: bool = True
    ) -> tuple[Array, Array]:
        """Number the tokens of `texts`.

        Any text will do: half of a surrogate pair is an unknown token, like all others that are
        not in the vocabulary.

        Parameters
        ----------
        texts : iterable of str, or of sequences of str
        markers : bool, default True
            Whether `start` and `end` are put around each text.

        Returns
        -------
        ids : ndarray of int64, shape (sum of lengths,)
            Of all texts, end to end.
        lengths : ndarray of int64, shape (N,)
            Tokens of each text, markers included.

        Raises
        ------
        TypeError
            If an entry is neither a string nor a list of strings.
        ValueError
            If there is no vocabulary yet.
        """
        self._known()
        find, limit = self._numbers.get, self.output_sequence_length
        before, after = [], []
        if _checks.flag(markers, "markers"):
            before = [self.start_id] if self.start_id is not None else []
            after = [self.end_id] if self.end_id is not None else []
        if limit is not None:
            limit -= len(before) + len(after)
        rows = [
            [*before, *(find(token, 1) for token in self.tokens(text)[:limit]), *after]
            for text in as_texts(texts)
        ]
        ids = [number for row in rows for number in row]
        return np.array(ids, dtype=np.int64), np.array([len(row) for row in rows], dtype=np.int64)

    def decode(self, ids: ArrayLike) -> list[str]:
        """Turn numbers into texts: the inverse of `encode`, up to what `standardize` has removed.

        Words are joined by a space, characters by nothing, subwords by their tokenizer's decoder.
        Padding and `start` are left out, and
        `end` ends a text. An unknown token becomes "[UNK]".

        Parameters
        ----------
        ids : array_like of int, shape (N, T), or list of (T_i,)
            Such as `EncoderDecoder.predict` returns.

        Returns
        -------
        list of str
            N texts.

        Raises
        ------
        TypeError
            If they are not integers.
        ValueError
            If they are not rows, a number is not in the vocabulary, or there is none yet.
        """
        known = self.get_vocabulary()
        texts = []
        for row in id_rows(ids, len(known)):
            if self.end_id is not None and (ends := np.flatnonzero(row == self.end_id)).size:
                row = row[: ends[0]]
            spoken = [known[number] for number in row if number not in (0, self.start_id)]
            texts.append(self._join(spoken))
        return texts

    def _join(self, tokens: list[str]) -> str:
        if isinstance(self.split, Subwords):
            return self.split.join(tokens)
        return PLAIN_SPLITS[self.split][1].join(tokens)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal layer; subwords are in those of `split`."""
        config = super().get_config()
        if isinstance(self.split, Subwords):
            config.update(vocabulary=None, split=self.split.get_config())
        return config

    @suggests
    def __call__(  # type: ignore[override]
        self, inputs: Iterable[str] | Iterable[Sequence[str]]
    ) -> Array:
        """Number the tokens of texts.

        Parameters
        ----------
        inputs : sequence of str, or of sequences of str
            N texts.

        Returns
        -------
        ndarray of int64, shape (N, T)
            Padded with 0; T is `output_sequence_length`, or the longest text's number of tokens.
        """
        ids, lengths = self.encode(inputs)
        steps = self.output_sequence_length or int(lengths.max(initial=0))
        padded = np.zeros((len(lengths), steps), dtype=np.int64)
        padded[np.arange(steps) < lengths[:, None]] = ids
        return padded

    def build(self, input_shape: Shape) -> Shape:
        """Give the shape of the ids, (N, T)."""
        return (None, None)

    def _known(self) -> list[str]:
        if self._vocabulary is None:
            raise ValueError("TextVectorization: no vocabulary yet; call adapt(texts) first")
        return self._vocabulary


def _marker(marker: str | None, name: str) -> str | None:
    """Return a marker, which must be a token of its own."""
    if marker is None:
        return None
    _checks.instance(marker, str, name, "a str such as '[START]', or None")
    if marker in (PADDING, UNKNOWN):
        raise ValueError(f"{name}: expected a token other than '' and '[UNK]', got {marker!r}")
    return _checks.text(marker, name)
