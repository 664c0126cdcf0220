"""Attributes that are no options, of the package's classes and of users', and of copies."""

import copy
import pickle

import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore._options import Checked, arguments
from option_kit import LAYERS, X


def every_kind(base=Checked):
    """Return all public classes of the package with checked attributes."""
    for kind in base.__subclasses__():
        if kind.__module__.startswith("lstmcore."):
            yield kind
            yield from every_kind(kind)


# ---- attributes that are not options ----------------------------------------------------------


THINGS = {
    "LSTM": (lambda: layers.LSTM(2), "unitz", "units"),
    "LSTMCell": (lambda: layers.LSTMCell(2), "recurent_dropout", "recurrent_dropout"),
    "Sequential": (lambda: lc.Sequential(), "stop_trainig", "stop_training"),
    "EncoderDecoder": (lambda: lc.EncoderDecoder(5, 5), "schedule_sampling", "scheduled_sampling"),
    "Adam": (lambda: lc.optimizers.Adam(), "lerning_rate", "learning_rate"),
    "MeanSquaredError": (lambda: lc.losses.MeanSquaredError(), "anything", None),
    "BinaryAccuracy": (lambda: lc.metrics.BinaryAccuracy(), "treshold", "threshold"),
    "CosineDecay": (lambda: lc.schedules.CosineDecay(1.0, 3), "decay_step", "decay_steps"),
    "EarlyStopping": (lambda: lc.callbacks.EarlyStopping(), "patiance", "patience"),
    "History": (lambda: lc.callbacks.History(), "epochs", "epoch"),
    "L2": (lambda: lc.regularizers.L2(), "weight", None),
    "MaxNorm": (lambda: lc.constraints.MaxNorm(), "max_values", "max_value"),
}


@pytest.mark.parametrize("name", THINGS)
def test_an_attribute_that_is_not_an_option_is_refused(name):
    make, wrong, meant = THINGS[name]
    thing = make()
    before = dict(vars(thing))
    hint = f"; did you mean '{meant}'" if meant else ""
    with pytest.raises(AttributeError, match=f"{name} has no attribute '{wrong}'{hint}"):
        setattr(thing, wrong, 3)
    assert vars(thing) == before
    thing._anything = 3  # private names are free
    assert thing._anything == 3


def test_derived_attributes_cannot_be_set():
    model = lc.Sequential([layers.Input((None, 3)), layers.LSTM(2)])
    for thing, name in (
        (layers.LSTM(2), "cells"),
        (layers.LSTM(2), "parameters"),
        (layers.Bidirectional(layers.LSTM(2)), "units"),
        (model, "weights"),
        (model, "parameters"),
        (lc.EncoderDecoder(5, 5), "built"),
    ):
        with pytest.raises(AttributeError, match=f"{type(thing).__name__}.{name} cannot be set"):
            setattr(thing, name, 3)
    for name, why in (("layers", "added by add"), ("dtype", "fixed when the model is made")):
        with pytest.raises(
            AttributeError, match=f"Sequential.{name}: cannot be set, since .*{why}"
        ):
            setattr(model, name, [])
    with pytest.raises(AttributeError, match="EncoderDecoder.units: cannot be set"):
        lc.EncoderDecoder(5, 5).units = 3
    for thing, name in (
        (lc.losses.BinaryCrossentropy(), "from_logits"),
        (lc.metrics.BinaryAccuracy(), "threshold"),
        (lc.regularizers.L1(), "l1"),
    ):
        with pytest.raises(AttributeError, match=f"{name}: cannot be set, .*make a new one"):
            setattr(thing, name, 0.5)


def test_a_method_may_be_replaced(monkeypatch):
    model = lc.Sequential([layers.Dense(1)])
    monkeypatch.setattr(model, "predict", lambda x: "replaced")
    assert model.predict(X) == "replaced"


# ---- classes of users -------------------------------------------------------------------------


class Scaled(layers.Dense):
    """A layer with a custom constructor and attributes."""

    note: str

    def __init__(self, factor, *, name=None):
        super().__init__(2, name=name)
        self.factor = factor

    def build(self, input_shape):
        shape = super().build(input_shape)
        self.built_for = [size for size in input_shape if size]
        return shape

    def forward(self, inputs, lengths, training, seed):
        outputs, lengths, context = super().forward(inputs, lengths, training, seed)
        self.seen, (self.first, *_) = len(inputs), inputs
        return self.factor * outputs, lengths, context


