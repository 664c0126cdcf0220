"""Peers that are held to an instruction set, and turns. Processes are imitations."""

import json

import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench.environments import OWN
from bench.settings import Settings

from bench import controller, environments, instruction_sets, native, report, results
from bench_kit import case


def test_variables_of_held_peers():
    assert "avx2" in instruction_sets.HELD
    free = environments.variables("pytorch", 2, None, False)
    held = environments.variables("pytorch", 2, None, False, "avx2")
    assert "ONEDNN_MAX_CPU_ISA" not in free
    assert (held["ONEDNN_MAX_CPU_ISA"], held["ATEN_CPU_CAPABILITY"]) == ("AVX2", "avx2")
    assert held["OMP_NUM_THREADS"] == "2"
    flags = [environments.variables(p, 1, None, False, "avx2")["XLA_FLAGS"] for p in ("jax", "mnn")]
    assert "ynn" in flags[0]
    assert "ynn" not in flags[1]
    own = environments.variables(OWN, 1, "avx2", False, "avx2")
    assert own["LSTMCORE_ISA"] == "avx2"


def watch(monkeypatch, folder, ages, elapsed=1.0):
    for thread, age in enumerate(ages):
        (folder / str(thread)).mkdir(parents=True)
        (folder / str(thread) / "arch_status").write_text(f"AVX512_elapsed_ms:\t{age}\n")
    monkeypatch.setattr(instruction_sets, "Path", lambda _: folder)
    monkeypatch.setattr(instruction_sets.time, "monotonic", lambda: 100.0 + elapsed)
    return instruction_sets.Watch(1, 100.0)


@pytest.mark.parametrize(
    ("ages", "saw"),
    [([-1, -1], False), ([1500, -1], False), ([-1, 4], True), ([996], False), ([], None)],
)
def test_watch_sees_any_thread(monkeypatch, tmp_path, ages, saw):
    assert watch(monkeypatch, tmp_path, ages).saw_avx512() is saw


class Imitation:
    """Answers like the process of a peer."""

    def __init__(self, name, seconds, pid=0):
        self.name, self.seconds, self.pid = name, seconds, pid
        self.absent = ""
        self.turns = 0

    def ask(self, do, **request):
        if do == "prepare":
            return {"digest": {}, "facts": {}}
        if do == "warm":
            return {"seconds": self.seconds, "variant": "way", "failures": []}
        self.turns += 1
        return {"seconds": self.seconds}


def measure(peers, **settings):
    run = results.Run()
    how = Settings(settle=0.0, turn=0.01, **settings)
    found = controller._measure_case(case("1x1x32x32"), peers, how, run)
    return run, {each.peer: each for each in found}


def test_slow_peers_get_three_turns():
    peers = [Imitation(OWN, 0.01), Imitation("jax", 0.014), Imitation("mnn", 0.016)]
    _, found = measure(peers, repeats=7)
    assert [len(found[peer.name].seconds) for peer in peers] == [7, 7, 3]
    # lstmcore gets all its turns, however slow it is; long calls stop at the budget.
    peers = [Imitation(OWN, 0.5), Imitation("jax", 0.01), Imitation("mnn", 0.012)]
    _, found = measure(peers, repeats=7, budget=2.2)
    assert [len(found[peer.name].seconds) for peer in peers] == [5, 7, 7]


@pytest.mark.parametrize("saw", [True, False, None])
def test_a_peer_that_breaks_out_is_left_out(monkeypatch, saw):
    monkeypatch.setattr(
        instruction_sets.Watch, "saw_avx512", lambda self: saw if self.process == 7 else False
    )
    peers = [Imitation(OWN, 0.01), Imitation("jax", 0.01, pid=7)]
    run, found = measure(peers, repeats=3, isa="avx2", peers_isa="avx2")
    assert found[OWN].timed
    assert found["jax"].timed is not (saw is True)
    run.settings["peers_isa"] = "avx2"
    run.measurements = list(found.values())
    lines = "\n".join(report.preamble(run))
    assert ("Left out where they used AVX-512 all the same: jax." in lines) is (saw is True)
    assert ("Not verified, since the system does not say: jax." in lines) is (saw is None)
    assert results.Run(**json.loads(json.dumps({"held": run.held}))).held == run.held


def test_free_peers_are_not_watched():
    run, _ = measure([Imitation(OWN, 0.01)], repeats=1)
    assert run.held == {}


def limit(isa, threads, gflops):
    return {"isa": isa, "dtype": "float32", "threads": threads, "gflops": gflops}


def test_the_largest_limit_counts():
    reads = [{"level": "L1", "bytes": 1, "threads": 1, "gigabytes": 5.0}]
    first = {"fma": [limit("avx2", 1, 80.0), limit("avx2", 2, 150.0)], "read": reads}
    second = {"fma": [limit("avx2", 1, 82.0)], "read": []}
    third = {"fma": [limit("avx2", 2, 140.0), limit("avx512", 2, 300.0)]}
    best = native.better(native.better(first, second), third)
    found = {(entry["isa"], entry["threads"]): entry["gflops"] for entry in best["fma"]}
    assert found == {("avx2", 1): 82.0, ("avx2", 2): 150.0, ("avx512", 2): 300.0}
    assert best["read"] == reads
    assert native.better({}, {}) == {}
    assert native.better({}, second)["fma"] == second["fma"]


def test_limits_are_measured_again_after_each_case(monkeypatch):
    asked = []

    def fma_limit(*what):
        asked.append(what)
        return {"fma": [limit("avx2", 2, 200.0)]}

    monkeypatch.setattr(native, "fma_limit", fma_limit)
    one = case("1x1x32x32")
    run = results.Run(versions={OWN: {"isa": "avx2"}}, limits={"fma": [limit("avx2", 2, 150.0)]})
    run.measurements = [results.Measurement(one, OWN, seconds=[1.0], calls=1)]
    controller._raise_limits(run, one)
    assert asked == [("avx2", "float32", 2)]
    assert run.limit("avx2", "float32", 2) == 200.0


def test_install_only_what_is_missing(monkeypatch, tmp_path):
    commands = []
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    monkeypatch.setattr(
        environments.subprocess, "run", lambda command, **_: commands.append(command)
    )
    python = environments.interpreter("keras-jax")
    assert python.parts[-3] == "jax"
    python.parent.mkdir(parents=True)
    python.touch()
    environments.install([OWN, "jax", "keras-jax"])
    assert [command[-3:] for command in commands] == [["numpy", "jax", "keras"]]
    environments.install(["jax"])
    assert len(commands) == 1
