"""NumPy's masked arrays are refused by name wherever arrays are taken: masks would be lost."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore import layers, metrics

CONFIG, RNN = lc.LSTMConfig(2, 3), F.RNNConfig(2, 3)
WEIGHTS = F.init_weights(CONFIG, seed=0)
X = np.ones((2, 4, 2), np.float32)
H = np.zeros((1, 2, 3), np.float32)
FLAGS, LENGTHS = np.ones((2, 4), np.bool_), np.array([4, 2])
Y = np.ones((2, 4, 3), np.float32)


def masked(array):
    """Mask all of an array, or of each array of a mapping."""
    if isinstance(array, dict):
        return {name: masked(value) for name, value in array.items()}
    return np.ma.array(array, mask=True)


def rnn_weights():
    return {name: np.zeros(shape, np.float32) for name, shape in RNN.parameter_shapes().items()}


def tape():
    return F.lstm(X, WEIGHTS, CONFIG, training=True)[2]


def rnn_tape():
    return F.rnn(X, rnn_weights(), RNN, training=True)[2]


def tangents():
    return F.lstm_jvp(X, WEIGHTS, CONFIG, x_tangent=X, training=True)[2]


def stream():
    return lc.LSTMStream(WEIGHTS, CONFIG, batch_size=2)


def set_state(value):
    stream().state = value


SEQUENCES = {"lengths": LENGTHS, "reset": FLAGS, "mask": FLAGS}
CALLS = {
    "lstm x": lambda: F.lstm(masked(X), WEIGHTS, CONFIG),
    "lstm weights": lambda: F.lstm(X, masked(WEIGHTS), CONFIG),
    "lstm state": lambda: F.lstm(X, WEIGHTS, CONFIG, state=(H, masked(H))),
    "pack weights": lambda: F.pack(masked(WEIGHTS), CONFIG),
    "lstm_begin state": lambda: F.lstm_begin(WEIGHTS, CONFIG, batch_size=2, state=(masked(H), H)),
    "lstm_step x_t": lambda: F.lstm_step(
        F.lstm_begin(WEIGHTS, CONFIG, batch_size=2), masked(X[:, 0])
    ),
    "lstm_step reset": lambda: F.lstm_step(
        F.lstm_begin(WEIGHTS, CONFIG, batch_size=2), X[:, 0], masked(FLAGS[:, 0])
    ),
    "lstm_backward dy": lambda: F.lstm_backward(tape(), masked(Y)),
    "lstm_backward dstate": lambda: F.lstm_backward(tape(), None, (masked(H), H)),
    "lstm_backward out": lambda: F.lstm_backward(tape(), Y, out=masked(WEIGHTS)),
    "lstm_jvp x_tangent": lambda: F.lstm_jvp(X, WEIGHTS, CONFIG, x_tangent=masked(X)),
    "lstm_jvp state_tangent": lambda: F.lstm_jvp(
        X, WEIGHTS, CONFIG, state_tangent=(masked(H), None)
    ),
    "lstm_jvp weights_tangent": lambda: F.lstm_jvp(
        X, WEIGHTS, CONFIG, weights_tangent=masked(WEIGHTS)
    ),
    "lstm_jvp_backward dy": lambda: F.lstm_jvp_backward(tangents(), masked(Y)),
    "lstm_jvp_backward dy_tangent": lambda: F.lstm_jvp_backward(
        tangents(), Y, dy_tangent=masked(Y)
    ),
    "lstm_jvp_backward dstate_tangent": lambda: F.lstm_jvp_backward(
        tangents(), Y, dstate_tangent=(masked(H), H)
    ),
    "rnn x": lambda: F.rnn(masked(X), rnn_weights(), RNN),
    "rnn weights": lambda: F.pack_rnn(masked(rnn_weights()), RNN),
    "rnn state": lambda: F.rnn(X, rnn_weights(), RNN, state=masked(H)),
    "rnn_backward dy": lambda: F.rnn_backward(rnn_tape(), masked(Y)),
    "rnn_backward dstate": lambda: F.rnn_backward(rnn_tape(), None, masked(H)),
    "rnn_backward out": lambda: F.rnn_backward(rnn_tape(), Y, out=masked(rnn_weights())),
    "stream x_t": lambda: stream().step(masked(X[:, 0])),
    "stream state": lambda: set_state((masked(H), H)),
    "edit_distance y_true": lambda: metrics.edit_distance(masked([1, 2]), [1, 2]),
    "span_f1 y_pred": lambda: metrics.span_f1([["B-A"]], [masked(np.array(["B-A"]))]),
}
for argument, given in SEQUENCES.items():
    hidden = masked(given)
    CALLS |= {
        f"lstm {argument}": lambda a=argument, v=hidden: F.lstm(X, WEIGHTS, CONFIG, **{a: v}),
        f"jvp {argument}": lambda a=argument, v=hidden: F.lstm_jvp(X, WEIGHTS, CONFIG, **{a: v}),
        f"rnn {argument}": lambda a=argument, v=hidden: F.rnn(X, rnn_weights(), RNN, **{a: v}),
    }


@pytest.mark.parametrize("name", CALLS)
def test_functions(name):
    argument = name.split()[1]
    with pytest.raises(TypeError, match=rf"^{argument}.*: expected an array without a mask"):
        CALLS[name]()


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(3),
        lambda: layers.SimpleRNN(3),
        lambda: layers.RNN(layers.LSTMCell(3)),
        lambda: layers.Bidirectional(layers.LSTM(3)),
    ],
    ids=["LSTM", "SimpleRNN", "RNN", "Bidirectional"],
)
def test_recurrent_layers(make):
    layer = make()
    layer(X)
    both = isinstance(layer, layers.Bidirectional)
    part = (masked(H[0]), H[0]) if both else masked(H[0])
    state = [part] if isinstance(layer, layers.SimpleRNN) else [part, part]
    for option, value in {**SEQUENCES, "initial_state": state}.items():
        value = state if option == "initial_state" else masked(value)
        with pytest.raises(TypeError, match=rf"^{option}.*: expected an array without a mask"):
            layer(X, **{option: value})
    with pytest.raises(TypeError, match="expected an array without a mask"):
        layer.set_weights([masked(value) for value in layer.get_weights()])


def test_models_and_lists():
    model = lc.Sequential([layers.LSTM(3, return_sequences=True)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    for option, value in {"mask": FLAGS, "reset": FLAGS}.items():
        for hidden in (masked(value), [masked(row) for row in value]):
            with pytest.raises(TypeError, match=rf"^{option}.*: expected an array without a mask"):
                model.predict(X, **{option: hidden})
    with pytest.raises(TypeError, match="expected an array without a mask"):
        model.predict(X, state={"lstm": (masked(H), H)})
    with pytest.raises(TypeError, match=r"^sample_weight.*: expected an array without a mask"):
        model.fit(X, Y, sample_weight=masked(np.ones(2)), verbose=0)
    with pytest.raises(TypeError, match=r"^lengths\[1\]: expected an array without a mask"):
        F.lstm(X, WEIGHTS, CONFIG, lengths=[2, np.ma.masked])


def test_estimators():
    pytest.importorskip("sklearn")
    from lstmcore import sklearn

    y = np.array([0, 1])
    for estimator in (sklearn.LSTMClassifier(), sklearn.LSTMRegressor()):
        for x, targets, weights, name in (
            (masked(X), y, None, "X"),
            ([masked(row) for row in X], y, None, r"X\[0\]"),
            (X, masked(y), None, "y"),
            (X, y, masked(np.ones(2)), "sample_weight"),
        ):
            with pytest.raises(TypeError, match=f"^{name}: expected an array without a mask"):
                estimator.fit(x, targets, sample_weight=weights)
    series = np.sin(np.arange(60.0))
    for arguments, name in (((masked(series),), "y"), ((series, masked(series[:, None])), "X")):
        with pytest.raises(TypeError, match=f"^{name}: expected an array without a mask"):
            sklearn.LSTMForecaster().fit(*arguments)


def test_other_subclasses_are_taken_as_before():
    class Own(np.ndarray):
        pass

    expected, _ = F.lstm(X, WEIGHTS, CONFIG, mask=FLAGS, reset=FLAGS)
    own = [array.view(Own) for array in (X, FLAGS)]
    found, _ = F.lstm(own[0], WEIGHTS, CONFIG, mask=own[1], reset=own[1])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(stream().step(own[0][:, 0]), stream().step(X[:, 0]))
