"""Unknown targets: arbitrary where the weight is 0; elsewhere an error names their position."""

import numpy as np
import pytest

import lstmcore as lc

N, T, C, K = 12, 6, 2, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, T, C))
LENGTHS = RNG.integers(2, T + 1, N)
ROWS = [row[:length] for row, length in zip(X, LENGTHS, strict=True)]

LOSSES = {
    # loss, units, activation, targets of all steps, placeholder for an unknown target
    "labels": ("sparse_categorical_crossentropy", K, "softmax", RNG.integers(0, K, (N, T)), -100),
    "float labels": (
        "sparse_categorical_crossentropy",
        K,
        "softmax",
        RNG.integers(0, K, (N, T)).astype(np.float64),
        np.nan,
    ),
    "yes or no": ("binary_crossentropy", 1, "sigmoid", RNG.integers(0, 2, (N, T, 1)), -1),
    "shares": ("categorical_crossentropy", K, "softmax", RNG.dirichlet(np.ones(K), (N, T)), np.nan),
    "numbers": ("mse", 2, None, RNG.normal(size=(N, T, 2)), np.nan),
    "infinite": ("mse", 2, None, RNG.normal(size=(N, T, 2)), np.inf),
}
METRICS = {
    "labels": ["accuracy", "top_k", "perplexity", "f1_macro", "auc"],
    "float labels": ["accuracy"],
    "yes or no": ["accuracy", "f1", "auc", "mae"],
    "shares": ["accuracy", "mae"],
    "numbers": ["mae", "r2", "rmse", "huber"],
    "infinite": ["mae"],
}


def model_of(kind, in_time):
    loss, units, activation, *_ = LOSSES[kind]
    model = lc.Sequential(
        [
            lc.layers.LSTM(3, return_sequences=in_time),
            lc.layers.Dense(units, activation=activation),
        ],
        dtype="float64",
    )
    names = [lc.metrics.TopK(2) if name == "top_k" else name for name in METRICS[kind]]
    own = lc.metrics.Function(lambda y, p: float(len(y)), "rows")
    model.compile(lc.optimizers.SGD(0.1), loss, [*names, own], names[:1])
    return model


def trained(model, x, y, **options):
    """Return all figures and weights after two epochs and an evaluation."""
    history = model.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0, **options).history
    results = model.evaluate(x, y, batch_size=5, return_dict=True, verbose=0, **options)
    return history, results, model.get_weights()


def same(first, second):
    assert list(first[0]) == list(second[0])
    for name in first[0]:
        np.testing.assert_array_equal(first[0][name], second[0][name], err_msg=name)
    assert first[1] == second[1]
    for one, other in zip(first[2], second[2], strict=True):
        np.testing.assert_array_equal(one, other)


def as_rows(values):
    return [row[:length] for row, length in zip(values, LENGTHS, strict=True)]


@pytest.mark.parametrize("form", ["array", "ragged", "ragged x alone", "mask", "weights of rows"])
@pytest.mark.parametrize("kind", LOSSES)
def test_targets_of_weight_0_change_nothing(kind, form):
    """Loss, gradient and metrics are the same as if rows without a target did not exist.

    Unweighted metrics count rows of weight 0 whose target is known. Here all rows of weight 0 are
    unknown, so unweighted metrics must equal weighted ones.
    """
    *_, targets, mark = LOSSES[kind]
    known = RNG.random((N, T)) < 0.7
    known[0], known[1] = False, True
    if form == "weights of rows":
        known[:] = known[:, :1]
    given = np.where(known.reshape(known.shape + (1,) * (targets.ndim - 2)), targets, mark)
    weights = known.astype(np.float64)
    x, options = X, {}
    if form == "ragged":
        x, given, targets, weights = ROWS, as_rows(given), as_rows(targets), as_rows(weights)
    elif form == "ragged x alone":
        x = ROWS
    elif form == "mask":
        options["mask"] = np.arange(T) < LENGTHS[:, None]
    elif form == "weights of rows":
        weights = weights[:, 0]
    found = trained(model_of(kind, True), x, given, sample_weight=weights, **options)
    expected = trained(model_of(kind, True), x, targets, sample_weight=weights, **options)
    names = [name for name in found[0] if name == "loss" or name.startswith("weighted_")]
    assert len(names) == 2
    for name in names:
        np.testing.assert_array_equal(found[0][name], expected[0][name])
        assert found[1][name] == expected[1][name]
    for one, other in zip(found[2], expected[2], strict=True):
        np.testing.assert_array_equal(one, other)
    valid = np.ones((N, T), bool) if form in ("array", "weights of rows") else None
    if valid is None:
        valid = np.arange(T) < LENGTHS[:, None]
    assert found[1]["rows"] == (known & valid).sum()
    assert expected[1]["rows"] == valid.sum()
    first = METRICS[kind][0]
    np.testing.assert_array_equal(found[0][first], found[0][f"weighted_{first}"])
    assert all(np.isfinite(list(found[1].values())))


