"""Saving and resuming: a resumed run equals the uninterrupted run, to the last bit."""

import copy
import os
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers, losses, metrics, optimizers, schedules

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipnorm=1.0),
    "rmsprop": lambda: optimizers.RMSprop(clipvalue=0.5),
    "adam": lambda: optimizers.Adam(schedules.CosineDecay(0.01, 20)),
    "adamw": lambda: optimizers.AdamW(
        schedules.Warmup(schedules.OneCycle(0.01, 30), 5), global_clipnorm=1.0
    ),
}


def make_model(optimizer, dtype="float32"):
    model = lc.Sequential(
        [
            layers.Embedding(20, 6, mask_zero=True),
            layers.Dropout(0.3),
            layers.Bidirectional(
                layers.LSTM(5, num_layers=2, dropout=0.4, return_sequences=True),
                merge_mode="sum",
            ),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3, activation="softmax", kernel_regularizer=1e-3),
        ],
        seed=4,
        dtype=dtype,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.fixture
def data(rng):
    return [rng.integers(1, 20, rng.integers(1, 9)) for _ in range(45)], rng.integers(0, 3, 45)


def state(model):
    slots = model.optimizer.slots
    return {"weights": model.parameters.values, **slots, "steps": model.optimizer.iterations}


def assert_same_state(one, other):
    one, other = state(one), state(other)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_equals_the_uninterrupted_one(name, data, tmp_path):
    path = tmp_path / "model.safetensors"
    uninterrupted = make_model(OPTIMIZERS[name]())
    history = uninterrupted.fit(*data, epochs=5, batch_size=16, verbose=0).history

    first = make_model(OPTIMIZERS[name]())
    first.fit(*data, epochs=2, batch_size=16, verbose=0)
    first.save(path)
    resumed = lc.load(path)
    assert resumed.epoch == 2
    assert_same_state(first, resumed)
    rest = resumed.fit(*data, epochs=5, batch_size=16, initial_epoch=resumed.epoch, verbose=0)
    assert_same_state(resumed, uninterrupted)
    assert rest.history == {name: values[2:] for name, values in history.items()}
    assert resumed.epoch == 5


def test_resuming_from_a_checkpoint_of_any_epoch(data, tmp_path):
    saver = callbacks.ModelCheckpoint(tmp_path / "{epoch}.safetensors")
    others = [saver, callbacks.LearningRateScheduler(lambda epoch, rate: 0.9 * rate)]
    uninterrupted = make_model("adam")
    uninterrupted.fit(*data, epochs=4, callbacks=others, verbose=0)
    for epoch in range(1, 5):
        resumed = lc.load(tmp_path / f"{epoch}.safetensors")
        assert resumed.epoch == epoch
        resumed.fit(*data, epochs=4, initial_epoch=epoch, callbacks=others[1:], verbose=0)
        assert_same_state(resumed, uninterrupted)


def test_a_checkpoint_holds_what_later_callbacks_change(data, tmp_path):
    model = make_model("adam")

    def slow_down(epoch, logs):
        model.optimizer.learning_rate = 0.5

    path = tmp_path / "model.safetensors"
    others = [callbacks.ModelCheckpoint(path), callbacks.LambdaCallback(on_epoch_end=slow_down)]
    model.fit(*data, callbacks=others, verbose=0)
    assert lc.load(path).optimizer.learning_rate == 0.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_is_restored(dtype, data, tmp_path):
    path = tmp_path / "model.safetensors"
    model = make_model(optimizers.Adam(schedules.ExponentialDecay(0.1, 5, 0.5)), dtype)
    model.compile(
        model.optimizer,
        losses.SparseCategoricalCrossentropy(),
        [metrics.SparseCategoricalAccuracy(name="hits")],
    )
    model.fit(*data, verbose=0)
    model.save(path)
    loaded = lc.load(path)
    assert lc.Sequential.load(path).seed == loaded.seed == 4
    assert loaded.dtype == np.dtype(dtype)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    for one, other in zip(model.layers, loaded.layers, strict=True):
        assert type(one) is type(other)
        assert one.get_config() == other.get_config()
    assert loaded.compiled.get_config() == model.compiled.get_config()
    np.testing.assert_array_equal(loaded.predict(data[0]), model.predict(data[0]))
    assert loaded.evaluate(*data, return_dict=True) == model.evaluate(*data, return_dict=True)


