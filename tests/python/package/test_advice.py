"""Errors for common mistakes: each says what to write instead."""

from pathlib import Path

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


def test_weighted_names_are_stored_in_files(tmp_path):
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
        ([lc.metrics.F1("a")], [lc.metrics.F1("a")]),  # a name chosen by the user is not changed
    ],
)
def test_names_that_appear_twice(metrics, weighted):
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
def test_positions_of_layers(place):
    model = regressor()
    with pytest.raises(
        TypeError, match=f"^name: expected a str, got {place}; for a position write index={place}$"
    ):
        model.get_layer(place)
    assert model.get_layer(index=place) is model.layers[place]


def test_an_initial_epoch_after_the_last():
    model = regressor()
    message = "initial_epoch: .* got 5 with epochs=2, .* for 2 more epochs pass epochs=7"
    with pytest.raises(ValueError, match=message):
        model.fit(X, Z, epochs=2, initial_epoch=5, verbose=0)
    assert not model.built
    assert model.fit(X, Z, epochs=7, initial_epoch=5, verbose=0).epoch == [5, 6]


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_a_training_that_has_ended_says_so(verbose, capsys):
    """As when a program that resumes training is run again."""
    model = regressor()
    model.fit(X, Z, epochs=2, verbose=0)
    before = model.get_weights()
    history = model.fit(X, Z, epochs=2, initial_epoch=model.epoch, verbose=verbose)
    assert history.epoch == []
    assert all(map(np.array_equal, before, model.get_weights()))
    line = "Trained 0 epochs: epoch 2 has already been reached\n"
    assert capsys.readouterr().out == (line if verbose else "")


@pytest.mark.parametrize("kind", ["layer", "metric"])
def test_classes_of_your_own(kind, tmp_path):
    class Mine(lc.layers.Dense if kind == "layer" else lc.metrics.MeanSquaredError):
        """The same as its base."""

    layer = Mine(1) if kind == "layer" else lc.layers.Dense(1)
    model = lc.Sequential([lc.layers.LSTM(3), layer])
    model.compile("sgd", "mse", [Mine()] if kind == "metric" else None)
    model.build((None, T, C))
    model.save(tmp_path / "model.safetensors")
    message = "unknown class 'Mine'; known are .*custom_objects={'Mine': Mine}$"
    with pytest.raises(ValueError, match=message):
        lc.load(tmp_path / "model.safetensors")
    lc.load(tmp_path / "model.safetensors", custom_objects={"Mine": Mine})


# ---- x and y ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(X, Z), [X, Z], (X.tolist(), Z.tolist()), [X, Z.tolist()]])
def test_a_pair_that_should_be_two_arguments(pair):
    kind = type(pair).__name__
    message = (
        rf"^y: expected targets, got None alongside x that is a {kind} of 2; pass x and y as two "
        r"arguments: fit\(x, y\)$"
    )
    model = regressor()
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=message):
            call(pair)
    with pytest.raises(ValueError, match=r"of 3; pass x, y .*fit\(x, y, sample_weight=weights\)"):
        model.fit((*pair, np.ones(N)))
    assert not model.built


def test_a_pair_of_sequences():
    model = lc.EncoderDecoder(6, 6, units=2, embedding_size=2)
    model.compile()
    with pytest.raises(ValueError, match=r"pass x and y as two arguments: fit\(x, y\)"):
        model.fit(([[3], [4]], [[5], [3]]))


def test_two_rows_without_targets_and_batches_are_not_pairs():
    model = regressor()
    with pytest.raises(ValueError, match="^y: expected targets, got None$"):
        model.fit(X)
    model.fit([(X, Z), (X, Z)], verbose=0)
    model.fit(X, Z, validation_data=[X, Z], verbose=0)


def test_inputs_without_an_axis():
    channels = r"; for N sequences of one value at each step pass x\[..., None\] .*x\.to_numpy\(\)"
    single = r", for a single sample pass x\[None\]$"
    with pytest.raises(ValueError, match=r"\(N, T, C\), got \(N, 5\)" + channels + ".*" + single):
        regressor().fit(X[:, :, 0], Z, verbose=0)
    with pytest.raises(ValueError, match=r"got \(N, 5\)" + channels):
        lc.layers.LSTM(2)(X[:, :, 0])
    with pytest.raises(
        ValueError, match=r"got \(5\)?.*; for a single sequence .*x\[None, :, None\]"
    ):
        regressor().fit(X[0, :, 0], Z, verbose=0)
    regressor().fit(X[:, :, 0][..., None], Z, verbose=0)


