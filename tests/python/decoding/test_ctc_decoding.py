"""Greedy decoding and prefix beam search against a sum over all alignments."""

import collections
import itertools
import math

import numpy as np
import pytest

from lstmcore import decoding

STEPS, UNITS = 5, 4


def read(alignment, blank):
    return tuple(symbol for symbol, _ in itertools.groupby(alignment) if symbol != blank)


def every_labelling(probabilities, blank=0):
    """Return the probability of every labelling, as the sum over its alignments."""
    found = collections.defaultdict(float)
    steps, units = probabilities.shape
    for alignment in itertools.product(range(units), repeat=steps):
        path = probabilities[np.arange(steps), alignment]
        found[read(alignment, blank)] += math.prod(path)
    return found


def ranked(scores):
    return sorted(scores, key=scores.get, reverse=True)


def draw(rng, rows=4, sharpness=1.5):
    logits = sharpness * rng.standard_normal((rows, STEPS, UNITS))
    powers = np.exp(logits)
    return logits, powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("blank", [0, 2, 3])
def test_a_wide_beam_is_exact(blank, rng):
    logits, outputs = draw(rng)
    lengths = [5, 3, 1, 4]
    found = decoding.ctc_beam_search(outputs, lengths, blank=blank, beam_width=2000, top=20)
    again = decoding.ctc_beam_search(
        logits, lengths, blank=blank, beam_width=2000, top=20, from_logits=True
    )
    for row, length, best, same in zip(outputs, lengths, found, again, strict=True):
        expected = every_labelling(row[:length], blank)
        assert [tuple(one.labels) for one in best] == ranked(expected)[:20]
        assert [tuple(one.labels) for one in same] == ranked(expected)[:20]
        for one, other in zip(best, same, strict=True):
            assert one.labels.dtype == np.int64
            wanted = math.log(expected[tuple(one.labels)])
            assert one.log_probability == one.score == pytest.approx(wanted, abs=1e-12)
            assert other.log_probability == pytest.approx(wanted, abs=1e-12)


def test_a_narrow_beam_finds_labels_of_many_alignments():
    """Graves' example: the likeliest alignment is all blanks, the likeliest labels are not."""
    outputs = np.array([[[0.6, 0.4], [0.6, 0.4]]])
    assert decoding.ctc_greedy(outputs)[0].tolist() == []
    (best,) = decoding.ctc_beam_search(outputs, beam_width=2)[0]
    assert best.labels.tolist() == [1]
    assert best.log_probability == pytest.approx(math.log(1 - 0.36), rel=1e-14)


def test_a_prefix_that_is_given_up_and_found_again_is_one(rng):
    """Narrow beams never count an alignment twice, whatever falls out and comes back."""
    for _ in range(30):
        _, outputs = draw(rng, 1)
        expected = every_labelling(outputs[0])
        for width in (2, 3, 5):
            found = decoding.ctc_beam_search(outputs, beam_width=width, top=width)[0]
            labels = [tuple(one.labels) for one in found]
            assert len(set(labels)) == len(labels)
            for one in found:
                assert one.log_probability <= math.log(expected[tuple(one.labels)]) + 1e-12


def test_a_beam_of_steps_that_are_certain_is_greedy(rng):
    path = rng.integers(0, UNITS, (3, 40))
    outputs = np.full((3, 40, UNITS), 1e-9)
    np.put_along_axis(outputs, path[..., None], 1.0, axis=2)
    greedy = decoding.ctc_greedy(outputs, [40, 20, 0])
    beam = decoding.ctc_beam_search(outputs, [40, 20, 0], beam_width=1)
    for row, length, labels, (best,) in zip(path, [40, 20, 0], greedy, beam, strict=True):
        assert labels.tolist() == list(read(row[:length], 0)) == best.labels.tolist()
    assert beam[2][0].log_probability == 0


