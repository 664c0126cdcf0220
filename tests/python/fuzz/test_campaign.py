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
