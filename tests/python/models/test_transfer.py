"""Adding, removing and sharing layers; transferring weights between models."""

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

N, T, C = 4, 5, 3


def body():
    return [
        layers.LSTM(4, return_sequences=True),
        layers.Residual([layers.Dense(6, "tanh")], True),
        layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)]),
    ]


def made(head=2, dtype="float64", seed=1):
    model = lc.Sequential([*body(), layers.Dense(head, name="head")], dtype=dtype, seed=seed)
    model.build((None, None, C))
    return model


@pytest.fixture
def data(rng):
    return rng.standard_normal((N, T, C)), rng.standard_normal((N, 2))


# ---- get_layer -----------------------------------------------------------------------------------


def test_get_layer():
    model = made()
    for index, layer in enumerate(model.layers):
        assert model.get_layer(layer.name) is model.get_layer(index=index) is layer
        assert model.get_layer(name=layer.name) is layer
        assert model.get_layer(index=index - 4) is layer
    pairs = lc.EncoderDecoder(5, 5, units=2)
    assert pairs.get_layer("decoder") is pairs.layers[3]
    texts = layers.TextVectorization(vocabulary=["a"])
    read = lc.Sequential([texts, layers.Embedding(3, 2)])  # not built either
    assert read.get_layer(index=0) is read.get_layer("text_vectorization") is texts


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "either a name or an index, got neither"),
        ({"name": "lstm", "index": 0}, ValueError, "either a name or an index, got both"),
        ({"name": "lsmt"}, ValueError, "'head', got 'lsmt'; did you mean 'lstm'?"),
        ({"name": "q"}, ValueError, "one of 'lstm', 'residual', 'rnn', 'head', got 'q'$"),
        ({"name": 0}, TypeError, "name: expected a str"),
        ({"index": 4}, ValueError, "index: expected -4 to 3"),
        ({"index": -5}, ValueError, "index: expected -4 to 3"),
        ({"index": "head"}, TypeError, "index"),
        ({"index": True}, TypeError, "index"),
    ],
)
def test_errors_of_get_layer_list_the_layers(given, error, message):
    with pytest.raises(error, match=message.replace("?", r"\?")):
        made().get_layer(**given)


def test_get_layer_of_an_empty_model():
    with pytest.raises(ValueError, match="none, since the model has no layers"):
        lc.Sequential().get_layer("lstm")


# ---- load_weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["model", "file", "file of a trained model"])
@pytest.mark.parametrize("by_name", [True, False])
def test_all_weights_of_a_model(source, by_name, data, tmp_path):
    donor, model = made(seed=5), made()
    if source == "file of a trained model":
        donor.compile("adam", "mse")
        donor.fit(*data, verbose=0)
    if source != "model":
        donor.save(tmp_path / "model.safetensors")
    given = donor if source == "model" else tmp_path / "model.safetensors"
    report = model.load_weights(given, by_name=by_name)
    assert all(map(np.array_equal, model.get_weights(), donor.get_weights()))
    np.testing.assert_array_equal(model.predict(data[0]), donor.predict(data[0]))
    assert report.loaded == ["lstm", "residual", "rnn", "head"]
    assert (report.skipped, report.missing, report.unused) == ({}, [], [])
    assert str(report) == "loaded   lstm, residual, rnn, head"


def test_by_name_ignores_layers_that_only_one_side_has(tmp_path):
    donor = made(seed=5)
    model = lc.Sequential(
        [layers.LSTM(4, name="lstm"), layers.Dense(7, name="other")], dtype="float64"
    )
    model.build((None, None, C))
    before = model.weights["other.kernel"].copy()
    report = model.load_weights(donor)
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_l0"):
        np.testing.assert_array_equal(model.weights[f"lstm.{name}"], donor.weights[f"lstm.{name}"])
    np.testing.assert_array_equal(model.weights["other.kernel"], before)
    assert (report.loaded, report.missing) == (["lstm"], ["other"])
    assert report.unused == ["residual", "rnn", "head"]
    assert str(report).splitlines()[1:] == ["missing  other", "unused   residual, rnn, head"]


def test_by_order_ignores_names():
    donor = made(seed=5)
    model = lc.Sequential(
        [
            layers.LSTM(4, return_sequences=True, name="a"),
            layers.Dropout(0.5),  # has no weights, and does not count
            layers.Residual([layers.Dense(6, "tanh")], True, name="b"),
            layers.RNN([layers.LSTMCell(3), layers.LSTMCell(3)], name="c"),
            layers.Dense(2, name="d"),
        ],
        dtype="float64",
    )
    model.build((None, None, C))
    with pytest.raises(ValueError, match="a layer with the name of one of this model's, a, b, c"):
        model.load_weights(donor)
    report = model.load_weights(donor, by_name=False)
    assert report.loaded == ["a", "b", "c", "d"]
    assert all(map(np.array_equal, model.get_weights(), donor.get_weights()))


