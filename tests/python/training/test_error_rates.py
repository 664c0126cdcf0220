"""Edit distances, and the error rates that follow from them."""

import functools

import numpy as np
import pytest

from lstmcore.metrics import character_error_rate, edit_distance, word_error_rate


def plain(first, second):
    """Compute an edit distance by its definition."""

    @functools.cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        same = distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(same, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(first), len(second))


def test_edit_distance_follows_its_definition(rng):
    for _ in range(60):
        first, second = (rng.integers(0, 3, rng.integers(0, 9)) for _ in range(2))
        assert edit_distance(first, second) == plain(tuple(first), tuple(second))
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance(["a", 1, None], []) == 3


def test_rates_are_of_the_whole_corpus():
    spoken, heard = ["one two three", "four"], ["one three three five", "four"]
    assert word_error_rate(spoken, heard) == 2 / 4  # not the mean of 2 / 3 and 0
    assert word_error_rate("one two", "one  two ") == 0
    assert word_error_rate("one", "one two three") == 2
    assert word_error_rate([["one", "two"]], [("one", "too")]) == 1 / 2
    assert character_error_rate("abcd", "abd") == 1 / 4
    assert character_error_rate(["ab", ""], ["", "cd"]) == 2
    labels = [np.array([1, 2, 3]), np.array([], int)]
    assert character_error_rate(labels, [[1, 3], [7]]) == 2 / 3
    assert word_error_rate((text for text in spoken), iter(heard)) == 2 / 4


@pytest.mark.parametrize(
    ("rate", "spoken", "heard", "match"),
    [
        (word_error_rate, ["a", "b"], ["a"], "y_pred: expected 2 texts like y_true, got 1"),
        (word_error_rate, ["", " "], ["a", ""], "y_true: expected at least one word"),
        (character_error_rate, "", "", "y_true: expected at least one character"),
        (word_error_rate, [1, 2], [1, 2], r"y_true\[0\]: expected a string or a sequence, got 1"),
        (word_error_rate, None, "a", "y_true: expected a string or a sequence, got None"),
        (word_error_rate, ["a"], [b"a"], r"y_pred\[0\]: expected a string or a sequence, got b'a'"),
    ],
)
def test_what_has_no_rate_is_refused(rate, spoken, heard, match):
    with pytest.raises((TypeError, ValueError), match=match):
        rate(spoken, heard)
