"""Assignable attributes of layers, models, optimizers and callbacks, and their effects."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore._options import Checked, arguments

X = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(np.float32)
IDS = np.random.default_rng(0).integers(1, 9, (6, 5))


def every_kind(base=Checked):
    """Return all public classes of the package with checked attributes."""
    for kind in base.__subclasses__():
        if kind.__module__.startswith("lstmcore."):
            yield kind
            yield from every_kind(kind)


# For each layer: how to make it, a new value for each option, an input, and the options that a new
# value needs.
LAYERS = {
    "LSTM": (
        lambda **o: layers.LSTM(**{"units": 4, **o}),
        {
            "units": 6,
            "return_sequences": True,
            "return_state": True,
            "go_backwards": True,
            "recompute": 2,
            "num_layers": 2,
            "dropout": 0.4,
            "activation": "relu",
            "recurrent_activation": "hard_sigmoid",
            "output_activation": "relu",
            "use_bias": False,
            "peephole": True,
            "coupled_gates": True,
            "gate_clip": 0.5,
            "cell_clip": 0.1,
            "output_clip": 0.1,
            "zoneout_h": 0.3,
            "zoneout_c": 0.3,
            "recurrent_dropout": 0.3,
            "input_dropout": 0.3,
            "weight_dropout": 0.3,
            "proj_size": 2,
            "proj_clip": 0.1,
            "layer_norm": True,
            "layer_norm_epsilon": 0.1,
            "unit_forget_bias": False,
            "forget_bias": 3.0,
            "recurrent_trainable": False,
            "share_recurrent": True,
            "stateful": True,
            "kernel_initializer": "zeros",
            "recurrent_initializer": "zeros",
            "kernel_regularizer": "l2",
            "recurrent_regularizer": "l2",
            "bias_regularizer": "l2",
            "kernel_constraint": "max_norm",
            "recurrent_constraint": "max_norm",
            "bias_constraint": "max_norm",
            "seed": 5,
        },
        X,
        {
            "proj_clip": {"proj_size": 2},
            "layer_norm_epsilon": {"layer_norm": True},
            "share_recurrent": {"num_layers": 2},
        },
    ),
    "SimpleRNN": (
        lambda **o: layers.SimpleRNN(**{"units": 4, **o}),
        {
            "units": 6,
            "activation": "relu",
            "use_bias": False,
            "kernel_initializer": "zeros",
            "recurrent_initializer": "zeros",
            "bias_initializer": "ones",
            "kernel_regularizer": "l2",
            "recurrent_regularizer": "l2",
            "bias_regularizer": "l2",
            "kernel_constraint": "max_norm",
            "recurrent_constraint": "max_norm",
            "bias_constraint": "max_norm",
            "return_sequences": True,
            "return_state": True,
            "go_backwards": True,
            "recompute": 2,
            "num_layers": 2,
            "dropout": 0.4,
            "recurrent_dropout": 0.3,
            "stateful": True,
            "seed": 5,
        },
        X,
        {},
    ),
    "Dense": (
        lambda **o: layers.Dense(**{"units": 4, **o}),
        {
            "units": 6,
            "activation": "softmax",
            "use_bias": False,
            "kernel_initializer": "zeros",
            "bias_initializer": "ones",
            "kernel_regularizer": 0.1,
            "bias_regularizer": "l1",
            "kernel_constraint": "max_norm",
            "bias_constraint": "max_norm",
            "seed": 5,
        },
        X,
        {},
    ),
    "Conv1D": (
        lambda **o: layers.Conv1D(**{"filters": 4, "kernel_size": 2, **o}),
        {
            "filters": 5,
            "kernel_size": 3,
            "strides": 2,
            "padding": "causal",
            "dilation_rate": 2,
            "activation": "relu",
            "use_bias": False,
            "kernel_initializer": "zeros",
            "bias_initializer": "ones",
            "kernel_regularizer": 0.1,
            "bias_regularizer": "l1",
            "kernel_constraint": "max_norm",
            "bias_constraint": "max_norm",
            "seed": 5,
        },
        X,
        {},
    ),
    "Embedding": (
        lambda **o: layers.Embedding(**{"input_dim": 9, "output_dim": 4, **o}),
        {
            "input_dim": 11,
            "output_dim": 5,
            "embeddings_initializer": "zeros",
            "embeddings_regularizer": "l2",
            "mask_zero": True,
            "seed": 5,
        },
        IDS,
        {},
    ),
    "Concatenate": (lambda **o: layers.Concatenate(**o), {"axis": 2}, [X, X], {}),
    "EALSTM": (
        lambda **o: layers.EALSTM(**{"units": 4, "seed": 1, **o}),
        {
            "units": 6,
            "return_sequences": True,
            "return_state": True,
            "recompute": 2,
            "dropout": 0.4,
            "recurrent_dropout": 0.4,
            "unit_forget_bias": False,
            "forget_bias": 3.0,
            "kernel_initializer": "he_normal",
            "recurrent_initializer": "glorot_uniform",
            "static_initializer": "he_normal",
            "kernel_regularizer": "l2",
            "recurrent_regularizer": "l1",
            "static_regularizer": 0.1,
            "seed": 2,
        },
        [X, X[:, 0]],
        {},
    ),
    "LayerNormalization": (
        lambda **o: layers.LayerNormalization(**o),
        {
            "epsilon": 0.5,
            "center": False,
            "scale": False,
            "beta_initializer": "ones",
            "gamma_initializer": "zeros",
            "beta_regularizer": "l2",
            "gamma_regularizer": "l2",
            "beta_constraint": "max_norm",
            "gamma_constraint": "max_norm",
            "seed": 5,
        },
        X,
        {},
    ),
    "BatchNormalization": (
        lambda **o: layers.BatchNormalization(**o),
        {
            "momentum": 0.5,
            "epsilon": 0.5,
            "center": False,
            "scale": False,
            "beta_initializer": "ones",
            "gamma_initializer": "zeros",
            "moving_mean_initializer": "ones",
            "moving_variance_initializer": "zeros",
            "beta_regularizer": "l2",
            "gamma_regularizer": "l2",
            "beta_constraint": "max_norm",
            "gamma_constraint": "max_norm",
            "seed": 5,
        },
        X,
        {},
    ),
    "Normalization": (
        lambda **o: layers.Normalization(**o),
        {"axis": None, "invert": True, "mean": 2.0, "variance": 3.0},
        X,
        {"mean": {"variance": 1.0, "mean": 1.0}, "variance": {"mean": 1.0, "variance": 1.0}},
    ),
    "Rescaling": (
        lambda **o: layers.Rescaling(**{"scale": 2.0, **o}),
        {"scale": [1.0, 2.0, 3.0], "offset": 0.5},
        X,
        {},
    ),
    "Activation": (
        lambda **o: layers.Activation(**{"activation": "elu", **o}),
        {"activation": "gelu", "alpha": 0.5},
        X,
        {},
    ),
    "Masking": (lambda **o: layers.Masking(**o), {"mask_value": X[0, 0, 0].item()}, X, {}),
    "Reshape": (
        lambda **o: layers.Reshape(**{"target_shape": (15,), **o}),
        {"target_shape": (3, 5)},
        X,
        {},
    ),
    "Permute": (lambda **o: layers.Permute(**{"dims": (1, 2), **o}), {"dims": (2, 1)}, X, {}),
    "RepeatVector": (lambda **o: layers.RepeatVector(**{"n": 2, **o}), {"n": 3}, X[:, 0], {}),
    "AveragePooling1D": (
        lambda **o: layers.AveragePooling1D(**o),
        {"pool_size": 3, "strides": 1, "padding": "same"},
        X,
        {},
    ),
    "Attention": (
        lambda **o: layers.Attention(**o),
        {
            "kind": "multiplicative",
            "units": 6,
            "scale": True,
            "kernel_initializer": "zeros",
            "kernel_regularizer": "l2",
            "seed": 5,
        },
        X,
        {"scale": {"kind": "multiplicative"}},
    ),
    "MaxPooling1D": (
        lambda **o: layers.MaxPooling1D(**o),
        {"pool_size": 3, "strides": 1, "padding": "same"},
        X,
        {},
    ),
    "Bidirectional": (
        lambda **o: layers.Bidirectional(**{"layer": layers.LSTM(3, seed=1), **o}),
        {"merge_mode": "mul", "layer": layers.LSTM(5, seed=1)},
        X,
        {},
    ),
    "RNN": (
        lambda **o: layers.RNN(**{"cell": layers.LSTMCell(3, seed=1), **o}),
        {
            "cell": layers.LSTMCell(5, seed=1),
            "return_sequences": True,
            "return_state": True,
            "go_backwards": True,
            "recompute": 2,
            "stateful": True,
        },
        X,
        {},
    ),
    "CRF": (
        lambda **o: layers.CRF(**{"tags": X.shape[-1], **o}),
        {
            "forbidden": [(0, 1), ("start", 0)],
            "transitions_initializer": "random_normal",
            "transitions_regularizer": "l2",
            "seed": 4,
        },
        X,
        {"seed": {"transitions_initializer": "random_normal"}},
    ),
    "Residual": (
        lambda **o: layers.Residual(**{"layers": layers.Dense(3, seed=1), **o}),
        {"layers": layers.Dense(3, seed=2), "projection": True},
        X,
        {},
    ),
    "TimeDistributed": (
        lambda **o: layers.TimeDistributed(**{"layer": layers.Dense(3, seed=1), **o}),
        {"layer": layers.Dense(4, seed=1)},
        X,
        {},
    ),
}
CHANGES = [(kind, option) for kind, (_, options, _, _) in LAYERS.items() for option in options]


def outcome(layer, x):
    """Return a layer's outputs, at inference and in training, and its weights' options."""
    results = [np.asarray(part) for part in _parts(layer(x))]
    if not getattr(layer, "return_state", False):
        results.append(np.asarray(layer(x, training=True, seed=3)))
    specs = [
        (s.name, s.shape, s.l1, s.l2, s.constraint is None, s.trainable)
        for s in layer.weight_specs()
    ]
    return results, specs, layer.get_weights()


def _parts(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


@pytest.mark.parametrize(("kind", "option"), CHANGES)
def test_setting_an_option_before_building_is_like_passing_it(kind, option):
    make, options, x, beside = LAYERS[kind]
    value, others = options[option], beside.get(option, {})
    changed, given = make(**others), make(**{**others, option: copy.deepcopy(value)})
    setattr(changed, option, copy.deepcopy(value))
    assert {**changed.get_config(), "name": None} == {**given.get_config(), "name": None}
    results, specs, weights = outcome(changed, x)
    expected, expected_specs, expected_weights = outcome(given, x)
    assert specs == expected_specs
    for one, other in zip(results + weights, expected + expected_weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("kind", "option"), CHANGES)
def test_an_option_of_a_built_layer_is_refused_and_nothing_changes(kind, option):
    make, options, x, beside = LAYERS[kind]
    layer = make(**beside.get(option, {}))
    layer(x)
    before = dict(vars(layer))
    with pytest.raises(AttributeError, match=f"{kind}.{option}: cannot be set.*the layer is built"):
        setattr(layer, option, options[option])
    assert vars(layer) == before


def test_every_option_of_every_layer_is_tried():
    free = {"name", "precision", "trainable"}
    for kind, (_, options, _, _) in LAYERS.items():
        missing = set(arguments(getattr(layers, kind))) - set(options) - free
        assert missing <= {"share_recurrent", "query_size", "tags"}, kind
    left = set(layers.__all__) - set(LAYERS) - {"Layer", "Input", "LSTMCell"}
    without = {"Flatten", "GlobalAveragePooling1D", "GlobalMaxPooling1D"}
    without |= {"Add", "Average", "Multiply", "Subtract"}
    elsewhere = {"Dropout", "GaussianNoise", "SpatialDropout1D", "TextVectorization", "TiedDense"}
    assert left == without | elsewhere


def test_a_refused_value_changes_nothing():
    layer = layers.LSTM(4)
    for option, value in (("units", 0), ("activation", "sofmax"), ("dropout", 1.0), ("seed", "a")):
        with pytest.raises((TypeError, ValueError), match=f"{option}: expected"):
            setattr(layer, option, value)
    with pytest.raises(ValueError, match="stateful: expected go_backwards=False"):
        layers.LSTM(4, go_backwards=True).stateful = True
    assert layer.get_config() == layers.LSTM(4).get_config()


def test_options_that_take_effect_at_any_time():
    dropout = layers.Dropout(0.5, seed=1)
    dropout(X)
    dropout.rate = 0.0
    np.testing.assert_array_equal(dropout(X, training=True), X)
    with pytest.raises(ValueError, match="rate: expected a number in"):
        dropout.rate = 1.5
    dropout.rate, dropout.seed = 0.5, 2
    expected = layers.Dropout(0.5, seed=2)(X, training=True)
    np.testing.assert_array_equal(dropout(X, training=True), expected)

    for layer in (
        layers.LSTM(4, seed=1),
        layers.RNN(layers.LSTMCell(4, seed=1)),
        layers.Bidirectional(layers.LSTM(4, seed=1)),
    ):
        layer(X)
        exact = layer(X)
        layer.precision = "int8"
        assert 0 < np.abs(layer(X) - exact).max() < 0.1
        layer.precision = None
        np.testing.assert_array_equal(layer(X), exact)
        with pytest.raises(ValueError, match="precision: expected one of .*did you mean 'int8'"):
            layer.precision = "int-8"
    double = layers.LSTM(2)
    double(X.astype("f8"))
    with pytest.raises(ValueError, match='"fp32" or "auto" for float64'):
        double.precision = "int8"


def test_a_vocabulary_can_be_set():
    text = layers.TextVectorization()
    text.vocabulary = ["a", "b"]
    np.testing.assert_array_equal(text(["b a c"]), [[3, 2, 1]])
    text.split = "character"
    np.testing.assert_array_equal(text(["ab"]), [[2, 3]])
    with pytest.raises(ValueError, match="different tokens"):
        text.vocabulary = ["a", "a"]


def test_the_layers_of_a_wrapper_cannot_change():
    inner = layers.LSTM(4, return_sequences=True)
    for wrap, name in (
        (layers.Bidirectional, "Bidirectional"),
        (layers.Residual, "Residual"),
    ):
        part = copy.deepcopy(inner)
        wrap(part)
        with pytest.raises(AttributeError, match=f"LSTM.units: .*a {name} was made from the layer"):
            part.units = 5
    dense = layers.Dense(2)
    layers.TimeDistributed(dense)
    cell = layers.LSTMCell(3)
    layers.RNN(cell)
    for part, kind in ((dense, "TimeDistributed"), (cell, "RNN")):
        with pytest.raises(AttributeError, match=f"units: cannot be set, since a {kind} was made"):
            part.units = 7


def test_a_name_is_fixed_in_a_model():
    layer = layers.Dense(2)
    layer.name = "first"
    with pytest.raises(ValueError, match="name: expected a non-empty string without dots"):
        layer.name = "a.b"
    model = lc.Sequential([layer])
    with pytest.raises(AttributeError, match="name: cannot be set, since .* part of a Sequential"):
        layer.name = "second"
    layer.units = 3  # allowed until the model is built
    assert model.predict(X[:, 0], verbose=0).shape == (6, 3)


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


# ---- models and optimizers --------------------------------------------------------------------


def test_a_new_seed_of_a_model_takes_effect():
    model, other = lc.Sequential([layers.Dense(2)]), lc.Sequential([layers.Dense(2)], seed=7)
    model.seed = 7
    for each in (model, other):
        each.build((None, 3))
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])
    with pytest.raises(TypeError, match="seed: expected an integer"):
        model.seed = "7"
    pairs = lc.EncoderDecoder(5, 5)
    pairs.scheduled_sampling = 0.25
    assert pairs.sampling_probability(0) == 0.25
    with pytest.raises(ValueError, match="scheduled_sampling"):
        pairs.scheduled_sampling = 2.0


CHANGED = {
    "SGD": {
        "learning_rate": 0.5,
        "momentum": 0.9,
        "nesterov": True,
        "clipnorm": 0.01,
        "clipvalue": 0.01,
        "global_clipnorm": 0.01,
    },
    "RMSprop": {"learning_rate": 0.5, "rho": 0.1, "epsilon": 1.0, "clipnorm": 0.01},
    "Adam": {"learning_rate": 0.5, "beta_1": 0.1, "beta_2": 0.1, "epsilon": 1.0},
    "AdamW": {"learning_rate": 0.5, "weight_decay": 0.5, "beta_1": 0.1, "clipvalue": 0.01},
}


@pytest.mark.parametrize(
    ("kind", "option"), [(kind, option) for kind in CHANGED for option in CHANGED[kind]]
)
def test_options_of_optimizers_change_between_steps(kind, option):
    """A change before the first step is like passing the option; later changes act too."""
    beside = {"momentum": 0.5} if option == "nesterov" else {}
    make = getattr(lc.optimizers, kind)

    def trained(optimizer, change_after):
        model = lc.Sequential([layers.Dense(2, seed=1)])
        model.compile(optimizer, "mse")
        for step in range(4):
            if step == change_after:
                setattr(optimizer, option, CHANGED[kind][option])
            model.train_on_batch(X[:, 0], X[:, 1, :2])
        return model.get_weights()[0]

    given = trained(make(**beside, **{option: CHANGED[kind][option]}), None)
    plain = trained(make(**beside), None)
    at_once, later = trained(make(**beside), 0), trained(make(**beside), 2)
    np.testing.assert_array_equal(at_once, given)
    assert (later != plain).any()
    assert (later != given).any()


def test_a_changed_option_of_an_optimizer_is_checked_as_in_the_constructor():
    optimizer = lc.optimizers.AdamW()
    for option, value, error in (
        ("weight_decay", -1.0, ValueError),
        ("clipnorm", 0.0, ValueError),
        ("beta_1", 1.0, ValueError),
        ("epsilon", "a", TypeError),
        ("learning_rate", -1.0, ValueError),
    ):
        before = dict(vars(optimizer))
        with pytest.raises(error, match=f"{option}: expected"):
            setattr(optimizer, option, value)
        assert vars(optimizer) == before
    optimizer.clipnorm = 1.0
    with pytest.raises(ValueError, match="clipnorm and clipvalue: expected at most one"):
        optimizer.clipvalue = 1.0


def test_a_momentum_that_changes_keeps_the_velocity():
    optimizer = lc.optimizers.SGD(0.1, momentum=0.5)
    model = lc.Sequential([layers.Dense(2)])
    model.compile(optimizer, "mse")
    model.train_on_batch(X[:, 0], X[:, 1, :2])
    velocity = optimizer.slots["velocity"]
    optimizer.momentum = 0.9
    assert optimizer.slots["velocity"] is velocity
    optimizer.momentum = 0.0
    assert optimizer.slots == {}


def test_options_of_callbacks_change():
    stopping = lc.callbacks.EarlyStopping("loss")
    stopping.patience, stopping.monitor, stopping.mode = 3, "accuracy", "max"
    assert (stopping.patience, stopping.monitor, stopping.mode) == (3, "accuracy", "max")
    assert stopping._monitor.sign == 1.0
    with pytest.raises(ValueError, match="mode: expected one of 'auto'.*did you mean 'max'"):
        stopping.mode = "maxi"
    with pytest.raises(ValueError, match="patience: expected an integer of at least 0"):
        stopping.patience = -1
    plateau = lc.callbacks.ReduceLROnPlateau("loss")
    plateau.factor, plateau.min_delta = 0.5, 0.25
    assert (plateau.factor, plateau._monitor.min_delta) == (0.5, 0.25)


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


# ---- completion -------------------------------------------------------------------------------

SEQUENTIAL = """
    add backward build built class_names compile compiled count_params dtype epoch evaluate fit
    forward get_layer get_weights history initial_state input_shape inputs_of is_compiled layers
    load load_weights metadata optimizer output_shape parameters pop predict quantized
    recurrent_layers save seed set_weights state stop_training summary test_on_batch
    train_on_batch trainable vectorizer weights
