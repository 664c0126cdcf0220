"""Keras' LSTMs inside other layers and under policies: on the engine, or left to Keras."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

import lstmcore.keras as lk  # noqa: E402
from keras_engine_kit import BACKEND, FILTERS, Counted, H, T, close, randomize  # noqa: E402

K = keras.layers
pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]
WINDOWS, ROWS = 2, 6
X = np.random.default_rng(3).normal(size=(ROWS, WINDOWS, T, 3)).astype("float32")
Y = X.sum(axis=(1, 2, 3))


def hierarchy(windows):
    """Return a model that reads each window, in both directions, and then the windows."""
    inputs = keras.Input((windows, T, 3))
    read = K.TimeDistributed(K.Bidirectional(K.LSTM(H)))(inputs)
    return keras.Model(inputs, K.Dense(1)(K.LSTM(H)(read)))


def stack(_):
    """Return a model in which one `RNN` has several cells, and another has one."""
    inputs = keras.Input((WINDOWS, T, 3))
    flat = K.Reshape((WINDOWS * T, 3))(inputs)
    cells = K.RNN([K.LSTMCell(H), K.LSTMCell(H)], return_sequences=True)(flat)
    both = K.Bidirectional(K.RNN(K.LSTMCell(H)))(cells)
    return keras.Model(inputs, K.Dense(1)(both))


def train(model):
    """Return the losses, the weights after training, and predictions."""
    model.compile("sgd", "mse")
    losses = model.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0).history["loss"]
    return [np.array(losses), *model.get_weights(), model.predict(X, verbose=0)]


def train_both(make, *arguments):
    """Train a model by Keras and on the engine, and return both results and the counts."""
    expected = train(randomize(make(*arguments)))
    model = randomize(make(*arguments))
    with Counted() as counted, lk.accelerate():
        actual = train(model)
    return actual, expected, counted


@pytest.mark.parametrize("windows", [WINDOWS, None])
def test_windows_of_a_sequence(windows):
    actual, expected, counted = train_both(hierarchy, windows)
    close(actual, expected, tolerance=1e-4)
    assert counted.engine >= 4 * (2 * WINDOWS + 1)  # batches, LSTMs
    assert counted.keras == {}


def test_cells_in_a_stack():
    actual, expected, counted = train_both(stack, None)
    close(actual, expected, tolerance=1e-4)
    assert counted.engine >= 4 * 2
    assert list(counted.keras) == ["a cell of class StackedRNNCells"]


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"], indirect=True)
def test_policies(policy):
    if policy == "float64" and BACKEND == "jax":
        pytest.skip("JAX computes in float32 by default")
    actual, expected, counted = train_both(hierarchy, WINDOWS)
    if policy == "float64":
        assert counted.engine
        assert counted.keras == {}
        assert actual[1].dtype == np.float64
        close(actual, expected, tolerance=1e-5)
    else:
        assert counted.engine == 0
        assert list(counted.keras) == ["the type bfloat16"]
        close(actual, expected, tolerance=0)
