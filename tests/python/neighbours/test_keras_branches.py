"""Functional Keras models with branches become graphs with the same weights and outputs."""

import numpy as np
import pytest

import lstmcore as lc
from keras_kit import MARKS, K, close, keras, randomize
from lstmcore.convert import from_keras

pytestmark = MARKS

N, T = 3, 7
WAYS = ["model", "a.keras", "a.h5"]


def given(theirs, how, tmp_path):
    if how == "model":
        return theirs
    theirs.save(tmp_path / how)
    return tmp_path / how


def everything():
    """Several inputs and outputs, shared layers, states, nested models, all merges."""
    steps, place = keras.Input((None, 4), name="steps"), keras.Input((2,), name="place")
    shared = K.Dense(5, "tanh", name="shared")
    start = shared(shared(K.Dense(5)(place)))
    lstm = K.LSTM(5, return_sequences=True, return_state=True, name="lstm")
    y, h, c = lstm(steps, initial_state=[start, start])
    part = keras.Sequential(
        [K.Dense(4, name="a"), K.Dropout(0.1), K.Dense(4, name="b")], name="part"
    )
    ends = [K.Input((4,)), K.Input((5,))]
    inner = keras.Model(ends, K.Multiply()([K.Dense(5, name="a")(ends[0]), ends[1]]), name="inner")
    again, _, _ = lstm(part(steps))
    summed = K.Add()([y, again])
    both = K.Bidirectional(K.LSTM(3, return_state=True), name="both")(summed)
    vector = K.Concatenate(name="vector")([both[0], both[2], inner([h_of(c), h])])
    averaged = K.Average()([summed, K.TimeDistributed(K.Dense(5, "tanh"))(steps)])
    difference = K.Subtract(name="difference")([K.GlobalMaxPooling1D()(averaged), c])
    outputs = {"tags": K.Dense(3, "softmax", name="tags")(averaged), "score": vector}
    return keras.Model(
        {"steps": steps, "place": place}, {**outputs, "difference": difference}, name="everything"
    )


def h_of(c):
    return K.Dense(4, name="narrow")(c)


@pytest.mark.parametrize("how", WAYS)
def test_everything_at_once(how, tmp_path, rng):
    theirs = randomize(everything())
    x = {"steps": rng.normal(size=(N, T, 4)), "place": rng.normal(size=(N, 2))}
    x = {name: values.astype("float32") for name, values in x.items()}
    expected = theirs(x)
    ours = from_keras(given(theirs, how, tmp_path))
    assert isinstance(ours, lc.Model)
    assert ours.input_names == ["steps", "place"]
    found = ours.predict(x)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        close(values, expected[name])
    assert ours.get_layer("lstm").return_state
    assert {"a", "b", "inner_a"} <= {layer.name for layer in ours.layers}


@pytest.mark.parametrize("how", WAYS)
def test_padding_of_a_branch(how, tmp_path, rng):
    words, other = (
        keras.Input((None,), dtype="int32", name="words"),
        keras.Input((2,), name="other"),
    )
    vectors = K.Embedding(9, 4, mask_zero=True)(words)
    ahead = K.LSTM(4, return_sequences=True)(vectors)
    both = K.Concatenate()([vectors, K.Add()([vectors, ahead])])
    y = K.Concatenate()([K.Bidirectional(K.LSTM(3))(both), other])
    theirs = randomize(keras.Model([words, other], K.Dense(2)(y)))
    ids = rng.integers(1, 9, (N, T))
    ids[np.arange(T) >= np.array([7, 3, 1])[:, None]] = 0
    x = [ids, rng.normal(size=(N, 2)).astype("float32")]
    close(from_keras(given(theirs, how, tmp_path)).predict(x, verbose=0), theirs(x))


