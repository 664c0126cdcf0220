"""The gallery's table of variants of LSTM networks."""

import runpy
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "examples" / "gallery" / "variants.py"

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists(), reason="the examples are only in the source tree"
)


# Takes about twenty seconds on two idle cores: fourteen small trainings.
@pytest.mark.gallery
def test_all_variants_learn_and_some_beat_the_plain_one(tmp_path, capsys):
    pytest.importorskip("aeon")
    pytest.importorskip("matplotlib")
    figures = runpy.run_path(str(PROGRAM))["run"](pictures=tmp_path)
    reviews = {n: v for n, v in figures.items() if n.startswith("reviews")}
    motions = {n: v for n, v in figures.items() if n.startswith("motions")}
    assert len(reviews) == len(motions) == 8
    assert min(reviews.values()) > 0.7  # 0.74 to 0.79; the larger class has half of the reviews
    assert figures["reviews baseline"] > 0.75  # naive Bayes: 0.79
    assert figures["motions CNN-LSTM"] > 0.9
    assert figures["motions bidirectional"] > figures["motions baseline"] + 0.2  # 0.575
    assert (tmp_path / "variants.svg").stat().st_size > 1000
    assert "naive Bayes" in capsys.readouterr().out
