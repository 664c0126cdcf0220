"""The gallery's program about many catchments shows what attributes are worth."""

import pytest

from gallery_kit import run_program


# Takes about fifteen seconds on two idle cores: five trainings.
@pytest.mark.gallery
def test_attributes_help_in_catchments_that_were_never_seen(tmp_path, capsys):
    figures = run_program("catchments", tmp_path)
    where = "other catchments"
    assert figures[f"LSTM, at every step, {where}"] > 0.93  # two seeds: 0.970 and 0.978
    assert figures[f"LSTM, before the head, {where}"] > 0.93  # 0.967 and 0.974
    assert figures[f"LSTM, in the input gate, {where}"] > 0.92  # 0.950 and 0.962
    assert figures[f"LSTM, as the first state, {where}"] > figures[f"LSTM, nowhere, {where}"]
    assert figures[f"LSTM, nowhere, {where}"] < 0.92  # 0.876 and 0.887
    assert figures[f"ridge regression, {where}"] < 0.88  # 0.813 and 0.836
    assert (tmp_path / "catchments.svg").stat().st_size > 1000
    assert "fresh years" in capsys.readouterr().out
