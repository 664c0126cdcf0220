"""The comparison of two builds, with fakes of their processes."""

import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench import pair
from bench_kit import case


class Build:
    """Answers like the process of one build; each turn takes the next of `seconds`."""

    def __init__(self, log, name, seconds):
        self.log, self.name, self.seconds = log, name, iter(seconds)

    def ask(self, do, **request):
        if do == "prepare":
            return {}
        if do == "time":
            self.log.append((self.name, request["calls"]))
        return {"seconds": next(self.seconds)}


def test_ratios_are_of_neighbouring_turns_and_builds_alternate_in_beginning(monkeypatch):
    monkeypatch.setattr(pair.time, "sleep", lambda _: None)
    log = []
    builds = [Build(log, "before", [1.0, 1.0, 2.0]), Build(log, "after", [0.5, 3.0, 2.0])]
    assert pair._ratios(builds, case("1x1x32x32"), turn=2.0, repeats=2) == [3.0, 1.0]
    # The faster build decides how many calls a turn has.
    assert log == [("after", 4), ("before", 4), ("before", 4), ("after", 4)]


def test_a_build_that_cannot_run_a_case_is_an_error():
    class Broken(Build):
        def ask(self, do, **request):
            return {"error": "no such function"}

    with pytest.raises(RuntimeError, match="no such function"):
        pair._ratios([Broken([], "a", []), Broken([], "b", [])], case("1x1x32x32"), 0.1, 1)


def test_a_folder_without_the_package_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        pair.main([str(tmp_path), str(tmp_path)])
    assert f"expected a folder that holds lstmcore/, got {tmp_path}" in capsys.readouterr().err
