"""Losses in compiled models: widths, what is learnt, users' functions, files."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import check_step
from lstmcore import layers
from lstmcore.training import losses
from metric_kit import softmax

# ---- outputs of other widths -------------------------------------------------------------------


def test_outputs_may_be_wider_than_targets(rng):
    outputs = rng.standard_normal((3, 6))
    loss = losses.Quantile([0.1, 0.6, 0.9])
    assert loss.target_shape((None, 7, 6)) == (None, 7, 2)
    np.testing.assert_array_equal(loss.predictions(outputs), outputs[:, [1, 4]])
    gaussian_loss = losses.GaussianNLL("log", smallest=0.5)
    assert gaussian_loss.target_shape((None, 6)) == (None, 3)
    np.testing.assert_array_equal(gaussian_loss.predictions(outputs), outputs[:, :3])
    center, variance = gaussian_loss.mean_and_variance(outputs)
    np.testing.assert_array_equal(center, outputs[:, :3])
    np.testing.assert_allclose(variance, np.exp(outputs[:, 3:]) + 0.5, rtol=1e-14)
    _, variance = losses.GaussianNLL().mean_and_variance(outputs)
    np.testing.assert_allclose(variance, np.log1p(np.exp(outputs[:, 3:])) + 1e-6, rtol=1e-14)
    np.testing.assert_allclose(losses.Poisson(True).predictions(outputs), np.exp(outputs))
    assert losses.Poisson().predictions(outputs) is outputs


def model_of(units, activation=None, **options):
    return lc.Sequential([layers.Dense(units, activation=activation, **options)], dtype="float64")


@pytest.mark.parametrize(
    ("loss", "units", "match"),
    [
        (losses.Quantile([0.1, 0.5, 0.9]), 4, "3 quantiles expects 3 outputs for each target"),
        ("gaussian_nll", 3, "two outputs for each target, .*, got 3"),
        (losses.CategoricalFocalCrossentropy([1.0, 2.0]), 3, "a weight for each of the 3 classes"),
    ],
)
def test_outputs_of_an_unsuitable_width_are_refused(loss, units, match):
    model = model_of(units, losses.get(loss).activation)
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=match):
        model.fit(np.ones((4, 2)), np.ones((4, units)), verbose=0)


def test_targets_as_wide_as_the_outputs_are_refused():
    model = model_of(4)
    model.compile("sgd", "gaussian_nll")
    with pytest.raises(ValueError, match=r"expected shape \(N, 2\) for GaussianNLL, got \(4, 4\)"):
        model.fit(np.ones((4, 2)), np.ones((4, 4)), verbose=0)


# ---- in training -------------------------------------------------------------------------------


def noisy(rng, rows=2000):
    """Make targets with noise of size 0.2 + |x|."""
    x = rng.uniform(-1, 1, (rows, 1))
    return x, 2 * x + rng.standard_normal((rows, 1)) * (0.2 + np.abs(x))


def fit_network(loss, units, x, y):
    model = lc.Sequential(
        [layers.Dense(16, activation="tanh"), layers.Dense(units)], dtype="float64"
    )
    model.compile(lc.optimizers.Adam(0.02), loss, ["mae"])
    model.fit(x, y, epochs=25, batch_size=100, verbose=0)
    return model


def test_quantiles_are_learnt(rng):
    levels = [0.1, 0.5, 0.9]
    model = fit_network(losses.Quantile(levels), 3, *noisy(rng))
    x, y = noisy(rng)
    below = (y <= model.predict(x, verbose=0)).mean(axis=0)
    # A fraction of 2000 rows has a standard deviation of 0.011; the model adds to it.
    np.testing.assert_allclose(below, levels, atol=0.04)
    median = model.predict(x, verbose=0)[:, 1:2]
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(np.abs(y - median).mean())


def test_variances_are_learnt(rng):
    loss = losses.GaussianNLL()
    model = fit_network(loss, 2, *noisy(rng))
    x, y = noisy(rng)
    center, variance = loss.mean_and_variance(model.predict(x, verbose=0))
    assert np.abs(center - 2 * x).mean() < 0.1
    assert np.abs(np.sqrt(variance) - 0.2 - np.abs(x)).mean() < 0.1
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(np.abs(y - center).mean())


def test_rates_are_learnt(rng):
    def counts(rows=2000):
        x = rng.uniform(-1, 1, (rows, 1))
        return x, rng.poisson(np.exp(1 + x))

    model = fit_network(losses.Poisson(log_rate=True), 1, *counts())
    x, y = counts()
    rates = np.exp(model.predict(x, verbose=0))
    assert np.abs(rates / np.exp(1 + x) - 1).mean() < 0.1
    # Metrics are passed rates, not their logarithms.
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(np.abs(y - rates).mean())


@pytest.mark.parametrize("loss", ["huber", "gaussian_nll", losses.Quantile([0.2, 0.7])])
def test_targets_of_steps_with_lengths_and_weights(loss, rng):
    """Steps past a row's end and steps of weight 0 do not count."""
    model = lc.Sequential([layers.LSTM(3, return_sequences=True), layers.Dense(4)], dtype="float64")
    model.compile("sgd", loss)
    lengths = [3, 1, 4]
    width = model.compiled.loss.target_width(4)
    x = [rng.standard_normal((length, 2)) for length in lengths]
    y = [rng.standard_normal((length, width)) for length in lengths]
    weights = [rng.integers(0, 3, length).astype(float) for length in lengths]
    outputs = model.predict(x, verbose=0)
    parts = [
        model.compiled.loss.sum(a, b, c)[0] for a, b, c in zip(y, outputs, weights, strict=True)
    ]
    value = model.evaluate(x, y, sample_weight=weights, verbose=0)
    assert value == pytest.approx(sum(parts) / sum(lengths), rel=1e-12)
    # The same with steps excluded by a mask, where targets may be anything.
    mask = np.zeros((3, 6), bool)
    for row, length in enumerate(lengths):
        mask[row, 1 : 1 + length] = True
    spread = [np.full((3, 6, entries[0].shape[1]), 7.0) for entries in (x, y)]
    for whole, entries in zip(spread, (x, y), strict=True):
        whole[mask] = np.concatenate(entries)
    padded = np.zeros((3, 6))
    padded[mask] = np.concatenate(weights)
    again = model.evaluate(*spread, sample_weight=padded, mask=mask, verbose=0)
    assert again == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("loss", "units", "activation"),
    [
        (losses.Huber(0.4), 2, None),
        (losses.GaussianNLL("log"), 2, None),
        (losses.SparseCategoricalCrossentropy(label_smoothing=0.1), 3, "softmax"),
        (losses.BinaryCrossentropy(label_smoothing=0.1), 1, "sigmoid"),
        (losses.SparseCategoricalFocalCrossentropy(), 3, "softmax"),
        (losses.BinaryFocalCrossentropy(), 1, "sigmoid"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, losses.Loss) else str(value),
)
def test_the_gradient_reaches_the_weights(loss, units, activation, rng):
    """Compare the gradient of a whole model with finite differences of the result of `evaluate`."""
    model = lc.Sequential(
        [layers.LSTM(2), layers.Dense(units, activation=activation)], dtype="float64"
    )
    model.compile(lc.optimizers.SGD(1.0), loss)
    assert model.compiled.takes_logits == (activation is not None)
    x = rng.standard_normal((4, 3, 2))
    if loss.labels:
        y = rng.integers(0, units, 4)
    else:
        y = rng.uniform(size=(4, loss.target_width(units)))
    model.build((None, None, 2))
    check_step(model, x, y, 5, abs=1e-9)


