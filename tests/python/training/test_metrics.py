"""Metrics against their formulas, over batches, and where they are not defined."""

import math

import numpy as np
import pytest

from lstmcore.training import losses, metrics
from metric_kit import ROWS, in_batches, softmax

# ---- definitions, by loops ---------------------------------------------------------------------


def roc(y, scores, w):
    """Return the fraction of pairs of a positive and a negative row in order; ties count half."""
    won = total = 0.0
    for i in np.flatnonzero(y):
        for j in np.flatnonzero(~y):
            total += w[i] * w[j]
            won += w[i] * w[j] * (scores[i] > scores[j]) + 0.5 * w[i] * w[j] * (
                scores[i] == scores[j]
            )
    return won / total


def average_precision(y, scores, w):
    """Average, over positive rows, the precision at the row's score."""
    total = 0.0
    for i in np.flatnonzero(y & (w > 0)):
        above = scores >= scores[i]
        total += w[i] * w[above & y].sum() / w[above].sum()
    return total / w[y].sum()


def decisions(figure, average, wanted, chosen, w, classes):
    """Compute a figure from sets of `wanted` and `chosen` classes for each row."""

    def one(numbers):
        hits = right = predicted = 0.0
        for k in numbers:
            for a, b, weight in zip(wanted, chosen, w, strict=True):
                hits += weight * (k in a and k in b)
                right += weight * (k in a)
                predicted += weight * (k in b)
        below = {"precision": predicted, "recall": right, "f1": (right + predicted) / 2}[figure]
        return (hits / below if below else 0.0), right

    if average == "binary":
        return one([1])[0]
    if average == "micro":
        return one(classes)[0]
    figures = [one([k]) for k in classes]
    if average == "weighted":
        return sum(f * right for f, right in figures) / sum(right for _, right in figures)
    return sum(f for f, _ in figures) / len(figures)


def r2(y, p, w):
    """Compute R^2, averaged over columns."""
    found = []
    for a, b in zip(y.T, p.T, strict=True):
        center = (w * a).sum() / w.sum()
        found.append(1 - (w * (a - b) ** 2).sum() / (w * (a - center) ** 2).sum())
    return np.mean(found)


@pytest.fixture(params=["plain", "weighted"])
def weights(request, rng):
    return None if request.param == "plain" else rng.integers(0, 4, ROWS).astype(float)


def given(weights):
    return np.ones(ROWS) if weights is None else weights


@pytest.mark.parametrize("ties", [False, True])
def test_areas_of_two_classes(ties, weights, rng):
    y = rng.uniform(size=ROWS) < 0.4
    scores = rng.standard_normal((ROWS, 1)) + y[:, None]
    if ties:
        scores = scores.round()
    probabilities = softmax(np.concatenate([0 * scores, scores], axis=1))
    for curve, formula in (("ROC", roc), ("PR", average_precision)):
        expected = formula(y, scores[:, 0], given(weights))
        for targets, outputs in (
            (y.astype(float), scores),
            (y.astype(float)[:, None], scores),
            (y.astype(int), probabilities),
        ):
            found = in_batches(metrics.AUC(curve), targets, outputs, weights)
            assert found == pytest.approx(expected, rel=1e-13)
    logits = np.concatenate([0 * scores, scores], axis=1)
    found = in_batches(metrics.AUC(from_logits=True), y.astype(int), logits, weights)
    # Equal logits have equal probabilities, so that ties still count half.
    assert found == pytest.approx(roc(y, scores[:, 0], given(weights)), rel=1e-13)


def test_areas_of_several_classes_and_labels(weights, rng):
    labels = rng.integers(0, 3, ROWS)
    outputs = softmax(rng.standard_normal((ROWS, 3)) + 2 * np.eye(3)[labels])
    one_hot = np.eye(3)[labels]
    w = given(weights)
    for curve, formula in (("ROC", roc), ("PR", average_precision)):
        expected = np.mean([formula(labels == k, outputs[:, k], w) for k in range(3)])
        for targets, multilabel in ((labels, None), (one_hot, None), (one_hot, False)):
            metric = metrics.AUC(curve, multilabel=multilabel)
            assert in_batches(metric, targets, outputs, weights) == pytest.approx(expected)
        micro = metrics.AUC(curve, average="micro")
        joined = formula(one_hot.reshape(-1) > 0, outputs.reshape(-1), np.repeat(w, 3))
        assert in_batches(micro, labels, outputs, weights) == pytest.approx(joined, rel=1e-13)
    several = (rng.uniform(size=(ROWS, 3)) < 0.5).astype(float)
    expected = np.mean([roc(several[:, k] > 0, outputs[:, k], w) for k in range(3)])
    assert in_batches(metrics.AUC(), several, outputs, weights) == pytest.approx(expected)


