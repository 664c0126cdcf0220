"""Pairs of sequences: checked once, then gathered batch by batch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._typing import Array, Verbose
from lstmcore.models.encoder_decoder.copying import Copies
from lstmcore.models.encoder_decoder.words import UNKNOWN_ID, CopiedSources
from lstmcore.training.batches import (
    BATCH_SIZE,
    InMemory,
    Iterated,
    inputs_of,
    is_batches,
    refuse_beside,
)
from lstmcore.training.data import Batch, Examples, Ragged, gather, prepare_inputs
from lstmcore.training.losses import Loss
from lstmcore.training.prepare import add_targets
from lstmcore.training.progress import with_bar

__all__ = [
    "Pair",
    "PairExamples",
    "pair_examples",
    "pair_of",
    "source_chunks",
    "target_rows",
    "token_rows",
]

PADDING = 0


class Pair(NamedTuple):
    """The inputs of one forward of an `EncoderDecoder`."""

    source: Array
    """(N, T) ids, or (N, T, C) numbers, 0 past each row's length."""
    source_lengths: Array
    given: Array
    """(N, S) ids that the decoder reads: the start token, then the target."""
    copies: Copies | None = None
    """What the decoder can copy."""


@dataclass(frozen=True)
class PairExamples(Examples):
    """Sources as `inputs`; besides `targets`, which end with the end token, `given`.

    `lengths` are those by which batches are made: of both sequences together.
    """

    given: Ragged | None = None

    def part(self, rows: slice) -> "PairExamples":
        """Choose consecutive samples."""
        assert self.given is not None
        chosen = super().part(rows)
        assert isinstance(chosen, PairExamples)
        return replace(chosen, given=self.given.take(rows))

    def batch(self, rows: Array | slice) -> Batch:
        """Gather the samples `rows`."""
        assert isinstance(self.inputs, Ragged)
        assert self.given is not None
        source, given = self.inputs.take(rows), self.given.take(rows)
        pair = pair_of(source, given)
        return Batch(pair, given.lengths, gather(self.targets, rows), gather(self.weights, rows))


def pair_of(source: Ragged, given: Ragged) -> Pair:
    """Gather rows for one forward."""
    copies = source.copies() if isinstance(source, CopiedSources) else None
    return Pair(source.padded(), source.lengths, given.padded(), copies)


def token_rows(x: Any, name: str, vocabulary: int) -> Ragged:
    """Convert rows of token ids, or an array padded with 0 on the right, to rows without padding.

    The ids are whole numbers of any type.

    Raises
    ------
    TypeError
        If they are not numbers.
    ValueError
        If they are not rows or not whole, a token follows padding or is not in the vocabulary.
    """
    if _has_text(x):
        side = "source" if name == "x" else "target"
        raise TypeError(
            f"{name}: expected rows of token ids, got text; an EncoderDecoder takes text if it is "
            f"made with {side}=TextVectorization()"
        )
    tokens = prepare_inputs(x, "ids", np.dtype(np.float32), name, Intake())
    if not isinstance(tokens, Ragged):
        if tokens.shape == (0,):
            return Ragged(tokens, np.zeros(0, np.int64))
        if tokens.ndim != 2:
            raise ValueError(
                f"{name}: expected rows of token ids, or an array (N, T) padded with 0, "
                f"got shape {tokens.shape}"
                f"{f'; for a single row pass [{name}]' if tokens.ndim == 1 else ''}"
            )
        rows = tokens
    elif tokens.values.all():
        rows = None
    else:
        rows = tokens.padded()
    if rows is not None:
        valid = rows != PADDING
        lengths = valid.sum(axis=1, dtype=np.int64)
        wrong = np.flatnonzero((valid != (np.arange(rows.shape[1]) < lengths[:, None])).any(axis=1))
        if wrong.size:
            raise ValueError(
                f"{name}: id {PADDING} is padding and may appear only at the right end of a row; "
                f"row {wrong[0]} has another id after it"
            )
        tokens = Ragged(rows[valid], lengths)
    assert isinstance(tokens, Ragged)
    values = tokens.values
    outside = (values < 0) | (values >= vocabulary)
    if outside.any():
        raise ValueError(
            f"{name}: expected token ids in 1..{vocabulary - 1}, got {values[outside][0]}"
        )
    return tokens


