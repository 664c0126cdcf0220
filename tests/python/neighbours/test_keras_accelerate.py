"""lstmcore.keras.accelerate puts Keras' own layers on the engine, and leaves no trace after it."""

import gc
import os
import threading

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed")
if not keras.__version__.startswith("3."):
    pytest.skip("Keras 3 is not installed", allow_module_level=True)

import lstmcore.keras as lk  # noqa: E402
from keras_engine_kit import (  # noqa: E402
    BACKEND,
    FILTERS,
    MASKS,
    Counted,
    H,
    N,
    T,
    close,
    data,
    evaluate,
    randomize,
)

K = keras.layers
METHODS = [K.LSTM.__dict__["inner_loop"], K.RNN.__dict__["inner_loop"]]
pytestmark = [pytest.mark.filterwarnings(text) for text in FILTERS]


def is_on():
    methods = [kind.__dict__["inner_loop"] for kind in (K.LSTM, K.RNN)]
    changed = [method is not own for method, own in zip(methods, METHODS, strict=True)]
    assert len(set(changed)) == 1
    return changed[0]


@pytest.fixture(autouse=True)
def off_afterwards():
    assert not is_on()
    yield
    assert not is_on()


def layer_of(kind=K.LSTM, **options):
    layer = kind(H, **options)
    layer.build((N, T, 3))
    return randomize(layer)


def test_call():
    on = lk.accelerate()
    assert is_on()
    assert "in effect" in repr(on)
    on.undo()
    assert not is_on()
    assert "ended" in repr(on)
    on.undo()  # once more does nothing


def test_context_manager():
    def fail():
        with lk.accelerate():
            assert is_on()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not is_on()
    with lk.accelerate() as on:
        assert is_on()
    assert not is_on()
    with on:
        assert is_on()


def test_decorator():
    for make in (lambda: lk.accelerate, lk.accelerate):
        decorator = make()

        @decorator
        def train(a, *, b):
            """Docstring."""
            return is_on(), a, b

        assert not is_on()
        assert train(1, b=2) == (True, 1, 2)
        assert train.__doc__ == "Docstring."
        assert not is_on()


def test_decorator_refuses_what_runs_later():
    def generator():
        yield

    async def coroutine():
        pass

    for function in (generator, coroutine):
        with pytest.raises(TypeError, match="accelerate: expected a function that runs when"):
            lk.accelerate(function)
    for wrong in (3, dict):
        with pytest.raises(TypeError, match="accelerate: expected a function to decorate, got"):
            lk.accelerate(wrong)
    with pytest.raises(TypeError, match="verbose: expected True or False, got 1"):
        lk.accelerate(verbose=1)


def test_nested_in_any_order():
    first, second = lk.accelerate(), lk.accelerate(verbose=True)
    with lk.accelerate():
        first.undo()
        assert is_on()
    assert is_on()
    second.undo()
    assert not is_on()


def test_many_threads():
    seen = []

    def work():
        for _ in range(50):
            with lk.accelerate():
                seen.append(is_on())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 200


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_layers_that_exist(mask):
    layer = layer_of(return_sequences=True, return_state=True)
    with Counted() as counted:
        expected = evaluate(layer, data(), mask)
    assert counted.engine == 0
    assert counted.keras == {}
    with Counted() as counted, lk.accelerate():
        actual = evaluate(layer, data(), mask)
    assert counted.engine
    assert counted.keras == {}
    close(actual, expected)
    close(evaluate(layer, data(), mask), expected, tolerance=0)


def test_rnn_of_a_cell():
    for options in ({}, {"dropout": 0.3, "seed": 2}):
        results = []
        for _ in range(2):
            layer = K.RNN(K.LSTMCell(H, **options), return_sequences=True, go_backwards=True)
            layer.build((N, T, 3))
            randomize(layer)
            results.append(layer)
        expected = evaluate(results[0], data()[:1], MASKS["left"], training=True)
        with Counted() as counted, lk.accelerate():
            actual = evaluate(results[1], data()[:1], MASKS["left"], training=True)
        assert counted.engine
        assert counted.keras == {}
        close(actual, expected)


