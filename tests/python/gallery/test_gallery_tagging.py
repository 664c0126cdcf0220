"""The gallery's tagging program tells what the names in Python code are."""

import runpy
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "examples" / "gallery" / "tagging.py"

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists(), reason="the examples are only in the source tree"
)


# Takes about ten seconds on two idle cores.
@pytest.mark.gallery
def test_names_are_told_apart_by_the_tokens_around_them(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    figures = runpy.run_path(str(PROGRAM))["run"](pictures=tmp_path)
    assert figures["CRF accuracy"] > 0.97  # three seeds: 0.983 to 0.993
    assert figures["CRF F1"] > 0.94  # 0.965 to 0.981
    assert figures["softmax accuracy"] > 0.97  # 0.983 to 0.993
    assert figures["usual tag accuracy"] < 0.85
    assert figures["usual tag F1"] < 0.4
    assert (tmp_path / "tagging.svg").stat().st_size > 1000
    assert "usual tag" in capsys.readouterr().out
