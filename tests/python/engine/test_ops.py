"""The training operations against their formulas in NumPy and float64."""

import numpy as np
import pytest

from lstmcore import _core
from reference import derivative, relative_error

DTYPES = [np.float32, np.float64]
# A few hundred rounding errors in a sum of terms of similar size.
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}
# Fourth-order differences with a width of 1e-3.
DIFFERENCES = 1e-8


def normal(rng, *shape, dtype=np.float64):
    return rng.normal(size=shape).astype(dtype)


# ---- embedding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ids_type", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize(("rows", "width", "count"), [(5, 3, 0), (1, 1, 4), (40, 17, 1000)])
def test_embedding(rng, rows, width, count, ids_type, dtype):
    table = normal(rng, rows, width, dtype=dtype)
    ids = rng.integers(0, rows, count).astype(ids_type)
    y = _core.embedding_forward(table, ids)
    assert y.dtype == dtype
    assert np.array_equal(y, table[ids])
    dy = normal(rng, count, width, dtype=dtype)
    out = np.full_like(table, np.nan)
    _core.embedding_backward(ids, dy, out)
    expected = np.zeros((rows, width))
    np.add.at(expected, ids, dy.astype(np.float64))
    assert relative_error(out, expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding_gradient_sums_in_the_order_of_the_rows(rng, dtype):
    ids = rng.integers(0, 7, 5000)
    dy = normal(rng, 5000, 33, dtype=dtype)
    expected = np.zeros((7, 33), dtype)
    for row, gradient in zip(ids, dy, strict=True):
        expected[row] += gradient
    for threads in (1, 2, 5):
        _core.set_num_threads(threads)
        out = np.empty_like(expected)
        _core.embedding_backward(ids, dy, out)
        assert np.array_equal(out, expected)


# ---- dense ---------------------------------------------------------------------------------------


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softmax": softmax,
}
DENSE_SHAPES = [(1, 1, 1), (7, 5, 3), (64, 33, 18), (3, 200, 65)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("rows", "width", "units"), DENSE_SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_forward(rng, activation, rows, width, units, with_bias, dtype):
    x, kernel = normal(rng, rows, width, dtype=dtype), normal(rng, width, units, dtype=dtype)
    bias = normal(rng, units, dtype=dtype) if with_bias else None
    z = x.astype(np.float64) @ kernel.astype(np.float64)
    expected = ACTIVATIONS[activation](z if bias is None else z + bias)
    y = _core.dense_forward(x, kernel, bias, activation)
    assert y.dtype == dtype
    # The main error is the rounding of the pre-activation, whose size is about sqrt(C).
    scale = max(1.0, np.abs(z).max()) / max(1.0, np.abs(expected).max())
    assert relative_error(y, expected) < 4 * TOLERANCE[dtype] * max(1.0, scale)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_gradients_match_finite_differences(rng, activation):
    x, kernel, bias = normal(rng, 4, 3), normal(rng, 3, 5), normal(rng, 5)
    dy = normal(rng, 4, 5)

    def loss():
        return float((_core.dense_forward(x, kernel, bias, activation) * dy).sum())

    y = _core.dense_forward(x, kernel, bias, activation)
    dkernel, dbias = np.full_like(kernel, np.nan), np.full_like(bias, np.nan)
    dx = _core.dense_backward(x, kernel, y, dy, activation, True, dkernel, dbias)
    for gradient, array in ((dx, x), (dkernel, kernel), (dbias, bias)):
        assert relative_error(gradient, derivative(loss, array)) < DIFFERENCES
    assert _core.dense_backward(x, kernel, y, dy, activation, False, None, None) is None
    alone = _core.dense_backward(x, kernel, y, dy, activation, True, None, None)
    assert np.array_equal(alone, dx)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width", "units"), DENSE_SHAPES)
def test_dense_backward(rng, rows, width, units, dtype):
    x, kernel = normal(rng, rows, width, dtype=dtype), normal(rng, width, units, dtype=dtype)
    dy = normal(rng, rows, units, dtype=dtype)
    y = _core.dense_forward(x, kernel, None, "tanh")
    dkernel, dbias = np.empty_like(kernel), np.empty(units, dtype)
    dx = _core.dense_backward(x, kernel, y, dy, "tanh", True, dkernel, dbias)
    dz = dy * (1 - y.astype(np.float64) ** 2)
    pairs = [(dx, dz @ kernel.T.astype(float)), (dkernel, x.T.astype(float) @ dz)]
    for gradient, expected in (*pairs, (dbias, dz.sum(axis=0))):
        assert gradient.dtype == dtype
        assert relative_error(gradient, expected) < 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_gives_the_same_bits_for_any_number_of_threads_and_layout(rng, dtype):
    x, kernel = normal(rng, 300, 70, dtype=dtype), normal(rng, 70, 90, dtype=dtype)
    dy = normal(rng, 300, 90, dtype=dtype)
    results = []
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        for change in (np.ascontiguousarray, np.asfortranarray):
            arrays = [change(array) for array in (x, kernel, dy)]
            y = _core.dense_forward(*arrays[:2], None, "sigmoid")
            dkernel, dbias = np.empty_like(kernel), np.empty(90, dtype)
            dx = _core.dense_backward(
                *arrays[:2], change(y), arrays[2], "sigmoid", True, dkernel, dbias
            )
            results.append([y, dx, dkernel, dbias])
    for result in results[1:]:
        assert all(map(np.array_equal, result, results[0]))


def test_dense_of_no_rows(rng):
    x, kernel, bias = np.empty((0, 3)), normal(rng, 3, 2), normal(rng, 2)
    y = _core.dense_forward(x, kernel, bias, "softmax")
    assert y.shape == (0, 2)
    dkernel, dbias = np.full_like(kernel, np.nan), np.full_like(bias, np.nan)
    dx = _core.dense_backward(x, kernel, y, y, "softmax", True, dkernel, dbias)
    assert dx.shape == (0, 3)
    assert not dkernel.any()
    assert not dbias.any()


# ---- losses --------------------------------------------------------------------------------------


def cross_entropy(logits, targets, weights):
    logits = logits.astype(np.float64)
    top = logits.max(axis=1, keepdims=True)
    log_softmax = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return -(weights[:, None] * targets * log_softmax).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (6, 4), (100, 37)])
