"""Processes that differ, fail or do not answer: an error everywhere, and nobody waits for ever."""

import threading
import time

import numpy as np
import pytest

import lstmcore as lc
from distributed_kit import Doubtful, Hub, run
from lstmcore.distributed import DistributedError, digests
from lstmcore.distributed.digests import MAPPED, digest
from lstmcore.distributed.group import FAREWELL


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.standard_normal((16, 5, 2)).astype(np.float32)
    return x, x.sum(axis=(1, 2))[:, None]


def model_of(units=4, seed=1, loss="mse", rate=0.01):
    model = lc.Sequential([lc.layers.LSTM(units), lc.layers.Dense(1)], seed=seed)
    model.compile(lc.optimizers.Adam(rate), loss)
    return model


def check_error(found, kind, *parts):
    for error in found:
        assert isinstance(error, kind), repr(error)
        for part in parts:
            assert part in str(error)


def changed(rank, value, other):
    return other if rank == 1 else value


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("layers", lambda: {"units": 5}),
        ("weights", lambda: {"seed": 2}),
        ("seed", lambda: {"seed": 2}),
        ("optimizer, loss and metrics", lambda: {"rate": 0.02}),
        ("optimizer, loss and metrics", lambda: {"loss": "mae"}),
    ],
)
def test_models_that_differ(name, change, data):
    def work(distributed):
        options = change() if distributed.communicator.rank == 1 else {}
        model_of(**options).fit(*data, verbose=0, distributed=distributed)

    check_error(run(3, work), ValueError, "fit: expected the same model", "rank 1", name)


class Scaled(lc.losses.Loss):
    """A loss with attributes that are no arguments, which no file could restore."""

    check_gradient = False

    def __init__(self, **attributes):
        super().__init__()
        vars(self).update(attributes)

    def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
        return 0.0, np.zeros_like(outputs) if need_gradient else None


class Nested:
    def __init__(self, **attributes):
        vars(self).update(attributes)


def scaled_by(factor):
    return lc.losses.Function(
        lambda targets, outputs: factor * ((outputs - targets) ** 2).sum(axis=1),
        gradient=lambda targets, outputs: 2 * factor * (outputs - targets),
        name="scaled",
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda value: Scaled(k=value),
        lambda value: Scaled(table=np.array([0.0, value])),
        lambda value: Scaled(inner=Nested(parts=[{"weight": value}])),
        scaled_by,
    ],
)
def test_losses_of_the_users_own_that_differ(make, data):
    def work(distributed):
        loss = make(3.0 if distributed.communicator.rank == 1 else 1.0)
        model_of(loss=loss).fit(*data, verbose=0, distributed=distributed)

    check_error(run(2, work), ValueError, "rank 1", "has other optimizer, loss and metrics,")


def test_losses_of_the_users_own_that_are_alike(data):
    """What says nothing about the numbers may differ: other objects, of which the class counts."""

    def work(distributed):
        own = Scaled(k=1.0, table=np.ones(3), lock=threading.Lock(), itself=None)
        own.__dict__["itself"] = own
        model_of(loss=own).fit(*data, verbose=0, distributed=distributed)

    assert run(2, work) == [None, None]


def test_metrics_and_optimizers_that_differ_beside_a_loss_that_no_file_holds(data):
    def work(distributed):
        rate = changed(distributed.communicator.rank, 0.01, 0.02)
        model = model_of(rate=rate, loss=Scaled(lock=threading.Lock()))
        model.fit(*data, verbose=0, distributed=distributed)

    check_error(run(2, work), ValueError, "rank 1", "has other optimizer, loss and metrics,")


def test_data_and_arguments_that_differ(data):
    x, y = data
    other = y.copy()
    other[7] += 1e-3

    def fails(name, first, second):
        def work(distributed):
            chosen = second if distributed.communicator.rank == 1 else first
            model_of().fit(verbose=0, distributed=distributed, **chosen)

        check_error(run(2, work), ValueError, "rank 1", f"has other {name}")

    both = {"x": x, "y": y}
    fails("x and y", both, {"x": x, "y": other})
    fails("x and y", both, {"x": x[:8], "y": y[:8]})
    fails("batch size", {**both, "batch_size": 4}, {**both, "batch_size": 8})
    fails("shuffle", {**both, "shuffle": False}, both)
    fails("epochs", {**both, "epochs": 2}, {**both, "epochs": 3})
    held_out = {**both, "validation_data": (x, y)}
    fails("validation data", held_out, {**both, "validation_data": (x, other)})
    fails("on nan", both, {**both, "on_nan": "ignore"})


def test_versions_and_processors_that_differ(data, monkeypatch):
    plain = digests.platform

    def platform():
        other = threading.current_thread().name == "other"
        return {**plain(), **({"instruction set": "sse9"} if other else {})}

    monkeypatch.setattr(digests, "platform", platform)

    def work(distributed):
        if distributed.communicator.rank == 1:
            threading.current_thread().name = "other"
        model_of().fit(*data, verbose=0, distributed=distributed)

    check_error(run(2, work), ValueError, "rank 1", "has other instruction set,")