@pytest.mark.parametrize("average", ["binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("figure", ["precision", "recall", "f1"])
def test_decisions(figure, average, weights, rng):
    kind = {"precision": metrics.Precision, "recall": metrics.Recall, "f1": metrics.F1}[figure]
    w = given(weights)
    y = (rng.uniform(size=ROWS) < 0.4).astype(int)
    scores = np.clip(0.3 * rng.standard_normal((ROWS, 1)) + 0.3 + 0.4 * y[:, None], 0, 1)
    metric = kind(average=average, threshold=0.4)
    chosen = scores[:, 0] > 0.4
    expected = decisions(figure, average, [{k} for k in y], [{int(k)} for k in chosen], w, (0, 1))
    assert in_batches(metric, y.astype(float), scores, weights) == pytest.approx(expected)
    if average == "binary":
        assert in_batches(kind(threshold=0.4), y[:, None], scores, weights) == pytest.approx(
            expected
        )
        return
    # Class 3 occurs nowhere; class 2 is predicted but is never the target.
    outputs = rng.standard_normal((ROWS, 4)) - [0, 0, 0, 99]
    labels = rng.integers(0, 2, ROWS)
    sets = [{k} for k in labels], [{k} for k in outputs.argmax(axis=1)]
    expected = decisions(figure, average, *sets, w, (0, 1, 2))
    assert in_batches(kind(average=average), labels, outputs, weights) == pytest.approx(expected)
    one_hot = np.eye(4)[labels]
    metric = kind(average=average, multilabel=False)
    assert in_batches(metric, one_hot, outputs, weights) == pytest.approx(expected)
    if average == "macro":
        assert in_batches(kind(), labels, outputs, weights) == pytest.approx(expected)
    # Several labels per row: no column is left out.
    several = (rng.uniform(size=(ROWS, 4)) < [0.5, 0.5, 0.5, 0]).astype(float)
    sets = (
        [set(np.flatnonzero(row)) for row in several],
        [set(np.flatnonzero(row > 0.5)) for row in outputs],
    )
    expected = decisions(figure, average, *sets, w, (0, 1, 2, 3))
    assert in_batches(kind(average=average), several, outputs, weights) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [metrics.Precision, metrics.Recall, metrics.F1])
def test_zero_divided_by_zero_is_zero(kind):
    metric = kind()
    assert metric.result() == 0
    metric.update([0.0, 0.0], [[0.1], [0.2]])
    assert metric.result() == 0


def test_top_k(weights, rng):
    labels = rng.integers(0, 6, ROWS)
    outputs = rng.standard_normal((ROWS, 6)).round(1)
    for k in (1, 3, 6):
        inside = [
            sum(other > row[label] for other in row) < k
            for row, label in zip(outputs, labels, strict=True)
        ]
        expected = (given(weights) * inside).sum() / given(weights).sum()
        for targets in (labels, np.eye(6)[labels]):
            assert in_batches(metrics.TopK(k), targets, outputs, weights) == pytest.approx(expected)
    assert expected == 1.0
    metric = metrics.TopK(1)
    metric.update([0, 1], [[np.nan, 0.0], [1.0, np.inf]])
    assert metric.result() == 0


def test_regression_figures(weights, rng):
    y, p = 100 + rng.standard_normal((2, ROWS, 2))
    w = given(weights)
    share = (w[:, None] * np.abs(p - y) / np.abs(y)).sum() / (2 * w.sum())
    for metric, expected in (
        (metrics.R2(), r2(y, p, w)),
        (metrics.RootMeanSquaredError(), math.sqrt((w * ((p - y) ** 2).mean(1)).sum() / w.sum())),
        (metrics.MeanAbsolutePercentageError(), share),
        (metrics.MeanLoss(losses.Huber(0.5)), losses.Huber(0.5).sum(y, p, w)[0] / w.sum()),
    ):
        assert in_batches(metric, y, p, weights) == pytest.approx(expected, rel=1e-12)


def test_r2_keeps_its_digits_far_from_zero(rng):
    """Sums of squares would lose all digits: next to (1e8)**2, float64 does not resolve 1."""
    y = 1e8 + rng.standard_normal((ROWS, 1))
    p = y + 0.1 * rng.standard_normal((ROWS, 1))
    # Targets of 1e8 are rounded to 1.5e-8, so a variance of 1 is known to about 1e-8.
    assert in_batches(metrics.R2(), y, p) == pytest.approx(r2(y, p, np.ones(ROWS)), rel=1e-9)


def test_r2_of_constant_targets():
    for p, expected in (([[3.3], [3.3]], 1.0), ([[3.3], [3.4]], 0.0)):
        metric = metrics.R2()
        metric.update([[3.3], [3.3]], p)
        assert metric.result() == expected
        metric.update([[3.3]], [[3.3]])
        assert metric.result() == expected
        # The weighted mean of these is 3.2999999999999994.
        metric.update([[3.3]] * 3, [[3.3]] * 3, [0.3, 0.7, 0.1])
        assert metric.result() == expected


def test_mape_of_zeros_is_finite():
    metric = metrics.MeanAbsolutePercentageError()
    metric.update(np.float32([[0], [2]]), np.float32([[1], [1]]))
    assert metric.result() == pytest.approx((1 / np.finfo(np.float64).eps + 0.5) / 2)


def test_perplexity(weights, rng):
    labels = rng.integers(0, 4, ROWS)
    logits = rng.standard_normal((ROWS, 4))
    p = softmax(logits)
    w = given(weights)
    expected = math.exp(-(w * np.log(p[np.arange(ROWS), labels])).sum() / w.sum())
    for targets in (labels, np.eye(4)[labels]):
        assert in_batches(metrics.Perplexity(), targets, p, weights) == pytest.approx(expected)
        found = in_batches(metrics.Perplexity(from_logits=True), targets, logits, weights)
        assert found == pytest.approx(expected, rel=1e-12)
    sure = metrics.Perplexity(from_logits=True)
    sure.update([0], [[-2000.0, 0.0]])
    assert sure.result() == math.inf


def test_metrics_are_means_over_all_batches():
    metric = metrics.SparseCategoricalAccuracy()
    metric.update([0, 1], [[0.9, 0.1], [0.8, 0.2]])
    metric.update([1], [[0.1, 0.9]])
    assert metric.result() == 2 / 3
    metric.reset()
    assert metric.result() == 0
    metric.update([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]], [1, 3, 0])
    assert metric.result() == 0.25


