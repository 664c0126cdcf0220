"""Functions as metrics, and what metrics refuse."""

import math
from functools import partial

import numpy as np
import pytest

from lstmcore.training import metrics
from metric_kit import ROWS, Spy, bias, in_batches, softmax, weighted_bias


def test_functions_receive_the_requested_response(rng):
    labels = rng.integers(0, 3, ROWS)
    outputs = softmax(rng.standard_normal((ROWS, 3)))
    single = rng.uniform(size=(ROWS, 1))
    binary = (labels > 0).astype(float)
    two = np.concatenate([1 - single, single], axis=1)
    several = (rng.uniform(size=(ROWS, 3)) < 0.5).astype(float)
    for response, y, p, expected in (
        ("classes", labels, outputs, (labels, outputs.argmax(1))),
        ("classes", binary, single, (binary.astype(int), (single[:, 0] > 0.5).astype(int))),
        ("classes", several, outputs, (several.astype(int), (outputs > 0.5).astype(int))),
        ("scores", labels, outputs, (labels, outputs)),
        ("scores", binary, single, (binary.astype(int), single[:, 0])),
        ("scores", binary.astype(int), two, (binary.astype(int), single[:, 0])),
        ("scores", several, outputs, (several.astype(int), outputs)),
        ("values", single, single, (single[:, 0], single[:, 0])),
        ("values", several, outputs, (several, outputs)),
        ("outputs", labels, outputs, (labels, outputs)),
        ("outputs", several[:, :2], outputs, (several[:, :2], outputs)),
        ("auto", binary[:, None], single, (binary[:, None], single)),
    ):
        spy = Spy()
        metric = metrics.Function(spy, response=response)
        assert metric.name == "Spy"
        assert in_batches(metric, y, p) == ROWS
        assert len(spy.calls) == 1  # with all rows
        for received, wanted in zip(spy.calls[0], expected, strict=True):
            assert received.dtype.kind == wanted.dtype.kind
            np.testing.assert_array_equal(received, wanted)


def test_functions_take_weights_if_their_signature_does(rng):
    y, p = rng.standard_normal((2, ROWS, 1))
    w = rng.uniform(0.5, 2, ROWS)
    w[:5] = 0  # leaves out rows
    metric = metrics.Function(weighted_bias)
    expected = np.average((p - y)[:, 0], weights=w)
    assert in_batches(metric, y, p, w) == pytest.approx(expected, rel=1e-14)
    metric = metrics.Function(bias)
    assert in_batches(metric, y, p, (w > 0).astype(float)) == pytest.approx((p - y)[5:].mean())
    with pytest.raises(ValueError, match="'bias', whose function has no argument sample_weight"):
        metric.update(y, p, w)


def test_a_function_of_no_rows_is_not_called():
    assert math.isnan(metrics.Function(bias).result())


def test_names_and_directions_of_functions():
    assert metrics.Function(partial(bias)).name == "bias"
    assert metrics.Function(bias, "b").name == "b"
    assert metrics.Function(bias).greater_is_better is None
    assert metrics.Function(bias, greater_is_better=True).greater_is_better is True

    def some_score(y_true, y_pred):
        return 0.0

    def some_error(y_true, y_pred):
        return 0.0

    assert metrics.Function(partial(some_score)).greater_is_better is True
    assert metrics.Function(some_error).greater_is_better is False


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: metrics.Function(3), TypeError, "function: expected one of"),
        (lambda: metrics.Function(lambda y, p: 0), ValueError, "a name for a lambda"),
        (lambda: metrics.Function(bias, response="labels"), ValueError, "response: expected one"),
        (lambda: metrics.Function(bias, greater_is_better=1), TypeError, "greater_is_better"),
        (lambda: metrics.TopK(0), ValueError, "k: expected an integer of at least 1"),
        (lambda: metrics.TopK(3).update([0], [[1.0, 2.0]]), ValueError, "k: expected at most 2"),
        (lambda: metrics.AUC("roc"), ValueError, "curve: expected one of 'ROC', 'PR'"),
        (lambda: metrics.AUC(average="binary"), ValueError, "average"),
        (lambda: metrics.AUC().update([3], [[0.5, 0.3, 0.2]]), ValueError, r"labels in 0\.\.2"),
        (lambda: metrics.F1(average="samples"), ValueError, "average"),
        (lambda: metrics.F1(multilabel="no"), TypeError, "multilabel"),
        (lambda: metrics.F1().update([-1], [[0.5, 0.5]]), ValueError, r"labels in 0\.\.1"),
        (lambda: metrics.F1(average="binary").update([0], [[1, 2, 3]]), ValueError, "3 classes"),
        (
            lambda: metrics.F1(average="binary").update([[0, 1]], [[1, 2]]),
            ValueError,
            "for 2 labels, got 'binary'",
        ),
        (lambda: metrics.MeanLoss("mse"), TypeError, "loss: expected a Loss of rows"),
        (lambda: metrics.R2().update([[1.0]], [[1.0]], [1, 2]), ValueError, "sample_weight"),
    ],
)
def test_bad_input_is_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_functions_must_return_numbers():
    metric = metrics.Function(lambda y, p: p - y, "difference")
    metric.update([[1.0]], [[2.0]])
    with pytest.raises(TypeError, match="'difference' must return a number, got an array"):
        metric.result()
