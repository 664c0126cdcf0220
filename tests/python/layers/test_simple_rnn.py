"""SimpleRNN: gradients, options, states, files, and what refuses it."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, H, N, T, built, check_file, check_gradients, check_rows_alone
from lstmcore import layers
from reference import rnn as reference_rnn

LAYERS = {
    "last": lambda: layers.SimpleRNN(H),
    "sequences, relu": lambda: layers.SimpleRNN(H, activation="relu", return_sequences=True),
    "backwards": lambda: layers.SimpleRNN(H, go_backwards=True, return_sequences=True),
    "two layers": lambda: layers.SimpleRNN(H, num_layers=2, use_bias=False),
    "both directions": lambda: layers.Bidirectional(layers.SimpleRNN(H, return_sequences=True)),
    "both, multiplied": lambda: layers.Bidirectional(layers.SimpleRNN(H, num_layers=2), "mul"),
    "recomputed": lambda: layers.SimpleRNN(H, recompute="sqrt", return_sequences=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name, rng):
    layer = built(LAYERS[name](), (N, T, C))
    x = rng.standard_normal((N, T, C))
    check_gradients(layer, x, LENGTHS, rng)
    check_rows_alone(layer, x, LENGTHS)


@pytest.mark.parametrize("dropout", ["dropout", "recurrent_dropout"])
def test_dropout_is_exact_and_for_training_alone(dropout, rng):
    layer = built(layers.SimpleRNN(H, **{dropout: 0.5}, return_sequences=True), (N, T, C))
    x = rng.standard_normal((N, T, C))
    plain = built(layers.SimpleRNN(H, return_sequences=True), (N, T, C))
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(layer(x), plain(x))
    assert not np.array_equal(layer(x, training=True), plain(x))
    check_gradients(layer, x, LENGTHS, rng)


def test_values(rng):
    layer = built(layers.SimpleRNN(H, return_sequences=True, return_state=True), (N, T, C))
    x, h0 = rng.standard_normal((N, T, C)), rng.standard_normal((N, H))
    wanted, last = reference_rnn(x, layer.weights, layer.config, h0[None], LENGTHS)
    for state in (h0, [h0], (h0[None],)):
        y, h = layer(x, lengths=LENGTHS, initial_state=state)
        np.testing.assert_allclose(y, wanted, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(h, last[0], rtol=1e-13)


def test_keras_options():
    layer = built(
        layers.SimpleRNN(
            H,
            kernel_initializer="ones",
            recurrent_initializer="zeros",
            bias_initializer="ones",
            recurrent_regularizer=0.1,
            kernel_constraint="max_norm",
        ),
        (N, T, C),
    )
    assert {name: view.shape for name, view in layer.weights.items()} == {
        "weight_ih_l0": (H, C),
        "weight_hh_l0": (H, H),
        "bias_l0": (H,),
    }
    assert [float(view.mean()) for view in layer.weights.values()] == [1.0, 0.0, 1.0]
    specs = {spec.name: spec for spec in layer.weight_specs()}
    assert specs["weight_hh_l0"].l2 == 0.1
    assert specs["weight_ih_l0"].constraint is not None


@pytest.mark.parametrize("name", LAYERS)
def test_files(name, tmp_path, rng):
    x = rng.standard_normal((8, T, C)).astype("f4")
    model = lc.Sequential([LAYERS[name](), layers.Dense(2)])
    model.build((None, T, C))
    check_file(model, x, tmp_path / "model.safetensors")


def test_state_passes_from_call_to_call(rng):
    x = rng.standard_normal((4, 10, C)).astype("f4")
    model = lc.Sequential([layers.SimpleRNN(H, return_sequences=True, num_layers=2)])
    model.build((None, None, C))
    whole = model.predict(x)
    state = model.initial_state(4)
    assert state["simple_rnn"].h.shape == (2, 4, H)
    assert state["simple_rnn"].c.shape == (2, 4, 0)
    first, state = model.predict(x[:, :3], state=state, return_state=True)
    rest = model.predict(x[:, 3:], state=state)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), whole)


def test_stateful_training(rng, tmp_path):
    x = rng.standard_normal((16, 12, 1)).astype("f4")
    y = np.cumsum(x, axis=1) / 4
    halves = [np.concatenate([part[:, :6], part[:, 6:]]) for part in (x, y)]
    losses = []
    for stateful in (False, True):
        model = lc.Sequential(
            [layers.SimpleRNN(8, return_sequences=True, stateful=stateful), layers.Dense(1)], seed=1
        )
        model.compile(lc.optimizers.Adam(0.01), "mse")
        history = model.fit(*halves, batch_size=16, epochs=80, tbptt=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"][-1])
    assert losses[1] < 0.5 * losses[0]  # who does not know the first half cannot know the sum
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    for part, wanted in zip(again.state["simple_rnn"], model.state["simple_rnn"], strict=True):
        np.testing.assert_array_equal(part, wanted, strict=True)


def test_shares_nothing_with_the_precision_of_lstms(rng):
    x = rng.standard_normal((4, 10, C)).astype("f4")
    layer = layers.SimpleRNN(70, seed=3)
    before = layer(x)
    lc.set_precision("int8")
    again = layers.SimpleRNN(70, seed=3)
    np.testing.assert_array_equal(again(x), before)
    again.forward(x, None, True, 0)
    with pytest.raises(ValueError, match="precision: expected None or 'fp32' for a SimpleRNN"):
        layer.precision = "bf16"


def test_learns_what_needs_little_memory(rng):
    x = rng.standard_normal((256, 6, 1)).astype("f4")
    y = (x[:, -1, 0] + x[:, -2, 0] > 0).astype(np.int64)
    model = lc.Sequential([layers.SimpleRNN(12), layers.Dense(2, activation="softmax")], seed=0)
    model.compile(lc.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=20, batch_size=32, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.95


REFUSED = {
    "units": (lambda: layers.SimpleRNN(0), ValueError, "units: expected"),
    "activation": (
        lambda: layers.SimpleRNN(2, activation="sigmoid"),
        ValueError,
        "activation: expected one of 'tanh', 'relu', got 'sigmoid'",
    ),
    "dropout": (lambda: layers.SimpleRNN(2, dropout=1.0), ValueError, "dropout: expected"),
    "bias": (
        lambda: layers.SimpleRNN(2, use_bias=False, bias_regularizer="l2"),
        ValueError,
        "bias_regularizer: expected None without biases",
    ),
    "unroll": (lambda: layers.SimpleRNN(2, unroll=True), ValueError, "unroll: expected False"),
    "layers": (lambda: layers.SimpleRNN(2, num_layers=5000), ValueError, "num_layers: expected"),
    "backwards twice": (
        lambda: layers.Bidirectional(layers.SimpleRNN(2, go_backwards=True)),
        ValueError,
        "go_backwards=False",
    ),
    "a pair": (
        lambda: layers.SimpleRNN(2)(np.zeros((1, 2, 3)), initial_state=(np.zeros((1, 2)),) * 2),
        TypeError,
        "initial_state: expected h, or a list with h",
    ),
    "a cell": (
        lambda: layers.RNN(layers.SimpleRNN(2)),
        TypeError,
        "cell: expected an LSTMCell",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make()