def test_other_layers_are_not_touched():
    with Counted() as counted, lk.accelerate():
        for layer in (K.GRU(H), K.SimpleRNN(H), K.RNN(K.GRUCell(H))):
            layer(data()[0])
    assert (counted.engine, counted.keras) == (0, {})
    with Counted() as counted, lk.accelerate():
        K.RNN([K.LSTMCell(H), K.LSTMCell(H)])(data()[0])
    assert (counted.engine, counted.keras) == (0, {"a cell of class StackedRNNCells": 1})


class Doubled(K.LSTM):
    """A layer of a user, with a loop of its own."""

    def inner_loop(self, sequences, *args, **kwargs):
        return super().inner_loop(2 * sequences, *args, **kwargs)


def test_layers_of_users():
    layer = layer_of(Doubled)
    expected = evaluate(layer, data()[:1])
    with Counted() as counted, lk.accelerate():
        actual = evaluate(layer, data()[:1])
    assert counted.engine
    close(actual, expected)


def test_lstmcore_layers_count_once():
    layer = layer_of(lk.LSTM)
    with Counted() as counted, lk.accelerate():
        layer(data()[0])
    assert (counted.engine, counted.keras) == (1, {})
    layer = layer_of(lk.LSTM, activation="selu")
    with Counted() as counted, lk.accelerate():
        layer(data()[0])
    assert (counted.engine, counted.keras) == (0, {"activation=selu": 1})


def model_of(**compile_options):
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            K.Bidirectional(K.LSTM(H, return_sequences=True)),
            K.LSTM(H),
            K.Dense(1),
        ]
    )
    randomize(model)
    model.compile("sgd", "mse", **compile_options)
    return model


X = np.random.default_rng(4).normal(size=(16, T, 3)).astype("float32")
Y = X.sum(axis=(1, 2))


def fit(model):
    history = model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    loss = model.evaluate(X, Y, verbose=0)
    return [np.array([*history.history["loss"], loss]), model.predict(X, verbose=0)]


def test_models_that_were_compiled_before():
    """What Keras has traced before or during acceleration must not outlast its end."""
    plain = model_of()
    expected = [fit(plain) for _ in range(3)]
    model = model_of()
    with Counted() as counted:
        actual = [fit(model)]
    assert counted.engine == 0
    with Counted() as counted, lk.accelerate():
        actual.append(fit(model))
    assert counted.engine >= 3 * (2 * 4 + 1 + 1)  # LSTMs, batches
    assert counted.keras == {}
    with Counted() as counted:
        actual.append(fit(model))
    assert counted.engine == 0
    for one, other in zip(actual, expected, strict=True):
        close(one, other, tolerance=1e-4)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.compile, about gradients
def test_compiled_by_keras():
    """With ``jit_compile=True`` JAX calls the engine; TensorFlow's XLA and torch.compile differ."""
    if BACKEND == "torch":
        pytest.importorskip("torch._inductor")
    expected = fit(model_of())
    model = model_of(jit_compile=True)
    with Counted() as counted, lk.accelerate():
        actual = fit(model)
    close(actual, expected, tolerance=1e-4)
    if BACKEND == "tensorflow":
        assert counted.engine == 0
        assert list(counted.keras) == ["jit_compile=True"]
    else:
        assert counted.engine
        assert counted.keras == {}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow alone")
def test_lstmcore_layers_compile_without_xla():
    model = keras.Sequential([keras.Input((T, 3)), K.Bidirectional(lk.LSTM(H)), K.Dense(1)])
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.compile("sgd", "mse", jit_compile=True)
    with Counted() as counted:
        fit(model)
    assert counted.engine


def test_methods_that_another_library_has_wrapped():
    layer = layer_of()
    own = K.LSTM.inner_loop
    block = lk.accelerate()
    accelerated = K.LSTM.inner_loop

    def wrapped(self, *args, **kwargs):
        return accelerated(self, *args, **kwargs)

    K.LSTM.inner_loop = wrapped
    try:
        with Counted() as counted:
            expected = layer(data()[0])
        assert counted.engine
        block.undo()
        assert K.LSTM.inner_loop is wrapped  # not ours to remove
        with Counted() as counted:
            close([layer(data()[0])], [expected])
        assert (counted.engine, counted.keras) == (0, {})
    finally:
        block.undo()
        K.LSTM.inner_loop = own


