"""Callbacks: how they are called, and what they do."""

import csv
import math

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers, optimizers, schedules


def small_model(optimizer="sgd"):
    model = lc.Sequential([layers.Dense(2, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.fixture
def data(rng):
    return rng.standard_normal((12, 3)).astype(np.float32), rng.integers(0, 2, 12)


class Scripted(callbacks.Callback):
    """Replaces the validation loss with given values, as if they had been measured."""

    def __init__(self, figures):
        self.figures = figures
        self.weights = []

    def on_epoch_end(self, epoch, logs):
        logs["val_loss"] = self.figures[epoch]
        self.weights.append(self.model.get_weights())


def run(data, figures, *others, epochs=None, optimizer="sgd"):
    model = small_model(optimizer)
    script = Scripted(figures)
    history = model.fit(
        *data, epochs=epochs or len(figures), callbacks=[script, *others], verbose=0
    )
    return model, script, history


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_all_events_come_in_order(data):
    events = []
    names = [name for name in dir(callbacks.Callback) if name.startswith("on_")]
    functions = {
        name: lambda *arguments, name=name: events.append((name, *arguments[:-1])) for name in names
    }
    model = small_model()
    model.fit(
        *data, batch_size=6, epochs=1, callbacks=[callbacks.LambdaCallback(**functions)], verbose=0
    )
    assert events == [
        ("on_train_begin",),
        ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 0),
        ("on_train_batch_begin", 1),
        ("on_train_batch_end", 1),
        ("on_epoch_end", 0),
        ("on_train_end",),
    ]


def test_callbacks_know_the_model_and_the_parameters(data):
    seen = callbacks.Callback()
    model = small_model()
    model.fit(*data, batch_size=5, epochs=3, initial_epoch=1, callbacks=[seen], verbose=0)
    assert seen.model is model
    names = ["loss", "accuracy"]
    assert seen.params == {"epochs": 3, "steps": 3, "initial_epoch": 1, "metrics": names}


def test_early_stopping_waits_and_stops(data):
    stopper = callbacks.EarlyStopping(patience=2)
    _, _, history = run(data, [5, 4, 4.5, 4.2, 1, 1], stopper)
    assert history.epoch == [0, 1, 2, 3]
    assert (stopper.stopped_epoch, stopper.best_epoch, stopper.best) == (3, 1, 4)


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([5, 4, 4.5, 4.2, 1], 1),  # stops at epoch 3
        ([5, 4, 4.5], 1),  # ends before the patience is exhausted
        ([5, 4, 3], 2),  # improves until the end
        ([math.nan, 4, math.nan, 5], 1),
    ],
)
def test_the_best_weights_are_restored_however_training_ends(data, figures, best):
    stopper = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    model, script, _ = run(data, figures, stopper)
    assert same(model.get_weights(), script.weights[best])
    assert stopper.best_epoch == best


def test_the_best_weights_are_restored_after_an_interruption(data):
    stopper = callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    script = Scripted([1, 2, 3])

    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    model = small_model()
    others = [script, stopper, callbacks.LambdaCallback(on_epoch_begin=interrupt)]
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, epochs=3, callbacks=others, verbose=0)
    assert same(model.get_weights(), script.weights[0])


def test_by_default_the_last_weights_stay(data):
    model, script, _ = run(data, [1, 2, 3], callbacks.EarlyStopping(patience=9))
    assert same(model.get_weights(), script.weights[-1])


def test_early_stopping_options(data):
    _, _, history = run(data, [5, 4.95, 4.9], callbacks.EarlyStopping(min_delta=0.2))
    assert history.epoch == [0, 1]
    _, _, history = run(data, [1, 2, 3], callbacks.EarlyStopping(mode="max", patience=1))
    assert history.epoch == [0, 1, 2]
    _, _, history = run(data, [9, 8, 7], callbacks.EarlyStopping(baseline=5, patience=2))
    assert history.epoch == [0, 1]
    late = callbacks.EarlyStopping(start_from_epoch=2)
    _, _, history = run(data, [1, 2, 3, 4, 5], late)
    assert history.epoch == [0, 1, 2, 3]


def test_the_direction_follows_from_the_name(data):
    stopper = callbacks.EarlyStopping(monitor="accuracy", patience=1)
    assert stopper._monitor.better(0.9, 0.8)
    assert callbacks.EarlyStopping(monitor="val_loss")._monitor.better(0.8, 0.9)


def test_an_unknown_figure_is_an_error(data):
    with pytest.raises(
        ValueError, match=r"monitor: expected one of loss, accuracy, got 'val_loss'"
    ):
        small_model().fit(*data, callbacks=[callbacks.EarlyStopping()], verbose=0)


