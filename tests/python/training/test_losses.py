"""Losses: compared with formulas and finite differences, in training, in files, and bad input."""

import math

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore.training import losses

ROWS, UNITS = 5, 4
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 3.0])


# ---- definitions: one row at a time, in plain Python -------------------------------------------


def cross(y, p):
    return -sum(a * math.log(b) for a, b in zip(y, p, strict=True))


def binary(y, p):
    return cross((y, 1 - y), (p, 1 - p))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def hot(label):
    return [float(place == label) for place in range(UNITS)]


def smooth(y, share, uniform):
    return [(1 - share) * value + share * uniform for value in y]


def huber(y, p):
    d = abs(y - p)
    return d * d / 2 if d <= 0.7 else 0.7 * (d - 0.35)


def pinball(q, y, p):
    return q * (y - p) if y > p else (1 - q) * (p - y)


def gaussian(y, m, v):
    return -math.log(math.exp(-((y - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v))


def focal(y, p, alpha, gamma):
    return sum(-a * t * (1 - q) ** gamma * math.log(q) for a, t, q in zip(alpha, y, p, strict=True))


def binary_focal(y, p, gamma, alpha=None):
    probability = y * p + (1 - y) * (1 - p)
    weight = 1 if alpha is None else y * alpha + (1 - y) * (1 - alpha)
    return weight * (1 - probability) ** gamma * binary(y, p)


def pairs(function):
    return lambda y, p: mean(function(a, b) for a, b in zip(y, p, strict=True))


QUARTILES = (0.25, 0.5, 0.75, 0.9)
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

# Loss, kind of outputs, kind of targets, formula for a row.
CASES = {
    "huber": (losses.Huber(0.7), "number", "numbers", pairs(huber)),
    "log_cosh": (
        losses.LogCosh(),
        "number",
        "numbers",
        pairs(lambda y, p: math.log(math.cosh(p - y))),
    ),
    "poisson": (
        losses.Poisson(),
        "rate",
        "counts",
        pairs(lambda y, p: p - y * math.log(p + 1e-7)),
    ),
    "poisson of logarithms": (
        losses.Poisson(log_rate=True),
        "number",
        "counts",
        pairs(lambda y, p: math.exp(p) - y * p),
    ),
    "quantile": (losses.Quantile(0.3), "number", "numbers", pairs(lambda y, p: pinball(0.3, y, p))),
    "quantiles": (
        losses.Quantile(QUARTILES),
        "number",
        "one number",
        lambda y, p: mean(pinball(q, y[0], b) for q, b in zip(QUARTILES, p, strict=True)),
    ),
    "quantiles of two": (
        losses.Quantile([0.1, 0.8]),
        "number",
        "two numbers",
        lambda y, p: mean(
            pinball(q, y[k], p[2 * k + j]) for k in range(2) for j, q in enumerate((0.1, 0.8))
        ),
    ),
    "gaussian": (
        losses.GaussianNLL(),
        "number",
        "two numbers",
        lambda y, p: mean(
            gaussian(y[k], p[k], math.log(1 + math.exp(p[2 + k])) + 1e-6) - HALF_LOG_TWO_PI
            for k in range(2)
        ),
    ),
    "gaussian of logarithms": (
        losses.GaussianNLL("log", smallest=0.01, full=True),
        "number",
        "two numbers",
        lambda y, p: mean(gaussian(y[k], p[k], math.exp(p[2 + k]) + 0.01) for k in range(2)),
    ),
    "smooth sparse": (
        losses.SparseCategoricalCrossentropy(label_smoothing=0.2),
        "softmax",
        "label",
        lambda y, p: cross(smooth(hot(y), 0.2, 1 / UNITS), p),
    ),
    "smooth categorical": (
        losses.CategoricalCrossentropy(label_smoothing=0.2),
        "softmax",
        "distribution",
        lambda y, p: cross(smooth(y, 0.2, 1 / UNITS), p),
    ),
    "smooth binary": (
        losses.BinaryCrossentropy(label_smoothing=0.2),
        "sigmoid",
        "shares",
        lambda y, p: pairs(binary)(smooth(y, 0.2, 0.5), p),
    ),
    "focal sparse": (
        losses.SparseCategoricalFocalCrossentropy(gamma=1.5),
        "softmax",
        "label",
        lambda y, p: focal(hot(y), p, [0.25] * UNITS, 1.5),
    ),
    "focal categorical": (
        losses.CategoricalFocalCrossentropy([0.1, 0.2, 0.3, 0.4], label_smoothing=0.1),
        "softmax",
        "distribution",
        lambda y, p: focal(smooth(y, 0.1, 1 / UNITS), p, [0.1, 0.2, 0.3, 0.4], 2),
    ),
    "focal binary": (
        losses.BinaryFocalCrossentropy(gamma=0.5),
        "sigmoid",
        "shares",
        pairs(lambda y, p: binary_focal(y, p, 0.5)),
    ),
    "focal binary balanced": (
        losses.BinaryFocalCrossentropy(True, alpha=0.3, label_smoothing=0.1),
        "sigmoid",
        "shares",
        lambda y, p: pairs(lambda a, b: binary_focal(a, b, 2, 0.3))(smooth(y, 0.1, 0.5), p),
    ),
}


def softmax(values):
    powers = np.exp(values)
    return powers / powers.sum(axis=-1, keepdims=True)


def draw(kind, rng, rows=ROWS):
    numbers = rng.standard_normal((rows, UNITS))
    return {
        "number": numbers,
        "numbers": numbers,
        "rate": np.abs(numbers) + 0.1,
        "softmax": softmax(numbers),
        "distribution": softmax(numbers),
        "sigmoid": 1 / (1 + np.exp(-numbers)),
        "shares": rng.uniform(size=(rows, UNITS)),
        "counts": rng.integers(0, 5, (rows, UNITS)).astype(float),
        "one number": numbers[:, :1],
        "two numbers": numbers[:, :2],
        "label": rng.integers(0, UNITS, rows),
    }[kind]


def forms(name, rng):
    """Return the loss, targets and outputs, and the same from logits if that exists."""
    loss, output_kind, target_kind, formula = CASES[name]
    outputs, targets = draw(output_kind, rng), draw(target_kind, rng)
    expected = [
        formula(y.tolist(), p.tolist()) for y, p in zip(np.asarray(targets), outputs, strict=True)
    ]
    found = [(loss, targets, outputs, expected)]
    if loss.activation is not None:
        logits = np.log(outputs) if output_kind == "softmax" else np.log(outputs / (1 - outputs))
        found.append((loss.with_logits(), targets, logits, expected))
    return found


@pytest.mark.parametrize("name", CASES)
def test_losses_follow_their_definition(name, rng):
    for loss, targets, outputs, expected in forms(name, rng):
        value, none = loss.sum(targets, outputs)
        assert none is None
        # A few dozen rounding errors of numbers from 1 to 10.
        assert value == pytest.approx(sum(expected), rel=1e-12)
        assert loss(targets, outputs) == pytest.approx(sum(expected) / ROWS, rel=1e-12)
        weighted = sum(w * v for w, v in zip(WEIGHTS, expected, strict=True))
        assert loss.sum(targets, outputs, WEIGHTS)[0] == pytest.approx(weighted, rel=1e-12)
        assert loss(targets, outputs, WEIGHTS) == pytest.approx(weighted / ROWS, rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_gradients_match_the_value(name, rng):
    for loss, targets, outputs, _ in forms(name, rng):
        # Central differences with steps of 1e-5 have an error of 1e-10 times the third derivative,
        # which is at most a few hundred times the value where p is near 0.
        assert losses.check_gradient(loss, targets, outputs) < 1e-6
        _, plain = loss.sum(targets, outputs, None, 1.0, True)
        _, gradient = loss.sum(targets, outputs, WEIGHTS, 0.25, True)
        np.testing.assert_allclose(gradient, 0.25 * WEIGHTS[:, None] * plain, rtol=1e-14)
        value, of_mean = loss.value_and_gradient(targets, outputs)
        assert value == loss(targets, outputs)
        np.testing.assert_allclose(of_mean, plain / ROWS, rtol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_float32_is_float64_rounded(name, rng):
    for loss, targets, outputs, _ in forms(name, rng):
        few = outputs.astype(np.float32)
        rounded = targets if loss.labels else targets.astype(np.float32)
        same = rounded if loss.labels else rounded.astype(np.float64)
        value, gradient = loss.sum(rounded, few, None, 1.0, True)
        exact, exact_gradient = loss.sum(same, few.astype(np.float64), None, 1.0, True)
        assert gradient.dtype == np.float32
        # 1 - p loses one of the seven digits of a probability near 1.
        assert value == pytest.approx(exact, rel=2e-6)
        np.testing.assert_allclose(gradient, exact_gradient, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_rows_of_weight_zero_may_hold_anything(name, rng):
    for loss, targets, outputs, _ in forms(name, rng):
        value, gradient = loss.sum(targets, outputs, WEIGHTS, 1.0, True)
        other = targets.copy()
        other[1] = 99 if loss.labels else np.nan
        again, same = loss.sum(other, outputs, WEIGHTS, 1.0, True)
        assert again == value
        np.testing.assert_array_equal(same, gradient)
        assert not gradient[1].any()


@pytest.mark.parametrize(
    ("loss", "size"),
    [(losses.Huber(0.5), 1e30), (losses.LogCosh(), 1e30), (losses.LogCosh(), 1e-6)],
)
def test_far_and_near_differences(loss, size):
    value, gradient = loss.sum(np.zeros((1, 1)), np.array([[size]]), None, 1.0, True)
    if size > 1:
        slope = 0.5 if isinstance(loss, losses.Huber) else 1.0
        assert value == pytest.approx(slope * size, rel=1e-15)
        assert gradient == slope
    else:
        assert value == pytest.approx(size**2 / 2, rel=1e-11)  # (d**4) / 12 is the next term
        assert gradient == pytest.approx(size, rel=1e-11)


@pytest.mark.parametrize("variance", ["softplus", "log"])
@pytest.mark.parametrize("raw", [-200.0, 200.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_of_extreme_variances_is_finite(variance, raw, dtype):
    loss = losses.GaussianNLL(variance)
    value, gradient = loss.sum(
        np.zeros((1, 1), dtype), np.array([[1e-4, raw]], dtype), None, 1, True
    )
    log_variance = math.log(1e-6) if raw < 0 else raw if variance == "log" else math.log(raw)
    assert value == pytest.approx(0.5 * (log_variance + 1e-8 / math.exp(log_variance)), rel=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("logit", [-800.0, 0.0, 800.0])
def test_focal_losses_of_sure_predictions_are_finite(gamma, logit):
    for loss, y in (
        (losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True), np.ones((1, 2))),
        (losses.SparseCategoricalFocalCrossentropy(1, gamma, True), np.zeros(1, np.int64)),
    ):
        outputs = np.array([[logit, logit]]) if y.ndim == 2 else np.array([[logit, 0.0]])
        value, gradient = loss.sum(y, outputs, None, 1.0, True)
        entropy = math.log1p(math.exp(-abs(logit))) + max(-logit, 0)
        p = 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
        expected = (-math.expm1(-entropy)) ** gamma * entropy
        assert value == pytest.approx(expected, rel=1e-12)
        assert np.isfinite(gradient).all()
        if gamma == 0:
            np.testing.assert_allclose(gradient[0, 0] * y.ndim, p - 1, atol=1e-15)


def test_focal_of_gamma_zero_is_the_crossentropy(rng):
    logits, y = rng.standard_normal((6, 3)), rng.uniform(size=(6, 3))
    for one, other in (
        (losses.BinaryFocalCrossentropy(gamma=0), losses.BinaryCrossentropy()),
        (losses.CategoricalFocalCrossentropy(1, 0), losses.CategoricalCrossentropy()),
    ):
        a = one.with_logits().sum(y, logits, None, 1.0, True)
        b = other.with_logits().sum(y, logits, None, 1.0, True)
        assert a[0] == pytest.approx(b[0], rel=1e-13)
        if isinstance(one, losses.BinaryFocalCrossentropy):
            np.testing.assert_allclose(a[1], b[1], rtol=1e-12)


@pytest.mark.parametrize("loss", [losses.Quantile([0.2, 0.9]), losses.MeanAbsoluteError()])
def test_the_gradient_at_a_kink_is_zero(loss):
    y = np.array([[1.0]]) if isinstance(loss, losses.Quantile) else np.array([[1.0, 1.0]])
    value, gradient = loss.sum(y, np.array([[1.0, 1.0]]), None, 1.0, True)
    assert value == 0
    np.testing.assert_array_equal(gradient, [[0.0, 0.0]])


def test_huber_is_continuous_at_delta():
    loss = losses.Huber(2.0)
    below, above = (loss([[0.0]], [[2.0 + shift]]) for shift in (-1e-9, 1e-9))
    assert above - below == pytest.approx(4e-9, rel=1e-6)
    assert loss([[0.0]], [[2.0]]) == 2.0


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
    before = model.parameters.values.copy()
    model.train_on_batch(x, y)
    gradient = before - model.parameters.values
    for place in range(0, len(before), 5):
        ends = []
        for step in (1e-5, -1e-5):
            model.parameters.values[...] = before
            model.parameters.values[place] += step
            model.parameters.touch()
            ends.append(model.evaluate(x, y, verbose=0))
        assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-9)


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
    assert loss(y, outputs, WEIGHTS) == pytest.approx((expected * WEIGHTS).mean(), rel=1e-14)
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


def test_configurations_without_smoothing_omit_it():
    assert losses.BinaryCrossentropy().get_config() == {"from_logits": False}
    assert losses.BinaryCrossentropy(label_smoothing=0.1).get_config() == {
        "from_logits": False,
        "label_smoothing": 0.1,
    }


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


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: losses.Huber(0), r"delta: expected a number in \(0, inf\)"),
        (lambda: losses.Huber(-1), "delta"),
        (lambda: losses.Quantile(0), r"quantiles: expected a number in \(0, 1\), got 0"),
        (lambda: losses.Quantile([0.5, 1.0]), "quantiles"),
        (lambda: losses.Quantile([]), "quantiles: expected different numbers"),
        (lambda: losses.Quantile([0.5, 0.5]), "quantiles: expected different numbers"),
        (lambda: losses.GaussianNLL("exp"), "variance: expected one of 'softplus', 'log'"),
        (lambda: losses.GaussianNLL(smallest=0), "smallest"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=1), "label_smoothing"),
        (lambda: losses.BinaryCrossentropy(label_smoothing=-0.1), "label_smoothing"),
        (lambda: losses.BinaryFocalCrossentropy(alpha=2), "alpha"),
        (lambda: losses.BinaryFocalCrossentropy(gamma=-1), "gamma"),
        (lambda: losses.CategoricalFocalCrossentropy([0.1, -1]), "alpha"),
        (lambda: losses.Poisson()([[-1.0]], [[1.0]]), "y_true: Poisson expects counts.*got -1"),
        (lambda: losses.Poisson()([[1.0]], [[-1.0]]), r"use Poisson\(log_rate=True\)"),
        (lambda: losses.BinaryFocalCrossentropy()([[2.0]], [[0.5]]), r"targets in \[0, 1\]"),
        (lambda: losses.BinaryFocalCrossentropy()([[1.0]], [[1.5]]), r"from_logits=True"),
        (lambda: losses.SparseCategoricalFocalCrossentropy()([3], [[0.5, 0.5]]), r"0\.\.1"),
        (lambda: losses.Huber()([[1.0]], 1.0), "y_pred: expected shape"),
        (lambda: losses.Huber()([[1.0]], [[1.0]], [1.0, 2.0]), "sample_weight"),
        (lambda: losses.GaussianNLL().mean_and_variance(np.ones((2, 3))), "two outputs"),
    ],
)
def test_bad_input_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_every_name_is_a_loss():
    for name, kind in losses.NAMES.items():
        assert type(losses.get(name)) is kind
    made = set(losses.NAMES.values())
    assert {kind.__name__ for kind in made} | {"Loss", "SequenceLoss", "Function"} == {
        name for name in losses.__all__ if isinstance(getattr(losses, name), type)
    }
