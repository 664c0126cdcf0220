"""`lstmcore.distributed` on MPI, with processes that its launcher starts on this machine."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lstmcore as lc

PROGRAM = Path(__file__).parents[1] / "mpi_program.py"
LAUNCHER = shutil.which("mpirun", path=Path(sys.executable).parent) or shutil.which("mpirun")
LIMIT = 240.0
# MPICH's launcher ends all processes by SIGKILL when one has died: none has time to say why.
HYDRA = LAUNCHER is not None and Path(LAUNCHER).with_name("mpiexec.hydra").exists()

pytestmark = pytest.mark.skipif(
    find_spec("mpi4py") is None or LAUNCHER is None, reason="make test-mpi has what this needs"
)

ENVIRONMENT = {
    # Open MPI 4 and 5: as root, more processes than processors, and messages by shared memory only.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_btl": "^tcp",
    "OMPI_MCA_oob_tcp_if_include": "lo",
}


def start(arguments, **more):
    """Run a command, and end it if it hangs; return it when it has ended."""
    environment = {**os.environ, **ENVIRONMENT, **more}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [str(part) for part in arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def launch(size, *arguments, module=()):
    return start([LAUNCHER, "-n", size, sys.executable, *module, PROGRAM, *arguments])


def found(folder):
    """Return what each rank wrote."""
    files = sorted(folder.glob("[0-9].json"))
    return [json.loads(path.read_text()) for path in files]


def trained(size, folder, *arguments):
    """Return what rank 0 found, which all others must have found too."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("[0-9].json"):
        path.unlink()
    if size:
        ended = launch(size, *arguments)
    else:
        ended = start([sys.executable, PROGRAM, *arguments], MPI_PROGRAM_ALONE="1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = found(folder)
    assert len(results) == max(size, 1)
    assert all(result == results[0] for result in results)
    assert results[0].pop("size") == max(size, 1)
    return results[0]


def test_an_epoch_of_the_demo(tmp_path):
    figures = [
        trained(size, folder, "demo", folder, 1)
        for size in (1, 2, 4)
        for folder in [tmp_path / str(size)]
    ]
    assert figures == figures[:1] * 3
    assert figures[0]["history"]["val_accuracy"][0] > 0.6


def test_three_processes_send_rows_of_an_embedding(tmp_path):
    alone = trained(0, tmp_path / "alone", "rows", tmp_path / "alone")
    assert trained(3, tmp_path / "3", "rows", tmp_path / "3") == alone


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a training that nothing disturbs finds, and the folder of its files."""
    folder = tmp_path_factory.mktemp("whole")
    return trained(0, folder, "train", folder), folder


def check_resumed(size, folder, whole):
    """Resume from the last file with `size` processes; the end is that of the undisturbed one."""
    names = {path.name for path in folder.glob("*.safetensors*")}
    assert names == {"1.safetensors", "2.safetensors"}
    assert lc.load(folder / "2.safetensors").epoch == 2
    assert trained(size, folder, "train", folder, 2) == whole[0]
    last = (folder / "6.safetensors").read_bytes()
    assert last == (whole[1] / "6.safetensors").read_bytes()


@pytest.mark.parametrize(("size", "rank"), [(2, 1), (4, 0)])
def test_a_process_is_killed(size, rank, tmp_path, whole):
    """All others end with an error, and the training resumes with another number."""
    ended = launch(size, "killed", tmp_path, rank)
    assert ended.returncode != 0
    errors = found(tmp_path)
    assert len(errors) == (0 if HYDRA else size - 1)
    assert "Killed" in ended.stdout + ended.stderr or not HYDRA
    for error in errors:
        assert "DistributedError: fit:" in error["error"]
        assert f"rank {rank} (process" in error["error"]
        assert "resumes from the last checkpoint" in error["error"]
    assert ended.stdout.count("Epoch 1/6") == 1
    check_resumed(6 - size, tmp_path, whole)


@pytest.mark.parametrize(
    ("command", "rank", "own"),
    [
        ("terminated", 1, "this process was told to end (SIGTERM)"),
        ("interrupted", 0, "KeyboardInterrupt"),
    ],
)
def test_a_process_is_told_to_end(command, rank, own, tmp_path):
    """It tells the others, which do not wait for their limit of time."""
    ended = launch(3, command, tmp_path, rank)
    assert ended.returncode != 0
    errors = [error["error"] for error in found(tmp_path)]
    assert len(errors) == 3
    assert own in errors.pop(rank)
    for error in errors:
        assert f"DistributedError: fit: rank {rank} (process" in error
        assert own in error
        assert error.count("resumes from the last checkpoint") == 1
    assert lc.load(tmp_path / "2.safetensors").epoch == 2


def test_rank_0_is_told_to_end_in_a_callback(tmp_path):
    ended = launch(2, "terminated_in_a_callback", tmp_path)
    assert ended.returncode != 0
    first, second = (error["error"] for error in found(tmp_path))
    assert "this process was told to end (SIGTERM)" in first
    assert "fit: rank 0 (process" in second
    assert "told to end (SIGTERM)" in second
    assert lc.load(tmp_path / "2.safetensors").epoch == 2


def test_a_process_hangs(tmp_path):
    ended = launch(4, "stopped", tmp_path, 1)
    assert ended.returncode != 0
    for rank in (0, 2, 3):  # the launcher may let rank 1 go on, to be told to end
        error = json.loads((tmp_path / f"{rank}.json").read_text())["error"]
        assert "no answer from rank 1 (process" in error
        assert "within 3 s at step 15 of the optimizer" in error
    assert lc.load(tmp_path / "2.safetensors").epoch == 2


def test_an_error_before_fit_ends_all(tmp_path):
    """By mpi4py's own way to run a program; else the others wait in `fit` for their limit."""
    ended = launch(2, "early", tmp_path, module=["-m", "mpi4py"])
    assert ended.returncode != 0
    errors = [one["error"] for one in found(tmp_path)]
    assert any("OSError: no such file on this machine" in error for error in errors)
    for error in errors:  # the other may have time to say that MPI's launcher ended it
        assert "no such file on this machine" in error or "told to end (SIGTERM)" in error


def test_models_that_differ(tmp_path):
    ended = launch(2, "differ", tmp_path)
    assert ended.returncode != 0
    errors = found(tmp_path)
    assert len(errors) == 2
    for error in errors:
        assert "ValueError: fit: expected the same model" in error["error"]
        assert "rank 1" in error["error"]
        assert "other seed, weights" in error["error"]


def test_processes_go_on_after_an_error_that_all_have(tmp_path):
    ended = launch(2, "recover", tmp_path)
    assert ended.returncode == 0, ended.stderr
    first, second = found(tmp_path)
    assert "the loss is nan in step 1 of the optimizer" in first["refused"]
    assert first["bits"] == second["bits"]
    (threads,) = first["threads"]
    assert threads <= max(1, len(os.sched_getaffinity(0)) // 2)
    assert second["threads"] == []  # callbacks run on rank 0


def test_an_error_that_was_caught_ends_nobody_later(tmp_path):
    ended = launch(2, "go_on", tmp_path)
    assert ended.returncode == 0, ended.stderr
    first, second = found(tmp_path)
    assert first == second
    assert "epochs: expected an integer of at least 1" in first["refused"]


def test_an_error_in_one_group_does_not_end_another(tmp_path):
    ended = launch(4, "together", tmp_path)
    assert ended.returncode != 0
    first, second, *others = found(tmp_path)
    assert "failed: OSError: no such file" in first["error"]
    assert "OSError: no such file" in second["error"]
    assert others[0] == others[1]
    assert "bits" in others[0]


def test_an_interruption_before_all_have_come(tmp_path):
    ended = launch(2, "early_ctrl_c", tmp_path)
    assert ended.returncode != 0
    first, second = (error["error"] for error in found(tmp_path))
    assert "KeyboardInterrupt" in first
    assert "fit: rank 0 failed: KeyboardInterrupt" in second


def test_two_launchers(tmp_path):
    ended = start(
        [LAUNCHER, "-n", 2, LAUNCHER, "-n", 2, sys.executable, PROGRAM, "train", tmp_path]
    )
    assert ended.returncode != 0
    errors = found(tmp_path)
    assert errors
    for error in errors:
        assert "two launchers, one within the other" in error["error"]


def test_a_process_without_a_launcher(tmp_path):
    ended = start([sys.executable, PROGRAM, "train", tmp_path])
    assert ended.returncode == 0, ended.stderr
    assert found(tmp_path)[0]["size"] == 1


def test_the_check_of_an_installation():
    ended = start([LAUNCHER, "-n", 2, sys.executable, "-m", "lstmcore.distributed", 1000])
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == f"2 processes, lstmcore {lc.__version__}"
    assert [line[:15] for line in lines[1:3]] == ["rank 0 (process", "rank 1 (process"]
    assert "small exchange" in lines[3]
    assert "1,000 gradients" in lines[4]