def test_metric_definitions():
    outputs = np.array([[0.2, 0.8], [0.6, 0.4]])
    for metric, targets, expected in (
        (metrics.CategoricalAccuracy(), [[0, 1], [0, 1]], 0.5),
        (metrics.BinaryAccuracy(), [[0, 1], [0, 1]], 0.5),
        (metrics.BinaryAccuracy(threshold=0.7), [[0, 1], [0, 1]], 0.75),
        (metrics.MeanSquaredError(), [[0.2, 0.8], [0.6, 0.0]], 0.04),
        (metrics.MeanAbsoluteError(), [[0.2, 0.8], [0.6, 0.0]], 0.1),
    ):
        metric.update(targets, outputs)
        assert metric.result() == pytest.approx(expected, rel=1e-14)


# ---- undefined figures -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "y", "outputs", "match"),
    [
        (metrics.AUC(), [1.0, 1.0], [[0.1], [0.2]], "auc is not defined: all targets are positive"),
        (metrics.AUC("PR"), [0.0], [[0.1]], "all targets are negative"),
        (metrics.AUC(), [0, 2], np.eye(3)[[0, 2]], "all targets of column 1 are negative"),
        (metrics.AUC(name="mine"), [], np.zeros((0, 1)), "mine is not .*: there are no rows"),
        (metrics.R2(), [[1.0]], [[1.0]], "r2 is not defined: expected at least two rows, got 1"),
    ],
)
def test_undefined_metrics_are_nan_with_a_warning(metric, y, outputs, match):
    metric.reset()
    metric.update(y, outputs)
    with pytest.warns(RuntimeWarning, match=match):
        assert math.isnan(metric.result())


def test_average_precision_of_positive_rows_alone_is_one():
    metric = metrics.AUC("PR")
    metric.update([1.0, 1.0], [[0.1], [0.2]])
    assert metric.result() == 1.0


def test_areas_of_nan_are_nan():
    metric = metrics.AUC()
    metric.update([0.0, 1.0], [[np.nan], [0.2]])
    assert math.isnan(metric.result())
