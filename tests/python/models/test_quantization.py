"""Models with 8-bit weights: their values, their files, and what is refused."""

import copy
import itertools
import json
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.numpy import save_file

import lstmcore as lc
from lstmcore import layers
from lstmcore.layers import initializers
from lstmcore.layers.parameters import WeightSpec
from lstmcore.models import int8, model_file

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


# ---- models ------------------------------------------------------------------------------------


def initial_forms(shape, random):
    return random.standard_normal(shape)


class Bilinear(layers.Layer):
    """A user's layer: y_u = sum over c, d of x_c x_d form_ucd + shift_u."""

    def __init__(self, units, *, name=None):
        super().__init__(name=name)
        self.units = units

    def build(self, input_shape):
        width = self._accept(input_shape, (2,), "(N, C)")
        self._width = width
        return (input_shape[0], self.units)

    def weight_specs(self):
        shape = (self.units, self._width, self._width)
        return [
            WeightSpec("form", shape, initial_forms, inputs=(1, 2)),
            WeightSpec("shift", (self.units,), initializers.zeros),
        ]

    def forward(self, inputs, lengths, training, seed):
        y = np.einsum("nc,nd,ucd->nu", inputs, inputs, self._weights["form"])
        return (y + self._weights["shift"]).astype(inputs.dtype), None, None


