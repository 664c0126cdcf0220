"""Metrics of compiled models: names, weights, masks, logs and files."""

import math

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore.training import losses, metrics
from metric_kit import ROWS, Spy, bias, in_batches, weighted_bias

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


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("sparse_categorical_crossentropy", metrics.SparseCategoricalAccuracy),
        ("categorical_crossentropy", metrics.CategoricalAccuracy),
        ("binary_crossentropy", metrics.BinaryAccuracy),
    ],
)
def test_accuracy_fits_the_loss(loss, expected):
    found = metrics.get("accuracy", losses.get(loss))
    assert type(found) is expected
    assert found.name == "accuracy"


def test_accuracy_of_binary_logits_is_taken_at_zero():
    model = lc.Sequential([layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", losses.BinaryCrossentropy(from_logits=True), ["accuracy"])
    x = np.float32([[-1], [0.2], [3]])
    assert model.evaluate(x, [0, 1, 0], verbose=0)[1] == pytest.approx(2 / 3)


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
