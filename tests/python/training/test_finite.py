"""NaN and infinities: refused in input data, with their position, and detected in training."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _intake, callbacks, layers, optimizers

N, T, C = 8, 6, 3


@pytest.fixture
def x(rng):
    return rng.standard_normal((N, T, C)).astype(np.float32)


def spoilt(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def regressor(units=1, steps=False):
    model = lc.Sequential([layers.LSTM(3, return_sequences=steps), layers.Dense(units)])
    model.compile("sgd", "mse")
    return model


def calls(model):
    return (
        lambda *given, **options: model.fit(*given, verbose=0, **options),
        lambda *given, **options: model.evaluate(*given, verbose=0, **options),
        model.train_on_batch,
        model.test_on_batch,
    )


# ---- input data ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", object])
def test_the_first_position_is_named(x, value, kind):
    wrong = spoilt(spoilt(x, (7, 5, 2), np.nan), (3, 4, 0), value).astype(kind)
    message = rf"^x\[3, 4, 0\] is {value}; expected finite .* check_finite=False"
    model = regressor()
    for call in calls(model):
        with pytest.raises(ValueError, match=message):
            call(wrong, np.zeros(N))
    with pytest.raises(ValueError, match=message):
        model.predict(wrong, verbose=0)
    with pytest.raises(ValueError, match=r"^x\[3, 4, 0\] is [^;]*;[^;]*$"):  # without advice
        model(wrong)
    with pytest.raises(ValueError, match=r"^inputs\[3, 4, 0\] is [^;]*;[^;]*$"):
        layers.LSTM(2)(wrong)
    assert not model.built  # nothing has changed
    rows = list(wrong)
    with pytest.raises(ValueError, match=rf"^x\[3\]\[4, 0\] is {value}"):
        model.predict([rows[0][:1], *rows[1:3], rows[3], *rows[4:]], verbose=0)


def test_all_arguments_are_checked(x):
    model = regressor()
    model.fit(x, np.zeros(N), verbose=0)
    for call in calls(model):
        with pytest.raises(ValueError, match=r"^y\[5\] is nan"):
            call(x, spoilt(np.zeros(N), 5, np.nan))
        with pytest.raises(ValueError, match=r"^sample_weight\[2\] is inf"):
            call(x, np.zeros(N), sample_weight=spoilt(np.ones(N), 2, np.inf))
    with pytest.raises(ValueError, match=r"^validation_data: x\[0, 0, 0\] is nan"):
        model.fit(x, np.zeros(N), validation_data=(spoilt(x, 0, np.nan), np.zeros(N)), verbose=0)
    state = {"lstm": (np.zeros((1, N, 3)), spoilt(np.zeros((1, N, 3)), (0, 1, 2), np.nan))}
    with pytest.raises(ValueError, match=r"^state\['lstm'\].c\[0, 1, 2\] is nan"):
        model.predict(x, state=state, verbose=0)
    with pytest.raises(ValueError, match=r"^state\['lstm'\].c\[0, 1, 2\] is nan"):
        model.state = state
    assert np.isnan(model.predict(x, state=state, check_finite=False, verbose=0)[1])
    layer = layers.LSTM(3)
    with pytest.raises(ValueError, match=r"^initial_state h\[0, 0\] is nan"):
        layer(x, initial_state=(np.full((N, 3), np.nan), np.zeros((N, 3))))
    with pytest.raises(ValueError, match=r"^states c\[0, 0\] is nan"):
        layers.LSTMCell(3)(x[:, 0], (np.zeros((N, 3)), np.full((N, 3), np.nan)))
    with pytest.raises(ValueError, match=r"^query\[0, 0\] is nan"):
        layers.Attention(query_size=2)(x, query=np.full((N, 2), np.nan))
    with pytest.raises(ValueError, match=r"^y_true\[1\] is nan"):
        lc.losses.MeanSquaredError()([0, np.nan], [[0], [0]])
    with pytest.raises(ValueError, match=r"^y_pred\[1, 0\] is nan"):
        lc.losses.MeanSquaredError()([0, 0], [[0], [np.nan]])


def test_the_check_can_be_turned_off(x):
    wrong, y = spoilt(x, (0, 0, 0), np.nan), np.zeros((N, 1))
    model = regressor()
    given = {"check_finite": False}
    assert np.isnan(model.predict(wrong, verbose=0, **given)[0]).all()
    assert np.isnan(model.evaluate(wrong, y, verbose=0, **given))
    assert np.isnan(model.test_on_batch(wrong, y, **given))
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        model.fit(wrong, y, verbose=0, **given)
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        model.train_on_batch(wrong, y, **given)
    assert np.isnan(model.train_on_batch(wrong, y, on_nan="ignore", **given))
    for call in calls(model):  # weights must be finite anyway, and errors say what to do
        for options in (given, {}):
            with pytest.raises(ValueError, match=r"^sample_weight\[0\] is nan; .*: 0 for") as error:
                call(x, y, sample_weight=np.full(N, np.nan), **options)
            assert "check_finite" not in str(error.value)
    for call in (*calls(model), lambda x, y, **options: model.predict(x, **options)):
        with pytest.raises(TypeError, match="check_finite: expected True or False"):
            call(x, y, check_finite=1)


@pytest.mark.parametrize(
    "huge",
    [
        np.full((2, 2, C), 1e200),  # the squares overflow
        np.full((2, 2, C), 3e38, np.float32)[:, ::-1],  # the sum overflows
    ],
)
def test_large_values_are_not_infinities(huge):
    assert not _intake.is_finite(huge)
    model = lc.Sequential([layers.LSTM(3), layers.Dense(1)], dtype=huge.dtype)
    assert np.isfinite(model.predict(huge, verbose=0)).all()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", np.longdouble])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_is_found_at_any_position_in_any_layout(dtype, value):
    for place in range(35):  # longer than a block of the sum
        array = np.ones((5, 7), dtype)
        assert _intake.is_finite(array)
        array.flat[place] = value
        off = np.zeros(array.nbytes + 1, np.uint8)[1:].view(dtype).reshape(5, 7)
        off[...] = array
        assert not off.flags.aligned
        for same in (array, array.T, array[::-1], array[:, ::-1], off):
            assert not _intake.is_finite(same)
        assert not _intake.is_finite(np.array(value, dtype))
    assert _intake.is_finite(np.empty((0, 3), dtype))


def test_masked_steps_may_hold_anything(x, rng):
    valid = rng.random((N, T)) < 0.6
    valid[:, 0] = True
    filled = np.where(valid[..., None], x, np.nan)
    y, weights = rng.standard_normal((N, T)), rng.random((N, T))
    model = regressor(steps=True)
    results = [
        [
            model.predict(x, mask=valid, verbose=0),
            *(
                call(x, y, mask=valid, sample_weight=weights)
                for call in (model.evaluate, model.test_on_batch)
            ),
        ]
        for x, y, weights in (
            (x, y, weights),
            (filled, np.where(valid, y, np.inf), np.where(valid, weights, np.nan)),
        )
    ]
    for clean, dirty in zip(*results, strict=True):
        np.testing.assert_array_equal(clean, dirty)
    place = tuple(np.argwhere(valid)[7])
    with pytest.raises(ValueError, match=rf"^x\[{place[0]}, {place[1]}, 0\] is nan"):
        model.predict(spoilt(x, place, np.nan), mask=valid, verbose=0)
    layer = layers.LSTM(2)
    np.testing.assert_array_equal(layer(filled, mask=valid), layer(x, mask=valid))
    lengths = np.array([6, 5, 4, 3, 2, 1, 1, 6])
    tail = np.where((np.arange(T) < lengths[:, None])[..., None], x, np.inf)
    np.testing.assert_array_equal(layer(tail, lengths=lengths), layer(x, lengths=lengths))


def test_targets_past_the_end_of_a_row_may_hold_anything(rng):
    ids = rng.integers(1, 5, (N, T))
    ids[2, 3:] = ids[5, 1:] = 0
    past = ids == 0
    model = lc.Sequential(
        [
            layers.Embedding(5, 2, mask_zero=True),
            layers.LSTM(3, return_sequences=True),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    labels, weights = rng.integers(0, 2, (N, T)), rng.random((N, T))
    clean = model.evaluate(ids, labels, sample_weight=weights, verbose=0)
    dirty = model.evaluate(
        ids,
        np.where(past, np.nan, labels),
        sample_weight=np.where(past, np.nan, weights),
        verbose=0,
    )
    assert clean == dirty
    with pytest.raises(ValueError, match=r"y\[0, 0\] is nan"):
        model.evaluate(ids, np.full((N, T), np.nan), verbose=0)
    binary = lc.Sequential(
        [
            layers.Embedding(5, 2, mask_zero=True),
            layers.LSTM(3, return_sequences=True),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    binary.compile("sgd", "binary_crossentropy")
    assert binary.evaluate(ids, labels, verbose=0) == binary.evaluate(
        ids, np.where(past, -1, labels), verbose=0
    )


def test_every_array_is_checked_once_per_call(x, monkeypatch):
    checked = []
    monkeypatch.setattr(
        _intake,
        "is_finite",
        lambda array: checked.append(array.shape) or bool(np.isfinite(array.sum())),
    )
    model = regressor()
    model.fit(x, np.zeros(N), batch_size=2, epochs=3, verbose=0)
    assert checked == [(N, T, C), (N,)]
    checked.clear()
    model.predict(x, batch_size=2, verbose=0)
    assert checked == [(N, T, C)]
    checked.clear()
    model.predict(np.ones((N, T, C), int), verbose=0)
    model.predict(x, check_finite=False, verbose=0)
    assert checked == [(N, T, C)]  # integers need no check


class Source:
    """Anything with a shape that is sliced by [rows, steps]."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key):
        rows, *rest = key if isinstance(key, tuple) else (key,)
        return self.array[rows][(slice(None), *rest)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_streams_are_checked_window_by_window(x, shuffle):
    y = np.zeros((N, T, 1))
    model = regressor(steps=True)
    wrong = spoilt(x, (6, 4, 1), np.nan)
    steps = []
    count = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    options = {"tbptt": 2, "batch_size": 2, "shuffle": shuffle, "callbacks": count, "verbose": 0}
    with pytest.raises(ValueError, match=r"^x\[6, 4, 1\] is nan"):
        model.fit(Source(wrong), Source(y), **options)
    assert len(steps) < N // 2
    with pytest.raises(ValueError, match=r"^y\[6, 4, 0\] is inf"):
        model.fit(Source(x), Source(spoilt(y, (6, 4), np.inf)), **options)
    model.fit(Source(wrong), Source(y), check_finite=False, on_nan="ignore", **options)
    assert not np.isfinite(model.get_weights()[0]).any()


def test_a_batch_that_is_not_finite(x):
    y = np.zeros(N)
    model = regressor()
    with pytest.raises(ValueError, match=r"^batch 1: x\[2, 0, 1\] is nan"):
        model.fit(iter([(x, y), (spoilt(x, (2, 0, 1), np.nan), y)]), verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()


# ---- training ------------------------------------------------------------------------------------


class Ends(callbacks.Callback):
    ended = 0

    def on_train_end(self, logs=None):
        self.ended += 1


def diverging(x, **options):
    """Make a model whose second step must overflow, with the arguments of the training."""
    model = regressor()
    model.compile(optimizers.SGD(1e30), "mse")
    return model, {"x": x, "y": 100 * x[:, 0, 0], "batch_size": N, "epochs": 9, **options}


def test_training_stops_before_it_spoils_the_weights(x):
    ends, best = Ends(), callbacks.EarlyStopping("loss", restore_best_weights=True)
    model, given = diverging(x, callbacks=[ends, best], verbose=0)
    with pytest.raises(FloatingPointError, match="learning_rate.*1e.30.*global_clipnorm.*scaled"):
        model.fit(**given)
    assert ends.ended == 1
    assert model.history.epoch == [0]
    assert all(np.isfinite(view).all() for view in model.get_weights())
    assert model.optimizer.iterations == 1
    assert np.isfinite(model.predict(x, verbose=0)).all()


def test_nan_can_be_ignored_or_left_to_a_callback(x):
    model, given = diverging(x, on_nan="ignore", verbose=0)
    history = model.fit(**given)
    assert len(history.epoch) == 9
    assert np.isnan(history.history["loss"][-1])
    model, given = diverging(x, callbacks=callbacks.TerminateOnNaN(), verbose=0)
    history = model.fit(**given)
    assert 1 < len(history.epoch) < 9
    assert not np.isfinite(history.history["loss"][-1])
    with pytest.raises(ValueError, match="on_nan: expected one of 'raise', 'ignore', got 'stop'"):
        model.fit(x, x[:, 0, 0], on_nan="stop")


def test_one_batch_is_guarded_as_fit_is(x, tmp_path):
    model = regressor()
    model.compile(optimizers.SGD(1e10), "mse")
    y = 100 * x[:, 0, 0]
    before = []

    def train():
        for _ in range(20):
            model.train_on_batch(x, y)
            before[:] = model.get_weights(), model.optimizer.iterations

    with pytest.raises(FloatingPointError, match="^train_on_batch: .*not made") as caught:
        train()
    assert "TerminateOnNaN" not in str(caught.value)  # not mentioned here
    for left, right in zip(model.get_weights(), before[0], strict=True):
        np.testing.assert_array_equal(left, right)
    assert model.optimizer.iterations == before[1]
    model.save(tmp_path / "model.safetensors")  # a warning would be an error here
    for _ in range(20):
        model.train_on_batch(x, y, on_nan="ignore")
    assert not np.isfinite(model.get_weights()[0]).any()
    with pytest.raises(ValueError, match="on_nan: expected one of 'raise', 'ignore', got 'stop'"):
        model.train_on_batch(x, y, on_nan="stop")


def test_saving_weights_that_are_not_finite_warns(x, tmp_path):
    model = regressor()
    model.fit(x, x[:, 0, 0], verbose=0)
    path = tmp_path / "model.safetensors"
    values = model.get_weights()
    values[1][2, 1] = np.inf
    model.set_weights(values)
    with pytest.warns(RuntimeWarning, match=r"^weight 'lstm\.weight_hh_l0' holds NaN") as caught:
        model.save(path)
    assert caught[0].filename == __file__
    values[4][0] = np.nan
    model.set_weights(values)
    with pytest.warns(RuntimeWarning, match=r"'lstm.weight_hh_l0' .*and 1 more of 5 do"):
        model.save(path, include_optimizer=False)
    for written, value in zip(lc.load(path).get_weights(), values, strict=True):
        np.testing.assert_array_equal(written, value)


def test_the_guard_changes_no_bit(x):
    weights = []
    for on_nan in ("raise", "ignore"):
        model = regressor()
        model.fit(x, x[:, 0, 0], epochs=3, batch_size=3, on_nan=on_nan, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


class Steep(lc.losses.SparseCategoricalCrossentropy):
    """A finite loss with an infinite gradient."""

    def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
        value, gradient = super().sum(targets, outputs, weights, scale, need_gradient)
        return value, None if gradient is None else gradient * np.float32(np.inf)


def taggers():
    """Make models of each kind from ids to classes."""
    layers_of_steps = [
        layers.Embedding(5, 2),
        layers.LSTM(2, return_sequences=True),
        layers.Dense(5, activation="softmax"),
    ]
    return lc.Sequential(layers_of_steps), lc.EncoderDecoder(5, 5, embedding_size=2, units=2)


@pytest.mark.parametrize(("kind", "tbptt"), [(0, None), (0, 2), (1, None)])
def test_a_gradient_that_is_not_finite_with_a_loss_that_is(kind, tbptt):
    model = taggers()[kind]
    model.compile("sgd", Steep())
    ids = np.full((4, 4), 3)
    with pytest.raises(FloatingPointError, match="a gradient of the loss is not finite in step 1"):
        model.fit(ids, ids, tbptt=tbptt, verbose=0)
    assert model.optimizer.iterations == 0
    assert all(np.isfinite(view).all() for view in model.get_weights())
