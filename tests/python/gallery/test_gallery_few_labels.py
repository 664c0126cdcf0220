"""The gallery's program about few labels reaches its quick figures."""

import pytest

from gallery_kit import run_program

# 0.69 and 0.64; a thousand test sentences, of which 0.52 are of one class.


@pytest.mark.gallery
def test_counted_vectors_help_where_labels_are_few(tmp_path):
    figures = run_program("few_labels", tmp_path)
    assert figures["from nothing"] > 0.58
    assert figures["counted word vectors first"] > 0.64
    assert figures["counted word vectors first"] > figures["from nothing"]
    assert 0.62 < figures["naive Bayes"] < 0.69
    assert figures["language model first"] > 0.5
    assert (tmp_path / "few_labels.svg").exists()
