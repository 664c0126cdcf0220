"""GaussianNoise and SpatialDropout1D."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, N, T, built, check_file, check_gradients
from lstmcore import layers

LAYERS = {
    "GaussianNoise": lambda **o: layers.GaussianNoise(0.3, **o),
    "SpatialDropout1D": lambda **o: layers.SpatialDropout1D(0.4, **o),
}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name, lengths, rng):
    layer = built(LAYERS[name](), (N, T, C))
    check_gradients(layer, rng.standard_normal((N, T, C)), lengths, rng)


@pytest.mark.parametrize("name", LAYERS)
def test_the_seed_decides_and_only_training_is_random(name, rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    layer = LAYERS[name]()
    np.testing.assert_array_equal(layer(x), x)
    first = layer(x, training=True, seed=1)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(layer(x, training=True, seed=1), first)
    assert (layer(x, training=True, seed=2) != first).any()
    own = LAYERS[name](seed=5)(x, training=True, seed=1)
    np.testing.assert_array_equal(LAYERS[name](seed=5)(x, training=True, seed=1), own)
    assert (own != first).any()


@pytest.mark.parametrize("name", LAYERS)
def test_training_has_the_same_bits_for_a_seed(name, rng):
    x, y = rng.standard_normal((12, T, C)).astype("f"), rng.standard_normal((12, 1)).astype("f")
    weights = []
    for threads in (1, 2):
        lc.set_num_threads(threads)
        model = lc.Sequential([LAYERS[name](), layers.LSTM(3), layers.Dense(1)], seed=4)
        model.compile("adam", "mse")
        model.fit(x, y, epochs=3, batch_size=4, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_noise_has_its_deviation():
    x = np.full((200, 50, 4), 3.0)
    noise = layers.GaussianNoise(0.25)(x, training=True, seed=1) - x
    # 40,000 draws: five standard errors are 0.006 of the mean and 2 % of the deviation.
    assert abs(noise.mean()) < 0.0063
    assert noise.std() == pytest.approx(0.25, rel=0.018)


def test_whole_features_are_dropped():
    x = np.ones((300, T, 40), np.float32)
    y = layers.SpatialDropout1D(0.25)(x, training=True, seed=1)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    np.testing.assert_array_equal(y, np.repeat(y[:, :1], T, axis=1))
    # 12,000 features: five standard deviations are 0.02.
    assert (y[:, 0] == 0).mean() == pytest.approx(0.25, abs=0.02)


def test_features_are_dropped_whatever_the_number_of_steps():
    x = np.ones((4, 7, 6), np.float32)
    layer = layers.SpatialDropout1D(0.5)
    whole = layer(x, training=True, seed=3)
    np.testing.assert_array_equal(layer(x[:, :2], training=True, seed=3), whole[:, :2])


def test_options_take_effect_at_any_time(rng):
    x = rng.standard_normal((N, T, C)).astype("f")
    noise, dropout = layers.GaussianNoise(0.5), layers.SpatialDropout1D(0.5)
    noise(x)
    dropout(x)
    noise.stddev = dropout.rate = 0.0
    np.testing.assert_array_equal(noise(x, training=True), x)
    np.testing.assert_array_equal(dropout(x, training=True), x)
    with pytest.raises(ValueError, match="stddev: expected a number in"):
        noise.stddev = -1.0
    with pytest.raises(ValueError, match="rate: expected a number in"):
        dropout.rate = 1.0


def test_files(tmp_path, rng):
    x = rng.standard_normal((N, T, C)).astype("f")
    model = lc.Sequential(
        [layers.GaussianNoise(0.5, seed=3), layers.SpatialDropout1D(0.5), layers.LSTM(2)]
    )
    check_file(model, x, tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: layers.GaussianNoise(-0.1), ValueError, "stddev: expected a number in"),
        (lambda: layers.GaussianNoise("1"), TypeError, "stddev: expected a number"),
        (lambda: layers.GaussianNoise(1.0, seed=0.5), TypeError, "seed: expected an integer"),
        (lambda: layers.SpatialDropout1D(1.0), ValueError, "rate: expected a number in"),
        (
            lambda: layers.SpatialDropout1D(0.5)(np.zeros((2, 3))),
            ValueError,
            "SpatialDropout1D: expected inputs of shape",
        ),
    ],
)
def test_wrong_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
