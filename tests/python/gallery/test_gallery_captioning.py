"""The gallery's captions: pictures of digits become texts."""

import pytest

from gallery_kit import run_program

pytest.importorskip("sklearn")


@pytest.mark.gallery
def test_strips_of_digits_are_read(tmp_path):
    figures = run_program("captioning", tmp_path)
    # Over seeds: columns 0.93 to 0.97, one vector 0.88 to 0.91.
    assert figures["LSTM, columns"] > 0.88
    assert figures["LSTM, one vector"] > 0.8
    assert figures["LSTM, one vector"] > figures["nearest strip, one vector"] + 0.3
    assert (tmp_path / "captioning.svg").exists()
