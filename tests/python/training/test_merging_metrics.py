"""Metrics gathered in parts and merged are those gathered at once."""

import math

import numpy as np
import pytest

from lstmcore import metrics
from lstmcore.training import losses
from lstmcore.training.metrics import NAMES

CLASSES = 3


def bound(metric, loss):
    metric.bind(loss, loss)
    return metric


def labels_and_scores(rng, rows):
    scores = rng.random((rows, CLASSES))
    return rng.integers(0, CLASSES, rows), scores / scores.sum(axis=1, keepdims=True)


def values(rng, rows):
    return rng.random((rows, 1)), rng.random((rows, 1)) * 0.9 + 0.05


def flags(rng, rows):
    targets, outputs = values(rng, rows)
    return (targets > 0.4).astype(np.float64), outputs


def distributions(rng, rows):
    labels, scores = labels_and_scores(rng, rows)
    return np.eye(CLASSES)[labels], scores


KINDS = {
    "sparse": (losses.get("sparse_categorical_crossentropy"), labels_and_scores),
    "one hot": (losses.get("categorical_crossentropy"), distributions),
    "binary": (losses.get("binary_crossentropy"), flags),
    "values": (losses.get("mse"), values),
}


def usable(name):
    """Yield the kinds of data for which the metric with a short name can be made."""
    for kind, (loss, draw) in KINDS.items():
        try:
            metric = bound(metrics.get(name, loss), loss)
            targets, outputs = draw(np.random.default_rng(0), 12)
            metric.check_outputs(outputs.shape[1], None if loss.labels else outputs.shape[1])
            metric.update(targets, outputs)
        except (TypeError, ValueError):
            continue
        yield kind


CASES = [(name, kind) for name in sorted(NAMES) for kind in usable(name)]


def test_every_metric_is_here():
    assert {name for name, _ in CASES} >= {"f1", "auc", "r2", "perplexity", "rmse", "mape"}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_parts_are_merged(name, kind, weighted, rng):
    loss, draw = KINDS[kind]
    whole, merged = (bound(metrics.get(name, loss).fresh(), loss) for _ in range(2))
    assert whole.merges
    for rows in (7, 0, 12, 1, 9):
        targets, outputs = draw(rng, rows)
        weights = rng.integers(0, 3, rows).astype(np.float64) if weighted else None
        part = whole.fresh()
        part.update_rows(targets, outputs, weights)
        whole.update_rows(targets, outputs, weights)
        merged.merge(part.gathered())
    assert not math.isnan(whole.result())
    assert merged.result() == pytest.approx(whole.result(), rel=1e-12)


def test_functions_get_the_rows_of_all_parts(rng):
    def rows(y_true, y_pred, sample_weight=None):
        weights = len(y_true) if sample_weight is None else sample_weight.sum()
        return float(len(y_true) + 100 * weights)

    metric = metrics.Function(rows)
    loss = losses.get("mse")
    bound(metric, loss)
    for count in (3, 4):
        part = metric.fresh()
        part.update_rows(*values(rng, count), np.full(count, 2.0))
        metric.merge(part.gathered())
    assert metric.result() == 7 + 100 * 14


class Forgetful(metrics.Metric):
    """Gathers in its own way, and cannot merge."""

    def reset(self):
        self.rows = 0

    def accumulate(self, targets, outputs, weights):
        self.rows += len(outputs)

    def result(self):
        return float(self.rows)


class Complete(Forgetful):
    def gathered(self):
        return self.rows

    def merge(self, gathered):
        self.rows += gathered


class Narrow(metrics.Metric):
    """Overrides only what a mean overrides."""

    def values(self, targets, outputs):
        return np.ones(len(outputs))


def test_a_metric_knows_whether_it_can_merge():
    assert not Forgetful().merges
    assert Complete().merges
    assert Narrow().merges


@pytest.mark.parametrize(
    "metric",
    [
        metrics.SpanF1(["O", "B-X", "I-X"]),
        metrics.CharacterErrorRate(),
        metrics.WordErrorRate(["-", "a", " "]),
    ],
)
def test_metrics_of_sequences_are_merged(metric, rng):
    def sequences():
        return [rng.integers(0, CLASSES, length) for length in (3, 8, 0, 5)]

    whole, merged = metric.fresh(), metric.fresh()
    assert whole.merges
    for _ in range(3):
        targets, decided = sequences(), sequences()
        part = metric.fresh()
        part.update_sequences(targets, decided)
        whole.update_sequences(targets, decided)
        merged.merge(part.gathered())
    assert whole.result() > 0
    assert merged.result() == whole.result()
