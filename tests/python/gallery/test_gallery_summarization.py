"""The gallery's summaries: docstrings become their first lines."""

import pytest

from gallery_kit import run_program

for name in ("rouge_score", "sklearn", "pandas"):
    pytest.importorskip(name)


@pytest.mark.gallery
def test_copying_beats_the_lead_and_a_fixed_vocabulary(tmp_path):
    figures = run_program("summarization", tmp_path)
    assert figures["ROUGE-L, copying"] > figures["ROUGE-L, lead"] + 0.05
    assert figures["ROUGE-L, copying"] > figures["ROUGE-L, no copying"] + 0.05
    assert (tmp_path / "summarization.svg").exists()
