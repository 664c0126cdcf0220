"""Spans of tags: schemes, figures, and the transitions that a scheme forbids."""

from itertools import pairwise, product

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.metrics import Span, forbidden_transitions, span_f1, span_scores, spans

BIO = ["O", "B-A", "I-A", "B-C", "I-C"]
BIOES = [*BIO, "E-A", "S-A", "E-C", "S-C"]
BILOU = [tag.replace("E-", "L-").replace("S-", "U-") for tag in BIOES]


def test_spans_of_each_scheme():
    tags = ["B-A", "I-A", "O", "I-A", "B-C", "B-C", "I-A"]
    assert spans(tags, "BIO") == [Span("A", 0, 2), Span("C", 4, 5), Span("C", 5, 6)]
    assert spans(tags) == [
        *(Span("A", 0, 2), Span("A", 3, 4), Span("C", 4, 5), Span("C", 5, 6), Span("A", 6, 7)),
    ]
    assert spans(["B-A", "E-A", "S-C", "B-A", "I-A", "O", "E-C"], "BIOES") == [
        *(Span("A", 0, 2), Span("C", 2, 3)),
    ]
    assert spans(["B", "L", "U"], "BILOU") == [Span("", 0, 2), Span("", 2, 3)]
    assert spans([]) == []


def test_scores_and_averages_by_hand():
    true = [["B-A", "I-A", "O", "B-C"], ["B-A", "O"], []]
    found = [["B-A", "I-A", "O", "O"], ["B-C", "O"], []]
    scores = span_scores(true, found)
    assert scores == {"A": (1.0, 0.5, 2 / 3, 2), "C": (0.0, 0.0, 0.0, 1)}
    assert span_f1(true, found) == pytest.approx(2 * 1 / (2 + 3))
    assert span_f1(true, found, average="macro") == pytest.approx(1 / 3)
    assert span_f1(true, found, average="weighted") == pytest.approx(4 / 9)
    assert span_f1([["O"]], [["O"]]) == 0


def test_numbers_with_names_and_mask():
    true = np.array([[1, 2, 0, 0], [3, 0, 9, 9]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    found = [[1, 2, 0, 3], [3, 4, 9, 9]]
    strings = [["B-A", "I-A", "O", "B-C"], ["B-C", "I-C"]]
    other = [["B-A", "I-A", "O", "O"], ["B-C", "O"]]
    assert span_f1(true, found, BIO, mask=mask) == span_f1(other, strings) == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (([["O"]], [["O"], ["O"]]), {}, "y_pred: expected 1 rows like y_true, got 2"),
        (([["O"]], [["O", "O"]]), {}, r"y_pred\[0\]: expected 1 tags like y_true\[0\], got 2"),
        (([[0]], [[0]]), {}, r"y_true\[0\]: expected tags as strings, or their names"),
        (([[0]], [[5]], BIO), {}, r"y_pred\[0\]: expected numbers in 0\.\.4, got 5"),
        (([["X-A"]], [["O"]]), {}, "tags: expected one of the letters .* got 'X-A'"),
        (([["S-A"]], [["O"]]), {"scheme": "BIO"}, "letters B, I, O, .*got 'S-A'"),
        (([["O"]], [["O"]]), {"scheme": "IOB"}, "scheme: expected"),
        (([["O"]], [["O"]]), {"average": "mean"}, "average: expected"),
    ],
)
def test_wrong_arguments(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        span_f1(*arguments, **options)


@pytest.mark.parametrize(("scheme", "tags"), [("BIO", BIO), ("BIOES", BIOES), ("BILOU", BILOU)])
def test_what_is_not_forbidden_is_what_the_scheme_reads_alike(scheme, tags):
    """A sequence has no forbidden transition if and only if every tag in it is part of a span."""
    forbidden = set(forbidden_transitions(tags, scheme))
    for numbers in product(range(len(tags)), repeat=3):
        path = ["start", *numbers, "end"]
        allowed = not any(pair in forbidden for pair in pairwise(path))
        names = [tags[number] for number in numbers]
        covered = sum(span.stop - span.start for span in spans(names, scheme))
        assert allowed == (covered == sum(name != "O" for name in names)), names


def test_a_crf_with_a_scheme_only_makes_whole_spans(rng):
    layer = lc.layers.CRF(len(BIOES), forbidden_transitions(BIOES, "BIOES"))
    found = layer(rng.standard_normal((50, 6, len(BIOES))))
    for row in found:
        names = [BIOES[number] for number in row]
        covered = sum(span.stop - span.start for span in spans(names, "BIOES"))
        assert covered == sum(name != "O" for name in names)
