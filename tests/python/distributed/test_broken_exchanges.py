"""Processes that end, signals, and errors of MPI itself: named at once, everywhere."""

import gc
import os
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest

import lstmcore as lc
from distributed_kit import Hub, Threads, run
from lstmcore.distributed import DistributedError, group
from lstmcore.distributed.group import Group
from lstmcore.distributed.mpi import ended_by_signal


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.standard_normal((16, 5, 2)).astype(np.float32)
    return x, x.sum(axis=(1, 2))[:, None]


def train(distributed, data, **options):
    model = lc.Sequential([lc.layers.LSTM(4), lc.layers.Dense(1)], seed=1)
    model.compile("adam", "mse")
    model.fit(*data, verbose=0, distributed=distributed, **options)


class Broken:
    """A request about which MPI reports an error."""

    def Test(self):
        raise OSError("MPI_ERR_PROC_FAILED")


@pytest.mark.parametrize("at_once", [False, True])
def test_an_error_of_mpi_says_where_and_with_whom(at_once, data, monkeypatch):
    """Whether the exchange cannot begin or breaks off; the others are told."""

    def work(distributed):
        communicator = distributed.communicator
        if communicator.rank == 1:
            communicator.alltoallv = lambda *_: Broken().Test() if at_once else Broken()
        train(distributed, data)

    first, second, third = run(3, work, timeout=2.0)
    assert isinstance(second, DistributedError)
    assert "at step 1 of the optimizer: OSError: MPI_ERR_PROC_FAILED" in str(second)
    assert "an exchange with rank 0 (process" in str(second)
    assert str(second).endswith(group.RESUME)
    for error in (first, third):
        assert "rank 1 (process" in str(error)
        assert "failed: an exchange with rank 0 (process" in str(error)
        assert str(error).count(group.RESUME) == 1


def met(size=2):
    """Return the group of rank 0, which has met others."""
    own = Group(Threads(Hub(size), 0), 20.0)
    own.members = [("here", os.getpid(), (0,)), ("here", 0, (0,))]
    return own


class Silent:
    """A request that nobody answers."""

    def Test(self):
        return False


@pytest.mark.skipif(os.name != "posix", reason="asks the system about processes")
def test_a_process_of_this_machine_that_ends_is_noticed(monkeypatch):
    monkeypatch.setattr(group, "LOOK", 0.01)
    own = met()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        own.members[1] = ("here", other.pid, (0,))
        own._near = {1: other.pid}
        own.look("step 3")
        assert own.ended() == []
        other.kill()
        with pytest.raises(DistributedError, match="ended without a message") as caught:
            own.wait(Silent, "step 3")  # though nobody has taken note of its end: a zombie
        assert f"rank 1 (process {other.pid} on here)" in str(caught.value)
        assert "before step 3" in str(caught.value)
    assert own.ended() == [1]


def test_its_last_words_are_read_first(monkeypatch):
    monkeypatch.setattr(group, "LOOK", 0.0)
    monkeypatch.setattr(group, "_runs", lambda process: False)
    own, arrived = met(), []
    own._near = {1: 0}

    class Late:
        def Test(self):
            arrived.append(1)
            return len(arrived) == 2

    own.wait(Late, "step 3")  # what it sent before its end is still received


def test_an_unfinished_exchange_stays_alive(monkeypatch):
    """MPI may still write to its arrays."""
    monkeypatch.setattr(group, "UNFINISHED", [])
    own = met()
    own.timeout = 0.01
    monkeypatch.setattr(own, "_silent", lambda: "")
    requests = []

    class Held:
        def __init__(self):
            requests.append(weakref.ref(self))

        def Test(self):
            if len(requests) > 1:
                raise KeyboardInterrupt
            return False

    with pytest.raises(DistributedError, match=r"did not meet within 0\.01 s at step 1"):
        own.wait(Held, "step 1")
    with pytest.raises(KeyboardInterrupt):
        own.wait(Held, "step 2")
    del own
    gc.collect()
    assert [request() for request in requests] == group.UNFINISHED
    assert None not in group.UNFINISHED


def test_a_signal_to_end_names_the_process_that_has_died(monkeypatch):
    own = met()
    own._near = {1: 0}
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(group, "_runs", lambda process: False)
    with ended_by_signal([own]):
        handler = signal.getsignal(signal.SIGTERM)
        if handler is before:
            pytest.skip("only where nobody else handles the signal, in the main thread")
        with pytest.raises(DistributedError, match=r"has died, here rank 1 \(process 0 on here\)"):
            handler(signal.SIGTERM, None)
        own._near = {}
        with pytest.raises(DistributedError, match="which their own message names"):
            handler(signal.SIGTERM, None)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("kind", [KeyboardInterrupt, DistributedError])
def test_rank_0_does_not_wait_before_it_tells_of_its_end(kind, data):
    """A callback is interrupted while another rank computes: rank 0 leaves nevertheless."""

    class Ending(lc.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            raise kind("fit: to end")

        def on_train_end(self, logs):
            sent = [box for box in hub.boxes if box]
            assert len(sent) == 2  # before callbacks clean up

    hub = Hub(3)
    first, *others = run(3, lambda one: train(one, data, callbacks=Ending()), hub=hub)
    assert isinstance(first, kind)
    for error in others:
        assert isinstance(error, DistributedError)
        assert f"rank 0 (process {os.getpid()}" in str(error)
        assert f"failed: {kind.__name__}: fit: to end" in str(error)
    assert hub.abandoned == {0, 1, 2}