def test_inputs_without_an_axis_of_a_built_model():
    model = regressor()
    model.fit(X, Z, verbose=0)
    single = r"\(N, T, 3\), got \(5, 3\); for a single sample pass x\[None\]$"
    for call in (model.predict, model, model.layers[0]):
        with pytest.raises(ValueError, match=single):
            call(X[0])
    model.predict(X[0][None], verbose=0)
    with pytest.raises(ValueError, match=r"got \(24, 4\)$"):  # neither
        model.predict(np.zeros((N, 4)))
    one = regressor()
    one.fit(X[..., :1], Z, verbose=0)
    for x in (X[:, :, 0], X[:, :2, 0]):
        with pytest.raises(ValueError, match=r"; for N sequences of one value at each step pass"):
            one.predict(x)
    with pytest.raises(ValueError, match=r"got \(5, 1\); for a single sample pass"):
        one.predict(X[0, :, :1])
    ids = lc.Sequential([lc.layers.Embedding(9, 2), lc.layers.LSTM(2)])
    ids.build((None, None))
    with pytest.raises(ValueError, match=r"\(N, T\), got \(3,\); for a single sample pass"):
        ids.predict(np.array([1, 2, 3]))


@pytest.mark.parametrize("between", [[], [lc.layers.Dropout(0.1)]])
@pytest.mark.parametrize(
    ("first", "name"),
    [
        (lambda: lc.layers.LSTM(3), "lstm"),
        (lambda: lc.layers.Bidirectional(lc.layers.LSTM(3)), "bidirectional"),
    ],
)
def test_stacked_layers_without_sequences(first, name, between):
    layers = [first(), *[layer.copy() for layer in between], lc.layers.LSTM(2)]
    message = rf"\(N, T, C\), got \(N, \d\); layer '{name}' returns .*return_sequences=True"
    with pytest.raises(ValueError, match=message):
        lc.Sequential(layers).predict(X)


def test_too_few_axes_that_no_layer_removed():
    with pytest.raises(ValueError, match=r"layer 'lstm': .* got \(N, 4\)$"):
        lc.Sequential([lc.layers.Dense(4), lc.layers.LSTM(2)]).predict(X[:, 0])


STEPS = np.random.default_rng(1).integers(0, 3, (N, T))


def tagger(units=3, loss="sparse_categorical_crossentropy", **options):
    model = lc.Sequential(
        [
            lc.layers.LSTM(3, return_sequences=True),
            lc.layers.Dense(units, activation="softmax" if units > 1 else None),
        ]
    )
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (tagger(), Y),
        (tagger(), Y[:, None]),
        (tagger(1, "mse"), Z),
        (tagger(1, "mse"), Z[:, None]),
        (tagger(3, "mse"), np.eye(3)[Y]),
        (tagger(3, "categorical_crossentropy"), np.eye(3)[Y]),
    ],
)
def test_a_target_for_each_sequence_where_outputs_have_steps(model, y):
    message = r"^y: expected shape \(N, T.*, got \(24.*each sequence, .*return_sequences=False"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, verbose=0)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (classifier(), STEPS),
        (classifier(), STEPS[..., None]),
        (regressor(), X[:, :, 0]),
        (regressor(), X[:, :, :1]),
    ],
)
def test_targets_for_each_step_where_outputs_have_none(model, y):
    message = r"^y: expected shape \(N.*, got \(24, 5.*each step, .*return_sequences=True"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, verbose=0)


def test_other_shapes_get_no_such_advice():
    for model, y in ((classifier(), STEPS[:, :2]), (regressor(), X[:, :2, 0])):
        with pytest.raises(ValueError, match=r"got \(24, 2\)$"):
            model.fit(X, y, verbose=0)
    with pytest.raises(ValueError, match=r"got \(24, 2, 3\)|time steps"):
        tagger(3, "mse").fit(X, X[:, :2], verbose=0)


# ---- text ---------------------------------------------------------------------------------------

TEXTS = ["a b", "c", "b b a"]


def reader():
    layers = [lc.layers.Embedding(9, 2), lc.layers.LSTM(2), lc.layers.Dense(1)]
    model = lc.Sequential(layers)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    "x",
    [
        TEXTS,
        np.array(TEXTS),
        np.array(TEXTS, object),
        [text.split() for text in TEXTS],
        np.array(TEXTS).astype("S"),
    ],
)
def test_texts_as_inputs(x):
    message = (
        r"^x(\[0\])?: expected numbers, got .*TextVectorization turns texts into ids.*Embedding"
    )
    for call in (lambda: reader().fit(x, [1, 2, 3]), lambda: reader().predict(x)):
        with pytest.raises(TypeError, match=message) as info:
            call()
        assert "numpy.unique" not in str(info.value)


def test_the_advice_on_texts_works():
    words = lc.layers.TextVectorization()
    words.adapt(TEXTS)
    reader().fit(words(TEXTS), [1, 2, 3], verbose=0)
    model = lc.Sequential([words, lc.layers.Embedding(9, 2), lc.layers.LSTM(2)])
    assert model.predict(TEXTS, verbose=0).shape == (3, 2)


@pytest.mark.parametrize("texts", [TEXTS, [["a"], ["b"], ["c"]], np.array(TEXTS, object)])
def test_texts_of_pairs(texts):
    model = lc.EncoderDecoder(6, 6, units=2, embedding_size=2)
    model.compile()
    ids = [[3], [4], [5]]
    calls = {
        "x": (lambda: model.fit(texts, ids), lambda: model.predict(texts)),
        "y": (lambda: model.fit(ids, texts), lambda: model.log_probabilities(ids, texts)),
    }
    for name, each in calls.items():
        for call in each:
            with pytest.raises(TypeError, match=rf"^{name}: .* got text; .*=TextVectorization\(\)"):
                call()


