"""Losses against formulas and finite differences, and bad input."""

import math

import numpy as np
import pytest

from lstmcore.training import losses
from metric_kit import softmax

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
    "squared": (
        losses.MeanSquaredError(),
        "number",
        "numbers",
        pairs(lambda y, p: (p - y) ** 2),
    ),
    "absolute": (losses.MeanAbsoluteError(), "number", "numbers", pairs(lambda y, p: abs(p - y))),
    "sparse": (
        losses.SparseCategoricalCrossentropy(),
        "softmax",
        "label",
        lambda y, p: cross(hot(y), p),
    ),
    "categorical": (losses.CategoricalCrossentropy(), "softmax", "distribution", cross),
    "binary": (losses.BinaryCrossentropy(), "sigmoid", "shares", pairs(binary)),
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


def test_masked_rows_do_not_count_whatever_their_target(rng):
    logits = rng.standard_normal((3, 4))
    labels, weights = np.array([1, -1, 99]), np.array([1.0, 0.0, 0.0])
    for loss, outputs in (
        (losses.SparseCategoricalCrossentropy(from_logits=True), logits),
        (losses.SparseCategoricalCrossentropy(), softmax(logits)),
    ):
        value, gradient = loss.sum(labels, outputs, weights, 1.0, True)
        assert value == pytest.approx(-np.log(softmax(logits)[0, 1]), rel=1e-14)
        assert not gradient[1:].any()


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


def test_configurations_without_smoothing_omit_it():
    assert losses.BinaryCrossentropy().get_config() == {"from_logits": False}
    assert losses.BinaryCrossentropy(label_smoothing=0.1).get_config() == {
        "from_logits": False,
        "label_smoothing": 0.1,
    }


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