@pytest.mark.parametrize("by_name", [True, False])
def test_weights_that_do_not_fit(by_name):
    donor, model = made(head=3, seed=5), made()
    before = model.get_weights()
    message = r"layer head: expected kernel of shape \(3, 2\), got \(3, 3\), expected bias of shape"
    with pytest.raises(ValueError, match=message):
        model.load_weights(donor, by_name=by_name)
    assert all(map(np.array_equal, before, model.get_weights()))
    report = model.load_weights(donor, by_name=by_name, skip_mismatch=True)
    assert report.loaded == ["lstm", "residual", "rnn"]
    assert "expected kernel of shape (3, 2), got (3, 3)" in report.skipped["head"]
    assert "skipped  head: expected kernel" in str(report)
    assert all(map(np.array_equal, model.get_weights()[:-2], donor.get_weights()[:-2]))
    assert all(map(np.array_equal, model.get_weights()[-2:], before[-2:]))


def test_other_weights_of_the_same_name():
    donor = lc.Sequential([layers.Dense(2, use_bias=False, name="head")])
    donor.build((None, 3))
    model = lc.Sequential([layers.Dense(2, name="head")])
    model.build((None, 3))
    with pytest.raises(
        ValueError, match="layer head: expected bias, kernel, got kernel; with skip"
    ):
        model.load_weights(donor)
    assert model.load_weights(donor, skip_mismatch=True).loaded == []
    with pytest.raises(ValueError, match=r"expected 4 layers with weights, lstm, .*, got 1, head"):
        made().load_weights(donor, by_name=False)


@pytest.mark.parametrize(("ours", "theirs"), [("float32", "float64"), ("float64", "float32")])
def test_weights_are_converted(ours, theirs, tmp_path):
    donor, model = made(dtype=theirs, seed=5), made(dtype=ours)
    donor.save(tmp_path / "model.safetensors")
    model.load_weights(tmp_path / "model.safetensors")
    for one, other in zip(model.get_weights(), donor.get_weights(), strict=True):
        assert one.dtype == ours
        np.testing.assert_array_equal(one, other.astype(ours))


def test_weights_that_the_dtype_cannot_hold_are_refused():
    donor, model = made(seed=5), made(dtype="float32")
    weights = donor.get_weights()
    weights[-1][:] = 1e300
    donor.set_weights(weights)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"head.bias: expected weights that float32 can hold.*300"):
        model.load_weights(donor)
    assert all(map(np.array_equal, before, model.get_weights()))


class Own(layers.Dense):
    """A class that is not needed to read weights from the file."""


def test_files_of_other_kinds(tmp_path, rng):
    path = tmp_path / "model.safetensors"
    donor = lc.Sequential([layers.LSTM(4), Own(2, name="own")])
    donor.build((None, None, C))
    donor.save(path)
    model = lc.Sequential([layers.LSTM(4), layers.Dense(2, name="own")])
    model.build((None, None, C))
    assert model.load_weights(path).loaded == ["lstm", "own"]
    lc.quantize(model).save(path)
    model.load_weights(path)
    assert all(map(np.array_equal, model.get_weights(), lc.load(path).get_weights()))
    with pytest.raises(ValueError, match="quantized model keeps"):
        lc.quantize(model).load_weights(donor)

    pairs = [lc.EncoderDecoder(5, 6, units=3, seed=seed) for seed in (1, 2)]
    pairs[0].save(path)
    assert pairs[1].load_weights(path).loaded == [layer.name for layer in pairs[1].layers]
    assert all(map(np.array_equal, pairs[0].get_weights(), pairs[1].get_weights()))
    # One model's encoder in a model of another kind.
    encoder = lc.Sequential([layers.LSTM(3, name="encoder")])
    encoder.build((None, None, 64))
    assert encoder.load_weights(path).loaded == ["encoder"]


