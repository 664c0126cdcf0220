"""Work that a step or a small call can skip without changing results."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers, metrics
from lstmcore.layers import switches
from lstmcore.models import compilable

N, T, V, E = 4, 5, 11, 3


def tagger(embedding=None, dtype="float32", **more):
    """Build and compile a model that takes ids."""
    embedding = layers.Embedding(V, E, **more) if embedding is None else embedding
    rest = [layers.LSTM(2, return_sequences=True), layers.Dense(V, activation="softmax")]
    model = lc.Sequential([embedding, *rest], seed=1, dtype=dtype)
    model.build((None, None))
    model.compile(lc.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def ids(rng):
    return rng.integers(0, V, (N, T))


# ---- the guard -----------------------------------------------------------------------------------


def check(model, ids, dy):
    """Compute the embedding's gradient for `dy`; return whether the guard finds it finite."""
    embedding = model.layers[0]
    embedding.backward(embedding.forward(ids, None, True, 0)[2], dy)
    return model.parameters.gradients_are_finite()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_guard_checks_what_the_embedding_gradient_sums(dtype, ids):
    model = tagger(dtype=dtype)
    largest = float(np.finfo(dtype).max)
    gradient = model.parameters.gradient("embedding.embeddings")
    for value, finite in ((0.0, True), (1.0, True), (np.nan, False), (np.inf, False)):
        dy = np.ones((N, T, E), dtype)
        dy[1, 2, 0] = value
        assert check(model, ids, dy) is finite
        assert np.isfinite(gradient).all() == finite
    # Each entry and the sum of two are finite, but not the sum of twenty.
    few = np.zeros((N, T, E), dtype)
    few[0, :2] = largest / 3
    same = np.zeros((N, T), np.int64)
    assert check(model, same, few)
    assert np.isfinite(gradient).all()
    assert not check(model, same, np.full((N, T, E), largest / 3, dtype))
    assert np.isinf(gradient[0]).all()
    assert check(model, ids, np.ones((N, T, E), dtype))


class Own(layers.Embedding):
    def backward(self, context, dy, need_x=True):
        super().backward(context, dy, need_x)


def test_the_guard_reads_an_embedding_gradient_that_others_change(ids):
    dy = np.ones((N, T, E), np.float32)
    for model, read in (
        (tagger(), False),
        (tagger(embeddings_regularizer="l2"), True),  # its penalty is added afterwards
        (tagger(Own(V, E, name="embedding")), True),  # may write anything
    ):
        assert check(model, ids, dy)
        model.parameters.gradient("embedding.embeddings")[3, 1] = np.nan
        assert model.parameters.gradients_are_finite() is not read


def test_the_guard_reads_all_other_gradients(ids):
    model = tagger()
    model.train_on_batch(ids, ids)
    for frozen in (False, True):
        model.layers[0].trainable = not frozen
        model.train_on_batch(ids, ids)
        for name in list(model.weights)[1:]:
            gradient = model.parameters.gradient(name)
            for place in (0, gradient.size - 1):
                before = gradient.flat[place]
                gradient.flat[place] = -np.inf
                assert not model.parameters.gradients_are_finite()
                gradient.flat[place] = before
        assert model.parameters.gradients_are_finite()
    large = model.parameters.gradient("dense.bias")
    large[:] = 3e38
    assert model.parameters.gradients_are_finite()


def test_the_guard_finds_overflow_in_the_embedding_gradient_alone():
    """Loss and later gradients are finite; only the embedding's gradient overflows."""
    steep = layers.TimeDistributed(layers.Dense(1, use_bias=False))
    model = lc.Sequential([layers.Embedding(2, 1), steep, layers.GlobalAveragePooling1D()])
    model.build((None, None))
    model.set_weights([[[1e-30], [0.0]], [[1e30]]])
    # The gradient is deliberately not the derivative of `far`.
    model.compile("sgd", lc.losses.Function(far, gradient=slope, check_gradient=False))
    before = model.get_weights()
    with pytest.raises(FloatingPointError, match="a gradient of the loss is not finite in step 1"):
        model.fit(np.zeros((64, 2), np.int64), np.zeros(64), batch_size=64, verbose=0)
    for left, right in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)
    assert np.isfinite(model.parameters.gradient("time_distributed.kernel")).all()
    assert not np.isfinite(model.parameters.gradient("embedding.embeddings")).all()


def far(y_true, y_pred):
    return np.zeros(len(y_pred))


def slope(y_true, y_pred):
    return np.full_like(y_pred, 1e10)


# ---- what is frozen ------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """Record how often layers were asked which weights are frozen."""
    times = []
    inner = switches.frozen_weights
    monkeypatch.setattr(switches, "frozen_weights", lambda own: times.append(1) or inner(own))
    return times