def test_softmax_cross_entropy(rng, rows, classes, weighted, dtype):
    logits = 5 * normal(rng, rows, classes, dtype=dtype)
    labels = rng.integers(0, classes, rows)
    onehot = np.eye(classes)[labels]
    weights = rng.random(rows).astype(dtype) if weighted else None
    factors = np.ones(rows) if weights is None else weights.astype(np.float64)
    loss, gradient = _core.softmax_cross_entropy(logits, labels, weights, 0.25, True)
    expected = cross_entropy(logits, onehot, factors)
    assert abs(loss - expected) <= 8 * TOLERANCE[dtype] * max(1.0, abs(expected))
    wanted = 0.25 * factors[:, None] * (softmax(logits.astype(np.float64)) - onehot)
    assert gradient.dtype == dtype
    assert np.abs(gradient - wanted).max() < TOLERANCE[dtype]
    alone, nothing = _core.softmax_cross_entropy(logits, labels, weights, 0.25, False)
    assert (alone, nothing) == (loss, None)
    dense, dense_gradient = _core.softmax_cross_entropy(
        logits, onehot.astype(dtype), weights, 0.25, True
    )
    assert abs(dense - expected) <= 8 * TOLERANCE[dtype] * max(1.0, abs(expected))
    assert np.abs(dense_gradient - wanted).max() < TOLERANCE[dtype]


def test_cross_entropy_gradient_matches_finite_differences(rng):
    logits = normal(rng, 4, 3)
    targets = softmax(normal(rng, 4, 3))
    weights = rng.random(4)
    for aim in (targets, rng.integers(0, 3, 4)):
        _, gradient = _core.softmax_cross_entropy(logits, aim, weights, 1.0, True)

        def loss(aim=aim):
            return _core.softmax_cross_entropy(logits, aim, weights, 1.0, False)[0]

        assert relative_error(gradient, derivative(loss, logits)) < DIFFERENCES


@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_of_masked_rows_are_ignored(rng, dtype):
    logits = normal(rng, 5, 3, dtype=dtype)
    labels = np.array([0, -1, 2, 99, 1])
    weights = np.array([1, 0, 1, 0, 1], dtype)
    loss, gradient = _core.softmax_cross_entropy(logits, labels, weights, 1.0, True)
    kept = [0, 2, 4]
    expected, wanted = _core.softmax_cross_entropy(logits[kept], labels[kept], None, 1.0, True)
    assert abs(loss - expected) <= TOLERANCE[dtype] * expected
    assert np.array_equal(gradient[kept], wanted)
    assert not gradient[[1, 3]].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_of_large_logits_is_finite(dtype):
    logits = np.array([[1e4, 0.0, -1e4], [-1e30, 1e30, 0.0]], dtype)
    loss, gradient = _core.softmax_cross_entropy(logits, np.array([0, 1]), None, 1.0, True)
    assert loss == 0.0
    assert np.array_equal(gradient, np.zeros((2, 3)))
    loss, _ = _core.softmax_cross_entropy(logits[:1], np.array([2]), None, 1.0, False)
    assert loss == 2e4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("rows", "units"), [(1, 1), (6, 4), (1000, 3)])
