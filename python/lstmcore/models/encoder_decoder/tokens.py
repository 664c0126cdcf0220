"""The texts of target ids, and which ids the decoder never outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._suggest import did_you_mean
from lstmcore.layers.text import UNKNOWN
from lstmcore.models.encoder_decoder.pairs import PADDING

__all__ = ["forbidden_ids", "token_texts"]


def token_texts(tokens: Any, vocabulary: int, start: int, end: int) -> list[str]:
    """Return the texts of the first ids of a vocabulary as a list.

    Only the start and the end token, as the last ids, may have none.

    Raises
    ------
    TypeError
        If they are not a sequence of strings.
    ValueError
        If a text appears twice or cannot be stored in a file, or there is not one for each id.
    """
    if isinstance(tokens, (str, bytes)):
        raise TypeError(f"target_tokens: expected a sequence of strings, got {tokens!r}")
    texts = list(tokens)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"target_tokens: expected strings, got {_checks.describe(text)} at {place}"
            )
        _checks.text(text, f"target_tokens[{place}]")
    least = vocabulary
    while least - 1 in (start, end):
        least -= 1
    if not least <= len(texts) <= vocabulary:
        count = str(vocabulary) if least == vocabulary else f"{least} to {vocabulary}"
        beside = "" if least == vocabulary else "; a start or end token with the last id needs none"
        raise ValueError(
            f"target_tokens: expected {count} texts, one for each id of the target's "
            f"vocabulary{beside}, got {len(texts)}"
        )
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise ValueError(f"target_tokens: expected different strings, got {twice!r} twice")
    return texts


def forbidden_ids(
    forbidden: Any, texts: Sequence[str] | None, vocabulary: int, start: int, end: int
) -> tuple[int, ...]:
    """Return the ids of all tokens that the decoder never outputs.

    Parameters
    ----------
    forbidden : int, str, sequence of int or str, or None
        As in `EncoderDecoder.decode`.
    texts : sequence of str, or None
        Of the ids, from 0.
    vocabulary, start, end : int
        As in `EncoderDecoder`.

    Raises
    ------
    TypeError
        If an entry is neither an id nor a text.
    ValueError
        If there is no such token, it is the end token, or no other token is left.
    """
    if forbidden is None:
        forbidden = [UNKNOWN] if texts is not None and UNKNOWN in texts else []
    elif isinstance(forbidden, (int, np.integer, str)):
        forbidden = [forbidden]
    elif not isinstance(forbidden, (Sequence, set, frozenset, np.ndarray)):
        raise TypeError(
            f"forbidden: expected ids or texts of tokens, got {_checks.describe(forbidden)}"
        )
    found = {PADDING, start}
    for entry in forbidden:
        number = (
            _number(entry, texts)
            if isinstance(entry, str)
            else _checks.integer(entry, "forbidden", 0)
        )
        if number >= vocabulary:
            raise ValueError(f"forbidden: expected ids in 0..{vocabulary - 1}, got {number}")
        if number == end:
            raise ValueError(
                f"forbidden: expected tokens other than the end token, {end}, without which "
                "no output ends; max_length limits the length"
            )
        found.add(number)
    if len(found) == vocabulary - 1:
        raise ValueError("forbidden: expected to leave a token besides the end token, got all")
    return tuple(sorted(found))


def _number(text: str, texts: Sequence[str] | None) -> int:
    if texts is None:
        raise ValueError(
            f"forbidden: expected ids, since the model does not know what they stand for, got "
            f"{text!r}; set model.target_tokens to name tokens by their texts"
        )
    if text not in texts:
        hint = did_you_mean(text, texts)
        raise ValueError(f"forbidden: expected a text of target_tokens, got {text!r}{hint}")
    return texts.index(text)