@pytest.mark.parametrize("kind", LOSSES)
def test_samples_without_a_target(kind):
    """One target per sequence; the mean loss still counts all rows, as in Keras."""
    *_, targets, mark = LOSSES[kind]
    targets = targets[:, 0]
    known = np.arange(N) % 3 != 1
    given = np.where(known.reshape((N,) + (1,) * (targets.ndim - 1)), targets, mark)
    weights = known.astype(np.float64)
    found = trained(model_of(kind, False), X, given, sample_weight=weights)
    expected = trained(model_of(kind, False), X, targets, sample_weight=weights)
    assert found[0]["loss"] == expected[0]["loss"]
    assert found[1]["rows"] == known.sum()
    for one, other in zip(found[2], expected[2], strict=True):
        np.testing.assert_array_equal(one, other)
    first = METRICS[kind][0]
    assert found[1][first] == found[1][f"weighted_{first}"]


def test_known_targets_of_weight_0_still_count_in_metrics_without_weights():
    y = RNG.normal(size=N)
    weights = (np.arange(N) % 2).astype(np.float64)
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(1)])
    model.compile("sgd", "mse", ["mae"])
    results = model.evaluate(X, y, sample_weight=weights, return_dict=True, verbose=0)
    errors = np.abs(model.predict(X, verbose=0)[:, 0].astype(np.float64) - y)
    assert results["mae"] == pytest.approx(errors.mean(), rel=1e-6)  # in float32


def test_windows_splits_and_batches():
    """Results do not depend on where samples are cut."""
    y = RNG.normal(size=(N, T, 1))
    weights = (RNG.random((N, T)) < 0.6).astype(np.float64)
    given = np.where(weights[..., None] == 0, np.nan, y)

    def run(y, **options):
        model = lc.Sequential([lc.layers.LSTM(3, return_sequences=True), lc.layers.Dense(1)])
        model.compile(lc.optimizers.SGD(0.1), "mse", weighted_metrics=["mae"])
        return trained_of(model, y, **options)

    def trained_of(model, y, **options):
        history = model.fit(X, y, sample_weight=weights, verbose=0, **options).history
        return (
            history,
            model.evaluate(X, y, sample_weight=weights, verbose=0, return_dict=True),
            (model.get_weights()),
        )

    for options in (
        {"tbptt": 2, "shuffle": False},
        {"validation_split": 0.25},
        {"validation_data": (X, given, weights)},
        {"class_weight": None, "batch_size": 5},
    ):
        same(run(given, **options), run(y, **options))


def test_batches_that_are_iterated():
    y = RNG.normal(size=N)
    given, weights = y.copy(), np.ones(N)
    given[[2, 7]], weights[[2, 7]] = np.nan, 0

    def run(y):
        model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(1)])
        model.compile(lc.optimizers.SGD(0.1), "mse", weighted_metrics=["mae"])
        batches = [(X[at : at + 4], y[at : at + 4], weights[at : at + 4]) for at in (0, 4, 8)]
        return model.fit(iter(batches), verbose=0).history, {}, model.get_weights()

    same(run(given), run(y))


@pytest.mark.parametrize("form", ["array", "ragged", "mask"])
def test_the_first_position_is_named(form):
    *_, targets, _ = LOSSES["labels"]
    given = targets.copy()
    given[3, 1] = -1
    x, options, place = X, {}, r"y\[3, 1\]"
    if form == "ragged":
        x, given, place = ROWS, as_rows(given), r"y\[3\]\[1\]"
    elif form == "mask":
        options["mask"] = np.ones((N, T), bool)
        options["mask"][0] = False
    message = (
        rf"expected labels in 0..2 \(the model has 3 outputs\), got -1 at {place}; where it marks "
        r"steps without a label, sample_weight=\(y != -1\) leaves them out, and where it marks "
        r"padding, mask=\(y != -1\) or rows of different lengths do$"
    )
    model = model_of("labels", True)
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            call(x, given, verbose=0, **options)


def test_the_advice_of_the_error_works():
    *_, targets, _ = LOSSES["labels"]
    padded = np.where(np.arange(T) < LENGTHS[:, None], targets, -100)
    with pytest.raises(
        ValueError, match=r"got -100 at y\[\d+, \d\]; .*sample_weight=\(y != -100\)"
    ):
        model_of("labels", True).fit(X, padded, verbose=0)
    history = model_of("labels", True).fit(X, padded, mask=(padded != -100), verbose=0).history
    assert history["rows"] == [LENGTHS.sum()]
    history = model_of("labels", True).fit(X, padded, sample_weight=padded != -100, verbose=0)
    assert history.history["rows"] == [LENGTHS.sum()]


