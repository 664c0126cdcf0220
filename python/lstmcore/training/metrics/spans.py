"""Spans in sequences of tags, such as names: what marks one, and how many are found."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._arrays import refuse_masked, refuse_masked_in
from lstmcore._typing import ArrayLike, SpanAverage, SpanScheme, choices

__all__ = [
    "Span",
    "SpanCounts",
    "SpanScore",
    "average_f1",
    "count_spans",
    "forbidden_transitions",
    "span_f1",
    "span_scores",
    "spans",
]

SpanCounts: TypeAlias = tuple[Counter[str], Counter[str], Counter[str]]
"""By kind: spans that were found, those that were predicted, and those among the targets."""

OUTSIDE = "O"

_LETTERS = {"L": "E", "U": "S"}
"""The letters of BILOU that BIOES calls otherwise."""

_STRICT = {"BIO": "BIO", "BIOES": "BIOES", "BILOU": "BILOU"}
"""The letters of the strict schemes."""


class Span(NamedTuple):
    """A span of tokens.

    Attributes
    ----------
    kind : str
        What follows "B-" in its tags; "" where nothing follows.
    start, stop : int
        The steps from `start` to `stop` - 1.
    """

    kind: str
    start: int
    stop: int


class SpanScore(NamedTuple):
    """How many spans were found.

    Attributes
    ----------
    precision, recall, f1 : float
        0 where 0 would be divided by 0.
    support : int
        Spans among the targets.
    """

    precision: float
    recall: float
    f1: float
    support: int


def spans(tags: Sequence[str], scheme: SpanScheme | None = None) -> list[Span]:
    """Find the spans in one sequence of tags.

    Parameters
    ----------
    tags : sequence of str
        "O" outside of spans, else a letter and the kind: "B-PER", "I-PER", or "B" alone.
    scheme : {"BIO", "BIOES", "BILOU"}, optional
        A span must be marked exactly as the scheme says, else it is none: B-PER I-PER in BIO (also
        called IOB2), B-PER I-PER E-PER or S-PER in BIOES, with L for E and U for S in BILOU. None:
        as in the program conlleval, where a span also begins wherever the kind changes, or after
        "O" or an end, and ends where the next begins or with "O". This suits all schemes, IOB1
        among them.

    Returns
    -------
    list of Span

    Raises
    ------
    ValueError
        If a tag has a letter that the scheme does not know, or there is no such scheme.
    """
    if scheme is not None:
        _checks.choice(scheme, "scheme", choices(SpanScheme))
    parts = [_parts(tag, scheme) for tag in tags]
    return _lenient(parts) if scheme is None else _strict(parts, scheme)


def span_scores(
    y_true: Any,
    y_pred: Any,
    tags: Sequence[str] | None = None,
    *,
    scheme: SpanScheme | None = None,
    mask: ArrayLike | None = None,
) -> dict[str, SpanScore]:
    """Compare the spans of predicted tags with those of the targets.

    Parameters
    ----------
    y_true, y_pred : sequence of rows, or ndarray, shape (N, T)
        Tags as strings, or their numbers as `predict` returns them.
    tags : sequence of str, optional
        The name of each number; needed for numbers.
    scheme : {"BIO", "BIOES", "BILOU"}, optional
        See `spans`.
    mask : array_like of bool, shape (N, T), optional
        The steps that count, of arrays with padding.

    Returns
    -------
    dict of str to SpanScore
        For each kind of span in alphabetical order. A span counts as found if a predicted one has
        the same kind, start and stop, as in seqeval.

    Raises
    ------
    ValueError
        If rows differ in number or length, or a number has no name.
    """
    counts = _by_kind(count_spans(y_true, y_pred, tags, scheme, mask))
    return {kind: _score(*counts[kind]) for kind in sorted(counts)}


def count_spans(
    y_true: Any,
    y_pred: Any,
    tags: Sequence[str] | None,
    scheme: SpanScheme | None,
    mask: ArrayLike | None,
    counts: SpanCounts | None = None,
) -> SpanCounts:
    """Count the spans of each kind: found, predicted, and among the targets.

    With `counts` those that were counted before are included.
    """
    if scheme is not None:
        _checks.choice(scheme, "scheme", choices(SpanScheme))
    true = _rows(y_true, "y_true", tags, mask)
    found = _rows(y_pred, "y_pred", tags, mask)
    if len(true) != len(found):
        raise ValueError(f"y_pred: expected {len(true)} rows like y_true, got {len(found)}")
    hits, decided, wanted = counts = counts or (Counter(), Counter(), Counter())
    for place, (row, other) in enumerate(zip(true, found, strict=True)):
        if len(row) != len(other):
            raise ValueError(
                f"y_pred[{place}]: expected {len(row)} tags like y_true[{place}], got "
                f"{len(other)}; for arrays with padding pass mask"
            )
        targets, guesses = set(spans(row, scheme)), set(spans(other, scheme))
        wanted.update(span.kind for span in targets)
        decided.update(span.kind for span in guesses)
        hits.update(span.kind for span in targets & guesses)
    return counts


def _by_kind(counts: SpanCounts) -> dict[str, tuple[int, int, int]]:
    hits, decided, wanted = counts
    return {kind: (hits[kind], decided[kind], wanted[kind]) for kind in wanted | decided}


def span_f1(
    y_true: Any,
    y_pred: Any,
    tags: Sequence[str] | None = None,
    *,
    scheme: SpanScheme | None = None,
    average: SpanAverage = "micro",
    mask: ArrayLike | None = None,
) -> float:
    """Compute the F1 of spans: the harmonic mean of the precision and the recall of whole spans.

    Parameters
    ----------
    y_true, y_pred, tags, scheme, mask
        As in `span_scores`.
    average : {"micro", "macro", "weighted"}, default "micro"
        "micro": of all spans together, the usual figure (Tjong Kim Sang & De Meulder 2003).
        "macro": the mean over kinds. "weighted": that mean weighted by how often a kind is among
        the targets.

    Returns
    -------
    float
        0 if neither has any span.
    """
    _checks.choice(average, "average", choices(SpanAverage))
    return average_f1(count_spans(y_true, y_pred, tags, scheme, mask), average)


def average_f1(numbers: SpanCounts, average: SpanAverage) -> float:
    """Return the F1 of spans that were counted; 0 if there are none. See `span_f1`."""
    counts = _by_kind(numbers)
    if not counts:
        return 0.0
    if average == "micro":
        hits, decided, wanted = (sum(column) for column in zip(*counts.values(), strict=True))
        return _score(hits, decided, wanted).f1
    scores = [_score(*entry) for entry in counts.values()]
    weights = [1 if average == "macro" else score.support for score in scores]
    total = sum(weight * score.f1 for weight, score in zip(weights, scores, strict=True))
    return total / sum(weights) if any(weights) else 0.0


def forbidden_transitions(
    tags: Sequence[str], scheme: SpanScheme = "BIO"
) -> list[tuple[int | str, int | str]]:
    """List the transitions that a scheme does not allow, for `lstmcore.layers.CRF`.

    Parameters
    ----------
    tags : sequence of str
        The name of each tag: "O", "B-PER", "I-PER" and so on.
    scheme : {"BIO", "BIOES", "BILOU"}, default "BIO"

    Returns
    -------
    list of (int or str, int or str)
        Pairs (from, to), with "start" before the first tag and "end" after the last.

    Examples
    --------
    >>> forbidden_transitions(["O", "B", "I"])
    [(0, 2), ('start', 2)]
    """
    _checks.choice(scheme, "scheme", choices(SpanScheme))
    parts = [_parts(tag, scheme) for tag in tags]
    border = (OUTSIDE, "")
    closes = "E" in {_LETTERS.get(letter, letter) for letter in _STRICT[scheme]}
    places: list[tuple[int | str, tuple[str, str]]] = list(enumerate(parts))
    return [
        (before, after)
        for before, one in [*places, ("start", border)]
        for after, other in [*places, ("end", border)]
        if (before, after) != ("start", "end") and not _follows(one, other, closes)
    ]


def _follows(one: tuple[str, str], other: tuple[str, str], closes: bool) -> bool:
    """Whether a tag may follow another; `closes`: spans have a tag for their end."""
    is_open = one[0] in "BI"
    continues = other[0] in "IE"
    if continues:
        return is_open and one[1] == other[1]
    return not (is_open and closes)


def _parts(tag: str, scheme: SpanScheme | None) -> tuple[str, str]:
    """Return the letter of a tag, in terms of BIOES, and its kind."""
    letter, _, kind = str(tag).partition("-")
    known = _STRICT[scheme] if scheme is not None else "BIOESLU"
    if letter == "" or letter not in known or len(letter) > 1 or (letter == OUTSIDE and kind):
        letters = ", ".join(known)
        raise ValueError(
            f"tags: expected one of the letters {letters}, alone or followed by a dash and the "
            f"kind of span (O: alone), got {str(tag)!r}"
        )
    return _LETTERS.get(letter, letter), kind


def _lenient(parts: Sequence[tuple[str, str]]) -> list[Span]:
    found: list[Span] = []
    before, kind_before, start = OUTSIDE, "", 0
    for step, (letter, kind) in enumerate([*parts, (OUTSIDE, "")]):
        goes_on = letter in "IE" and before in "BI" and kind == kind_before
        if before != OUTSIDE and not goes_on:
            found.append(Span(kind_before, start, step))
        if not goes_on:
            start = step
        before, kind_before = letter, kind
    return found


def _strict(parts: Sequence[tuple[str, str]], scheme: str) -> list[Span]:
    found: list[Span] = []
    closes = scheme != "BIO"
    start: int | None = None
    for step, (letter, kind) in enumerate([*parts, (OUTSIDE, "")]):
        goes_on = start is not None and letter in "IE" and kind == parts[start][1]
        if start is not None and not goes_on:
            if not closes:
                found.append(Span(parts[start][1], start, step))
            start = None
        if letter == "S":
            found.append(Span(kind, step, step + 1))
        elif letter == "B":
            start = step
        elif letter == "E" and start is not None:
            found.append(Span(kind, start, step + 1))
            start = None
    return found


def _score(hits: int, decided: int, wanted: int) -> SpanScore:
    precision = hits / decided if decided else 0.0
    recall = hits / wanted if wanted else 0.0
    both = decided + wanted
    return SpanScore(precision, recall, 2 * hits / both if both else 0.0, wanted)


def _rows(values: Any, name: str, tags: Sequence[str] | None, mask: Any) -> list[list[str]]:
    """Return rows of tags as strings."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name}: expected rows of tags, got {_checks.describe(values)}")
    refuse_masked(values, name)
    refuse_masked_in(values, name)
    rows = [np.asarray(row) for row in values]
    for place, row in enumerate(rows):
        if row.ndim != 1:
            raise ValueError(f"{name}[{place}]: expected a row (T,) of tags, got shape {row.shape}")
    if mask is not None:
        flags = _checks.flags_array(mask, "mask")
        if any(row.shape != flags.shape[1:] for row in rows) or len(rows) != len(flags):
            raise ValueError(f"mask: expected a flag for each tag of {name}, got {flags.shape}")
        rows = [row[there] for row, there in zip(rows, flags, strict=True)]
    return [_names(row, f"{name}[{place}]", tags) for place, row in enumerate(rows)]


def _names(row: Any, name: str, tags: Sequence[str] | None) -> list[str]:
    if row.size == 0 or row.dtype.kind in "USO":
        return [str(tag) for tag in row]
    if tags is None:
        raise ValueError(f"{name}: expected tags as strings, or their names as tags, got numbers")
    if row.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected tags or their numbers, got {row.dtype}")
    if row.min() < 0 or row.max() >= len(tags):
        wrong = row[(row < 0) | (row >= len(tags))][0]
        raise ValueError(f"{name}: expected numbers in 0..{len(tags) - 1}, got {wrong}")
    return [tags[number] for number in row]
