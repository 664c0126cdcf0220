"""Text to token ids."""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import as_array
from lstmcore._suggest import suggests
from lstmcore._typing import Array, Shape, Split, Standardize, choices
from lstmcore.layers.base import Layer

__all__ = ["TextVectorization"]

PADDING, UNKNOWN = "", "[UNK]"

STANDARDIZE: Standardize = "lower_and_strip_punctuation"
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class TextVectorization(Layer):
    """Split texts into tokens and number them: 0 is padding, 1 an unknown token "[UNK]".

    The first layer of a model that takes strings; its vocabulary is saved with the model.

    Parameters
    ----------
    max_tokens : int, optional
        Most entries of the vocabulary, those two included; None: no limit.
    standardize : {"lower_and_strip_punctuation", "lower", "strip_punctuation"} or None
        What happens to a text first. The punctuation is that of ASCII.
    split : {"whitespace", "character"}
        What a token is.
    output_sequence_length : int, optional
        Longer texts are cut to it; a call of the layer pads to it. None: the longest of the batch.
    vocabulary : sequence of str, optional
        The tokens from number 2 on, instead of `adapt`.
    name : str, optional
        See `Layer`.
    trainable : bool, default True
        See `Layer`.
    """

    input_kind = "text"

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: Standardize | None = STANDARDIZE,
        split: Split = "whitespace",
        *,
        output_sequence_length: int | None = None,
        vocabulary: Sequence[str] | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.max_tokens = (
            None if max_tokens is None else _checks.integer(max_tokens, "max_tokens", 3)
        )
        if standardize is not None:
            _checks.choice(standardize, "standardize", choices(Standardize))
        self.standardize = standardize
        self.split = _checks.choice(split, "split", choices(Split))
        self.output_sequence_length = (
            None
            if output_sequence_length is None
            else _checks.integer(output_sequence_length, "output_sequence_length", 1)
        )
        self._vocabulary: list[str] | None = None
        self._numbers: dict[str, int] = {}
        if vocabulary is not None:
            self.set_vocabulary(vocabulary)

    @property
    def vocabulary(self) -> list[str] | None:
        """The tokens from number 2 on; may be set, see `set_vocabulary`. None if there are none."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Sequence[str]) -> None:
        self.set_vocabulary(vocabulary)

    def adapt(self, texts: Iterable[str]) -> None:
        """Learn the vocabulary: the most frequent tokens first, equally frequent ones by name.

        Parameters
        ----------
        texts : iterable of str

        Raises
        ------
        TypeError
            If an entry is not a string.
        ValueError
            If there is no token in them, or one has half of a surrogate pair, which no file can
            hold.
        """
        counts: Counter[str] = Counter()
        for place, text in enumerate(as_texts(texts)):
            counts.update(self.tokens(_checks.text(text, f"texts[{place}]")))
        counts.pop(UNKNOWN, None)
        if not counts:
            raise ValueError("texts: expected at least one token, got none")
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        self.set_vocabulary(ranked[: None if self.max_tokens is None else self.max_tokens - 2])

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Set the tokens from number 2 on; "" and "[UNK]" may precede them.

        Raises
        ------
        TypeError
            If it is not a sequence of strings.
        ValueError
            If tokens are empty or repeated, have half of a surrogate pair, which no file can hold,
            or are more than `max_tokens` allows.
        """
        tokens = None if isinstance(vocabulary, (str, Mapping)) else list(vocabulary)
        if tokens is None or not all(isinstance(token, str) for token in tokens):
            raise TypeError("vocabulary: expected a sequence of strings")
        tokens = [
            _checks.text(str(token), f"vocabulary[{place}]") for place, token in enumerate(tokens)
        ]
        if tokens[:2] == [PADDING, UNKNOWN]:
            tokens = tokens[2:]
        numbers = {token: number for number, token in enumerate(tokens, start=2)}
        if len(numbers) != len(tokens) or PADDING in numbers or UNKNOWN in numbers:
            raise ValueError(
                "vocabulary: expected different tokens, none of them '' or '[UNK]' "
                "(which always stand for 0 and 1)"
            )
        if self.max_tokens is not None and len(tokens) + 2 > self.max_tokens:
            raise ValueError(
                f"vocabulary: expected at most {self.max_tokens - 2} tokens besides '' and '[UNK]' "
                f"(max_tokens={self.max_tokens}), got {len(tokens)}"
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
        return len(self._known()) + 2

    def tokens(self, text: str) -> list[str]:
        """Split one text."""
        if self.standardize in (STANDARDIZE, "lower"):
            text = text.lower()
        if self.standardize in (STANDARDIZE, "strip_punctuation"):
            text = text.translate(_PUNCTUATION)
        return text.split() if self.split == "whitespace" else list(re.sub(r"\s+", " ", text))

    def encode(self, texts: Iterable[str]) -> tuple[Array, Array]:
        """Number the tokens of `texts`.

        Any text will do: half of a surrogate pair is an unknown token, like all others that are
        not in the vocabulary.

        Returns
        -------
        ids : ndarray of int64, shape (sum of lengths,)
            Of all texts, end to end.
        lengths : ndarray of int64, shape (N,)
            Tokens of each text.

        Raises
        ------
        TypeError
            If an entry is not a string.
        ValueError
            If there is no vocabulary yet.
        """
        self._known()
        find, limit = self._numbers.get, self.output_sequence_length
        rows = [[find(token, 1) for token in self.tokens(text)[:limit]] for text in as_texts(texts)]
        ids = [number for row in rows for number in row]
        return np.array(ids, dtype=np.int64), np.array([len(row) for row in rows], dtype=np.int64)

    @suggests
    def __call__(self, inputs: Iterable[str]) -> Array:  # type: ignore[override]
        """Number the tokens of texts.

        Parameters
        ----------
        inputs : sequence of str
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


def as_texts(texts: Any) -> list[str]:
    """Return `texts` as a list of str.

    Raises
    ------
    TypeError
        If it is a single string or an entry is not a string.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts: expected a sequence of strings, got a single one; put it in a list")
    texts = as_array(texts, "texts")
    if isinstance(texts, np.ndarray):
        if texts.ndim == 2 and texts.shape[1] == 1:
            texts = texts[:, 0]
        if texts.ndim != 1:
            raise ValueError(f"texts: expected shape (N,), got {texts.shape}")
        texts = texts.tolist()
    if not isinstance(texts, Iterable):
        raise TypeError(f"texts: expected a sequence of strings, got {_checks.describe(texts)}")
    result = list(texts)
    for place, text in enumerate(result):
        if not isinstance(text, str):
            raise TypeError(f"texts: expected strings, got {_checks.describe(text)} at {place}")
    return result
