"""Normalization and Rescaling."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, N, T, built, check_file, check_gradients, check_rows_alone
from lstmcore import layers


def data(rng, *shape):
    return 3 * rng.standard_normal(shape) + np.arange(shape[-1])


@pytest.mark.parametrize(
    ("axis", "others"),
    [(-1, (0, 1)), (2, (0, 1)), (1, (0, 2)), ((1, 2), (0,)), ((-1, 1), (0,)), (None, (0, 1, 2))],
)
@pytest.mark.parametrize("invert", [False, True])
def test_adapted(axis, others, invert, rng):
    x = data(rng, 20, T, C)
    layer = layers.Normalization(axis, invert=invert)
    layer.adapt(x)
    mean, variance = x.mean(axis=others, keepdims=True), x.var(axis=others, keepdims=True)
    y = layer(x)
    expected = x * np.sqrt(variance) + mean if invert else (x - mean) / np.sqrt(variance)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    assert list(layer.weights) == ["mean", "variance"]
    np.testing.assert_allclose(layer.weights["mean"], mean.squeeze(), rtol=1e-12)
    assert layer.frozen_size == 2 * mean.size
    check_gradients(layer, x[:N], None, rng)
    check_gradients(layer, x[:N], LENGTHS, rng)


def test_given(rng):
    x = data(rng, N, T, C)
    layer = layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=4.0)
    np.testing.assert_allclose(layer(x), (x - [1, 2, 3, 4]) / 2, rtol=1e-15)
    assert not layer.weights
    check_gradients(layer, x, LENGTHS, rng)
    same = layers.Normalization(None, mean=1, variance=np.float32(0.25))
    np.testing.assert_allclose(same(x), (x - 1) / 0.5, rtol=1e-15)
    with pytest.raises(ValueError, match="adapt: expected a layer without a given mean"):
        layer.adapt(x)


def test_before_adapt_nothing_changes_and_later_calls_replace_earlier_ones(rng):
    x = data(rng, N, C)
    layer = layers.Normalization()
    np.testing.assert_array_equal(layer(x), x)
    layer.adapt(x)
    layer.adapt(2 * x)
    np.testing.assert_allclose(layer(2 * x).std(axis=0), 1, rtol=1e-12)


def test_a_constant_feature_becomes_zero(rng):
    x = data(rng, 10, C)
    x[:, 1] = 5.0
    layer = layers.Normalization()
    layer.adapt(x)
    y = layer(x)
    np.testing.assert_array_equal(y[:, 1], np.zeros(10))
    assert np.isfinite(y).all()


def test_sums_are_exact_enough_for_float32(rng):
    x = (1e4 + rng.random((200_000, 1))).astype(np.float32)
    layer = layers.Normalization()
    layer.adapt(x)
    layer(x[:1])
    exact = x.astype(np.float64)
    assert layer.weights["variance"][0] == pytest.approx(exact.var(), rel=1e-6)


def test_rows_of_different_lengths(rng):
    rows = [data(rng, length, C) for length in (3, 1, 5)]
    layer, same = layers.Normalization(), layers.Normalization()
    layer.adapt(rows)
    same.adapt(np.concatenate(rows))
    for one, other in zip(layer._adapted, same._adapted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    layer = built(layer, (N, T, C))
    check_rows_alone(layer, data(rng, N, T, C), LENGTHS)


@pytest.mark.parametrize("when", ["before building", "after building"])
def test_in_a_model(when, tmp_path, rng):
    x, y = data(rng, 30, T, C), rng.standard_normal((30, 1))
    scale = layers.Normalization()
    model = lc.Sequential([scale, layers.LSTM(3), layers.Dense(1)])
    model.compile("adam", "mse")
    if when == "after building":
        model.build((None, None, C))
    scale.adapt(x)  # float64, which a model of float32 takes
    model.fit(x, y, verbose=0)
    mean = x.reshape(-1, C).mean(axis=0)
    np.testing.assert_allclose(scale.weights["mean"], mean, rtol=1e-6)
    again = check_file(model, x, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.layers[0].weights["mean"], scale.weights["mean"])
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), again):
        np.testing.assert_array_equal(twin.predict(x), model.predict(x))
    lent = lc.Sequential([scale.copy(), layers.Dense(2)])
    lent.predict(x)
    np.testing.assert_array_equal(lent.layers[0].weights["mean"], scale.weights["mean"])


def test_what_was_adapted_survives_copies_before_building(rng):
    x = data(rng, 30, C)
    layer = layers.Normalization()
    layer.adapt(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.copy()):
        np.testing.assert_array_equal(twin(x), copy.deepcopy(layer)(x))


def test_given_values_in_a_file(tmp_path, rng):
    x = data(rng, N, T, C).astype(np.float32)
    model = lc.Sequential(
        [
            layers.Normalization(mean=np.arange(C), variance=np.ones(C)),
            layers.Rescaling(0.5, [1.0, 2.0, 3.0, 4.0]),
            layers.Normalization((1, 2)),
            layers.Normalization(None),
            layers.LSTM(2),
        ]
    )
    model.layers[2].adapt(x)
    model.layers[3].adapt(x)
    check_file(model, x, tmp_path / "model.safetensors")


def test_rescaling(rng):
    x = data(rng, N, T, C)
    layer = layers.Rescaling(1 / 255, offset=-0.5)
    np.testing.assert_allclose(layer(x), x / 255 - 0.5, rtol=1e-14)
    check_gradients(layer, x, LENGTHS, rng)
    each = layers.Rescaling([1.0, 2.0, 3.0, 4.0], np.arange(C))
    np.testing.assert_array_equal(each(x), x * [1, 2, 3, 4] + np.arange(C))
    check_gradients(each, x, None, rng)
    assert layers.Rescaling(2)(x.astype("f")).dtype == np.float32


BAD = {
    "axis": (lambda: layers.Normalization("last"), TypeError, "axis: expected an int"),
    "axis outside": (
        lambda: layers.Normalization(3)(np.zeros((2, 3, 4))),
        ValueError,
        "axis: expected different axes",
    ),
    "axis twice": (
        lambda: layers.Normalization((2, -1))(np.zeros((2, 3, 4))),
        ValueError,
        "axis: expected different axes",
    ),
    "batch": (
        lambda: layers.Normalization(0)(np.zeros((2, 3, 4))),
        ValueError,
        "axis: expected axes of known size",
    ),
    "open time": (
        lambda: layers.Normalization(1).build((None, None, 4)),
        ValueError,
        "axis: expected axes of known size",
    ),
    "mean alone": (
        lambda: layers.Normalization(mean=1.0),
        ValueError,
        "variance: expected both mean and variance or neither",
    ),
    "variance": (
        lambda: layers.Normalization(mean=1.0, variance=-1.0),
        ValueError,
        "variance: expected values of at least 0",
    ),
    "mean of text": (lambda: layers.Normalization(mean="a", variance=1), TypeError, "mean: expec"),
    "width": (
        lambda: layers.Normalization(mean=[1.0, 2.0], variance=1.0)(np.zeros((2, 3))),
        ValueError,
        r"mean: expected a number, or values of shape \(3,\)",
    ),
    "other data": (
        lambda: (lambda layer: (layer.adapt(np.ones((2, 3))), layer(np.ones((2, 4)))))(
            layers.Normalization()
        ),
        ValueError,
        "Normalization: expected inputs like the data of adapt",
    ),
    "no data": (
        lambda: layers.Normalization().adapt(np.ones((0, 3))),
        ValueError,
        "data: expected at least one value",
    ),
    "infinite data": (
        lambda: layers.Normalization().adapt([[1.0, np.inf]]),
        ValueError,
        "data",
    ),
    "rows": (
        lambda: layers.Normalization().adapt([np.ones((2, 3)), np.ones((3, 4))]),
        ValueError,
        "data: expected an array, or a list of rows",
    ),
    "scale": (lambda: layers.Rescaling("1"), TypeError, "scale: expected numbers"),
    "no scale": (lambda: layers.Rescaling(None), ValueError, "scale: expected a number"),
    "scale of two axes": (
        lambda: layers.Rescaling(np.ones((2, 2))),
        ValueError,
        "scale: expected a number or one for each feature",
    ),
    "offset": (
        lambda: layers.Rescaling(1.0, [1.0, 2.0])(np.zeros((2, 3))),
        ValueError,
        "offset: expected 3 values",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()


def test_quantized_models_keep_the_statistics(tmp_path, rng):
    x = data(rng, 40, T, C).astype(np.float32)
    scale = layers.Normalization((1, 2))
    scale.adapt(x)
    model = lc.Sequential([scale, layers.LSTM(4), layers.BatchNormalization(), layers.Dense(2)])
    model.predict(x)
    small = lc.quantize(model)
    for place in (0, 2):
        for one, other in zip(
            small.layers[place].get_weights(), model.layers[place].get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    check_file(small, x, tmp_path / "small.safetensors")