@pytest.mark.parametrize(
    "callback",
    [
        callbacks.EarlyStopping(),
        callbacks.ReduceLROnPlateau(),
        callbacks.ModelCheckpoint("never.safetensors", save_best_only=True),
    ],
)
def test_an_unknown_figure_is_reported_before_the_training(data, callback, tmp_path):
    model = small_model()
    table = callbacks.CSVLogger(tmp_path / "log.csv")
    others = [table, callbacks.LearningRateScheduler(lambda epoch, rate: rate), callback]
    known = "loss, accuracy, learning_rate"
    with pytest.raises(ValueError, match=f"monitor: expected one of {known}.*, got 'val_loss'"):
        model.fit(*data, callbacks=others, verbose=0)
    assert model.optimizer.iterations == 0
    assert table._table is None
    model.fit(*data, callbacks=others[:2], verbose=0)
    model.fit(*data, validation_data=data, callbacks=[callbacks.EarlyStopping()], verbose=0)


def test_all_callbacks_end_even_if_one_fails(data, tmp_path):
    def fail(logs):
        raise RuntimeError("first")

    def fail_too(logs):
        raise RuntimeError("second")

    stopper = callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    table = callbacks.CSVLogger(tmp_path / "log.csv")
    script = Scripted([1, 2, 3])
    model = small_model()
    failing = [callbacks.LambdaCallback(on_train_end=each) for each in (fail, fail_too)]
    with pytest.raises(RuntimeError, match="first"):
        model.fit(*data, epochs=3, callbacks=[script, *failing, stopper, table], verbose=0)
    assert same(model.get_weights(), script.weights[0])
    assert table._table is None


def test_checkpoints_of_every_epoch(data, tmp_path):
    path = tmp_path / "{epoch:02d}-{val_loss:.1f}.safetensors"
    _, script, _ = run(data, [5, 4, 6], callbacks.ModelCheckpoint(path))
    names = ["01-5.0.safetensors", "02-4.0.safetensors", "03-6.0.safetensors"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    for name, weights in zip(names, script.weights, strict=True):
        assert same(lc.load(tmp_path / name).get_weights(), weights)


def test_checkpoint_of_the_best_epoch(data, tmp_path):
    path = tmp_path / "best.safetensors"
    saver = callbacks.ModelCheckpoint(path, save_best_only=True, include_optimizer=False)
    _, script, _ = run(data, [5, 4, 6, 5], saver)
    loaded = lc.load(path)
    assert same(loaded.get_weights(), script.weights[1])
    assert not loaded.is_compiled
    assert saver.best == 4


def test_the_learning_rate_falls_on_a_plateau(data):
    reducer = callbacks.ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.004)
    model, _, history = run(data, [5, 5, 5, 5, 5, 5, 5, 5, 5], reducer)
    # The rate during each epoch: it falls after two epochs without improvement, pauses for one
    # epoch, and stays at the minimum.
    expected = [0.01, 0.01, 0.01, 0.005, 0.005, 0.005, 0.004, 0.004, 0.004]
    assert history.history["learning_rate"] == pytest.approx(expected)
    assert model.optimizer.learning_rate == 0.004


def test_the_learning_rate_is_set_by_epoch(data):
    scheduler = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    _, _, history = run(data, [1, 1, 1], scheduler)
    assert history.history["learning_rate"] == [0.01, 0.005, 0.0025]


@pytest.mark.parametrize(
    "callback", [callbacks.LearningRateScheduler(lambda e, r: r), callbacks.ReduceLROnPlateau()]
)
def test_a_schedule_is_not_overwritten(data, callback):
    with pytest.raises(ValueError, match="CosineDecay"):
        run(data, [1], callback, optimizer=optimizers.SGD(schedules.CosineDecay(0.1, 9)))


def test_a_table_of_epochs(data, tmp_path):
    path = tmp_path / "log.csv"
    _, _, history = run(data, [5.0, 4.0], callbacks.CSVLogger(path))
    run(data, [3.0], callbacks.CSVLogger(path, append=True))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "0"]
    assert [float(row["val_loss"]) for row in rows] == [5.0, 4.0, 3.0]
    assert [float(row["loss"]) for row in rows[:2]] == history.history["loss"]
    run(data, [3.0], callbacks.CSVLogger(path, separator=";"))
    assert path.read_text().splitlines()[0] == "epoch;loss;accuracy;val_loss"


def test_training_ends_at_nan(data):
    x, y = data
    x = x.copy()
    x[:, 0] = np.nan
    model = small_model()
    stop = callbacks.TerminateOnNaN()
    history = model.fit(
        x, y, batch_size=4, epochs=5, callbacks=[stop], check_finite=False, verbose=0
    )
    assert history.epoch == [0]
    assert model.optimizer.iterations == 1


def test_training_can_be_stopped_and_started_again(data):
    model = small_model()
    stop = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", batch == 1)
    )
    model.fit(*data, batch_size=2, epochs=4, callbacks=[stop], verbose=0)
    assert model.optimizer.iterations == 2
    model.fit(*data, batch_size=2, verbose=0)
    assert model.optimizer.iterations == 8
