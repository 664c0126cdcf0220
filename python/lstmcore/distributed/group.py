"""The processes of one `fit`: small exchanges, with a limit of time and news of failures."""

import os
import pickle
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lstmcore._signals import signals_deferred
from lstmcore.distributed.communicator import Communicator, Request
from lstmcore.distributed.errors import DistributedError

__all__ = ["Group", "Member", "first_other"]

SLOT = 1024  # bytes of an exchange that one call carries; longer ones take a second call
LENGTH = 8  # bytes of the length in front
BUSY = 2.0  # seconds for which requests are tested without a pause, so that exchanges flow
PAUSE = 1e-3  # seconds between two tests afterwards
LOOK = 0.5  # seconds between two looks at whether the other processes of this machine still run
FAREWELL = 3.0  # seconds that a process waits at its end for others that did not answer
FLUSH = 1.0  # seconds for which a process that leaves waits until the others are told
SHARED_PAUSE = 1e-4  # where another process computes on this one's processor meanwhile
FAILED, ASKED, ALIVE = range(3)  # what a posted message says

UNFINISHED: list[object] = []
"""Exchanges that will never be complete; MPI may still write to their arrays."""

Member = tuple[str, int, tuple[int, ...]]
"""Host, number of the process, and the processors that it may use."""


def first_other(values: Sequence[Any]) -> int | None:
    """Return the first rank whose value is not that of rank 0, or None."""
    return next((rank for rank, value in enumerate(values) if value != values[0]), None)


