"""Activations of Dense and Conv1D, and the layer Activation: values, gradients, files, losses."""

import math
import warnings

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, H, N, T, built, check_file, check_gradients, check_rows_alone
from lstmcore import layers
from lstmcore._typing import LayerActivation, choices

NAMES = choices(LayerActivation)
ELSEWHERE = ("linear", "relu", "tanh", "sigmoid", "softmax")  # which the engine computes


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


FORMULAS = {
    "linear": lambda z: z,
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "elu": lambda z: z if z > 0 else math.exp(z) - 1,
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * math.expm1(z)),
    "gelu": lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2)),
    "silu": lambda z: z * sigmoid(z),
    "hard_silu": lambda z: z * min(max(z / 6 + 0.5, 0.0), 1.0),
    "softplus": lambda z: math.log1p(math.exp(z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "leaky_relu": lambda z: z if z > 0 else 0.2 * z,
    "exponential": math.exp,
    "hard_sigmoid": lambda z: min(max(z / 6 + 0.5, 0.0), 1.0),
    "relu6": lambda z: min(max(z, 0.0), 6.0),
    "mish": lambda z: z * math.tanh(math.log1p(math.exp(z))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_of_the_formulas(name):
    z = np.concatenate([np.linspace(-8, 8, 33), [-3.01, -2.99, 2.99, 3.01, 0.0]])
    expected = np.array([FORMULAS[name](float(value)) for value in z])
    y = layers.Activation(name)(z[:, None])
    np.testing.assert_allclose(y[:, 0], expected, rtol=4e-15, atol=1e-15)
    single = layers.Activation(name)(z[:, None].astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single[:, 0], expected, rtol=2e-6, atol=2e-7)


def test_every_name_has_a_formula():
    assert set(NAMES) == {*FORMULAS, "softmax", "swish", "hard_swish"}


@pytest.mark.parametrize("name", NAMES)
def test_a_dense_layer_has_the_same_activations(name):
    x = np.random.default_rng(0).standard_normal((N, T, C))
    dense, linear = layers.Dense(H, name, seed=1), layers.Dense(H, seed=1)
    # The engine's tanh and sigmoid differ from NumPy's in the last digits.
    np.testing.assert_allclose(dense(x), layers.Activation(name)(linear(x)), rtol=1e-13, atol=1e-14)
    conv, plain = layers.Conv1D(H, 2, activation=name, seed=1), layers.Conv1D(H, 2, seed=1)
    np.testing.assert_allclose(conv(x), layers.Activation(name)(plain(x)), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients(name, lengths, rng):
    size = 0.3 if name == "exponential" else 2  # of large values, differences have few digits
    for layer in (
        layers.Activation(name),
        layers.Dense(H, name),
        layers.Conv1D(H, 2, activation=name, padding="same"),
        layers.TimeDistributed(layers.Dense(H, name)),
    ):
        check_gradients(
            built(layer, (N, T, C)), size * rng.standard_normal((N, T, C)), lengths, rng
        )


@pytest.mark.parametrize("name", ["elu", "leaky_relu", "hard_sigmoid"])
def test_a_parameter(name, rng):
    z = rng.standard_normal((7, 3))
    layer = layers.Activation(name, alpha=0.7)
    expected = {
        "elu": np.where(z > 0, z, 0.7 * np.expm1(z)),
        "leaky_relu": np.where(z > 0, z, 0.7 * z),
        "hard_sigmoid": np.clip(0.7 * z + 0.5, 0, 1),
    }[name]
    np.testing.assert_allclose(layer(z), expected, rtol=1e-15)
    check_gradients(layer, z, None, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_large_values_make_no_warning_and_no_nan(name, dtype):
    z = np.array([[-1e4, -90.0, 0.0, 90.0, 1e4]], dtype)
    layer = layers.Activation(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = layer(z)
        gradient = layer.backward(layer.forward(z, None, True, 0)[2], np.ones_like(z))
    assert not np.isnan(y).any()
    assert not np.isnan(gradient).any()
    if name != "exponential":
        assert np.isfinite(y).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["exponential", "softplus", "elu", "hard_sigmoid"])
def test_a_convolution_returns_zeros_past_its_last_window(name, rng):
    x = rng.standard_normal((N, T, C))
    layer = built(layers.Conv1D(H, 2, activation=name), (N, T, C))
    outputs, counts, _ = layer.forward(x, LENGTHS, False, 0)
    assert not outputs[np.arange(T - 1) >= counts[:, None]].any()
    check_rows_alone(layer, x[:2], LENGTHS[:2])


def test_second_names():
    assert layers.Activation("swish").get_config()["activation"] == "silu"
    assert layers.Dense(2, "hard_swish").activation == "hard_silu"


def test_a_loss_takes_the_logits_before_a_last_activation(rng):
    """The last layer is the same as a Dense with that activation, logits that overflow included."""
    x, y = rng.standard_normal((20, 6, C)), rng.integers(0, 3, 20)

    def trained(head):
        model = lc.Sequential([layers.LSTM(4, seed=1), *head], dtype="float64")
        model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
        assert model.compiled.takes_logits
        model.fit(x, y, epochs=3, verbose=0)
        return model

    joined = trained([layers.Dense(3, "softmax", seed=2)])
    apart = trained([layers.Dense(3, seed=2), layers.Activation("softmax")])
    for one, other in zip(joined.get_weights(), apart.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(apart.predict(x), joined.predict(x), rtol=1e-13)
    scaled = [1e4 * value for value in apart.get_weights()[3:]]
    apart.set_weights([*apart.get_weights()[:3], *scaled])
    assert np.isfinite(apart.evaluate(x, y, verbose=0)[0])


def test_losses_are_checked_against_a_last_activation():
    def compiled(*head, loss="sparse_categorical_crossentropy"):
        lc.Sequential([layers.LSTM(4), *head]).compile("sgd", loss)

    compiled(layers.Dense(3), layers.Activation("softmax"))
    with pytest.raises(ValueError, match="layer 'activation' ends with activation='gelu'"):
        compiled(layers.Dense(3), layers.Activation("gelu"))
    with pytest.raises(ValueError, match="expected a unit for each class"):
        compiled(layers.Dense(1), layers.Activation("softmax"))
    with pytest.raises(ValueError, match="'dense' ends with activation='selu'"):
        compiled(layers.Dense(3, "selu"))
    compiled(layers.Dense(3, "selu"), loss="mse")


def test_files(tmp_path, rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    model = lc.Sequential(
        [
            layers.Conv1D(4, 2, activation="gelu"),
            layers.Activation("leaky_relu", alpha=0.05),
            layers.LSTM(3),
            layers.Dense(2, "silu"),
        ]
    )
    check_file(model, x, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="'silu'"):
        layers.Activation("silu", alpha=1.0)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: layers.Activation("gellu"), ValueError, "activation: .* did you mean 'gelu'"),
        (lambda: layers.Dense(2, "sofmax"), ValueError, "activation: .* did you mean 'softmax'"),
        (lambda: layers.Activation("elu", alpha=-1.0), ValueError, "alpha: expected a number in"),
        (lambda: layers.Activation("elu", alpha="1"), TypeError, "alpha: expected a number"),
        (lambda: layers.Activation("relu", alpha=0.1), ValueError, "alpha: expected None with"),
    ],
)
def test_wrong_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
