"""Conv1D and MaxPooling1D: plain NumPy, Keras' shapes, ragged rows, gradients, bad input."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import _core, layers
from reference import derivative, relative_error

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 4e-6, np.float64: 1e-14}
PADDINGS = ["valid", "same", "causal"]
ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
}


def normal(rng, *shape, dtype=np.float64):
    return rng.normal(size=shape).astype(dtype)


def padded(row, span, strides, padding, fill):
    """Pad one sequence (T, C) with what its windows need beyond its ends."""
    before = after = 0
    if padding == "causal":
        before = span - 1
    if padding == "same":
        windows = -(-len(row) // strides)
        total = max((windows - 1) * strides + span - len(row), 0)
        before, after = total // 2, total - total // 2
    ends = ((before, after), (0, 0))
    return np.pad(row.astype(np.float64), ends, constant_values=fill)


def convolve(row, kernel, strides, padding, dilation):
    """Convolve one sequence, window by window."""
    span = (len(kernel) - 1) * dilation + 1
    row = padded(row, span, strides, padding, 0.0) if len(row) else row
    starts = range(0, len(row) - span + 1, strides)
    windows = [row[start : start + span : dilation] for start in starts]
    z = [np.einsum("kc,kcf->f", window, kernel.astype(np.float64)) for window in windows]
    return np.array(z).reshape(len(z), kernel.shape[2])


def maxima(row, size, strides, padding):
    row = padded(row, size, strides, padding, -np.inf) if len(row) else row
    starts = range(0, len(row) - size + 1, strides)
    y = [row[start : start + size].max(axis=0) for start in starts]
    return np.array(y).reshape(len(y), row.shape[1])


def batch_of(rows, steps):
    y = np.zeros((len(rows), steps, rows[0].shape[1]))
    for out, row in zip(y, rows, strict=True):
        out[: len(row)] = row
    return y


# ---- the engine's functions ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("size", "strides", "dilation"),
    [(1, 1, 1), (3, 1, 1), (4, 1, 1), (3, 2, 1), (2, 3, 1), (3, 1, 2), (3, 4, 2), (2, 2, 3)],
)
def test_convolution(rng, size, strides, dilation, padding, ragged, dtype):
    x, kernel = normal(rng, 5, 11, 4, dtype=dtype), normal(rng, size, 4, 6, dtype=dtype)
    bias = normal(rng, 6, dtype=dtype)
    lengths = np.array([11, 0, 1, 7, 10]) if ragged else None
    valid = lengths if ragged else [11] * 5
    rows = [
        convolve(row[:length], kernel, strides, padding, dilation) + bias
        for row, length in zip(x, valid, strict=True)
    ]
    y = _core.conv1d_forward(x, lengths, kernel, bias, strides, padding, dilation, "linear")
    assert y.dtype == dtype
    assert relative_error(y, batch_of(rows, y.shape[1])) < TOLERANCE[dtype]
    counts = _core.window_counts(np.array(valid), size, strides, padding, dilation)
    assert counts.tolist() == [len(row) for row in rows]
    for name, function in ACTIVATIONS.items():
        y = _core.conv1d_forward(x, lengths, kernel, bias, strides, padding, dilation, name)
        expected = batch_of([function(row) for row in rows], y.shape[1])
        assert relative_error(y, expected) < 3 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (0, 3), (5, 0)])
@pytest.mark.parametrize(("size", "strides", "dilation"), [(1, 1, 1), (3, 2, 1), (3, 1, 2)])
def test_packed_convolution(rng, size, strides, dilation, before, after, dtype):
    """The bits are those of a convolution of sequences padded with zeros."""
    x, kernel = normal(rng, 5, 11, 4, dtype=dtype), normal(rng, size, 4, 6, dtype=dtype)
    bias = normal(rng, 6, dtype=dtype)
    padded = np.pad(x, ((0, 0), (before, after), (0, 0)))
    for name in ("linear", *ACTIVATIONS):
        packed = _core.PackedConv1d(kernel, bias, strides, dilation, name)
        y = packed.forward(x, before, after)
        assert y.dtype == dtype
        expected = _core.conv1d_forward(
            padded, None, kernel, bias, strides, "valid", dilation, name
        )
        np.testing.assert_array_equal(y, expected)
    y = _core.PackedConv1d(kernel, strides=strides, dilation_rate=dilation).forward(x[:, ::-1])
    expected = _core.conv1d_forward(
        x[:, ::-1], None, kernel, None, strides, "valid", dilation, "linear"
    )
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("size", "strides", "dilation"), [(3, 1, 1), (3, 2, 1), (2, 3, 1), (3, 1, 2), (3, 4, 2)]
)
def test_convolution_gradients_match_finite_differences(rng, size, strides, dilation, padding):
    x, kernel, bias = normal(rng, 3, 7, 2), normal(rng, size, 2, 3), normal(rng, 3)
    how = (strides, padding, dilation, "tanh")
    for lengths in (None, np.array([7, 2, 5])):
        y = _core.conv1d_forward(x, lengths, kernel, bias, *how)
        dy = normal(rng, *y.shape)

        def loss(lengths=lengths, dy=dy):
            return float((_core.conv1d_forward(x, lengths, kernel, bias, *how) * dy).sum())

        dkernel, dbias = np.full_like(kernel, np.nan), np.full_like(bias, np.nan)
        dx = _core.conv1d_backward(x, lengths, kernel, y, dy, *how, True, dkernel, dbias)
        for gradient, array in ((dx, x), (dkernel, kernel), (dbias, bias)):
            assert relative_error(gradient, derivative(loss, array)) < 1e-8
        nothing = _core.conv1d_backward(x, lengths, kernel, y, dy, *how, False, None, None)
        assert nothing is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides"), [(1, 1), (2, 2), (3, 1), (3, 2), (2, 5)])
def test_pooling(rng, size, strides, padding, ragged, dtype):
    x = normal(rng, 5, 11, 4, dtype=dtype)
    lengths = np.array([11, 0, 1, 7, 10]) if ragged else None
    valid = lengths if ragged else [11] * 5
    rows = [maxima(row[:length], size, strides, padding) for row, length in zip(x, valid, strict=1)]
    y, argmax = _core.max_pool1d_forward(x, lengths, size, strides, padding)
    assert y.dtype == dtype
    assert np.array_equal(y, batch_of(rows, y.shape[1]))
    dy = normal(rng, *y.shape, dtype=dtype)
    dx = _core.max_pool1d_backward(argmax, dy, 11)
    expected = np.zeros(x.shape)
    for n, t, c in np.ndindex(argmax.shape):
        if argmax[n, t, c] >= 0:
            expected[n, argmax[n, t, c], c] += dy[n, t, c]
    assert relative_error(dx, expected) < TOLERANCE[dtype]


def test_pooling_takes_the_first_of_equal_values_and_propagates_nan():
    x = np.array([[[2.0], [2.0], [np.nan], [1.0], [np.inf], [np.nan]]])
    y, argmax = _core.max_pool1d_forward(x, None, 2, 2, "valid")
    np.testing.assert_array_equal(y[0, :, 0], [2.0, np.nan, np.nan])
    assert argmax[0, :, 0].tolist() == [0, 2, 5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_for_any_number_of_threads_and_layout(rng, dtype):
    x, kernel = normal(rng, 12, 90, 30, dtype=dtype), normal(rng, 5, 30, 50, dtype=dtype)
    lengths = rng.integers(0, 91, 12)
    for how in ((1, "same", 1, "relu"), (2, "causal", 3, "linear")):
        dy = normal(rng, *_core.conv1d_forward(x, lengths, kernel, None, *how).shape, dtype=dtype)
        results = []
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            for change in (np.ascontiguousarray, np.asfortranarray):
                arrays = [change(array) for array in (x, kernel, dy)]
                y = _core.conv1d_forward(arrays[0], lengths, arrays[1], None, *how)
                dkernel, dbias = np.empty_like(kernel), np.empty(50, dtype)
                dx = _core.conv1d_backward(
                    *(arrays[0], lengths, arrays[1], y, arrays[2], *how, True, dkernel, dbias)
                )
                pooled = _core.max_pool1d_forward(arrays[0], lengths, 3, 2, "same")
                back = _core.max_pool1d_backward(pooled[1], change(pooled[0]), 90)
                results.append([y, dx, dkernel, dbias, *pooled, back])
        for result in results[1:]:
            assert all(map(np.array_equal, result, results[0]))


BAD = {
    "width": (lambda x, k: _core.conv1d_forward(x[..., :2], None, k, None, 1, "same", 1, "relu"),),
    "packed width": (
        lambda x, k: _core.PackedConv1d(k).forward(x[..., :2]),
        ValueError,
        "x: expected shape",
    ),
    "packed type": (
        lambda x, k: _core.PackedConv1d(k.astype("f")).forward(x),
        TypeError,
        "x: expected dtype float32 like kernel",
    ),
    "packed before": (
        lambda x, k: _core.PackedConv1d(k).forward(x, -1),
        ValueError,
        "before: expected 0 to 2147483647, got -1",
    ),
    "packed after": (
        lambda x, k: _core.PackedConv1d(k).forward(x, 0, 1.5),
        TypeError,
        "after: expected an integer",
    ),
    "packed short": (
        lambda x, k: _core.PackedConv1d(k).forward(x[:, :1], 1),
        ValueError,
        "x: expected at least 3 time steps",
    ),
    "packed strides": (
        lambda x, k: _core.PackedConv1d(k, strides=0),
        ValueError,
        "strides: expected 1 to 2147483647, got 0",
    ),
    "packed activation": (
        lambda x, k: _core.PackedConv1d(k, activation="swish"),
        ValueError,
        "activation: expected linear",
    ),
    "padding": (
        lambda x, k: _core.conv1d_forward(x, None, k, None, 1, "full", 1, "relu"),
        ValueError,
        "padding: expected valid, same or causal, got 'full'",
    ),
    "padding type": (
        lambda x, k: _core.conv1d_forward(x, None, k, None, 1, 3, 1, "relu"),
        TypeError,
        "padding: expected a string",
    ),
    "strides": (
        lambda x, k: _core.conv1d_forward(x, None, k, None, 0, "same", 1, "relu"),
        ValueError,
        "strides: expected 1 to 2147483647, got 0",
    ),
    "dilation": (
        lambda x, k: _core.conv1d_forward(x, None, k, None, 1, "same", 2**31, "relu"),
        ValueError,
        "dilation_rate: expected 1 to 2147483647",
    ),
    "short": (
        lambda x, k: _core.conv1d_forward(x, None, k, None, 1, "valid", 3, "relu"),
        ValueError,
        "x: expected at least 7 time steps",
    ),
    "no kernel": (
        lambda x, k: _core.conv1d_forward(x, None, k[:0], None, 1, "valid", 3, "relu"),
        ValueError,
        "kernel: expected at least one step",
    ),
    "kernel type": (
        lambda x, k: _core.conv1d_forward(x, None, k.astype("f"), None, 1, "same", 1, "relu"),
        TypeError,
        "kernel: expected dtype float64 like x",
    ),
    "bias": (
        lambda x, k: _core.conv1d_forward(x, None, k, np.zeros(3), 1, "same", 1, "relu"),
        ValueError,
        "bias: expected shape",
    ),
    "lengths": (
        lambda x, k: _core.conv1d_forward(x, np.array([6, 1]), k, None, 1, "same", 1, "relu"),
        ValueError,
        "lengths: expected values from 0 to 5",
    ),
    "pool size": (
        lambda x, k: _core.max_pool1d_forward(x, None, 0, 1, "same"),
        ValueError,
        "pool_size: expected 1 to",
    ),
    "causal pooling": (
        lambda x, k: _core.max_pool1d_forward(x, None, 2, 1, "causal"),
        ValueError,
        "padding: expected valid or same for pooling",
    ),
    "argmax": (
        lambda x, k: _core.max_pool1d_backward(np.full((2, 5, 4), 5), x, 5),
        ValueError,
        "argmax: expected values from -1 to 4, got 5",
    ),
    "steps": (
        lambda x, k: _core.window_counts(np.array([3, -1]), 2, 1, "same", 1),
        ValueError,
        "steps: expected numbers of at least 0, got -1",
    ),
}
BAD["width"] = (*BAD["width"], ValueError, "kernel: expected shape")


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments_of_the_engine(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call(np.zeros((2, 5, 4)), np.zeros((3, 4, 2)))


def test_a_refused_backward_writes_nothing(rng):
    x, kernel, y = normal(rng, 2, 5, 4), normal(rng, 3, 4, 2), normal(rng, 2, 5, 2)
    dkernel = np.full_like(kernel, 7.0)
    with pytest.raises(ValueError, match="dbias: expected shape"):
        _core.conv1d_backward(
            x, None, kernel, y, y, 1, "same", 1, "linear", True, dkernel, np.zeros(3)
        )
    assert (dkernel == 7.0).all()


# ---- layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "arguments", "expected"),
    [
        (10, {"kernel_size": 3}, 8),
        (128, {"kernel_size": 3, "strides": 2}, 63),
        (10, {"kernel_size": 3, "dilation_rate": 4}, 2),
        (10, {"kernel_size": 10}, 1),
        (10, {"kernel_size": 4, "padding": "same"}, 10),
        (10, {"kernel_size": 4, "padding": "same", "strides": 3}, 4),
        (9, {"kernel_size": 2, "padding": "same", "strides": 4}, 3),
        (10, {"kernel_size": 5, "padding": "causal"}, 10),
        (10, {"kernel_size": 5, "padding": "causal", "dilation_rate": 8}, 10),
        (10, {"kernel_size": 5, "padding": "causal", "strides": 4}, 3),
    ],
)
def test_shapes_are_those_of_keras(steps, arguments, expected):
    assert layers.Conv1D(7, **arguments).build((None, steps, 3)) == (None, expected, 7)
    assert layers.Conv1D(7, **arguments).build((None, None, 3)) == (None, None, 7)
    assert layers.Conv1D(7, **arguments)(np.zeros((2, steps, 3))).shape == (2, expected, 7)


def test_pooling_on_examples_of_keras():
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0]).reshape(1, 5, 1)
    for arguments, expected in (
        ({"pool_size": 2, "strides": 1}, [2, 3, 4, 5]),
        ({"pool_size": 2}, [2, 4]),
        ({"pool_size": 2, "strides": 1, "padding": "same"}, [2, 3, 4, 5, 5]),
        ({"pool_size": 2, "padding": "same"}, [2, 4, 5]),
    ):
        layer = layers.MaxPooling1D(**arguments)
        assert layer(x)[0, :, 0].tolist() == expected
        assert layer.build((None, 5, 1)) == (None, len(expected), 1)


def test_initial_values_are_those_of_keras():
    layer = layers.Conv1D(32, 5)
    layer(np.zeros((1, 9, 16)))
    kernel = layer.weights["kernel"]
    assert kernel.shape == (5, 16, 32)
    limit = np.sqrt(6 / (5 * 16 + 5 * 32))
    assert 0.98 * limit < abs(kernel).max() <= limit
    assert not layer.weights["bias"].any()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("strides", [1, 2, 3])
def test_ragged_rows_are_computed_as_if_alone(rng, strides, padding):
    x = normal(rng, 6, 14, 3, dtype=np.float32)
    lengths = np.array([14, 9, 1, 0, 13, 6])
    convolution = layers.Conv1D(5, 3, strides, padding, dilation_rate=2, activation="tanh")
    pooling = layers.MaxPooling1D(3, strides, "valid" if padding == "valid" else "same")
    convolution(x)
    pooling(x)
    for layer in (convolution, pooling):
        y, after, _ = layer.forward(x, lengths, False, 0)
        assert after.tolist() == layer.output_lengths(lengths).tolist()
        spoilt = x.copy()
        spoilt[np.arange(14) >= lengths[:, None]] = np.nan
        wider = np.concatenate([spoilt, np.full((6, 5, 3), np.nan, np.float32)], axis=1)
        again, _, _ = layer.forward(wider, lengths, False, 0)
        np.testing.assert_array_equal(again[:, : y.shape[1]], y)
        assert not again[:, y.shape[1] :].any()
        for n, length in enumerate(lengths):
            assert not y[n, after[n] :].any()
            if after[n]:
                np.testing.assert_array_equal(y[n, : after[n]], layer(x[[n], :length])[0])
            else:
                assert length < 5


def cnn_lstm(**options):
    return lc.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True),
            layers.Conv1D(6, 3, padding="same", activation="relu"),
            layers.MaxPooling1D(2, padding="same"),
            layers.Conv1D(5, 2, 2),
            layers.LSTM(4),
            layers.Dense(2, activation="softmax"),
        ],
        **options,
    )


def test_masks_flow_through_a_cnn_lstm(rng, tmp_path):
    model = cnn_lstm(seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    rows = [rng.integers(1, 9, size) for size in (12, 5, 1, 0, 8, 3, 12, 2)]
    y = rng.integers(0, 2, 8)
    losses = model.fit(rows, y, epochs=3, batch_size=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    padded_ids = np.zeros((8, 20), int)
    for out, row in zip(padded_ids, rows, strict=True):
        out[: len(row)] = row
    together = model.predict(rows)
    np.testing.assert_array_equal(model.predict(padded_ids), together)
    for n, row in enumerate(rows):
        if len(row):
            np.testing.assert_array_equal(model.predict([row])[0], together[n])
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(rows), together)
    assert [layer.get_config() for layer in again.layers] == [
        layer.get_config() for layer in model.layers
    ]
    model.fit(rows, y, epochs=5, initial_epoch=3, verbose=0)
    again.fit(rows, y, epochs=5, initial_epoch=3, verbose=0)
    np.testing.assert_array_equal(again.predict(rows), model.predict(rows))


def test_shapes_of_a_fixed_number_of_steps():
    model = lc.Sequential(
        [layers.Input((28, 3)), layers.Conv1D(4, 5), layers.MaxPooling1D(), layers.LSTM(2)]
    )
    lines = []
    model.summary(lines.append)
    assert "(None, 24, 4)" in lines[2]
    assert "(None, 12, 4)" in lines[3]
    assert model.count_params() == (5 * 3 + 1) * 4 + 4 * 2 * (4 + 2 + 1)
    with pytest.raises(ValueError, match=r"layer 'conv1d_1': expected inputs of at least 3 time"):
        lc.Sequential([layers.Input((2, 3)), layers.Conv1D(4, 3, name="conv1d_1")])


@pytest.mark.parametrize("ragged", [False, True], ids=["array", "rows"])
def test_targets_have_the_steps_of_the_outputs(ragged, rng):
    model = lc.Sequential(
        [layers.Conv1D(4, 3, 2, "same"), layers.Dense(3, activation="softmax")], seed=1
    )
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    sizes = [9, 4, 1, 7] if ragged else [9] * 4
    x = [normal(rng, size, 2, dtype=np.float32) for size in sizes]
    y = [rng.integers(0, 3, -(-size // 2)) for size in sizes]
    weights = [np.full(len(row), 0.5, np.float32) for row in y]
    if not ragged:
        x, y, weights = np.stack(x), np.stack(y), np.stack(weights)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, sample_weight=weights)
    before = model.evaluate(x, y, batch_size=2, verbose=0)
    assert before == pytest.approx(model.evaluate(x, y, batch_size=4, verbose=0))
    assert [len(row) for row in model.predict(x)] == [len(row) for row in y]
    wrong = [np.zeros(size, int) for size in sizes] if ragged else np.zeros((4, 9), int)
    with pytest.raises(ValueError, match=r"y: expected 5 .* like the model's outputs, got 9"):
        model.fit(x, wrong, verbose=0)
    # The mean loss over all steps.
    probabilities = model.predict(x)
    picked = [
        np.log(row[np.arange(len(labels)), labels])
        for row, labels in zip(probabilities, y, strict=True)
    ]
    assert before[0] == pytest.approx(-np.concatenate(picked).mean(), rel=1e-5)


def test_rows_without_a_window_have_no_outputs(rng):
    model = lc.Sequential([layers.Conv1D(4, 3), layers.Dense(2)])
    rows = [normal(rng, size, 2, dtype=np.float32) for size in (2, 1, 5)]
    assert [row.shape for row in model.predict(rows)] == [(0, 2), (0, 2), (3, 2)]
    assert [row.shape for row in model.predict(rows[:2])] == [(0, 2), (0, 2)]
    assert model.predict(np.zeros((0, 5, 2), np.float32)).shape == (0, 3, 2)
    summed = lc.Sequential([layers.Conv1D(4, 3), layers.LSTM(3), layers.Dense(1)])
    summed.compile("sgd", "mse")
    summed.fit(rows[:2], np.ones((2, 1), np.float32), verbose=0)


def test_targets_without_time_are_not_cut_to_the_steps_of_short_rows(rng):
    model = lc.Sequential([layers.LSTM(3), layers.Dense(4)])
    model.compile("sgd", "mse")
    rows = [normal(rng, size, 2, dtype=np.float32) for size in (2, 1)]
    model.fit(rows, np.ones((2, 4), np.float32), verbose=0)


def test_penalties_and_constraints_of_a_convolution(rng):
    bound = lc.constraints.MaxNorm(0.5)
    layer = layers.Conv1D(
        4, 3, kernel_constraint=bound, bias_constraint=bound, kernel_regularizer=0.1
    )
    model = lc.Sequential([layer, layers.GlobalAveragePooling1D()], seed=2)
    model.compile(lc.optimizers.SGD(1.0), "mse")
    x = normal(rng, 4, 8, 2, dtype=np.float32)
    for _ in range(3):
        model.train_on_batch(x, np.full((4, 4), 9.0, np.float32))
        kernel = layer.weights["kernel"]
        # The norm of a filter is taken over its steps and features.
        assert np.sqrt((kernel**2).sum(axis=(0, 1))).max() <= 0.5 * (1 + 1e-6)
        assert np.linalg.norm(layer.weights["bias"]) <= 0.5 * (1 + 1e-6)
    plain = model.evaluate(x, model.predict(x), verbose=0)
    assert plain == pytest.approx(0.1 * float((layer.weights["kernel"] ** 2).sum()), rel=1e-5)


CONSTRUCTORS = {
    "filters": (lambda: layers.Conv1D(0, 3), ValueError, "filters: expected an integer of at"),
    "kernel_size": (lambda: layers.Conv1D(2, (3,)), TypeError, "kernel_size: expected an integer"),
    "strides": (lambda: layers.Conv1D(2, 3, 0), ValueError, "strides: expected an integer of at"),
    "padding": (lambda: layers.Conv1D(2, 3, padding="full"), ValueError, "padding: expected one"),
    "dilation": (
        lambda: layers.Conv1D(2, 3, dilation_rate=0),
        ValueError,
        "dilation_rate: expected an integer of at least 1",
    ),
    "activation": (
        lambda: layers.Conv1D(2, 3, activation="celu"),
        ValueError,
        "activation: expected one of",
    ),
    "bias": (lambda: layers.Conv1D(2, 3, use_bias=1), TypeError, "use_bias: expected True or F"),
    "Keras' data_format": (lambda: layers.Conv1D(2, 3, 1, "same", None), TypeError, "positional"),
    "pool_size": (lambda: layers.MaxPooling1D(0), ValueError, "pool_size: expected an integer"),
    "pool strides": (lambda: layers.MaxPooling1D(2, 0), ValueError, "strides: expected an integer"),
    "pool padding": (
        lambda: layers.MaxPooling1D(2, padding="causal"),
        ValueError,
        "padding: expected one of 'valid', 'same'",
    ),
    "rank": (
        lambda: layers.Conv1D(2, 3)(np.zeros((2, 3))),
        ValueError,
        r"Conv1D: expected inputs of shape \(N, T, C\), got",
    ),
    "rank of a pooling": (
        lambda: layers.MaxPooling1D()(np.zeros((2, 3))),
        ValueError,
        r"MaxPooling1D: expected inputs of shape \(N, T, C\), got",
    ),
    "short": (
        lambda: layers.Conv1D(2, 3)(np.zeros((2, 2, 3))),
        ValueError,
        "expected at least 3 time steps, which one window takes, got 2",
    ),
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_wrong_arguments_of_layers(name):
    make, kind, message = CONSTRUCTORS[name]
    with pytest.raises(kind, match=message):
        make()