def test_every_process_needs_a_shard(data):
    def work(distributed):
        model_of().fit(*data, verbose=0, distributed=distributed)

    found = run(3, work, shards=2)
    check_error(found, ValueError, "shards: expected at least 3, one for each process, got 2")


def test_shards_that_differ(data):
    def work(distributed):
        distributed.__dict__["shards"] = changed(distributed.communicator.rank, 8, 4)
        model_of().fit(*data, verbose=0, distributed=distributed)

    check_error(run(2, work), ValueError, "shards: expected the same number", "[8, 4]")


def batches(data, count, fail_at=None, shift=0.0):
    for number in range(count):
        if number == fail_at:
            raise OSError("the disk of this machine")
        yield data[0] + number + shift * (number == 2), data[1]


def stream(distributed, data, **change):
    options = change if distributed.communicator.rank == 1 else {}
    options = {"count": 5, **options}
    model = model_of()
    model.fit(batches(data, **options), verbose=0, distributed=distributed)


def test_one_process_that_fails_ends_the_others(data):
    hub = Hub(3)
    first, second, third = run(3, lambda one: stream(one, data, fail_at=3), hub=hub)
    assert isinstance(second, OSError)
    check_error(
        [first, third],
        DistributedError,
        "rank 1 (process",
        "failed: OSError: the disk of this machine",
        "Training resumes from the last checkpoint",
    )
    assert hub.abandoned == {0, 1, 2}
    # All answer, and may have work to do after their error, such as saving what there is.
    assert set(hub.patience[0].values()) == {20.0}


def test_batches_that_differ(data):
    found = run(3, lambda one: stream(one, data, shift=0.5))
    check_error(found, DistributedError, "the same batches", "at step 3 of the optimizer", "rank 1")


def test_batches_that_differ_in_number(data):
    found = run(2, lambda one: stream(one, data, count=4))
    check_error(found, DistributedError, "is at step 5 of the optimizer", "at the end of an epoch")
    check_error(found, DistributedError, "resumes from the last checkpoint")


def test_an_error_that_all_have_leaves_nothing_behind(data):
    hub = Hub(2)

    def work(distributed):
        model = model_of(loss=Doubtful())
        try:
            model.fit(data[0], data[1] + 100, verbose=0, distributed=distributed)
        except FloatingPointError as error:
            first = str(error)
        model.compile("sgd", "mse")
        model.fit(*data, verbose=0, distributed=distributed)  # and all go on together
        return first, model.parameters.values.tobytes()

    found = run(2, work, hub=hub)
    assert found[0] == found[1]
    assert "the loss is inf" in found[0][0]
    assert hub.closed == {0, 1}


def test_a_silent_process_is_named_within_the_limit(data):
    hub = Hub(4)

    def work(distributed):
        if distributed.communicator.rank == 2:
            communicator = distributed.communicator
            before = communicator.allgather

            def dies(send, received):
                if communicator._number >= 8:
                    communicator.post = lambda rank, data: None
                    raise SystemExit
                return before(send, received)

            communicator.allgather = dies
        model_of().fit(*data, epochs=5, verbose=0, distributed=distributed)

    begin = time.monotonic()
    found = run(4, work, timeout=1.0, hub=hub)
    assert time.monotonic() - begin < 15.0
    assert isinstance(found[2], SystemExit)
    rest = [found[0], found[1], found[3]]
    check_error(rest, DistributedError, "no answer from rank 2 (process", "within 1 s", "resumes")
    assert hub.abandoned == {0, 1, 2, 3}  # rank 2 ended as it began an exchange
    for rank in (0, 1, 3):  # also those that were told of it
        assert hub.patience[rank].pop(2) == FAREWELL
        assert set(hub.patience[rank].values()) == {1.0}


def test_digests():
    array = np.arange(12.0).reshape(3, 4)
    assert digest(array) == digest(array.copy())
    assert digest(array) == digest(np.asfortranarray(array))
    others = [array.astype(np.float32), array.reshape(4, 3), -array, array.tolist(), None]
    assert len({digest(array), *map(digest, others)}) == 6
    assert digest({"a": 1, "b": array}) == digest({"b": array, "a": 1})
    assert digest((1, 2)) != digest((1, 2.0))
    assert digest(lambda: 1) == digest(lambda: 2)  # only the class of anything else


def test_every_byte_of_large_arrays_counts(tmp_path):
    large = np.zeros((3, 2**20), np.float64)
    moved = large.copy()
    moved[1, 2**19 + 12345] = 5e-324
    assert digest(large) != digest(moved)
    assert digest(large.T) != digest(moved.T)  # a copy in blocks
    assert digest(large.T) == digest(np.ascontiguousarray(large.T))
    assert digest(large[:, :-1]) != digest(large)
    assert digest(large, 2**16) == digest(moved, 2**16)  # a sample
    assert digest(large, 2**16) != digest(moved + 1, 2**16)
    assert digest(large.T, 2**16) != digest(moved.T + 1, 2**16)
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (MAPPED * 2,))
    before = digest(mapped)
    mapped[MAPPED] = 1  # a file that may be larger than memory is read in places
    assert digest(mapped) == before
    mapped[-1] = 1
    assert digest(mapped) != before
