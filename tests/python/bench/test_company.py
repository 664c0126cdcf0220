"""The experiments in company: their names, goals and arithmetic. Nothing is timed."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench.company import crowds, experiments
from bench.settings import Settings

import lstmcore as lc
from bench import company, environments, turns


@pytest.fixture
def clock(monkeypatch):
    """Let every look at the clock take a second."""
    seconds = itertools.count()
    monkeypatch.setattr(turns.time, "perf_counter", lambda: float(next(seconds)))
    monkeypatch.setattr(turns.time, "sleep", lambda _: None)


def test_every_goal_is_measured_by_an_experiment():
    assert {goal.experiment for goal in company.GOALS} == set(company.EXPERIMENTS)
    assert set(experiments.EXPERIMENTS) == set(company.EXPERIMENTS)
    names = [goal.name for goal in company.GOALS]
    assert len(names) == len(set(names))
    installed = {environments.OWN, *environments.REQUIREMENTS}
    assert set(company.EXPERIMENTS.values()) <= installed


def test_goals_bound_from_above_or_below():
    most = company.Goal("a", "crowded", "", 1.1)
    least = company.Goal("a", "crowded", "", 1.1, most=False)
    assert [most.holds(ratio) for ratio in (1.0, 1.1, 1.2)] == [True, True, False]
    assert [least.holds(ratio) for ratio in (1.0, 1.1, 1.2)] == [False, True, True]


def test_select():
    assert company.select(["cells", "company"]) == list(company.EXPERIMENTS)
    assert company.select(["company-session", "company-session"]) == ["session"]
    assert company.select(["session", "cells"]) == []


def test_turns_alternate_and_the_first_rotates(clock):
    calls = []
    both = (lambda: calls.append("a"), lambda: calls.append("b"))
    table = turns.alternate(both, 2, turn=2.0)
    # Before the clock starts each is called once; a turn of two seconds has two calls.
    assert "".join(calls) == "ab" + "aabb" + "bbaa"
    assert table == [[1.0, 1.0], [1.0, 1.0]]


def test_ratios_are_of_the_same_round(monkeypatch):
    monkeypatch.setattr(turns, "alternate", lambda *_: [[2.0, 1.0], [3.0, 6.0]])
    assert turns.ratios(lambda: None, lambda: None, 2, 0.1) == [2.0, 0.5]


def test_in_turn_compares_with_the_time_alone(monkeypatch):
    alone = {"first": 1.0, "second": 4.0}
    times = iter([float(n) for n in (0, 2, 7, 10, 12, 17)])  # 2 and 5 seconds, twice
    monkeypatch.setattr(crowds, "clock", lambda: next(times))
    names = iter(["both", "second", "first"])

    def alternate(calls, *_):
        name = next(names)
        if name == "both":
            calls[0]()
        return [[alone.get(name, 0.0)]]

    monkeypatch.setattr(experiments, "alternate", alternate)
    own, other = experiments._in_turn(lambda: None, lambda: None, 1, 0.1)
    assert own == [2.0]
    assert other == [1.25]


def test_thread_counts_are_restored():
    lc.set_num_threads(2)
    table = crowds.thread_counts(crowds.layer(1, 2, "recomputation", size=4), 2, 0.0)
    assert lc.get_num_threads() == 2
    assert len(table) == 2
    assert all(wall > 0 for row in table for wall, _ in row)


def test_busy_loops_end():
    with crowds.busy_loops(1):
        pass


def test_an_environment_that_is_missing_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    lines = []
    results = company.measure(["session"], Settings(), lines.append)
    assert {result["why"] for result in results} == {"onnxruntime is not installed"}
    assert all(result["ratio"] is None for result in results)
    assert all("FAILED" in line for line in lines)


def test_the_package_is_linked_for_other_environments(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    variables = environments.in_company("pytorch", "baseline", None)
    assert variables["LSTMCORE_ISA"] == "baseline"
    # Without site, as in a peer's environment: there no editable installation is in the way.
    script = (
        f"import sys; sys.path.append({str(Path(np.__file__).parents[1])!r}); import lstmcore; "
        "print(lstmcore.__file__, lstmcore.cpu_info().isa)"
    )
    command = [sys.executable, "-S", "-c", script]
    printed = subprocess.run(
        command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert printed == [str(tmp_path / "package" / "lstmcore" / "__init__.py"), "baseline"]
