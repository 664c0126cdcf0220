"""Models, layers and weights from and to Keras 3: the same values and the same outputs."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from keras_kit import (
    LAYERS,
    MARKS,
    K,
    close,
    computing_in,
    keras,
    model_of,
    randomize,
    same_weights,
)
from lstmcore.convert import from_keras, load_keras_weights, to_keras

GOLDEN = Path(__file__).parents[2] / "golden"

pytestmark = MARKS


@pytest.fixture
def double():
    with computing_in("float64"):
        yield


# All in float64, where rounding cannot hide a mistake; one of each kind in float32.
CASES = [(name, "float64") for name in LAYERS] + [
    (name, "float32") for name in ("LSTM", "Bidirectional", "Dense", "Conv1D", "no beta")
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_layers_compute_the_same(name, dtype, tmp_path):
    with computing_in(dtype):
        check_layers(name, dtype, tmp_path)


def check_layers(name, dtype, tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype(dtype)
    theirs = model_of(LAYERS[name](dtype), dtype=dtype)
    ours = from_keras(theirs)
    assert ours.dtype == dtype
    close(ours.predict(x), theirs(x))
    # Through a file, read without Keras.
    theirs.save(tmp_path / "a.keras")
    same_weights(from_keras(tmp_path / "a.keras"), ours)
    # Into a model with other values, from either file.
    theirs.save_weights(tmp_path / "a.weights.h5")
    for source in (theirs, tmp_path / "a.keras", tmp_path / "a.weights.h5"):
        other = from_keras(randomize(model_of(LAYERS[name](dtype), dtype=dtype), 9))
        load_keras_weights(other, source)
        for one, value in zip(other.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_array_equal(one, value, strict=True)
    # And back.
    back = to_keras(ours, tmp_path / "b.keras")
    close(ours.predict(x), back(x))
    same_weights(from_keras(tmp_path / "b.keras"), ours)
    again = from_keras(back)
    assert again._document() == ours._document()
    close(ours.predict(x), keras.saving.load_model(tmp_path / "b.keras")(x))
    to_keras(ours, tmp_path / "b.weights.h5")
    back.load_weights(tmp_path / "b.weights.h5")
    # A single layer.
    layer = from_keras(theirs.layers[0])
    if len(theirs.layers) == 1:
        close(np.asarray(layer(x)), theirs(x))
        alone = to_keras(layer)
        close(layer(x), alone(x))


@pytest.mark.parametrize(
    "name",
    ["linear", "tanh", "sigmoid", "relu", "softsign", "softplus", "elu", "leaky_relu"],
)
@pytest.mark.usefixtures("double")
def test_activations(name):
    x = np.random.default_rng(1).normal(size=(2, 5, 4))
    layer = K.LSTM(3, activation=name, recurrent_activation="hard_sigmoid", dtype="float64")
    theirs = model_of([layer], dtype="float64")
    ours = from_keras(theirs)
    close(ours.predict(x), theirs(x))
    back = to_keras(ours)
    assert back.layers[0].activation is theirs.layers[0].activation
    assert back.layers[0].recurrent_activation is theirs.layers[0].recurrent_activation


@pytest.mark.parametrize("inner", ["LSTM", "sequences", "Bidirectional", "sum", "stacked cells"])
def test_masked_ids(inner):
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 9, (4, 7))
    lengths = np.array([7, 3, 1, 5])
    ids[np.arange(7) >= lengths[:, None]] = 0
    layers = [K.Embedding(9, 4, mask_zero=True), *LAYERS[inner]("float32")]
    sequences = inner in ("sequences", "sum")
    if sequences:
        layers += [K.LayerNormalization(), K.GlobalAveragePooling1D()]
    theirs = model_of([*layers, K.Dense(2)], (None,), "int32")
    ours = from_keras(theirs)
    close(ours.predict(ids), theirs(ids))
    # Padding is ignored: separate rows have the same results.
    rows = [row[:length] for row, length in zip(ids, lengths, strict=True)]
    np.testing.assert_array_equal(ours.predict(ids), ours.predict(rows))
    close(ours.predict(ids), to_keras(ours)(ids))


def test_functional_chain(tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype("float32")
    inputs = keras.Input((None, 4))
    y = K.LSTM(5, return_sequences=True)(inputs)
    y = K.Dropout(0.2)(y)
    inner = keras.Sequential([K.Dense(3, name="a"), K.LSTM(4, return_sequences=True, name="b")])
    y = K.LSTM(3)(inner(y))
    theirs = randomize(keras.Model(inputs, K.Dense(2)(y)))
    theirs.compile("adam", "mse", metrics=["mae"])
    theirs.fit(x, np.zeros((3, 2)), verbose=0)  # so that the file holds the optimizer's tensors too
    ours = from_keras(theirs)
    close(ours.predict(x), theirs(x))
    theirs.save(tmp_path / "a.keras")
    same_weights(from_keras(tmp_path / "a.keras"), ours)


def test_functional_within_sequential(tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype("float32")
    inputs = keras.Input((None, 4))
    inner = keras.Model(inputs, K.LSTM(3, return_sequences=True)(K.Dense(5)(inputs)), name="part")
    theirs = model_of([K.LSTM(4, return_sequences=True), inner, K.LSTM(2), K.Dense(5)])
    theirs.save(tmp_path / "a.keras")
    ours = from_keras(tmp_path / "a.keras")
    close(ours.predict(x), theirs(x))
    same_weights(from_keras(theirs), ours)


def test_layers_without_weights_are_counted(tmp_path):
    theirs = model_of([K.TimeDistributed(K.Dropout(0.5)), K.TimeDistributed(K.Dense(3))])
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours = from_keras(theirs)
    before = ours.get_weights()
    ours.set_weights([0 * value for value in before])
    load_keras_weights(ours, tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(ours.get_weights()[0], before[0], strict=True)


def test_weights_of_models_that_are_refused(tmp_path):
    """Where Keras takes padding for data there is no counterpart, but weights can be loaded."""
    x = np.random.default_rng(1).normal(size=(3, 9, 4)).astype("float32")
    x[0, :4] = x[1, 5:] = x[2, 3] = 0
    theirs = model_of([K.Masking(), K.LSTM(3, return_sequences=True), K.LSTM(2), K.Dense(5)])
    theirs.save_weights(tmp_path / "a.weights.h5")
    layers = lc.layers
    ours = lc.Sequential(
        [
            layers.Input((None, 4)),
            layers.LSTM(3, return_sequences=True),
            layers.LSTM(2),
            layers.Dense(5),
        ]
    )
    load_keras_weights(ours, tmp_path / "a.weights.h5")
    close(ours.predict(x, mask=(x != 0).any(axis=-1)), theirs(x))
    theirs = model_of([K.Embedding(9, 4, mask_zero=True), K.Conv1D(3, 2)], (None,), "int32")
    ours = lc.Sequential(
        [layers.Input((None,)), layers.Embedding(9, 4, mask_zero=True), layers.Conv1D(3, 2)]
    )
    load_keras_weights(ours, theirs)
    ids = np.array([[1, 2, 3, 8]])  # without padding
    close(ours.predict(ids), theirs(ids))


def test_example(tmp_path, monkeypatch, capsys):
    path = Path(__file__).parents[3] / "examples" / "python" / "convert_keras.py"
    destination = tmp_path / "model.safetensors"
    source = GOLDEN / "keras_model.keras"
    monkeypatch.setattr("sys.argv", ["convert", str(source), str(destination), "--compare"])
    runpy.run_path(str(path), run_name="__main__")
    assert "greatest difference from Keras" in capsys.readouterr().out
    assert lc.load(destination).built


def test_conversion_does_not_add_the_forget_bias_again():
    model = lc.Sequential([lc.layers.Input((None, 4)), lc.layers.LSTM(3, forget_bias=2.0)])
    theirs = to_keras(model)
    assert theirs.layers[0].cell.unit_forget_bias
    for one, other in zip(model.get_weights(), from_keras(theirs).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*_model.safetensors")), ids=lambda p: p.stem)
def test_golden_models_become_keras_models_or_say_why_not(path):
    model = lc.load(path)
    if path.stem in ("stream_model", "rounding_model", "sides_model"):
        theirs = to_keras(model)
        assert len(theirs.get_weights()) == len(model.get_weights())
        return
    with pytest.raises(ValueError, match=r"^layer '"):
        to_keras(model)


@pytest.mark.usefixtures("double")
def test_stack_is_several_keras_layers(tmp_path):
    x = np.random.default_rng(1).normal(size=(3, 9, 4))
    layers = lc.layers
    for layer in (
        layers.LSTM(3, num_layers=3, dropout=0.5, return_sequences=True, input_dropout=0.1),
        layers.LSTM(3, num_layers=2, go_backwards=True, return_sequences=True),
        layers.Bidirectional(layers.LSTM(3, num_layers=2), merge_mode="sum"),
        layers.Bidirectional(layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)])),
    ):
        alone = layer(x)
        theirs = to_keras(layer)
        close(alone, theirs(x))
        ours = lc.Sequential([lc.layers.Input((None, 4)), layer, layers.Dense(2)], dtype="float64")
        theirs = to_keras(ours, tmp_path / "a.weights.h5")
        close(ours.predict(x), theirs(x))
        before = ours.get_weights()
        ours.set_weights([0 * value for value in before])
        load_keras_weights(ours, tmp_path / "a.weights.h5")
        for one, other in zip(before, ours.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_cell_and_state():
    x = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")
    cell = K.LSTMCell(3)
    cell.build((None, 4))
    ours = from_keras(randomize(cell))
    h, (_, c) = ours(x)
    zeros = np.zeros((2, 3), "float32")
    expected, (_, expected_c) = cell(x, [zeros, zeros])
    close(h, expected)
    close(c, expected_c)
    close(h, to_keras(ours)(x, [zeros, zeros])[0])

    layer = K.LSTM(3, return_state=True)
    layer.build((None, None, 4))
    ours = from_keras(randomize(layer))
    for one, other in zip(ours(x[:, None]), layer(x[:, None]), strict=True):
        close(one, other)


def test_stateful():
    x = np.random.default_rng(1).normal(size=(2, 6, 4)).astype("float32")
    theirs = keras.Sequential([keras.Input(batch_shape=(2, None, 4)), K.LSTM(3, stateful=True)])
    ours = from_keras(randomize(theirs))
    assert ours.layers[0].stateful
    theirs(x[:, :3])
    _, state = ours.predict(x[:, :3], return_state=True)
    close(ours.predict(x[:, 3:], 2, state=state), theirs(x[:, 3:]))
    back = to_keras(ours, batch_size=2)
    assert back.layers[0].stateful
    with pytest.raises(ValueError, match="batch_size: expected a number for stateful layers"):
        to_keras(ours)


def chain(layers, shape=(None, 4)):
    return lambda: keras.Sequential([keras.Input(shape), *layers()])


def forced():
    inputs = keras.Input((None, 4))
    return keras.Model(inputs, K.Dropout(0.5)(inputs, training=True))


class OwnLSTM(K.LSTM):
    pass


class OwnModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.lstm = K.LSTM(3)

    def call(self, x):
        return self.lstm(x)


REFUSED = {
    "GRU": (chain(lambda: [K.GRU(3)]), "GRU 'gru.*only LSTMs"),
    "subclass": (chain(lambda: [OwnLSTM(3)]), "OwnLSTM.*custom class"),
    "activation": (chain(lambda: [K.LSTM(3, activation="gelu")]), "activation.*'gelu'"),
    "dense activation": (chain(lambda: [K.Dense(3, "celu")]), "Dense.*activation.*'celu'"),
    "object": (chain(lambda: [K.LSTM(3, activation=K.LeakyReLU())]), "activation.*LeakyReLU"),
    "regularizer": (
        chain(lambda: [K.Dense(3, kernel_regularizer=keras.regularizers.OrthogonalRegularizer())]),
        "kernel_regularizer.*OrthogonalRegularizer",
    ),
    "constraint": (
        chain(lambda: [K.LSTM(3, recurrent_constraint="non_neg")]),
        "recurrent_constraint.*NonNeg",
    ),
    "axis of a constraint": (
        chain(lambda: [K.Dense(3, kernel_constraint=keras.constraints.MaxNorm(axis=1))]),
        "kernel_constraint.*axis=0",
    ),
    "activity": (
        chain(lambda: [K.LSTM(3, activity_regularizer="l2")]),
        "activity_regularizer",
    ),
    "merge": (
        chain(lambda: [K.Bidirectional(K.LSTM(3), merge_mode=None)]),
        "merge_mode=None",
    ),
    "backward layer": (
        chain(
            lambda: [
                K.Bidirectional(
                    K.LSTM(3),
                    backward_layer=K.LSTM(3, go_backwards=True, activation="relu"),
                )
            ]
        ),
        "Bidirectional.*another activation",
    ),
    "bidirectional stack": (
        chain(lambda: [K.Bidirectional(K.RNN([K.LSTMCell(3), K.LSTMCell(3)]))]),
        "stack of cells in each direction",
    ),
    "units": (chain(lambda: [K.RNN([K.LSTMCell(3), K.LSTMCell(4)])]), "same units"),
    "dropout of cells": (
        chain(lambda: [K.RNN([K.LSTMCell(3), K.LSTMCell(3, dropout=0.1)])]),
        "StackedRNNCells.*dropout",
    ),
    "groups": (chain(lambda: [K.Conv1D(4, 2, groups=2)]), "groups=1, got 2"),
    "keepdims": (chain(lambda: [K.GlobalMaxPooling1D(keepdims=True)]), "keepdims=False"),
    "channels": (
        chain(lambda: [K.MaxPooling1D(data_format="channels_first")], (4, 4)),
        "data_format='channels_last'",
    ),
    "axis": (chain(lambda: [K.LayerNormalization(axis=1)], (4, 4)), "axis=-1, got 1"),
    "half": (chain(lambda: [K.Dense(3, dtype="float16")]), "float32 or float64, got 'float16'"),
    "mixed": (chain(lambda: [K.Dense(3, dtype="mixed_float16")]), "got 'mixed_float16'"),
    "two types": (
        chain(lambda: [K.Dense(3), K.Dense(3, dtype="float64")]),
        "one dtype, got float32, float64",
    ),
    "mask": (
        chain(lambda: [K.Embedding(9, 4, mask_zero=True), K.GlobalMaxPooling1D()], (None,)),
        "GlobalMaxPooling1D treats padding as data.*use load_keras_weights",
    ),
    "mask backwards": (
        chain(
            lambda: [
                K.Embedding(9, 4, mask_zero=True),
                K.LSTM(3, go_backwards=True, return_sequences=True),
            ],
            (None,),
        ),
        "go_backwards and return_sequences",
    ),
    "forced": (forced, "Dropout.*training"),
    "no chain": (OwnModel, "OwnModel"),
    "unbuilt": (lambda: keras.Sequential([K.Dense(3)]), "not built"),
    "unbuilt layer": (lambda: K.LSTM(3), "LSTM: the layer is not built"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_a_counterpart_are_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?i){message}"):
        from_keras(make())


@pytest.mark.parametrize("name", ["regularizer", "constraint", "activity"])
def test_options_of_training_can_be_left_out(name):
    theirs = randomize(REFUSED[name][0]())
    x = np.random.default_rng(1).normal(size=(2, 5, 4)).astype("float32")
    close(from_keras(theirs, training=False).predict(x), theirs(x))
