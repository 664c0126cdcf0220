"""Whether this process was started as its communicator says: one launcher, one MPI library."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["check_before", "check_size", "claim"]

STARTED = {
    "Open MPI's mpirun": "OMPI_COMM_WORLD_SIZE",
    "the mpiexec of MPICH or Intel MPI": "PMI_SIZE",
    "torchrun": "TORCHELASTIC_RUN_ID",
}
"""A variable that each launcher sets in the processes that it starts."""

SIZES = {
    "Open MPI's mpirun": "OMPI_COMM_WORLD_SIZE",
    "the mpiexec of MPICH or Intel MPI": "PMI_SIZE",
    "Slurm's srun": "SLURM_STEP_NUM_TASKS",
}
"""The variable in which each launcher says how many processes it started."""

SLURM = "SLURM_JOB_ID"
"""Under Slurm, the variables of MPICH come from Slurm itself and say nothing about launchers."""

CLAIM = "LSTMCORE_DISTRIBUTED_PROCESS"
"""Number of the process that trains with others; programs that it starts inherit the variable."""

START_ONCE = (
    "start the program once, by one launcher: mpirun -n 4 python train.py, with a list of hosts "
    "for several machines"
)


def check_before(environment: Mapping[str, str]) -> None:
    """Raise RuntimeError if launchers are nested; before MPI is initialized, which might hang.

    Parameters
    ----------
    environment : mapping of str to str
        Of this process.
    """
    found = [launcher for launcher, name in STARTED.items() if name in environment]
    if len(found) > 1 and not (SLURM in environment and "torchrun" not in found):
        raise RuntimeError(
            f"lstmcore.distributed: two launchers, one within the other: {' and '.join(found)} "
            f"both started this process; {START_ONCE}"
        )
    claimed = environment.get(CLAIM)
    if claimed is not None and claimed != str(os.getpid()):
        raise RuntimeError(
            "lstmcore.distributed: this process was started by a process that trains with others "
            f"already (process {claimed}), so their numbers would clash; {START_ONCE}"
        )
    for name, inherited in _launchers_above():
        of_mpich = "PMI_RANK" in inherited and SLURM not in inherited
        if of_mpich or "OMPI_COMM_WORLD_RANK" in inherited:
            raise RuntimeError(
                f"lstmcore.distributed: two launchers, one within the other: the {name} that "
                f"started this process was itself started by a launcher; {START_ONCE}"
            )


def claim() -> None:
    """Note in the environment that this process trains, for programs that it starts."""
    os.environ[CLAIM] = str(os.getpid())


def check_size(environment: Mapping[str, str], size: int, library: str) -> None:
    """Raise RuntimeError if the launcher started another number of processes than MPI knows.

    Parameters
    ----------
    environment : mapping of str to str
    size : int
        Processes that MPI knows.
    library : str
        The name of the MPI library.
    """
    for launcher, name in SIZES.items():
        count = environment.get(name, "")
        if size == 1 and count.isdigit() and int(count) > 1:
            raise RuntimeError(
                f"lstmcore.distributed: {launcher} started {count} processes, but mpi4py is "
                f"connected to another MPI library ({library}), in which each is alone and would "
                "train on its own; use the launcher of that library, or install mpi4py for this "
                "launcher's"
            )
    if size == 1 and "TORCHELASTIC_RUN_ID" in environment:
        count = environment.get("WORLD_SIZE", "several")
        raise RuntimeError(
            f"lstmcore.distributed: torchrun started {count} processes, but MPI does not know "
            "them, so that each would train on its own; start the program by mpirun"
        )


_NAMES = {"mpirun", "mpiexec", "orterun", "prterun", "mpiexec.hydra", "prte", "srun"}


def _launchers_above() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield name and environment of the launchers among this process's ancestors, on Linux."""
    process = os.getppid()
    while process > 1:
        folder = Path("/proc") / str(process)
        try:
            name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
            status = (folder / "status").read_text(encoding="utf-8", errors="replace")
            if name in _NAMES:
                entries = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                yield name, dict(entry.split("=", 1) for entry in entries if "=" in entry)
        except OSError:  # not Linux, or a process of another user
            return
        process = int(status.partition("PPid:")[2].split()[0])