def test_wrong_sources(tmp_path):
    model = made()
    with pytest.raises(ValueError, match=r"this model is not built yet, .* or lc.load\(path\)"):
        lc.Sequential([layers.Dense(2)]).load_weights(model)
    with pytest.raises(ValueError, match="source: expected a built model"):
        model.load_weights(lc.Sequential([layers.Dense(2)]))
    with pytest.raises(TypeError, match="path: expected a str or a path"):
        model.load_weights({"lstm": 1})
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "none")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(ValueError, match="not a safetensors file"):
        model.load_weights(tmp_path / "text")
    with pytest.raises(TypeError, match="by_name"):
        model.load_weights(model, by_name="yes")


# ---- pop and add ---------------------------------------------------------------------------------


def test_pop_leaves_the_others_unchanged(data):
    model, short = made(), lc.Sequential(body(), dtype="float64", seed=1)
    short.build((None, None, C))
    others, views = model.layers[:-1], model.weights
    values = {name: view.copy() for name, view in views.items()}
    head = model.pop()
    assert (head.name, model.layers) == ("head", others)
    assert model.output_shape == (None, 3)
    assert list(model.weights) == [name for name in values if not name.startswith("head.")]
    for name, view in model.weights.items():
        np.testing.assert_array_equal(view, values[name])
        assert np.shares_memory(view, views[name])  # not even copied
    np.testing.assert_array_equal(model.predict(data[0]), short.predict(data[0]))
    # A popped layer still has its weights, and works by itself.
    np.testing.assert_array_equal(head.weights["kernel"], values["head.kernel"])
    np.testing.assert_array_equal(head(model.predict(data[0])), made().predict(data[0]))


def test_add_leaves_the_others_unchanged_and_initializes_as_build_does(data):
    whole = made()
    model = lc.Sequential(body(), dtype="float64", seed=1)
    model.build((None, None, C))
    model.compile("adam", "mse")
    model.add(layers.Dense(2, name="head"))
    assert model.output_shape == (None, 2)
    assert list(model.weights) == list(whole.weights)
    assert all(map(np.array_equal, model.get_weights(), whole.get_weights()))
    whole.compile("adam", "mse")
    for one in (model, whole):
        one.fit(*data, epochs=2, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), whole.get_weights()))


@pytest.mark.parametrize("again", ["the same", "another"])
def test_the_optimizers_state_of_the_others_is_unchanged(again, data):
    model = made()
    model.compile("adam", "mse")
    model.fit(*data, epochs=2, verbose=0)
    slots = copy.deepcopy(model.optimizer.slots)
    weights = model.get_weights()
    head = model.pop()
    size = model.count_params()
    for name, slot in model.optimizer.slots.items():
        np.testing.assert_array_equal(slot, slots[name][:size])
    model.add(head if again == "the same" else layers.Dense(2))
    for name, slot in model.optimizer.slots.items():
        np.testing.assert_array_equal(slot[:size], slots[name][:size])
        assert not slot[size:].any()
        assert slot.size == model.count_params()
    same = list(map(np.array_equal, model.get_weights(), weights))
    assert same == [True] * (len(weights) - 2) + [again == "the same"] * 2
    model.fit(*data, epochs=3, verbose=0)
    assert model.optimizer.iterations == 5


def test_the_loss_follows_the_last_layer(rng):
    """The loss computes the last layer's softmax; the layer that replaces it may have none."""
    x, y = rng.standard_normal((8, C)), rng.integers(0, 2, 8)
    model = lc.Sequential([layers.Dense(2), layers.Dense(2, "softmax")], dtype="float64")
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, verbose=0)
    model.pop()
    model.add(layers.Dense(2, "softmax"))
    fresh = lc.Sequential([layers.Dense(2), layers.Dense(2, "softmax")], dtype="float64")
    fresh.build((None, C))
    fresh.set_weights(model.get_weights())
    fresh.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    assert model.evaluate(x, y, verbose=0) == fresh.evaluate(x, y, verbose=0)
    model.pop()
    assert model.is_compiled is True
    assert model._last_activation == "linear"
    with pytest.raises(ValueError, match="expects the probabilities that softmax returns"):
        model.evaluate(x - 9, y, verbose=0)


