"""Bool arrays whose true bytes are not 1, as NumPy allows, have the results of those with ones.

A mask of 255 that is viewed as bool is one, and so is a mask in a file or from another language.
"""

import threading

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore import layers

CONFIG = lc.LSTMConfig(3, 9)
ROWS, STEPS = 6, 8


def other_bytes(flags):
    """Return the same bools in other bytes."""
    bytes_ = np.where(flags, np.resize([255, 2, 128, 1, 254], flags.shape), 0).astype(np.uint8)
    found = bytes_.view(np.bool_)
    assert set(np.unique(bytes_)) > {0, 255}
    return found


@pytest.fixture
def flags(rng):
    return rng.random((ROWS, STEPS)) < 0.6


@pytest.fixture
def x(rng):
    return rng.standard_normal((ROWS, STEPS, 3)).astype(np.float32)


def same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def trained(x, **arguments):
    weights = F.init_weights(CONFIG, seed=2)
    y, state, tape = F.lstm(x, weights, CONFIG, training=True, **arguments)
    gradients = F.lstm_backward(tape, np.cos(y))
    return y, *state, gradients.x, *gradients.weights.values()


@pytest.mark.parametrize("name", ["mask", "reset"])
@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]]
)
def test_lstm(name, layout, flags, x):
    wanted = trained(x, **{name: flags})
    same(trained(x, **{name: layout(other_bytes(flags))}), wanted)


def test_mask_and_reset(flags, x):
    same(
        trained(x, mask=other_bytes(flags), reset=other_bytes(~flags)),
        trained(x, mask=flags, reset=~flags),
    )


@pytest.mark.parametrize("name", ["mask", "reset"])
def test_rnn(name, flags, x):
    config = F.RNNConfig(3, 9)
    random = np.random.default_rng(2)
    weights = {
        key: random.normal(scale=0.4, size=shape).astype(np.float32)
        for key, shape in config.parameter_shapes().items()
    }

    def run(of):
        y, h, tape = F.rnn(x, weights, config, training=True, **{name: of})
        gradients = F.rnn_backward(tape, np.cos(y))
        return y, h, gradients.x, *gradients.weights.values()

    same(run(other_bytes(flags)), run(flags))


def test_tangents(flags, x):
    weights = F.init_weights(CONFIG, seed=2)

    def run(of):
        (y, _), (y_tangent, _), _ = F.lstm_jvp(
            x, weights, CONFIG, x_tangent=np.cos(x), mask=of, reset=of
        )
        return y, y_tangent

    same(run(other_bytes(flags)), run(flags))


def test_step_by_step(flags, x):
    weights = F.init_weights(CONFIG, seed=2)

    def run(of):
        tape = F.lstm_begin(weights, CONFIG, batch_size=ROWS)
        return [F.lstm_step(tape, x[:, t], reset=of[:, t]) for t in range(STEPS)]

    same(run(other_bytes(flags)), run(flags))


def test_layers_and_models(flags, x):
    y = x.sum(axis=2)[..., None]

    def run(of):
        model = lc.Sequential(
            [
                layers.Input((None, 3)),
                layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
                layers.Dense(1),
            ],
            seed=1,
        )
        model.compile("adam", "mse", ["mae"])
        model.fit(x, y, mask=of, epochs=2, batch_size=4, verbose=0)
        scores = model.evaluate(x, y, mask=of, verbose=0, return_dict=True)
        predicted = np.concatenate([np.ravel(row) for row in model.predict(x, mask=of, verbose=0)])
        return model.parameters.values, predicted, [*scores.values()]

    same(run(other_bytes(flags)), run(flags))


def test_a_mask_that_is_a_prefix(x):
    """Masks of valid steps at the start may be replaced by lengths."""
    flags = np.arange(STEPS) < np.array([8, 3, 0, 5, 1, 8])[:, None]
    same(trained(x, mask=other_bytes(flags)), trained(x, mask=flags))


def test_features_of_bools(flags):
    """Bools that are numbers are 0 and 1."""
    model = lc.Sequential([layers.Input((None, 8)), layers.LSTM(2)], seed=1)
    wide = np.repeat(flags[:, None], 3, axis=1)
    same(
        [model.predict(np.repeat(other_bytes(flags)[:, None], 3, axis=1), verbose=0)],
        [model.predict(wide, verbose=0)],
    )


def test_another_thread_may_change_a_mask_during_the_call():
    """The engine reads a mask twice; a copy makes both readings the same."""
    mask = np.zeros((64, 2000), np.uint8)
    over = threading.Event()

    def flicker():
        while not over.is_set():
            mask[...] = 255 - mask

    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        x = np.ones((64, 2000, 3), np.float32)
        packed = F.pack(F.init_weights(CONFIG, seed=2), CONFIG)
        for _ in range(20):
            y, _ = F.lstm(x, packed, mask=mask.view(np.bool_))
            assert np.isfinite(y).all()
    finally:
        over.set()
        thread.join()