@pytest.mark.parametrize("file", ["data.csv", Path("data.csv"), Path("data")])
def test_files_as_data(file):
    message = r": expected .*; read the file first, with numpy.load, or pandas.read_csv"
    model = regressor()
    for call in (lambda: model.fit(file, Z), lambda: model.predict(file), lambda: model.fit(file)):
        with pytest.raises(TypeError, match="^x" + message):
            call()
    with pytest.raises(TypeError, match="^y" + message):
        model.fit(X, file)


def test_single_texts_digits_and_names_of_classes():
    with pytest.raises(TypeError, match="got 'hello' .*pass an array, or a list of samples$"):
        reader().predict("hello")
    message = r"convert digits to numbers with numpy.asarray\(x, dtype=float\)$"
    with pytest.raises(TypeError, match=message):
        regressor().fit(X.astype(str), Z)
    np.testing.assert_array_equal(np.asarray(X.astype(str), dtype=float), X)
    for names in (np.array(list("abc"))[Y], np.array(list("abc"), object)[Y]):
        with pytest.raises(TypeError, match="^y: .*for classes numpy.unique"):
            classifier().fit(X, names)


def test_columns_of_text():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "shop": ["north", "south"]})
    model = lc.Sequential([lc.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"column 'shop': .*leave the column out, or .*get_dummies"):
        model.fit(frame, [1, 2])


def test_errors_name_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, np.nan, 2.0]})
    good = frame.fillna(0.0)
    model = lc.Sequential([lc.layers.Dense(2)])
    model.compile("sgd", "mse")
    for call in (lambda: model.fit(frame, good), lambda: model.predict(frame)):
        with pytest.raises(ValueError, match=r"^x\[1, 'b'\] is nan"):
            call()
    with pytest.raises(ValueError, match=r"^y\[1, 'b'\] is nan.* give it sample_weight 0"):
        model.fit(good, frame)
    sequences = lc.Sequential([lc.layers.LSTM(2, return_sequences=True)])
    sequences.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"^x\[1\]\[1, 'b'\] is nan"):
        sequences.fit([good, frame], [good, good])
    with pytest.raises(ValueError, match=r"^y\[1\]\[1, 'b'\] is nan"):
        sequences.fit([good, good], [good, frame])
    with pytest.warns(RuntimeWarning, match=r"the first is x\[0, 'a'\] = 1e\+300"):
        model.predict(good.replace(1.0, 1e300), verbose=0)
    numbered = pandas.DataFrame(frame.to_numpy())  # with default column names
    with pytest.raises(ValueError, match=r"^x\[1, 1\] is nan"):
        model.predict(numbered)


def test_a_single_sample_of_a_graph_is_named_as_the_caller_passed_it():
    steps, static = lc.Input((None, 2), name="steps"), lc.Input((3,), name="static")
    both = lc.layers.Concatenate()([lc.layers.LSTM(4)(steps), static])
    model = lc.Model([steps, static], lc.layers.Dense(1)(both))
    x, s = np.zeros((4, 5, 2)), np.zeros((4, 3))
    message = r"^x\['steps'\]: .*got \(5, 2\); for a single sample pass x{}\[None\]$"
    for call in (model.predict, model):
        with pytest.raises(ValueError, match=message.format(r"\['steps'\]")):
            call({"steps": x[0], "static": s[0]})
        with pytest.raises(ValueError, match=message.format(r"\[0\]")):
            call([x[0], s[0]])
    with pytest.raises(
        ValueError, match=r"got \(3,\); for a single sample pass x\['static'\]\[None\]"
    ):
        model.predict({"static": s[0], "steps": x})
    model.predict({"steps": x[0][None], "static": s[0][None]}, verbose=0)
    one = lc.Model(steps, lc.layers.LSTM(4)(steps))
    with pytest.raises(ValueError, match=r"^x: .*; for a single sample pass x\['steps'\]\[None\]$"):
        one.predict({"steps": x[0]})
    with pytest.raises(ValueError, match=r"; for a single sample pass x\[None\]$"):
        one.predict(x[0])


def test_a_single_source_of_an_encoder_decoder():
    single = r"got \(5, 3\); for a single sample pass x\[None\]$"
    steps = lc.EncoderDecoder(target_vocabulary=6, source_features=3, units=2)
    for call in (steps.predict, steps.decode, lambda x: lc.explain.trace(steps, x)):
        with pytest.raises(ValueError, match=single):
            call(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"got \(5, 2\)$"):  # neither
        steps.predict(np.zeros((5, 2)))
    vector = lc.EncoderDecoder(target_vocabulary=6, source_vector=3, units=2)
    with pytest.raises(ValueError, match=r"got \(3,\); for a single sample pass x\[None\]$"):
        vector.predict(np.zeros(3))
    ids = lc.EncoderDecoder(5, 6, units=2)
    with pytest.raises(ValueError, match=r"got shape \(3,\); for a single row pass \[x\]$"):
        ids.predict([3, 4, 3])