class Group:
    """One process's view of all that train together.

    Parameters
    ----------
    communicator : Communicator
    timeout : float
        Seconds that the others are waited for.

    Attributes
    ----------
    rank, size : int
    members : list of Member
        Of every rank, once `meet` has returned.
    stops : bool
        Whether all have agreed to end the training, and so end it at the same batch. A signal may
        set the ``stop_training`` of one at any time.
    """

    def __init__(self, communicator: Communicator, timeout: float) -> None:
        self.communicator, self.timeout = communicator, timeout
        self.rank, self.size = communicator.rank, communicator.size
        self.members: list[Member] = []
        self.stops = False
        self._agreed: BaseException | None = None
        self._pause = 0.0  # only lets others run
        self._quiet: set[int] = set()  # ranks that did not answer somebody
        self._warned = False  # whether the others know of this process's error
        self._heard: set[int] = set()
        self._near: dict[int, int] = {}  # processes of the ranks on this machine
        self._looked = 0.0
        self._gone: list[int] = []

    # ---- exchanges ---------------------------------------------------------------------------

    def meet(self) -> None:
        """Wait until all have come, and learn who takes part.

        Raises
        ------
        DistributedError
            If some do not come in time, or MPI reports an error.
        """
        self._connect()
        processors = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
        own = (socket.gethostname(), os.getpid(), tuple(sorted(processors)))
        self.members = self.share(own, "the beginning of fit")
        for rank, (host, process, _) in enumerate(self.members):
            if rank != self.rank and host == own[0] and _runs(process):
                self._near[rank] = process  # which a container may hide
        if self.sharing > len(own[2]):
            self._pause = SHARED_PAUSE

    def _connect(self) -> None:
        """Wait until all have come."""
        others = set(range(self.size)) - {self.rank}
        try:
            if self.communicator.connect(self.timeout):
                return
        except Exception as error:  # of MPI
            self._quiet |= others
            raise DistributedError(
                f"fit: the {self.size} processes could not be connected: "
                f"{type(error).__name__}: {error}{RESUME}"
            ) from error
        self._quiet |= others
        raise DistributedError(
            f"fit: not all of the {self.size} processes called fit within {self.timeout:g} s; "
            "all must make the same calls; timeout is the limit"
        )

    @property
    def sharing(self) -> int:
        """How many processes, this one among them, may run on its processors."""
        host, _, processors = self.members[self.rank]
        return sum(
            other == host and not set(processors).isdisjoint(theirs)
            for other, _, theirs in self.members
        )

    def share(self, value: Any, where: str) -> list[Any]:
        """Return the value of every rank.

        Parameters
        ----------
        value : object
            That can be pickled.
        where : str
            The point of the training. It must be the same in all processes.

        Raises
        ------
        DistributedError
            In all processes if they are at different points; or if one fails or does not answer.
        """
        if self.size == 1:
            return [value]
        data = np.frombuffer(pickle.dumps((where, value), protocol=5), np.uint8)
        own, slots = np.zeros(SLOT, np.uint8), np.zeros((self.size, SLOT), np.uint8)
        own[:LENGTH] = np.array([data.size], "<u8").view(np.uint8)
        first = data[: SLOT - LENGTH]
        own[LENGTH : LENGTH + first.size] = first
        self.wait(lambda: self.communicator.allgather(own, slots), where)
        sizes = [int(row[:LENGTH].view("<u8")[0]) for row in slots]
        parts = [row[LENGTH : LENGTH + size] for row, size in zip(slots, sizes, strict=True)]
        if max(sizes) > SLOT - LENGTH:
            whole = np.empty(sum(sizes), np.uint8)
            self.wait(lambda: self.communicator.allgatherv(data, whole, sizes), where)
            parts = np.split(whole, np.cumsum(sizes)[:-1])
        found = [pickle.loads(part.tobytes()) for part in parts]
        self._same_point([point for point, _ in found])
        return [value for _, value in found]

    def _same_point(self, points: list[str]) -> None:
        other = first_other(points)
        if other is not None:
            raise self.agree(
                DistributedError(
                    f"fit: the processes do different things: {self.name(0)} is at {points[0]}, "
                    f"{self.name(other)} at {points[other]}; all must make the same calls and be "
                    f"given the same batches{RESUME}"
                )
            )

    def wait(self, begin: Callable[[], Request], where: str) -> None:
        """Begin an exchange, and wait until it is complete.

        Parameters
        ----------
        begin : callable
            Returns the request.
        where : str
            See `share`.

        Raises
        ------
        DistributedError
            If another process fails or does not answer, or MPI reports an error.
        """
        request = None
        try:
            with signals_deferred():  # which might lose the request
                request = begin()
            self._poll(request, where)
        except BaseException as error:
            if request is not None:
                UNFINISHED.append(request)
            if isinstance(error, Exception) and not isinstance(error, DistributedError):
                raise self._broken(error, where) from error
            raise

    def _poll(self, request: Request, where: str) -> None:
        begin = self._looked = time.monotonic()
        while not request.Test():
            self.look(where)
            waited = time.monotonic() - begin
            if waited > self.timeout:
                raise self._overdue(where)
            time.sleep(PAUSE if waited > BUSY else self._pause)

    def look(self, where: str) -> None:
        """Raise DistributedError if another process has failed, or has ended on this machine."""
        if self.size == 1:
            return
        self._read_messages()
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        # At the second look, so that what a process sent last, data or news, has been received.
        before, self._gone = self._gone, self.ended()
        if gone := [rank for rank in self._gone if rank in before]:
            self._quiet.update(gone)
            what = f"{', '.join(map(self.name, gone))} ended without a message, before {where}"
            raise DistributedError(f"fit: {self._told(what)}{RESUME}")

    def ended(self) -> list[int]:
        """Return the ranks whose processes were on this machine and have ended."""
        return [rank for rank, process in self._near.items() if not _runs(process)]

    # ---- failures ----------------------------------------------------------------------------

    def name(self, rank: int) -> str:
        """Return how a rank is called in errors."""
        if not self.members:
            return f"rank {rank}"
        host, process, _ = self.members[rank]
        return f"rank {rank} (process {process} on {host})"

    def agree(self, error: BaseException) -> BaseException:
        """Note that every process raises this error, so that nobody has to be told; return it."""
        self._agreed = error
        return error

    def agreed(self, error: BaseException | None) -> bool:
        """Return whether all processes have come to this point: after no error, or a common one."""
        return error is None or error is self._agreed

    def leave(self, error: BaseException) -> None:
        """End the use after an error, and tell the others, unless they know."""
        if self.agreed(error):
            self.communicator.close()
            return
        try:
            with signals_deferred():
                self.warn(error)
                self.communicator.flush(FLUSH)
        finally:
            others = [rank for rank in range(self.size) if rank != self.rank]
            patience = {rank: FAREWELL if rank in self._quiet else self.timeout for rank in others}
            self.communicator.abandon(patience, self.ended)

    def warn(self, error: BaseException) -> None:
        """Tell the others of an error that ends this process's part, unless they know."""
        if not self._warned and not self.agreed(error):
            text = str(error).replace(RESUME, "") or "without a message"
            self._told(f"{type(error).__name__}: {text}")

    def _told(self, text: str) -> str:
        """Tell the others why this process leaves; return it."""
        self._warned = True
        self._post(FAILED, text)
        return text

    def _post(self, kind: int, text: str = "") -> None:
        for rank in range(self.size):
            if rank != self.rank:
                with suppress(Exception):  # of MPI, about a process that has ended
                    self.communicator.post(rank, pickle.dumps((kind, text, self._quiet)))

    def _read_messages(self) -> None:
        """Read what others have posted; raise the error if one has failed."""
        while (message := self.communicator.receive()) is not None:
            rank, data = message
            kind, text, quiet = pickle.loads(data)
            self._quiet = (self._quiet | quiet) - {rank, self.rank}
            if kind == FAILED:
                self._warned = True  # that process has told everybody
                raise DistributedError(f"fit: {self.name(rank)} failed: {text}{RESUME}")
            self._heard.add(rank)
            if kind == ASKED:
                self.communicator.post(rank, pickle.dumps((ALIVE, "", self._quiet)))

    def _overdue(self, where: str) -> DistributedError:
        """Find out who does not answer; return the error that says so, and tell the others."""
        if silent := self._silent():
            what = (
                f"no answer from {silent} within {self.timeout:g} s at {where}: it has ended, "
                "hangs, or takes longer; timeout is the limit"
            )
        else:
            what = (
                f"the processes all answer, but did not meet within {self.timeout:g} s at {where}; "
                "timeout is the limit"
            )
        return DistributedError(f"fit: {self._told(what)}{RESUME}")

    def _broken(self, error: Exception, where: str) -> DistributedError:
        """Return the error that says that an exchange has failed, and tell the others."""
        try:
            silent = self._silent()
        except DistributedError as news:  # another process has said what happened
            return news
        except Exception:  # MPI carries no messages any more
            silent = ", ".join(map(self.name, self.ended()))
        others = silent or ", ".join(self.name(rank) for rank in range(self.size))
        what = f"an exchange with {others} failed at {where}: {type(error).__name__}: {error}"
        return DistributedError(f"fit: {self._told(what)}{RESUME}")

    def _silent(self) -> str:
        """Ask all others; return the names of those that do not answer."""
        self._heard.clear()
        self._post(ASKED)
        until = time.monotonic() + min(10.0, max(0.5, self.timeout / 4))
        missing = set(range(self.size)) - {self.rank}
        while missing - self._heard and time.monotonic() < until:
            self._read_messages()
            time.sleep(PAUSE)
        silent = missing - self._heard
        self._quiet |= silent
        return ", ".join(map(self.name, sorted(silent)))


def _runs(process: int) -> bool:
    """Return whether a process of this machine has not ended; True where that is not known."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except ProcessLookupError:
        return False
    except OSError:  # of another user, or a system without /proc
        return True
    return state.rpartition(")")[2].split()[0] not in "ZX"


RESUME = (
    ". Training resumes from the last checkpoint, with any number of processes: "
    "model = lstmcore.load(PATH), then fit(..., initial_epoch=model.epoch)"
)
