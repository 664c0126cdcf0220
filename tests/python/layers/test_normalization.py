"""LayerNormalization: plain NumPy, gradients, ragged rows, bad input."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _core, layers
from reference import derivative, relative_error

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 4e-6, np.float64: 1e-14}
LENGTHS = np.array([5, 2, 0])


def normal(rng, *shape, dtype=np.float64):
    return rng.normal(size=shape).astype(dtype)


def normalize(x, gain, shift, epsilon):
    x = x.astype(np.float64)
    difference = x - x.mean(axis=-1, keepdims=True)
    variance = (difference**2).mean(axis=-1, keepdims=True)
    return difference / np.sqrt(variance + epsilon) * gain + shift


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("width", [1, 3, 16, 37, 200])
def test_forward(rng, width, lengths, dtype):
    x = normal(rng, 3, 5, width, dtype=dtype)
    gain, shift = normal(rng, width, dtype=dtype), normal(rng, width, dtype=dtype)
    past = np.zeros((3, 5), bool) if lengths is None else np.arange(5) >= lengths[:, None]
    for factor, summand in ((gain, shift), (None, shift), (gain, None), (None, None)):
        y, moments = _core.layer_norm_forward(x, lengths, factor, summand, 1e-3)
        plain = (1.0 if factor is None else factor, 0.0 if summand is None else summand)
        expected = normalize(x, *plain, 1e-3)
        expected[past] = 0
        assert y.dtype == moments.dtype == dtype
        assert relative_error(y, expected) < TOLERANCE[dtype]


def test_small_differences_of_large_numbers_keep_their_digits():
    x = np.array([[[1e4, 1e4 + 1, 1e4 + 2]]], np.float32)
    y, _ = _core.layer_norm_forward(x, None, None, None, 1e-12)
    np.testing.assert_allclose(y[0, 0], np.array([-1, 0, 1]) * np.sqrt(1.5), rtol=1e-6)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_gradients_match_finite_differences(rng, lengths, affine):
    x, gain, shift = normal(rng, 3, 5, 4), normal(rng, 4), normal(rng, 4)
    dy = normal(rng, 3, 5, 4)
    factor, summand = (gain, shift) if affine else (None, None)

    def loss():
        y, _ = _core.layer_norm_forward(x, lengths, factor, summand, 0.1)
        return float((y * dy).sum())

    moments = _core.layer_norm_forward(x, lengths, factor, summand, 0.1)[1]
    dgain, dshift = np.full(4, np.nan), np.full(4, np.nan)
    dx = _core.layer_norm_backward(x, lengths, factor, moments, dy, True, dgain, dshift)
    # Fourth-order differences with a width of 1e-3; their error grows with 1 / epsilon.
    assert relative_error(dx, derivative(loss, x)) < 1e-7
    if affine:
        assert relative_error(dgain, derivative(loss, gain)) < 1e-8
        assert relative_error(dshift, derivative(loss, shift)) < 1e-8
    alone = _core.layer_norm_backward(x, lengths, factor, moments, dy, True, None, None)
    assert np.array_equal(alone, dx)
    assert _core.layer_norm_backward(x, lengths, factor, moments, dy, False, None, None) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_for_any_number_of_threads_padding_and_layout(rng, dtype):
    x, gain = normal(rng, 20, 60, 70, dtype=dtype), normal(rng, 70, dtype=dtype)
    lengths = rng.integers(0, 61, 20)
    dy = normal(rng, 20, 60, 70, dtype=dtype)
    results = []
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        for change in (np.ascontiguousarray, np.asfortranarray):
            y, moments = _core.layer_norm_forward(change(x), lengths, gain, None, 1e-3)
            dgain, dshift = np.empty_like(gain), np.empty_like(gain)
            dx = _core.layer_norm_backward(
                change(x), lengths, gain, moments, change(dy), True, dgain, dshift
            )
            results.append([y, dx, dgain, dshift])
    more = np.full((20, 9, 70), np.nan, dtype)
    wide, wide_dy = np.concatenate([x, more], axis=1), np.concatenate([dy, more], axis=1)
    y, moments = _core.layer_norm_forward(wide, lengths, gain, None, 1e-3)
    dgain, dshift = np.empty_like(gain), np.empty_like(gain)
    dx = _core.layer_norm_backward(wide, lengths, gain, moments, wide_dy, True, dgain, dshift)
    assert not y[:, 60:].any()
    assert not dx[:, 60:].any()
    results.append([y[:, :60], dx[:, :60], dgain, dshift])
    for result in results[1:]:
        assert all(map(np.array_equal, result, results[0]))


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4), (2, 3, 5, 4)])
def test_any_number_of_axes(shape, rng):
    x = normal(rng, *shape)
    layer = layers.LayerNormalization(epsilon=0.5)
    y = layer(x)
    np.testing.assert_allclose(y, normalize(x, 1.0, 0.0, 0.5), atol=1e-14)
    _, _, context = layer.forward(x, None, True, 0)
    dx = layer.backward(context, x)
    assert dx.shape == shape
    assert layer.backward(context, x, need_x=False) is None
    if len(shape) == 4:
        lengths = np.array([1, 3])
        y, after, context = layer.forward(x, lengths, True, 0)
        assert after is lengths
        assert not y[0, 1:].any()
        assert not layer.backward(context, x)[0, 1:].any()
        np.testing.assert_array_equal(y[1], layer(x)[1])


def test_weights_and_files(rng, tmp_path):
    x = normal(rng, 4, 5, 3, dtype=np.float32)
    for options, names in (
        ({}, ["gamma", "beta"]),
        ({"center": False, "gamma_regularizer": 0.1}, ["gamma"]),
        ({"scale": False, "beta_constraint": "max_norm"}, ["beta"]),
        ({"scale": False, "center": False}, []),
    ):
        layer = layers.LayerNormalization(**options)
        model = lc.Sequential([layer, layers.GlobalMaxPooling1D(), layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, np.ones((4, 1), np.float32), verbose=0)
        assert list(layer.weights) == names
        model.save(tmp_path / "model.safetensors")
        again = lc.load(tmp_path / "model.safetensors")
        assert again.layers[0].get_config() == layer.get_config()
        np.testing.assert_array_equal(again.predict(x), model.predict(x))


BAD = {
    "epsilon 0": (lambda: layers.LayerNormalization(epsilon=0), ValueError, "epsilon: expected"),
    "epsilon text": (lambda: layers.LayerNormalization(epsilon="0.1"), TypeError, "epsilon: exp"),
    "flag": (lambda: layers.LayerNormalization(scale=1), TypeError, "scale: expected True or"),
    "axis": (lambda: layers.LayerNormalization(1), TypeError, "positional"),
    "initializer": (
        lambda: layers.LayerNormalization(gamma_initializer="one"),
        ValueError,
        "gamma_initializer: expected one of",
    ),
    "constraint": (
        lambda: layers.LayerNormalization(beta_constraint=2.0),
        TypeError,
        "beta_constraint: expected a MaxNorm",
    ),
    "rank": (
        lambda: layers.LayerNormalization()(np.zeros(3)),
        ValueError,
        "LayerNormalization: expected inputs of shape",
    ),
    "gain": (
        lambda: _core.layer_norm_forward(np.zeros((2, 3, 4)), None, np.zeros(3), None, 0.1),
        ValueError,
        "gain: expected shape",
    ),
    "gain type": (
        lambda: _core.layer_norm_forward(np.zeros((2, 3, 4)), None, np.zeros(4, "f"), None, 0.1),
        TypeError,
        "gain: expected dtype float64 like x",
    ),
    "no width": (
        lambda: _core.layer_norm_forward(np.zeros((2, 3, 0)), None, None, None, 0.1),
        ValueError,
        "x: expected at least one feature",
    ),
    "epsilon nan": (
        lambda: _core.layer_norm_forward(np.zeros((2, 3, 4)), None, None, None, float("nan")),
        ValueError,
        "epsilon: expected a number greater than 0",
    ),
    "lengths": (
        lambda: _core.layer_norm_forward(np.zeros((2, 3, 4)), np.array([4, 0]), None, None, 0.1),
        ValueError,
        "lengths: expected values from 0 to 3",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()
