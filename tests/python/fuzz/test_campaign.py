"""The campaign notices each rule that an input breaks, and goes on after it."""

import os
import sys

import pytest

import fuzz_kit  # noqa: F401, where the campaign is

import campaign  # isort: skip
import rules  # isort: skip
import targets  # isort: skip

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")


@LINUX
def test_every_rule_is_watched(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTMCORE_FUZZ_LIMIT", "0.3")
    monkeypatch.setattr(rules, "SECONDS", 0.3)
    monkeypatch.setattr(rules, "HANGS", 15)
    said = []
    count = len(targets.by_name("misbehaving").kinds)
    report = campaign.run("misbehaving", inputs=count, artifacts=tmp_path, log=said.append)
    assert report.inputs == count
    assert {rule.partition(" at ")[0]: numbers for rule, numbers in report.finds.items()} == {
        "KeyError": [2],
        "memory": [3],
        "MemoryError": [4],
        "time": [5],
        "hang": [6],
        "death by SIGABRT": [7],
    }
    assert "finds: 6 kinds" in report.line()
    saved = [path for path in tmp_path.iterdir() if path.suffix != ".said"]
    assert sorted(path.read_text() for path in saved) == sorted(
        ("KeyError", "memory", "MemoryError", "slow", "hang", "death")
    )
    assert any("number 7 of seed 0" in line for line in said)


@pytest.mark.parametrize("first", [0, 12, 15])
def test_inputs_that_depend_on_earlier_ones(first):
    """They find what these have left, after a death as well, wherever the campaign begins."""
    report = campaign.run("remembering", inputs=16 - first, first=first, log=str)
    assert report.finds.pop("death by SIGABRT") == {0: [3, 13], 12: [13], 15: [13]}[first]
    assert list(report.finds.values()) == [[5, 15] if first == 0 else [15]]
    (text,) = (report.texts[rule] for rule in report.finds)
    known = [0, 1, 2, 4, 5] if first == 0 else [10, 11, 12, 14, 15]
    assert f"KeyError: {known}" in text


def test_a_target_that_does_not_start(monkeypatch):
    monkeypatch.setitem(os.environ, "PYTHONHOME", "/nowhere")
    with pytest.raises(RuntimeError, match="does not start"):
        campaign.run("misbehaving", inputs=1)


def test_allowed_exceptions():
    assert rules.allowed(UnicodeDecodeError("utf-8", b"", 0, 1, ""))
    assert rules.allowed(FileNotFoundError())
    assert not rules.allowed(KeyError())
    assert not rules.allowed(RecursionError())
    assert rules.allowed(RecursionError(), ["RuntimeError"])
    assert not rules.allowed(KeyError(), ["Exception"])
