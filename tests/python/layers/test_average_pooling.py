"""AveragePooling1D: plain loops, gradients, rows of different lengths."""

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import C, check_file, check_gradients, check_rows_alone
from lstmcore import layers

T = 9
LENGTHS = np.array([9, 4, 1, 0])
OPTIONS = [
    (size, strides, padding)
    for size in (1, 2, 3, 4)
    for strides in (None, 1, 2, 5)
    for padding in ("valid", "same")
]


def averages(row, size, strides, padding):
    """Return the means of one row (T, C), window after window."""
    steps = len(row)
    if padding == "valid":
        count, before = (steps - size) // strides + 1 if steps >= size else 0, 0
    else:
        count = -(-steps // strides)
        before = max((count - 1) * strides + size - steps, 0) // 2
    found = []
    for window in range(count):
        begin = window * strides - before
        found.append(row[max(begin, 0) : min(begin + size, steps)].mean(axis=0))
    return np.array(found).reshape(count, row.shape[1])


@pytest.mark.parametrize(("size", "strides", "padding"), OPTIONS)
def test_values(size, strides, padding, rng):
    x = rng.standard_normal((4, T, C))
    layer = layers.AveragePooling1D(size, strides, padding)
    step = size if strides is None else strides
    for lengths in (None, LENGTHS):
        if lengths is None:
            y = layer(x)
        else:
            y, counts, _ = layer.forward(x, lengths, False, 0)
        for row in range(4):
            length = T if lengths is None else lengths[row]
            expected = averages(x[row, :length], size, step, padding)
            assert lengths is None or counts[row] == len(expected)
            np.testing.assert_allclose(y[row, : len(expected)], expected, rtol=1e-14, atol=1e-14)
            assert not y[row, len(expected) :].any()


@pytest.mark.parametrize(("size", "strides", "padding"), OPTIONS)
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_gradients(size, strides, padding, lengths, rng):
    layer = layers.AveragePooling1D(size, strides, padding)
    x = rng.standard_normal((4, T, C))
    layer(x)
    check_gradients(layer, x, lengths, rng)
    if lengths is not None:
        outputs, _, context = layer.forward(x, lengths, True, 0)
        dx = layer.backward(context, np.ones_like(outputs))
        assert not dx[np.arange(T) >= lengths[:, None]].any()


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_padding_is_never_read(padding, rng):
    x = rng.standard_normal((4, T, C)).astype(np.float32)
    layer = layers.AveragePooling1D(3, 2, padding)
    expected = layer(x, lengths=LENGTHS)
    x[np.arange(T) >= LENGTHS[:, None]] = np.nan
    np.testing.assert_array_equal(layer(x, lengths=LENGTHS), expected)
    assert expected.dtype == np.float32
    check_rows_alone(layer, np.nan_to_num(x)[:2], LENGTHS[:2])


def test_a_row_without_a_window(rng):
    layer = layers.AveragePooling1D(5)
    layer(rng.standard_normal((2, 6, C)))
    x = rng.standard_normal((2, 4, C))
    y, counts, context = layer.forward(x, np.array([4, 2]), True, 0)
    assert y.shape == (2, 0, C)
    np.testing.assert_array_equal(counts, [0, 0])
    assert not layer.backward(context, y).any()


def test_in_a_model(tmp_path, rng):
    rows = [rng.standard_normal((length, C)).astype("f") for length in (4, 9, 6, 2)]
    model = lc.Sequential([layers.AveragePooling1D(2, padding="same"), layers.LSTM(3)])
    model.compile("adam", "mse")
    model.fit(rows, np.ones((4, 3), "f"), verbose=0)
    check_file(model, rows, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="at least 2 time steps"):
        layers.AveragePooling1D(2).build((None, 1, C))


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: layers.AveragePooling1D(0), ValueError, "pool_size: expected an integer of"),
        (lambda: layers.AveragePooling1D(2, 0), ValueError, "strides: expected an integer of"),
        (lambda: layers.AveragePooling1D(2, 1, "causal"), ValueError, "padding: expected one of"),
        (
            lambda: layers.AveragePooling1D()(np.zeros((2, 3))),
            ValueError,
            "AveragePooling1D: expected inputs of shape",
        ),
    ],
)
def test_wrong_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [None, 1, 2, 10**8])
def test_windows_much_longer_than_the_sequences(padding, strides, rng):
    x = rng.standard_normal((4, T, C))
    long, longer = (layers.AveragePooling1D(size, strides, padding) for size in (10**8, 4 * T))
    for lengths in (None, LENGTHS):
        y, _, context = long.forward(x, lengths, True, 0)
        assert max(context.laid) <= 4 * T, "steps that no row has take memory"
        if strides == 1 or (strides == 10**8 and padding == "valid"):
            np.testing.assert_array_equal(y, longer.forward(x, lengths, True, 0)[0])
        assert long.backward(context, np.ones_like(y)).shape == x.shape


def test_rows_without_a_window_stay_zero_whatever_they_hold():
    x = np.full((2, 4, 1), np.inf)
    y, counts, _ = layers.AveragePooling1D(3, 1).forward(x, np.array([4, 2]), False, 0)
    np.testing.assert_array_equal(counts, [2, 0])
    np.testing.assert_array_equal(y[..., 0], [[np.inf, np.inf], [0, 0]])
