"""Callback options known from Keras: verbose lines, functions of the epoch, weights only."""

import re

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks

X = np.random.default_rng(0).normal(size=(40, 6, 2))
Y = X.sum((1, 2))


def regressor(rate=1e-2, metrics=None):
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(1)])
    model.compile(lc.optimizers.SGD(rate), "mse", metrics)
    return model


def lines_of(capsys, callback, *, rate=0.0, epochs=4, **options):
    """Return the output of a training in which no epoch improves on the previous one."""
    regressor(rate).fit(X, Y, epochs=epochs, callbacks=callback, verbose=0, **options)
    return capsys.readouterr().out.splitlines()


def test_early_stopping_says_when_it_stops_and_restores(capsys):
    stopping = callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True, verbose=1)
    assert lines_of(capsys, stopping) == [
        "Epoch 3: EarlyStopping: stopped: loss did not improve for 2 epochs",
        "EarlyStopping: weights of epoch 1 restored",
    ]


def test_early_stopping_says_what_it_restores_without_a_stop(capsys):
    stopping = callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True, verbose=1)
    assert lines_of(capsys, stopping) == ["EarlyStopping: weights of epoch 1 restored"]


def test_reduce_on_plateau_says_when_it_lowers_the_rate(capsys):
    # The rate is so small that float32 weights do not change.
    lower = callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_lr=5e-31, verbose=1)
    why = "loss did not improve for 1 epoch"
    assert lines_of(capsys, lower, rate=2e-30) == [
        f"Epoch 2: ReduceLROnPlateau: learning_rate lowered from 2e-30 to 1e-30: {why}",
        f"Epoch 3: ReduceLROnPlateau: learning_rate lowered from 1e-30 to 5e-31: {why}",
    ]


def test_checkpoints_say_what_they_save(capsys, tmp_path):
    path = tmp_path / "{epoch}.safetensors"
    best = callbacks.ModelCheckpoint(path, "loss", save_best_only=True, verbose=1)
    (line,) = lines_of(capsys, best)
    start = f"Epoch 1: ModelCheckpoint: saved {tmp_path / '1.safetensors'}, loss "
    assert line.startswith(start)
    assert re.fullmatch(r"[\d.]+ is the best so far", line.removeprefix(start))
    every = callbacks.ModelCheckpoint(path, verbose=True)
    assert lines_of(capsys, every, epochs=2) == [
        f"Epoch {epoch}: ModelCheckpoint: saved {tmp_path / f'{epoch}.safetensors'}"
        for epoch in (1, 2)
    ]


def test_schedulers_say_what_they_set(capsys):
    scheduler = callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1), verbose=1)
    assert lines_of(capsys, scheduler, epochs=2) == [
        "Epoch 1: LearningRateScheduler: learning_rate set to 0.1",
        "Epoch 2: LearningRateScheduler: learning_rate set to 0.05",
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: callbacks.EarlyStopping("loss", patience=1, **options),
        lambda **options: callbacks.ReduceLROnPlateau("loss", patience=1, **options),
        lambda **options: callbacks.LearningRateScheduler(lambda epoch: 0.0, **options),
    ],
)
def test_callbacks_are_silent_unless_asked(make, capsys):
    assert lines_of(capsys, make()) == lines_of(capsys, make(verbose=0)) == []
    assert "verbose=1" in repr(make(verbose=1))
    assert "verbose" not in repr(make())
    for wrong in (2, "auto", None, 0.0):
        with pytest.raises(ValueError, match=f"verbose: expected 0 or 1, got {wrong!r}"):
            make(verbose=wrong)


def test_a_program_without_a_console_trains(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    callback = callbacks.LearningRateScheduler(lambda epoch: 0.0, verbose=1)
    regressor().fit(X, Y, epochs=1, callbacks=callback, verbose=0)


# ---- learning rates ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (lambda epoch: 0.1 / (epoch + 1), [0.1, 0.05]),
        (lambda epoch, rate: rate / 2, [0.005, 0.0025]),
        (
            lambda epoch, rate=7.0: rate / 2,
            [0.005, 0.0025],
        ),  # like Keras, which tries both arguments first
        (lambda *both: both[1] / 2, [0.005, 0.0025]),
        (lc.schedules.ExponentialDecay(0.1, 1, 0.5), [0.1, 0.05]),
    ],
)
def test_schedules_of_the_epoch_alone_or_of_the_rate_too(schedule, expected):
    scheduler = callbacks.LearningRateScheduler(schedule)
    history = regressor().fit(X, Y, epochs=2, callbacks=scheduler, verbose=0).history
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-15)


@pytest.mark.parametrize("schedule", [lambda: 0.1, lambda a, b, c: 0.1])
def test_schedules_that_cannot_be_called(schedule):
    with pytest.raises(TypeError, match=r"schedule: expected a function of the epoch, .* got one"):
        callbacks.LearningRateScheduler(schedule)


def test_an_error_within_a_schedule_is_passed_on():
    def schedule(epoch):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="^mine$"):
        regressor().fit(X, Y, callbacks=callbacks.LearningRateScheduler(schedule), verbose=0)


# ---- files -------------------------------------------------------------------------------------


def test_checkpoints_of_weights_only(tmp_path):
    path = tmp_path / "weights.safetensors"
    model = regressor(1e-2)
    saver = callbacks.ModelCheckpoint(path, save_weights_only=True)
    model.fit(X, Y, epochs=2, callbacks=saver, verbose=0)
    assert not lc.load(path).is_compiled
    other = regressor()
    other.build((None, None, 2))
    other.load_weights(path)
    for name, weight in model.weights.items():
        np.testing.assert_array_equal(other.weights[name], weight)
    with pytest.raises(TypeError, match="save_weights_only: expected True or False, got 1"):
        callbacks.ModelCheckpoint(path, save_weights_only=1)


# ---- names of figures --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monitor", "options", "message"),
    [
        ("val_acc", {"validation_split": 0.2}, "; did you mean 'val_accuracy'[?]"),
        ("acc", {}, "; did you mean 'accuracy'[?]"),
        (
            "val_acc",
            {},
            "; fit has no validation data; pass validation_split or validation_data; did you mean "
            "'val_accuracy'[?]",
        ),
        (
            "val_accuracy",
            {},
            "; fit has no validation data; pass validation_split or validation_data",
        ),
        ("val_f1", {"validation_split": 0.2}, r"; compile\(..., metrics=\['f1'\]\) computes it"),
        ("val_nothing", {"validation_split": 0.2}, ""),
    ],
)
def test_unknown_figures(monitor, options, message):
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    names = "loss, accuracy" + ", val_loss, val_accuracy" * bool(options)
    with pytest.raises(
        ValueError, match=f"^monitor: expected one of {names}, got '{monitor}'{message}$"
    ):
        model.fit(X, Y > 0, callbacks=callbacks.EarlyStopping(monitor), verbose=0, **options)
    assert model.optimizer.iterations == 0