def features_model():
    """Make a model that takes features, with every layer that has matrices, in every wrapper."""
    cells = [layers.LSTMCell(6, proj_size=4), layers.LSTMCell(6, proj_size=4)]
    model = lc.Sequential(
        [
            layers.Conv1D(5, 3, padding="causal"),
            layers.Bidirectional(
                layers.LSTM(4, return_sequences=True, num_layers=2, share_recurrent=True)
            ),
            layers.LayerNormalization(),
            layers.Residual(
                [layers.LSTM(6, return_sequences=True, precision="bf16"), layers.Dropout(0.5)],
                projection=True,
            ),
            layers.TimeDistributed(layers.Dense(7, activation="tanh")),
            layers.RNN(cells, return_sequences=True),
            layers.Attention("additive", 3),
            Bilinear(4),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.build((None, None, 4))
    return model


def text_model():
    model = lc.Sequential(
        [
            layers.TextVectorization(vocabulary=["", "[UNK]", "a", "b", "c"]),
            layers.Embedding(5, 6, mask_zero=True),
            layers.LSTM(5, peephole=True, layer_norm=True, return_sequences=True),
            layers.Dense(2),
        ]
    )
    model.build((None, None))
    return model


def translator():
    return lc.EncoderDecoder(
        7, 9, embedding_size=5, units=6, bidirectional=True, attention="additive", seed=1
    )


PAIRS = ([[3, 4, 5], [6, 2], [3]], [[5, 6], [7, 8, 4, 3], []])
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


def stored(path):
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["lstmcore"])


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


# ---- the report --------------------------------------------------------------------------------


def test_a_report_matches_numpy(rng):
    model, x = features_model(), rng.standard_normal((6, 9, 4)).astype(np.float32)
    small = lc.quantize(model)
    report = lc.quantization_report(model, small, x, batch_size=4)
    a, b = (one.predict(x, verbose=0).astype(np.float64) for one in (model, small))
    assert report.rows == 6
    assert report.largest_difference == np.abs(b - a).max() > 0
    np.testing.assert_allclose(report.mean_difference, np.abs(b - a).mean(), rtol=1e-12)
    rms = np.sqrt(((b - a) ** 2).sum() / (a**2).sum())
    np.testing.assert_allclose(report.relative_rms, rms, rtol=1e-12)
    assert report.agreement == (a.argmax(1) == b.argmax(1)).mean()
    text = str(report)
    for part in ("compared    6\n", f"{report.agreement:.3%}", f"{report.quantized_bytes} bytes"):
        assert part in text


def test_only_valid_steps_are_compared(rng):
    model = lc.Sequential([layers.LSTM(4, return_sequences=True), layers.Dense(2)])
    model.build((None, None, 3))
    small = lc.quantize(model)
    x = rng.standard_normal((3, 5, 3)).astype(np.float32)
    valid = rng.random((3, 5)) < 0.6
    masked = lc.quantization_report(model, small, x, mask=valid)
    ragged = lc.quantization_report(model, small, [row[m] for row, m in zip(x, valid, strict=True)])
    assert masked == ragged
    assert masked.rows == valid.sum()
    assert masked.agreement is None
    assert "same class" not in str(masked)
    assert lc.quantization_report(model, small, x, classes=True).agreement is not None
    assert lc.quantization_report(model, small, x).rows == 15
    padded = lc.quantization_report(text_model(), lc.quantize(text_model()), ["a b c", "c"])
    assert padded.rows == 4


def test_padding_ids_are_not_compared():
    model = lc.Sequential(
        [layers.Embedding(5, 3, mask_zero=True), layers.LSTM(4, return_sequences=True)]
    )
    model.build((None, None))
    small = lc.quantize(model)
    padded = lc.quantization_report(model, small, np.array([[1, 2, 0, 0], [3, 4, 1, 0]]))
    assert padded.rows == 5
    assert padded == lc.quantization_report(model, small, [[1, 2], [3, 4, 1]])


def test_a_report_of_batches_that_continue_each_other(rng):
    model = lc.Sequential([layers.LSTM(4, stateful=True), layers.Dense(2)])
    model.build((None, None, 3))
    small = lc.quantize(model)
    x = rng.standard_normal((6, 5, 3)).astype(np.float32)
    report = lc.quantization_report(model, small, x, batch_size=2)
    a, b = (one.predict(x, 2, 0) for one in (model, small))
    assert report.largest_difference == np.abs(b.astype(np.float64) - a).max()
    with pytest.raises(ValueError, match="x: expected"):
        lc.quantization_report(model, small, x, batch_size=4)


def test_a_report_of_an_encoder_decoder():
    model = translator()
    small = lc.quantize(model)
    report = lc.quantization_report(model, small, *PAIRS)
    assert report.rows == 2 + 4 + 3  # including the end tokens
    a, b = (one(*PAIRS).astype(np.float64) for one in (model, small))
    valid = np.arange(a.shape[1]) < np.array([[3], [5], [1]])
    assert report.largest_difference == np.abs(b - a)[valid].max() > 0
    assert report.agreement == (a.argmax(2) == b.argmax(2))[valid].mean()
    with pytest.raises(ValueError, match="y: expected targets, got None"):
        lc.quantization_report(model, small, PAIRS[0])
    with pytest.raises(ValueError, match="mask: expected None for EncoderDecoder"):
        lc.quantization_report(model, small, *PAIRS, mask=[[True]])


def test_models_that_do_not_differ():
    model = lc.Sequential([layers.Input((3,)), layers.Dense(2)])
    small = lc.quantize(model)
    x = np.zeros((2, 3), np.float32)
    assert lc.quantization_report(small, small, x).relative_rms == 0
    assert lc.quantization_report(small, small, x).largest_difference == 0


def test_models_and_data_that_cannot_be_compared(rng):
    model = lc.Sequential([layers.Input((3,)), layers.Dense(1)])
    small, x = lc.quantize(model), np.zeros((2, 3), np.float32)
    wider = lc.quantize(lc.Sequential([layers.Input((3,)), layers.Dense(2)]))
    for arguments, options, kind, message in (
        ((model, model, x), {}, ValueError, "quantized: expected a model that quantize made"),
        ((model, wider, x), {}, ValueError, "quantized: expected outputs of shape .*1.*, got .*2"),
        ((5, small, x), {}, TypeError, "model: expected a Sequential, Model or EncoderDecoder"),
        (
            (model, None, x),
            {},
            TypeError,
            "quantized: expected a Sequential, Model or EncoderDecoder",
        ),
        ((model, small, x[:0]), {}, ValueError, "x: expected at least one sample"),
        ((model, small, x, x), {}, ValueError, "y: expected None for a Sequential"),
        ((model, small, x), {"classes": True}, ValueError, "classes: expected False for a single"),
        ((model, small, x), {"classes": 1}, TypeError, "classes: expected True or False"),
        ((model, small, x), {"batch_size": 0}, ValueError, "batch_size"),
        ((model, small, x[:, :2]), {}, ValueError, "expected"),
    ):
        with pytest.raises(kind, match=message):
            lc.quantization_report(*arguments, **options)


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


# ---- invalid files -----------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    model = lc.Sequential([layers.Embedding(7, 3), layers.LSTM(4), layers.Dense(2)])
    model.build((None, None))
    lc.quantize(model).save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path, change):
    tensors, document = stored(path)
    change(tensors, document)
    document["checksum"] = model_file.checksum(tensors)
    save_file(tensors, path, {"lstmcore": json.dumps(document)})


def put(name, values):
    return lambda tensors, document: tensors.update({name: values})


