"""The gallery's speech recognition hears more in the noise than templates."""

import shutil

import pytest

from gallery_kit import run_program

pytestmark = [
    pytest.mark.gallery,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"),
]


# Takes about 20 seconds on two idle cores: the voices, the training and the templates.
def test_a_voice_that_was_never_heard_is_understood(tmp_path):
    figures = run_program("speech_recognition", tmp_path)
    assert figures["lstm"] > 0.88  # seeds 0 and 1: 0.967 and 0.950
    assert figures["lstm_wer"] < 0.03  # 0.007 and 0.011
    assert 0.6 < figures["templates"] < figures["lstm"]  # 0.850 and 0.817: no easy prey
    assert figures.get("jiwer", figures["lstm_wer"]) == pytest.approx(figures["lstm_wer"])
    assert (tmp_path / "speech_recognition.svg").stat().st_size > 1000
