"""Options of layers, set before and after building."""

import copy

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers
from lstmcore._options import arguments
from option_kit import LAYERS, X

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