def write(name, place, value):
    def change(tensors, document):
        tensors[name] = tensors[name].copy()
        tensors[name][place] = value

    return change


def drop(name):
    return lambda tensors, document: tensors.pop(name)


def assign(**entries):
    return lambda tensors, document: document.update(entries)


def assign_precision(value):
    return lambda tensors, document: document["layers"][1]["config"].update(precision=value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("dense.kernel"), "tensors: missing dense.kernel"),
        (drop("dense.kernel.scale"), "tensors: missing dense.kernel.scale"),
        (drop("dense.bias"), "tensors: missing dense.bias"),
        (put("dense.bias.scale", np.ones(2, np.float32)), "tensors: unknown dense.bias.scale"),
        (put("optimizer.m", np.ones(2, np.float32)), "tensors: unknown optimizer.m"),
        (
            put("dense.kernel", np.ones((4, 2), np.float32)),
            r"dense.kernel: expected int8 of shape \(4, 2\), got float32",
        ),
        (put("dense.kernel", np.ones((2, 4), np.int8)), r"int8 of shape \(4, 2\), got int8 of sha"),
        (put("dense.bias", np.zeros(2, np.int8)), "dense.bias: expected float32 .* got int8"),
        (put("dense.bias", np.zeros(2)), "dense.bias: expected F32 or I8, got F64"),
        (
            put("dense.kernel.scale", np.ones(4, np.float32)),
            r"dense.kernel.scale: expected float32 of shape \(2,\), got float32 of shape \(4,\)",
        ),
        (put("dense.kernel.scale", np.ones(2, np.int8)), "scale: expected float32 .* got int8"),
        *(
            (write("dense.kernel.scale", 1, scale), "dense.kernel.scale: expected scales of 0 or")
            for scale in (np.nan, np.inf, -1, -0.0, 1e-38, 1e-45, 3e36)
        ),
        (write("dense.kernel.scale", 1, 0.1), "expected scales of 16 binary digits, got 0.1000"),
        (write("dense.kernel.scale", 1, 0), "dense.kernel: expected 0 as the largest magnitude"),
        (write("dense.kernel", (slice(None), 1), 0), "dense.kernel: expected 127 as the largest"),
        (write("dense.kernel", (slice(None), 1), 126), "scales by .*, got 126"),
        (write("dense.kernel", (0, 0), -128), "expected 127 as the largest .*, got 128"),
        (write("embedding.embeddings", 3, 5), "embedding.embeddings: expected 127 as the largest"),
        (assign(format=1), "metadata: format 1 has no quantization"),
        (lambda tensors, document: document.pop("quantization"), "metadata: missing quantization"),
        (assign(quantization="int4"), "quantization: expected 'int8', got 'int4'"),
        (assign(quantization=8), "quantization: expected 'int8', got 8"),
        (assign(dtype="float64"), "dtype: expected 'float32' in a quantized model"),
        (assign(training={}), "training: expected null in a quantized model"),
        (lambda tensors, document: document.pop("training"), "metadata: missing training"),
        (assign_precision("fp32"), "layer 'lstm': expected precision 'int8' in a quantized model"),
        (assign_precision(None), "layer 'lstm': expected precision 'int8' in a quantized model"),
    ],
)
def test_every_defect_is_an_error(path, change, message):
    rewrite(path, change)
    with pytest.raises(ValueError, match=message) as error:
        lc.load(path)
    assert str(path) in str(error.value)


def test_other_numbers_are_accepted(path):
    rewrite(path, write("dense.kernel", (slice(None), 0), [127, 3, -127, 0]))
    rewrite(path, write("dense.kernel.scale", 0, 0.5))
    rewrite(path, write("embedding.embeddings", 3, 0))
    rewrite(path, write("embedding.embeddings.scale", 3, 0))
    weights = lc.load(path).weights
    assert weights["dense.kernel"][:, 0].tolist() == [63.5, 1.5, -63.5, 0]
    assert weights["embedding.embeddings"][3].tolist() == [0, 0, 0]


def test_any_flipped_bit_is_noticed_or_harmless(path, rng):
    content = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    for place in (*rng.integers(8, begin, 60), *rng.integers(begin, len(content), 40)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(damaged)
        if place >= begin:
            with pytest.raises(ValueError, match="wrong checksum"):
                lc.load(path)
            continue
        try:
            assert lc.load(path).count_params() == 159
        except ValueError as error:
            assert str(path) in str(error)


def test_a_file_cut_anywhere_is_an_error(path):
    content = path.read_bytes()
    for size in (0, 7, 9, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            lc.load(path)