def _has_text(x: Any) -> bool:
    while isinstance(x, (list, tuple)) and len(x):
        x = x[0]
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    if kind == "O" and getattr(x, "shape", (0,))[0]:  # as of columns of pandas
        return _has_text(np.asarray(x).flat[0])
    return isinstance(x, (str, bytes)) or kind in ("U", "S", "T")


class Chunk(NamedTuple):
    """Sources that are decoded by one call."""

    sources: Any  # Ragged
    batch_size: int
    verbose: Verbose


def source_chunks(
    x: Any,
    rows_of: Callable[[Any], Ragged],
    rank: int,
    batch_size: int | None,
    steps: int | None,
    verbose: Verbose,
) -> Iterator[Chunk]:
    """Yield the sources that `predict` decodes: all at once, or each batch that `x` yields.

    Parameters
    ----------
    x : anything
    rows_of : callable
        Checks sources and converts them to rows.
    rank : int
        The number of axes of x for one batch.
    batch_size, steps, verbose
        As in `EncoderDecoder.predict`.

    Raises
    ------
    TypeError, ValueError
        As `rows_of`, or if `batch_size` or `steps` do not fit.
    """

    def examples_of(item: Any) -> Examples:
        sources = rows_of(inputs_of(item, rank))
        return Examples(sources, sources.lengths)

    if is_batches(x, rank):
        refuse_beside(batch_size=batch_size)
        batches = Iterated(x, examples_of, "x", steps, "steps")
        for examples, _ in with_bar(batches.batches(), batches.steps, "Decode", verbose):
            assert isinstance(examples.inputs, Ragged)
            yield Chunk(examples.inputs, max(len(examples), 1), 0)
        return
    rows = _checks.integer(BATCH_SIZE if batch_size is None else batch_size, "batch_size", 1)
    sources = rows_of(x)
    if steps is not None:
        steps = _checks.integer(steps, "steps", 1)
        limited = InMemory(Examples(sources, sources.lengths), rows, False, steps)
        sources = sources.take(slice(0, limited.steps * rows))
    yield Chunk(sources, rows, verbose)


def target_rows(rows: Ragged, name: str, start: int, end: int) -> tuple[Ragged, Ragged]:
    """Make the decoder's inputs and labels from targets without start and end token.

    Returns
    -------
    given : Ragged
        Each row with the start token before it.
    labels : Ragged
        Each row with the end token after it.

    Raises
    ------
    ValueError
        If there is a start or end token already.
    """
    for token, what in ((start, "start"), (end, "end")):
        if (rows.values == token).any():
            raise ValueError(
                f"{name}: expected targets without the {what} token, {token}, which the model "
                "puts there itself"
            )
    ends, lengths = np.cumsum(rows.lengths), rows.lengths + 1
    given = np.insert(rows.values, ends - rows.lengths, start)
    return Ragged(given, lengths), Ragged(np.insert(rows.values, ends, end), lengths)


def pair_examples(
    sources: Ragged,
    targets: tuple[Ragged, Ragged],
    vocabulary: int,
    loss: Loss,
    dtype: "np.dtype[Any]",
    sample_weight: Any,
    class_weight: Mapping[int, float] | None,
    intake: Intake,
) -> PairExamples:
    """Join checked sources and targets, and check their weights.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    given, labels = targets
    if len(sources) != len(given):
        raise ValueError(f"y: expected {len(sources)} entries like x, got {len(given)}")
    if sample_weight is not None and _checks.any_array(sample_weight, "sample_weight").ndim != 1:
        raise ValueError("sample_weight: expected shape (N,), a weight for each pair")
    # To weights of classes, words outside the vocabulary are the unknown token.
    inside = np.where(labels.values < vocabulary, labels.values, UNKNOWN_ID)
    rows = [
        inside[begin : begin + length]
        for begin, length in zip(labels.starts, labels.lengths, strict=True)
    ]
    checked = add_targets(
        Examples(given, given.lengths),
        loss,
        (None, None, vocabulary),
        dtype,
        rows,
        sample_weight,
        class_weight,
        intake,
    )
    lengths = sources.lengths + given.lengths
    return PairExamples(
        sources,
        lengths,
        labels,
        checked.weights,
        sample_weights=checked.sample_weights,
        given=given,
    )
