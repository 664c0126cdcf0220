"""The gallery's program about explanations reaches its quick figures."""

import pytest

from gallery_kit import run_program


@pytest.mark.gallery
def test_words_are_blamed_rightly(tmp_path):
    figures = run_program("interpretability", tmp_path)
    assert figures["accuracy"] > 0.74  # 0.78 to 0.80; 0.52 is one class
    assert figures["largest error of a sum"] < 1e-3
    assert figures["value of tedious"] < -0.5
    assert figures["value of warm"] > 0.5
    assert figures["agreement with naive Bayes"] > 0.6
    assert figures["agreement with occlusion"] > 0.8
    assert (tmp_path / "interpretability.svg").exists()
    assert (tmp_path / "interpretability_gates.svg").exists()