def test_gradients_after_conversion_are_those_of_keras(rng):
    """One step of SGD moves all weights as Keras does."""
    a, b = keras.Input((None, 4)), keras.Input((2,))
    shared = K.LSTM(4, return_sequences=True)
    y = shared(shared(a))
    y = K.Concatenate()([K.LSTM(3)(y), K.Dense(3, "tanh")(b)])
    theirs = randomize(keras.Model([a, b], K.Dense(2)(y)))
    ours = from_keras(theirs)
    before = ours.get_weights()
    x, y = [rng.normal(size=(N, T, 4)), rng.normal(size=(N, 2))], rng.normal(size=(N, 2))
    theirs.compile(keras.optimizers.SGD(1.0), "mse")
    theirs.train_on_batch(x, y)
    ours.compile(lc.optimizers.SGD(1.0), "mse")
    ours.train_on_batch(x, y)
    expected = from_keras(theirs)
    for (name, values), old in zip(ours.weights.items(), before, strict=True):
        assert np.abs(values - old).max() > 1e-3
        np.testing.assert_allclose(values, expected.weights[name], atol=1e-6, err_msg=name)


def test_frozen_layers_and_nested_models(rng):
    x = keras.Input((4,))
    frozen = keras.Sequential([K.Dense(3, name="a"), K.Dense(3, name="b")], name="frozen")
    frozen.trainable = False
    theirs = keras.Model(x, [frozen(x), K.Add(name="sum")([frozen(x), K.Dense(3, name="c")(x)])])
    ours = from_keras(theirs)
    assert ours.output_names == ["b", "sum"]
    assert [ours.get_layer(name).trainable for name in "abc"] == [False, False, True]
    given = rng.normal(size=(N, 4)).astype("float32")
    for one, other in zip(ours.predict(given), theirs(given), strict=True):
        close(one, other)


def masked(kind):
    words = keras.Input((None,), dtype="int32", name="words")
    vectors = K.Embedding(9, 4, mask_zero=True, name="vectors")(words)
    if kind == "a branch without a mask":
        other = keras.Input((None, 4), name="other")
        y = K.LSTM(3)(K.Add(name="add")([vectors, other]))
        return keras.Model([words, other], y)
    if kind == "an input with and without":
        plain = K.LSTM(3)(K.Embedding(9, 4, name="plain")(words))
        return keras.Model(words, K.Add()([plain, K.LSTM(3)(vectors)]))
    if kind == "pooling":
        y = K.GlobalMaxPooling1D(name="pooling")(vectors)
    elif kind == "another mask":
        y = K.LSTM(3, name="lstm")(vectors, mask=keras.ops.not_equal(words, 5))
    return keras.Model(words, [y, K.LSTM(3)(vectors)])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("a branch without a mask", "Add 'add': of inputs with different masks Keras takes"),
        ("an input with and without", "'words' is taken with and without a mask"),
        ("pooling", "GlobalMaxPooling1D 'pooling': after a mask, Keras' GlobalMaxPooling1D treats"),
        ("another mask", "LSTM 'lstm': called with a mask that is not the one of its inputs"),
    ],
)
def test_masks_without_a_counterpart(kind, message):
    with pytest.raises(ValueError, match=message):
        from_keras(masked(kind))


def test_other_models_without_a_counterpart():
    a, b = keras.Input((None, 4)), keras.Input((4,))
    with pytest.raises(ValueError, match=r"(?i)gru 'gru.*only LSTMs"):
        from_keras(keras.Model([a, b], K.Add()([K.GRU(4)(a), b])))
    with pytest.raises(ValueError, match="Dot '.*': has no counterpart"):
        from_keras(keras.Model([a, b], K.Dot(1)([K.LSTM(4)(a), b])))
    with pytest.raises(ValueError, match="inputs of different ranks have no counterpart"):
        from_keras(keras.Model([a, b], K.Add()([a, K.Reshape((4,))(b)])))
    y = K.Dropout(0.5)(K.LSTM(4)(a), training=True)
    with pytest.raises(ValueError, match="called with training"):
        from_keras(keras.Model([a, b], K.Add()([y, b])))