def test_text_models_are_restored_with_their_vocabulary(tmp_path):
    path = tmp_path / "model.safetensors"
    texts = ["naïve café", 'a "quoted" word', "日本 語"]
    words = layers.TextVectorization(max_tokens=50)
    words.adapt(texts)
    model = lc.Sequential([words, layers.Embedding(words.vocabulary_size(), 4), layers.LSTM(3)])
    expected = model.predict(texts)
    model.save(path)
    loaded = lc.load(path)
    np.testing.assert_array_equal(loaded.predict(texts), expected)
    assert loaded.layers[0].get_vocabulary() == words.get_vocabulary()


def test_cells_and_wrappers_are_restored(rng, tmp_path):
    path = tmp_path / "model.safetensors"
    model = lc.Sequential(
        [
            layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)], return_sequences=True),
            layers.Bidirectional(layers.RNN(layers.LSTMCell(2), return_sequences=True)),
            layers.TimeDistributed(layers.Dense(2, activation="tanh"), name="head"),
        ]
    )
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    expected = model.predict(x)
    model.save(path)
    loaded = lc.load(path)
    np.testing.assert_array_equal(loaded.predict(x), expected)
    assert "head.kernel" in loaded.weights


def test_a_file_without_the_optimizer_holds_only_the_model(data, tmp_path):
    path = tmp_path / "model.safetensors"
    model = make_model("adam")
    model.fit(*data, verbose=0)
    model.save(path, include_optimizer=False)
    loaded = lc.load(path)
    assert not loaded.is_compiled
    np.testing.assert_array_equal(loaded.predict(data[0]), model.predict(data[0]))
    full = tmp_path / "full.safetensors"
    model.save(full)
    # Adam's two moments are each as large as the weights.
    assert full.stat().st_size - path.stat().st_size > 2 * model.parameters.values.nbytes


def test_a_compiled_model_is_saved_before_its_first_step(data, tmp_path):
    path = tmp_path / "model.safetensors"
    model = make_model("adam")
    model.build((None, None))
    model.save(path)
    loaded = lc.load(path)
    for each in (model, loaded):
        each.fit(*data, verbose=0)
    assert_same_state(model, loaded)


def test_own_losses_are_restored_by_name(tmp_path):
    class Halved(losses.MeanSquaredError):
        """Half of its base's loss."""

        def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
            value, gradient = super().sum(targets, outputs, weights, scale / 2, need_gradient)
            return value / 2, gradient

    path = tmp_path / "model.safetensors"
    model = lc.Sequential([layers.Dense(1)])
    model.compile("sgd", Halved())
    x, y = np.ones((2, 1), np.float32), np.zeros(2, np.float32)
    model.fit(x, y, verbose=0)
    model.save(path)
    loaded = lc.load(path, custom_objects={"Halved": Halved})
    assert (
        loaded.evaluate(x, y)
        == model.evaluate(x, y)
        == pytest.approx(float((model.predict(x) ** 2).mean()) / 2)
    )


