"""Small data sets that the package contains.

``movie_snippets`` is from Hutto & Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text", ICWSM 2014 (MIT licence, copyright 2014 C.J. Hutto), with sentences
from the review collection of Pang & Lee (2004). The full notice is in the same folder as the data.
"""

import gzip
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lstmcore._configurable import named_fields
from lstmcore._suggest import public

__all__ = [
    "MOVIE_SNIPPET_CLASSES",
    "MovieSnippets",
    "Snippets",
    "movie_snippet_ratings",
    "movie_snippets",
]

if not TYPE_CHECKING:  # or type checkers would accept any attribute
    __getattr__, __dir__ = public(__name__, __all__)

MOVIE_SNIPPET_CLASSES = ("negative", "positive")


class Snippets(NamedTuple):
    """Sentences with people's ratings of them, one entry per sentence.

    Attributes
    ----------
    sentences : list of str
        N sentences.
    labels : ndarray of int64, shape (N,)
        1 if the rating is positive, 0 if it is negative.
    ratings : ndarray of float64, shape (N,)
        Mean sentiment from -4 to 4, never 0.
    """

    sentences: list[str]
    labels: npt.NDArray[np.int64]
    ratings: npt.NDArray[np.float64]

    def __repr__(self) -> str:
        return named_fields(self)


class MovieSnippets(NamedTuple):
    """The three parts of a split: 80 % to train, 10 % to validate, 10 % to test."""

    train: Snippets
    validation: Snippets
    test: Snippets


def movie_snippet_ratings() -> tuple[list[str], npt.NDArray[np.float64]]:
    """Load every sentence with its rating, in the order of the file.

    Returns
    -------
    sentences : list of str
        10,605 sentences from film reviews.
    ratings : ndarray of float64, shape (10605,)
        Mean rating of each sentence by at least twenty people, from -4 to 4.
    """
    packed = resources.files("lstmcore").joinpath("data", "movie_snippets.tsv.gz").read_bytes()
    rows = gzip.decompress(packed).decode("utf-8").rstrip("\n").split("\n")[1:]
    ratings, sentences = zip(*(row.split("\t") for row in rows), strict=True)
    return [_mend(sentence) for sentence in sentences], np.array(ratings, dtype=np.float64)


def movie_snippets(seed: int = 0) -> MovieSnippets:
    """Load film-review sentences as a task with two classes, split 80/10/10 at random.

    Sentences rated exactly zero are left out; 10,568 remain.

    Parameters
    ----------
    seed : int, default 0
        Seed of the split, which is the same for the same seed everywhere.

    Returns
    -------
    MovieSnippets
        ``train``, ``validation`` and ``test``, each with ``sentences``, ``labels`` and ``ratings``.

    Raises
    ------
    ValueError
        If `seed` is outside 0 .. 2**32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected an integer in 0..{2**32 - 1}, got {seed}")
    sentences, ratings = movie_snippet_ratings()
    kept = np.flatnonzero(ratings)
    # NumPy guarantees RandomState's stream; those of its newer generators may change.
    order = np.random.RandomState(seed).permutation(kept)
    parts = np.split(order, [len(order) * 8 // 10, len(order) * 9 // 10])
    return MovieSnippets(*(_take(part, sentences, ratings) for part in parts))


def _take(
    rows: npt.NDArray[np.int64], sentences: list[str], ratings: npt.NDArray[np.float64]
) -> Snippets:
    chosen = ratings[rows]
    return Snippets([sentences[row] for row in rows], (chosen > 0).astype(np.int64), chosen)


def _mend(sentence: str) -> str:
    """Repair sentences of the source whose UTF-8 was decoded as Latin-1 ("clichÃ©")."""
    try:
        return sentence.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return sentence
