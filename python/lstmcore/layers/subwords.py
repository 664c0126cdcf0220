"""Subword tokens by the package tokenizers: byte-pair encoding and unigram models."""

import json
from collections.abc import Iterable
from typing import Any, Protocol

from lstmcore import _checks
from lstmcore._configurable import Configurable
from lstmcore._extras import how_to_install
from lstmcore._typing import SubwordSplit, choices

__all__ = ["Subwords", "Tokenizer", "is_tokenizer"]


class Subwords(Configurable):
    """A tokenizer of the package ``tokenizers``, stored as the contents of its file.

    Parameters
    ----------
    algorithm : {"bpe", "unigram"}, optional
        What `train` learns: byte-pair encoding (Sennrich, Haddow & Birch 2016), or a unigram
        language model of subwords (Kudo 2018). None for a tokenizer that was made elsewhere.
    contents : str, optional
        The contents of the tokenizer's file, JSON; None until `train`.
    """

    def __init__(self, algorithm: SubwordSplit | None = None, contents: str | None = None) -> None:
        if algorithm is not None:
            _checks.choice(algorithm, "algorithm", choices(SubwordSplit))
        elif contents is None:
            raise ValueError("contents: expected those of a tokenizer's file, got None")
        self.algorithm = algorithm
        self._contents: str | None = None
        self._tokenizer: Any = None
        if contents is not None:
            _checks.instance(contents, str, "contents", "a str, the contents of a tokenizer's file")
            self._contents, self._tokenizer = contents, _read(contents)

    @property
    def contents(self) -> str | None:
        """The contents of the tokenizer's file, JSON; None until it is trained."""
        return self._contents

    def train(self, texts: Iterable[str], size: int) -> None:
        """Learn a tokenizer of `size` tokens at most, the unknown token not counted.

        Spaces are part of the tokens: each word begins with the space before it.

        Raises
        ------
        ImportError
            If the package tokenizers is not installed.
        ValueError
            If there is no token in `texts`.
        """
        package = _import()
        common = {"vocab_size": size + 1, "special_tokens": [_UNKNOWN], "show_progress": False}
        if self.algorithm == "bpe":
            tokenizer = package.Tokenizer(package.models.BPE(unk_token=_UNKNOWN))
            trainer = package.trainers.BpeTrainer(**common)
        else:
            tokenizer = package.Tokenizer(package.models.Unigram())
            trainer = package.trainers.UnigramTrainer(unk_token=_UNKNOWN, **common)
        tokenizer.pre_tokenizer = package.pre_tokenizers.Metaspace()
        tokenizer.decoder = package.decoders.Metaspace()
        found = [text for text in texts if text]
        if found:  # or training a unigram model does not return
            tokenizer.train_from_iterator(found, trainer)
        if tokenizer.get_vocab_size() < 2:
            raise ValueError("texts: expected at least one token, got none")
        contents = tokenizer.to_str()
        self._contents, self._tokenizer = contents, _read(contents)

    @property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer`.

        Raises
        ------
        ValueError
            If it is not trained yet.
        """
        if self._tokenizer is None:
            raise ValueError("TextVectorization: no vocabulary yet; call adapt(texts) first")
        return self._tokenizer

    def vocabulary(self) -> list[str]:
        """List the tokens by the tokenizer's numbers, without padding and the unknown token."""
        assert self._contents is not None
        left_out = _reserved(json.loads(self._contents))
        numbers = self.tokenizer.get_vocab(with_added_tokens=True)
        return [token for token in sorted(numbers, key=numbers.get) if token not in left_out]

    def split(self, text: str) -> list[str]:
        """Divide a text into tokens; what the tokenizer does not know stays as it is.

        Or it becomes the unknown token of the tokenizer's model, where that has one.
        """
        return list(self._encoding(text).tokens)

    def spelled(self, text: str) -> list[str]:
        """Return the tokens of `split`, unknown ones as they are in the text."""
        assert self._contents is not None
        unknown = _reserved(json.loads(self._contents))
        found = self._encoding(text)
        return [
            text[begin:end] if token in unknown else token
            for token, (begin, end) in zip(found.tokens, found.offsets, strict=True)
        ]

    def _encoding(self, text: str) -> Any:
        if not text.isascii():  # half of a surrogate pair becomes a character that UTF-8 can hold
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self.tokenizer.encode(text, add_special_tokens=False)

    def join(self, tokens: list[str]) -> str:
        """Join tokens to a text, as the tokenizer's decoder does."""
        decoder = self.tokenizer.decoder
        return " ".join(tokens) if decoder is None else str(decoder.decode(tokens))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tokenizer": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._contents is not None:
            self._tokenizer = _read(self._contents)

    def __repr__(self) -> str:
        what = [] if self.algorithm is None else [repr(self.algorithm)]
        if self._tokenizer is not None:
            what.append(f"{self._tokenizer.get_vocab_size():,} tokens")
        return f"Subwords({', '.join(what)})"


_UNKNOWN = "[UNK]"


class Tokenizer(Protocol):
    """A `tokenizers.Tokenizer`, for type checkers without that package."""

    def to_str(self, pretty: bool = ...) -> str:
        """Return the contents of its file."""


def is_tokenizer(value: Any) -> bool:
    """Return whether `value` is a `tokenizers.Tokenizer`."""
    kind = type(value)
    return kind.__name__ == "Tokenizer" and kind.__module__.split(".")[0] == "tokenizers"


def _import() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            f"subword tokens need the package tokenizers: {how_to_install('text')}"
        ) from error
    return tokenizers


def _read(contents: str) -> Any:
    """Make a tokenizer of the contents of a file; it neither pads nor cuts texts."""
    package = _import()
    try:
        tokenizer = package.Tokenizer.from_str(contents)
    except Exception as error:  # the package raises nothing more specific
        raise ValueError(f"contents: expected those of a tokenizer's file: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _reserved(document: dict[str, Any]) -> set[str]:
    """Return the tokens of a tokenizer's file that stand for padding and what is unknown."""
    model = document["model"]
    unknown = model.get("unk_token")
    if (place := model.get("unk_id")) is not None:  # of a unigram model
        unknown = model["vocab"][place][0]
    padding = (document.get("padding") or {}).get("pad_token")
    return {token for token in (unknown, padding) if token is not None}
