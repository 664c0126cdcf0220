import hashlib

import numpy as np
import pytest

from lstmcore.datasets import MOVIE_SNIPPET_CLASSES, movie_snippet_ratings, movie_snippets


def test_every_sentence_of_the_source_is_included():
    sentences, ratings = movie_snippet_ratings()

    assert len(sentences) == 10605
    assert ratings.shape == (10605,)
    assert ratings.dtype == np.float64
    # Counts stated in the notice.
    assert (ratings > 0).sum() == 5242
    assert (ratings < 0).sum() == 5326
    assert np.abs(ratings).max() <= 4
    assert sentences[2] == "Effective but too tepid biopic"
    assert ratings[2] == -0.6


def test_sentences_are_whole_and_readable():
    sentences, _ = movie_snippet_ratings()

    assert all(sentence == sentence.strip("\r\n") and sentence.strip() for sentence in sentences)
    # UTF-8 decoded as Latin-1 shows as a capital A with tilde before a non-letter.
    assert "Touché!" in sentences
    assert not any("Ã©" in sentence for sentence in sentences)


def test_split_holds_every_rated_sentence_once():
    parts = movie_snippets()
    sentences, ratings = movie_snippet_ratings()

    rated = sorted(text for text, rating in zip(sentences, ratings, strict=True) if rating != 0)
    assert sorted(text for part in parts for text in part.sentences) == rated
    assert [len(part.sentences) for part in parts] == [8454, 1057, 1057]


def test_labels_are_the_signs_of_the_ratings():
    rating_of = dict(zip(*movie_snippet_ratings(), strict=True))
    for part in movie_snippets(seed=3):
        assert part.labels.dtype == np.int64
        np.testing.assert_array_equal(part.labels, part.ratings > 0)
        # Every sentence still has its own label after the shuffle. (Two sentences occur twice, with
        # different ratings.)
        wrong = [
            text
            for text, rating in zip(part.sentences, part.ratings, strict=True)
            if rating_of[text] != rating
        ]
        assert len(wrong) <= 2
    assert MOVIE_SNIPPET_CLASSES == ("negative", "positive")


def test_split_is_the_same_everywhere():
    # Reported accuracies are only comparable if the split never changes.
    text = "\n".join(movie_snippets(seed=0).test.sentences).encode()
    assert (
        hashlib.sha256(text).hexdigest()
        == "3fada7c6f57a3e1f2147b88c3774430de062a44137235511b2c8039dc14c68da"
    )


def test_seeds_give_different_splits():
    assert movie_snippets(seed=1).test.sentences != movie_snippets(seed=2).test.sentences


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_named(seed):
    with pytest.raises(ValueError, match=rf"seed: expected .* got {seed}"):
        movie_snippets(seed=seed)
