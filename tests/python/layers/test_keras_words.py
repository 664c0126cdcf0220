"""Keras' arguments: `dropout` of one layer, and options that only confirm the default."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

X = np.random.default_rng(1).standard_normal((3, 6, 4)).astype(np.float32)


def trained(layer):
    """Return outputs and weights after one step with dropout."""
    model = lc.Sequential([layer, layers.Dense(1, seed=2)])
    model.compile(lc.optimizers.SGD(0.1), "mse")
    model.train_on_batch(X, np.ones((3, 1), np.float32))
    return [np.asarray(layer(X, training=True, seed=5)), *model.get_weights()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("keras", "plain"),
    [
        (layers.LSTM(5, dropout=0.4, seed=1), layers.LSTM(5, input_dropout=0.4, seed=1)),
        (
            layers.RNN(layers.LSTMCell(5, dropout=0.4, seed=1)),
            layers.RNN(layers.LSTMCell(5, input_dropout=0.4, seed=1)),
        ),
        (
            layers.Bidirectional(layers.LSTM(5, dropout=0.4, seed=1)),
            layers.Bidirectional(layers.LSTM(5, input_dropout=0.4, seed=1)),
        ),
    ],
    ids=["LSTM", "RNN", "Bidirectional"],
)
def test_dropout_of_one_layer_drops_x(keras, plain):
    first = trained(keras)
    assert same(first, trained(plain))
    assert not np.array_equal(first[0], keras(X))


def test_the_same_features_of_x_are_dropped_at_every_step():
    """As in Keras: one mask per row; remaining values are scaled by 1 / (1 - dropout)."""
    layer = layers.LSTM(1, dropout=0.5, activation="linear", recurrent_activation="linear")
    x = np.ones((64, 3, 2), np.float32)
    layer(x)
    w = np.zeros((2, 4))
    w[0] = 1.0  # every gate is x_0, independent of h, c and bias
    layer.set_weights([w.T.astype("f4"), np.zeros((4, 1), "f4"), np.zeros(4, "f4")])
    outputs = layer(x, training=True, seed=3)
    # c_t = f c + i g and h = o c, where i = f = g = o = x_0, which is 0 or 2
    kept = 2.0
    c = 0.0
    for _ in range(3):
        c = kept * c + kept * kept
    assert set(np.unique(outputs)) == {0.0, np.float32(kept * c)}
    share = (outputs > 0).mean()
    assert 0.25 < share < 0.75  # 64 coin flips: 4 standard deviations


def test_dropout_of_a_stack_stays_between_its_layers():
    stack = layers.LSTM(4, num_layers=2, dropout=0.5, seed=1)
    stack(X)
    assert (stack.config.dropout, stack.config.input_dropout) == (0.5, 0.0)
    both = layers.LSTM(4, num_layers=2, dropout=0.5, input_dropout=0.25)
    both(X)
    assert (both.config.dropout, both.config.input_dropout) == (0.5, 0.25)
    one = layers.LSTM(4, dropout=0.5)
    one(X)
    assert (one.config.dropout, one.config.input_dropout) == (0.0, 0.5)


def test_both_names_at_once_are_refused():
    for make in (layers.LSTM, layers.LSTMCell):
        with pytest.raises(ValueError, match="dropout: expected 0 alongside input_dropout=0.1"):
            make(4, dropout=0.2, input_dropout=0.1)
        with pytest.raises(ValueError, match=r"dropout: expected a number in \[0, 1\), got 1"):
            make(4, dropout=1.0)
    cells = [layers.LSTMCell(4, dropout=0.2), layers.LSTMCell(4, dropout=0.2)]
    with pytest.raises(ValueError, match="cell: expected dropout=0 in each of several cells"):
        layers.RNN(cells)


def test_a_cell_knows_both_names():
    cell = layers.LSTMCell(4, dropout=0.25)
    assert (cell.dropout, cell.input_dropout) == (0.25, 0.25)
    cell.dropout = 0.5
    assert cell.input_dropout == 0.5
    assert cell.get_config()["input_dropout"] == 0.5
    assert "dropout" not in cell.get_config()


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(4, dropout=0.25),
        lambda: layers.LSTM(4, num_layers=2, dropout=0.25),
        lambda: layers.LSTM(4, input_dropout=0.25),
        lambda: layers.RNN(layers.LSTMCell(4, dropout=0.25)),
        lambda: layers.Bidirectional(layers.LSTM(4, dropout=0.25), "sum"),
    ],
)
def test_dropout_is_restored_from_files_as_it_was_written(make, tmp_path):
    model = lc.Sequential([layers.Input((None, 4)), make(), layers.Dense(1)], seed=3)
    model.compile("sgd", "mse")
    model.save(tmp_path / "model")
    loaded = lc.load(tmp_path / "model")
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    for each in (model, loaded):
        each.train_on_batch(X, np.ones((3, 1), np.float32))
    assert same(model.get_weights(), loaded.get_weights())


# ---- arguments of Keras -----------------------------------------------------------------------

CONFIRMING = {
    "bias_initializer": "zeros",
    "activity_regularizer": None,
    "unroll": False,
    "time_major": False,
    "implementation": 1,
    "use_cudnn": "auto",
}


def test_arguments_that_confirm_the_default_are_accepted():
    wordy = layers.LSTM(4, seed=1, **CONFIRMING)
    np.testing.assert_array_equal(wordy(X), layers.LSTM(4, seed=1)(X))
    assert not set(CONFIRMING) & set(wordy.get_config())
    layers.LSTMCell(4, bias_initializer="zeros", implementation=2)
    layers.RNN(layers.LSTMCell(4), unroll=False, time_major=False, activity_regularizer=None)
    layers.Bidirectional(layers.LSTM(4), backward_layer=None)


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (layers.LSTM, {"bias_initializer": "ones"}, "'zeros', got 'ones' .*unit_forget_bias"),
        (layers.LSTM, {"activity_regularizer": "l2"}, "None, got 'l2' .*to weights only"),
        (layers.LSTM, {"unroll": True}, "False, got True .*nothing to unroll"),
        (layers.LSTM, {"unroll": 0}, r"False, got 0 \(int\)"),
        (layers.LSTM, {"time_major": True}, "False, got True .*swapaxes"),
        (layers.LSTM, {"implementation": 3}, "1 or 2, got 3"),
        (layers.LSTM, {"use_cudnn": True}, "'auto' or False, got True .*on the CPU"),
        (layers.LSTMCell, {"bias_initializer": "ones"}, "'zeros', got 'ones'"),
        (
            lambda units, **more: layers.RNN(layers.LSTMCell(units), **more),
            {"unroll": True},
            "False, got True",
        ),
        (
            lambda units, **more: layers.Bidirectional(layers.LSTM(units), **more),
            {"backward_layer": layers.LSTM(3)},
            "None, got .*both directions have",
        ),
    ],
)
def test_unsupported_arguments_are_refused_with_the_reason(make, options, reason):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}: expected {reason}"):
        make(4, **options)