@pytest.mark.parametrize(
    ("loss", "activation", "units"),
    [
        ("sparse_categorical_crossentropy", "softmax", 3),
        ("categorical_crossentropy", "softmax", 3),
        ("binary_crossentropy", "sigmoid", 1),
    ],
)
def test_joining_loss_and_activation_changes_nothing_but_accuracy(loss, activation, units, rng):
    x = rng.standard_normal((8, 4))
    targets = rng.integers(0, 2, 8)
    if loss == "categorical_crossentropy":
        targets = np.eye(3)[targets]
    joined = lc.Sequential([layers.Dense(units, activation=activation)], dtype="float64")
    apart = lc.Sequential(
        # A Dropout(0.0) after the activation hides it from the loss.
        [layers.Dense(units, activation=activation), layers.Dropout(0.0)],
        dtype="float64",
    )
    for model in (joined, apart):
        model.compile(lc.optimizers.SGD(0.5), loss, ["accuracy"])
        model.fit(x, targets, epochs=3, verbose=0)
    assert joined.compiled.takes_logits
    assert not apart.compiled.takes_logits
    for one, other in zip(joined.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)
    for key, values in joined.history.history.items():
        assert values == pytest.approx(apart.history.history[key], rel=1e-12)


def test_joined_loss_is_exact_where_probabilities_are_not():
    model = lc.Sequential([layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.build((None, 1))
    model.set_weights([np.float32([[200, 0]]), np.float32([0, 0])])
    assert model.evaluate(np.float32([[1]]), [1], verbose=0) == 200.0


# ---- users' functions --------------------------------------------------------------------------


def cauchy(y_true, y_pred):
    return np.log1p((y_pred - y_true) ** 2).mean(axis=-1)


def cauchy_slope(y_true, y_pred):
    d = y_pred - y_true
    return 2 * d / (1 + d**2) / d.shape[-1]


def test_a_function_is_a_loss(rng):
    loss = losses.Function(cauchy, gradient=cauchy_slope)
    assert loss.name == "cauchy"
    y, outputs = rng.standard_normal((2, 5, 3))
    assert losses.check_gradient(loss, y, outputs) < 1e-8
    expected = np.log1p((outputs - y) ** 2).mean(axis=-1)
    weights = np.array([1.0, 0.0, 2.0, 0.5, 3.0])
    assert loss(y, outputs, weights) == pytest.approx((expected * weights).mean(), rel=1e-14)
    model = model_of(1)
    model.compile(lc.optimizers.Adam(0.1), loss, ["mae"])
    x = rng.standard_normal((200, 2))
    history = model.fit(x, x @ [1.0, -2.0], epochs=20, verbose=0).history
    assert history["loss"][-1] < 1e-3
    assert history["mae"][-1] < 0.05


def test_a_function_of_labels_is_a_loss(rng):
    def brier(y_true, y_pred):
        return ((y_pred - np.eye(3)[y_true]) ** 2).sum(axis=-1)

    def slope(y_true, y_pred):
        return 2 * (y_pred - np.eye(3)[y_true])

    loss = losses.Function(brier, slope, labels=True)
    assert losses.check_gradient(loss, [0, 2], softmax(rng.standard_normal((2, 3)))) < 1e-8
    model = model_of(3, "softmax")
    model.compile(lc.optimizers.Adam(0.1), loss, ["accuracy"])
    x = rng.standard_normal((200, 3))
    model.fit(x, x.argmax(axis=1), epochs=10, verbose=0)
    assert model.evaluate(x, x.argmax(axis=1), verbose=0)[1] > 0.9


def test_class_weights_of_labels_whatever_the_loss(rng):
    def miss(y_true, y_pred):
        return 1 - y_pred[np.arange(len(y_true)), y_true]

    model = model_of(2, "softmax")
    model.compile("sgd", losses.Function(miss, lambda y, p: -np.eye(2)[y], labels=True))
    x, y = rng.standard_normal((5, 3)), np.array([0, 1, 1, 0, 1])
    model.build((None, 3))
    expected = miss(y, model.predict(x, verbose=0)) * np.where(y == 1, 3.0, 1.0)
    assert model.train_on_batch(x, y, class_weight={1: 3.0}) == pytest.approx(expected.mean())
    model = model_of(2)
    model.compile("sgd", "huber")
    with pytest.raises(ValueError, match="class_weight: Huber with 2 outputs has no classes"):
        model.fit(x, x[:, :2], class_weight={1: 3.0}, verbose=0)


def test_a_wrong_gradient_is_found():
    wrong = losses.Function(cauchy, lambda y, p: -cauchy_slope(y, p))
    with pytest.raises(
        ValueError, match=r"gradient: expected 0\.8 with respect to y_pred\[1, 0\], .* got -0\.8"
    ):
        losses.check_gradient(wrong, [[0.0], [0.0]], [[0.0], [2.0]])
    missing = losses.Function(cauchy, lambda y, p: np.full_like(p, np.nan))
    with pytest.raises(ValueError, match="got nan"):
        losses.check_gradient(missing, [[0.0]], [[1.0]])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: losses.get(cauchy), TypeError, r"whose gradient is not known; write losses\.Fun"),
        (lambda: losses.get(losses.Huber), TypeError, "expected an object, got the class Huber"),
        (lambda: losses.Function(cauchy), TypeError, "gradient: expected a function, got None"),
        (lambda: losses.Function("mse", cauchy), TypeError, "function: expected one of"),
        (lambda: losses.Function(lambda y, p: p, cauchy), ValueError, "a name for a lambda"),
        (lambda: losses.Function(cauchy, cauchy, labels=1), TypeError, "labels: expected True"),
        (lambda: losses.check_gradient(cauchy, 1, 2), TypeError, "loss: expected a Loss"),
        (lambda: losses.get("hubr"), ValueError, "expected a Loss or one of .*'huber'"),
    ],
)
def test_incomplete_functions_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_functions_that_return_the_wrong_shape_are_refused():
    y = np.zeros((2, 3))
    whole = losses.Function(lambda a, b: (a - b) ** 2, cauchy_slope, "whole")
    with pytest.raises(ValueError, match=r"'whole' must return a loss for each row, .* last axis"):
        whole(y, y)
    mean_of_all = losses.Function(lambda a, b: ((a - b) ** 2).mean(), cauchy_slope, "one")
    with pytest.raises(ValueError, match=r"\(M,\) = \(2,\), got float64 of shape \(\)"):
        mean_of_all(y, y)
    narrow = losses.Function(cauchy, cauchy)
    with pytest.raises(ValueError, match=r"gradient of 'cauchy' must return derivatives \(M, U\)"):
        narrow.value_and_gradient(y, y)