def test_layers_are_asked_only_after_a_change(ids, asked):
    model = tagger()
    model.fit(ids, ids, epochs=3, batch_size=1, verbose=0)
    assert len(asked) == 1
    model.layers[1].trainable = False
    assert model.layers[1].frozen_size  # asks immediately
    asked.clear()
    before = model.layers[1].get_weights()
    model.fit(ids, ids, epochs=3, batch_size=1, verbose=0)
    assert len(asked) == 1
    for left, right in zip(model.layers[1].get_weights(), before, strict=True):
        np.testing.assert_array_equal(left, right)


def moved(model, ids):
    """Return the names of the layers whose weights a step changes."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.train_on_batch(ids, ids)
    return [
        layer.name
        for layer in model.layers
        if any(
            (left != right).any()
            for left, right in zip(layer.get_weights(), before[layer.name], strict=True)
        )
    ]


def test_every_way_to_freeze_is_noticed(ids):
    model = tagger()
    every = ["embedding", "lstm", "dense"]
    assert moved(model, ids) == every
    model.layers[1].cells[0].trainable = False
    assert moved(model, ids) == ["embedding", "dense"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert moved(twin, ids) == ["embedding", "dense"]
        twin.layers[1].trainable = True
        assert moved(twin, ids) == every
    assert moved(model, ids) == ["embedding", "dense"]  # the other model's setting has no effect
    model.trainable = False
    model.layers[2].trainable = True
    assert moved(model, ids) == ["dense"]
    model.add(layers.Dense(V, activation="softmax", name="head"))
    assert moved(model, ids) == ["dense", "head"]
    model.pop()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.trainable = True
    assert moved(model, ids) == every


class Freezes(callbacks.Callback):
    """Freezes a layer, then refuses to begin."""

    def on_train_begin(self, logs=None):
        self.model.layers[0].trainable = False
        self.model._follow_trainable()
        raise RuntimeError("no")


def test_a_refused_fit_leaves_no_layer_frozen(ids):
    model = tagger()
    with pytest.raises(RuntimeError, match="no"):
        model.fit(ids, ids, callbacks=Freezes(), verbose=0)
    assert model.layers[0].trainable
    assert "embedding" in moved(model, ids)


def test_a_layer_alone_follows_trainable(rng):
    layer = layers.Dense(2)
    x = rng.standard_normal((N, E)).astype(np.float32)
    layer(x)
    for trainable in (True, False, True):
        layer.trainable = trainable
        layer.parameters.gradients.fill(0)
        layer.backward(layer.forward(x, None, True, 0)[2], np.ones((N, 2), np.float32))
        assert layer.parameters.gradients.any() == trainable


# ---- heads, metrics, states ----------------------------------------------------------------------


def test_a_head_is_checked_once_for_each_structure(ids, monkeypatch):
    times = []
    inner = compilable.check_head
    monkeypatch.setattr(compilable, "check_head", lambda *own: times.append(1) or inner(*own))
    model = tagger()
    for _ in range(3):
        model.train_on_batch(ids, ids)
        model.evaluate(ids, ids, verbose=0)
    assert len(times) == 2  # in compile, and in the first call
    model.add(layers.Dense(1, activation="softmax"))
    with pytest.raises(ValueError, match="softmax"):
        model.test_on_batch(ids, ids)
    model.pop()
    model.test_on_batch(ids, ids)


def test_a_head_is_checked_again_while_the_model_is_not_built(ids):
    model = lc.Sequential([layers.Embedding(V, E), layers.Dense(V, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="ids"):  # checked without being built
        model.train_on_batch(ids - 1, ids)
    model.add(layers.Dense(1, activation="softmax"))
    model.build((None, None))
    with pytest.raises(ValueError, match="softmax"):
        model.train_on_batch(ids, ids)


class Counted(metrics.SparseCategoricalAccuracy):
    """A metric that overrides `update`, which code other than models calls too."""

    rows = 0

    def update(self, y_true, y_pred, sample_weight=None):
        Counted.rows += len(y_pred)
        super().update(y_true, y_pred, sample_weight)


def test_a_metric_that_overrides_update_is_updated_through_it(ids):
    Counted.rows = 0
    model = tagger()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy", Counted("own")])
    found = model.evaluate(ids, ids, verbose=0, return_dict=True)
    assert Counted.rows == N * T
    assert found["own"] == found["accuracy"]


def test_update_rows_counts_as_update_does(rng):
    targets, outputs = rng.integers(0, 3, 20), rng.random((20, 3))
    weights = rng.random(20)
    one, other = (metrics.SparseCategoricalAccuracy() for _ in range(2))
    one.update(targets, outputs, weights)
    other.update_rows(targets, outputs, weights)
    other.update_rows(targets[:0], outputs[:0], None)  # an update without rows changes nothing
    assert one.result() == other.result() > 0


def test_states_are_gathered_only_on_request(ids):
    model = tagger()
    y, after = model.predict(ids, batch_size=2, return_state=True, verbose=0)
    np.testing.assert_array_equal(model.predict(ids, batch_size=2, verbose=0), y)
    rest = model.predict(ids, state=after, verbose=0)
    both = model.predict(np.hstack([ids, ids]), verbose=0)
    np.testing.assert_allclose(both[:, T:], rest, rtol=1e-5)