def test_mean_squared_error(rng, rows, units, weighted, dtype):
    guess, truth = (normal(rng, rows, units, dtype=dtype) for _ in range(2))
    weights = rng.random(rows).astype(dtype) if weighted else None
    factors = np.ones(rows) if weights is None else weights.astype(np.float64)
    difference = guess.astype(np.float64) - truth
    expected = (factors * (difference**2).mean(axis=1)).sum()
    loss, gradient = _core.mean_squared_error(guess, truth, weights, 0.5, True)
    assert abs(loss - expected) <= 4 * TOLERANCE[dtype] * expected
    wanted = 0.5 * factors[:, None] * 2 / units * difference
    assert relative_error(gradient, wanted) < TOLERANCE[dtype]
    assert _core.mean_squared_error(guess, truth, weights, 0.5, False) == (loss, None)


# ---- dropout and pooling -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout(dtype, rate):
    x = np.full((300, 101), 3, dtype)
    y = _core.dropout(x, rate, 7)
    assert y.dtype == dtype
    kept = y != 0
    assert np.allclose(y[kept], 3 / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < 6 * np.sqrt(rate * (1 - rate) / x.size)
    # Neighbours in both directions are independent: they agree as often as independent draws.
    agreement = rate**2 + (1 - rate) ** 2
    for first, second in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1])):
        assert abs((first == second).mean() - agreement) < 8 / np.sqrt(x.size)


def test_dropout_masks_depend_only_on_seed_and_place(rng):
    x = normal(rng, 5000)
    y = _core.dropout(x, 0.4, 2**64 - 1)
    assert np.array_equal(_core.dropout(x, 0.4, 2**64 - 1), y)
    assert not np.array_equal(_core.dropout(x, 0.4, 0), y)
    assert np.array_equal(_core.dropout(x[:17], 0.4, 2**64 - 1), y[:17])
    assert np.array_equal(_core.dropout(x.reshape(50, 100), 0.4, 2**64 - 1).ravel(), y)
    single = _core.dropout(x.astype(np.float32), 0.4, 2**64 - 1)
    assert np.array_equal(single != 0, y != 0)
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        assert np.array_equal(_core.dropout(x, 0.4, 2**64 - 1), y)
    assert np.array_equal(_core.dropout(x, 0.0, 5), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [None, [3, 0, 5, 1]])
def test_max_over_time(rng, lengths, dtype):
    x = rng.integers(-3, 3, (4, 5, 37)).astype(dtype)  # many ties: the first counts
    y, argmax = _core.max_over_time_forward(x, None if lengths is None else np.array(lengths))
    dy = normal(rng, 4, 37, dtype=dtype)
    dx = _core.max_over_time_backward(argmax, dy, 5)
    expected = np.zeros_like(x)
    for n, length in enumerate(lengths or [5] * 4):
        if length == 0:
            assert not y[n].any()
            assert (argmax[n] == -1).all()
            continue
        assert np.array_equal(y[n], x[n, :length].max(axis=0))
        assert np.array_equal(argmax[n], x[n, :length].argmax(axis=0))
        np.put_along_axis(expected[n], argmax[n][None], dy[n][None], axis=0)
    assert np.array_equal(dx, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [None, [3, 0, 5, 1]])
def test_mean_over_time(rng, lengths, dtype):
    x = normal(rng, 4, 5, 37, dtype=dtype)
    given = None if lengths is None else np.array(lengths)
    y = _core.mean_over_time_forward(x, given)
    dy = normal(rng, 4, 37, dtype=dtype)
    dx = _core.mean_over_time_backward(given, dy, 5)
    for n, length in enumerate(lengths or [5] * 4):
        if length == 0:
            assert not y[n].any()
        else:
            assert relative_error(y[n], x[n, :length].mean(axis=0, dtype=float)) < TOLERANCE[dtype]
            for t in range(length):
                assert relative_error(dx[n, t], dy[n].astype(float) / length) < TOLERANCE[dtype]
        assert not dx[n, length:].any()


# ---- optimizer steps -----------------------------------------------------------------------------


