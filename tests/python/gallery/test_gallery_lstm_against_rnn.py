"""The gallery's comparison of LSTM and simple RNN shows what its page says."""

import pytest

from gallery_kit import run_program


# Takes about ten seconds on two idle cores: 24 small trainings.
@pytest.mark.gallery
def test_gates_carry_what_a_simple_rnn_loses(tmp_path, capsys):
    figures = run_program("lstm_against_rnn", tmp_path)
    # Over seeds 8e-18 to 1e-17, 2e-14 to 5e-13, and 0.8 to 1.
    assert figures["gradient, tanh RNN"] < 1e-15
    assert 1e-16 < figures["gradient, LSTM, forget bias 1"] < 1e-11
    assert 0.01 < figures["gradient, LSTM, forget bias 5"] < 100
    assert figures["40 steps, LSTM, durations"] > 0.9
    assert figures["10 steps, LSTM"] > 0.9
    assert figures["40 steps, tanh RNN"] < 0.4  # no better than always answering 1, 0.19
    assert figures["10 steps, ReLU RNN"] > 0.8  # within reach, no gates are needed
    assert (tmp_path / "lstm_against_rnn.svg").stat().st_size > 1000
    assert "always 1" in capsys.readouterr().out
