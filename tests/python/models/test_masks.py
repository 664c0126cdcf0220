"""Masks of models: same results as if invalid steps had been removed."""

import numpy as np
import pytest

import lstmcore as lc

L = lc.layers
N, T, C = 13, 9, 3


@pytest.fixture
def valid(rng):
    mask = rng.random((N, T)) < 0.6
    mask[0], mask[1] = True, False
    mask[2, :4], mask[3, 4:] = False, False
    return mask


@pytest.fixture
def x(rng, valid):
    values = rng.standard_normal((N, T, C)).astype(np.float32)
    values[~valid] = np.nan  # invalid steps may hold anything
    return values


def rows_of(values, valid):
    return [values[row][valid[row]] for row in range(len(valid))]


def of_sequence():
    return lc.Sequential([L.LSTM(5), L.Dense(3, activation="softmax")], seed=1)


def of_steps(units=3):
    layers = [L.LSTM(5, return_sequences=True), L.Dense(units, activation="softmax")]
    return lc.Sequential(layers, seed=1)


MODELS = {
    "last step": of_sequence,
    "steps": of_steps,
    "bidirectional": lambda: lc.Sequential([L.Bidirectional(L.LSTM(4, return_sequences=True))]),
    "attention": lambda: lc.Sequential([L.LSTM(4, return_sequences=True), L.Attention()]),
    "pooling": lambda: lc.Sequential([L.Conv1D(4, 3, padding="same"), L.GlobalMaxPooling1D()]),
    "strides": lambda: lc.Sequential([L.Conv1D(4, 3, strides=2, padding="same"), L.LSTM(2)]),
    "convolution": lambda: lc.Sequential([L.Conv1D(4, 3, padding="causal"), L.Dense(2)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_predict_equals_that_of_each_row_alone_without_gaps(name, x, valid):
    model = MODELS[name]()
    y = model.predict(x, 4, mask=valid)
    assert isinstance(y, np.ndarray)
    if y.ndim == 3:
        assert y.shape[:2] == valid.shape
        assert not y[~valid].any()
    for row, values in enumerate(rows_of(x, valid)):
        if len(values):
            wanted = model.predict(values[None])[0]
            assert (wanted == (y[row][valid[row]] if y.ndim == 3 else y[row])).all()


def test_left_padding_equals_right_padding(rng):
    lengths = rng.integers(0, T + 1, N)
    right = np.arange(T) < lengths[:, None]
    left = right[:, ::-1]
    values = rng.standard_normal((N, T, C)).astype(np.float32)
    x = np.zeros((2, *values.shape), np.float32)
    x[0][right] = x[1][left] = values[right]
    model = of_steps()
    a, b = model.predict(x[0], mask=right), model.predict(x[1], mask=left)
    assert (a[right] == b[left]).all()
    model = of_sequence()
    assert (model.predict(x[0], mask=right) == model.predict(x[1], mask=left)).all()


@pytest.mark.parametrize("mask_zero", [False, True])
def test_embedding_takes_padding_on_the_left_and_gaps(rng, valid, mask_zero):
    ids = np.where(valid, rng.integers(1, 7, (N, T)), 0)
    layers = [L.Embedding(7, 4, mask_zero=mask_zero), L.LSTM(5), L.Dense(1, activation="sigmoid")]
    model = lc.Sequential(layers)
    model.compile("adam", "binary_crossentropy", ["accuracy"])
    y = rng.integers(0, 2, N)
    model.fit(ids, y, epochs=2, verbose=0, mask=ids != 0)
    wanted = [model.predict([row])[0] for row in rows_of(ids, valid)]
    assert (model.predict(ids, mask=ids != 0) == wanted).all()
    assert model.evaluate(ids, y, mask=ids != 0) == model.evaluate(rows_of(ids, valid), y)


def test_embedding_refuses_padding_on_the_left_and_says_what_to_do():
    model = lc.Sequential([L.Embedding(7, 4, mask_zero=True), L.LSTM(5)])
    with pytest.raises(ValueError, match=r"only at the right end.*pass mask=\(x != 0\) to fit"):
        model.predict(np.array([[0, 0, 3]]))
    with pytest.raises(ValueError, match=r"mask: .*at \(0, 1\) is valid; expected mask & \(x"):
        model.predict(np.array([[0, 0, 3]]), mask=[[False, True, True]])


def per_step(rng, valid):
    """Make labels and weights, with invalid values at gaps."""
    y = np.where(valid, rng.integers(0, 3, valid.shape), -9)
    weights = np.where(valid, rng.random(valid.shape), -1.0).astype(np.float32)
    return y, weights


def fitted(model, *given, **options):
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(*given, 4, 3, verbose=0, **options)
    return [*history.history["loss"], *history.history["accuracy"]], model.parameters.values


@pytest.mark.parametrize(
    "options", [{}, {"tbptt": 2}, {"shuffle": False}, {"validation_split": 0.3}, {"weights": True}]
)
def test_fit_has_the_bits_of_the_list_of_rows(rng, x, valid, options):
    y, weights = per_step(rng, valid)
    options = dict(options)
    lists = dict(options)
    if options.pop("weights", False):
        options = {"sample_weight": weights, "class_weight": {1: 2.0}}
        lists = {"sample_weight": rows_of(weights, valid), "class_weight": {1: 2.0}}
    logs, values = fitted(of_steps(), x, y, **options, mask=valid)
    wanted, as_list = fitted(of_steps(), rows_of(x, valid), rows_of(y, valid), **lists)
    assert logs == wanted
    assert (values == as_list).all()


def test_fit_of_whole_sequences_has_the_bits_of_the_list_of_rows(rng, x, valid):
    y = rng.integers(0, 3, N)
    weight = rng.random(N).astype(np.float32)
    logs, values = fitted(of_sequence(), x, y, sample_weight=weight, mask=valid.tolist())
    wanted, as_list = fitted(of_sequence(), rows_of(x, valid), y, sample_weight=weight)
    assert logs == wanted
    assert (values == as_list).all()


def test_a_mask_of_all_steps_changes_no_outputs(rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    model = of_steps()
    assert (model.predict(x) == model.predict(x, mask=np.ones((N, T), bool))).all()


@pytest.mark.parametrize("kind", ["array", "wide", "list"])
def test_values_per_step(rng, x, valid, kind):
    y = rng.standard_normal((N, T)).astype(np.float32)
    given = {"array": y, "wide": y[..., None], "list": y.tolist()}[kind]
    model = lc.Sequential([L.LSTM(5, return_sequences=True), L.Dense(1)])
    model.compile("adam", "mse")
    loss = model.evaluate(x, given, mask=valid)
    outputs = model.predict(x, mask=valid)[..., 0]
    assert abs(loss - ((outputs - y)[valid] ** 2).mean()) < 1e-6
    tested = model.test_on_batch(x, given, mask=valid)
    assert abs(tested - loss) < 1e-6
    assert model.train_on_batch(x, given, mask=valid) == tested


def plain_resets(reset, valid):
    """Compute resets in a plain loop: a reset at an invalid step acts on the next valid one."""
    rows = []
    for flags, mask in zip(reset, valid, strict=True):
        rows.append([])
        pending = False
        for flag, present in zip(flags, mask, strict=True):
            pending |= flag
            if present:
                rows[-1].append(pending)
                pending = False
    return [np.array(row, bool) for row in rows]


def test_resets_act_on_the_next_valid_step(rng, x, valid):
    reset = rng.random((N, T)) < 0.3
    wanted = plain_resets(reset, valid)
    model = of_steps()
    y = model.predict(x, reset=reset, mask=valid)
    assert (y != model.predict(x, mask=valid)).any()
    rows = model.predict(rows_of(x, valid), reset=wanted)
    assert (y[valid] == np.concatenate(rows)).all()
    targets, _ = per_step(rng, valid)
    for options in ({}, {"tbptt": 2}):
        logs, values = fitted(of_steps(), x, targets, reset=reset, mask=valid, **options)
        lists = rows_of(x, valid), rows_of(targets, valid)
        again, as_list = fitted(of_steps(), *lists, reset=wanted, **options)
        assert logs == again
        assert (values == as_list).all()


def test_steps_are_skipped_as_in_functional_lstm(rng, x, valid):
    reset = rng.random((N, T)) < 0.3
    model = lc.Sequential([L.LSTM(5, return_sequences=True, name="lstm")])
    y = model.predict(x, reset=reset, mask=valid)
    weights = {name: model.parameters.value(f"lstm.{name}") for name in model.layers[0].weights}
    config = lc.LSTMConfig(C, 5)
    wanted, _ = lc.functional.lstm(np.nan_to_num(x), weights, config, reset=reset, mask=valid)
    assert np.abs(y - wanted).max() < 1e-6


def test_states_skip_gaps(x, valid):
    model = of_steps()
    y, end = model.predict(x, 4, mask=valid, return_state=True)
    first, state = model.predict(x[:, :5], mask=valid[:, :5], return_state=True)
    rest, after = model.predict(x[:, 5:], mask=valid[:, 5:], state=state, return_state=True)
    assert (np.concatenate([first, rest], axis=1) == y).all()
    for pair, wanted in zip(after.values(), end.values(), strict=True):
        assert all((a == b).all() for a, b in zip(pair, wanted, strict=True))
    by_lists = model.predict(rows_of(x[:8], valid[:8]), 4, stateful=True)
    stateful = model.predict(x[:8], 4, stateful=True, mask=valid[:8])
    assert (stateful[valid[:8]] == np.concatenate(by_lists)).all()


def test_no_valid_steps_and_no_rows(x):
    model = of_steps()
    assert not model.predict(x, mask=np.zeros((N, T), bool)).any()
    assert model.predict(x[:0], mask=np.zeros((0, T), bool)).shape == (0, T, 3)


GOOD = np.ones((N, T), bool)
BAD = {
    "dtype": (TypeError, "mask: expected an array of bool, got int64", {"mask": GOOD.astype("i8")}),
    "shape": (ValueError, r"mask: expected shape \(N, T\) = \(13, 9\)", {"mask": GOOD[:, 1:]}),
    "rank": (ValueError, r"mask: .*got \(13,\)", {"mask": GOOD[:, 0]}),
    "masked": (TypeError, "mask: .*MaskedArray", {"mask": np.ma.array(GOOD)}),
    "uneven": (ValueError, "mask: .*different lengths", {"mask": [[True], [True, False]]}),
    "list": (
        ValueError,
        "mask: expected None for x that is a list",
        {"x": [np.ones((2, C), "f4")]},
    ),
    "no time": (ValueError, r"mask: expected x of shape \(N, T, C\)", {"x": np.ones((N, C), "f4")}),
    "y": (
        ValueError,
        "y: expected 13 rows of 9 steps like x and mask",
        {"y": np.ones((N, 8), int)},
    ),
    "label": (ValueError, "y: expected labels in 0..2", {"y": np.full((N, T), 3)}),
    "ragged y": (ValueError, "y: .*different lengths", {"y": [[1]] * (N - 1) + [[1, 2]]}),
    "weights": (ValueError, "sample_weight: expected 13 rows", {"sample_weight": np.ones((N, 8))}),
    "weight": (ValueError, "sample_weight: expected finite", {"sample_weight": -np.ones((N, T))}),
    "reset": (ValueError, "reset: expected 13 rows of 9 steps", {"reset": GOOD[1:]}),
    "reset's rank": (ValueError, r"reset: expected shape \(N, T\)", {"reset": GOOD[0]}),
    "reset's dtype": (TypeError, "reset: expected an array of bool", {"reset": GOOD.astype("i8")}),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_masks_and_arrays_are_refused(name):
    kind, message, changed = BAD[name]
    good = {"x": np.ones((N, T, C), np.float32), "y": np.ones((N, T), int), "mask": GOOD}
    model = of_steps()
    model.compile("adam", "sparse_categorical_crossentropy")
    given = {**good, **changed}
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(kind, match=message):
            call(**given)
    assert not model.built
    if not {"y", "sample_weight"} & set(changed):
        del given["y"]
        with pytest.raises(kind, match=message):
            model.predict(**given)


def test_layers_that_change_the_number_of_steps_are_refused(x, valid):
    model = lc.Sequential([L.Conv1D(4, 3, name="short"), L.LSTM(2, return_sequences=True)])
    with pytest.raises(ValueError, match="mask: layer 'short' changes the number of steps"):
        model.predict(x, mask=valid)


def test_arrays_read_window_by_window_are_refused(x, valid, tmp_path):
    np.save(tmp_path / "x.npy", x)
    on_disk = np.load(tmp_path / "x.npy", mmap_mode="r")
    model = of_steps()
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="mask: .*window by window"):
        model.fit(on_disk, np.ones((N, T), int), tbptt=3, mask=valid)


def test_texts_and_pairs_are_refused():
    words = L.TextVectorization()
    words.adapt(["a b", "b"])
    model = lc.Sequential([words, L.Embedding(words.vocabulary_size(), 2, mask_zero=True)])
    with pytest.raises(ValueError, match="mask: expected None for texts"):
        model.predict(["a b"], mask=[[True, True]])
    pairs = lc.EncoderDecoder(7, 7, embedding_size=2, units=3)
    pairs.compile("adam")
    with pytest.raises(ValueError, match="mask: expected None for EncoderDecoder"):
        pairs.fit([[3, 4]], [[3]], mask=[[True, True]])
