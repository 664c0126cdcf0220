"""The gallery's tagging program tells what the names in Python code are."""

import pytest

from gallery_kit import run_program


# Takes about ten seconds on two idle cores.
@pytest.mark.gallery
def test_names_are_told_apart_by_the_tokens_around_them(tmp_path, capsys):
    figures = run_program("tagging", tmp_path)
    assert figures["CRF, accuracy"] > 0.97  # three seeds: 0.983 to 0.993
    assert figures["CRF, F1"] > 0.94  # 0.965 to 0.981
    assert figures["softmax, accuracy"] > 0.97  # 0.983 to 0.993
    assert figures["usual tag, accuracy"] < 0.85
    assert figures["usual tag, F1"] < 0.4
    assert (tmp_path / "tagging.svg").stat().st_size > 1000
    assert "usual tag" in capsys.readouterr().out
