"""Metrics of models that train: each walk gathers for itself, and what cannot fit is found first.

The networks are a `Dense` on values, trained at a learning rate of 0 where figures must not move.
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
    """How many different labels were seen; `reset` empties what is there, as users write it."""

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
    """Evaluates within every batch."""

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
    """One takes logits from a joined softmax, the other has probabilities behind mse alone."""
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


def test_what_was_compiled_is_left_as_it_was(data):
    x, y = data
    accuracy = metrics.SparseCategoricalAccuracy()
    accuracy.update([0, 1], [[0.9, 0.1], [0.9, 0.1]])
    classifier([accuracy]).evaluate(x, y, verbose=0)
    assert accuracy.result() == 0.5
    assert accuracy.fresh().result() == 0
