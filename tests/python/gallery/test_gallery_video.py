"""The gallery's video program tells which way a digit moves."""

import pytest

from gallery_kit import run_program


# Takes about ten seconds on two idle cores.
@pytest.mark.gallery
def test_a_graph_with_two_answers_sees_the_movement(tmp_path, capsys):
    pytest.importorskip("sklearn")
    figures = run_program("video", tmp_path)
    assert figures["LSTM, way"] > 0.97  # three seeds: 0.999 to 1
    assert figures["LSTM, digit"] > 0.5  # about 0.7; guessing 0.1
    assert figures["logistic regression, way"] < 0.5  # 0.33, of a guess's 0.25
    assert figures["logistic regression, digit"] < 0.2
    assert (tmp_path / "video.svg").stat().st_size > 1000
    assert "guessing" in capsys.readouterr().out
