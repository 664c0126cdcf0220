"""Layers and models in lower precisions, and their files."""

import json
import pickle

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import lstmcore as lc
from lstmcore import functional as F
from lstmcore import layers
from lstmcore.models import model_file
from precision_kit import CONFIG, PRECISIONS, inputs, same

# ---- layers and models -------------------------------------------------------------------------


def tiny(precision=None, seed=0, **options):
    model = lc.Sequential(
        [
            layers.Input((None, 20)),
            layers.LSTM(100, return_sequences=True, precision=precision, name="lower"),
            layers.Bidirectional(layers.LSTM(16, precision=precision), name="upper"),
            layers.Dense(2, activation="softmax"),
        ],
        seed=seed,
        **options,
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def samples(rng):
    return rng.standard_normal((24, 6, 20)).astype(np.float32), rng.integers(0, 2, 24)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layers_compute_in_their_precision(precision, rng):
    x = inputs(CONFIG, rng)
    layer = layers.LSTM(100, num_layers=2, return_sequences=True, precision=precision)
    y = layer(x)
    config = lc.LSTMConfig(20, 100, num_layers=2)
    np.testing.assert_array_equal(y, F.lstm(x, layer.weights, config, precision=precision)[0])

    cells = [layers.LSTMCell(100, precision=precision) for _ in range(2)]
    walk = layers.RNN(cells, return_sequences=True)
    assert walk.precision == precision
    y = walk(x)
    np.testing.assert_array_equal(y, F.lstm(x, walk.weights, config, precision=precision)[0])
    h, _ = cells[0](x[:, 0])
    h, _ = cells[1](h)
    np.testing.assert_array_equal(h, y[:, 0])

    both = layers.Bidirectional(layers.RNN(layers.LSTMCell(100, precision=precision)))
    y = both(x)
    two = lc.LSTMConfig(20, 100, bidirectional=True)
    expected = F.lstm(x, both.weights, two, return_sequences=False, precision=precision)[0]
    np.testing.assert_array_equal(y, expected)


def test_cells_of_one_stack_agree():
    cells = [layers.LSTMCell(3), layers.LSTMCell(3, precision="bf16")]
    with pytest.raises(ValueError, match="cell: expected cells with the same precision"):
        layers.RNN(cells)


def test_the_packing_follows_the_default(rng):
    x = inputs(CONFIG, rng)
    layer, fixed = layers.LSTM(100), layers.LSTM(100, precision="bf16x2")
    expected = {}
    layer(x)  # creates the weights
    before = fixed(x)
    for precision in PRECISIONS:
        config = lc.LSTMConfig(20, 100)
        options = {"return_sequences": False, "precision": precision}
        expected[precision] = F.lstm(x, layer.weights, config, **options)[0]
    for precision in (*PRECISIONS, *reversed(PRECISIONS)):
        lc.set_precision(precision)
        np.testing.assert_array_equal(layer(x), expected[precision])
        np.testing.assert_array_equal(fixed(x), before)
    assert layer._packed_weights() is layer._packed_weights()


def test_a_model_is_trained_in_bfloat16_and_used_in_int8(rng):
    x, y = samples(rng)
    reference, model = tiny(), tiny("bf16")
    for trained in (reference, model):
        trained.fit(x, y, batch_size=8, epochs=1, verbose=0, shuffle=False)
    for name, weight in reference.weights.items():
        np.testing.assert_allclose(model.weights[name], weight, rtol=0, atol=5e-3)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), reference.predict(x, verbose=0), atol=0.02
    )

    small = tiny("int8")
    small.set_weights(model.weights)
    np.testing.assert_allclose(small.predict(x, verbose=0), model.predict(x, verbose=0), atol=0.02)
    loss, accuracy = small.evaluate(x, y, verbose=0)
    assert np.isfinite(loss)
    assert 0 <= accuracy <= 1


def test_a_model_runs_step_by_step_in_its_precision(rng):
    x = samples(rng)[0][:3]
    for precision in PRECISIONS:
        model = lc.Sequential(
            [
                layers.Input((None, 20)),
                layers.LSTM(100, return_sequences=True, precision=precision, name="walk"),
            ]
        )
        whole = model.predict(x, verbose=0)
        layer = model.layers[0]
        stream = lc.LSTMStream(
            layer.weights, layer.config, batch_size=3, precision=layer._precision_in_force
        )
        steps = [stream.step(np.ascontiguousarray(x[:, t])) for t in range(x.shape[1])]
        np.testing.assert_array_equal(np.stack(steps, 1), whole)
        state = model.initial_state(3)
        for t in range(x.shape[1]):
            y, state = model.predict(x[:, t : t + 1], verbose=0, state=state, return_state=True)
            np.testing.assert_array_equal(y[:, 0], whole[:, t])