"""
ENCODER_DECODER = """
    adapt attention attention_scale attention_units backward bidirectional built compile compiled
    count_params decode dropout dtype embedding_size end epoch evaluate fit forward get_config
    get_layer get_weights history is_compiled layers load load_weights log_probabilities
    metadata num_layers optimizer output_shape parameters precision predict quantized
    sampling_probability save scheduled_sampling seed set_weights source_vocabulary start state
    stop_training summary target_tokens target_vocabulary test_on_batch train_on_batch trainable
    units weights
"""
LAYER = """
    backward bind build check_values copy forward forward_from forward_logits frozen_size
    get_config get_weights gradient_place input_kind input_shape last_activation lengths_of
    mixes_steps name output_lengths parameters recurrent_parts seed set_weights weight_specs
    weights
"""
OPTIMIZER = """
    apply build clipnorm clipvalue current_learning_rate get_config global_clipnorm iterations
    learning_rate slot_names slots
"""
CALLBACK = """
    get_state on_epoch_begin on_epoch_end on_train_batch_begin on_train_batch_end on_train_begin
    on_train_end set_state
"""


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lc.Sequential, SEQUENTIAL),
        (
            lambda: lc.LanguageModel(layers.TextVectorization(vocabulary=["a"]), 2),
            SEQUENTIAL + "bits_per_character embedding fit_text generate perplexity tie_weights "
            "vectorization",
        ),
        (lambda: lc.EncoderDecoder(5, 5), ENCODER_DECODER),
        (layers.Layer, LAYER),
        (lambda: layers.LSTM(2), LAYER + "bidirectional cells config output_size state_size"),
        (lambda: layers.LSTMCell(2), LAYER + "dropout state_size"),
        (
            lambda: layers.RNN(layers.LSTMCell(2)),
            LAYER + "bidirectional cells config output_size precision state_size units",
        ),
        (
            lambda: layers.Bidirectional(layers.LSTM(2)),
            LAYER + "bidirectional cells config output_size precision state_size units "
            "go_backwards recompute return_sequences return_state share_recurrent stateful",
        ),
        (lambda: layers.Dense(2), LAYER),
        (lambda: layers.Conv1D(2, 2), LAYER),
        (lambda: layers.Dropout(0.5), LAYER),
        (
            layers.Attention,
            LAYER + "attention_weights look look_backward query_backward remember "
            "remember_backward",
        ),
        (
            layers.TextVectorization,
            LAYER + "adapt decode encode end_id get_vocabulary set_vocabulary start_id tokens "
            "vocabulary_size",
        ),
        (lc.optimizers.SGD, OPTIMIZER),
        (lc.optimizers.Adam, OPTIMIZER + "weight_decay"),
        (lc.callbacks.Callback, CALLBACK),
        (lc.callbacks.EarlyStopping, CALLBACK + "best best_epoch stopped_epoch wait"),
        (
            lc.callbacks.History,
            CALLBACK + "best epoch history plot restored_epoch stop_reason to_frame",
        ),
    ],
)
def test_completion_shows_what_a_user_can_do(make, names):
    """Additions must be deliberate: names that are not for users begin with an underscore."""
    thing = make()
    shown = {name for name in dir(thing) if not name.startswith("_")}
    assert shown - set(arguments(type(thing))) == set(names.split()) - set(arguments(type(thing)))
