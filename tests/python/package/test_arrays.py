"""Arrays of other libraries are read through DLPack, the buffer protocol or `__array__`."""

import array

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore._arrays import as_array

CONFIG = lc.LSTMConfig(3, 5)


class DLPackOnly:
    """An array of a library without `__array__`; `device` is DLPack's number."""

    def __init__(self, values, device=1):
        self.values, self.device = values, device

    def __dlpack__(self, **options):
        return self.values.__dlpack__()

    def __dlpack_device__(self):
        return self.device, 0


class ArrayOnly:
    """An object with `__array__` only."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


def as_buffer(values):
    return memoryview(np.ascontiguousarray(values))


KINDS = {"dlpack": DLPackOnly, "__array__": ArrayOnly, "buffer": as_buffer}


@pytest.fixture
def weights(rng):
    return {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in CONFIG.parameter_shapes().items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_no_copy(kind, rng):
    values = rng.standard_normal((4, 3)).astype(np.float32)
    seen = as_array(KINDS[kind](values), "x")
    assert np.shares_memory(seen, values)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_accept_them(kind, weights, rng):
    x = rng.standard_normal((4, 6, 3)).astype(np.float32)
    h, c = (rng.standard_normal((1, 4, 5)).astype(np.float32) for _ in range(2))
    lengths = np.array([6, 0, 3, 5])
    wrap = KINDS[kind]
    y, state, tape = F.lstm(x, weights, CONFIG, state=(h, c), lengths=lengths, training=True)
    theirs = {name: wrap(value) for name, value in weights.items()}
    y2, state2, tape2 = F.lstm(
        wrap(x), theirs, CONFIG, state=(wrap(h), wrap(c)), lengths=wrap(lengths), training=True
    )
    assert np.array_equal(y, y2)
    assert np.array_equal(state.c, state2.c)
    dy = np.ones_like(y)
    assert np.array_equal(F.lstm_backward(tape, dy).x, F.lstm_backward(tape2, wrap(dy)).x)


@pytest.mark.parametrize("kind", KINDS)
def test_strides_and_resets(kind, weights, rng):
    if kind == "buffer":
        pytest.skip("the buffer here is contiguous")
    x = rng.standard_normal((6, 4, 3)).astype(np.float32).transpose(1, 0, 2)
    reset = rng.random((4, 6)) < 0.3
    expected, _ = F.lstm(x, weights, CONFIG, reset=reset)
    y, _ = F.lstm(KINDS[kind](x), weights, CONFIG, reset=ArrayOnly(reset))
    assert np.array_equal(y, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_stream(kind, weights, rng):
    x = rng.standard_normal(3).astype(np.float32)
    expected = lc.LSTMStream(weights, CONFIG).step(x)
    assert np.array_equal(lc.LSTMStream(weights, CONFIG).step(KINDS[kind](x)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_models(kind, rng):
    x = rng.standard_normal((8, 5, 3)).astype(np.float32)
    y = rng.integers(0, 2, 8)
    sample_weight = rng.random(8)
    wrap = KINDS[kind]
    outputs = []
    for form in (np.asarray, wrap):
        model = lc.Sequential([lc.layers.LSTM(4), lc.layers.Dense(2, activation="softmax")], seed=0)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(form(x), form(y), sample_weight=form(sample_weight), epochs=2, verbose=0)
        outputs.append(model.predict(form(x)))
    assert np.array_equal(*outputs)


class SparseOnly:
    """Like a scipy.sparse matrix: has a shape, can be sliced and iterated, but is not an array."""

    nnz, dtype = 2, np.dtype(np.float32)

    def __init__(self, shape):
        self.shape = shape

    def __iter__(self):
        return iter([self])

    def __getitem__(self, key):
        return self

    def toarray(self):
        return np.zeros(self.shape)


def test_errors_say_how_to_make_sparse_matrices_dense(weights, rng):
    x = rng.standard_normal((4, 5, 3)).astype(np.float32)
    model = lc.Sequential([lc.layers.LSTM(2, return_sequences=True), lc.layers.Dense(1)])
    model.compile("sgd", "mse")
    flat = lc.Sequential([lc.layers.Dense(1)])
    flat.compile("sgd", "mse")
    expected = r": expected a dense array, got a sparse SparseOnly; pass \.toarray\(\)$"
    for thing in (SparseOnly((4, 5)), SparseOnly((4, 5, 3)), [SparseOnly((5, 3))]):
        for call in (
            flat.predict,
            lambda thing: flat.fit(thing, [[1]] * 4),
            lambda thing: model.fit(thing, x[..., :1], tbptt=2),
            lambda thing: flat.evaluate(thing, [[1]] * 4),
            lambda thing: flat.train_on_batch(thing, [[1]] * 4),
        ):
            with pytest.raises(TypeError, match="^x" + expected):
                call(thing)
    for name, options in (("y", {}), ("y", {"tbptt": 2})):
        with pytest.raises(TypeError, match=f"^{name}" + expected):
            model.fit(x, SparseOnly((4, 5)), **options)
    with pytest.raises(TypeError, match="^sample_weight" + expected):
        model.fit(x, x[..., :1], sample_weight=SparseOnly((4, 5)))
    with pytest.raises(TypeError, match="^x" + expected):
        F.lstm(SparseOnly((4, 5, 3)), weights, CONFIG)


def test_values_of_types_that_numpy_lacks():
    foreign = np.zeros((4, 3), dtype="V2")  # as NumPy shows bfloat16
    with pytest.raises(
        TypeError, match=r"^x: expected numbers, got .*; pass .astype\('float32'\)$"
    ):
        lc.Sequential([lc.layers.Dense(1)]).predict(foreign)


def test_rows_may_be_anything(rng):
    rows = [rng.standard_normal((steps, 3)).astype(np.float32) for steps in (4, 2, 5)]
    model = lc.Sequential([lc.layers.LSTM(4)], seed=0)
    expected = model.predict(rows)
    assert np.array_equal(model.predict([DLPackOnly(row) for row in rows]), expected)
    column = np.empty(3, object)
    column[:] = rows
    assert np.array_equal(model.predict(ArrayOnly(column)), expected)


def test_ids_from_the_standard_library():
    model = lc.Sequential([lc.layers.Embedding(9, 3), lc.layers.LSTM(4)], seed=0)
    rows = [array.array("q", [1, 2, 3]), array.array("q", [4, 5])]
    assert np.array_equal(model.predict(rows), model.predict([[1, 2, 3], [4, 5]]))


def test_another_device():
    x = DLPackOnly(np.zeros((1, 2, 3), np.float32), device=2)
    weights = F.init_weights(CONFIG, seed=0)
    with pytest.raises(
        TypeError, match=r"^x: expected an array in the CPU's memory, got DLPackOnly"
    ):
        F.lstm(x, weights, CONFIG)
    with pytest.raises(
        TypeError, match=r"^weights\['weight_ih_l0'\]: expected an array in the CPU's memory"
    ):
        F.lstm(
            np.zeros((1, 2, 3), np.float32),
            {**weights, "weight_ih_l0": DLPackOnly(weights["weight_ih_l0"], device=2)},
            CONFIG,
        )


@pytest.mark.parametrize("value", [None, "text", b"bytes", 3, 2.5, object(), iter([1.0])])
def test_values_that_are_not_arrays(value):
    with pytest.raises(TypeError, match=r"^x: expected an array of float"):
        F.lstm(value, F.init_weights(CONFIG, seed=0), CONFIG)


def test_types_are_not_converted():
    with pytest.raises(TypeError, match=r"^x: expected dtype float32"):
        F.lstm(DLPackOnly(np.zeros((1, 2, 3))), F.init_weights(CONFIG, seed=0), CONFIG)


def test_half_an_exporter():
    class Half:
        def __dlpack__(self, **options):
            raise AssertionError("the device was not requested")

    with pytest.raises(TypeError, match=r"^x: expected an array of float"):
        F.lstm(Half(), F.init_weights(CONFIG, seed=0), CONFIG)


def test_an_exporter_that_fails():
    class Broken:
        def __dlpack_device__(self):
            return 1, 0

        def __dlpack__(self, **options):
            raise BufferError("it is elsewhere")

    with pytest.raises(
        TypeError, match=r"^x: expected an array that NumPy can read, got Broken: it"
    ):
        F.lstm(Broken(), F.init_weights(CONFIG, seed=0), CONFIG)