@pytest.mark.parametrize(
    ("kind", "mark", "message"),
    [
        ("labels", -1, r"got -1 at y\[5\]; where it marks samples .*sample_weight=\(y != -1\) "),
        ("labels", 9, r"got 9 at y\[5\]; for the labels 0 to 9"),
        ("yes or no", -1, r"got -1 to 1, the first outside at y\[5\]; .*sample_weight=\(y != -1\)"),
        ("yes or no", 0.5, None),
        ("numbers", np.nan, r"^y\[5, 0\] is nan; .* leave the row out, or give it sample_weight 0"),
        ("float labels", np.nan, r"y: expected whole numbers, but y\[5\] is nan"),
    ],
)
def test_a_single_sample_is_named(kind, mark, message):
    *_, targets, _ = LOSSES[kind]
    given = targets[:, 0].astype(np.float64 if mark != mark or mark == 0.5 else np.int64)
    given[5] = mark
    model = model_of(kind, False)
    if message is None:
        model.fit(X, given, verbose=0)
        return
    with pytest.raises(ValueError, match=message):
        model.fit(X, given, verbose=0)
    assert "mask=" not in message


# ---- metrics of classes on numbers --------------------------------------------------------------


def regressor(metrics, units=1, loss="mse", weighted=None):
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(units)])
    model.compile("sgd", loss, metrics, weighted)
    return model


ABOUT_CLASSES = ["auc", "pr_auc", "precision", "recall", "f1", "f1_macro", "binary_accuracy"]


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "poisson", "quantile"])
@pytest.mark.parametrize("metric", ABOUT_CLASSES)
def test_metrics_of_classes_refuse_numbers(metric, loss):
    z = np.abs(X.sum((1, 2))) + 2
    z[:2] = 0, 1  # values that might be classes
    model = regressor([metric], loss=loss)
    message = (
        rf"^metrics: '{metric}' is about classes .*, got \[{z[2]:g}\] at y\[2\]; for numbers "
        "use 'mae', 'rmse' or 'r2'$"
    )
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(ValueError, match=message):
            call(X, z)
    assert not model.built
    with pytest.raises(ValueError, match="^validation_data: metrics: "):
        model.fit(X, z > 2, validation_data=(X, z), verbose=0)
    with pytest.raises(ValueError, match="^validation_data: metrics: "):
        regressor(None, loss=loss, weighted=[metric]).fit(
            X, z > 2, validation_data=(X, z), verbose=0
        )


@pytest.mark.parametrize("metric", ABOUT_CLASSES)
def test_metrics_of_classes_accept_classes_with_any_loss(metric):
    z = X.sum((1, 2)) > 0
    for y in (z, z.astype(float), 2.0 * z - 1):
        history = regressor([metric]).fit(X, y, verbose=0).history
        assert 0 <= history[metric][0] <= 1


@pytest.mark.parametrize("metric", ["categorical_accuracy", lc.metrics.TopK(2), "perplexity"])
def test_metrics_of_one_of_several_classes(metric):
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(K, activation="softmax")])
    model.compile("sgd", "mse", [metric])
    shares = RNG.dirichlet(np.ones(K), N)
    model.fit(X, shares, verbose=0)
    shares[4, 0] += 1
    with pytest.raises(ValueError, match=r"is about classes .* at y\[4\]"):
        model.fit(X, shares, verbose=0)


def test_several_numbers_are_not_labels():
    y = RNG.integers(0, 2, (N, 2)).astype(float)
    regressor(["f1", "auc"], 2).fit(X, y, verbose=0)
    y[3, 1] = 0.4
    with pytest.raises(ValueError, match=r"'f1' is about .*, got \[\d, 0.4\] at y\[3\]"):
        regressor(["f1", "auc"], 2).fit(X, y, verbose=0)


def test_the_loss_of_probabilities_as_a_metric():
    with pytest.raises(ValueError, match=r"'binary_crossentropy' is about .* at y\[\d\]"):
        regressor(["binary_crossentropy"]).fit(X, X.sum((1, 2)), verbose=0)


def test_numbers_of_weight_0_and_probabilities_are_accepted():
    z = (X.sum((1, 2)) > 0).astype(float)
    z[3], weights = 7.5, np.ones(N)
    weights[3] = 0
    regressor(["f1"]).fit(X, z, sample_weight=weights, verbose=0)
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", ["accuracy", "f1", "auc"])
    model.fit(X, np.linspace(0, 1, N), verbose=0)  # a binary cross-entropy accepts these


def test_errors_name_the_row_and_step_of_numbers():
    model = lc.Sequential([lc.layers.LSTM(3, return_sequences=True), lc.layers.Dense(1)])
    model.compile("sgd", "mse", ["f1"])
    y = RNG.integers(0, 2, (N, T)).astype(float)
    y[2, 1] = 0.25
    with pytest.raises(ValueError, match=r"got \[0.25\] at y\[2, 1\]"):
        model.fit(X, y, verbose=0)
    with pytest.raises(ValueError, match=r"got \[0.25\] at y\[2\]\[1\]"):
        model.fit(ROWS, as_rows(y[..., None]), verbose=0)
    with pytest.raises(ValueError, match=r"got \[0.25\] at y\[2, 1\]"):
        model.fit(X, y, mask=np.arange(T) < LENGTHS[:, None], verbose=0)