def test_a_loss_that_does_not_suit_the_last_layer_is_dropped(rng):
    model = lc.Sequential([layers.Dense(2)], dtype="float64")
    model.build((None, C))
    model.compile("sgd", lc.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.add(layers.Dense(2))
    assert model.is_compiled
    model.add(layers.Dense(2, "softmax"))
    assert not model.is_compiled
    with pytest.raises(ValueError, match="not compiled yet"):
        model.fit(rng.standard_normal((4, C)), rng.integers(0, 2, 4))


def test_all_layers_can_be_removed_and_added_again(data):
    model = made()
    model.compile("adam", "mse")
    expected = model.predict(data[0])
    taken = []
    while model.layers:
        taken.append(model.pop())
    assert not model.built
    assert not model.is_compiled
    with pytest.raises(ValueError, match="pop: the model has no layers"):
        model.pop()
    for layer in reversed(taken):
        model.add(layer)
    np.testing.assert_array_equal(model.predict(data[0]), expected)


def test_pop_and_add_before_building():
    model = lc.Sequential([*body(), layers.Dense(2)])
    assert model.pop().units == 2
    model.add(layers.Dense(5))
    assert model.predict(np.zeros((1, T, C), "f4")).shape == (1, 5)


def test_texts(tmp_path):
    words = layers.TextVectorization(vocabulary=["a", "b"])
    model = lc.Sequential([words, layers.Embedding(4, 2, mask_zero=True), layers.LSTM(2)])
    model.predict(["a b"])
    model.class_names = ["no", "yes"]
    model.pop()
    model.add(layers.GlobalMaxPooling1D())
    model.add(layers.Dense(3))
    assert model.predict(["a b", "b"]).shape == (2, 3)
    model.save(tmp_path / "model.safetensors")  # its number of classes has changed
    assert model.class_names is None
    while len(model.layers) > 1:
        model.pop()
    assert not model.built
    assert model.pop() is words


def test_a_layer_that_does_not_fit_changes_nothing(data):
    model = made()
    model.compile("adam", "mse")
    model.fit(*data, verbose=0)
    before, layers_before = model.get_weights(), list(model.layers)
    for layer, error, message in (
        (layers.LSTM(3), ValueError, "layer 'lstm_1': .*expected inputs of shape"),
        (layers.Embedding(3, 2), ValueError, "takes token ids, so it must come first"),
        (layers.Dense(2, name="head"), ValueError, "'head' is taken"),
        (layers.LSTMCell(2), TypeError, "wrap it: lc.layers.RNN"),
        (3, TypeError, "expected layers"),
        (layers.Input((3,)), ValueError, "Input must come first"),
        (model.layers[0], ValueError, "appears twice"),
        (made().layers[-1], ValueError, "'head' is taken"),
    ):
        names = getattr(layer, "name", None)
        with pytest.raises(error, match=message):
            model.add(layer)
        assert getattr(layer, "name", None) == names
        assert model.layers == layers_before
    wrong = layers.Dense(1)
    wrong(np.zeros((1, 2), "f4"))  # gets weights of another type
    with pytest.raises(TypeError, match="expected float64, got float32"):
        model.add(wrong)
    assert model.layers == layers_before
    assert all(map(np.array_equal, before, model.get_weights()))
    assert model.parameters.values.size == sum(values.size for values in before)
    model.fit(*data, epochs=2, initial_epoch=1, verbose=0)


def test_a_quantized_model_and_one_that_trains_keep_their_layers(data):
    model = made(dtype="float32")
    small = lc.quantize(model)
    for change in (small.pop, lambda: small.add(layers.Dense(1))):
        with pytest.raises(ValueError, match="the layers of a quantized model are fixed"):
            change()

    class Popping(lc.callbacks.Callback):
        """Removes a layer during training."""

        def on_epoch_end(self, epoch, logs=None):
            self.model.pop()

    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="pop: fit is running"):
        model.fit(*(part.astype("f4") for part in data), callbacks=[Popping()], verbose=0)
    assert len(model.layers) == 4


def test_a_changed_model_is_saved_and_copied(data, tmp_path):
    model = made()
    model.compile("adam", "mse")
    model.fit(*data, verbose=0)
    model.pop()
    model.add(layers.Dense(2, name="new"))
    model.save(tmp_path / "model.safetensors")
    twins = [
        lc.load(tmp_path / "model.safetensors"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ]
    for one in (model, *twins):
        one.fit(*data, epochs=3, initial_epoch=1, verbose=0)
    for twin in twins:
        assert all(map(np.array_equal, model.get_weights(), twin.get_weights()))


def test_a_fit_after_a_change_does_not_resume_callbacks(data):
    """The best weights so far have the size of the earlier model."""
    model = made()
    model.compile("adam", "mse")

    def stopping():
        return lc.callbacks.EarlyStopping("loss", restore_best_weights=True)

    model.fit(*data, epochs=2, callbacks=[stopping()], verbose=0)
    model.pop()
    model.add(layers.Dense(2))
    model.add(layers.Dense(2))
    model.fit(*data, epochs=4, initial_epoch=2, callbacks=[stopping()], verbose=0)


def test_the_state_of_removed_layers_is_dropped(rng):
    x, y = rng.standard_normal((N, T, C)), rng.standard_normal((N, T, 2))
    model = lc.Sequential(
        [
            layers.LSTM(2, return_sequences=True, stateful=True),
            layers.LSTM(2, return_sequences=True, stateful=True),
        ],
        dtype="float64",
    )
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=2, verbose=0)
    assert model.state is not None
    model.pop()
    assert model.state is None
    model.fit(x, y, batch_size=2, verbose=0)


