"""What the processes need in order to talk to each other, whatever carries it."""

# ruff: noqa: D102 - the protocols' members are described in their docstrings.

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from lstmcore._typing import Array

__all__ = ["Alone", "Communicator", "Request"]


class Request(Protocol):
    """An exchange that has begun; `Test` makes progress and returns whether it is complete."""

    def Test(self) -> bool: ...


class Communicator(Protocol):
    """One process among `size`; its number is `rank`.

    `connect` waits at most `seconds` until all processes have come, and returns whether they have.
    The exchanges return at once, and their arrays must not be touched until `Request.Test` returns
    True. All processes begin the same ones in the same order:

    - `allgather` puts the equally long `send` of every process into the rows of `received`;
    - `allgatherv` puts them, of `counts` elements each, one after the other;
    - `alltoallv` sends ``counts[q]`` elements to each process q, and receives
      ``received_counts[q]`` from it.

    `post` sends a few bytes to another process without waiting, or as soon as all have come, and
    `receive` returns who sent the next such bytes, and them, or None; `flush` waits at most
    `seconds` until what was posted is on its way. `close` ends the use by all processes together.
    `abandon` ends the process's part after an error. At the end of the process it waits until the
    others have abandoned theirs, at most ``patience[q]`` seconds for each process q and not for
    those that `ended` returns; if one has not, it ends them all. A later `connect` of the same
    processes makes that unnecessary.
    """

    @property
    def rank(self) -> int: ...
    @property
    def size(self) -> int: ...
    def connect(self, seconds: float) -> bool: ...
    def allgather(self, send: Array, received: Array) -> Request: ...
    def allgatherv(self, send: Array, received: Array, counts: Sequence[int]) -> Request: ...
    def alltoallv(
        self,
        send: Array,
        counts: Sequence[int],
        received: Array,
        received_counts: Sequence[int],
    ) -> Request: ...
    def post(self, rank: int, data: bytes) -> None: ...
    def receive(self) -> tuple[int, bytes] | None: ...
    def flush(self, seconds: float) -> None: ...
    def close(self) -> None: ...
    def abandon(
        self, patience: Mapping[int, float], ended: Callable[[], Sequence[int]]
    ) -> None: ...


class Alone:
    """The communicator of a single process, which never has anything to exchange."""

    rank, size = 0, 1

    def connect(self, seconds: float) -> bool:
        """Return True."""
        return True

    def allgather(self, send: Array, received: Array) -> Request:
        raise AssertionError  # a single process exchanges nothing

    def allgatherv(self, send: Array, received: Array, counts: Sequence[int]) -> Request:
        raise AssertionError

    def alltoallv(
        self,
        send: Array,
        counts: Sequence[int],
        received: Array,
        received_counts: Sequence[int],
    ) -> Request:
        raise AssertionError

    def post(self, rank: int, data: bytes) -> None:
        raise AssertionError

    def receive(self) -> tuple[int, bytes] | None:
        return None

    def flush(self, seconds: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def abandon(self, patience: Mapping[int, float], ended: Callable[[], Sequence[int]]) -> None:
        """Do nothing."""
