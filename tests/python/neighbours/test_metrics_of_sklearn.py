"""Metrics compared with scikit-learn's, and scikit-learn's functions as metrics."""

import os
import warnings
from functools import partial

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers, metrics
from metric_kit import softmax

sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")

ROWS = 200


@pytest.fixture(params=["plain", "weighted"])
def weights(request, rng):
    return None if request.param == "plain" else rng.uniform(size=ROWS)


def in_batches(metric, y, outputs, weights=None):
    for begin in range(0, ROWS, 33):
        part = slice(begin, begin + 33)
        metric.update(y[part], outputs[part], None if weights is None else weights[part])
    return metric.result()


@pytest.mark.parametrize("ties", [False, True])
def test_areas(ties, weights, rng):
    y = rng.integers(0, 2, ROWS)
    scores = rng.standard_normal(ROWS) + y
    if ties:
        scores = scores.round()
    for metric, function in (
        (metrics.AUC(), sk.roc_auc_score),
        (metrics.AUC("PR"), sk.average_precision_score),
    ):
        expected = function(y, scores, sample_weight=weights)
        assert in_batches(metric, y, scores[:, None], weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_areas_of_several_classes(average, weights, rng):
    labels = rng.integers(0, 4, ROWS)
    p = softmax(rng.standard_normal((ROWS, 4)) + np.eye(4)[labels])
    several = rng.integers(0, 2, (ROWS, 4))
    for curve, function, options in (
        ("ROC", sk.roc_auc_score, {"multi_class": "ovr"}),
        ("PR", sk.average_precision_score, {}),
    ):
        expected = function(labels, p, average=average, sample_weight=weights, **options)
        metric = metrics.AUC(curve, average=average)
        assert in_batches(metric, labels, p, weights) == pytest.approx(expected, rel=1e-12)
        expected = function(several, p, average=average, sample_weight=weights)
        metric = metrics.AUC(curve, average=average)
        assert in_batches(metric, several, p, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("average", ["binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_decisions(name, average, weights, rng):
    kind = {"precision": metrics.Precision, "recall": metrics.Recall, "f1": metrics.F1}[name]
    function = partial(
        getattr(sk, f"{name}_score"), average=average, sample_weight=weights, zero_division=0
    )
    y, scores = rng.integers(0, 2, ROWS), rng.uniform(size=(ROWS, 1))
    expected = function(y, scores[:, 0] > 0.5)
    assert in_batches(kind(average=average), y, scores, weights) == pytest.approx(expected)
    if average == "binary":
        return
    # Four classes; the last two are never the target, and the last is never predicted.
    labels = rng.integers(0, 2, ROWS)
    p = softmax(rng.standard_normal((ROWS, 4)) - [0, 0, 0, 99])
    expected = function(labels, p.argmax(axis=1))
    assert in_batches(kind(average=average), labels, p, weights) == pytest.approx(expected)
    several = (rng.uniform(size=(ROWS, 4)) < [0.5, 0.2, 0.9, 0.0]).astype(int)
    outputs = rng.uniform(size=(ROWS, 4))
    expected = function(several, outputs > 0.5)
    assert in_batches(kind(average=average), several, outputs, weights) == pytest.approx(expected)


def test_figures_of_regression(weights, rng):
    y, p = rng.standard_normal((2, ROWS, 3))
    y[3, 1] = 0.0
    for metric, function in (
        (metrics.R2(), sk.r2_score),
        (metrics.MeanAbsolutePercentageError(), sk.mean_absolute_percentage_error),
        (metrics.MeanSquaredError(), sk.mean_squared_error),
        (metrics.MeanAbsoluteError(), sk.mean_absolute_error),
        (metrics.MeanLoss(lc.losses.Quantile(0.3)), partial(sk.mean_pinball_loss, alpha=0.3)),
    ):
        expected = function(y, p, sample_weight=weights)
        assert in_batches(metric, y, p, weights) == pytest.approx(expected, rel=1e-12)
    # For one output, scikit-learn's mean of roots equals the root of the mean.
    expected = sk.root_mean_squared_error(y[:, 0], p[:, 0], sample_weight=weights)
    found = in_batches(metrics.RootMeanSquaredError(), y[:, :1], p[:, :1], weights)
    assert found == pytest.approx(expected, rel=1e-12)
    for constant in (y[:, :1] * 0 + 0.1, y[:, :1]):
        for guess in (constant, p[:, :1]):
            expected = sk.r2_score(constant, guess, sample_weight=weights)
            found = in_batches(metrics.R2(), constant, guess, weights)
            assert found == pytest.approx(expected, rel=1e-12)


def test_top_k(weights, rng):
    labels, p = rng.integers(0, 5, ROWS), softmax(rng.standard_normal((ROWS, 5)))
    for k in (1, 2, 4):
        expected = sk.top_k_accuracy_score(labels, p, k=k, sample_weight=weights)
        assert in_batches(metrics.TopK(k), labels, p, weights) == pytest.approx(expected)


def test_perplexity(weights, rng):
    labels, p = rng.integers(0, 5, ROWS), softmax(rng.standard_normal((ROWS, 5)))
    expected = np.exp(sk.log_loss(labels, p, sample_weight=weights))
    assert in_batches(metrics.Perplexity(), labels, p, weights) == pytest.approx(expected)


def test_deviance_of_poisson(rng):
    """Twice the loss, apart from terms that depend only on the targets."""
    y, p = rng.integers(1, 9, ROWS).astype(float), rng.uniform(1, 9, ROWS)
    expected = sk.mean_poisson_deviance(y, p) / 2
    loss = lc.losses.Poisson()
    assert loss(y, p[:, None]) - loss(y, y[:, None]) == pytest.approx(expected, rel=1e-7)


# ---- scikit-learn's own functions --------------------------------------------------------------


def compiled(units, activation, loss, functions):
    model = lc.Sequential([layers.Dense(units, activation=activation)], dtype="float64", seed=1)
    model.compile("sgd", loss, functions)
    model.build((None, 3))
    return model


def expect(model, x, y, expected):
    """Compare with functions of the outputs of `predict`, apart from rounding."""
    result = model.evaluate(x, y, batch_size=30, verbose=0)[1:]
    assert result == pytest.approx(expected, rel=1e-12)


def test_functions_get_what_scorers_pass_for_one_output(rng):
    x, y = rng.standard_normal((ROWS, 3)), rng.integers(0, 2, ROWS)
    by_class = [sk.accuracy_score, sk.f1_score, sk.matthews_corrcoef, sk.cohen_kappa_score]
    by_score = [sk.roc_auc_score, sk.log_loss, sk.brier_score_loss, sk.average_precision_score]
    model = compiled(1, "sigmoid", "binary_crossentropy", [*by_class, *by_score])
    p = model.predict(x, verbose=0)[:, 0]
    expected = [f(y, p > 0.5) for f in by_class] + [f(y, p) for f in by_score]
    expect(model, x, y, expected)


def test_functions_get_what_scorers_pass_for_two_classes(rng):
    x, y = rng.standard_normal((ROWS, 3)), rng.integers(0, 2, ROWS)
    functions = [sk.balanced_accuracy_score, sk.roc_auc_score, sk.log_loss]
    model = compiled(2, "softmax", "sparse_categorical_crossentropy", functions)
    p = model.predict(x, verbose=0)
    expected = [functions[0](y, p.argmax(axis=1)), *(f(y, p[:, 1]) for f in functions[1:])]
    expect(model, x, y, expected)


def test_functions_get_what_scorers_pass_for_classes(rng):
    x, y = rng.standard_normal((ROWS, 3)), rng.integers(0, 4, ROWS)
    macro = partial(sk.f1_score, average="macro")
    area = partial(sk.roc_auc_score, multi_class="ovo")
    functions = [macro, area, sk.log_loss, sk.top_k_accuracy_score]
    model = compiled(4, "softmax", "sparse_categorical_crossentropy", functions)
    assert [metric.name for metric in model.compiled.metrics] == [
        *("f1_score", "roc_auc_score", "log_loss", "top_k_accuracy_score")
    ]
    p = model.predict(x, verbose=0)
    expect(model, x, y, [macro(y, p.argmax(axis=1)), *(f(y, p) for f in functions[1:])])
    one_hot = compiled(4, "softmax", "categorical_crossentropy", functions)
    expect(
        one_hot, x, np.eye(4)[y], [macro(y, p.argmax(axis=1)), *(f(y, p) for f in functions[1:])]
    )


def test_functions_get_what_scorers_pass_for_labels(rng):
    x, y = rng.standard_normal((ROWS, 3)), rng.integers(0, 2, (ROWS, 4))
    macro = partial(sk.f1_score, average="macro")
    ranking = sk.label_ranking_average_precision_score
    model = compiled(4, "sigmoid", "binary_crossentropy", [macro, sk.hamming_loss, ranking])
    p = model.predict(x, verbose=0)
    expect(model, x, y, [macro(y, p > 0.5), sk.hamming_loss(y, p > 0.5), ranking(y, p)])


@pytest.mark.parametrize("targets", [1, 2])
def test_functions_get_what_scorers_pass_for_numbers(targets, rng):
    x, y = rng.standard_normal((ROWS, 3)), rng.standard_normal((ROWS, targets))
    functions = [sk.r2_score, sk.median_absolute_error, sk.mean_squared_error]
    model = compiled(targets, None, "mse", functions)
    p = model.predict(x, verbose=0)
    expect(model, x, y, [f(y, p) for f in functions])
    # For quantiles and distributions, functions are passed the prediction.
    quantiles = compiled(3 * targets, None, lc.losses.Quantile([0.1, 0.5, 0.9]), functions)
    p = quantiles.predict(x, verbose=0)[:, 1::3]
    expect(quantiles, x, y, [f(y, p) for f in functions])


def test_steps_past_the_end_are_not_passed(rng):
    model = lc.Sequential(
        [layers.LSTM(3, return_sequences=True), layers.Dense(1, activation="sigmoid")],
        dtype="float64",
    )
    model.compile("sgd", "binary_crossentropy", [sk.f1_score], [sk.accuracy_score])
    lengths = [4, 1, 3]
    x = [rng.standard_normal((length, 2)) for length in lengths]
    y = [rng.integers(0, 2, (length, 1)) for length in lengths]
    w = [rng.uniform(size=length) for length in lengths]
    _, f1, accuracy = model.evaluate(x, y, sample_weight=w, verbose=0)
    wanted, chosen = (
        np.concatenate(y)[:, 0],
        np.concatenate(model.predict(x, verbose=0))[:, 0] > 0.5,
    )
    assert f1 == pytest.approx(sk.f1_score(wanted, chosen))
    expected = sk.accuracy_score(wanted, chosen, sample_weight=np.concatenate(w))
    assert accuracy == pytest.approx(expected)


def test_undefined_figures_are_nan_in_scikit_learn_too(rng):
    """As here, scikit-learn returns NaN with a warning (before 1.6, it raised an error)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(sk.roc_auc_score([1, 1], [0.1, 0.2]))
        assert np.isnan(sk.r2_score([1.0], [1.0]))


def test_functions_are_restored_by_name(rng, tmp_path):
    path = tmp_path / "model.safetensors"
    x, y = rng.standard_normal((ROWS, 3)), rng.integers(0, 2, ROWS)
    model = compiled(1, "sigmoid", "binary_crossentropy", [sk.f1_score, sk.roc_auc_score])
    model.fit(x, y, verbose=0)
    model.save(path)
    with pytest.raises(ValueError, match=r"custom_objects=\{'f1_score': f1_score\}"):
        lc.load(path)
    known = {"f1_score": sk.f1_score, "roc_auc_score": sk.roc_auc_score}
    loaded = lc.load(path, custom_objects=known)
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def with_rate_zero(units, activation, loss, wanted):
    model = lc.Sequential([layers.Dense(units, activation)], dtype="float64", seed=2)
    model.compile(lc.optimizers.SGD(0.0), loss, wanted)
    return model


def test_functions_that_do_not_suit_are_found_before_a_step(rng):
    x, y = rng.standard_normal((30, 4)), np.arange(30) % 3
    for function, message in (
        (sk.f1_score, "'f1_score': Target is multiclass but average='binary'"),
        (sk.roc_auc_score, "'roc_auc_score': multi_class must be in"),
        (sk.confusion_matrix, "'confusion_matrix' must return a number"),
    ):
        model = with_rate_zero(3, "softmax", "sparse_categorical_crossentropy", [function])
        with pytest.raises((ValueError, TypeError), match=message):
            model.fit(x, y, verbose=0)
        assert model.optimizer.iterations == 0


def test_functions_that_suit_are_not_refused(rng):
    """Every scorer's function, with outputs that suit it."""
    x, y = rng.standard_normal((60, 4)), np.arange(60) % 3
    several = [
        partial(sk.f1_score, average="macro"),
        sk.accuracy_score,
        sk.balanced_accuracy_score,
        sk.matthews_corrcoef,
        sk.cohen_kappa_score,
        sk.log_loss,
        sk.hamming_loss,
        sk.zero_one_loss,
        sk.top_k_accuracy_score,
        partial(sk.roc_auc_score, multi_class="ovr"),
    ]
    two = [
        sk.f1_score,
        sk.precision_score,
        sk.recall_score,
        sk.jaccard_score,
        sk.roc_auc_score,
        partial(sk.roc_auc_score, max_fpr=0.1),
        sk.average_precision_score,
        sk.brier_score_loss,
    ]
    numbers = [
        sk.r2_score,
        sk.explained_variance_score,
        sk.max_error,
        sk.median_absolute_error,
        sk.mean_absolute_percentage_error,
        sk.mean_pinball_loss,
        sk.d2_absolute_error_score,
    ]
    positive = [
        sk.mean_poisson_deviance,
        sk.mean_gamma_deviance,
        sk.mean_squared_log_error,
        partial(sk.mean_tweedie_deviance, power=1.5),
    ]
    for units, activation, loss, targets, functions in (
        (3, "softmax", "sparse_categorical_crossentropy", y, several),
        (3, "softmax", "categorical_crossentropy", np.eye(3)[y], several),
        (2, "softmax", "sparse_categorical_crossentropy", y % 2, two),
        (1, "sigmoid", "binary_crossentropy", y % 2, two),
        (1, None, "mse", rng.standard_normal(60), numbers),
        (1, "sigmoid", "mse", y + 1.0, positive),
    ):
        for function in functions:
            model = with_rate_zero(units, activation, loss, [function])
            loss_value, figure = model.evaluate(x, targets, verbose=0)
            assert np.isfinite([loss_value, figure]).all()


def test_percentage_errors_are_fractions_unlike_keras(rng):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    y, p = rng.uniform(1, 2, (50, 3)), rng.uniform(1, 2, (50, 3))
    metric = metrics.MeanAbsolutePercentageError()
    metric.update(y, p)
    theirs = keras.metrics.MeanAbsolutePercentageError()
    assert 100 * metric.result() == pytest.approx(float(theirs(y, p)), rel=1e-5)  # in float32


def test_metrics_of_keras_are_reset_before_each_epoch(rng):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    x, y = rng.standard_normal((40, 4)), np.arange(40) % 3
    theirs = keras.metrics.SparseCategoricalAccuracy(name="theirs")
    entropy = keras.metrics.SparseCategoricalCrossentropy()
    model = with_rate_zero(
        3, "softmax", "sparse_categorical_crossentropy", ["accuracy", theirs, entropy]
    )
    history = model.fit(x[:25], y[:25], 8, 3, 0, validation_data=(x[25:], y[25:])).history
    for start in ("", "val_"):
        # Keras computes its metrics in float32.
        assert history[f"{start}theirs"] == pytest.approx(history[f"{start}accuracy"], rel=1e-6)
        own = history[f"{start}sparse_categorical_crossentropy"]
        assert own == pytest.approx(history[f"{start}loss"], rel=1e-6)
