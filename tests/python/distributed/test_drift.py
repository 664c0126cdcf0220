"""What processes compare while they train: batches, weights and slots."""

import itertools

import numpy as np
import pytest

import lstmcore as lc
from distributed_kit import results, run
from lstmcore.distributed import DistributedError, digests


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.standard_normal((24, 6, 2)).astype(np.float32)
    return x, x.sum(axis=(1, 2))[:, None]


class Scaled(lc.losses.Loss):
    """A loss with an attribute that changes what it computes."""

    def __init__(self):
        super().__init__()
        self.factor = 1.0
        self.calls = 0

    def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
        self.calls += 1  # differs between processes with different numbers of shards
        difference = outputs - targets
        gradient = (2 * self.factor * scale * difference).astype(outputs.dtype)
        return float(self.factor * (difference**2).sum()), gradient if need_gradient else None


def model_of(loss="mse", optimizer=None):
    model = lc.Sequential([lc.layers.LSTM(4), lc.layers.Dense(1)], seed=1)
    model.compile(optimizer or lc.optimizers.Adam(0.01), loss)
    return model


def same_everywhere(data, make_callback, loss=lambda: "mse"):
    """Train alone and with two others; assert that the weights are the same, and return them."""

    def work(distributed):
        model = model_of(loss())
        model.fit(
            *data,
            batch_size=8,
            epochs=3,
            verbose=0,
            callbacks=make_callback(),
            distributed=distributed,
        )
        return model.parameters.values.tobytes()

    alone = work(lc.distributed.OneProcess(8))
    assert results(3, work) == [alone] * 3
    return alone


def validation(data, count, shift_at=None):
    x, y = data
    return [(x + number + (0.5 if number == shift_at else 0.0), y) for number in range(count)]


@pytest.mark.parametrize(
    ("change", "where"),
    [({"shift_at": 2}, "batch 3"), ({"count": 3}, "batch 4"), ({"count": 5}, "batch 5")],
)
def test_every_batch_of_a_validation_is_compared(change, where, data):
    def work(distributed):
        options = change if distributed.communicator.rank == 1 else {}
        held_out = validation(data, **{"count": 4, **options})
        model = model_of()
        model.fit(
            *data, verbose=0, validation_data=itertools.chain(held_out), distributed=distributed
        )

    for error in run(2, work):
        assert isinstance(error, DistributedError), repr(error)
        assert f"the same batches in all processes, but those at {where} of the valid" in str(error)
        assert "between rank 0 (process" in str(error)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("weights", lambda model: model.parameters.values[:1].__iadd__(1.0)),
        ("optimizer's slots", lambda model: model.optimizer.slots["m"][:1].__iadd__(1.0)),
    ],
)
def test_weights_that_drift_apart_are_refused(name, change, data):
    """A callback at a batch changes arrays of rank 0 in their places, which nobody can notice."""

    class Meddling(lc.callbacks.Callback):
        def on_train_batch_end(self, batch, logs):
            change(self.model)

    def work(distributed):
        model_of(optimizer=lc.optimizers.Adam(0.0)).fit(
            *data, verbose=0, callbacks=Meddling(), distributed=distributed
        )

    for error in run(2, work):
        assert isinstance(error, DistributedError), repr(error)
        assert "at the end of an epoch rank 1 (process" in str(error)
        assert f"has other {name}" in str(error)
        assert "a callback at a batch" in str(error)


def test_slots_and_weights_that_a_callback_changes_in_place_are_followed(data):
    class Forgetting(lc.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs):
            self.model.optimizer.slots["m"][...] = 0.25 * epoch

        def on_epoch_end(self, epoch, logs):
            self.model.parameters.values[:3] *= 0.5
            self.model.optimizer.iterations = 0

    changed = same_everywhere(data, Forgetting)
    assert changed != same_everywhere(data, lambda: None)


def test_numbers_of_losses_are_followed(data):
    class Annealing(lc.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs):
            self.model.compiled.loss.factor = 0.5**epoch

    changed = same_everywhere(data, Annealing, Scaled)
    assert changed != same_everywhere(data, lambda: None, Scaled)


class Resumed(lc.callbacks.Callback):
    """Sets the rate of the optimizer to what it remembers."""

    def get_state(self):
        return {"rate": 0.003}

    def set_state(self, state):
        self.model.optimizer.learning_rate = state["rate"]


def test_what_a_restored_callback_changes_is_followed(data, tmp_path):
    path = tmp_path / "{epoch}.safetensors"

    def begin(distributed):
        saved = [Resumed(), lc.callbacks.ModelCheckpoint(path)]
        model_of().fit(*data, verbose=0, callbacks=saved, distributed=distributed)

    begin(lc.distributed.OneProcess(8))

    def work(distributed):
        model = lc.load(str(path).format(epoch=1))
        options = {"epochs": 3, "initial_epoch": 1, "callbacks": Resumed()}
        model.fit(*data, verbose=0, distributed=distributed, **options)
        return model.optimizer.learning_rate, model.parameters.values.tobytes()

    found = results(3, work)
    assert found == [work(lc.distributed.OneProcess(8))] * 3
    assert found[0][0] == 0.003


def test_numpy_that_computes_with_other_instructions_is_seen(monkeypatch):
    own = digests.platform()
    before = np.show_config(mode="dicts")["SIMD Extensions"]
    other = {"SIMD Extensions": {**before, "found": ["SSE9"]}}
    monkeypatch.setattr(np, "show_config", lambda mode: other)
    differing = [name for name, value in digests.platform().items() if own[name] != value]
    assert differing == ["processor features for NumPy"]


@pytest.mark.parametrize("shards", [1, 8])
def test_penalties_of_a_validation(shards, data):
    """They count once for each row, however few rows and shards there are."""

    def loss_of(distributed):
        model = lc.Sequential(
            [lc.layers.LSTM(4, kernel_regularizer=lc.regularizers.L2(0.1)), lc.layers.Dense(1)],
            seed=1,
        )
        model.compile(lc.optimizers.SGD(0.0), "mse")
        held_out = (data[0][:3], data[1][:3])  # fewer rows than shards
        model.fit(*data, verbose=0, validation_data=held_out, distributed=distributed)
        return model.history.history["val_loss"][0], model.evaluate(*held_out, verbose=0)

    found, expected = loss_of(lc.distributed.OneProcess(shards))
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shards", [1, 8])
def test_penalties_of_a_validation_without_steps(shards):
    """The loss is the penalty, also where the last shards have no rows."""
    x = [np.ones((3, 2), np.float32)] * 4
    y = [np.ones((3, 1), np.float32)] * 4
    nothing = ([np.ones((0, 2), np.float32)] * 2, [np.ones((0, 1), np.float32)] * 2)

    def loss_of(distributed):
        penalty = lc.regularizers.L2(0.1)
        layer = lc.layers.LSTM(4, return_sequences=True, kernel_regularizer=penalty)
        model = lc.Sequential([layer, lc.layers.Dense(1)], seed=1)
        model.compile(lc.optimizers.SGD(0.0), "mse")
        model.fit(x, y, verbose=0, validation_data=nothing, distributed=distributed)
        return model.history.history["val_loss"][0]

    found = loss_of(lc.distributed.OneProcess(shards))
    assert found == loss_of(None)
    assert found > 0.0