def test_int8_models_do_not_train(rng):
    x, y = samples(rng)
    model = tiny("int8")
    before = model.get_weights()
    calls = []

    class Listener(lc.callbacks.Callback):
        def on_train_begin(self):
            calls.append("begin")

    message = "precision: expected one that supports training in layer 'lower', got 'int8'"
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0, callbacks=[Listener()])
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(x, y)
    assert not calls
    assert model.optimizer.iterations == 0
    same(before, model.get_weights())
    model.test_on_batch(x, y)
    with pytest.raises(ValueError, match="in layer 'lower', got 'int8'"):
        model.forward(x, None, True, 0, False)

    default = tiny()
    lc.set_precision("int8")
    with pytest.raises(ValueError, match="'lower', got 'int8', the default of set_precision"):
        default.fit(x, y, verbose=0)
    assert default.predict(x, verbose=0).shape == (24, 2)
    lc.set_precision("fp32")
    default.fit(x, y, verbose=0)

    for layer in (
        layers.LSTM(4, precision="int8"),
        layers.RNN(layers.LSTMCell(4, precision="int8")),
        layers.Bidirectional(layers.LSTM(4, precision="int8")),
    ):
        with pytest.raises(
            ValueError, match=f"supports training in {type(layer).__name__}, got 'int8'"
        ):
            layer(x, training=True)
        assert layer(x).shape[0] == 24
    inner = lc.Sequential(
        [layers.Residual([layers.LSTM(20, return_sequences=True, precision="int8")])]
    )
    inner.compile("sgd", "mse")
    with pytest.raises(ValueError, match="precision: expected one that supports training"):
        inner.fit(x, x, verbose=0)


def test_an_encoder_decoder(rng):
    sources, targets = rng.integers(3, 9, (6, 5)), rng.integers(3, 9, (6, 4))

    def make(precision, attention):
        model = lc.EncoderDecoder(
            9, 9, units=100, bidirectional=True, attention=attention, precision=precision
        )
        model.compile("adam")
        return model

    for attention in ("additive", "multiplicative"):
        model = make("bf16", attention)
        model.fit(sources, targets, epochs=1, verbose=0)
        other = make(None, attention)
        other.set_weights(model.get_weights())
        expected = other.evaluate(sources, targets, verbose=0)
        np.testing.assert_allclose(model.evaluate(sources, targets, verbose=0), expected, rtol=0.01)
        model = make("int8", attention)
        with pytest.raises(ValueError, match="in layer 'encoder', got 'int8'"):
            model.fit(sources, targets, verbose=0)
        model.set_weights(other.get_weights())
        loss = model.evaluate(sources, targets, verbose=0)
        np.testing.assert_allclose(loss, expected, rtol=0.01)
        assert len(model.predict(sources, verbose=0)) == 6


# ---- files -------------------------------------------------------------------------------------


def description(path):
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["lstmcore"])


@pytest.mark.parametrize("precision", [None, *PRECISIONS])
def test_a_file_stores_the_precision(precision, tmp_path, rng):
    x, _ = samples(rng)
    path = tmp_path / "model.safetensors"
    cells = [layers.LSTMCell(5, precision=precision), layers.LSTMCell(5, precision=precision)]
    model = lc.Sequential(
        [
            layers.Input((None, 20)),
            layers.LSTM(100, return_sequences=True, precision=precision),
            layers.Bidirectional(layers.RNN(cells)),
        ]
    )
    model.save(path)
    first, second = (entry["config"] for entry in description(path)["layers"])
    places = [first, *(cell["config"] for cell in second["layer"]["config"]["cell"])]
    for config in places:
        assert config.get("precision", "left out") == (precision or "left out")
    again = lc.load(path)
    assert [layer.precision for layer in again.layers] == [precision, precision]
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    copied = pickle.loads(pickle.dumps(model))
    assert copied.layers[0].precision == precision
    np.testing.assert_array_equal(copied.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_file_of_an_encoder_decoder(tmp_path):
    path = tmp_path / "model.safetensors"
    for precision in (None, "bf16x3"):
        lc.EncoderDecoder(5, 6, units=4, embedding_size=3, precision=precision).save(path)
        config = description(path)["encoder_decoder"]["config"]
        assert config.get("precision", "left out") == (precision or "left out")
        model = lc.load(path)
        assert model.precision == model.layers[1].precision == precision


def test_files_with_a_wrong_precision(tmp_path):
    path = tmp_path / "model.safetensors"
    model = lc.Sequential([layers.Input((None, 3)), layers.LSTM(4, precision="bf16")])
    model.save(path)

    def spoilt(**changes):
        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        document = description(path)
        document["layers"][0]["config"].update(changes)
        if "dtype" in changes:
            document["dtype"] = document["layers"][0]["config"].pop("dtype")
            tensors = {name: a.astype(document["dtype"]) for name, a in tensors.items()}
            document["checksum"] = model_file.checksum(tensors)
        other = tmp_path / "other.safetensors"
        save_file(tensors, other, {"lstmcore": json.dumps(document)})
        return other

    for changes in ({"precision": "fp16"}, {"precision": 8}, {"dtype": "float64"}):
        with pytest.raises(ValueError, match="precision"):
            lc.load(spoilt(**changes))
    assert lc.load(spoilt(precision=None)).layers[0].precision is None
