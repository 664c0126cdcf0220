"""The gallery's character model reaches its quick figures."""

import pytest

from gallery_kit import run_program


@pytest.mark.gallery
def test_the_character_model_learns(tmp_path, capsys):
    figures = run_program("character_model", tmp_path)
    # Frequencies of single characters need about 4.5 bits, a model that has learnt words below 3.
    assert figures["LSTM"] < 2.7
    assert 2.0 < figures["5-gram with back-off"] < 2.8
    assert figures["lzma"] < figures["gzip"]
    assert "temperature 0.3\n" in capsys.readouterr().out
    assert (tmp_path / "character_model.svg").exists()
