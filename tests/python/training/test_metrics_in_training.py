"""Metrics in training: separate state for each pass, and mismatches are found before training.

The models are a `Dense` on values, trained at a learning rate of 0 where figures must not change.
"""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers, losses, metrics, optimizers
from lstmcore.callbacks import Callback

ROWS = 40


def classifier(wanted=None, units=3, weighted=None, rate=0.0):
    model = lc.Sequential([layers.Dense(units, activation="softmax")], dtype="float64", seed=3)
    model.compile(
        optimizers.SGD(rate), "sparse_categorical_crossentropy", wanted, weighted_metrics=weighted
    )
    model.build((None, 4))
    return model


@pytest.fixture
def data(rng):
    return rng.standard_normal((ROWS, 4)), rng.integers(0, 3, ROWS)


class Seen(metrics.Metric):
    """Counts the different labels that were seen; `reset` clears the set in place, as users do."""

    labels = True
    default_name = "seen"

    def __init__(self, name=None):
        self.found, self.counts = set(), np.zeros(3)
        super().__init__(name)

    def reset(self):
        self.found.clear()
        self.counts[:] = 0

    def accumulate(self, targets, outputs, weights):
        self.found.update(targets.tolist())
        self.counts += np.bincount(targets, minlength=3)

    def result(self):
        return len(self.found) + self.counts.sum()


class Evaluates(Callback):
    """Evaluates the model during every batch."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def on_train_batch_end(self, batch, logs):
        self.model.evaluate(self.x, self.y, verbose=0)
        self.model.test_on_batch(self.x, self.y)


def test_evaluate_within_an_epoch_leaves_its_figures_alone(data):
    x, y = data
    names = ["accuracy", "f1", "auc", metrics.Function(bias, "bias"), Seen()]
    expected = classifier(names, weighted=["acc"]).fit(x, y, 8, shuffle=False, verbose=0)
    among = Evaluates(x[:5], y[:5])
    history = classifier(names, weighted=["acc"]).fit(
        x, y, 8, shuffle=False, verbose=0, callbacks=among
    )
    assert history.history == expected.history
    assert history.history["seen"] == [3 + ROWS]


def bias(y_true, y_pred):
    return float((y_pred.argmax(axis=-1) - y_true).mean())


def test_a_metric_may_be_compiled_into_several_models(data):
    """One model passes logits of a joined softmax, the other, with mse, probabilities."""
    x, y = data
    entropy = metrics.MeanLoss(losses.CategoricalCrossentropy(), "entropy")
    f1 = metrics.F1()
    hot = np.eye(3)[y]

    def made(loss, activation, shared):
        model = lc.Sequential([layers.Dense(3, activation=activation)], dtype="float64", seed=3)
        model.compile("sgd", loss, shared)
        model.build((None, 4))
        return model

    kinds = [("categorical_crossentropy", "softmax"), ("mse", "softmax")]
    alone = []
    for loss, activation in kinds:
        own = [metrics.MeanLoss(losses.CategoricalCrossentropy(), "entropy"), metrics.F1()]
        alone.append(made(loss, activation, own).evaluate(x, hot, verbose=0))
    models = [made(loss, activation, [entropy, f1]) for loss, activation in kinds]
    together = [model.evaluate(x, hot, verbose=0) for model in models]
    assert together == alone

    class Other(Callback):
        def on_train_batch_end(self, batch, logs):
            models[1].evaluate(x[:7], hot[:7], verbose=0)

    expected = made(*kinds[0], [entropy, f1]).fit(x, hot, 8, verbose=0)
    assert models[0].fit(x, hot, 8, verbose=0, callbacks=Other()).history == expected.history


def test_compiled_metrics_are_not_changed(data):
    x, y = data
    accuracy = metrics.SparseCategoricalAccuracy()
    accuracy.update([0, 1], [[0.9, 0.1], [0.9, 0.1]])
    classifier([accuracy]).evaluate(x, y, verbose=0)
    assert accuracy.result() == 0.5
    assert accuracy.fresh().result() == 0


# ---- functions that are objects ------------------------------------------------------------------


class Accumulates:
    """Like a Keras metric: accumulates its arguments until `reset_state`."""

    name = "gathered"

    def __init__(self):
        self.right = self.count = 0

    def reset_state(self):
        self.right = self.count = 0

    def __call__(self, y_true, y_pred):
        self.right += int((y_pred.argmax(axis=-1) == y_true).sum())
        self.count += len(y_true)
        return self.right / self.count


def test_objects_that_accumulate_are_reset(data):
    x, y = data
    model = classifier(["accuracy", Accumulates()])
    halves = (x[:25], y[:25]), (x[25:], y[25:])
    history = model.fit(*halves[0], 8, epochs=3, validation_data=halves[1], verbose=0).history
    assert len(set(history["accuracy"])) == 1  # the learning rate is 0
    # Both are the quotient of the same two integers.
    assert history["gathered"] == history["accuracy"]
    assert history["val_gathered"] == history["val_accuracy"]
    assert history["gathered"] != history["val_gathered"]


class LikeTorchmetrics:
    def __call__(self, preds, target):
        return 0.0

    update = compute = reset = __call__


def test_objects_that_take_predictions_first_are_refused():
    with pytest.raises(TypeError, match="takes predictions first; pass a function that resets it"):
        classifier([LikeTorchmetrics()])
    with pytest.raises(TypeError, match="got the class Accumulates; call it"):
        classifier([Accumulates])


# ---- mismatches ----------------------------------------------------------------------------------


def only_binary(y_true, y_pred, *, average="binary"):
    """Has the signature of scikit-learn's `f1_score`, and pretends to be in its module."""
    if average == "binary" and len(np.unique(y_true)) > 2:
        raise ValueError("Target is multiclass but average='binary'.")
    return 1.0


