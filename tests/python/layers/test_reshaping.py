"""Flatten, Reshape, Permute and RepeatVector."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import LENGTHS, C, N, T, built, check_file, check_gradients
from lstmcore import layers

LAYERS = {
    "flatten": lambda: layers.Flatten(),
    "reshape": lambda: layers.Reshape((2, 10)),
    "reshape, one open": lambda: layers.Reshape((-1, 2)),
    "reshape to a vector": lambda: layers.Reshape((20,)),
    "reshape to four axes": lambda: layers.Reshape((2, 5, 2)),
    "permute": lambda: layers.Permute((2, 1)),
    "permute nothing": lambda: layers.Permute((1, 2)),
}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name, lengths, rng):
    layer = built(LAYERS[name](), (N, T, C))
    check_gradients(layer, rng.standard_normal((N, T, C)), lengths, rng)


def test_gradients_of_other_ranks(rng):
    check_gradients(built(layers.RepeatVector(3), (N, C)), rng.standard_normal((N, C)), None, rng)
    for layer in (layers.Flatten(), layers.Permute((3, 1, 2)), layers.Permute((1, 3, 2))):
        shape = (N, T, 2, C)
        check_gradients(built(layer, shape), rng.standard_normal(shape), None, rng)


@pytest.mark.parametrize("name", LAYERS)
def test_values_are_those_of_numpy(name, rng):
    x = rng.standard_normal((N, T, C))
    expected = {
        "flatten": x.reshape(N, 20),
        "reshape": x.reshape(N, 2, 10),
        "reshape, one open": x.reshape(N, 10, 2),
        "reshape to a vector": x.reshape(N, 20),
        "reshape to four axes": x.reshape(N, 2, 5, 2),
        "permute": x.transpose(0, 2, 1),
        "permute nothing": x,
    }[name]
    np.testing.assert_array_equal(LAYERS[name]()(x), expected)


def test_a_repeated_vector(rng):
    x = rng.standard_normal((N, C))
    y = layers.RepeatVector(3)(x)
    assert y.shape == (N, 3, C)
    for step in range(3):
        np.testing.assert_array_equal(y[:, step], x)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "permute nothing"])
def test_steps_past_a_length_count_as_zeros_and_all_outputs_are_valid(name, rng):
    x = rng.standard_normal((N, T, C))
    zeroed = np.where((np.arange(T) < LENGTHS[:, None])[..., None], x, 0)
    layer = built(LAYERS[name](), (N, T, C))
    outputs, lengths, context = layer.forward(x, LENGTHS, True, 0)
    assert lengths is None
    np.testing.assert_array_equal(outputs, layer(zeroed))
    dx = layer.backward(context, np.ones_like(outputs))
    np.testing.assert_array_equal(
        dx, np.ones_like(x) * (np.arange(T) < LENGTHS[:, None])[..., None]
    )
    # A batch whose longest row is shorter than T is padded to it.
    short, _, context = layer.forward(x[:, :3], np.array([3, 2, 0]), True, 0)
    cut = np.where((np.arange(T) < np.array([3, 2, 0])[:, None])[..., None], x, 0)
    np.testing.assert_array_equal(short, layer(cut))
    assert layer.backward(context, np.ones_like(short)).shape == (N, 3, C)


def test_a_permutation_that_leaves_time_keeps_lengths(rng):
    layer = built(layers.Permute((1, 3, 2)), (N, T, 2, C))
    x = rng.standard_normal((N, T, 2, C))
    outputs, lengths, _ = layer.forward(x, LENGTHS, False, 0)
    assert lengths is LENGTHS
    np.testing.assert_array_equal(outputs, x.transpose(0, 1, 3, 2))
    assert not layer.mixes_steps


STACKS = {
    "flatten": lambda: [
        layers.LSTM(3, return_sequences=True),
        layers.Flatten(),
        layers.Dense(2),
    ],
    "permute": lambda: [layers.Permute((2, 1)), layers.LSTM(3), layers.Dense(2)],
    "reshape": lambda: [layers.Reshape((10, 2)), layers.LSTM(3), layers.Dense(2)],
    "repeat": lambda: [
        layers.LSTM(3),
        layers.RepeatVector(4),
        layers.LSTM(2, return_sequences=True),
    ],
    "pixels": lambda: [  # a network of convolutions at each step, as video models have
        layers.Reshape((T, 2, 2)),
        layers.TimeDistributed(layers.Conv1D(3, 2)),
        layers.TimeDistributed(layers.Flatten()),
        layers.LSTM(3),
        layers.Dense(2),
    ],
}


@pytest.mark.parametrize("name", STACKS)
def test_in_a_model_that_data_build(name, tmp_path, rng):
    """T is that of the first data, without an Input; shorter rows follow."""
    x = rng.standard_normal((8, T, C)).astype(np.float32)
    model = lc.Sequential(STACKS[name]())
    model.compile("adam", "mse")
    steps = 4 if name == "repeat" else None
    y = rng.standard_normal((8, 2) if steps is None else (8, steps, 2)).astype(np.float32)
    losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    check_file(model, x, tmp_path / "model.safetensors")
    rows = [row[: 1 + place % T] for place, row in enumerate(x)]
    outputs = model.predict(rows)
    assert outputs.shape == y.shape
    if name != "repeat":
        padded = np.zeros_like(x)
        for place, row in enumerate(rows):
            padded[place, : len(row)] = row
        if name in ("permute", "reshape", "pixels"):  # whose LSTMs see zeros
            np.testing.assert_allclose(outputs, model.predict(padded), rtol=1e-5, atol=1e-6)
    model.fit(rows, y, verbose=0)
    alone = np.concatenate([model.predict([row]) for row in rows])
    np.testing.assert_array_equal(model.predict(rows), alone)


def test_the_first_data_decide_the_number_of_steps(rng):
    x = rng.standard_normal((4, T, C)).astype(np.float32)
    model = lc.Sequential([layers.Flatten(), layers.Dense(2)])
    model.predict(x)
    assert model.input_shape == (None, T, C)
    with pytest.raises(ValueError, match="expected shape"):
        model.predict(x[:, :3])
    open_steps = lc.Sequential([layers.Dense(3), layers.LSTM(2)])
    open_steps.predict(x)
    assert open_steps.input_shape == (None, None, C)


def test_ids_of_a_known_number(rng):
    ids = rng.integers(1, 9, (6, T))
    ids[0, 3:] = 0
    model = lc.Sequential(
        [layers.Embedding(9, 2, mask_zero=True), layers.Flatten(), layers.Dense(1)], dtype="float64"
    )
    model.compile("sgd", "mse")
    model.fit(ids, np.ones((6, 1)), verbose=0)
    table = model.layers[0].get_weights()[0][ids]
    table[0, 3:] = 0  # padding counts as zeros, whatever the vector of id 0 is
    expected = model.layers[2](table.reshape(6, -1))
    np.testing.assert_allclose(model.predict(ids), expected, rtol=1e-12)


def test_an_open_number_of_steps_needs_whole_rows(rng):
    layer = layers.Reshape((-1, 2))
    assert layer.build((None, None, C)) == (None, None, 2)
    layer._build_alone((None, None, C), np.float64)
    x = rng.standard_normal((N, T, C))
    outputs, _, _ = layer.forward(x, None, False, 0)
    np.testing.assert_array_equal(outputs, x.reshape(N, -1, 2))
    np.testing.assert_array_equal(layer.output_lengths(np.array([5, 3])), [10, 6])
    with pytest.raises(ValueError, match="Reshape: expected a known number of steps for rows of"):
        layer.forward(x, LENGTHS, False, 0)


BAD = {
    "open flatten": (
        lambda: layers.Flatten().build((None, None, 3)),
        ValueError,
        r"Flatten: expected a known number of steps, .*put Input\(\(T, C\)\) first",
    ),
    "open permute": (
        lambda: layers.Permute((2, 1)).build((None, None, 3)),
        ValueError,
        "Permute: expected a known number of steps",
    ),
    "open width": (
        lambda: layers.Reshape((2, -1)).build((None, None, 3)),
        ValueError,
        "target_shape: expected a known last size",
    ),
    "too many": (
        lambda: layers.Reshape((4, 4)).build((None, 5, 3)),
        ValueError,
        r"target_shape: expected as many values as a row of \(N, 5, 3\)",
    ),
    "no divisor": (
        lambda: layers.Reshape((-1, 4)).build((None, 5, 3)),
        ValueError,
        "target_shape: expected as many values",
    ),
    "two open": (
        lambda: layers.Reshape((-1, -1)),
        ValueError,
        "target_shape: expected one to four",
    ),
    "zero": (lambda: layers.Reshape((0, 2)), ValueError, "target_shape: expected one to four"),
    "a number": (lambda: layers.Reshape(3), TypeError, r"target_shape: .*write \(size,\)"),
    "dims": (lambda: layers.Permute((1, 3)), ValueError, "dims: expected each axis once"),
    "dims from 0": (lambda: layers.Permute((0, 1)), ValueError, "dims: expected an integer of"),
    "dims of text": (lambda: layers.Permute("21"), TypeError, "dims: expected a sequence"),
    "rank": (
        lambda: layers.Permute((2, 1)).build((None, 3)),
        ValueError,
        r"Permute: dims \(2, 1\) are for inputs with 3 axes",
    ),
    "n": (lambda: layers.RepeatVector(0), ValueError, "n: expected an integer of at least 1"),
    "n of floats": (lambda: layers.RepeatVector(2.0), TypeError, "n: expected an integer"),
    "repeated steps": (
        lambda: layers.RepeatVector(2)(np.zeros((2, 3, 4))),
        ValueError,
        "RepeatVector: expected inputs of shape",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()
