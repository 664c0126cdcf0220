"""Meetings of threads on pairs of processors, with a fake of the C++ program."""

import os

import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench import meeting, native


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processors to choose")
def test_the_program_runs_on_each_pair_and_its_figures_are_printed(monkeypatch, capsys):
    mine = os.sched_getaffinity(0)
    asked = []

    def run_json(name, arguments):
        asked.append((name, *arguments))
        return {"nanoseconds": [300, 0, 80, 90]}

    chosen = []
    monkeypatch.setattr(native, "build", lambda: None)
    monkeypatch.setattr(native, "run_json", run_json)
    monkeypatch.setattr(meeting, "available_cores", lambda: [0, 1, 2])
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: chosen.append(list(cores)))
    assert meeting.main(["--measurements", "4"]) == 0
    assert asked == [("meeting", "4")] * 2
    assert chosen == [[0, 1], [0, 1, 2], [0, 2], [0, 1, 2]]
    assert os.sched_getaffinity(0) == mine
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["0", "and", "1", "80", "ns", "90", "ns", "300", "ns", "1"]
    assert len(lines) == 3


def test_a_single_processor_has_no_meetings(monkeypatch, capsys):
    monkeypatch.setattr(meeting, "available_cores", lambda: [3])
    with pytest.raises(SystemExit):
        meeting.main([])
    assert "expected two processors" in capsys.readouterr().err


def test_threads_that_never_ran_together_have_no_figure():
    assert meeting._row([0, 0]) == ["-", "-", "-", "2"]