def test_counts():
    layer, other = layer_of(name="here"), layer_of(name="there", activation="selu")
    with lk.accelerate():
        for _ in range(2):
            layer(data()[0])
        with lk.accelerate():
            other(data()[0])
    found = lk.accelerated_calls()
    assert found.engine == {"here": 2}
    assert found.keras == {"there": {"activation=selu": 1}}
    with lk.accelerate():
        assert lk.accelerated_calls() == ({}, {})
    assert found.engine == {"here": 2}


def test_verbose(caplog):
    layer, other = layer_of(name="here"), layer_of(name="there", activation="selu")
    with lk.accelerate(verbose=True):
        for _ in range(2):
            layer(data()[0])
            other(data()[0])
    assert caplog.messages == [
        "here: lstmcore",
        "there: Keras' own loop (activation=selu)",
    ]
    caplog.clear()
    with lk.accelerate():
        layer(data()[0])
    assert caplog.messages == []


def test_errors_are_those_of_keras():
    layer = layer_of(return_state=True)
    wrong = [np.zeros((N + 1, H), "float32"), np.zeros((N + 1, H), "float32")]

    def error():
        with pytest.raises(Exception) as caught:  # noqa: PT011
            layer(data()[0], initial_state=[keras.ops.convert_to_tensor(part) for part in wrong])
        return type(caught.value)

    expected = error()
    with lk.accelerate():
        assert error() is expected


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")
def test_transforms_and_autocast_of_torch():
    import torch

    layer = layer_of()
    x = torch.tensor(np.stack([data()[0], 2 * data()[0]]))
    expected = torch.stack([layer(part) for part in x])
    with Counted() as counted, lk.accelerate():
        actual = torch.func.vmap(layer)(x)
        with torch.autocast("cpu", torch.bfloat16):
            layer(x[0])
    close([actual.detach()], [expected.detach()])
    assert counted.engine == 0
    assert counted.keras == {"a transform of torch.func": 1, "torch.autocast": 1}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow alone")
class TestTapes:
    """Tapes that a graph of TensorFlow stores for a backward."""

    def fit(self, trainable=True):
        from lstmcore.keras import arrays, tapes

        model = model_of()
        for layer in model.layers[:2]:
            layer.trainable = trainable
        model.compile("sgd", "mse")
        taken = []
        take = tapes.take
        tapes.take = lambda holder: taken.append(take(holder)) or taken[-1]
        try:
            with lk.accelerate():
                fit(model)
        finally:
            tapes.take = take
        assert arrays.forward  # the module that the callbacks use
        return taken, tapes

    def test_every_backward_finds_its_tape(self):
        taken, tapes = self.fit()
        assert len(taken) == 3 * 2 * 4
        assert all(tape is not None for tape in taken)
        taken.clear()
        gc.collect()
        assert tapes.count() == 0

    def test_frozen_layers_store_none(self):
        taken, tapes = self.fit(trainable=False)
        assert taken == []
        assert tapes.count() == 0

    def test_tapes_without_a_backward_are_freed(self):
        import tensorflow as tf

        from lstmcore.keras import tapes

        layer = layer_of(lk.LSTM)
        kernel = layer.cell.kernel.value

        @tf.function
        def forward(x):
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                y = layer(x)
            return y, tape.gradient(tf.reduce_sum(x), kernel)

        for _ in range(20):
            forward(tf.constant(data()[0]))
        gc.collect()
        assert tapes.count() <= 1  # TensorFlow frees arrays at the next callback


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX alone")
def test_long_callbacks_of_jax_do_not_hang():
    import jax

    layer = keras.layers.LSTM(64, return_sequences=True)
    x = jax.numpy.ones((64, 200, 64))
    layer.build(x.shape)
    trainable = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    def loss(weights, x):
        return (layer.stateless_call(weights, others, x)[0] ** 2).sum()

    with lk.accelerate():
        step = jax.jit(jax.grad(loss))
        for _ in range(30):
            gradients = step(trainable, x + 1)
    assert all(np.isfinite(np.asarray(gradient)).all() for gradient in gradients)
