"""Several processes played by threads, which exchange arrays as MPI does."""

import threading
from collections import deque

import numpy as np

import lstmcore as lc
from lstmcore.distributed.session import Sharded


class Doubtful(lc.losses.Loss):
    """A loss that is infinite where targets are above 1, with gradients of zero."""

    check_gradient = False

    def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
        value = float(np.where(targets > 1, np.inf, 0.0).sum())
        return value, np.zeros_like(outputs) if need_gradient else None


class Hub:
    """What the threads share: the exchanges, in the order in which each rank begins them."""

    def __init__(self, size):
        self.size = size
        self.lock = threading.Lock()
        self.calls = {}
        self.boxes = [deque() for _ in range(size)]
        self.closed, self.abandoned = set(), set()
        self.patience = {}


class Exchange:
    """An exchange of one rank; `place` finds what it receives among what all send."""

    def __init__(self, hub, number, received, place):
        self.hub, self.number, self.received, self.place = hub, number, received, place

    def Test(self):
        with self.hub.lock:
            sent = self.hub.calls[self.number]
            if len(sent) < self.hub.size:
                return False
            parts = [self.place(rank, *sent[rank]) for rank in range(self.hub.size)]
        self.received.reshape(-1)[:] = np.concatenate(parts)
        return True


class Threads:
    """A `Communicator` of one thread among those of a hub."""

    def __init__(self, hub, rank):
        self.hub, self.rank, self.size = hub, rank, hub.size
        self._number = 0

    def connect(self, seconds):
        return True

    def _begin(self, kind, send, counts, received, place):
        with self.hub.lock:
            kinds = self.hub.calls.setdefault(self._number, {})
            kinds[self.rank] = (kind, send.copy(), counts)
            assert {entry[0] for entry in kinds.values()} == {kind}, "MPI would mix these up"
        self._number += 1
        return Exchange(self.hub, self._number - 1, received, place)

    def allgather(self, send, received):
        assert received.shape == (self.size, send.size)
        return self._begin("gather", send, None, received, lambda rank, kind, data, _: data)

    def allgatherv(self, send, received, counts):
        assert send.size == counts[self.rank]
        assert received.size == sum(counts)
        return self._begin("gatherv", send, None, received, lambda rank, kind, data, _: data)

    def alltoallv(self, send, counts, received, received_counts):
        assert send.size == sum(counts)
        assert received.size == sum(received_counts)

        def mine(rank, kind, data, theirs):
            assert theirs[self.rank] == received_counts[rank]
            begin = sum(theirs[: self.rank])
            return data[begin : begin + theirs[self.rank]]

        return self._begin("all to all", send, counts, received, mine)

    def post(self, rank, data):
        self.hub.boxes[rank].append((self.rank, data))

    def receive(self):
        box = self.hub.boxes[self.rank]
        return box.popleft() if box else None

    def flush(self, seconds):
        pass

    def close(self):
        self.hub.closed.add(self.rank)

    def abandon(self, patience, ended):
        self.hub.abandoned.add(self.rank)
        self.hub.patience[self.rank] = patience


class Played(Sharded):
    """`distributed=` of a thread."""

    def __init__(self, communicator, shards=8, timeout=20.0):
        super().__init__(shards, timeout)
        self.communicator = communicator

    def _open(self):
        return self.communicator


def run(size, work, shards=8, timeout=20.0, hub=None):
    """Call `work` with a `Played` in as many threads; return what each returned or raised."""
    hub = Hub(size) if hub is None else hub
    found = [None] * size

    def begin(rank):
        try:
            found[rank] = work(Played(Threads(hub, rank), shards, timeout))
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=begin, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def results(size, work, shards=8):
    """Return what `work` returned in each of `size` threads; raise the first error."""
    found = run(size, work, shards)
    for entry in found:
        if isinstance(entry, BaseException):
            raise entry
    return found