def test_own_layers_are_restored_by_name(tmp_path, rng):
    class Doubled(layers.Dense):
        """Twice the output of a Dense."""

        def forward(self, inputs, lengths, training, seed):
            outputs, lengths, context = super().forward(inputs, lengths, training, seed)
            return 2 * outputs, lengths, context

    path = tmp_path / "model.safetensors"
    model = lc.Sequential([Doubled(2)])
    x = rng.standard_normal((3, 2)).astype(np.float32)
    expected = model.predict(x)
    model.save(path)
    own = r"unknown class 'Doubled'; known are .*custom_objects=\{'Doubled': Doubled\}"
    with pytest.raises(ValueError, match=own):
        lc.load(path)
    loaded = lc.load(path, custom_objects={"Doubled": Doubled})
    np.testing.assert_array_equal(loaded.predict(x), expected)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(failing, data, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    model = make_model("adam")
    model.fit(*data, verbose=0)
    model.save(path)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, failing, fail)
    model.fit(*data, verbose=0)
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_same_model_makes_the_same_file(data, tmp_path):
    contents = []
    for name in ("one", "two"):
        model = make_model("adam")
        model.fit(*data, epochs=2, verbose=0)
        model.save(tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def steering():
    """Return callbacks whose decisions depend on earlier epochs."""
    return [
        callbacks.ReduceLROnPlateau("loss", 0.5, 2, min_delta=0.05, cooldown=1),
        callbacks.EarlyStopping("accuracy", patience=4, restore_best_weights=True),
        callbacks.EarlyStopping("loss", patience=50, restore_best_weights=True),
    ]


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_callbacks_continue_where_they_stopped(epoch, data, tmp_path):
    uninterrupted = make_model("adam")
    path, best = tmp_path / "{epoch}.safetensors", tmp_path / "best.safetensors"
    savers = [
        callbacks.ModelCheckpoint(path),
        callbacks.ModelCheckpoint(best, "accuracy", save_best_only=True),
    ]
    whole = uninterrupted.fit(*data, epochs=10, callbacks=[*steering(), *savers], verbose=0)
    assert len(set(whole.history["learning_rate"])) > 2
    assert 5 < len(whole.epoch) < 10  # early stopping

    resumed = lc.load(tmp_path / f"{epoch}.safetensors")
    later = tmp_path / "later.safetensors"
    savers[1] = callbacks.ModelCheckpoint(later, "accuracy", save_best_only=True)
    others = steering()
    rest = resumed.fit(
        *data, epochs=10, initial_epoch=epoch, callbacks=[*others, *savers], verbose=0
    )
    assert rest.history == {name: values[epoch:] for name, values in whole.history.items()}
    assert_same_state(resumed, uninterrupted)
    assert savers[1].best == max(whole.history["accuracy"])
    # The best value before the interruption still counts.
    improved = max(rest.history["accuracy"]) > max(whole.history["accuracy"][:epoch])
    assert later.exists() == improved


def test_callbacks_continue_in_the_same_process_and_after_save(data, tmp_path):
    def reducer():
        return callbacks.ReduceLROnPlateau("loss", patience=2, min_delta=10.0)

    whole = make_model("adam")
    whole.fit(*data, epochs=6, callbacks=[reducer()], verbose=0)
    first = make_model("adam")
    first.fit(*data, epochs=2, callbacks=[reducer()], verbose=0)
    first.save(tmp_path / "model")
    for model in (lc.load(tmp_path / "model"), copy.deepcopy(first), first):
        model.fit(*data, epochs=6, initial_epoch=2, callbacks=[reducer()], verbose=0)
        assert_same_state(model, whole)
    # A new run, or another monitored figure, resets them.
    again = reducer()
    first.fit(*data, epochs=1, callbacks=[again], verbose=0)
    assert again.wait == 0
    other = callbacks.ReduceLROnPlateau("accuracy", patience=9, min_delta=10.0)
    first.fit(*data, epochs=2, initial_epoch=first.epoch, callbacks=[other], verbose=0)
    assert other.wait == 0


def test_own_callbacks_are_asked_for_their_state(data, tmp_path):
    class Counter(callbacks.Callback):
        def __init__(self):
            self.seen = np.zeros(1)

        def on_train_batch_end(self, batch, logs):
            self.seen = self.seen + 1

        def get_state(self):
            return {"seen": self.seen}

        def set_state(self, state):
            self.seen = state["seen"]

    model = make_model("sgd")
    model.fit(*data, epochs=2, batch_size=15, callbacks=[Counter(), Counter()], verbose=0)
    model.save(tmp_path / "model")
    counters = [Counter(), Counter(), Counter()]
    lc.load(tmp_path / "model").fit(
        *data, epochs=3, batch_size=15, initial_epoch=2, callbacks=counters, verbose=0
    )
    assert [counter.seen[0] for counter in counters] == [9, 9, 3]


def test_a_state_that_does_not_fit_is_named(data, tmp_path):
    model = make_model("sgd")
    plateau = callbacks.ReduceLROnPlateau("loss")
    model.fit(*data, callbacks=[plateau], verbose=0)
    (state,) = model._states_of_callbacks
    model._keep_callback_states([state._replace(state={**state.state, "wait": "long"})])
    with pytest.raises(ValueError, match="callbacks: the saved state of ReduceLROnPlateau: wait"):
        model.fit(*data, epochs=2, initial_epoch=1, callbacks=[plateau], verbose=0)
    assert model.epoch == 1


def test_class_names_are_restored(tmp_path):
    model = lc.Sequential([layers.Input((3,)), layers.Dense(2, activation="softmax")])
    model.class_names = ["né", "yes"]
    model.save(tmp_path / "model")
    assert lc.load(tmp_path / "model").class_names == ["né", "yes"]


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_learns_like_the_model(how, data):
    model = make_model("adam")
    model.fit(*data, verbose=0)
    copied = COPIES[how](model)
    assert_same_state(copied, model)
    before = state(model)["weights"].copy()
    copied.fit(*data, epochs=3, initial_epoch=1, verbose=0)
    np.testing.assert_array_equal(model.parameters.values, before)
    model.fit(*data, epochs=3, initial_epoch=1, verbose=0)
    assert_same_state(copied, model)
    np.testing.assert_array_equal(copied.predict(data[0]), model.predict(data[0]))


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_layers_and_of_models_without_weights(how, rng):
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    cell = layers.LSTMCell(3)
    layer = layers.RNN(cell)
    expected = layer(x)
    copied = COPIES[how](layer)
    np.testing.assert_array_equal(copied(x), expected)
    copied.set_weights([0 * values for values in copied.get_weights()])
    assert not copied(x).any()
    assert not copied.cell(x[:, 0])[0].any()
    np.testing.assert_array_equal(layer(x), expected)
    fresh = COPIES[how](lc.Sequential([layers.TimeDistributed(layers.Dense(2))], seed=3))
    same = lc.Sequential([layers.TimeDistributed(layers.Dense(2))], seed=3)
    np.testing.assert_array_equal(fresh.predict(x), same.predict(x))


def test_loading_draws_no_initial_values(tmp_path, monkeypatch):
    model = lc.Sequential([layers.Input((None, 2)), layers.LSTM(3), layers.Dense(1)], seed=1)
    translator = lc.EncoderDecoder(5, 6, embedding_size=3, units=4, seed=2)
    x = np.ones((2, 4, 2), np.float32)
    expected = model.predict(x, verbose=0)
    for place, one in enumerate((model, translator)):
        one.save(tmp_path / str(place))
    with monkeypatch.context() as patch:
        patch.setattr(
            "lstmcore.layers.parameters.Parameters.initialize",
            lambda *_: pytest.fail("drew initial values, which are then overwritten"),
        )
        copies = [lc.load(tmp_path / str(place)) for place in range(2)]
    for one, copy_ in zip((model, translator), copies, strict=True):
        assert list(one.weights) == list(copy_.weights)
        assert all((one.weights[name] == copy_.weights[name]).all() for name in one.weights)
    assert (copies[0].predict(x, verbose=0) == expected).all()