class Counting(lc.callbacks.Callback):
    def __init__(self, patience=3):
        self.patience = patience

    def on_train_begin(self, logs=None):
        self.batches = 0

    def on_train_batch_end(self, batch, logs):
        self.batches += 1
        self.patience -= 1

    def on_epoch_end(self, epoch, logs):
        for name, value in logs.items():
            setattr(self, f"last_{name}", value)


class Smooth(lc.losses.MeanSquaredError):
    def sum(self, targets, outputs, weights=None, scale=1.0, need_gradient=False):
        self.calls = getattr(self, "calls", 0) + 1
        return super().sum(targets, outputs, weights, scale, need_gradient)


def test_user_classes_may_have_their_own_attributes():
    layer, counting, loss = Scaled(2.0), Counting(), Smooth()
    model = lc.Sequential([layer])
    model.compile("sgd", loss)
    model.fit(X[:, 0], X[:, 1, :2], batch_size=2, callbacks=[counting], verbose=0)
    assert (layer.built_for, layer.seen) == ([3], 2)
    assert (counting.batches, counting.patience) == (3, 0)
    assert counting.last_loss > 0
    assert loss.calls == 3
    layer.factor = 3.0
    layer.note = "declared in the body"
    loss.calls = 0
    counting.anything = 1  # a class that calls setattr may set any name
    with pytest.raises(AttributeError, match="Scaled has no attribute 'facto'; .*'factor'"):
        layer.facto = 1
    with pytest.raises(AttributeError, match="Scaled has no attribute 'unitz'; .*'units'"):
        layer.unitz = 1
    with pytest.raises(AttributeError, match="Smooth has no attribute 'call'; .*'calls'"):
        loss.call = 1
    with pytest.raises(AttributeError, match="Scaled.units: cannot be set, since the layer is"):
        layer.units = 4


def test_a_subclass_passes_options_on():
    class Wide(layers.LSTM):
        def build(self, input_shape):
            self.units = 2 * input_shape[-1]
            return super().build(input_shape)

    assert Wide(1)(X).shape == (6, 6)


# ---- copies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))]
)
def test_copies_are_checked_too(make):
    layer = make(layers.LSTM(2))
    layer.units = 3
    assert layer(X).shape == (6, 3)
    with pytest.raises(AttributeError, match="did you mean 'units'"):
        layer.unitz = 3
    optimizer = make(lc.optimizers.Adam(0.5))
    optimizer.beta_1 = 0.25
    assert optimizer.get_config()["beta_1"] == 0.25


def test_a_refused_fit_leaves_options_as_they_were():
    model = lc.Sequential([layers.LSTM(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="y: expected shape"):
        model.fit(X, X[:, 0], verbose=0)
    model.layers[0].units = 3  # not built
    model.fit(X, X[:, 0], verbose=0)


def test_every_class_keeps_its_options_as_attributes():
    """The constructor can then check a change."""
    wrong = []
    for kind in set(every_kind()):
        if kind.__name__.startswith("_") or kind in (lc.layers.Layer,):
            continue
        instance = next((t for t in _instances() if type(t) is kind), None)
        if instance is not None:
            wrong += [f"{kind.__name__}.{a}" for a in arguments(kind) if not hasattr(instance, a)]
    assert not wrong


def _instances():
    for make, *_ in LAYERS.values():
        yield make()
    yield layers.Dropout(0.5)
    yield layers.TextVectorization()
    yield layers.LSTMCell(2)
    for make, *_ in THINGS.values():
        yield make()
    yield lc.callbacks.ModelCheckpoint("a")
    yield lc.callbacks.CSVLogger("a")
    yield lc.callbacks.ReduceLROnPlateau()
    yield lc.callbacks.LearningRateScheduler(min)
    yield lc.callbacks.LambdaCallback()
    for kind in (lc.optimizers.SGD, lc.optimizers.RMSprop, lc.optimizers.AdamW):
        yield kind()
