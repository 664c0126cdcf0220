"""MPI: the options of a distributed training, and the communicator that carries it."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType
from typing import Any

import numpy as np

from lstmcore import _checks
from lstmcore._extras import how_to_install
from lstmcore._typing import Array
from lstmcore.cpu import get_num_threads, set_num_threads
from lstmcore.distributed import launch
from lstmcore.distributed.communicator import Communicator, Request
from lstmcore.distributed.errors import DistributedError
from lstmcore.distributed.group import FAREWELL, RESUME, UNFINISHED, Group
from lstmcore.distributed.session import SHARDS, Sharded

__all__ = ["MPI"]

TAG = 20  # of the few bytes that processes post to each other
LEFT = 21  # of a message without bytes: the sender has reported its error, and ends
LINGER = 0.1  # seconds in which the others' last lines reach the launcher


class MPI(Sharded):
    """Processes that MPI's launcher started: ``mpirun -n 4 python train.py``.

    Parameters
    ----------
    shards : int, default 8
        Parts that every batch is divided into, at least one for each process. The same number gives
        the same bits, whatever the number of processes is; another number gives other bits.
    timeout : float, default 300.0
        Seconds that a process waits for the others, at any point of the training, before it raises
        `DistributedError`. Longer than anything that a callback does on rank 0.
    threads : int, optional
        Threads of each process during `fit`. None: its share of the processors that it may use
        together with others on its machine, at most `lstmcore.get_num_threads()`.
    comm : mpi4py.MPI.Comm, optional
        The processes. None: all, ``MPI.COMM_WORLD``.

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
        shards: int = SHARDS,
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
        return Connection(self._comm, self.timeout)

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
    library = _library()
    comm = library.COMM_WORLD
    name = library.Get_library_version().strip("\0").partition("\n")[0]
    launch.check_size(os.environ, int(comm.Get_size()), name)
    launch.claim()
    return comm


def _library() -> Any:
    """Import mpi4py, which initializes MPI."""
    try:
        from mpi4py import MPI as library
    except (ImportError, RuntimeError) as error:  # RuntimeError: without an MPI library
        raise ImportError(
            "lstmcore.distributed needs mpi4py and an MPI library (the extra lstmcore[mpi]), "
            f"which cannot be imported: {error}; {how_to_install('mpi')}"
        ) from error
    return library


class Connection:
    """A `Communicator` of MPI, with messages of its own.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    timeout : float
        Seconds that other processes may take to call `fit` too.
    """

    def __init__(self, comm: Any, timeout: float) -> None:
        self._whole = comm
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self._posted: list[tuple[Any, bytearray]] = []  # what may still be on its way
        self._together = False
        self._comm, request = comm.Idup()
        until = time.monotonic() + timeout
        while not request.Test():
            if time.monotonic() > until:
                UNFINISHED.append(request)
                self.abandon(FAREWELL)
                raise DistributedError(
                    f"fit: not all of the {self.size} processes called fit within {timeout:g} s; "
                    "all must make the same calls; timeout is the limit"
                )
            time.sleep(1e-4)
        self._together = True

    def allgather(self, send: Array, received: Array) -> Request:
        """See `Communicator`."""
        request: Request = self._comm.Iallgather(send, received)
        return request

    def allgatherv(self, send: Array, received: Array, counts: Sequence[int]) -> Request:
        """See `Communicator`."""
        request: Request = self._comm.Iallgatherv(send, [received, (counts, _begins(counts))])
        return request

    def alltoallv(
        self,
        send: Array,
        counts: Sequence[int],
        received: Array,
        received_counts: Sequence[int],
    ) -> Request:
        """See `Communicator`."""
        request: Request = self._comm.Ialltoallv(
            [send, (counts, _begins(counts))],
            [received, (received_counts, _begins(received_counts))],
        )
        return request

    def post(self, rank: int, data: bytes) -> None:
        """See `Communicator`."""
        self._posted = [(request, kept) for request, kept in self._posted if not request.Test()]
        kept = bytearray(data)
        self._posted.append((self._comm.Isend(kept, dest=rank, tag=TAG), kept))

    def receive(self) -> tuple[int, bytes] | None:
        """See `Communicator`."""
        return self._received(TAG)

    def _received(self, tag: int) -> tuple[int, bytes] | None:
        library = _library()
        status = library.Status()
        if not self._comm.Iprobe(source=library.ANY_SOURCE, tag=tag, status=status):
            return None
        data = bytearray(status.Get_count(library.BYTE))
        self._comm.Recv(data, source=status.Get_source(), tag=tag)
        return status.Get_source(), bytes(data)

    def flush(self, seconds: float) -> None:
        """See `Communicator`."""
        until = time.monotonic() + seconds
        while not all(request.Test() for request, _ in self._posted):
            if time.monotonic() > until:
                UNFINISHED.append(self._posted)
                return
            time.sleep(1e-4)

    def close(self) -> None:
        """See `Communicator`."""
        self._comm.Free()

    def abandon(self, seconds: float) -> None:
        """See `Communicator`: MPI's end would wait for ever, so the process ends without it."""
        atexit.register(self._abort, seconds)

    def _abort(self, seconds: float) -> None:
        """End all processes, once the others have reported their errors, or had time to."""
        until = time.monotonic() + seconds
        others = set(range(self.size)) - {self.rank} if self._together else set()
        with suppress(Exception):  # of MPI, about processes that have ended
            said = [self._comm.Isend(bytearray(), dest=rank, tag=LEFT) for rank in others]
            while time.monotonic() < until and (others or not all(one.Test() for one in said)):
                if (left := self._received(LEFT)) is not None:
                    others.discard(left[0])
                time.sleep(1e-3)
        time.sleep(LINGER)
        self._whole.Abort(1)


def _begins(counts: Sequence[int]) -> list[int]:
    """Return where each of some parts, one after the other, begins."""
    return [int(begin) for begin in np.cumsum([0, *counts[:-1]])]