only_binary.__module__ = "sklearn.metrics._classification"

UNFIT = {
    # metric, units, loss, text of the error
    "top_k": ("top_k", 2, "sparse", "'top_k': k: expected at most 2, .* got 5"),
    "top_k of numbers": (metrics.TopK(1), 1, "mse", "'top_k': expected an output for each class"),
    "f1": (metrics.F1(average="binary"), 3, "sparse", "'f1': average: .* 3 classes"),
    "f1 of labels": (metrics.F1(average="binary"), 2, "binary", "'f1': average: .* 2 labels"),
    "accuracy": ("categorical_accuracy", 1, "binary", "'categorical_accuracy': expected an output"),
    "perplexity": ("perplexity", 1, "mse", "'perplexity': expected an output for each class"),
    "quantiles": (losses.Quantile([0.1, 0.9]), 3, "mse", "'quantile': loss: Quantile with 2"),
    "moments": ("gaussian_nll", 2, "mse", "'gaussian_nll': GaussianNLL with 2 .* 1 targets"),
    "function": (only_binary, 3, "sparse", "'only_binary': Target is multiclass"),
    "function of shares": (only_binary, 3, "categorical", "'only_binary': Target is multiclass"),
}
LOSSES = {
    "sparse": ("sparse_categorical_crossentropy", "softmax"),
    "categorical": ("categorical_crossentropy", "softmax"),
    "binary": ("binary_crossentropy", "sigmoid"),
    "mse": ("mse", None),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("built", [False, True])
def test_metrics_that_cannot_fit_are_found_before_a_step(case, built, rng):
    wanted, units, name, message = UNFIT[case]
    loss, activation = LOSSES[name]
    model = lc.Sequential([layers.Dense(units, activation)], dtype="float64")
    x, labels = rng.standard_normal((8, 4)), np.arange(8) % units
    y = labels if name == "sparse" else np.eye(max(units, 2))[labels][:, :units]
    message = f"^metrics: {message}"
    if built:
        model.build((None, 4))
        with pytest.raises(ValueError, match=message):
            model.compile("adam", loss, [wanted])
        assert not model.is_compiled
        return
    model.compile("adam", loss, [wanted])
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=message):
            call(x, y)
    assert not model.built
    assert model.optimizer.iterations == 0


def test_metrics_that_fit_are_tried_once(data):
    """A scikit-learn function is tried once; other functions are not called in advance."""
    calls = []

    def own(y_true, y_pred):
        calls.append(len(y_true))
        return 0.0

    def tried(y_true, y_pred):
        calls.append("tried")
        return 0.0

    tried.__module__ = "sklearn.metrics._classification"
    x, y = data
    model = classifier([own, tried])
    assert calls == []  # the number of outputs is known at the first batch
    model.train_on_batch(x, y)
    model.evaluate(x, y, verbose=0)
    assert calls == ["tried", ROWS, "tried", ROWS, "tried"]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (TypeError("no such thing"), TypeError, "no such thing"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "not ASCII"), ValueError, "not ASCII"),
        (KeyError("a"), RuntimeError, "KeyError: 'a'"),
    ],
)
def test_errors_of_functions_name_the_metric(data, error, kind, text):
    def fails(y_true, y_pred):
        raise error

    with pytest.raises(kind, match=f"^metrics: 'fails': .*{text}") as caught:
        classifier([fails]).evaluate(*data, verbose=0)
    assert caught.value.__cause__ is error
