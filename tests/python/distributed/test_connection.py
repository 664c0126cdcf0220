"""The communicator of MPI, with messages that lie in lists: how a process ends after an error."""

import types

import pytest

from lstmcore.distributed import DistributedError, connection, group
from lstmcore.distributed.connection import Connection
from lstmcore.distributed.group import Group


class Done:
    """A request; it is complete when `ready` says so."""

    def __init__(self, ready=lambda: True):
        self.ready = ready

    def Test(self):
        return self.ready()


class Comm:
    """What a process sees of MPI: `boxes` holds (source, tag, data) that others have sent."""

    def __init__(self, rank=0, size=2, come=lambda: True):
        self.rank, self.size, self.come = rank, size, come
        self.boxes, self.sent, self.aborted, self.duplicates = [], [], False, []

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.size

    def Get_group(self):
        return self.size

    def Idup(self):
        self.duplicates.append(Comm(self.rank, self.size, self.come))
        return self.duplicates[-1], Done(self.come)

    def Isend(self, data, dest, tag):
        self.sent.append((dest, tag, bytes(data)))
        return Done()

    def Iprobe(self, source, tag, status):
        found = [entry for entry in self.boxes if entry[1] == tag]
        status.first = found[0] if found else None
        return bool(found)

    def Recv(self, data, source, tag):
        entry = next(entry for entry in self.boxes if entry[:2] == (source, tag))
        self.boxes.remove(entry)
        data[:] = entry[2]

    def Abort(self, code):
        self.aborted = True


class Status:
    def Get_count(self, unit):
        return len(self.first[2])

    def Get_source(self):
        return self.first[0]


@pytest.fixture(autouse=True)
def played(monkeypatch):
    """Put a module in the place of mpi4py, and no real exit handler in its place."""
    compare = types.SimpleNamespace(Compare=lambda one, other: 0 if one == other else 1)
    module = types.SimpleNamespace(Status=Status, ANY_SOURCE=-1, BYTE=1, Group=compare)
    module.IDENT, module.SIMILAR = 0, 2
    monkeypatch.setattr(connection, "library", lambda: module)
    registered = []
    registry = types.SimpleNamespace(register=registered.append, unregister=lambda _: None)
    monkeypatch.setattr(connection, "atexit", registry)
    monkeypatch.setattr(connection, "PAUSE", 0.0)
    for name in ("FLUSH", "LINGER", "LOOK"):
        monkeypatch.setattr(connection, name, 0.01)
    for name in ("_opening", "_abandoned"):
        monkeypatch.setattr(connection, name, [])
    return registered


def left(comm, patience, ended=list):
    """Connect, leave after an error, and return the duplicate that the messages pass through."""
    own = Connection(comm)
    assert own.connect(1.0)
    own.abandon(patience, ended)
    return comm.duplicates[-1]


def end(registered):
    registered[-1]()


def test_mpi_ends_orderly_once_all_have_left(played):
    comm = Comm(size=3)
    talk = left(comm, {1: 60.0, 2: 60.0})
    assert talk.sent == [(1, connection.LEFT, b""), (2, connection.LEFT, b"")]
    talk.boxes += [
        (2, connection.LEFT, b""),
        (1, connection.TAG, b"why"),
        (1, connection.LEFT, b""),
    ]
    end(played)
    assert not comm.aborted
    assert talk.boxes == []  # read, so that nothing long is still on its way


def test_who_does_not_leave_is_waited_for_and_then_ended(played, capfd, monkeypatch):
    monkeypatch.setattr(connection, "NOTICE", 0.0)
    comm = Comm(rank=1, size=3)
    talk = left(comm, {0: 0.05, 2: 0.05})
    talk.boxes.append((0, connection.LEFT, b""))
    end(played)
    assert comm.aborted
    lines = capfd.readouterr().err.splitlines()
    assert "rank 1 has left fit after an error, and waits for rank 2 to leave, 0.05 s" in lines[0]
    assert "ends all processes, since rank 2 did not leave" in lines[1]


def test_a_process_that_has_died_is_not_waited_for(played):
    comm = Comm()
    left(comm, {1: 60.0}, lambda: [1])
    end(played)
    assert comm.aborted


def test_a_later_fit_of_the_same_processes_makes_the_end_orderly(played):
    comm, fewer = Comm(size=3), Comm(size=2)
    left(comm, {1: 60.0, 2: 60.0})
    assert Connection(fewer).connect(1.0)
    assert len(connection._abandoned) == 1  # others than these were in the first
    assert Connection(comm).connect(1.0)
    end(played)
    assert not comm.aborted


def test_news_from_before_all_had_come_are_sent_when_they_have(played):
    """Ctrl-C while the others still read their data."""
    came = []

    def come():
        if came == [0]:
            raise KeyboardInterrupt
        return bool(came)

    comm = Comm(come=come)
    own = Group(Connection(comm), 60.0)
    came.append(0)
    with pytest.raises(KeyboardInterrupt) as caught:
        own.meet()
    came.clear()
    own.leave(caught.value)
    (talk,) = comm.duplicates
    assert talk.sent == []
    assert len(connection._opening) == 1  # alive, since MPI may still write to it
    came.append(1)
    talk.boxes.append((1, connection.LEFT, b""))
    end(played)
    (told, said) = talk.sent
    assert told[1] == connection.TAG
    assert b"KeyboardInterrupt" in told[2]
    assert said == (1, connection.LEFT, b"")
    assert not comm.aborted
    assert connection._opening == []


def test_a_second_call_continues_the_first_that_not_all_had_made(played):
    came = []
    comm = Comm(come=lambda: bool(came))
    own = Group(Connection(comm), 0.01)
    with pytest.raises(DistributedError, match="not all of the 2 processes called fit") as caught:
        own.meet()
    own.leave(caught.value)
    came.append(1)
    assert Connection(comm).connect(1.0)
    assert len(comm.duplicates) == 1
    assert connection._abandoned == []


def test_an_error_of_mpi_at_the_beginning(played, monkeypatch):
    monkeypatch.setattr(group, "FAREWELL", 0.01)

    class Refusing(Comm):
        def Idup(self):
            raise OSError("MPI_ERR_COMM")

    comm = Refusing()
    own = Group(Connection(comm), 60.0)
    with pytest.raises(DistributedError, match="not be connected: OSError: MPI_ERR") as caught:
        own.meet()
    own.leave(caught.value)
    end(played)
    assert comm.aborted


def test_a_second_interruption_ends_the_waiting(played):
    comm = Comm()
    left(comm, {1: 60.0}, ended=interrupt)
    end(played)
    assert comm.aborted


def interrupt():
    raise KeyboardInterrupt


def test_one_process_alone_ends_as_always(played):
    comm = Comm(size=1)
    left(comm, {})
    end(played)
    assert not comm.aborted
