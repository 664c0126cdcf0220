"""The gallery's transfer program learns five digits from few examples after five others."""

import pytest

from gallery_kit import run_program


# Takes about twenty seconds on two idle cores.
@pytest.mark.gallery
def test_layers_from_another_task_help(tmp_path, capsys):
    pytest.importorskip("sklearn")
    figures = run_program("transfer", tmp_path)
    assert figures["all trained"] > figures["from nothing"] + 0.02
    assert figures["all trained"] > 0.85
    assert figures["unfrozen after 30"] > figures["from nothing"]
    assert figures["logistic regression"] > 0.9  # which is the better tool here
    assert (tmp_path / "transfer.svg").stat().st_size > 1000
    assert "from nothing" in capsys.readouterr().out
