"""The communicator that MPI carries, and how a process ends that has left `fit` in an error."""

import atexit
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from lstmcore._extras import how_to_install
from lstmcore._signals import signals_deferred
from lstmcore._typing import Array
from lstmcore.distributed.communicator import Request
from lstmcore.distributed.group import FLUSH, LOOK, PAUSE, UNFINISHED

__all__ = ["Connection", "library"]

TAG = 20  # of the few bytes that processes post to each other
LEFT = 21  # of a message without bytes: the sender has left `fit` after an error
LINGER = 0.1  # seconds in which the others' last lines reach the launcher
NOTICE = 5.0  # seconds of waiting at the end of the process after which a line says why

_opening: list[tuple[Any, Any, Request]] = []
"""What is being duplicated, the duplicate, and the request: not all processes have come yet."""

_abandoned: list["Connection"] = []
"""Those after whose end this process must not simply end."""


def library() -> Any:
    """Import mpi4py, which initializes MPI."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: without an MPI library
        raise ImportError(
            "lstmcore.distributed needs mpi4py and an MPI library (the extra lstmcore[mpi]), "
            f"which cannot be imported: {error}; {how_to_install('mpi')}"
        ) from error
    return MPI


class Connection:
    """A `Communicator` of MPI, with messages of its own.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    """

    def __init__(self, comm: Any) -> None:
        self._whole = comm
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self._posted: list[tuple[Any, bytearray]] = []  # what may still be on its way
        self._early: list[tuple[int, int, bytes]] = []  # what is posted once all have come
        self._comm: Any = None
        self._opens: Request | None = None
        self._patience: Mapping[int, float] = {}
        self._ended: Callable[[], Sequence[int]] = list

    # ---- the beginning -----------------------------------------------------------------------

    def connect(self, seconds: float) -> bool:
        """See `Communicator`."""
        with signals_deferred():  # which might lose the request
            self._duplicate()
        # An earlier call that ended before all had come is continued by this one.
        _abandoned[:] = [one for one in _abandoned if one._comm is not self._comm]
        until = time.monotonic() + seconds
        while not self._connected():
            if time.monotonic() > until:
                return False
            time.sleep(1e-4)
        # All have come here, so that none is left in an exchange of an earlier call.
        _abandoned[:] = [one for one in _abandoned if not self._joins_all_of(one)]
        return True

    def _duplicate(self) -> None:
        """Begin to duplicate the communicator, or continue what an earlier call has begun."""
        for whole, comm, request in _opening:
            if whole == self._whole:
                self._comm, self._opens = comm, request
                return
        self._comm, self._opens = self._whole.Idup()
        _opening.append((self._whole, self._comm, self._opens))

    def _connected(self) -> bool:
        """Return whether all have come; if so, send what was posted before."""
        if self._comm is None or (self._opens is not None and not self._opens.Test()):
            return False
        if self._opens is not None:
            self._opens = None
            _opening[:] = [entry for entry in _opening if entry[1] is not self._comm]
            early, self._early = self._early, []
            for message in early:
                self._send(*message)
        return True

    def _joins_all_of(self, other: "Connection") -> bool:
        """Return whether the processes of another connection are those of this one."""
        mpi = library()
        found = mpi.Group.Compare(self._whole.Get_group(), other._whole.Get_group())
        return found in (mpi.IDENT, mpi.SIMILAR)

    # ---- exchanges ---------------------------------------------------------------------------

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
        self._send(rank, TAG, data)

    def _send(self, rank: int, tag: int, data: bytes) -> None:
        if not self._connected():
            self._early.append((rank, tag, data))
            return
        kept = bytearray(data)
        self._posted.append((self._comm.Isend(kept, dest=rank, tag=tag), kept))

    def receive(self) -> tuple[int, bytes] | None:
        """See `Communicator`."""
        return self._received(TAG)

    def _received(self, tag: int) -> tuple[int, bytes] | None:
        if not self._connected():
            return None
        mpi = library()
        status = mpi.Status()
        if not self._comm.Iprobe(source=mpi.ANY_SOURCE, tag=tag, status=status):
            return None
        data = bytearray(status.Get_count(mpi.BYTE))
        self._comm.Recv(data, source=status.Get_source(), tag=tag)
        return status.Get_source(), bytes(data)

    def flush(self, seconds: float) -> None:
        """See `Communicator`."""
        until = time.monotonic() + seconds
        while not self._sent() and time.monotonic() < until:
            time.sleep(1e-4)

    def _sent(self) -> bool:
        """Return whether nothing that was posted is on its way."""
        return all(request.Test() for request, _ in self._posted)

    # ---- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """See `Communicator`."""
        self._comm.Free()

    def abandon(self, patience: Mapping[int, float], ended: Callable[[], Sequence[int]]) -> None:
        """See `Communicator`."""
        self._patience, self._ended = patience, ended
        UNFINISHED.append(self._posted)
        _abandoned.append(self)
        atexit.unregister(_end)
        atexit.register(_end)
        with suppress(Exception):  # of MPI, about a process that has ended
            for rank in patience:
                self._send(rank, LEFT, b"")

    def missed(self) -> list[int]:
        """Wait until the others have left `fit`, too; return those that have not in time."""
        missing, begin = set(self._patience), time.monotonic()
        gone, looked, noticed, sent = set[int](), 0.0, False, False
        while True:
            with suppress(Exception):  # of MPI, about processes that have ended
                while self.receive() is not None:
                    pass  # a long message is on its way until it is read
                while (left := self._received(LEFT)) is not None:
                    missing.discard(left[0])
                sent = self._sent()
            waited = time.monotonic() - begin
            if waited - looked > LOOK:  # at the second look, so that last words have arrived
                looked, before, gone = waited, gone, set(self._ended())
                self._patience = {**self._patience, **dict.fromkeys(before & gone, 0.0)}
            awaited = [rank for rank in missing if waited < self._patience[rank]]
            if not awaited and (sent or waited > FLUSH):
                return sorted(missing)
            if awaited and waited > NOTICE and not noticed:
                noticed = True
                limit = max(self._patience[rank] for rank in awaited)
                self._say(f"waits for {_ranks(awaited)} to leave, {limit:g} s at most")
            time.sleep(PAUSE)

    def end_all(self, missing: Sequence[int]) -> None:
        """End the processes of all communicators."""
        self._say(f"ends all processes, since {_ranks(missing)} did not leave")
        time.sleep(LINGER)
        self._whole.Abort(1)

    def _say(self, what: str) -> None:
        with suppress(Exception):  # nobody may read it any more
            sys.stderr.write(
                f"lstmcore.distributed: rank {self.rank} has left fit after an error, and {what}\n"
            )
            sys.stderr.flush()


def _end() -> None:
    """Let MPI end orderly if all others have left too; else end them, since it would wait."""
    for connection in _abandoned:
        try:
            missing = connection.missed()
        except BaseException:  # a second Ctrl-C
            missing = sorted(connection._patience)
        if missing:
            connection.end_all(missing)


def _ranks(ranks: Sequence[int]) -> str:
    return "rank " + ", ".join(map(str, sorted(ranks)))


def _begins(counts: Sequence[int]) -> list[int]:
    """Return where each of some parts, one after the other, begins."""
    return [int(begin) for begin in np.cumsum([0, *counts[:-1]])]
