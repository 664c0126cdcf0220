"""Residual: x + f(x), through masks, seeds, files and stacks."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

N, T, C = 3, 5, 4
LENGTHS = np.array([5, 2, 0])
X = np.zeros((N, T, C), np.float32)


def lstm(units=C, **options):
    return layers.LSTM(units, return_sequences=True, **options)


KINDS = {
    "lstm": lambda: layers.Residual(lstm()),
    "wider": lambda: layers.Residual(lstm(6), projection=True),
    "dense": lambda: layers.Residual(layers.Dense(C, activation="tanh")),
    "several": lambda: layers.Residual(
        [layers.LayerNormalization(), lstm(7), layers.Dropout(0.3), layers.Dense(C)]
    ),
    "convolution": lambda: layers.Residual(
        [layers.Conv1D(6, 3, padding="causal"), layers.MaxPooling1D(2, 1, "same")], projection=True
    ),
    "nested": lambda: layers.Residual([layers.Residual(lstm()), layers.Residual(layers.Dense(C))]),
    "both": lambda: layers.Residual(layers.Bidirectional(lstm(2))),
}


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("name", KINDS)
def test_gradients(name, lengths, rng):
    layer = KINDS[name]()
    layer(np.zeros((N, T, C)))
    x = rng.standard_normal((N, T, C))
    outputs = layer.forward(x, lengths, True, 7)[0]
    # Not zero past the lengths either, where it must not count.
    dy = rng.standard_normal(outputs.shape)

    def loss():
        y, after, context = layer.forward(x, lengths, True, 7)
        assert after is lengths
        return float((y * dy).sum()), context

    _, context = loss()
    dx = layer.backward(context, dy)
    gradients = {name: view.copy() for name, view in layer._gradients.items()}
    _, context = loss()
    assert layer.backward(context, dy, need_x=False) is None
    for name, view in layer._gradients.items():
        np.testing.assert_array_equal(view, gradients[name])
    step = 1e-6
    for values, gradient in [
        (x, dx),
        *((layer._weights[key], gradients[key]) for key in gradients),
    ]:
        for place in rng.choice(values.size, min(values.size, 8), replace=False):
            index = np.unravel_index(place, values.shape)
            before = values[index]
            values[index] = before + step
            above = loss()[0]
            values[index] = before - step
            below = loss()[0]
            values[index] = before
            # Second-order differences with a width of 1e-6 have errors of about 1e-9 here.
            assert gradient[index] == pytest.approx((above - below) / (2 * step), abs=5e-8)


def test_it_adds_the_outputs_of_its_layers(rng):
    x = rng.standard_normal((N, T, C)).astype(np.float32)
    inner = lstm()
    residual = layers.Residual(inner)
    y = residual(x, lengths=LENGTHS)
    past = np.arange(T) >= LENGTHS[:, None]
    assert not y[past].any()
    expected = x + inner(x, lengths=LENGTHS)
    np.testing.assert_array_equal(y[~past], expected[~past])
    spoilt = x.copy()
    spoilt[past] = np.nan
    np.testing.assert_array_equal(residual(spoilt, lengths=LENGTHS), y)
    np.testing.assert_array_equal(residual(x[[1], :2])[0], y[1, :2])

    wider = layers.Residual([layers.Dense(9), layers.Dense(6, "relu")], projection=True)
    z = wider(x)
    assert list(wider.weights) == ["0.kernel", "0.bias", "1.kernel", "1.bias", "projection.kernel"]
    first, second = wider.layers
    by_hand = x @ wider.weights["projection.kernel"] + second(first(x))
    np.testing.assert_allclose(z, by_hand, atol=1e-5)
    same = layers.Residual(layers.Dense(C), projection=True)
    same(x)
    assert "projection.kernel" not in same.weights
    flat = layers.Residual(layers.Dense(C))
    assert flat(x[:, 0]).shape == (N, C)


def stack(**options):
    return lc.Sequential(
        [
            layers.Embedding(9, 4, mask_zero=True),
            *(layers.Residual(lstm(8), projection=True) for _ in range(3)),
            layers.LSTM(4),
            layers.Dense(2, activation="softmax"),
        ],
        **options,
    )


def test_a_stack_learns_and_survives_files_and_copies(rng, tmp_path):
    model = stack(seed=3)
    model.compile("adam", "sparse_categorical_crossentropy")
    rows = [rng.integers(1, 9, size) for size in (7, 2, 0, 5, 7, 1)]
    y = rng.integers(0, 2, 6)
    losses = model.fit(rows, y, epochs=6, batch_size=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    together = model.predict(rows)
    for n, row in enumerate(rows):
        if len(row):
            np.testing.assert_array_equal(model.predict([row])[0], together[n])
    lines = []
    model.summary(lines.append)
    assert "residual (Residual)" in lines[3]
    assert "(None, None, 8)" in lines[3]
    assert lines[3].endswith(f"{4 * 8 * (4 + 8 + 1) + 4 * 8}")
    assert model.count_params() == sum(view.size for view in model.weights.values())
    assert "residual_1.0.weight_hh_l0" in model.weights
    assert "residual.projection.kernel" in model.weights
    assert "residual_1.projection.kernel" not in model.weights
    model.save(tmp_path / "model.safetensors")
    others = [
        lc.load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    model.fit(rows, y, epochs=8, initial_epoch=6, batch_size=3, verbose=0)
    for other in others:
        np.testing.assert_array_equal(other.predict(rows), together)
        other.fit(rows, y, epochs=8, initial_epoch=6, batch_size=3, verbose=0)
        np.testing.assert_array_equal(other.predict(rows), model.predict(rows))
    config = model.layers[1].get_config()
    assert set(config) == {"layers", "projection", "name"}
    assert [entry["class"] for entry in config["layers"]] == ["LSTM"]


def test_threads_change_no_bit(rng):
    rows = [rng.integers(1, 9, size) for size in rng.integers(1, 60, 40)]
    results = []
    for threads in (1, 2):
        lc.set_num_threads(threads)
        model = stack(seed=3)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(rows, np.arange(40) % 2, batch_size=20, verbose=0)
        results.append(model.parameters.values.copy())
    np.testing.assert_array_equal(*results)


def test_seeds(rng):
    alone = layers.Dense(C, seed=5)
    alone(X)
    within = layers.Residual([layers.Dense(C), layers.Dense(C, seed=5)])
    within(X)
    np.testing.assert_array_equal(within.weights["1.kernel"], alone.weights["kernel"])
    assert (within.weights["0.kernel"] != alone.weights["kernel"]).any()
    first, second = stack(seed=1), stack(seed=1)
    for model in (first, second):
        model.build((None, None))
    np.testing.assert_array_equal(first.parameters.values, second.parameters.values)
    dropping = layers.Residual([layers.Dropout(0.5), layers.Dropout(0.5)])
    x = np.ones((50, 20), np.float32)
    kept = dropping(x, training=True, seed=1)
    np.testing.assert_array_equal(dropping(x, training=True, seed=1), kept)
    assert (dropping(x, training=True, seed=2) != kept).any()
    # Two independent masks keep a quarter, not a half. For 1000 draws, five standard deviations are
    # 0.07.
    assert (kept > 1).mean() == pytest.approx(0.25, abs=0.07)


def test_weights_are_shared_with_the_layers_within(rng):
    inner = layers.Dense(C)
    residual = layers.Residual(inner)
    x = rng.standard_normal((N, C)).astype(np.float32)
    residual(x)
    residual.set_weights([np.eye(C, dtype=np.float32), np.zeros(C, np.float32)])
    np.testing.assert_array_equal(inner(x), x)
    np.testing.assert_array_equal(residual(x), 2 * x)


def test_penalties_of_layers_within():
    model = lc.Sequential([layers.Residual(layers.Dense(C, kernel_regularizer=0.5))])
    model.compile("sgd", "mse")
    x = np.ones((N, C), np.float32)
    loss = model.evaluate(x, model.predict(x), verbose=0)
    kernel = model.layers[0].weights["0.kernel"]
    assert loss == pytest.approx(0.5 * float((kernel**2).sum()), rel=1e-5)


BAD = {
    "nothing": (lambda: layers.Residual([]), TypeError, "layers: expected a layer or a list of"),
    "no layer": (lambda: layers.Residual([3]), TypeError, "layers: expected layers, got 3"),
    "a number": (lambda: layers.Residual(3), TypeError, "layers: expected a layer or a list of"),
    "cell": (lambda: layers.Residual(layers.LSTMCell(2)), TypeError, "wrap it in an RNN"),
    "ids": (lambda: layers.Residual(layers.Embedding(3, 2)), ValueError, "Embedding, which takes"),
    "twice": (lambda: layers.Residual([layer := lstm(), layer]), ValueError, "the same one twice"),
    "twice, nested": (
        lambda: layers.Residual([layer := lstm(), layers.Residual(layer)]),
        ValueError,
        "the same one twice",
    ),
    "twice in a model": (
        lambda: lc.Sequential([layer := layers.Dense(C), layers.Residual(layer)]),
        ValueError,
        "appears twice",
    ),
    "flag": (lambda: layers.Residual(lstm(), projection=1), TypeError, "projection: expected True"),
    "state": (
        lambda: layers.Residual(layers.LSTM(2, return_state=True)),
        ValueError,
        "layers: expected return_state=False",
    ),
    "last": (
        lambda: layers.Residual(layers.LSTM(C))(X),
        ValueError,
        r"layers: expected outputs of shape \(N, T, 4\) like the inputs .* got \(N, 4\)",
    ),
    "width": (
        lambda: layers.Residual(lstm(5))(X),
        ValueError,
        r"projection=True\), got \(N, T, 5\)",
    ),
    "within": (
        lambda: layers.Residual([layers.LSTM(C), lstm()])(X),
        ValueError,
        r"layers\[1\]: LSTM: expected inputs of shape \(N, T, C\)",
    ),
    "steps": (
        lambda: layers.Residual(layers.Conv1D(C, 2))(X),
        ValueError,
        "with fewer time steps",
    ),
    "pooled steps": (
        lambda: layers.Residual(layers.MaxPooling1D(2, padding="same"), projection=True)(X),
        ValueError,
        "with fewer time steps",
    ),
    "rank": (lambda: layers.Residual(layers.Dropout(0.1))(X[0, 0]), ValueError, "Residual: expec"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_arguments(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_refused_build_can_be_repeated():
    residual = layers.Residual(lstm())
    with pytest.raises(ValueError, match="expected outputs of shape"):
        residual(X[..., :3])
    assert residual(X).shape == X.shape


def test_layers_within_belong_to_one_model():
    inner = layers.Dense(C)
    lc.Sequential([layers.Residual(inner)]).predict(X)
    with pytest.raises(ValueError, match="belong to another model"):
        lc.Sequential([layers.Residual(inner)]).predict(X)
