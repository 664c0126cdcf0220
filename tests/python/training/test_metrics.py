"""Metrics: against formulas, over batches, in training, in files, and bad input."""

import math
from functools import partial

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore.training import losses, metrics

ROWS = 60


def softmax(values):
    powers = np.exp(values)
    return powers / powers.sum(axis=-1, keepdims=True)


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


def in_batches(metric, y, outputs, weights=None):
    """Return the result of updates with unequal batches, one of them without rows."""
    metric.reset()
    for begin, end in ((0, 7), (7, 7), (7, 40), (40, ROWS)):
        part = slice(begin, end)
        metric.update(y[part], outputs[part], None if weights is None else weights[part])
    assert metric.result() == metric.result()  # which may be cached
    return metric.result()


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


# ---- functions ---------------------------------------------------------------------------------


class Spy:
    """A function that records its arguments."""

    def __init__(self):
        self.calls = []

    def __call__(self, y_true, y_pred):
        self.calls.append((y_true, y_pred))
        return len(y_true)


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


def weighted_bias(y_true, y_pred, *, sample_weight=None):
    return np.average((y_pred - y_true)[:, 0], weights=sample_weight)


def bias(y_true, y_pred):
    return (y_pred - y_true).mean()


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


# ---- in training -------------------------------------------------------------------------------


def compiled(activation, units, loss, wanted=None, weighted=None):
    model = lc.Sequential([layers.Dense(units, activation=activation)], dtype="float64", seed=3)
    model.compile("sgd", loss, wanted, weighted)
    model.build((None, 3))
    return model


def test_metrics_of_joined_softmax_see_probabilities(rng):
    names = ["accuracy", "top_k_categorical_accuracy", "precision", "recall_micro", "f1_weighted"]
    names += ["auc", "pr_auc", "perplexity", "sparse_categorical_crossentropy"]
    names[1] = metrics.TopK(2)
    model = compiled("softmax", 3, "sparse_categorical_crossentropy", [*names, Spy()])
    assert model.compiled.takes_logits
    x, labels = rng.standard_normal((ROWS, 3)), rng.integers(0, 3, ROWS)
    result = model.evaluate(x, labels, batch_size=7, verbose=0, return_dict=True)
    p = model.predict(x, verbose=0)
    spy = model.compiled.metrics[-1].function
    # The layer's probabilities and those computed from logits here differ by rounding.
    np.testing.assert_allclose(spy.calls[0][1], p, rtol=1e-15)
    np.testing.assert_array_equal(spy.calls[0][0], labels)
    assert result["perplexity"] == pytest.approx(math.exp(result["loss"]), rel=1e-14)
    assert result["sparse_categorical_crossentropy"] == result["loss"]
    for name, kind in (
        ("precision", metrics.Precision()),
        ("recall_micro", metrics.Recall(average="micro")),
        ("f1_weighted", metrics.F1(average="weighted")),
        ("auc", metrics.AUC()),
        ("pr_auc", metrics.AUC("PR")),
        ("top_k", metrics.TopK(2)),
    ):
        assert result[name] == pytest.approx(in_batches(kind, labels, p), rel=1e-13)


def test_metrics_by_name_fit_a_loss_from_logits(rng):
    """Outputs are logits: thresholds are at 0, ranks are unchanged, perplexity uses logits."""
    x, y = rng.standard_normal((ROWS, 3)), rng.integers(0, 2, ROWS)
    names = ["accuracy", "precision", "f1", "auc", "binary_crossentropy"]
    joined = compiled("sigmoid", 1, "binary_crossentropy", names)
    apart = compiled(None, 1, losses.BinaryCrossentropy(from_logits=True), names)
    assert joined.evaluate(x, y, verbose=0) == pytest.approx(apart.evaluate(x, y, verbose=0))
    labels = rng.integers(0, 3, ROWS)
    names = ["accuracy", "precision", "f1", "auc", "perplexity", "sparse_categorical_crossentropy"]
    joined = compiled("softmax", 3, "sparse_categorical_crossentropy", names)
    apart = compiled(None, 3, losses.SparseCategoricalCrossentropy(from_logits=True), names)
    assert joined.evaluate(x, labels, verbose=0) == pytest.approx(
        apart.evaluate(x, labels, verbose=0)
    )


