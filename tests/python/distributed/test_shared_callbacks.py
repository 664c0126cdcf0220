"""Callbacks run on rank 0; everybody follows."""

import threading

import numpy as np
import pytest

import lstmcore as lc
from distributed_kit import results, run
from lstmcore.distributed import DistributedError


def model_of(**options):
    model = lc.Sequential(
        [
            lc.layers.LSTM(4, name="lower"),
            lc.layers.Dropout(0.2, name="dropout"),
            lc.layers.Dense(1, name="upper"),
        ],
        seed=1,
    )
    model.compile(lc.optimizers.Adam(0.01, **options), "mse", metrics=["mae"])
    return model


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    x = random.standard_normal((24, 6, 2)).astype(np.float32)
    return x, x.sum(axis=(1, 2))[:, None]


def check(data, make_callbacks, epochs=4, size=3, **options):
    """Train alone and with others; return the models and histories of all ranks, alike."""

    def work(distributed):
        model = model_of()
        history = model.fit(
            *data,
            batch_size=8,
            epochs=epochs,
            verbose=0,
            validation_split=0.25,
            callbacks=make_callbacks(),
            distributed=distributed,
            **options,
        )
        return model, history

    alone = work(lc.distributed.OneProcess(8))
    for model, history in results(size, work):
        assert model.parameters.values.tobytes() == alone[0].parameters.values.tobytes()
        assert history.history == alone[1].history
        assert history.epoch == alone[1].epoch
        assert history.stop_reason == alone[1].stop_reason
        assert history.restored_epoch == alone[1].restored_epoch
        assert model.epoch == alone[0].epoch
        assert model.optimizer.get_config() == alone[0].optimizer.get_config()
        states, expected = model._states_of_callbacks, alone[0]._states_of_callbacks
        assert [state[:2] for state in states] == [state[:2] for state in expected]
    return alone


class Worse(lc.callbacks.Callback):
    """Makes the figure worse from the third epoch on."""

    def on_epoch_end(self, epoch, logs):
        logs["val_loss"] = [3.0, 2.0, 2.5, 2.6, 2.7, 2.8][epoch]


def test_early_stopping_restores_weights_everywhere(data):
    def callbacks():
        return [Worse(), lc.callbacks.EarlyStopping(patience=2, restore_best_weights=True)]

    _, history = check(data, callbacks, epochs=6)
    assert history.epoch == [0, 1, 2, 3]
    assert history.restored_epoch == 1
    assert history.stop_reason == "val_loss did not improve for 2 epochs"


def test_learning_rates_are_followed(data):
    def callbacks():
        return [Worse(), lc.callbacks.ReduceLROnPlateau(patience=1, factor=0.5)]

    model, history = check(data, callbacks, epochs=5)
    assert model.optimizer.learning_rate == pytest.approx(0.01 / 8)
    assert history.history["learning_rate"][-1] < 0.01
    check(data, lambda: lc.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1)))


def test_unfreezing_is_followed(data):
    check(data, lambda: lc.callbacks.GradualUnfreezing())


class FreezeAfterTheFirstStep(lc.callbacks.Callback):
    def on_train_batch_end(self, batch, logs):
        self.model.get_layer("lower").trainable = batch > 0


def test_a_process_without_rows_follows_what_trains():
    """The second batch has one row, so that most processes have none when a layer freezes."""
    x = np.random.default_rng(2).standard_normal((9, 6, 2)).astype(np.float32)

    def work(distributed):
        model = model_of()
        model.fit(
            x,
            x.sum(axis=(1, 2))[:, None],
            batch_size=8,
            epochs=3,
            verbose=0,
            callbacks=[FreezeAfterTheFirstStep()],
            distributed=distributed,
        )
        return model.parameters.values.tobytes()

    alone = work(lc.distributed.OneProcess(8))
    assert results(4, work) == [alone] * 4


def test_callbacks_of_batches_are_followed(data):
    class Steering(lc.callbacks.Callback):
        """Changes something at every batch, and looks at the logs."""

        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.01 * (1 + batch)

        def on_train_batch_end(self, batch, logs):
            assert set(logs) == {"loss", "mae"}
            self.model.get_layer("dropout").rate = 0.1 + min(logs["loss"], 1.0) / 10
            if batch == 1 and self.model.optimizer.iterations > 4:
                self.model.stop_training = True

    _, history = check(data, lambda: [Steering()])
    assert history.epoch == [0, 1]
    assert history.stop_reason == "Steering requested it"


def test_weights_that_a_callback_sets_are_followed(data):
    class Rounding(lc.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.set_weights([value.round(2) for value in self.model.get_weights()])

    model, _ = check(data, lambda: [Rounding()])
    values = model.parameters.values
    np.testing.assert_array_equal(values, values.round(2))


def test_only_rank_0_writes(data, tmp_path, capsys):
    seen = []

    def work(distributed):
        model = model_of()
        recorder = lc.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: seen.append(threading.current_thread().name)
        )
        model.fit(
            *data,
            epochs=3,
            verbose=2,
            callbacks=[
                recorder,
                lc.callbacks.CSVLogger(tmp_path / "log.csv"),
                lc.callbacks.ModelCheckpoint(tmp_path / "{epoch}.safetensors"),
            ],
            distributed=distributed,
        )
        return threading.current_thread().name

    names = results(3, work)
    assert seen == [names[0]] * 3
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    assert {path.name for path in tmp_path.iterdir()} == {
        "log.csv",
        "1.safetensors",
        "2.safetensors",
        "3.safetensors",
    }
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["Epoch 1/3", "Epoch 2/3", "Epoch 3/3", "Trained 3"]