# ---- layers in other models ----------------------------------------------------------------------


def test_a_layer_cannot_be_in_two_models_but_a_copy_can(data):
    old = made()
    old.get_layer("residual").layers[0].trainable = False
    with pytest.raises(
        ValueError, match=r"belongs to another model already; give it a copy, layer"
    ):
        lc.Sequential([*old.layers[:-1], layers.Dense(3)], dtype="float64").predict(data[0])
    inner = old.get_layer("residual").layers[0]
    with pytest.raises(ValueError, match=r"belong to another model already; give it a copy, layer"):
        lc.Sequential([layers.Residual(inner, True)], dtype="float64").build((None, None, 4))

    copies = [layer.copy() for layer in old.layers[:-1]]
    new = lc.Sequential([*copies, layers.Dense(3)], dtype="float64")
    new.predict(data[0])
    assert [layer.name for layer in new.layers] == ["lstm", "residual", "rnn", "dense"]
    for name in new.weights:
        if not name.startswith("dense."):
            np.testing.assert_array_equal(new.weights[name], old.weights[name])
            assert not np.shares_memory(new.weights[name], old.weights[name])
    assert new.get_layer("residual").layers[0].trainable is False
    # The old model does not change.
    before = old.get_weights()
    new.compile("adam", "mse")
    new.fit(data[0], np.ones((N, 3)), verbose=0)
    assert all(map(np.array_equal, before, old.get_weights()))
    assert old.count_params() == made().count_params()


def test_popped_layers_can_be_used_in_another_model(data):
    old = made()
    expected = old.predict(data[0])
    head, rnn = old.pop(), old.pop()
    rest = old.predict(data[0])
    new = lc.Sequential([rnn, head], dtype="float64")
    np.testing.assert_array_equal(new.predict(rest), expected)


@pytest.mark.parametrize("place", range(4))
def test_a_copy_works_by_itself(place, data):
    model = made()
    layer = model.layers[place]
    twin = layer.copy()
    inputs, _ = model.inputs_of(data[0], layer)
    np.testing.assert_array_equal(twin(inputs), layer(inputs))
    assert twin.parameters.values.size == sum(values.size for values in layer.get_weights())
    assert list(twin.weights) == list(layer.weights)
    twin.set_weights([np.zeros_like(values) for values in twin.get_weights()])
    assert all(values.any() for values in layer.get_weights() if values.ndim > 1)
    again = pickle.loads(pickle.dumps(twin))
    np.testing.assert_array_equal(again(inputs), twin(inputs))


def test_a_copy_with_another_name(data):
    model = made()
    model.pop()
    twin = model.layers[-1].copy(name="twin")
    assert (twin.name, model.layers[-1].name) == ("twin", "rnn")
    both = lc.Sequential([layers.LSTM(6, return_sequences=True), twin], dtype="float64")
    both.build((None, None, C))
    np.testing.assert_array_equal(both.weights["twin.bias_l1"], model.weights["rnn.bias_l1"])
    with pytest.raises(ValueError, match="name: expected a non-empty string without dots"):
        twin.copy(name="a.b")


def test_a_copy_of_a_layer_that_is_not_built():
    layer = layers.LSTM(3, trainable=False)
    twin = layer.copy()
    assert twin is not layer
    assert twin.get_config() == layer.get_config()
    assert twin.parameters is None


PAGE = Path(__file__).parents[3] / "docs" / "layers.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is only in the source tree")
def test_transferred_weights_help_with_little_data(tmp_path, monkeypatch):
    """Run the page's program on transfer; test_documentation runs the pages' other programs."""
    text = PAGE.read_text(encoding="utf-8").split("## Layers and weights for other models")[1]
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(compile(program, PAGE.name, "exec"), found)
    assert found["lent_accuracy"] > 0.95
    assert found["alone_accuracy"] < 0.85
    before, after = (found[name].get_layer("lstm").get_weights() for name in ("trained", "other"))
    assert all(map(np.array_equal, before, after))