def test_the_loss_says_whether_columns_are_classes_or_labels(rng):
    x, one_hot = rng.standard_normal((ROWS, 3)), np.eye(3)[rng.integers(0, 3, ROWS)]
    classes = compiled("softmax", 3, "categorical_crossentropy", ["f1", "auc"])
    several = compiled("sigmoid", 3, "binary_crossentropy", ["f1", "auc"])
    for model, multilabel in ((classes, False), (several, True)):
        p = model.predict(x, verbose=0)
        _, f1, auc = model.evaluate(x, one_hot, verbose=0)
        assert f1 == pytest.approx(in_batches(metrics.F1(multilabel=multilabel), one_hot, p))
        assert auc == pytest.approx(in_batches(metrics.AUC(multilabel=multilabel), one_hot, p))


def test_masked_steps_do_not_count_in_metrics(rng):
    names = ["accuracy", "f1", "auc", "perplexity", "precision_micro"]
    model = lc.Sequential(
        [layers.LSTM(3, return_sequences=True), layers.Dense(3, activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", names)
    lengths = [4, 1, 3]
    x = [rng.standard_normal((length, 2)).astype(np.float32) for length in lengths]
    y = [rng.integers(0, 3, length) for length in lengths]
    result = model.evaluate(x, y, verbose=0)
    p = np.concatenate(model.predict(x, verbose=0))
    for value, name in zip(result[1:], names, strict=True):
        metric = metrics.get(name, losses.SparseCategoricalCrossentropy())
        metric.update(np.concatenate(y), p)
        # float32: the padded batch and the rows have the same probabilities up to rounding.
        assert value == pytest.approx(metric.result(), rel=1e-6)


def test_weighted_metrics_are_weighted_and_others_are_not(rng, tmp_path):
    x, y = rng.standard_normal((ROWS, 3)), rng.standard_normal(ROWS)
    w = rng.uniform(size=ROWS)
    own = metrics.Function(weighted_bias, "shift")
    model = compiled(None, 1, "mse", "mae", [metrics.MeanAbsoluteError("wmae"), own])
    loss, mae, wmae, shift = model.evaluate(x, y, sample_weight=w, verbose=0)
    d = model.predict(x, verbose=0)[:, 0] - y
    assert loss == pytest.approx((w * d**2).mean())
    assert mae == pytest.approx(np.abs(d).mean())
    assert wmae == pytest.approx(np.average(np.abs(d), weights=w))
    assert shift == pytest.approx(np.average(d, weights=w))
    assert model.evaluate(x, y, verbose=0)[2] == pytest.approx(np.abs(d).mean())
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = lc.load(path, custom_objects={"shift": weighted_bias})
    assert loaded.compiled.get_config() == model.compiled.get_config()
    assert loaded.evaluate(x, y, sample_weight=w, verbose=0) == [loss, mae, wmae, shift]


def test_metrics_of_an_encoder_decoder(rng):
    """They count tokens, the end token included, weighted by pair if requested."""
    model = lc.EncoderDecoder(6, 6, embedding_size=3, units=3)
    top = metrics.TopK(2)
    model.compile("sgd", metrics=["accuracy", "perplexity", top], weighted_metrics=[sums_of_labels])
    x, y = [[3, 4], [5]], [[3], [4, 5, 3]]
    result = model.evaluate(x, y, verbose=0, sample_weight=[2.0, 0.5])
    loss, accuracy, perplexity, share, total = result
    plain = model.evaluate(x, y, verbose=0)
    assert perplexity == pytest.approx(math.exp(plain[0]), rel=1e-6)
    assert 0 <= share <= 1
    assert plain[1:4] == [accuracy, perplexity, share]
    assert loss != plain[0]
    assert total == 2.0 * (3 + 2) + 0.5 * (4 + 5 + 3 + 2)  # the end token is 2
    assert plain[4] == 3 + 2 + 4 + 5 + 3 + 2


def sums_of_labels(y_true, y_pred, sample_weight=None):
    return (y_true * (1.0 if sample_weight is None else sample_weight)).sum()


def test_class_weights_are_weights(rng):
    model = compiled("sigmoid", 1, "binary_crossentropy", None, ["accuracy"])
    x, y = rng.standard_normal((ROWS, 3)), rng.integers(0, 2, ROWS)
    value = model.train_on_batch(x, y, class_weight={1: 3.0}, return_dict=True)["accuracy"]
    before = compiled("sigmoid", 1, "binary_crossentropy").predict(x, verbose=0)[:, 0]
    expected = np.average((before > 0.5) == y, weights=np.where(y == 1, 3.0, 1.0))
    assert value == pytest.approx(expected)


def test_metrics_of_epochs_are_not_in_the_logs_of_batches(rng):
    seen = []

    class Listener(lc.callbacks.Callback):
        """Records the names in logs."""

        def on_train_batch_end(self, batch, logs):
            seen.append(list(logs))

    model = compiled(None, 1, "mse", ["mae", "r2", bias])
    x = rng.standard_normal((ROWS, 3))
    history = model.fit(x, x[:, 0], callbacks=[Listener()], verbose=0).history
    assert seen[0] == ["loss", "mae"]
    assert list(history) == ["loss", "mae", "r2", "bias"]


def test_a_single_metric_needs_no_list():
    assert metrics.get(losses.Function(bias, bias, "own"), losses.Huber()).name == "own"
    for wanted, name in (
        ("mae", "mae"),
        (metrics.R2(), "r2"),
        (bias, "bias"),
        (losses.Huber(2), "huber"),
    ):
        assert [metric.name for metric in compiled(None, 1, "mse", wanted).compiled.metrics] == [
            name
        ]


def test_callbacks_know_what_is_better(rng):
    """In mode "auto", higher R2 and lower errors are better; functions go by their names."""

    def my_score(y_true, y_pred):
        return 0.0

    model = compiled(None, 1, "mse", ["r2", "rmse", my_score])
    x = rng.standard_normal((ROWS, 3))
    for monitor, sign in (("r2", 1), ("val_r2", 1), ("rmse", -1), ("my_score", 1), ("loss", -1)):
        stopping = lc.callbacks.EarlyStopping(monitor, patience=1)
        model.fit(x, x[:, 0], callbacks=[stopping], validation_data=(x, x[:, 0]), verbose=0)
        assert stopping._monitor.sign == sign
    stopping = lc.callbacks.EarlyStopping("r2", mode="min")
    model.fit(x, x[:, 0], callbacks=[stopping], verbose=0)
    assert stopping._monitor.sign == -1


def test_early_stopping_by_r2_keeps_the_best_weights(rng):
    x = rng.standard_normal((ROWS, 3))
    model = compiled(None, 1, "mse", ["r2"])
    stopping = lc.callbacks.EarlyStopping("r2", patience=100, restore_best_weights=True)
    history = model.fit(x, x[:, 0], epochs=10, callbacks=[stopping], verbose=0).history["r2"]
    assert history[-1] > history[0]
    assert model.evaluate(x, x[:, 0], verbose=0)[1] > history[-2]


# ---- names and files ---------------------------------------------------------------------------

OF_SEQUENCES = {  # which test_sequence_metrics trains with
    name for name, (kind, _) in metrics.NAMES.items() if issubclass(kind, metrics.SequenceMetric)
}
OF_ROWS = {*metrics.NAMES, *losses.NAMES} - {"presence_crossentropy", "crf", "ctc"}
EVERY = sorted(OF_ROWS - OF_SEQUENCES)


def fitting(name):
    """Return a compiled model whose loss suits a metric, and its number of targets."""
    if name in ("gaussian_nll", "poisson"):
        return compiled(None, 2, name, [name]), 1 if name == "gaussian_nll" else 2
    sample = metrics.get(name, losses.get("mse"))
    if sample.labels or "sparse" in name or name in ("perplexity", "top_k"):
        return compiled("softmax", 6, "sparse_categorical_crossentropy", [name]), None
    if "categorical" in name:
        return compiled("softmax", 6, "categorical_crossentropy", [name]), 6
    if "binary" in name or "auc" in name or name == "average_precision":
        return compiled("sigmoid", 1, "binary_crossentropy", [name]), 1
    return compiled(None, 1, "mse", [name]), 1


@pytest.mark.parametrize("name", EVERY)
def test_every_name_is_a_metric_that_files_store(name, rng, tmp_path):
    model, width = fitting(name)
    x = rng.standard_normal((ROWS, 3))
    if name == "poisson":
        model.set_weights([np.zeros((3, 2)), np.ones(2)])
    y = rng.integers(0, 2, ROWS) if width is None else rng.integers(0, 2, (ROWS, width))
    if width is not None and model.compiled.loss.activation == "softmax":
        y = np.eye(width)[y[:, 0]]
    path = tmp_path / "model.safetensors"
    result = model.evaluate(x, y, verbose=0, return_dict=True)
    assert list(result) == ["loss", name]
    model.save(path)
    loaded = lc.load(path)
    assert loaded.compiled.get_config() == model.compiled.get_config()
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == result


def test_every_public_metric_has_a_name():
    made = {kind.__name__ for kind, _ in metrics.NAMES.values()}
    bases = {"Metric", "SequenceMetric", "Function", "MeanLoss", "Span", "SpanScore"}
    assert made | bases == {
        name for name in metrics.__all__ if isinstance(getattr(metrics, name), type)
    }


@pytest.mark.parametrize(
    ("metric", "loss", "error", "match"),
    [
        (
            "aucc",
            "mse",
            ValueError,
            r"metrics: expected a Metric, a function of \(y_true, y_pred\)",
        ),
        (metrics.AUC, "mse", TypeError, "expected an object, got the class AUC; call it"),
        ("accuracy", "huber", ValueError, "'accuracy' has no meaning with Huber"),
        ("mae", "sparse_categorical_crossentropy", ValueError, "MeanAbsoluteError expects values"),
        ("sparse_categorical_accuracy", "mse", ValueError, "expects class numbers as targets"),
        (
            "perplexity",
            "binary_crossentropy",
            ValueError,
            "Perplexity expects a loss about classes",
        ),
        (
            metrics.MeanLoss(losses.BinaryCrossentropy(from_logits=True)),
            "binary_crossentropy",
            ValueError,
            r"from_logits=True\) expects logits",
        ),
        (["mae", "mae"], "mse", ValueError, "expected different names, got mae, mae"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(metric, loss, error, match):
    activations = {"binary_crossentropy": "sigmoid", "sparse_categorical_crossentropy": "softmax"}
    activation = activations.get(loss) if isinstance(loss, str) else None
    with pytest.raises(error, match=match):
        compiled(activation, 2 if activation == "softmax" else 1, loss, metric)


def test_functions_without_weights_are_refused_among_weighted_metrics():
    with pytest.raises(
        ValueError, match="weighted_metrics: the function of 'bias' has no argument"
    ):
        compiled(None, 1, "mse", None, [bias])


def test_functions_come_back_by_name(tmp_path):
    path = tmp_path / "model.safetensors"
    model = compiled(
        None, 1, "mse", [bias, metrics.Function(weighted_bias, "w", response="values")]
    )
    model.save(path)
    with pytest.raises(
        ValueError, match=r"the function 'bias', .* custom_objects=\{'bias': bias\}"
    ):
        lc.load(path)
    loaded = lc.load(path, custom_objects={"bias": bias, "w": metrics.Function(weighted_bias)})
    first, second = loaded.compiled.metrics
    assert first.function is bias
    assert second.function is weighted_bias
    assert second.response == "values"
    assert loaded.compiled.get_config() == model.compiled.get_config()
    for wrong in (3, metrics.AUC):
        with pytest.raises(ValueError, match=r"custom_objects\['bias'\]: expected a function"):
            lc.load(path, custom_objects={"bias": wrong, "w": weighted_bias})


def test_metrics_with_a_loss_and_options_come_back(tmp_path):
    path = tmp_path / "model.safetensors"
    model = compiled(
        "sigmoid",
        2,
        "binary_crossentropy",
        [
            metrics.MeanLoss(losses.MeanSquaredError(), "brier"),
            metrics.F1("f", average="macro", threshold=0.3, multilabel=True),
            metrics.AUC("PR", average="micro", name="area"),
            metrics.TopK(2, "two"),
        ],
        [losses.BinaryFocalCrossentropy(gamma=1.0)],
    )
    model.save(path)
    loaded = lc.load(path)
    assert loaded.compiled.get_config() == model.compiled.get_config()
    assert isinstance(loaded.compiled.metrics[0].loss, losses.MeanSquaredError)
    assert [metric.name for metric in loaded.compiled.weighted] == ["binary_focal_crossentropy"]


def test_user_metrics_that_are_not_means(rng, tmp_path):
    class Worst(metrics.Metric):
        """The largest error."""

        default_name = "worst"
        running = False

        def reset(self):
            self._worst = 0.0

        def accumulate(self, targets, outputs, weights):
            errors = np.abs(outputs - targets)
            if weights is not None:
                errors = errors[weights != 0]
            self._worst = max(self._worst, float(errors.max(initial=0)))

        def result(self):
            return self._worst

    x, y = rng.standard_normal((ROWS, 3)), rng.standard_normal(ROWS)
    model = compiled(None, 1, "mse", [Worst()])
    expected = np.abs(model.predict(x, verbose=0)[:, 0] - y).max()
    assert model.evaluate(x, y, verbose=0)[1] == expected
    model.save(tmp_path / "model.safetensors")
    loaded = lc.load(tmp_path / "model.safetensors", custom_objects={"Worst": Worst})
    assert loaded.evaluate(x, y, verbose=0)[1] == expected


def test_accuracy_of_probabilities_as_targets():
    metric = lc.metrics.BinaryAccuracy()
    metric.update([[0.9], [0.2], [0.6], [0.5]], [[0.7], [0.4], [0.1], [0.3]])
    assert metric.result() == 0.75
