"""Errors about what is often meant: each says what to write instead."""

import numpy as np
import pytest

import lstmcore as lc

N, T, C = 24, 5, 3
X = np.random.default_rng(0).normal(size=(N, T, C))
Z = X.sum((1, 2))
Y = np.digitize(Z, [-2, 2])


def regressor(loss="mse", metrics=None, **options):
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(1)])
    model.compile("sgd", loss, metrics, **options)
    return model


def classifier(metrics=None, weighted=None):
    model = lc.Sequential([lc.layers.LSTM(3), lc.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics, weighted)
    return model


# ---- metrics ------------------------------------------------------------------------------------


def test_the_same_metric_with_and_without_weights():
    weights = np.where(Y == 0, 2.0, 0.5)
    model = classifier(["accuracy", "f1_macro"], ["accuracy", lc.metrics.F1("own"), "f1_macro"])
    names = ["accuracy", "f1_macro", "weighted_accuracy", "own", "weighted_f1_macro"]
    history = model.fit(X, Y, sample_weight=weights, verbose=0).history
    assert list(history) == ["loss", *names]
    hits = model.predict(X, verbose=0).argmax(axis=1) == Y
    results = model.evaluate(X, Y, sample_weight=weights, return_dict=True, verbose=0)
    assert results["accuracy"] == pytest.approx(hits.mean(), rel=1e-15)
    expected = (hits * weights).sum() / weights.sum()
    assert results["weighted_accuracy"] == pytest.approx(expected, rel=1e-15)


def test_weighted_names_are_kept_in_files(tmp_path):
    model = classifier(["accuracy"], ["accuracy"])
    model.build((None, T, C))
    model.save(tmp_path / "model.safetensors")
    metrics = lc.load(tmp_path / "model.safetensors").compiled.metrics
    assert [metric.name for metric in metrics] == ["accuracy", "weighted_accuracy"]


@pytest.mark.parametrize(
    ("metrics", "weighted"),
    [
        (["accuracy", "accuracy"], None),
        (None, ["accuracy", "accuracy"]),
        ([lc.metrics.F1("a")], [lc.metrics.F1("a")]),  # a name that the user chose is not changed
    ],
)
def test_names_that_stand_twice(metrics, weighted):
    with pytest.raises(ValueError, match="metrics: expected different names, got"):
        classifier(metrics, weighted)


def test_lambdas_need_a_name():
    with pytest.raises(ValueError, match=r"a lambda, .* write lstmcore.metrics.Function\("):
        regressor(metrics=[lambda y, p: 0.0])
    with pytest.raises(ValueError, match=r"a lambda, .* write lstmcore.losses.Function\("):
        lc.losses.Function(lambda y, p: 0.0, lambda y, p: 0.0)


# ---- losses, layers, epochs ---------------------------------------------------------------------


def test_negative_rates():
    model = regressor("poisson")
    with pytest.raises(
        ValueError, match=r"Poisson expects .* got -.*Poisson\(log_rate=True\)"
    ) as e:
        model.fit(X, np.ones(N), verbose=0)
    assert "relu" not in str(e.value)


@pytest.mark.parametrize("place", [0, -1, np.int64(1)])
def test_places_of_layers(place):
    model = regressor()
    with pytest.raises(
        TypeError, match=f"^name: expected a str, got {place}; for a place write index={place}$"
    ):
        model.get_layer(place)
    assert model.get_layer(index=place) is model.layers[place]


def test_epochs_before_the_first():
    model = regressor()
    message = "initial_epoch: .* got 5 with epochs=2, .* for 2 more epochs pass epochs=7"
    with pytest.raises(ValueError, match=message):
        model.fit(X, Z, epochs=2, initial_epoch=5, verbose=0)
    assert not model.built
    assert model.fit(X, Z, epochs=7, initial_epoch=5, verbose=0).epoch == [5, 6]


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_a_training_that_is_over_says_so(verbose, capsys):
    """As when a program that resumes is run once more."""
    model = regressor()
    model.fit(X, Z, epochs=2, verbose=0)
    before = model.get_weights()
    history = model.fit(X, Z, epochs=2, initial_epoch=model.epoch, verbose=verbose)
    assert history.epoch == []
    assert all(map(np.array_equal, before, model.get_weights()))
    line = "Trained 0 epochs: epoch 2 is reached already\n"
    assert capsys.readouterr().out == (line if verbose else "")


@pytest.mark.parametrize("kind", ["layer", "metric"])
def test_classes_of_your_own(kind, tmp_path):
    class Mine(lc.layers.Dense if kind == "layer" else lc.metrics.MeanSquaredError):
        """As its base."""

    layer = Mine(1) if kind == "layer" else lc.layers.Dense(1)
    model = lc.Sequential([lc.layers.LSTM(3), layer])
    model.compile("sgd", "mse", [Mine()] if kind == "metric" else None)
    model.build((None, T, C))
    model.save(tmp_path / "model.safetensors")
    message = "unknown class 'Mine'; known are .*custom_objects={'Mine': Mine}$"
    with pytest.raises(ValueError, match=message):
        lc.load(tmp_path / "model.safetensors")
    lc.load(tmp_path / "model.safetensors", custom_objects={"Mine": Mine})
