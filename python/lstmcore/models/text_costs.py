"""What tokens leave out of a text, which figures for each character have to count."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstmcore.layers import TextVectorization
from lstmcore.layers.subwords import Subwords
from lstmcore.layers.texts import standardized

__all__ = ["SPELLING_BITS", "Spelling", "spelling"]

SPELLING_BITS = math.log2(2 * 0x110000)
"""For each character of an unknown token: its code point in Unicode, and whether it is the last."""


class Spelling(NamedTuple):
    """Counts of characters of texts."""

    characters: int
    unknown: int
    """Those in tokens that are not in the vocabulary."""


def spelling(
    words: TextVectorization, texts: Sequence[str | list[str]], names: Sequence[str]
) -> Spelling:
    """Count the characters of texts, and those that the token ids do not tell.

    Parameters
    ----------
    words : TextVectorization
    texts : sequence of str or of list of str
    names : sequence of str
        Of the texts, for errors.

    Raises
    ------
    ValueError
        If a text does not follow from its tokens, unknown ones spelled out: because `words`
        standardizes it or drops white space, or because it holds a marker.
    """
    characters = unknown = 0
    for text, name in zip(texts, names, strict=True):
        tokens, spelled = words.tokens(text), _spelled(words, text)
        if isinstance(text, str):
            _check_reproduced(words._join(spelled), text, name)
        markers = {words.start, words.end} - {None}
        if found := markers.intersection(tokens):
            raise ValueError(
                f"{name}: expected no token like the marker {found.pop()!r}, since its characters "
                "are counted; choose other markers, or compare by perplexity"
            )
        ids, _ = words.encode([tokens], markers=False)
        characters += sum(map(len, text))  # of a list of tokens, too
        unknown += sum(len(spelled[place]) for place in np.flatnonzero(ids == 1))
    return Spelling(characters, unknown)


def _spelled(words: TextVectorization, text: str | list[str]) -> list[str]:
    """Return the tokens of a text, unknown subwords as they are in the text."""
    if isinstance(text, str) and isinstance(words.split, Subwords):
        return words.split.spelled(standardized(text, words.standardize))
    return words.tokens(text)


def _check_reproduced(found: str, text: str, name: str) -> None:
    if found == text:
        return
    pairs = enumerate(zip(found, text, strict=False))
    place = next((at for at, (a, b) in pairs if a != b), min(len(found), len(text)))
    part = slice(max(place - 10, 0), place + 20)
    raise ValueError(
        f"{name}: expected a text that follows from its tokens, since every character is counted, "
        f"but {text[part]!r} becomes {found[part]!r} (character {place}); use standardize=None and "
        "a split that keeps all characters, such as 'raw_character', or compare by perplexity"
    )
