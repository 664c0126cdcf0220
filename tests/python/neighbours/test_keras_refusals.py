"""To Keras, and weights out of its files: what is refused, and what layers are called."""

import numpy as np
import pytest

import lstmcore as lc
from keras_kit import MARKS, K, close, model_of
from lstmcore.convert import from_keras, load_keras_weights, to_keras

pytestmark = MARKS


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lc.layers.LSTM(3, peephole=True), "layer 'l': config: Keras' LSTM.*peephole=True"),
        (lc.layers.LSTM(3, proj_size=2, cell_clip=1.0), "cell_clip=1.0, proj_size=2"),
        (lc.layers.LSTM(3, output_activation="relu"), "output_activation"),
        (lc.layers.LSTM(3, activation=lc.Activation("elu", 0.5)), "activation: Keras has no name"),
        (lc.layers.LSTM(3, recurrent_trainable=False), "recurrent_trainable"),
        (lc.layers.LSTM(3, num_layers=2, share_recurrent=True), "share_recurrent"),
        (lc.layers.Attention("additive", 3), "Keras has no Attention"),
        (lc.layers.Residual([lc.layers.Dense(4)]), "Keras has no Residual"),
        (lc.layers.Conv1D(3, 2, 2, dilation_rate=2), "both strides and dilation_rate"),
    ],
)
def test_options_that_keras_lacks_are_named(layer, message):
    layer.name = "l"
    model = lc.Sequential([lc.layers.Input((None, 4)), layer])
    with pytest.raises(ValueError, match=f"layer 'l'.*{message}|{message}"):
        to_keras(model)


def test_wrong_arguments(tmp_path):
    model = lc.Sequential([lc.layers.LSTM(3)])
    with pytest.raises(ValueError, match="not built"):
        to_keras(model)
    with pytest.raises(ValueError, match="not built"):
        load_keras_weights(model, tmp_path / "a.keras")
    with pytest.raises(ValueError, match="not built"):
        to_keras(lc.layers.LSTM(3))
    model.build((None, None, 4))
    with pytest.raises(ValueError, match="expected .keras or .weights.h5, got 'a.h5'"):
        to_keras(model, tmp_path / "a.h5")
    with pytest.raises(ValueError, match="path: expected None for a layer"):
        to_keras(model.layers[0], tmp_path / "a.keras")
    with pytest.raises(TypeError, match="model: expected a Sequential or a layer"):
        to_keras(3)
    with pytest.raises(TypeError, match="training: expected True or False"):
        from_keras(model, training=1)
    with pytest.raises(TypeError, match="source: expected a Keras object or the path"):
        from_keras(3)
    with pytest.raises(ValueError, match="batch_size: expected None"):
        to_keras(model, batch_size=3)


def test_weights_of_another_model_are_refused(tmp_path):
    path = tmp_path / "a.weights.h5"
    model_of([K.LSTM(3, return_sequences=True), K.LSTM(3), K.Dense(2)]).save_weights(path)
    layers = lc.layers
    ours = lc.Sequential(
        [layers.Input((None, 4)), layers.LSTM(5), layers.Dense(2), layers.Dense(2, use_bias=False)]
    )
    before = ours.get_weights()
    with pytest.raises(ValueError, match="source: missing") as error:
        load_keras_weights(ours, path)
    for part in (
        "missing layers/dense_1/vars/0 (2, 2)",
        "unexpected layers/lstm_1/cell/vars/2 (12,)",
        "layers/lstm/cell/vars/0: expected shape (4, 20), got (4, 12)",
        "layers/dense/vars/0: expected shape (5, 2), got (3, 2)",
    ):
        assert part in str(error.value)
    double = from_keras(model_of([K.Dense(2)]))
    with pytest.raises(TypeError, match="expected float32, got float64"):
        load_keras_weights(double, model_of([K.Dense(2, dtype="float64")]))
    for one, other in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="use load_keras_weights"):
        from_keras(path)


def test_names_of_the_layers_of_a_stack_are_unique():
    stack = [
        lc.layers.LSTM(3, num_layers=2, return_sequences=True, name="lstm"),
        lc.layers.Dense(2, name="lstm_0"),
    ]
    model = lc.Sequential(stack)
    model.build((None, None, 4))
    made = to_keras(model)
    names = [layer.name for layer in made.layers]
    assert len(set(names)) == 3
    assert names[2] == "lstm_0"
    x = np.ones((2, 5, 4), np.float32)
    close(model.predict(x, verbose=0), made.predict(x, verbose=0))
    model = lc.Sequential([lc.layers.Dense(2, name="a/b")])
    model.build((None, 4))
    with pytest.raises(ValueError, match="layer 'a/b': Keras has no names with a '/'"):
        to_keras(model)


def test_cells_of_a_stack_must_be_alike():
    stack = K.RNN([K.LSTMCell(3), K.LSTMCell(4)])
    stack.build((None, None, 2))
    with pytest.raises(ValueError, match="expected|units"):
        from_keras(stack)


def test_dropout_has_the_same_name():
    layers = lc.layers
    for ours in (layers.LSTM(3, dropout=0.25), layers.RNN(layers.LSTMCell(3, dropout=0.25))):
        ours(np.zeros((1, 2, 4), np.float32))
        theirs = to_keras(ours)
        assert theirs.get_config().get("dropout", 0.25) == theirs.cell.dropout == 0.25
        back = from_keras(theirs)
        assert back.get_config()["name"] == theirs.name
        cell = back.cells[0]
        assert (cell.dropout, getattr(back, "dropout", 0.25)) == (0.25, 0.25)
