"""lstmcore.keras.LSTM computes what Keras' own layer computes, on the backend of this process."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

import lstmcore.keras as lk  # noqa: E402
from keras_engine_kit import (  # noqa: E402
    BACKEND,
    FILTERS,
    MASKS,
    Counted,
    H,
    N,
    T,
    close,
    data,
    evaluate,
    pair,
    penalty,
    randomize,
)

K = keras.layers
pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]

OPTIONS = {
    "last": {},
    "sequences": {"return_sequences": True},
    "last and states": {"return_state": True},
    "sequences and states": {"return_sequences": True, "return_state": True},
    "backwards": {"go_backwards": True, "return_state": True},
    "backwards sequences": {"go_backwards": True, "return_sequences": True, "return_state": True},
    "no bias": {"use_bias": False, "return_sequences": True},
    "zeros for masked": {"zero_output_for_mask": True, "return_sequences": True},
    "last zero for masked": {"zero_output_for_mask": True, "go_backwards": True},
    "relu": {"activation": "relu", "return_sequences": True},
    "softsign": {"activation": "softsign", "recurrent_activation": "hard_sigmoid"},
    "elu": {"activation": "elu", "recurrent_activation": "softplus"},
    "linear": {"activation": None, "return_state": True},
    "unrolled": {"unroll": True, "return_sequences": True, "return_state": True},
    "implementation": {"implementation": 1},
}


CASES = [(name, mask, True) for name in OPTIONS for mask in ("none", "holes, and nothing")]
CASES += [("sequences", mask, False) for mask in MASKS]
CASES += [("backwards", mask, False) for mask in ("right", "left")]


@pytest.mark.parametrize(("name", "mask", "state"), CASES)
def test_same_outputs_and_gradients(name, mask, state):
    theirs, ours = pair(**OPTIONS[name])
    mask = MASKS[mask]
    arrays = data() if state else data()[:1]
    expected = evaluate(theirs, arrays, mask)
    with Counted() as counted:
        actual = evaluate(ours, arrays, mask)
    assert counted.engine
    assert not counted.keras
    close(actual, expected)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX computes in float32 by default")
def test_float64():
    theirs, ours = pair(dtype="float64", return_sequences=True)
    arrays = data("float64")
    with Counted() as counted:
        actual = evaluate(ours, arrays, MASKS["right"])
    assert counted.engine
    close(actual, evaluate(theirs, arrays, MASKS["right"]))


def test_single_steps_and_single_rows():
    theirs, ours = pair(return_sequences=True)
    for x in (data()[0][:, :1], data()[0][:1], data()[0][:1, :1]):
        close(evaluate(ours, [x]), evaluate(theirs, [x]))


@pytest.mark.parametrize("mask", [None, MASKS["right"]], ids=["none", "right"])
def test_dropout_drops_the_same_units(mask):
    theirs, ours = pair(dropout=0.4, seed=7, return_sequences=True)
    x = data()[:1]
    with Counted() as counted:
        actual = evaluate(ours, x, mask, training=True)
    assert counted.engine
    assert not counted.keras
    expected = evaluate(theirs, x, mask, training=True)
    close(actual, expected)
    without = evaluate(theirs, x, mask)
    assert abs(without[0] - expected[0]).max() > 0.01  # units were dropped


@pytest.mark.parametrize(
    "options",
    [
        {"recurrent_dropout": 0.4},
        {"dropout": 0.3, "recurrent_dropout": 0.4},
        {"dropout": 1.0},
    ],
)
def test_dropout_that_keras_computes(options):
    theirs, ours = pair(seed=7, return_sequences=True, **options)
    with Counted() as counted:
        actual = evaluate(ours, data()[:1], training=True)
    assert not counted.engine
    (reason,) = counted.keras
    assert "in training" in reason
    close(actual, evaluate(theirs, data()[:1], training=True), tolerance=0)
    with Counted() as counted:
        actual = evaluate(ours, data()[:1])
    assert counted.engine
    close(actual, evaluate(theirs, data()[:1]))


class OtherCell(keras.layers.LSTMCell):
    """A cell that may compute something else."""


def with_other_cell():
    layer = lk.LSTM(H)
    layer.cell = OtherCell(H)
    return layer


LEFT_TO_KERAS = {
    "bfloat16": (lambda: lk.LSTM(H, dtype="mixed_bfloat16"), "the type bfloat16"),
    "selu": (lambda: lk.LSTM(H, activation="selu"), "activation=selu"),
    "a function": (lambda: lk.LSTM(H, activation=lambda x: x), "activation=<lambda>"),
    "a gate": (
        lambda: lk.LSTM(H, recurrent_activation="softmax"),
        "recurrent_activation=softmax",
    ),
    "a cell": (with_other_cell, "a cell of class OtherCell"),
}


@pytest.mark.parametrize(("make", "reason"), LEFT_TO_KERAS.values(), ids=LEFT_TO_KERAS.keys())
def test_what_the_engine_lacks_is_computed_by_keras(make, reason):
    ours = make()
    x = data()[0]
    with Counted() as counted:
        actual = keras.ops.convert_to_numpy(keras.ops.cast(ours(x), "float32"))
    assert counted.engine == 0
    assert list(counted.keras) == [reason]
    theirs = K.RNN(ours.cell)
    theirs.built = True
    expected = keras.ops.convert_to_numpy(keras.ops.cast(theirs(x), "float32"))
    tolerance = 0.02 if "bfloat16" in reason else 1e-6  # Keras' two loops sum in another order
    np.testing.assert_allclose(actual, expected, atol=tolerance)


def test_cudnn_is_refused_as_keras_refuses_it():
    layer = lk.LSTM(H, use_cudnn=True)
    with Counted() as counted, pytest.raises(ValueError, match="use_cudnn=True was specified"):
        layer(data()[0], mask=keras.ops.convert_to_tensor(MASKS["right"]))
    assert counted.keras == {"use_cudnn=True": 1}


def test_empty_inputs_are_left_to_keras():
    theirs, ours = pair(return_sequences=True)
    x = data()[0][:0]
    if BACKEND == "tensorflow":  # whose operations refuse biases beside no rows
        for layer in (ours, theirs):
            with pytest.raises(Exception, match="Biases must be 1D"):
                layer(x)
        return
    close([ours(x)], [theirs(x)])


def test_second_derivatives():
    for options in ({}, {"go_backwards": True, "return_sequences": True, "use_bias": False}):
        theirs, ours = pair(**options)
        with Counted() as counted:
            actual = penalty(ours, data()[0])
        assert counted.engine
        close(actual, penalty(theirs, data()[0]))


@pytest.mark.parametrize(
    ("mask", "sequences"), [("none", False), ("right", True), ("holes, and nothing", True)]
)
def test_bidirectional(mask, sequences):
    mask = MASKS[mask]

    def make(layer):
        return K.Bidirectional(layer(H, return_sequences=sequences, return_state=True))

    theirs, ours = make(K.LSTM), make(lk.LSTM)
    assert type(ours.forward_layer) is type(ours.backward_layer) is lk.LSTM
    assert type(theirs.forward_layer) is type(theirs.backward_layer) is K.LSTM
    for layer in (theirs, ours):
        layer.build((N, T, 3))
    randomize(theirs)
    ours.set_weights(theirs.get_weights())
    with Counted() as counted:
        actual = evaluate(ours, data()[:1], mask)
    assert counted.engine >= 2
    assert not counted.keras
    close(actual, evaluate(theirs, data()[:1], mask))


def test_bidirectional_leaves_a_given_layer_as_it_is():
    backward = K.LSTM(H, go_backwards=True)
    layer = K.Bidirectional(lk.LSTM(H), backward_layer=backward)
    assert layer.backward_layer is backward
    assert type(backward) is K.LSTM
    assert type(layer.forward_layer) is lk.LSTM


def test_stateful():
    theirs, ours = pair(stateful=True, return_sequences=True)
    x = data()[0]
    for _ in range(2):
        for _ in range(3):
            close([ours(x)], [theirs(x)])
        close(ours.states, theirs.states)
        for layer in (theirs, ours):
            layer.reset_state()
    with pytest.raises(ValueError, match="stateful"):
        ours(x[:2])


def test_stateful_training():
    def make(layer):
        # Keras 3.15 cannot train such a layer with PyTorch unless use_cudnn is False.
        recurrent = layer(H, stateful=True, use_cudnn=False)
        model = keras.Sequential([keras.Input(batch_shape=(N, T, 3)), recurrent, K.Dense(1)])
        randomize(model)
        model.compile("sgd", "mse")
        return model

    x, y = np.tile(data()[0], (3, 1, 1)), np.ones((3 * N, 1), "float32")
    theirs, ours = make(K.LSTM), make(lk.LSTM)
    for model in (theirs, ours):
        model.fit(x, y, batch_size=N, epochs=2, shuffle=False, verbose=0)
    close(ours.get_weights(), theirs.get_weights())
    close(ours.layers[0].states, theirs.layers[0].states)


def two_inputs(layer, compile_options):
    """Return a functional model of words with a mask and of series, that share a head."""
    words, series = keras.Input((T,), dtype="int32"), keras.Input((None, 3))
    embedded = K.Embedding(10, 3, mask_zero=True)(words)
    one = K.Bidirectional(layer(H, return_sequences=True))(embedded)
    one = layer(H, dropout=0.2, seed=3)(one)
    two, h, c = layer(H, return_sequences=True, return_state=True)(series)
    two = layer(H)(two, initial_state=[h, c])
    output = K.Dense(1)(K.Concatenate()([one, two]))
    model = keras.Model([words, series], output)
    model.compile(keras.optimizers.Adam(1e-2), "mse", **compile_options)
    return randomize(model)


# "auto" is what a model has that was not told: JAX compiles, TensorFlow makes a graph.
@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}], ids=["auto", "eagerly"])
def test_functional_models_train_alike(how):
    rows, epochs = (16, 1) if how else (32, 4)  # JAX compiles Keras' loop at each eager call
    rng = np.random.default_rng(2)
    words = rng.integers(1, 10, (rows, T)) * (np.arange(T) < rng.integers(1, T + 1, (rows, 1)))
    series = rng.normal(size=(rows, 9, 3)).astype("float32")
    y = series.sum(axis=(1, 2)) + (words == 3).sum(axis=1)
    theirs, ours = two_inputs(K.LSTM, how), two_inputs(lk.LSTM, how)
    losses = []
    for model in (theirs, ours):
        with Counted() as counted:
            history = model.fit(
                [words, series], y, batch_size=8, epochs=epochs, shuffle=False, verbose=0
            )
        losses.append(history.history["loss"])
        losses.append([model.evaluate([words, series], y, verbose=0)])
    assert counted.engine >= epochs * rows // 8 * 5  # epochs, batches, LSTMs
    assert not counted.keras
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[3], losses[1], rtol=1e-4)
    assert how or losses[2][-1] < 0.9 * losses[2][0]
    close(ours.get_weights(), theirs.get_weights(), tolerance=1e-3)
    predictions = [model.predict([words, series], verbose=0) for model in (ours, theirs)]
    close(predictions[:1], predictions[1:], tolerance=1e-3)


def test_one_signature():
    import inspect

    assert inspect.signature(lk.LSTM) == inspect.signature(K.LSTM)
    assert isinstance(lk.LSTM(H), K.LSTM)
    assert lk.LSTM(H).get_config().keys() == K.LSTM(H).get_config().keys()
