"""The gallery's parity is learned from short to long, and not from long sequences alone."""

import pytest

from gallery_kit import run_program


# Takes about ten seconds on two idle cores.
@pytest.mark.gallery
def test_parity_is_learned_from_short_to_long(tmp_path, capsys):
    figures = run_program("curriculum", tmp_path)
    assert figures["short to long"] == 1.0  # as with the seeds 1 and 2
    assert figures["short to long, steps"] <= 600  # 180, 200 and 240
    assert figures["short to long, ten times as long"] > 0.95  # 1.0
    assert figures["longest alone"] < 0.65  # 0.49 to 0.54
    assert figures["longest alone, steps"] == 2000
    assert figures["all lengths, steps"] > 1.5 * figures["short to long, steps"]
    assert figures["one answer"] < 0.6
    assert (tmp_path / "curriculum.svg").stat().st_size > 1000
    assert "short to long" in capsys.readouterr().out