# ---- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "units", "activation"),
    [
        ("huber", 2, None),
        (losses.Huber(0.4), 2, None),
        (losses.LogCosh(), 2, None),
        (losses.Poisson(True), 2, None),
        (losses.Quantile(0.3), 2, None),
        (losses.Quantile((0.3, 0.6)), 2, None),
        (losses.GaussianNLL("log", 1e-3, True), 2, None),
        (losses.CategoricalCrossentropy(label_smoothing=0.1), 2, "softmax"),
        (losses.CategoricalFocalCrossentropy([0.2, 0.7], 1.0, label_smoothing=0.1), 2, "softmax"),
        (losses.SparseCategoricalFocalCrossentropy(0.5), 2, "softmax"),
        (losses.BinaryFocalCrossentropy(True, 0.4, 3.0), 2, "sigmoid"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, losses.Loss) else str(value),
)
def test_losses_come_back_from_a_file(loss, units, activation, tmp_path):
    path = tmp_path / "model.safetensors"
    model = model_of(units, activation)
    model.compile("sgd", loss, [loss])
    model.build((None, 3))
    model.save(path)
    loaded = lc.load(path)
    assert type(loaded.compiled.loss) is type(model.compiled.loss)
    assert loaded.compiled.get_config() == model.compiled.get_config()
    x = np.ones((4, 3))
    y = (
        np.zeros(4, int)
        if model.compiled.loss.labels
        else np.eye(4, model.compiled.loss.target_width(units))[[0, 0, 0, 0]]  # also distributions
    )
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_functions_come_back_by_name(tmp_path):
    path = tmp_path / "model.safetensors"
    loss = losses.Function(cauchy, cauchy_slope, "robust")
    model = model_of(1)
    model.compile("sgd", loss)
    model.fit(np.ones((4, 3)), np.ones(4), verbose=0)
    model.save(path)
    with pytest.raises(
        ValueError, match=r"compiled with the function 'robust', .* custom_objects="
    ):
        lc.load(path)
    loaded = lc.load(path, custom_objects={"robust": loss})
    assert loaded.compiled.loss is loss
    for other, match in (
        (cauchy, r"custom_objects\['robust'\]: expected the loss that the model was compiled"),
        (losses.Function(cauchy, cauchy_slope), "got name='cauchy'"),
        (losses.Function(cauchy, cauchy_slope, "robust", labels=True), "got .*labels=True"),
    ):
        with pytest.raises(ValueError, match=match):
            lc.load(path, custom_objects={"robust": other})
