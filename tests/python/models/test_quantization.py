"""Models with 8-bit weights: their values, their files, and what is refused."""

import copy
import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lstmcore as lc
from lstmcore import layers
from lstmcore.layers.parameters import WeightSpec
from lstmcore.models import int8
from quantization_kit import PAIRS, Bilinear, features_model, stored, text_model, translator

# ---- rounding ----------------------------------------------------------------------------------


def nearest(value):
    """Return the float32 nearest to a fraction, which must be in range, in exact arithmetic."""
    step = Fraction(2) ** -149
    while abs(value) >= step * 2**24:
        step *= 2
    return round(value / step) * step  # ties to even


def plain_encode(values):
    """Compute the numbers and the scale of one output, with fractions."""
    largest = nearest(Fraction(max(abs(float(value)) for value in values)) / 127)
    step = Fraction(2) ** -141
    while largest > step * (2**16 - 1):
        step *= 2
    scale = -(-largest // step) * step
    if scale < Fraction(float(np.float32(1e-37))):
        return [0] * len(values), 0.0
    inverse = nearest(1 / scale)
    return [round(nearest(Fraction(float(value)) * inverse)) for value in values], float(scale)


COLUMNS = hnp.arrays(
    np.float32,
    st.integers(1, 6),
    elements=st.floats(-(2.0**126), 2.0**126, width=32, allow_subnormal=True),
)


@given(COLUMNS)
def test_encode_matches_exact_arithmetic(column):
    numbers, scales = int8.encode("column", column[:, None], 0)
    assert numbers.dtype == np.int8
    assert scales.dtype == np.float32
    expected, scale = plain_encode(column)
    assert numbers[:, 0].tolist() == expected
    assert scales.tolist() == [scale]


@given(COLUMNS, st.sampled_from([0, 1, -1, (0, 1), (0, -1)]))
def test_rounding_twice_changes_nothing(column, inputs):
    values = np.stack([column, column[::-1] / 3, column * 0], axis=1)
    values = values[None] if inputs == (0, 1) else values
    numbers, scales = int8.encode("values", values, inputs)
    rounded = int8.decode(numbers, scales, inputs)
    assert rounded.dtype == np.float32
    exact = numbers * np.expand_dims(scales, inputs).astype(np.float64)
    np.testing.assert_array_equal(rounded, exact)
    assert (np.abs(exact - values) <= 0.50001 * np.expand_dims(scales, inputs) + 1.3e-35).all()
    again, same = int8.encode("values", rounded, inputs)
    np.testing.assert_array_equal(again, numbers)
    np.testing.assert_array_equal(same, scales)


@pytest.mark.parametrize("config", [{}, {"proj_size": 5}, {"num_layers": 2}])
def test_the_engine_rounds_the_same_way(config, rng):
    # Different numbers or scales of any weight would change the bits of the engine's results.
    spread = 10.0 ** rng.integers(-3, 2, 64)
    layer = lc.Sequential(
        [layers.LSTM(16, return_sequences=True, precision="int8", **config)], seed=3
    )
    layer.build((None, None, 7))
    values = {}
    for name, weight in layer.weights.items():
        values[name] = weight
        if weight.ndim > 1:
            values[name] = (weight * spread[: len(weight), None]).astype(np.float32)
            ties = np.arange(weight.shape[1]) * 9 - 63.5  # ties, in units of the scale 1/128
            values[name][0], values[name][0, 0] = ties / 128, 127 / 128
            values[name][1] = 0
    layer.set_weights(values)
    small = lc.quantize(layer)
    assert not np.array_equal(small.weights["lstm.weight_hh_l0"], values["lstm.weight_hh_l0"])
    x = rng.standard_normal((5, 6, 7)).astype(np.float32)
    np.testing.assert_array_equal(small.predict(x, verbose=0), layer.predict(x, verbose=0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    model = lc.Sequential([layers.Input((3,)), layers.Dense(2)])
    weights = model.get_weights()
    weights[0][1, 1] = value
    model.set_weights(weights)
    with pytest.raises(ValueError, match=f"dense.kernel: expected finite values, got {value}"):
        lc.quantize(model)


def test_weights_that_would_become_infinite_are_refused():
    values = np.full((2, 1), np.finfo(np.float32).max)
    with pytest.raises(ValueError, match="kernel: too large to be rounded"):
        int8.encode("kernel", values, 0)
    numbers, scales = int8.encode("kernel", values * np.float32(0.999), 0)
    assert np.isfinite(int8.decode(numbers, scales, 0)).all()


MODELS = {
    "features": (features_model, lambda rng: rng.standard_normal((6, 9, 4)).astype(np.float32)),
    "texts": (text_model, lambda rng: ["a b c a", "c", "b b", "what"]),
    "pairs": (translator, lambda rng: PAIRS[0]),
}
CLASSES = {"Bilinear": Bilinear}


@pytest.fixture(params=MODELS)
def pair(request, rng):
    """Return a model and inputs for it."""
    make, inputs = MODELS[request.param]
    return make(), inputs(rng)


def outputs(model, x):
    if isinstance(model, lc.EncoderDecoder):
        return [model.log_probabilities(x, PAIRS[1]), *model.predict(x, verbose=0)]
    return list(model.predict(x, verbose=0))


def same(one, other):
    for a, b in itertools.zip_longest(one, other):
        np.testing.assert_array_equal(a, b)


def test_matrices_are_rounded_and_nothing_else(pair):
    model, _ = pair
    before = {name: weight.copy() for name, weight in model.weights.items()}
    small = lc.quantize(model)
    assert type(small) is type(model)
    assert small.quantized
    assert not model.quantized
    same(before.values(), model.weights.values())
    assert list(small.weights) == list(before)
    for name, weight in small.weights.items():
        if weight.ndim == 1:
            np.testing.assert_array_equal(weight, before[name])
            continue
        inputs = small.parameters.specs[name].inputs
        largest = np.abs(before[name]).max(axis=inputs, keepdims=True)
        steps = weight / np.where(largest > 0, largest / 127, 1)
        assert np.abs(steps - np.rint(steps)).max() < 0.01, name
        assert np.abs(weight - before[name]).max() <= 0.501 * largest.max() / 127, name


def test_every_lstm_computes_in_8_bits(pair):
    model, _ = pair
    small = lc.quantize(model)
    cells = [
        cell
        for layer in small._network
        for cell in layer._layers_within()
        if isinstance(cell, layers.LSTMCell)
    ]
    assert cells
    assert {cell.precision for cell in cells} == {"int8"}
    before = [
        cell.precision
        for layer in model._network
        for cell in layer._layers_within()
        if isinstance(cell, layers.LSTMCell)
    ]
    assert "int8" not in before


def test_copies_and_files_predict_the_same_bits(pair, tmp_path):
    model, x = pair
    small = lc.quantize(model)
    expected = outputs(small, x)
    path, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    small.save(path)
    for again in (
        lc.load(path, CLASSES),
        type(model).load(path, CLASSES),
        copy.deepcopy(small),
        pickle.loads(pickle.dumps(small)),
        lc.quantize(small),
    ):
        assert again.quantized
        same(outputs(again, x), expected)
        with pytest.raises(ValueError, match="set_weights: a quantized model keeps"):
            again.set_weights(again.get_weights())
        again.save(other, include_optimizer=False)
        assert other.read_bytes() == path.read_bytes()


def test_the_written_format_is_the_documented_one(tmp_path):
    path = tmp_path / "model.safetensors"
    small = lc.quantize(features_model())
    small.save(path)
    tensors, document = stored(path)
    assert document["format"] == 2
    assert document["quantization"] == "int8"
    assert document["dtype"] == "float32"
    assert document["training"] is None
    scales = {
        "bidirectional.weight_hh_l0": (16,),
        "conv1d.kernel": (5,),
        "residual.0.weight_ih_l0": (24,),
        "residual.projection.kernel": (6,),
        "rnn.weight_hr_l1": (4,),
        "attention.kernel": (3,),
        "bilinear.form": (4,),
    }
    for name, weight in small.weights.items():
        if weight.ndim == 1:
            np.testing.assert_array_equal(tensors.pop(name), weight)
            continue
        numbers, scale = tensors.pop(name), tensors.pop(name + ".scale")
        assert numbers.dtype == np.int8
        assert numbers.shape == weight.shape
        assert scale.dtype == np.float32
        assert scale.shape == scales.get(name, scale.shape)
        inputs = small.parameters.specs[name].inputs
        product = numbers.astype(np.float64) * np.expand_dims(scale, inputs)
        np.testing.assert_array_equal(product, weight)
    assert not tensors


def test_a_file_is_about_a_quarter_as_large(tmp_path):
    model = lc.Sequential([layers.Embedding(500, 64), layers.LSTM(128), layers.Dense(40)])
    model.build((None, None))
    small = lc.quantize(model)
    sizes = []
    for name, one in (("whole", model), ("small", small)):
        one.save(tmp_path / name)
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[1] < 0.29 * sizes[0]
    report = lc.quantization_report(model, small, [[1, 2, 3]])
    assert abs(report.bytes - sizes[0]) < 5000
    assert abs(report.quantized_bytes - sizes[1]) < 5000


def test_a_quantized_model_is_close_to_the_model(rng):
    # A trained model, so that errors are visible.
    x = rng.standard_normal((200, 12, 3)).astype(np.float32)
    y = (x[:, :, 0].sum(axis=1) > 0).astype(np.int64)
    model = lc.Sequential([layers.LSTM(24), layers.Dense(2, activation="softmax")])
    model.compile(lc.optimizers.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, epochs=8, verbose=0)
    small = lc.quantize(model)
    assert small.epoch == 0
    assert small.history is None
    whole, rounded = (one.evaluate(x, y, verbose=0) for one in (model, small))
    assert whole[1] > 0.9
    assert abs(whole[1] - rounded[1]) < 0.02
    report = lc.quantization_report(model, small, x)
    assert 0 < report.relative_rms < 0.02
    assert report.agreement > 0.97


# ---- what is refused ---------------------------------------------------------------------------


def test_models_that_cannot_be_quantized():
    with pytest.raises(
        TypeError, match="model: expected a Sequential, Model or EncoderDecoder, got "
    ):
        lc.quantize(layers.Dense(2))
    with pytest.raises(ValueError, match="not built"):
        lc.quantize(lc.Sequential([layers.Dense(2)]))
    with pytest.raises(ValueError, match="model: expected one of float32, got float64"):
        lc.quantize(lc.Sequential([layers.Input((3,)), layers.Dense(2)], dtype="float64"))


class TwoNames(Bilinear):
    """A layer in which a weight has the name of another's scales."""

    def weight_specs(self):
        form, shift = super().weight_specs()
        return [form, WeightSpec("form.scale", shift.shape, shift.initializer), shift]


def test_a_weight_with_the_name_of_scales():
    model = lc.Sequential([layers.Input((3,)), TwoNames(2)])
    message = r"two_names.form.scale: expected no weight of this name, .* the scales of two_names"
    with pytest.raises(ValueError, match=message):
        lc.quantize(model)


def test_a_quantized_model_is_not_trained(pair):
    model, x = pair
    model.compile(loss="sparse_categorical_crossentropy" if x is PAIRS[0] else "mse")
    small = lc.quantize(model)
    assert small.is_compiled
    inference_only = "a quantized model is for inference only; train the model"
    for name, call in {
        "fit": lambda: small.fit(x, x),
        "train_on_batch": lambda: small.train_on_batch(x, x),
        "optimizer": lambda: small.optimizer,
    }.items():
        with pytest.raises(ValueError, match=f"{name}: {inference_only}"):
            call()
    with pytest.raises(ValueError, match="optimizer: expected None for a quantized model"):
        small.compile(loss="mse" if x is not PAIRS[0] else "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="optimizer: expected an Optimizer or its name, got None"):
        model.compile(None, "sparse_categorical_crossentropy")


def test_the_weights_of_a_quantized_model_are_fixed(pair):
    model, _ = pair
    small = lc.quantize(model)
    before = small.get_weights()
    keeps = "set_weights: a quantized model keeps the weights that quantize gave it"
    for change in (before, {}, dict(small.weights)):
        with pytest.raises(ValueError, match=keeps):
            small.set_weights(change)
    for layer in small._network:
        if layer.weights:
            with pytest.raises(ValueError, match=keeps):
                layer.set_weights(layer.get_weights())
    for copied in (small, copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        for view in (copied.parameters.values, copied.parameters.value(next(iter(copied.weights)))):
            with pytest.raises(ValueError, match="read-only"):
                view[...] = 0
    model.set_weights([2 * weight for weight in before])  # no memory is shared
    same(small.get_weights(), before)


def test_a_quantized_model_is_evaluated(rng, tmp_path):
    model = lc.Sequential([layers.Input((None, 3)), layers.LSTM(4), layers.Dense(2)])
    x, y = rng.standard_normal((4, 5, 3)).astype(np.float32), np.zeros((4, 2), np.float32)
    small = lc.quantize(model)
    with pytest.raises(ValueError, match="not compiled"):
        small.evaluate(x, y, verbose=0)
    small.compile(None, "mse", ["mae"])
    found = small.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"], np.square(small.predict(x, verbose=0)).mean(), 1e-5)
    small.save(tmp_path / "model")
    assert not lc.load(tmp_path / "model").is_compiled
    model.compile("adam", "mse", ["mae"])
    assert lc.quantize(model).evaluate(x, y, verbose=0, return_dict=True) == found


def test_a_changed_precision_is_not_saved(tmp_path):
    small = lc.quantize(lc.Sequential([layers.Input((None, 3)), layers.LSTM(4)]))
    small.layers[0].cells[0].precision = "fp32"
    with pytest.raises(ValueError, match="layer 'lstm': expected precision 'int8' in a quantized"):
        small.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
