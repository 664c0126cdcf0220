"""Which tokens of the sources can be copied, by which ids, and how they are spelled."""

from typing import Any

import numpy as np

from lstmcore._typing import Array
from lstmcore.layers import TextVectorization
from lstmcore.layers.texts import as_texts
from lstmcore.models.encoder_decoder.copying import Copies
from lstmcore.training.data import Ragged

__all__ = ["CopiedSources", "copied_labels", "copied_sources"]

UNKNOWN_ID = 1  # of a `TextVectorization`


class CopiedSources(Ragged):
    """Rows of sources, and what their tokens are for the decoder.

    Parameters
    ----------
    values, lengths, starts
        As in `Ragged`.
    ids : ndarray of int64, shape (sum of lengths,)
        Ids of the target, extended by those of words that its vocabulary lacks.
    words : ndarray of dict, shape (N,)
        The extended ids of each row, by their words, in the order of the ids.
    extra : int
        The most such words of any row.
    """

    def __init__(
        self,
        values: Array,
        lengths: Array,
        starts: Array | None,
        ids: Array,
        words: Array,
        extra: int,
    ) -> None:
        super().__init__(values, lengths, starts)
        self.ids, self.words, self.extra = ids, words, extra

    def take(self, rows: Array | slice) -> "CopiedSources":
        """Choose rows, without copying their values."""
        lengths, starts = self.lengths[rows], self.starts[rows]
        return CopiedSources(self.values, lengths, starts, self.ids, self.words[rows], self.extra)

    def copies(self) -> Copies:
        """Return what `Copying` needs to know of these rows."""
        ids = Ragged(self.ids, self.lengths, self.starts).padded()
        return Copies.of(ids, self.lengths, self.extra)


def copied_sources(
    rows: Ragged,
    x: Any,
    source: TextVectorization | None,
    target: TextVectorization | None,
    vocabulary: int,
) -> CopiedSources:
    """Find out which tokens of the target the tokens of checked sources are.

    Parameters
    ----------
    rows : Ragged
    x : sequence of str or of lists of str, or anything
        The texts of `rows`; not read without vectorizers, when both sides have the same ids.
    source, target : TextVectorization or None
    vocabulary : int
        Size of the target's vocabulary.
    """
    words = np.empty(len(rows), object)
    words[:] = [{} for _ in range(len(rows))]
    if source is None or target is None:
        return CopiedSources(rows.values, rows.lengths, rows.starts, rows.values, words, 0)
    known = {token: number for number, token in enumerate(target.get_vocabulary())}
    ids = []
    for own, text in zip(words, as_texts(x, "x"), strict=True):
        for token in source.tokens(text)[: source.output_sequence_length]:
            number = known.get(token)
            ids.append(own.setdefault(token, vocabulary + len(own)) if number is None else number)
    numbers = np.array(ids, np.int64)
    extra = max(map(len, words), default=0)
    return CopiedSources(rows.values, rows.lengths, rows.starts, numbers, words, extra)


def copied_labels(
    labels: Ragged, y: Any, sources: CopiedSources, target: TextVectorization
) -> Ragged:
    """Replace unknown tokens of labels by the extended ids of the same words in their sources."""
    values = labels.values.copy()
    for row, text in enumerate(as_texts(y, "y")):
        own, first = sources.words[row], int(labels.starts[row])
        if not own:
            continue
        for place, token in enumerate(target.tokens(text)[: target.output_sequence_length]):
            if values[first + place] == UNKNOWN_ID and token in own:
                values[first + place] = own[token]
    return Ragged(values, labels.lengths, labels.starts)
