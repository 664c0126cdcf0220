"""The gallery's table of variants of LSTM networks."""

import pytest

from gallery_kit import run_program


# Takes about twenty seconds on two idle cores: fourteen small trainings.
@pytest.mark.gallery
def test_all_variants_learn_and_some_beat_the_plain_one(tmp_path, capsys):
    pytest.importorskip("aeon")
    figures = run_program("variants", tmp_path)
    reviews = {n: v for n, v in figures.items() if n.startswith("reviews")}
    motions = {n: v for n, v in figures.items() if n.startswith("motions")}
    assert len(reviews) == len(motions) == 8
    assert min(reviews.values()) > 0.7  # 0.74 to 0.79; the larger class has half of the reviews
    assert figures["reviews, baseline"] > 0.75  # naive Bayes: 0.79
    assert figures["motions, CNN-LSTM"] > 0.9
    assert figures["motions, bidirectional"] > figures["motions, baseline"] + 0.2  # 0.575
    assert (tmp_path / "variants.svg").stat().st_size > 1000
    assert "naive Bayes" in capsys.readouterr().out
