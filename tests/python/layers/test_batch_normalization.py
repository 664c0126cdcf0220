"""BatchNormalization: plain NumPy, gradients, ragged rows, averages, freezing, files."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, N, T, built, check_file, check_gradients, check_rows_alone
from lstmcore import layers

AVERAGES = ("moving_mean", "moving_variance")


def valid_rows(x, lengths):
    if lengths is None:
        return x.reshape(-1, x.shape[-1])
    return x[np.arange(x.shape[1]) < lengths[:, None]].reshape(-1, x.shape[-1])


def randomized(layer, rng):
    width = layer.input_shape[-1]
    layer.set_weights([rng.random(width) + 0.5 for _ in layer.weights])
    return layer


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("shape", [(6, C), (N, T, C), (N, T, 2, C)])
def test_training_uses_the_batch_and_inference_the_averages(shape, lengths, rng):
    if len(shape) == 2 and lengths is not None:
        lengths = None
    x = 3 * rng.standard_normal(shape) + 2
    layer = randomized(built(layers.BatchNormalization(epsilon=0.1), shape), rng)
    gamma, beta, mean, variance = layer.get_weights()
    rows = valid_rows(x, lengths)
    for training in (False, True):
        y, after, _ = layer.forward(x, lengths, training, 0)
        assert after is lengths
        if training:
            mean, variance = rows.mean(axis=0), rows.var(axis=0)
        expected = (x - mean) / np.sqrt(variance + 0.1) * gamma + beta
        if lengths is not None:
            expected[np.arange(T) >= lengths[:, None]] = 0
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize(
    "options", [{}, {"center": False}, {"scale": False}, {"center": False, "scale": False}]
)
def test_gradients_through_the_statistics(options, lengths, rng):
    layer = built(layers.BatchNormalization(epsilon=0.3, **options), (N, T, C))
    check_gradients(randomized(layer, rng), rng.standard_normal((N, T, C)), lengths, rng)


@pytest.mark.parametrize("shape", [(6, C), (N, T, 2, C)])
def test_gradients_of_other_ranks(shape, rng):
    layer = built(layers.BatchNormalization(epsilon=0.3), shape)
    check_gradients(randomized(layer, rng), rng.standard_normal(shape), None, rng)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_gradients_of_a_frozen_layer(lengths, rng):
    layer = built(layers.BatchNormalization(epsilon=0.3), (N, T, C))
    layer.trainable = False
    x = rng.standard_normal((N, T, C))
    outputs, _, context = randomized(layer, rng).forward(x, lengths, True, 0)
    np.testing.assert_array_equal(outputs, layer.forward(x, lengths, False, 0)[0])
    dy = rng.standard_normal(outputs.shape)
    gamma, _, _, variance = layer.get_weights()
    expected = dy * gamma / np.sqrt(variance + 0.3)
    if lengths is not None:
        expected[np.arange(T) >= lengths[:, None]] = 0
    np.testing.assert_allclose(layer.backward(context, dy), expected, rtol=1e-13)
    assert not any(view.any() for view in layer._gradients.values())
    assert layer.backward(context, dy, need_x=False) is None


def test_small_differences_of_large_numbers_keep_their_digits():
    """A mean that is rounded to float32 must not take part in the variance."""
    x = (1e4 + np.array([[0.0], [1.0], [2.0], [3.0]])).astype(np.float32)
    layer = layers.BatchNormalization(epsilon=1e-9)
    y = layer(x, training=True)
    expected = (np.arange(4) - 1.5) / np.sqrt(1.25)
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-6)
    assert layer.weights["moving_variance"][0] == pytest.approx(0.99 + 0.01 * 1.25)


def test_the_sum_of_many_rows_keeps_its_digits(rng):
    """A sum in float32, row after row, would lose about three digits of the mean here."""
    x = (rng.random((2**17, 1)) + 1).astype(np.float32)
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x, training=True)
    mean, variance = layer.get_weights()[2:]
    assert mean[0] == pytest.approx(x.astype(np.float64).mean(), rel=1e-7)
    assert variance[0] == pytest.approx(x.astype(np.float64).var(), rel=1e-6)


def model_of(dtype="float64", **options):
    model = lc.Sequential(
        [
            layers.Dense(3, seed=1),
            layers.BatchNormalization(**options),
            layers.LSTM(2),
            layers.Dense(1),
        ],
        dtype=dtype,
    )
    model.compile("sgd", "mse")
    return model


def test_averages_follow_the_batches(rng):
    x, y = rng.standard_normal((8, 5, C)), rng.standard_normal((8, 1))
    model = model_of(momentum=0.8)
    model.build((None, None, C))
    dense, norm = model.layers[:2]
    mean, variance = norm.get_weights()[2:]
    np.testing.assert_array_equal(mean, np.zeros(3))
    np.testing.assert_array_equal(variance, np.ones(3))
    for _ in range(3):
        rows = valid_rows(dense(x), None)
        mean = 0.8 * mean + 0.2 * rows.mean(axis=0)
        variance = 0.8 * variance + 0.2 * rows.var(axis=0)
        model.train_on_batch(x, y)
        np.testing.assert_allclose(norm.weights["moving_mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(norm.weights["moving_variance"], variance, rtol=1e-12)
    before = model.get_weights()
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.test_on_batch(x, y)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_windows_of_a_sequence_are_steps_of_their_own(rng):
    x, y = rng.standard_normal((8, 6, C)), rng.standard_normal((8, 6, 1))
    model = lc.Sequential(
        [layers.BatchNormalization(momentum=0.5), layers.LSTM(1, return_sequences=True)],
        dtype="float64",
    )
    model.compile("sgd", "mse")
    model.fit(x, y, tbptt=3, batch_size=8, verbose=0)
    means = [x[:, part].reshape(-1, C).mean(axis=0) for part in (slice(0, 3), slice(3, 6))]
    expected = 0.25 * means[0] + 0.5 * means[1]
    np.testing.assert_allclose(model.layers[0].weights["moving_mean"], expected, rtol=1e-12)


def test_a_call_in_training_mode_moves_the_averages_at_once(rng):
    x = rng.standard_normal((8, C))
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x)
    np.testing.assert_array_equal(layer.weights["moving_mean"], np.zeros(C))
    layer(x, training=True)
    np.testing.assert_allclose(layer.weights["moving_mean"], x.mean(axis=0), rtol=1e-12)
    model = lc.Sequential([layers.BatchNormalization(momentum=0.0)], dtype="float64")
    model(x, training=True)
    np.testing.assert_allclose(model.layers[0].weights["moving_mean"], x.mean(axis=0), rtol=1e-12)


def test_a_refused_step_leaves_the_averages(rng):
    x, y = rng.standard_normal((8, 5, C)), rng.standard_normal((8, 1))
    model = model_of(momentum=0.5)
    model.train_on_batch(x, y)
    before = model.get_weights()
    with pytest.raises(FloatingPointError, match="not made"):
        model.train_on_batch(x, np.full((8, 1), 1e300))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # What the refused step noted does not take part in the next one.
    other = model_of(momentum=0.5)
    other.build((None, None, C))
    other.set_weights(before)
    other.optimizer.iterations = model.optimizer.iterations
    model.train_on_batch(x, y)
    other.train_on_batch(x, y)
    for one, same in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("options", [{}, {"center": False, "scale": False}])
def test_a_frozen_layer_keeps_its_averages(options, rng):
    x, y = rng.standard_normal((8, 5, C)), rng.standard_normal((8, 1))
    model = model_of(**options)
    model.train_on_batch(x, y)
    norm = model.layers[1]
    norm.trainable = False
    before = norm.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    for one, other in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    norm.trainable = True
    model.layers[0].trainable = False  # below the lowest trained weights, if it has none itself
    model.fit(x, y, epochs=1, verbose=0)
    assert (norm.weights["moving_mean"] != before[-2]).all()


def test_no_optimizer_changes_the_averages(rng):
    """Neither decay nor momentum reaches weights that are not trained."""
    x, y = rng.standard_normal((8, 5, C)), rng.standard_normal((8, 1))
    for optimizer in (lc.optimizers.AdamW(weight_decay=0.5), lc.optimizers.SGD(0.1, momentum=0.9)):
        model = model_of(momentum=1.0)  # averages that do not move
        model.compile(optimizer, "mse")
        model.fit(x, y, epochs=3, verbose=0)
        mean, variance = model.layers[1].get_weights()[2:]
        np.testing.assert_array_equal(mean, np.zeros(3))
        np.testing.assert_array_equal(variance, np.ones(3))


def test_weights_have_the_order_of_keras_and_are_counted_as_not_trained(rng):
    layer = built(layers.BatchNormalization(), (N, C))
    assert list(layer.weights) == ["gamma", "beta", *AVERAGES]
    assert layer.frozen_size == 2 * C
    values = [rng.random(C) for _ in range(4)]
    layer.set_weights(values)
    for one, other in zip(values, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    bare = built(layers.BatchNormalization(center=False, scale=False), (N, C))
    assert list(bare.weights) == list(AVERAGES)
    lines = []
    lc.Sequential([layers.Input((C,)), layers.BatchNormalization()]).summary(lines.append)
    assert lines[-1] == "Parameters: 16 (8 trained, 8 frozen)"


def test_files_and_copies(tmp_path, rng):
    x, y = rng.standard_normal((8, 5, C)).astype("f"), rng.standard_normal((8, 1)).astype("f")
    model = model_of("float32", momentum=0.7, gamma_regularizer=0.1, beta_constraint="max_norm")
    model.fit(x, y, epochs=2, verbose=0)
    again = check_file(model, x, tmp_path / "model.safetensors")
    for twin in (again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.fit(x, y, epochs=1, verbose=0)
    model.fit(x, y, epochs=1, verbose=0)
    for name, value in model.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
    layer = model.layers[1].copy()
    for one, other in zip(layer.get_weights(), model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_inference_does_not_depend_on_other_rows(rng):
    x = rng.standard_normal((N, T, C))
    layer = randomized(built(layers.BatchNormalization(), (N, T, C)), rng)
    check_rows_alone(layer, x, LENGTHS)
    np.testing.assert_array_equal(layer(x)[1:2], layer(x[1:2]))


def test_padding_changes_nothing_in_training(rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    wide = np.concatenate([x, np.full((N, 3, C), np.nan, np.float32)], axis=1)
    results = []
    for inputs in (x, wide):
        layer = layers.BatchNormalization()
        y = layer(inputs, lengths=LENGTHS, training=True)[:, :T]
        results.append([y, *layer.get_weights()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_without_steps(rng):
    layer = built(layers.BatchNormalization(momentum=0.5), (2, T, C))
    x = rng.standard_normal((2, T, C))
    y, _, context = layer.forward(x, np.array([0, 0]), True, 0)
    assert not y.any()
    assert not layer.backward(context, np.ones_like(x)).any()
    layer.parameters.settle()
    np.testing.assert_array_equal(layer.weights["moving_mean"], np.zeros(C))


def test_it_learns_where_scales_differ(rng):
    """Features of very different sizes, which an LSTM alone cannot use at this learning rate."""
    x = rng.standard_normal((1400, 8, 3)) * [1e-3, 1.0, 1e3] + [0.0, 5.0, -2e3]
    y = (x[:, :, 0].sum(axis=1) > 0).astype(int)
    accuracies = []
    for norm in ([layers.BatchNormalization(momentum=0.9)], []):
        model = lc.Sequential([*norm, layers.LSTM(8), layers.Dense(2, "softmax")], seed=3)
        model.compile(lc.optimizers.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
        model.fit(x[:1000], y[:1000], epochs=15, verbose=0)
        accuracies.append(model.evaluate(x[1000:], y[1000:], verbose=0)[1])
    assert accuracies[0] > 0.93
    assert accuracies[1] < 0.7


BAD = {
    "momentum": (lambda: layers.BatchNormalization(momentum=1.5), ValueError, "momentum: expected"),
    "epsilon": (lambda: layers.BatchNormalization(epsilon=0), ValueError, "epsilon: expected"),
    "flag": (lambda: layers.BatchNormalization(center=1), TypeError, "center: expected True or"),
    "positional": (lambda: layers.BatchNormalization(-1), TypeError, "positional"),
    "initializer": (
        lambda: layers.BatchNormalization(moving_mean_initializer="nought"),
        ValueError,
        "moving_mean_initializer: expected one of",
    ),
    "rank": (
        lambda: layers.BatchNormalization()(np.zeros(3)),
        ValueError,
        "BatchNormalization: expected inputs of shape",
    ),
    "each step": (
        lambda: layers.TimeDistributed(layers.BatchNormalization()),
        ValueError,
        "layer: a BatchNormalization in a TimeDistributed",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()
