"""MPI: the options of a distributed training, and what is set up around it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

from lstmcore import _checks
from lstmcore.cpu import get_num_threads, set_num_threads
from lstmcore.distributed import launch
from lstmcore.distributed.communicator import Communicator
from lstmcore.distributed.connection import Connection, library
from lstmcore.distributed.errors import DistributedError
from lstmcore.distributed.group import RESUME, Group
from lstmcore.distributed.session import Sharded

__all__ = ["MPI"]


class MPI(Sharded):
    """Processes that MPI's launcher started: ``mpirun -n 4 python train.py``.

    Parameters
    ----------
    shards : int, optional
        Parts that every batch is divided into, at least one for each process. The same number gives
        the same bits, whatever the number of processes is; another number gives other bits. None:
        as many as have 64 rows or more each, from 1 to 8; so it depends on ``batch_size`` (or on
        the number of samples, where they are fewer; or on the first batch of an iterable) alone.
    timeout : float, default 300.0
        Seconds that a process waits for the others, at any point of the training, before it raises
        `DistributedError`. Longer than anything that a callback does on rank 0.
    threads : int, optional
        Threads of each process during `fit`. None: its share of the processors that it may use
        together with others on its machine, at most `lstmcore.get_num_threads()`.
    comm : mpi4py.MPI.Comm, optional
        The processes. None: all, ``MPI.COMM_WORLD``. Several communicators may train apart at the
        same time. After an error in one, its processes wait at their end for the others; but if one
        of its processes dies or does not answer, MPI can only end all of the program's.

    Raises
    ------
    ImportError
        If mpi4py or an MPI library is not installed.
    RuntimeError
        If launchers are nested, or the launcher is not that of mpi4py's MPI library, so that
        every process would train on its own.

    Attributes
    ----------
    rank : int
        This process's number, from 0.
    size : int
        The number of processes.
    """

    def __init__(
        self,
        shards: int | None = None,
        *,
        timeout: float = 300.0,
        threads: int | None = None,
        comm: Any = None,
    ) -> None:
        super().__init__(shards, timeout)
        self.threads = None if threads is None else _checks.integer(threads, "threads", 1)
        if comm is not None and not (hasattr(comm, "Get_rank") and hasattr(comm, "Idup")):
            raise TypeError(f"comm: expected an mpi4py.MPI.Comm, got {_checks.describe(comm)}")
        self.comm = comm
        self._comm = _connect() if comm is None else comm

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return int(self._comm.Get_rank())

    @property
    def size(self) -> int:
        """The number of processes."""
        return int(self._comm.Get_size())

    def _open(self) -> Communicator:
        return Connection(self._comm)

    def _ended_orderly(self, groups: list[Group]) -> AbstractContextManager[None]:
        return ended_by_signal(groups)

    @contextmanager
    def _running(self, group: Group) -> Iterator[None]:
        """Give the processes of a machine their threads."""
        before = get_num_threads()
        set_num_threads(self.threads or min(before, share_of_threads(group)))
        try:
            yield
        finally:
            set_num_threads(before)


def share_of_threads(group: Group) -> int:
    """Return how many threads a process may use if those that share its processors use as many."""
    return max(1, len(group.members[group.rank][2]) // group.sharing)


@contextmanager
def ended_by_signal(groups: list[Group]) -> Iterator[None]:
    """Turn SIGTERM into an error: launchers send it to all processes when one of them dies.

    Parameters
    ----------
    groups : list of Group
        The processes, once they have met.
    """

    def end(number: int, frame: FrameType | None) -> None:
        dead = [group.name(rank) for group in groups for rank in group.ended()]
        which = f"here {' and '.join(dead)}" if dead else "which their own message names"
        raise DistributedError(
            f"fit: this process was told to end (SIGTERM); launchers do so when another process "
            f"has died, {which}{RESUME}"
        )

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _connect() -> Any:
    """Return the communicator of all processes, after looking at how they were started."""
    launch.check_before(os.environ)
    mpi = library()
    comm = mpi.COMM_WORLD
    name = mpi.Get_library_version().strip("\0").partition("\n")[0]
    size = int(comm.Get_size())
    launch.check_size(os.environ, size, name)
    if size > 1:  # one process alone may start others that train together
        launch.claim()
    return comm
