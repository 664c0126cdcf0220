"""Texts as they are passed in, and what is done to them before they become numbers."""

import re
import string
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import as_array
from lstmcore._typing import Array, Standardize

__all__ = ["PLAIN_SPLITS", "as_texts", "id_rows", "standardized"]

WHITE_SPACE = re.compile(r"\s+")

PLAIN_SPLITS = {
    "whitespace": (str.split, " "),
    "character": (lambda text: list(WHITE_SPACE.sub(" ", text)), ""),
    "raw_character": (list, ""),
}
"""How each `Split` divides a text, and what joins the tokens again."""


class _Unicode(dict[int, int | None]):
    """A table for `str.translate` that removes punctuation, filled as characters come."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code)).startswith("P") else code
        return self[code]


_ASCII = str.maketrans("", "", string.punctuation)  # with symbols such as $ and +
_UNICODE = _Unicode(_ASCII)


def standardized(text: str, how: Standardize | None) -> str:
    """Return `text` in lower case, or without punctuation, or both."""
    if how is None:
        return text
    if how.startswith("lower"):
        text = text.lower()
    if how.endswith("strip_unicode_punctuation"):
        return text.translate(_UNICODE)
    return text.translate(_ASCII) if how.endswith("strip_punctuation") else text


def as_texts(texts: Any, name: str = "texts") -> "list[str | list[str]]":
    """Return `texts` as a list of str, or of lists of str: texts that are already split.

    Raises
    ------
    TypeError
        If it is a single string, or an entry is neither a string nor a list of strings.
    ValueError
        If a token is empty, or it is an array of another shape than (N,) or (N, 1).
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(
            f"{name}: expected a sequence of strings, got a single one; put it in a list"
        )
    texts = as_array(texts, name)
    if isinstance(texts, np.ndarray):
        if texts.ndim == 2 and texts.shape[1] == 1:
            texts = texts[:, 0]
        if texts.ndim != 1:
            raise ValueError(f"{name}: expected shape (N,), got {texts.shape}")
        texts = texts.tolist()
    if not isinstance(texts, Iterable):
        raise TypeError(f"{name}: expected a sequence of strings, got {_checks.describe(texts)}")
    return [_text(text, f"{name}[{place}]") for place, text in enumerate(texts)]


def _text(text: Any, name: str) -> "str | list[str]":
    if isinstance(text, str):
        return text
    tokens = text.tolist() if isinstance(text, np.ndarray) and text.ndim == 1 else text
    if not isinstance(tokens, (list, tuple)):
        raise TypeError(
            f"{name}: expected a string, or a list of strings that are its tokens, "
            f"got {_checks.describe(text)}"
        )
    for place, token in enumerate(tokens):
        if not isinstance(token, str):
            raise TypeError(
                f"{name}[{place}]: expected a string, one token, got {_checks.describe(token)}"
            )
        if not token:
            raise ValueError(f"{name}[{place}]: expected a token, got '', which stands for padding")
    return list(tokens)


def id_rows(ids: Any, size: int) -> list[Array]:
    """Return `ids`, an array (N, T) or a list of rows, as rows of int64.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If they are not rows, or an id is outside 0 .. size - 1.
    """
    rows = ids if isinstance(ids, (list, tuple)) else _checks.any_array(ids, "ids")
    if isinstance(rows, np.ndarray) and rows.ndim == 0:
        raise TypeError(f"ids: expected rows of token ids, got {_checks.describe(ids)}")
    found = []
    for place, entry in enumerate(rows):
        row = _checks.any_array(entry, f"ids[{place}]")
        if row.ndim != 1:
            raise ValueError(
                f"ids: expected rows of token ids, an array (N, T) or a list of rows, got entries "
                f"of shape {row.shape}" + ("; put a single row in a list" if row.ndim == 0 else "")
            )
        row = _checks.integer_array(entry, f"ids[{place}]")
        wrong = (row < 0) | (row >= size)
        if wrong.any():
            raise ValueError(
                f"ids[{place}]: expected numbers of the vocabulary, 0..{size - 1}, "
                f"got {row[wrong][0]}"
            )
        found.append(row)
    return found
