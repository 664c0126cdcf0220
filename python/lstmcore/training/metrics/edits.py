"""Error rates of texts and of other sequences, from edit distances."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import refuse_masked

__all__ = ["character_error_rate", "edit_distance", "word_error_rate"]

Texts: TypeAlias = str | Iterable[str | Iterable[Any]]
"""A text, or several, each a string or a sequence of its words, characters or labels."""


def edit_distance(y_true: Iterable[Hashable], y_pred: Iterable[Hashable]) -> int:
    """Count the fewest insertions, deletions and substitutions from one sequence to another.

    Parameters
    ----------
    y_true, y_pred : iterable
        Of anything that can be compared and hashed: the characters of a string, words, labels.

    Returns
    -------
    int
        The Levenshtein distance.
    """
    numbers: dict[Any, int] = {}
    first, second = (
        np.array([numbers.setdefault(entry, len(numbers)) for entry in entries], np.int64)
        for entries in (_items(y_true, "y_true"), _items(y_pred, "y_pred"))
    )
    places = np.arange(len(second) + 1)
    row = places  # distances from nothing to the first 0, 1, ... entries of `second`
    for count, entry in enumerate(first, 1):
        best = np.empty_like(row)
        best[0] = count
        np.minimum(row[1:] + 1, row[:-1] + (second != entry), out=best[1:])
        # Insertions: each entry further to the right costs one more than the best before it.
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def word_error_rate(y_true: Texts, y_pred: Texts) -> float:
    """Compute the word error rate (WER) of recognized or translated texts.

    The edits that turn all references into what was recognized, divided by the number of words of
    all references: 0 where all is right, above 1 where much is inserted. It is not the mean of the
    rates of texts.

    Parameters
    ----------
    y_true : str, or sequence of str or of sequences
        References: one text, or several. A string is split into words at whitespace; any other
        sequence has a word in each entry.
    y_pred : str, or sequence of str or of sequences
        What was recognized, in the same order.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If a text is neither a string nor a sequence.
    ValueError
        If there are not as many texts as references, or references have no word at all.
    """
    return _rate(y_true, y_pred, str.split, "word")


def character_error_rate(y_true: Texts, y_pred: Texts) -> float:
    """Compute the character error rate (CER) of recognized texts.

    As `word_error_rate`, with the characters of strings, spaces included, instead of their words.
    For sequences of labels, as `lstmcore.decoding` returns them, this is the label error rate.

    Parameters
    ----------
    y_true, y_pred : str, or sequence of str or of sequences
        References, and what was recognized.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As in `word_error_rate`.
    """
    return _rate(y_true, y_pred, list, "character")


def _rate(y_true: Texts, y_pred: Texts, divide: Callable[[str], list[str]], unit: str) -> float:
    references, found = _texts(y_true, "y_true"), _texts(y_pred, "y_pred")
    if len(references) != len(found):
        raise ValueError(f"y_pred: expected {len(references)} texts like y_true, got {len(found)}")
    edits = total = 0
    for place, (reference, text) in enumerate(zip(references, found, strict=True)):
        wanted = _divided(reference, divide, f"y_true[{place}]")
        total += len(wanted)
        edits += edit_distance(wanted, _divided(text, divide, f"y_pred[{place}]"))
    if total == 0:
        raise ValueError(f"y_true: expected at least one {unit} in all references, got none")
    return edits / total


def _texts(given: Texts, name: str) -> Sequence[Any]:
    return [given] if isinstance(given, str) else _items(given, name)


def _divided(text: Any, divide: Callable[[str], list[str]], name: str) -> Sequence[Any]:
    return divide(text) if isinstance(text, str) else _items(text, name)


def _items(given: Any, name: str) -> Sequence[Any]:
    """Return the entries of a sequence, with NumPy's numbers as Python's."""
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{name}: expected a string or a sequence, got {_checks.describe(given)}")
    refuse_masked(given, name)
    tolist = getattr(given, "tolist", None)
    return list(tolist() if callable(tolist) else given)