def test_a_scorer_changes_the_ranks_as_documented(rng):
    _, outputs = draw(rng, 3)
    table = np.log(rng.dirichlet(np.ones(UNITS), UNITS))
    asked = []

    def scorer(prefix, symbol):
        asked.append((prefix, symbol))
        return table[prefix[-1] if prefix else 0, symbol]

    for weight, bonus in ((0.7, 0.4), (0.0, -0.3)):
        found = decoding.ctc_beam_search(
            outputs,
            beam_width=2000,
            top=10,
            scorer=scorer,
            scorer_weight=weight,
            length_bonus=bonus,
        )
        for row, best in zip(outputs, found, strict=True):
            scores = {}
            for labels, probability in every_labelling(row).items():
                pairs = zip((0, *labels), labels, strict=False)
                score = sum(table[pair] for pair in pairs)
                scores[labels] = math.log(probability) + weight * score + bonus * len(labels)
            assert [tuple(one.labels) for one in best] == ranked(scores)[:10]
            for one in best:
                assert one.score == pytest.approx(scores[tuple(one.labels)], abs=1e-12)
    assert all(symbol != 0 for _, symbol in asked)  # the blank is no label
    assert len(set(asked)) == len(asked) / 6  # once for each pair, sequence and call


def test_a_scorer_may_exclude_labels(rng):
    _, outputs = draw(rng, 1)

    def scorer(prefix, symbol):
        return -math.inf if symbol == 2 else 0.0

    found = decoding.ctc_beam_search(outputs, beam_width=50, top=50, scorer=scorer)[0]
    assert len(found) > 10
    assert not any(2 in one.labels for one in found)


def test_lists_of_rows_are_read_as_predict_returns_them(rng):
    _, outputs = draw(rng, 3)
    rows = [row[:length].astype(np.float32) for row, length in zip(outputs, (5, 2, 4), strict=True)]
    outputs[1, 2:] = np.nan  # past the row's length
    for ours, theirs in zip(
        decoding.ctc_greedy(rows), decoding.ctc_greedy(outputs, [5, 2, 4]), strict=True
    ):
        assert ours.tolist() == theirs.tolist()
    assert decoding.ctc_beam_search(rows)[1][0].labels.tolist() == (
        decoding.ctc_beam_search(outputs, [5, 2, 4])[1][0].labels.tolist()
    )
    assert decoding.ctc_greedy([]) == decoding.ctc_beam_search([]) == []


def test_symbols_of_probability_0(rng):
    outputs = np.zeros((1, 3, 3))
    outputs[0, [0, 1, 2], [1, 0, 2]] = 1
    found = decoding.ctc_beam_search(outputs, top=5)[0]
    assert [one.labels.tolist() for one in found] == [[1, 2]]
    assert found[0].log_probability == 0
    assert decoding.ctc_beam_search(np.zeros((1, 2, 3)))[0][0].log_probability == -math.inf


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"beam_width": 0}, "beam_width: expected .*1.*got 0"),
        ({"top": 0}, "top: expected"),
        ({"beam_width": 2, "top": 3}, "top: expected at most beam_width=2, got 3"),
        ({"blank": UNITS}, r"blank: expected 0\.\.3, an output of 4, got 4"),
        ({"blank": -1}, "blank: expected"),
        ({"scorer": "model"}, "scorer: expected a function"),
        ({"scorer": lambda prefix, symbol: math.nan}, "scorer: expected a log-probability, .*nan"),
        ({"scorer": lambda prefix, symbol: 0.5}, r"0.5 for symbol 1 after \(\)"),
        ({"scorer_weight": -1}, "scorer_weight: expected"),
        ({"lengths": [1]}, r"lengths: expected shape \(2,\)"),
        ({"outputs": np.ones((2, 3))}, r"array \(N, T, U\).* pass outputs\[None\]"),
        ({"outputs": [np.ones((2, 3)), np.ones((2, 4))]}, "rows .* with the same U"),
        ({"outputs": np.full((1, 2, 4), 1.5)}, r"outputs\[0\]: expected probabilities .*logits"),
        ({"outputs": np.full((1, 2, 4), np.nan)}, r"outputs\[0\]"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    given = {"outputs": np.full((2, 3, UNITS), 0.25), **options}
    with pytest.raises((TypeError, ValueError), match=match):
        decoding.ctc_beam_search(given.pop("outputs"), **given)
    if set(options) <= {"outputs", "lengths", "blank"} and "probabilities" not in match:
        given = {"outputs": np.full((2, 3, UNITS), 0.25), **options}
        with pytest.raises((TypeError, ValueError), match=match):
            decoding.ctc_greedy(given.pop("outputs"), **given)