def test_resume_with_another_number_of_processes(data, tmp_path):
    def callbacks(path):
        stopping = lc.callbacks.EarlyStopping(patience=9, monitor="loss", restore_best_weights=True)
        return [lc.callbacks.ModelCheckpoint(path / "{epoch}.safetensors"), stopping]

    def begin(distributed):
        model = model_of()
        model.fit(*data, 8, 5, 0, callbacks(tmp_path), distributed=distributed)
        return model.parameters.values.tobytes()

    expected = results(4, begin)
    for size in (1, 2, 3):

        def work(distributed, size=size):
            folder = tmp_path / str(size)
            folder.mkdir(exist_ok=True)
            model = lc.load(tmp_path / "2.safetensors")
            model.fit(
                *data,
                8,
                5,
                0,
                callbacks(folder),
                initial_epoch=model.epoch,
                distributed=distributed,
            )
            return model.parameters.values.tobytes()

        assert results(size, work) == expected[:size]
        last = (tmp_path / str(size) / "5.safetensors").read_bytes()
        assert last == (tmp_path / "5.safetensors").read_bytes()


class Failing(lc.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        if epoch == 1:
            raise OSError("disk full")


def test_an_error_of_a_callback_is_known_everywhere(data, tmp_path):
    from distributed_kit import Hub

    hub, epochs = Hub(3), []

    def work(distributed):
        model = model_of()
        try:
            model.fit(
                *data,
                epochs=4,
                verbose=0,
                callbacks=[Failing(), lc.callbacks.CSVLogger(tmp_path / "log.csv")],
                distributed=distributed,
            )
        finally:
            epochs.append(len(model.history.epoch))

    first, *others = run(3, work, hub=hub)
    assert isinstance(first, OSError)
    for error in others:
        assert isinstance(error, DistributedError)
        assert "a callback of rank 0" in str(error)
        assert "raised OSError: disk full" in str(error)
    assert epochs == [2, 2, 2]
    assert hub.closed == {0, 1, 2}
    assert not hub.abandoned


def test_an_error_at_the_beginning_is_known_everywhere(data):
    def work(distributed):
        model_of().fit(
            *data,
            verbose=0,
            callbacks=lc.callbacks.EarlyStopping("val_nothing"),
            distributed=distributed,
        )

    first, *others = run(2, work)
    assert isinstance(first, ValueError)
    assert all("monitor: expected one of" in str(error) for error in (first, *others))


class Told:
    """Batches during one of which a process is told to end the training, as by a signal."""

    def __init__(self, model, data, batch):
        self.model, self.data, self.batch, self.epochs = model, data, batch, 0

    def __len__(self):
        return 6

    def __getitem__(self, number):
        self.epochs += number == 0
        if number == self.batch and self.epochs == 2:
            self.model.stop_training = True
        return self.data[0] + number, self.data[1]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("steering", [False, True])
def test_a_stop_in_one_process_ends_all_at_the_same_batch(rank, steering, data):
    """`stop_training` that is set outside callbacks, at any time, in some of the processes."""

    def work(distributed):
        model = model_of()
        batch = 2 if distributed.communicator.rank == rank else None
        callback = lc.callbacks.LambdaCallback(on_train_batch_end=lambda *_: None)
        history = model.fit(
            Told(model, data, batch),
            epochs=5,
            verbose=0,
            callbacks=[callback] if steering else [],
            distributed=distributed,
        )
        return model.optimizer.iterations, model.epoch, len(history.epoch), model.stop_training

    assert results(3, work) == [(6 + 3, 2, 2, True)] * 3


def test_a_stop_between_two_batches_waits_for_the_next_agreement(data, monkeypatch):
    """After the last step of an epoch: all end with that epoch."""
    from lstmcore.training import loop

    plain = loop.evaluate

    def work(distributed):
        model = model_of()

        def validate(trained, *arguments):
            if trained is told.get("model"):
                trained.stop_training = True
            return plain(trained, *arguments)

        if distributed.communicator.rank == 1:
            told["model"] = model
            monkeypatch.setattr(loop, "evaluate", validate)
        model.fit(*data, 8, 5, 0, validation_data=data, distributed=distributed)
        return model.epoch, model.stop_training

    told = {}
    assert results(2, work) == [(1, True)] * 2


def test_rank_0_may_take_a_stop_back(data):
    class Hesitating(lc.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs):
            self.model.stop_training = epoch == 1

        def on_train_batch_begin(self, batch, logs):
            self.model.stop_training = False

    def work(distributed):
        model = model_of()
        model.fit(*data, 8, 3, 0, callbacks=Hesitating(), distributed=distributed)
        return model.epoch, model.stop_training

    assert results(2, work) == [(3, False)] * 2