def state_of(rng, count, dtype, shape=(7, 19)):
    return [normal(rng, *shape, dtype=dtype) for _ in range(count)]


def double(arrays):
    return [array.astype(np.float64) for array in arrays]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd(rng, momentum, nesterov, dtype):
    parameter, gradient, velocity = state_of(rng, 3, dtype)
    p, g, v = double((parameter, gradient, velocity))
    v = momentum * v - 0.1 * g
    p = p + (momentum * v - 0.1 * g if nesterov else v)
    _core.sgd_step(parameter, gradient, velocity, 0.1, momentum, nesterov)
    assert relative_error(parameter, p) < TOLERANCE[dtype]
    assert relative_error(velocity, v) < TOLERANCE[dtype]


def test_sgd_without_velocity(rng):
    parameter, gradient = state_of(rng, 2, np.float64)
    expected = parameter - 0.1 * gradient
    _core.sgd_step(parameter, gradient, None, 0.1, 0.0, False)
    assert relative_error(parameter, expected) < 1e-15


@pytest.mark.parametrize("dtype", DTYPES)
def test_rmsprop(rng, dtype):
    parameter, gradient, square = state_of(rng, 3, dtype)
    square = np.abs(square)
    p, g, s = double((parameter, gradient, square))
    s = 0.9 * s + (1 - 0.9) * g**2
    p = p - 0.01 * g / (np.sqrt(s) + 1e-7)
    _core.rmsprop_step(parameter, gradient, square, 0.01, 0.9, 1e-7)
    assert relative_error(parameter, p) < TOLERANCE[dtype]
    assert relative_error(square, s) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam(rng, weight_decay, dtype):
    (parameter,) = state_of(rng, 1, dtype)
    m, v = np.zeros_like(parameter), np.zeros_like(parameter)
    p, pm, pv = double((parameter, m, v))
    for step in (1, 2, 3):
        gradient = normal(rng, 7, 19, dtype=dtype)
        g = gradient.astype(np.float64)
        pm = 0.9 * pm + (1 - 0.9) * g
        pv = 0.999 * pv + (1 - 0.999) * g**2
        update = pm / (1 - 0.9**step) / (np.sqrt(pv / (1 - 0.999**step)) + 1e-8)
        p = p - 0.01 * (weight_decay * p + update)
        _core.adam_step(parameter, gradient, m, v, step, 0.01, 0.9, 0.999, 1e-8, weight_decay)
    # 1 - 0.999 loses digits in float32, so v is less accurate.
    assert relative_error(parameter, p) < 2 * TOLERANCE[dtype]
    assert relative_error(m, pm) < 2 * TOLERANCE[dtype]
    assert relative_error(v, pv) < (1e-13 if dtype is np.float64 else 5e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_optimizers_give_the_same_bits_for_any_number_of_threads_and_layout(rng, dtype):
    start = [np.abs(array) for array in state_of(rng, 4, dtype, (301, 257))]
    steps = {
        "sgd": lambda p, g, m, v: _core.sgd_step(p, g, m, 0.1, 0.9, True),
        "rmsprop": lambda p, g, m, v: _core.rmsprop_step(p, g, m, 0.1, 0.9, 1e-7),
        "adam": lambda p, g, m, v: _core.adam_step(p, g, m, v, 3, 0.1, 0.9, 0.999, 1e-8, 0.01),
    }
    for step in steps.values():
        results = []
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            for change in (np.copy, np.asfortranarray):
                p, g, m, v = (array.copy() for array in start)
                step(p, change(g), m, v)
                assert np.array_equal(g, start[1])
                results.append([p, m, v])
        for result in results[1:]:
            assert all(map(np.array_equal, result, results[0]))


# ---- norms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 5, 100_003])
def test_squared_norm_is_summed_in_double(rng, size, dtype):
    values = normal(rng, size, dtype=dtype)
    expected = float((values.astype(np.float64) ** 2).sum())
    results = set()
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        results.add(_core.squared_norm(values))
    assert len(results) == 1
    assert abs(results.pop() - expected) <= 1e-13 * expected
    assert _core.squared_norm(values[::-1]) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scale_and_clip(rng, dtype):
    values = normal(rng, 41, 3, dtype=dtype)
    scaled = values.copy()
    _core.scale(scaled, 0.3)
    assert np.array_equal(scaled, values * dtype(0.3))
    values[0, :] = np.nan, np.inf, -np.inf
    clipped = values.copy()
    _core.clip(clipped, 0.5)
    assert np.array_equal(clipped, np.clip(values, -0.5, 0.5), equal_nan=True)
