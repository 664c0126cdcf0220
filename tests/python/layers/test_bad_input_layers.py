"""Wrong arguments of layers and models: the error names them, and nothing changes."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers, losses, metrics, optimizers, schedules

X = np.zeros((4, 5, 3), np.float32)
IDS = np.ones((4, 5), int)
LABELS = np.array([0, 1, 1, 0])


def text_layer():
    return layers.TextVectorization(vocabulary=["a"])


CONSTRUCTORS = {
    "units 0": (lambda: layers.LSTM(0), ValueError, "units: expected an integer of at least 1"),
    "units float": (lambda: layers.LSTM(2.5), TypeError, "units: expected an integer, got 2.5"),
    "units bool": (lambda: layers.Dense(True), TypeError, "units: expected an integer"),
    "units str": (lambda: layers.Dense("4"), TypeError, "units: expected an integer"),
    "activation": (lambda: layers.Dense(2, activation="celu"), ValueError, "activation: .*'relu'"),
    "rate 1": (lambda: layers.Dropout(1.0), ValueError, r"rate: expected a number in \[0, 1\)"),
    "rate nan": (lambda: layers.Dropout(float("nan")), ValueError, "rate: expected"),
    "rate str": (lambda: layers.Dropout("0.5"), TypeError, "rate: expected a number"),
    "both names": (
        lambda: layers.LSTM(2, dropout=0.1, input_dropout=0.2),
        ValueError,
        "dropout: expected 0 alongside input_dropout=0.2",
    ),
    "merge": (
        lambda: layers.Bidirectional(layers.LSTM(2), merge_mode="both"),
        ValueError,
        "merge_mode: expected one of 'concat'",
    ),
    "both backwards": (
        lambda: layers.Bidirectional(layers.LSTM(2, go_backwards=True)),
        ValueError,
        "go_backwards=False",
    ),
    "both dense": (lambda: layers.Bidirectional(layers.Dense(2)), TypeError, "layer: expected"),
    "both twice": (
        lambda: layers.Bidirectional(layers.Bidirectional(layers.LSTM(2))),
        TypeError,
        "layer: expected an LSTM, RNN or SimpleRNN",
    ),
    "cell": (lambda: layers.RNN(layers.Dense(2)), TypeError, "cell: expected an LSTMCell"),
    "cells": (
        lambda: layers.RNN([layers.LSTMCell(2), layers.LSTMCell(3)]),
        ValueError,
        r"same units, got \[2, 3\]",
    ),
    "no cell": (lambda: layers.RNN([]), TypeError, "cell: expected"),
    "same cell": (
        lambda: layers.RNN([layers.LSTMCell(2)] * 2),
        ValueError,
        "same one twice",
    ),
    "initializer": (
        lambda: layers.LSTM(2, kernel_initializer="normal"),
        ValueError,
        "kernel_initializer: expected one of 'glorot_normal'",
    ),
    "regularizer": (
        lambda: layers.Dense(2, kernel_regularizer=-1.0),
        ValueError,
        "kernel_regularizer: expected a number",
    ),
    "name": (lambda: layers.Dense(2, name="a.b"), ValueError, "name: .* without dots"),
    "vocabulary": (lambda: layers.Embedding(0, 2), ValueError, "input_dim: expected"),
    "wrapped": (lambda: layers.TimeDistributed(3), TypeError, "layer: expected a layer"),
    "tokens": (
        lambda: layers.TextVectorization(vocabulary=["a", "a"]),
        ValueError,
        "vocabulary: expected different tokens",
    ),
    "not a sequence of tokens": (
        lambda: layers.TextVectorization(vocabulary={"a": 2}),
        TypeError,
        "vocabulary: expected a sequence of strings",
    ),
    "cell in a model": (
        lambda: lc.Sequential([layers.LSTMCell(2)]),
        TypeError,
        r"LSTMCell: computes one step; .* lc.layers.RNN\(cell\)",
    ),
    "too many tokens": (
        lambda: layers.TextVectorization(max_tokens=3, vocabulary=["a", "b"]),
        ValueError,
        "vocabulary: expected at most 1 tokens",
    ),
    "input": (lambda: layers.Input(3), TypeError, "shape: expected a sequence"),
    "rate below 0": (lambda: optimizers.Adam(-1), ValueError, "learning_rate: expected"),
    "beta": (lambda: optimizers.Adam(beta_1=1.0), ValueError, "beta_1: expected"),
    "two clips": (
        lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0),
        ValueError,
        "clipnorm and clipvalue: expected at most one",
    ),
    "clip 0": (lambda: optimizers.SGD(clipnorm=0.0), ValueError, "clipnorm: expected"),
    "steps": (lambda: schedules.CosineDecay(0.1, 0), ValueError, "decay_steps: expected"),
    "mode": (lambda: callbacks.EarlyStopping(mode="up"), ValueError, "mode: expected one of"),
    "patience": (lambda: callbacks.EarlyStopping(patience=-1), ValueError, "patience: expected"),
    "function": (lambda: callbacks.LambdaCallback(3), TypeError, "on_epoch_begin: expected"),
    "metric name": (lambda: metrics.MeanSquaredError(name=""), ValueError, "name: expected"),
    "dtype": (lambda: lc.Sequential(dtype="float16"), ValueError, "dtype: .* got 'float16'"),
    "no layer": (lambda: lc.Sequential([3]), TypeError, "layers: expected layers, got 3"),
    "twice": (
        lambda: lc.Sequential([layer := layers.Dense(2), layer]),
        ValueError,
        "appears twice",
    ),
    "name twice": (
        lambda: lc.Sequential([layers.Dense(2, name="a"), layers.Dense(2, name="a")]),
        ValueError,
        "the name 'a' is taken",
    ),
    "reserved name": (
        lambda: lc.Sequential([layers.Dense(2, name="optimizer")]),
        ValueError,
        "the name 'optimizer' is taken",
    ),
    "input of text": (
        lambda: lc.Sequential([layers.Input((None,)), text_layer()]),
        ValueError,
        "no Input may come before them",
    ),
    "state of a step": (
        lambda: layers.TimeDistributed(layers.LSTM(2, return_state=True)),
        ValueError,
        "layer: expected return_state=False",
    ),
    "flag": (
        lambda: layers.LSTM(2, return_sequences="no"),
        TypeError,
        "return_sequences: expected True or False, got 'no'",
    ),
    "flag of a loss": (
        lambda: losses.BinaryCrossentropy(from_logits=1),
        TypeError,
        "from_logits: expected True or False",
    ),
    "Keras' second argument": (lambda: layers.LSTM(2, "tanh"), TypeError, "positional"),
    "Keras' second of a cell": (lambda: layers.LSTMCell(2, "tanh"), TypeError, "positional"),
    "Keras' noise_shape": (lambda: layers.Dropout(0.5, None), TypeError, "positional"),
    "Keras' weight_decay": (lambda: optimizers.SGD(0.1, 0.9, True, 0.1), TypeError, "positional"),
    "Keras' verbose": (
        lambda: callbacks.EarlyStopping("loss", 0.0, 1, 1),
        TypeError,
        "positional",
    ),
    "projection wider than units": (
        lambda: layers.LSTM(8, proj_size=9),
        ValueError,
        "proj_size: expected 0 to units, 8, got 9",
    ),
    "unknown activation": (
        lambda: layers.LSTM(2, activation="swish"),
        ValueError,
        "expected one of 'sigmoid', 'tanh', 'relu'",
    ),
    "bias not a flag": (
        lambda: layers.LSTMCell(2, use_bias=1),
        TypeError,
        "bias: expected",
    ),
    "recurrent dropout": (
        lambda: layers.LSTM(2, recurrent_dropout=1.0),
        ValueError,
        "recurrent_dropout: expected a number in",
    ),
    "other constraint": (
        lambda: layers.LSTM(2, kernel_constraint="unit_norm"),
        ValueError,
        "kernel_constraint: expected",
    ),
    "no constraint": (
        lambda: layers.Dense(2, bias_constraint=2.0),
        TypeError,
        "bias_constraint: expected a MaxNorm",
    ),
    "constraint to zero": (
        lambda: lc.constraints.MaxNorm(0.0),
        ValueError,
        "max_value: expected a number in",
    ),
    "unknown": (
        lambda: layers.LSTM(2, surprise=1),
        TypeError,
        "LSTM: unexpected argument 'surprise'",
    ),
    "many layers": (
        lambda: layers.LSTM(2, num_layers=10**13),
        ValueError,
        "num_layers: expected an integer of at most 4096",
    ),
    "reserved for callbacks": (
        lambda: lc.Sequential([layers.Dense(2, name="callbacks")]),
        ValueError,
        "the name 'callbacks' is taken",
    ),
    "late input": (
        lambda: lc.Sequential([layers.Dense(2), layers.Input((3,))]),
        ValueError,
        "Input must come first",
    ),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructors(name):
    make, kind, message = CONSTRUCTORS[name]
    with pytest.raises(kind, match=message):
        make()


CALLS = {
    "rank": (
        lambda: layers.LSTM(2)(X[0]),
        ValueError,
        r"LSTM: expected inputs of shape \(N, T, C\)",
    ),
    "complex": (lambda: layers.Dense(2)(X + 1j), TypeError, "inputs: .* got complex numbers"),
    "strings": (lambda: layers.Dense(2)([["1"]]), TypeError, "inputs: expected numbers, got str"),
    "float ids": (
        lambda: layers.Embedding(5, 2)([[1.0, 1.5]]),
        ValueError,
        r"inputs: expected whole numbers, but inputs\[0, 1\] is 1.5",
    ),
    "ids above": (
        lambda: layers.Embedding(5, 2)([[1, 5]]),
        ValueError,
        r"token ids in 0..4 .* got 5 at \(0, 1\)",
    ),
    "ids below": (lambda: layers.Embedding(5, 2)([[-1]]), ValueError, "got -1"),
    "padding in the middle": (
        lambda: layers.Embedding(5, 2, mask_zero=True)([[1, 2], [0, 1]]),
        ValueError,
        "mask_zero=True.* row 1",
    ),
    "padding in the middle, ragged": (
        lambda: lc.Sequential([layers.Embedding(5, 2, mask_zero=True)]).predict([[1], [1, 0, 1]]),
        ValueError,
        "mask_zero=True.* row 1",
    ),
    "lengths count": (lambda: layers.LSTM(2)(X, lengths=[1]), ValueError, r"expected shape \(4,\)"),
    "lengths above": (
        lambda: layers.LSTM(2)(X, lengths=[1, 2, 6, 1]),
        ValueError,
        "lengths: expected 0..5, got 6 in row 2",
    ),
    "lengths below": (lambda: layers.LSTM(2)(X, lengths=[1, -2, 5, 1]), ValueError, "got -2"),
    "lengths float": (lambda: layers.LSTM(2)(X, lengths=[1.5] * 4), ValueError, "lengths: expec"),
    "lengths bool": (lambda: layers.LSTM(2)(X, lengths=[True] * 4), TypeError, "lengths: .* bool"),
    "lengths without a time axis": (
        lambda: layers.Dropout(0.1)(np.zeros(3), lengths=[1]),
        ValueError,
        "no time axis",
    ),
    "state": (
        lambda: layers.LSTM(2)(X, initial_state=np.zeros((4, 2), np.float32)),
        TypeError,
        r"initial_state: expected a pair \(h, c\)",
    ),
    "state shape": (
        lambda: layers.LSTM(2)(X, initial_state=(np.zeros((4, 3), np.float32),) * 2),
        ValueError,
        "expected",
    ),
    "state type": (
        lambda: layers.LSTM(2)(X, initial_state=(np.full((4, 2), "a"),) * 2),
        TypeError,
        "initial_state h: expected numbers, got strings",
    ),
    "one text": (lambda: text_layer()("a b"), TypeError, "a single one; put it in a list"),
    "no text": (
        lambda: text_layer()(["a", 3]),
        TypeError,
        r"texts\[1\]: expected a string, .*got 3",
    ),
    "not adapted": (lambda: layers.TextVectorization()(["a"]), ValueError, "call adapt"),
    "nothing to adapt": (
        lambda: layers.TextVectorization().adapt(["", "!?"]),
        ValueError,
        "at least one token",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    call, kind, message = CALLS[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_layer_keeps_its_width_and_type():
    layer = layers.Dense(2)
    layer(X)
    with pytest.raises(ValueError, match=r"inputs: expected shape \(N, T, 3\), got \(4, 5, 2\)"):
        layer(X[..., :2])
    assert layer(X.astype(np.float64)).dtype == np.float32
    kernel = layer.get_weights()[0]
    with pytest.raises(ValueError, match="expected 2 arrays"):
        layer.set_weights([kernel])
    with pytest.raises(ValueError, match=r"bias: expected shape \(2,\), got \(3,\)"):
        layer.set_weights([kernel + 1, np.zeros(3, np.float32)])
    np.testing.assert_array_equal(layer.get_weights()[0], kernel)


MODELS = {
    "returned state": ([layers.LSTM(2, return_state=True)], X, "return_state=True is for calling"),
    "late ids": ([layers.Dense(2), layers.Embedding(3, 2)], X, "takes token ids"),
    "late text": ([layers.Dense(2), text_layer()], X, "must come first"),
    "text alone": ([text_layer()], ["a"], "no layers|at least one layer"),
    "text to values": ([text_layer(), layers.Dense(2)], ["a"], "expected an Embedding"),
    "no time": ([layers.LSTM(2), layers.LSTM(2)], X, "layer 'lstm_1': LSTM: expected inputs"),
    "cell": ([layers.LSTMCell(2)], X[:, 0], r"wrap it: lc.layers.RNN\(cell\)"),
}


@pytest.mark.parametrize("name", MODELS)
def test_layers_that_do_not_fit(name):
    network, x, message = MODELS[name]
    with pytest.raises((ValueError, TypeError), match=message):
        lc.Sequential(network).predict(x)


def test_a_layer_belongs_to_one_model():
    layer = layers.Dense(2)
    lc.Sequential([layer]).predict(X)
    with pytest.raises(ValueError, match="belongs to another model"):
        lc.Sequential([layer]).predict(X)


def classifier(**options):
    model = lc.Sequential([layers.LSTM(4), layers.Dense(2, activation="softmax")], **options)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.build((None, None, 3))
    return model


FITS = {
    "x type": ({"x": X.astype(str)}, TypeError, "x: expected numbers, got strings"),
    "x rank": ({"x": X[0]}, ValueError, r"expected shape \(N, T, 3\), got \(5, 3\)"),
    "x width": ({"x": X[..., :2]}, ValueError, r"expected shape \(N, T, 3\), got \(4, 5, 2\)"),
    "x ragged types": (
        {"x": [X[0], X[1].astype(complex), X[2], X[3]]},
        TypeError,
        r"x\[1\]: expected numbers, got complex numbers",
    ),
    "x ragged widths": ({"x": [X[0], X[1][:, :2], X[2], X[3]]}, ValueError, "all rows alike"),
    "x uneven": ({"x": [[[1.0], [1.0, 2.0]]]}, ValueError, "x: .* uneven lists"),
    "no samples": ({"x": X[:0], "y": LABELS[:0]}, ValueError, "x: expected at least one sample"),
    "no targets": ({"y": None}, ValueError, "y: expected targets, got None"),
    "labels above": ({"y": [0, 1, 2, 0]}, ValueError, "y: expected labels in 0..1 .* got 2"),
    "labels below": ({"y": [0, 1, -1, 0]}, ValueError, "y: expected labels in 0..1 .* got -1"),
    "labels float": ({"y": [0.0, 1.5, 1, 0]}, ValueError, r"y: expected whole .* y\[1\] is 1.5"),
    "labels count": ({"y": [0, 1]}, ValueError, "y: expected 4 entries like x, got 2"),
    "labels shape": ({"y": np.eye(2, dtype=int)[LABELS]}, ValueError, r"y: expected shape \(N,\)"),
    "weights count": ({"sample_weight": [1.0]}, ValueError, "sample_weight: expected 4 entries"),
    "weights shape": (
        {"sample_weight": np.ones((4, 5))},
        ValueError,
        r"sample_weight: expected shape \(N,\)",
    ),
    "weights below": ({"sample_weight": [1, 1, -1, 1]}, ValueError, "of at least 0"),
    "weights nan": ({"sample_weight": [1, np.nan, 1, 1]}, ValueError, "finite numbers"),
    "weights text": ({"sample_weight": ["a"] * 4}, TypeError, "sample_weight: expected numbers"),
    "class": (
        {"class_weight": {2: 1.0}},
        ValueError,
        "class_weight: expected classes 0..1, got 2",
    ),
    "class weights": ({"class_weight": [1, 2]}, TypeError, "class_weight: expected a mapping"),
    "split": ({"validation_split": 1.0}, ValueError, r"validation_split: .*\[0, 1\)"),
    "small split": ({"validation_split": 0.1, "x": X[:1], "y": [0]}, ValueError, "without any"),
    "validation": ({"validation_data": X}, ValueError, r"validation_data: expected \(x, y\)"),
    "validation labels": (
        {"validation_data": (X, [0, 1, 2, 0])},
        ValueError,
        "validation_data: y: expected labels",
    ),
    "batch size": ({"batch_size": 0}, ValueError, "batch_size: expected"),
    "epochs": ({"epochs": 0}, ValueError, "epochs: expected"),
    "verbose": ({"verbose": 3}, ValueError, "verbose: expected 0, 1, 2 or 'auto'"),
    "callbacks": ({"callbacks": [3]}, TypeError, "callbacks: expected Callback objects"),
}


@pytest.mark.parametrize("name", FITS)
def test_fit(name):
    changed, kind, message = FITS[name]
    model = classifier()
    before = model.parameters.values.copy()
    with pytest.raises(kind, match=message):
        model.fit(**{"x": X, "y": LABELS, "verbose": 0, **changed})
    np.testing.assert_array_equal(model.parameters.values, before)
    assert model.optimizer.iterations == 0


COMPILES = {
    "optimizer": ({"optimizer": "ftrl"}, "optimizer: expected an Optimizer or one of 'sgd'"),
    "loss": ({"loss": "hinge"}, "loss: expected a Loss or one of"),
    "no loss": ({"loss": None}, "loss: expected a Loss or its name"),
    "metric": ({"metrics": ["area"]}, "metrics: expected a Metric, a function of .* or one of"),
    "metric twice": ({"metrics": ["accuracy", "accuracy"]}, "different names"),
    "metric of values": ({"metrics": ["mae"]}, "MeanAbsoluteError expects values"),
    "accuracy of values": ({"loss": "mse", "metrics": ["accuracy"]}, "has no meaning"),
    "logits": (
        {"loss": losses.SparseCategoricalCrossentropy(from_logits=True)},
        "expects logits, but layer 'dense' applies softmax",
    ),
}


@pytest.mark.parametrize("name", COMPILES)
def test_compile(name):
    changed, message = COMPILES[name]
    model = classifier()
    with pytest.raises(ValueError, match=message):
        model.compile(**{"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", **changed})


def test_values_as_targets():
    model = lc.Sequential([layers.LSTM(2)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="y: expected numbers, got strings"):
        model.fit(X, np.full((4, 2), "0"), verbose=0)
    with pytest.raises(ValueError, match=r"y: expected shape \(N, 2\) .* got \(4, 3\)"):
        model.fit(X, np.zeros((4, 3), np.float32), verbose=0)
    model.fit(X, np.zeros((4, 2), int), verbose=0)
    categorical = lc.Sequential([layers.LSTM(2), layers.Dense(2, activation="softmax")])
    categorical.compile("sgd", "categorical_crossentropy")
    with pytest.raises(ValueError, match="use sparse_categorical_crossentropy"):
        categorical.fit(X, LABELS, verbose=0)
    binary = lc.Sequential([layers.LSTM(2), layers.Dense(1, activation="sigmoid")])
    binary.compile("sgd", "binary_crossentropy")
    with pytest.raises(
        ValueError, match=r"targets in \[0, 1\], got 0 to 2, .*; for the labels 0 to"
    ):
        binary.fit(X, [0, 1, 2, 0], verbose=0)


def test_no_probabilities():
    model = lc.Sequential([layers.Dense(2), layers.LayerNormalization()])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="expects probabilities in"):
        model.fit(X[:, 0] + 1, LABELS, verbose=0)


def test_targets_of_time_steps():
    model = lc.Sequential([layers.LSTM(2, return_sequences=True)])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.zeros((4, 5), int)
    with pytest.raises(ValueError, match=r"y: expected shape \(N, T\)"):
        model.fit(X, LABELS, verbose=0)
    with pytest.raises(ValueError, match="y: expected 5 time steps like x, got 4"):
        model.fit(X, labels[:, :4], verbose=0)
    ragged = [X[0], X[1, :2]]
    with pytest.raises(ValueError, match="y: expected 2 entries in row 1 like x, got 3"):
        model.fit(ragged, [labels[0], labels[1, :3]], verbose=0)
    with pytest.raises(ValueError, match="sample_weight: expected 5 entries in row 0"):
        model.fit(ragged, [labels[0], labels[1, :2]], sample_weight=[[1.0], [1.0, 1]], verbose=0)


def test_a_model_that_is_not_ready():
    with pytest.raises(ValueError, match="no layers"):
        lc.Sequential().predict(X)
    with pytest.raises(ValueError, match="no layers"):
        lc.Sequential().compile("sgd", "mse")
    model = lc.Sequential([layers.Dropout(0.5)])
    with pytest.raises(ValueError, match="not compiled yet"):
        model.fit(X, X)
    with pytest.raises(ValueError, match="not built yet"):
        _ = model.weights
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no weights to train"):
        model.fit(X, X)


def test_set_weights_changes_all_or_nothing():
    model = classifier()
    before = model.get_weights()
    with pytest.raises(ValueError, match="expected 5 arrays .*got 1"):
        model.set_weights(before[:1])
    with pytest.raises(ValueError, match=r"dense.bias: expected shape \(2,\)"):
        model.set_weights([view + 1 for view in before[:-1]] + [np.zeros(3, np.float32)])
    with pytest.raises(TypeError, match="lstm.bias_l0: expected numbers, got strings"):
        model.set_weights({"dense.bias": before[-1] + 1, "lstm.bias_l0": ["a"] * 16})
    with pytest.raises(ValueError, match="got 'dense.weight'"):
        model.set_weights({"dense.weight": before[-1]})
    for view, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(view, old)


def test_an_empty_time_axis():
    model = lc.Sequential([layers.LSTM(2), layers.Dense(1)])
    # There are no steps: the state is zero, so the output is the bias.
    np.testing.assert_array_equal(model.predict(X[:, :0]), np.zeros((4, 1), np.float32))


def test_keras_own_arguments_mean_the_same():
    keras = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
    plain, wordy = layers.LSTM(2, seed=1), layers.LSTM(2, seed=1, **keras, stateful=False)
    np.testing.assert_array_equal(plain(X), wordy(X))
    assert plain.get_config() == wordy.get_config()
    assert layers.Embedding(5, 2, "zeros").mask_zero is False
    assert not layers.Embedding(5, 2, "zeros")([[1, 2]]).any()


def masked(values):
    return np.ma.masked_array(values, np.zeros(np.shape(values), bool))


@pytest.mark.parametrize(
    ("x", "y", "weights", "name"),
    [
        (masked(X), LABELS, None, "x"),
        ([masked(X[0]), *X[1:]], LABELS, None, r"x\[0\]"),
        (X, masked(LABELS), None, "y"),
        (X, LABELS, masked(np.ones(4)), "sample_weight"),
    ],
)
def test_masked_arrays_are_refused(x, y, weights, name):
    with pytest.raises(TypeError, match=f"{name}: expected an array without a mask"):
        classifier().fit(x, y, sample_weight=weights, verbose=0)


WIDE = np.zeros((4, 5, 7), np.float32)

REFUSED = {
    "labels": lambda model: model.fit(WIDE, LABELS + 9, verbose=0),
    "no labels": lambda model: model.evaluate(WIDE),
    "batch": lambda model: model.train_on_batch(WIDE, LABELS + 9),
    "callbacks": lambda model: model.fit(WIDE, LABELS, callbacks=[3], verbose=0),
    "monitor": lambda model: model.fit(
        WIDE, LABELS, callbacks=[callbacks.EarlyStopping()], verbose=0
    ),
    "validation": lambda model: model.fit(WIDE, LABELS, validation_data=(X, LABELS), verbose=0),
    "split": lambda model: model.fit(WIDE, LABELS, validation_split=0.99, verbose=0),
    "layers": lambda model: model.build((None, 7)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_call_leaves_the_model_as_it_was(name):
    cell = layers.LSTMCell(2)
    head = layers.Dense(2, activation="softmax")
    head(np.zeros((1, 2), np.float32))  # so it is built already
    before = head.get_weights()
    model = lc.Sequential([layers.RNN(cell), head])
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises((TypeError, ValueError)):
        REFUSED[name](model)
    assert not model.built
    assert cell.input_shape is None
    assert head._alone
    assert model.history is None
    assert model.optimizer.slots == {}
    assert model.fit(X, LABELS, verbose=0).epoch == [0]  # three features are still possible
    assert model.input_shape == (None, None, 3)
    assert head.get_weights()[0].shape == before[0].shape


def test_an_input_shape_has_numbers():
    for shape in ((None, "x", 3), (None, -3, 3), (None, True, 3)):
        with pytest.raises((TypeError, ValueError), match="input_shape: expected an integer"):
            lc.Sequential([layers.LSTM(2)]).build(shape)


def test_names_of_classes():
    model = lc.Sequential([layers.Input((3,)), layers.Dense(1, activation="sigmoid")])
    model.class_names = ("no", "yes")
    assert model.class_names == ["no", "yes"]
    for names, message in (
        (["a"], "expected 2 names"),
        (["a", "a"], "different names"),
        (["a", "b\tc"], "printable"),
        ([""], "printable"),
    ):
        with pytest.raises(ValueError, match=message):
            model.class_names = names
    for names in ("ab", [1, 2]):
        with pytest.raises(TypeError, match="class_names: expected"):
            model.class_names = names
    assert model.class_names == ["no", "yes"]
