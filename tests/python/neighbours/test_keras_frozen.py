"""Frozen layers, from and to Keras."""

import numpy as np
import pytest

from keras_kit import MARKS, K, keras, same_weights
from lstmcore.convert import from_keras, to_keras

pytestmark = MARKS


def some_frozen():
    """Make layers that are frozen themselves, with a container, in part, or not at all."""
    inner = keras.Sequential([K.Dense(3, name="in_frozen"), K.Dropout(0.1)], name="inner")
    inner.trainable = False
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            K.LSTM(3, return_sequences=True, trainable=False, name="lstm"),
            K.Bidirectional(K.LSTM(2, return_sequences=True), name="both"),
            K.TimeDistributed(K.Dense(3), name="each"),
            K.RNN(
                [K.LSTMCell(3, trainable=False), K.LSTMCell(3)], return_sequences=True, name="rnn"
            ),
            inner,
            K.Dense(2, name="head"),
        ]
    )
    model.get_layer("each").layer.trainable = False
    model.get_layer("both").trainable = False
    return model


@pytest.mark.parametrize("how", ["model", "model.keras", "model.h5"])
def test_layers_frozen_in_keras_are_frozen_here(how, tmp_path):
    theirs = some_frozen()
    for number, variable in enumerate(theirs.weights):
        variable.assign(variable + number)  # so that no two are the same
    if how != "model":
        theirs.save(tmp_path / how)
    ours = from_keras(theirs if how == "model" else tmp_path / how)
    same_weights(ours, from_keras(theirs))
    ours._follow_trainable()
    trained = sum(
        values.size for name, values in ours.weights.items() if name not in ours.parameters.frozen
    )
    assert trained == sum(int(np.prod(part.shape)) for part in theirs.trainable_weights)
    prefixes = ("lstm.", "both.", "each.", "in_frozen.")
    assert ours.parameters.frozen == {
        name
        for name in ours.weights
        if name.startswith(prefixes) or (name.startswith("rnn.") and name.endswith("_l0"))
    }
    # And back to Keras.
    back = to_keras(ours)
    count = sum(int(np.prod(part.shape)) for part in back.trainable_weights)
    assert count == trained
    assert back.get_layer("lstm").trainable is back.get_layer("both").trainable is False
    assert back.get_layer("head").trainable is True


def test_frozen_penalties():
    """Keras does not add them to the loss, and neither does this package."""
    theirs = keras.Sequential(
        [
            keras.Input((4,)),
            K.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5), trainable=False),
            K.Dense(1, kernel_regularizer=keras.regularizers.L1(0.25)),
        ]
    )
    ours = from_keras(theirs)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    y = np.ones((6, 1), "float32")
    ours.compile("sgd", "mse")
    predicted = theirs.predict(x, verbose=0)
    rest = float(np.mean((predicted - y) ** 2))
    expected = rest + sum(float(keras.ops.convert_to_numpy(loss)) for loss in theirs.losses)
    assert len(theirs.losses) == 1
    assert ours.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=2e-6)
