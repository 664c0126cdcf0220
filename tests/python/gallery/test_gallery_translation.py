"""The gallery's translations: strings in, strings out."""

import pytest

from gallery_kit import run_program

pytest.importorskip("babel")
pytest.importorskip("num2words")
pytest.importorskip("sacrebleu")


@pytest.mark.gallery
def test_dates_and_unseen_numbers_are_translated(tmp_path):
    figures = run_program("translation", tmp_path)
    # Over seeds: 0.995 to 1.
    assert figures["dates, exact"] > 0.95
    assert figures["numbers, exact"] > 0.95
    assert figures["numbers, exact, nearest sentence"] == 0.0
    assert figures["numbers, BLEU"] > figures["numbers, BLEU, nearest sentence"] + 0.4
    assert (tmp_path / "translation_dates.svg").exists()
    assert (tmp_path / "translation_numbers.svg").exists()
