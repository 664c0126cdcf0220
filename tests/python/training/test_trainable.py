"""Frozen weights keep their bits, need no gradient, and do not affect the training of others."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

N, T, C, H = 4, 6, 3, 5
WITH_STEPS = {"return_sequences": True}


def every_kind():
    """Make a stack of every layer with weights, so that each has others above and below it."""
    return [
        layers.Embedding(7, C, embeddings_regularizer="l2", name="embedding"),
        layers.Conv1D(H, 3, padding="same", kernel_regularizer="l2", name="conv"),
        layers.LayerNormalization(gamma_regularizer="l1", name="norm"),
        layers.LSTM(H, **WITH_STEPS, num_layers=2, kernel_constraint="max_norm", name="lstm"),
        layers.Bidirectional(layers.LSTM(H, **WITH_STEPS), "sum", name="both"),
        layers.RNN([layers.LSTMCell(H), layers.LSTMCell(H)], **WITH_STEPS, name="rnn"),
        layers.Residual([layers.Dense(H, "tanh"), layers.LSTM(4, **WITH_STEPS)], True, name="res"),
        layers.TimeDistributed(layers.Dense(4, kernel_regularizer="l1_l2"), name="each"),
        layers.Attention("additive", kernel_regularizer="l2", name="attention"),
        layers.Dense(2, kernel_constraint=lc.constraints.MaxNorm(0.3), name="dense"),
    ]


NAMES = [layer.name for layer in every_kind()]


def made(optimizer="adamw", seed=3):
    model = lc.Sequential(every_kind(), seed=seed, dtype="float64")
    model.build((None, None))
    model.compile(optimizer, "mse")
    return model


@pytest.fixture
def ids(rng):
    return rng.integers(0, 7, (N, T))


@pytest.fixture
def y(rng):
    return rng.standard_normal((N, 2))


def gradients(model, x, targets):
    """Return the gradients of a step with learning rate 0, penalties included."""
    model.compile(lc.optimizers.SGD(0.0), "mse")
    before = model.get_weights()
    for spec in model.parameters.specs.values():
        assert spec.constraint is None or spec.constraint.max_value < 10
    model.train_on_batch(x, targets)
    found = {name: model.parameters.gradient(name).copy() for name in model.weights}
    model.set_weights(before)
    return found


# ---- every layer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_other_gradients_have_the_same_bits(name, ids, y):
    whole, part = made(), made()
    part.get_layer(name).trainable = False
    expected, found = gradients(whole, ids, y), gradients(part, ids, y)
    for full, gradient in found.items():
        if full.startswith(f"{name}."):
            assert not gradient.any(), full
            assert expected[full].any(), full
        else:
            np.testing.assert_array_equal(gradient, expected[full], err_msg=full)


@pytest.mark.parametrize(
    "optimizer",
    [
        lc.optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipvalue=0.1),
        lc.optimizers.RMSprop(0.01, clipnorm=0.5),
        lc.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_layer_does_not_move(name, optimizer, ids, y):
    """It was trained before, so that momentum would move it."""
    model = made(copy.deepcopy(optimizer))
    model.fit(ids, y, epochs=2, verbose=0)
    before, slots = model.get_weights(), copy.deepcopy(model.optimizer.slots)
    model.get_layer(name).trainable = False
    model.fit(ids, y, epochs=3, verbose=0)
    for full, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert np.array_equal(old, new) == full.startswith(f"{name}."), full
    # The optimizer's state for it does not change either.
    begin = 0
    for full, values in model.weights.items():
        part = slice(begin, begin + values.size)
        begin = part.stop
        for key, slot in model.optimizer.slots.items():
            same = np.array_equal(slot[part], slots[key][part])
            assert same == full.startswith(f"{name}."), (key, full)
    # After unfreezing, its training continues.
    model.get_layer(name).trainable = True
    model.fit(ids, y, epochs=1, verbose=0)
    for full, old, new in zip(model.weights, before, model.get_weights(), strict=True):
        assert not np.array_equal(old, new), full


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_of_some_weights_has_the_same_bits(optimizer, dtype, rng):
    """The engine updates each range of trained weights, of odd sizes and at odd positions."""
    x, y = rng.standard_normal((8, 3)).astype(dtype), rng.standard_normal((8, 1)).astype(dtype)
    results = []
    for frozen in ((), (1, 3)):
        model = lc.Sequential(
            [layers.Dense(units, "tanh") for units in (37, 5, 3, 1, 1)], dtype=dtype
        )
        for place in frozen:
            model.layers[place].trainable = False
        model.compile(optimizer, "mse")
        model.train_on_batch(x, y)
        results.append(model.weights)
    for name, values in results[0].items():
        still = name.startswith(("dense_1.", "dense_3."))
        assert np.array_equal(values, results[1][name]) == (not still), name


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_computed_below_the_lowest_trained_layer(name, ids, y, monkeypatch):
    model = made()
    at = NAMES.index(name)
    for layer in model.layers[:at]:
        layer.trainable = False
    asked = {}
    for place, layer in enumerate(model.layers):
        original = layer.backward

        def noting(context, dy, need_x=True, original=original, place=place):
            asked[place] = need_x
            return original(context, dy, need_x)

        monkeypatch.setattr(layer, "backward", noting)
    model.train_on_batch(ids, y)
    assert asked == {place: place > at for place in range(at, len(NAMES))}


def test_no_tape_is_stored_below_the_lowest_trained_layer(ids, y):
    model = made()
    expected = gradients(model, ids, y)
    for layer in model.layers[:4]:  # up to the LSTM
        layer.trainable = False
    _, _, contexts = model.forward(ids, None, True, 0, False)
    assert [hasattr(context, "tape") for context in contexts] == [False] * 4 + [True, True] + 4 * [
        False
    ]
    # Layers unfrozen now are trained from the next step on.
    model.trainable = True
    model.parameters.gradients.fill(0)
    model.backward(contexts, np.ones((N, 2)))
    assert not any(model.parameters.gradient(name).any() for name in of(model, "lstm.", "conv."))
    assert all(model.parameters.gradient(name).any() for name in of(model, "both.", "dense."))
    for name, gradient in gradients(model, ids, y).items():
        np.testing.assert_array_equal(gradient, expected[name])


def test_the_engine_receives_no_array_for_a_frozen_gradient(ids, y, monkeypatch):
    model = made()
    for name in ("lstm", "both", "conv", "norm", "each", "dense"):
        model.get_layer(name).trainable = False
    places = []
    for function in ("dense_backward", "conv1d_backward", "layer_norm_backward"):
        original = getattr(lc._core, function)

        def noting(*given, original=original):
            places.append(given[-2:])
            return original(*given)

        monkeypatch.setattr(lc._core, function, noting)
    outs, original = [], lc.functional.lstm_backward

    def noting(*given, out, **options):
        outs.append(out)
        return original(*given, out=out, **options)

    monkeypatch.setattr(lc.functional, "lstm_backward", noting)
    model.train_on_batch(ids, y)
    # From the top: dense, attention's keys, each, residual's two products; norm, conv.
    assert [place[0] is None for place in places] == [True, False, True, False, False, True, True]
    # Residual, rnn, both, lstm.
    assert [all(place is None for place in out.values()) for out in outs] == [
        False,
        False,
        True,
        True,
    ]


# ---- inner layers and cells ----------------------------------------------------------------------


def frozen_names(model):
    model._follow_trainable()
    frozen = set(model.parameters.frozen)
    counted = sum(layer.frozen_size for layer in model.layers)
    assert counted == model.parameters.frozen_size == sum(model.weights[one].size for one in frozen)
    return frozen


def of(model, *beginnings):
    return {name for name in model.weights if name.startswith(beginnings)}


def test_a_wrapper_sets_its_inner_layers():
    model = made()
    for name in ("res", "each", "both", "rnn"):
        model.get_layer(name).trainable = False
    rest = [part for layer in model.layers for part in layer._layers_within()]
    assert {part.trainable for part in rest} == {True, False}
    res, each, both, rnn = map(model.get_layer, ("res", "each", "both", "rnn"))
    for part in (*res.layers, each.layer, both.layer, *rnn.cells):
        assert part.trainable is False
    assert frozen_names(model) == of(model, "res.", "each.", "both.", "rnn.")
    model.get_layer("res").trainable = True
    assert all(part.trainable for part in res.layers)
    assert frozen_names(model) == of(model, "each.", "both.", "rnn.")


def test_inner_layers_may_be_frozen_alone(ids, y):
    model = made()
    expected = gradients(model, ids, y)
    model.get_layer("res").layers[0].trainable = False
    model.get_layer("each").layer.trainable = False
    model.get_layer("both").layer.trainable = False
    model.get_layer("rnn").cells[1].trainable = False
    frozen = of(model, "res.0.", "each.", "both.") | {
        name for name in of(model, "rnn.") if name.endswith("_l1")
    }
    assert frozen_names(model) == frozen
    found = gradients(model, ids, y)
    for name, gradient in found.items():
        np.testing.assert_array_equal(
            gradient, np.zeros_like(gradient) if name in frozen else expected[name], err_msg=name
        )
    # A layer is trainable if one of the layers that hold its weights is.
    assert model.get_layer("each").trainable is model.get_layer("both").trainable is False
    assert model.get_layer("res").trainable is model.get_layer("rnn").trainable is True


def test_the_last_setting_counts(tmp_path):
    model = made()
    model.trainable = False
    model.get_layer("res").layers[0].trainable = True
    model.get_layer("rnn").cells[0].trainable = True
    model.get_layer("both").layer.trainable = True
    model.get_layer("each").layer.trainable = True
    model.get_layer("lstm").cells[0].trainable = True
    trained = of(model, "res.0.", "both.", "each.", "lstm.") | {
        name for name in of(model, "rnn.") if name.endswith("_l0")
    }
    assert frozen_names(model) == set(model.weights) - trained
    for name in ("res", "rnn", "both", "each", "lstm"):
        assert model.get_layer(name).trainable is True
    # Files hold all its weights, including the projection's.
    model.save(tmp_path / "model.safetensors")
    assert frozen_names(lc.load(tmp_path / "model.safetensors")) == frozen_names(model)


def test_the_backward_ends_at_the_lowest_trained_layer_of_a_residual(ids, y, monkeypatch):
    model = lc.Sequential(
        [
            layers.Embedding(7, H, trainable=False),
            layers.Residual([layers.Dense(H), layers.Dense(H), layers.Dense(H)]),
            layers.GlobalMaxPooling1D(),
            layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse")
    inner = model.layers[1].layers
    inner[0].trainable = False
    asked = []
    for place, layer in enumerate(inner):
        original = layer.backward

        def noting(context, dy, need_x=True, original=original, place=place):
            asked.append((place, need_x))
            return original(context, dy, need_x)

        monkeypatch.setattr(layer, "backward", noting)
    model.train_on_batch(ids, y.astype("f4"))
    assert asked == [(2, True), (1, False)]


def test_the_projection_of_a_residual_is_frozen_with_it(ids, y):
    model = made()
    model.get_layer("res").trainable = False
    assert "res.projection.kernel" in frozen_names(model)
    # The projection is trained with the Residual, whether or not its layers are.
    model.get_layer("res").trainable = True
    for layer in model.get_layer("res").layers:
        layer.trainable = False
    assert "res.projection.kernel" not in frozen_names(model)
    expected, found = gradients(made(), ids, y), gradients(model, ids, y)
    np.testing.assert_array_equal(found["res.projection.kernel"], expected["res.projection.kernel"])
    np.testing.assert_array_equal(found["conv.kernel"], expected["conv.kernel"])


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_shared_matrix_is_frozen_with_one_of_its_cells(frozen):
    cells = [layers.LSTMCell(H), layers.LSTMCell(H)]
    model = lc.Sequential([layers.RNN(cells, share_recurrent=True)])
    model.build((None, None, C))
    cells[frozen].trainable = False
    assert frozen_names(model) == {
        "rnn.weight_hh_l0",
        f"rnn.weight_ih_l{frozen}",
        f"rnn.bias_l{frozen}",
    }


def test_recurrent_trainable_and_trainable(rng):
    model = lc.Sequential([layers.LSTM(H, recurrent_trainable=False), layers.Dense(1)])
    model.build((None, None, C))
    assert frozen_names(model) == {"lstm.weight_hh_l0"}
    model.layers[0].trainable = False
    assert frozen_names(model) == of(model, "lstm.")
    model.layers[0].trainable = True
    assert frozen_names(model) == {"lstm.weight_hh_l0"}
    model.trainable = False
    assert frozen_names(model) == set(model.weights)
    model.trainable = True
    assert frozen_names(model) == {"lstm.weight_hh_l0"}


@pytest.mark.parametrize("layer", every_kind(), ids=NAMES)
def test_a_layer_without_a_model(layer, rng):
    """Without a model: the backward of a frozen layer writes no gradient."""
    x = rng.integers(0, 7, (N, T)) if layer.name == "embedding" else rng.standard_normal((N, T, C))
    layer._build_alone((None, None, C)[: x.ndim], "float64")
    places = layer.parameters.gradients
    for trainable in (False, True):
        layer.trainable = trainable
        places.fill(9.0)
        out, _, context = layer.forward(x, None, True, 0)
        layer.backward(context, np.ones_like(out))
        # Zeroed when it is frozen, and not written afterwards.
        assert not places.any() if not trainable else not (places == 9.0).any()


# ---- when to freeze ------------------------------------------------------------------------------


def test_freezing_before_and_after_building_and_between_steps(ids, y):
    by_keyword = lc.Sequential(
        [layers.Embedding(7, C, trainable=False), layers.LSTM(2)], dtype="float64"
    )
    by_attribute = lc.Sequential([layers.Embedding(7, C), layers.LSTM(2)], dtype="float64")
    by_attribute.layers[0].trainable = False
    for model in (by_keyword, by_attribute):
        model.compile("adam", "mse")
        model.fit(ids, y, verbose=0)
        assert frozen_names(model) == {"embedding.embeddings"}
    np.testing.assert_array_equal(by_keyword.predict(ids), by_attribute.predict(ids))

    class Thaw(lc.callbacks.Callback):
        """Freezes and unfreezes during a fit."""

        moved = ()

        def on_train_batch_begin(self, batch, logs=None):
            self.before = self.model.get_weights()[0]
            self.model.layers[0].trainable = batch == 1

        def on_train_batch_end(self, batch, logs=None):
            self.moved += (not np.array_equal(self.before, self.model.get_weights()[0]),)

    thaw = Thaw()
    by_attribute.fit(ids, y, batch_size=2, callbacks=[thaw], verbose=0)
    assert thaw.moved == (False, True)


def test_a_model_sets_all_its_layers():
    model = made()
    assert model.trainable is True
    model.trainable = False
    assert model.trainable is False
    assert not any(layer.trainable for layer in model.layers)
    assert frozen_names(model) == set(model.weights)
    model.layers[-1].trainable = True  # a model has no setting of its own
    assert model.trainable is True
    assert frozen_names(model) == set(model.weights) - of(model, "dense.")


def test_a_model_without_anything_to_train(ids, y):
    model = made()
    model.trainable = False
    before = model.get_weights()
    for train in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="all with weights are frozen; set trainable = True"):
            train(ids, y)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert np.isfinite(model.evaluate(ids, y, verbose=0))
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("value", [1, None, "no", 0.0])
def test_trainable_is_a_flag(value):
    layer = layers.Dense(1)
    with pytest.raises(TypeError, match="trainable"):
        layer.trainable = value
    with pytest.raises(TypeError, match="trainable"):
        layers.Dense(1, trainable=value)
    with pytest.raises(TypeError, match="trainable"):
        lc.Sequential([layer]).trainable = value
    assert layer.trainable is True


@pytest.mark.parametrize("name", sorted(set(layers.__all__) - {"Layer", "Input"}))
def test_every_layer_takes_the_keyword_and_writes_it_only_if_it_is_frozen(name):
    kind = getattr(layers, name)
    needs = {
        "Bidirectional": (layers.LSTM(2),),
        "Residual": ([layers.Dense(2)],),
        "TimeDistributed": (layers.Dense(2),),
        "RNN": (layers.LSTMCell(2),),
        "Conv1D": (2, 3),
        "Embedding": (4, 2),
        "Activation": ("gelu",),
        "Dropout": (0.5,),
        "GaussianNoise": (0.5,),
        "Permute": ((2, 1),),
        "RepeatVector": (2,),
        "Rescaling": (2.0,),
        "Reshape": ((2, 1),),
        "SpatialDropout1D": (0.5,),
        "Dense": (2,),
        "EALSTM": (2,),
        "LSTM": (2,),
        "SimpleRNN": (2,),
        "LSTMCell": (2,),
        "CRF": (3,),
    }.get(name, ())
    assert "trainable" not in kind(*needs).get_config()
    frozen = kind(*needs, trainable=False)
    assert frozen.trainable is False
    assert not any(part.trainable for part in frozen._layers_within())
    assert frozen.get_config()["trainable"] is False


# ---- losses and norms ----------------------------------------------------------------------------


def test_the_global_norm_counts_trained_weights(ids, y):
    """The gradient of the frozen weights would be far larger than all others."""
    models = [made(), made()]
    models[0].get_layer("dense").trainable = False
    models[1].get_layer("dense").trainable = False
    models[0].compile(lc.optimizers.SGD(1.0), "mse")
    models[1].compile(lc.optimizers.SGD(1.0, global_clipnorm=1e-3), "mse")
    moves = []
    for model in models:
        before = np.concatenate([values.ravel() for values in model.get_weights()])
        model.train_on_batch(ids, y)
        after = np.concatenate([values.ravel() for values in model.get_weights()])
        moves.append(after - before)
    norms = [np.linalg.norm(move) for move in moves]
    assert norms[0] > 2e-3
    assert norms[1] == pytest.approx(1e-3, rel=1e-9)
    np.testing.assert_allclose(moves[1] * norms[0] / 1e-3, moves[0], rtol=1e-6, atol=1e-12)


def test_penalties_of_frozen_weights_are_not_counted(ids, y):
    """As in Keras: see `test_frozen_penalties` in neighbours."""
    model = lc.Sequential(
        [
            layers.Embedding(7, C, embeddings_regularizer=lc.regularizers.L2(0.5)),
            layers.LSTM(2, kernel_regularizer=lc.regularizers.L1(0.25)),
        ],
        dtype="float64",
    )
    model.compile("sgd", "mse")
    whole = model.evaluate(ids, y, verbose=0)
    model.layers[0].trainable = False
    part = model.evaluate(ids, y, verbose=0)
    embeddings = model.weights["embedding.embeddings"]
    assert whole - part == pytest.approx(0.5 * (embeddings**2).sum(), rel=1e-12)
    plain = np.mean((model.predict(ids) - y) ** 2)
    kernel = model.weights["lstm.weight_ih_l0"]
    assert part == pytest.approx(plain + 0.25 * np.abs(kernel).sum(), rel=1e-12)
    assert model.train_on_batch(ids, y) == pytest.approx(part, rel=1e-12)


def test_constraints_do_not_act_on_frozen_weights(ids, y):
    model = made()
    model.get_layer("dense").set_weights([np.full((4, 2), 3.0), np.zeros(2)])
    model.get_layer("dense").trainable = False
    model.train_on_batch(ids, y)
    assert (model.weights["dense.kernel"] == 3.0).all()
    model.get_layer("dense").trainable = True
    model.train_on_batch(ids, y)
    assert np.linalg.norm(model.weights["dense.kernel"], axis=0).max() <= 0.3 + 1e-12


# ---- copies, files, tables -----------------------------------------------------------------------


def some_frozen():
    model = made()
    for name in ("embedding", "norm", "both"):
        model.get_layer(name).trainable = False
    model.get_layer("rnn").cells[0].trainable = False
    model.get_layer("res").layers[1].trainable = False
    model.get_layer("lstm").cells[0].trainable = False  # its only cell, so all of it
    return model


@pytest.mark.parametrize("how", ["pickle", "deepcopy", "file"])
def test_copies_are_frozen_too(how, ids, y, tmp_path):
    model = some_frozen()
    expected = frozen_names(model)
    assert expected >= of(model, "embedding.", "norm.", "both.", "res.1.", "lstm.")
    model.fit(ids, y, verbose=0)
    if how == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    elif how == "deepcopy":
        twin = copy.deepcopy(model)
    else:
        model.save(tmp_path / "model.safetensors")
        twin = lc.load(tmp_path / "model.safetensors")
    assert frozen_names(twin) == expected
    for one in (model, twin):
        one.fit(ids, y, initial_epoch=1, epochs=3, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), twin.get_weights()))
    twin.trainable = True  # affects only the copy
    assert frozen_names(model) == expected


def test_an_encoder_decoder_is_saved_frozen(tmp_path):
    path = tmp_path / "model.safetensors"
    model = lc.EncoderDecoder(8, 9, units=4, bidirectional=True)
    model.get_layer("encoder").layer.trainable = False
    model.get_layer("source_embedding").trainable = False
    model.save(path)
    found = lc.load(path)
    assert frozen_names(found) == frozen_names(model) == of(model, "encoder.", "source_embedding.")
