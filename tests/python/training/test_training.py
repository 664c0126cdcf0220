"""Batches, and their use in training."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore._intake import Intake
from lstmcore.training import loop
from lstmcore.training.data import Ragged, batch_rows

LENGTHS = np.array([4, 1, 0, 3])


# ---- batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("bucket", [False, True])
@pytest.mark.parametrize("count", [1, 7, 64, 1000])
def test_every_sample_is_in_exactly_one_batch(count, bucket, seed, rng):
    lengths = rng.integers(0, 50, count)
    batches = [
        np.arange(count)[rows] for rows in batch_rows(count, 8, lengths, seed, bucket=bucket)
    ]
    assert max(map(len, batches)) <= 8
    assert len(batches) == -(-count // 8)
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(count))


def test_batches_are_drawn_by_seed():
    def orders(seed):
        return [rows.tolist() for rows in batch_rows(20, 6, None, seed, bucket=True)]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_batches_hold_similar_lengths(rng):
    lengths = rng.integers(1, 100, 3200)
    steps = sum(
        len(rows) * lengths[rows].max() for rows in batch_rows(3200, 32, lengths, 0, bucket=True)
    )
    # In random batches the longest of 32 rows has about 97 of 100 steps, so almost half is padding.
    assert steps < 1.1 * lengths.sum()


def test_ragged_rows_come_back_padded(rng):
    rows = [rng.standard_normal((length, 2)) for length in LENGTHS]
    ragged = Ragged.from_rows(rows, "x", True, Intake())
    assert ragged.shape == (4, 4, 2)
    padded = ragged.take(np.array([3, 2, 1])).padded()
    assert padded.shape == (3, 3, 2)
    np.testing.assert_array_equal(padded[0], rows[3])
    assert not padded[1].any()
    np.testing.assert_array_equal(padded[2, :1], rows[1])
    assert not padded[2, 1:].any()


# ---- a training step -------------------------------------------------------------------------


def tagger(dropout=0.3, **options):
    return lc.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True, embeddings_regularizer=0.02),
            layers.Dropout(0.2),
            layers.Bidirectional(
                layers.LSTM(3, return_sequences=True, num_layers=2, dropout=dropout), "ave"
            ),
            layers.Dense(3, activation="softmax", kernel_regularizer="l2"),
        ],
        dtype="float64",
        **options,
    )


def padded_data(rng):
    ids = rng.integers(1, 9, (4, 4))
    ids[np.arange(4) >= LENGTHS[:, None]] = 0
    labels = rng.integers(0, 3, (4, 4))
    return ids, labels


def test_the_gradient_of_a_whole_model_is_exact(rng):
    ids, labels = padded_data(rng)
    weights = rng.uniform(0.5, 2, (4, 4))
    model = tagger()
    model.compile(lc.optimizers.SGD(0.0), "sparse_categorical_crossentropy")

    def loss():
        model.optimizer.iterations = 0  # same dropout each time
        return model.train_on_batch(ids, labels, sample_weight=weights)

    loss()
    gradients = model.parameters.gradients.copy()
    values = model.parameters.values
    for place in rng.choice(values.size, 60, replace=False):
        before = values[place]
        values[place] = before + 1e-6
        above = loss()
        values[place] = before - 1e-6
        below = loss()
        values[place] = before
        assert gradients[place] == pytest.approx((above - below) / 2e-6, abs=1e-9)


def test_the_loss_is_the_mean_over_valid_steps_plus_penalties(rng):
    ids, labels = padded_data(rng)
    weights = rng.uniform(0.5, 2, (4, 4))
    model = tagger()
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    value, accuracy = model.evaluate(ids, labels, sample_weight=weights, verbose=0)
    p = model.predict(ids)
    valid = np.arange(4) < LENGTHS[:, None]
    each = -np.log(np.take_along_axis(p, labels[..., None], axis=-1)[..., 0])
    penalty = 0.02 * (model.weights["embedding.embeddings"] ** 2).sum()
    penalty += 0.01 * (model.weights["dense.kernel"] ** 2).sum()
    expected = (each * weights)[valid].sum() / LENGTHS.sum() + penalty
    assert value == pytest.approx(expected, rel=1e-13)
    assert accuracy == pytest.approx((p.argmax(-1) == labels)[valid].mean(), rel=1e-14)


def test_padded_and_ragged_samples_train_alike(rng):
    ids, labels = padded_data(rng)
    labels[np.arange(4) >= LENGTHS[:, None]] = -1  # never read
    weights = rng.uniform(0.5, 2, (4, 4))
    rows = [values[:length] for values, length in zip(ids, LENGTHS, strict=True)]
    row_labels = [values[:length] for values, length in zip(labels, LENGTHS, strict=True)]
    row_weights = [values[:length] for values, length in zip(weights, LENGTHS, strict=True)]
    results = []
    for x, y, w in (
        (ids, labels, weights),
        (rows, row_labels, row_weights),
        (rows, labels, weights),
        (ids, row_labels, row_weights),
    ):
        # Without dropout, whose mask depends on the shape of the batch.
        model = tagger(dropout=0.0)
        model.layers[1].rate = 0.0
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, sample_weight=w, epochs=2, batch_size=4, shuffle=False, verbose=0)
        results.append(model.parameters.values)
    for values in results[1:]:
        np.testing.assert_array_equal(values, results[0])


def small_model(**options):
    model = lc.Sequential(
        [layers.LSTM(4), layers.Dropout(0.3), layers.Dense(2, activation="softmax")], **options
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def small_data(rng, count=40):
    return rng.standard_normal((count, 5, 3)).astype(np.float32), rng.integers(0, 2, count)


def test_training_repeats_and_does_not_depend_on_threads(rng):
    x, y = small_data(rng)
    runs = []
    for threads in (1, 2, 3):
        lc.set_num_threads(threads)
        model = small_model()
        model.fit(x, y, epochs=3, batch_size=16, verbose=0)
        runs.append(model.parameters.values)
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


def test_every_step_and_every_epoch_draw_new_numbers(rng):
    x, y = small_data(rng, 16)
    model = small_model()
    model.compile(lc.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    # The weights never change, so two steps differ only by dropout ...
    assert model.train_on_batch(x, y) != model.train_on_batch(x, y)
    # ... and without it, only by the samples of the batch.
    model.layers[1].rate = 0.0
    seen = []
    watch = lc.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])
    )
    model.fit(x, y, batch_size=4, epochs=2, callbacks=[watch], verbose=0)
    first, second = seen[:4], seen[4:]
    assert first[0] != second[0]
    assert first[-1] == pytest.approx(second[-1], rel=1e-6)  # over all samples, in float32


def test_class_weight_is_sample_weight_by_class(rng):
    x, y = small_data(rng)
    one, other = small_model(), small_model()
    one.fit(x, y, epochs=2, class_weight={1: 3.0}, verbose=0)
    other.fit(x, y, epochs=2, sample_weight=np.where(y == 1, 3.0, 1.0), verbose=0)
    np.testing.assert_array_equal(one.parameters.values, other.parameters.values)
    both = small_model()
    both.fit(x, y, epochs=2, class_weight={1: 6.0, 0: 2.0}, sample_weight=y * 0 + 0.5, verbose=0)
    np.testing.assert_array_equal(one.parameters.values, both.parameters.values)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["rows", "ragged", "streamed", "pairs"])
def test_class_weights_do_not_act_on_validation(kind, weighted, rng, tmp_path):
    held, options = slice(30, 40), {}
    if kind == "pairs":
        x, y = rng.integers(3, 6, (40, 3)), rng.integers(3, 6, (40, 2))
        model = lc.EncoderDecoder(6, 6, embedding_size=3, units=3)
    elif kind == "rows":
        x, y = small_data(rng)
        model = small_model()
    else:
        x, y = rng.standard_normal((40, 6, 3)).astype(np.float32), rng.integers(0, 4, (40, 6))
        model = lc.Sequential(
            [layers.LSTM(4, return_sequences=True), layers.Dense(4, activation="softmax")]
        )
        options["tbptt"] = 3
        if kind == "ragged":
            lengths = rng.integers(1, 7, 40)
            x, y = ([row[:n] for row, n in zip(rows, lengths, strict=True)] for rows in (x, y))
        else:
            np.save(tmp_path / "x.npy", x)
            x = np.load(tmp_path / "x.npy", mmap_mode="r")
    model.compile(lc.optimizers.SGD(0.0), "sparse_categorical_crossentropy", [], ["accuracy"])
    weights = rng.uniform(0.5, 2, 40) if weighted else None
    classes = {1: 30.0, 3: 20.0} if kind != "rows" else {1: 30.0}
    history = model.fit(
        x,
        y,
        sample_weight=weights,
        class_weight=classes,
        validation_split=0.25,
        verbose=0,
        **options,
    ).history
    own = None if weights is None else weights[held]
    expected = model.evaluate(
        np.asarray(x[held]) if kind == "streamed" else x[held],
        y[held],
        sample_weight=own,
        verbose=0,
    )
    assert [history["val_loss"][0], history["val_accuracy"][0]] == pytest.approx(expected, rel=1e-6)
    assert history["loss"][0] > 2 * history["val_loss"][0]  # class weights apply to the loss alone


def test_targets_of_a_class_of_weight_0_are_checked(rng):
    """They count in the held-out part."""
    x, labels = small_data(rng, 8)
    y = np.eye(2)[labels]
    y[7] = 0, 7
    model = small_model()
    model.compile("sgd", "categorical_crossentropy")
    with pytest.raises(ValueError, match=r"y\[7"):
        model.fit(x, y, class_weight={1: 0.0}, validation_split=0.5, verbose=0)


def test_weights_that_are_zero_for_all_training_samples_are_refused(rng):
    x, y = small_data(rng, 8)
    y = np.array([0] * 6 + [1] * 2)
    for weights in ({"class_weight": {0: 0.0}}, {"sample_weight": y}):
        with pytest.raises(ValueError, match="sample_weight: expected a weight above 0"):
            small_model().fit(x, y, validation_split=0.25, verbose=0, **weights)


def test_a_weight_of_zero_leaves_a_sample_out_of_the_gradient(rng):
    x, y = small_data(rng, 8)
    model = small_model()
    weights = np.array([1.0] * 4 + [0.0] * 4)
    changed = y.copy()
    changed[4:] = 1 - changed[4:]
    model.build((None, None, 3))
    values = model.get_weights()
    model.train_on_batch(x, y, sample_weight=weights)
    first = model.parameters.values.copy()
    again = small_model()
    again.build((None, None, 3))
    again.set_weights(values)
    again.train_on_batch(x, changed, sample_weight=weights)
    np.testing.assert_array_equal(again.parameters.values, first)


def test_validation_takes_the_last_samples_before_shuffling(rng):
    x, y = small_data(rng)
    split, given = small_model(), small_model()
    one = split.fit(x, y, epochs=2, validation_split=0.25, verbose=0)
    other = given.fit(x[:30], y[:30], epochs=2, validation_data=(x[30:], y[30:]), verbose=0)
    assert one.history == other.history
    assert list(one.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert one.epoch == [0, 1]
    assert split.history is one
    loss, accuracy = split.evaluate(x[30:], y[30:], verbose=0)
    assert one.history["val_loss"][-1] == loss
    assert one.history["val_accuracy"][-1] == accuracy


def test_evaluation_does_not_depend_on_the_batch_size(rng):
    x, y = small_data(rng)
    model = small_model()
    whole = model.evaluate(x, y, batch_size=40, verbose=0)
    # Sums in float64 in another order.
    assert model.evaluate(x, y, batch_size=7, verbose=0) == pytest.approx(whole, rel=1e-6)
    named = model.evaluate(x, y, batch_size=40, return_dict=True, verbose=0)
    assert named == dict(zip(("loss", "accuracy"), whole, strict=True))
    assert model.test_on_batch(x, y) == whole


def test_rows_without_steps_do_not_count(rng):
    lengths = [3, 5, 0, 2]
    x = [rng.standard_normal((length, 3)) for length in lengths]
    y = [rng.integers(0, 2, length) for length in lengths]
    model = lc.Sequential(
        [
            layers.LSTM(4, return_sequences=True, kernel_regularizer=0.1),
            layers.Dense(2, activation="softmax"),
        ],
        dtype="float64",
    )
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    model.build((None, None, 3))
    full = [row for row in x if len(row)], [row for row in y if len(row)]
    expected = model.evaluate(*full, verbose=0)
    for size in (1, 2, 3, 4):
        # Sums in another order.
        found = model.evaluate(x, y, size, verbose=0)
        assert found == pytest.approx(expected, rel=1e-14)
    for batches in ([(x[:2], y[:2]), (x[2:3], y[2:3]), (x[3:], y[3:])], [([*x], [*y])]):
        assert model.evaluate(batches, verbose=0) == pytest.approx(expected, rel=1e-14)
    # With only such rows, the loss is the penalty.
    penalty = 0.1 * (model.weights["lstm.weight_ih_l0"] ** 2).sum()
    assert model.test_on_batch(x[2:3], y[2:3])[0] == pytest.approx(penalty, rel=1e-14)
    model.compile(lc.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    assert model.train_on_batch(x[2:3], y[2:3]) == pytest.approx(penalty, rel=1e-14)
    history = model.fit(x, y, 1, verbose=0).history
    assert history["loss"] == [pytest.approx(expected[0], rel=1e-14)]


def test_without_shuffling_samples_come_in_order(rng):
    x, y = small_data(rng, 8)
    one, other = small_model(), small_model()
    one.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    other.train_on_batch(x[:4], y[:4])
    other.train_on_batch(x[4:], y[4:])
    np.testing.assert_array_equal(one.parameters.values, other.parameters.values)


def test_text_is_trained_on(rng):
    texts = ["good film", "bad film", "a good one", "a bad one"] * 10
    words = layers.TextVectorization()
    words.adapt(texts)
    model = lc.Sequential(
        [
            words,
            layers.Embedding(words.vocabulary_size(), 8, mask_zero=True),
            layers.LSTM(8),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(lc.optimizers.Adam(0.03), "binary_crossentropy", ["accuracy"])
    model.fit(texts, [1, 0] * 20, epochs=10, verbose=0)
    assert model.evaluate(texts, [1, 0] * 20, verbose=0)[1] == 1.0
    good, bad = model.predict(["good", "bad"])
    assert good > 0.5 > bad


def test_regression_of_a_running_sum(rng):
    x = rng.uniform(-1, 1, (200, 6, 1))
    y = np.cumsum(x, axis=1)
    model = lc.Sequential(
        [layers.LSTM(16, return_sequences=True), layers.TimeDistributed(layers.Dense(1))],
        dtype="float64",
    )
    model.compile(lc.optimizers.Adam(0.02), "mse", ["mae"])
    history = model.fit(x, y, epochs=15, verbose=0).history
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert history["loss"][-1] < 0.05


def test_loss_and_metrics_are_reported_together(rng):
    x, y = small_data(rng, 8)
    model = small_model()
    loss, accuracy = model.train_on_batch(x, y)
    assert model.optimizer.iterations == 1
    assert 0 <= accuracy <= 1
    plain = small_model()
    plain.compile("adam", "sparse_categorical_crossentropy")
    assert plain.train_on_batch(x, y) == loss


def test_nan_goes_through_and_never_hangs(rng):
    x, y = small_data(rng, 8)
    x[0, 0, 0] = np.nan
    model = small_model()
    assert np.isnan(model.predict(x, check_finite=False)[0]).all()
    assert np.isfinite(model.predict(x, check_finite=False)[1:]).all()
    assert np.isnan(model.train_on_batch(x, y, check_finite=False, on_nan="ignore")[0])


def test_the_python_part_of_a_step_calls_the_engine_once_per_layer(rng, monkeypatch):
    """Each layer needs one engine call, and the optimizer one for all parameters."""
    from lstmcore import _core

    calls = []
    for name in ("adam_step", "dense_forward", "dense_backward", "softmax_cross_entropy"):
        original = getattr(_core, name)
        monkeypatch.setattr(
            _core,
            name,
            lambda *arguments, name=name, original=original: (
                calls.append(name) or original(*arguments)
            ),
        )
    x, y = small_data(rng, 8)
    model = small_model()
    model.train_on_batch(x, y)
    expected = ["dense_forward", "softmax_cross_entropy", "dense_backward", "adam_step"]
    assert calls == expected


def test_totals_weigh_batches_by_their_samples():
    model = small_model()
    totals = loop.Totals(model.compiled)
    totals.add(3.0, 0.0, 3)
    totals.add(4.0, 0.5, 1)
    assert totals.logs()["loss"] == (3.0 + 4.0 + 0.5) / 4
