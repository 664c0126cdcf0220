"""Attributions: completeness, finite differences, occlusion, and what is refused."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import explain
from lstmcore.layers import (
    LSTM,
    Activation,
    Attention,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Embedding,
    GaussianNoise,
    GlobalMaxPooling1D,
    Input,
    LayerNormalization,
    Masking,
    Residual,
    SimpleRNN,
    SpatialDropout1D,
    TextVectorization,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 6, 3))
LENGTHS = [6, 2, 4, 1]
ROWS = [row[:length] for row, length in zip(X, LENGTHS, strict=True)]

STACKS = {
    "plain": lambda: [LSTM(4)],
    "dropout": lambda: [
        SpatialDropout1D(0.3),
        LSTM(4, return_sequences=True, recurrent_dropout=0.4, zoneout_h=0.3, zoneout_c=0.2),
        GaussianNoise(0.5),
        LSTM(4, num_layers=2, dropout=0.5),
        Dropout(0.5),
    ],
    "both": lambda: [Bidirectional(LSTM(4, return_sequences=True)), GlobalMaxPooling1D()],
    "attention": lambda: [LSTM(4, return_sequences=True), LayerNormalization(), Attention()],
    "residual": lambda: [
        Conv1D(4, 3, padding="same", activation="tanh"),
        Residual([LSTM(4, return_sequences=True, dropout=0.0, zoneout_h=0.4), Dropout(0.2)]),
        BatchNormalization(),
        LSTM(3),
    ],
    "sum": lambda: [Bidirectional(LSTM(4), merge_mode="sum")],
    "simple": lambda: [SimpleRNN(4, num_layers=2, dropout=0.3, recurrent_dropout=0.2)],
}


def model_of(*layers, activation="tanh", units=2):
    parts = [Input((None, 3)), *layers, Dense(units, activation=activation)]
    model = lc.Sequential(parts, dtype="float64", seed=3)
    names = list(model.weights)
    model.set_weights(
        [
            np.abs(weight) + 0.3 if name.endswith("variance") else weight + 0.1
            for name, weight in zip(names, model.get_weights(), strict=True)
        ]
    )
    return model


@pytest.mark.parametrize("stack", STACKS)
def test_integrated_gradients_add_up_to_the_difference_of_outputs(stack):
    model = model_of(*STACKS[stack]())
    before = [weight.copy() for weight in model.get_weights()]
    found = explain.attribute(model, ROWS, target=1)
    empty = model.predict([0 * row for row in ROWS])[:, 1]
    outputs = model.predict(ROWS)[:, 1]
    for place, one in enumerate(found):
        assert one.values.shape == ROWS[place].shape
        assert one.output == pytest.approx(outputs[place], abs=1e-12)
        assert one.baseline_output == pytest.approx(empty[place], abs=1e-12)
        assert one.values.sum() == pytest.approx(outputs[place] - empty[place], abs=1e-3)
        assert one.error <= 1e-3
        assert one.target == 1
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.trainable for layer in model.layers)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("logits", [False, True])
def test_gradient_x_input_matches_finite_differences(stack, logits):
    model = model_of(*STACKS[stack](), activation="softmax", units=3)
    (found,) = explain.attribute(model, X[:1], method="gradient_x_input", target=2, logits=logits)

    def output(x):
        if logits:
            return model.forward(x, None, False, 0, True)[0][0, 2]
        return model.predict(x)[0, 2]

    for place in np.ndindex(X.shape[1:]):
        values = []
        for step in (1e-5, -1e-5):
            moved = X[:1].copy()
            moved[(0, *place)] += step
            values.append(output(moved))
        slope = (values[0] - values[1]) / 2e-5
        assert found.values[place] == pytest.approx(slope * X[(0, *place)], abs=1e-8)


def test_integrated_gradients_are_the_mean_of_gradients_on_the_line():
    """Written out: Gauss-Legendre with the same nodes, and gradients by finite differences."""
    model = model_of(LSTM(3), units=1)
    start = np.array([0.1, -0.2, 0.3])
    x = X[:1, :2]
    (found,) = explain.attribute(model, x, baseline=start, steps=5)
    nodes, shares = np.polynomial.legendre.leggauss(5)
    mean = np.zeros(x.shape[1:])
    for node, share in zip((nodes + 1) / 2, shares / 2, strict=True):
        at = start + node * (x - start)
        for place in np.ndindex(mean.shape):
            pair = []
            for step in (1e-5, -1e-5):
                moved = at.copy()
                moved[(0, *place)] += step
                pair.append(model.predict(moved)[0, 0])
            mean[place] += share * (pair[0] - pair[1]) / 2e-5
    np.testing.assert_allclose(found.values, mean * (x[0] - start), atol=1e-9)
    assert found.baseline_output == pytest.approx(
        model.predict(np.broadcast_to(start, x.shape))[0, 0]
    )


def test_occlusion_is_the_fall_of_the_output():
    model = model_of(*STACKS["both"]())
    found = explain.attribute(model, ROWS, method="occlusion", target=0, baseline=[1.0, 0.0, 2.0])
    for row, one in zip(ROWS, found, strict=True):
        assert one.values.shape == (len(row),)
        for t in range(len(row)):
            moved = row.copy()
            moved[t] = [1.0, 0.0, 2.0]
            fall = model.predict([row])[0, 0] - model.predict([moved])[0, 0]
            assert one.values[t] == pytest.approx(fall, abs=1e-12)
        assert one.error is None


def texts_model():
    words = TextVectorization(vocabulary=["good", "bad", "film", "<b>"], standardize="lower")
    parts = [
        words,
        Embedding(6, 5),
        LSTM(4, return_sequences=True),
        Attention(),
        Dense(1, activation="sigmoid"),
    ]
    model = lc.Sequential(parts)
    model.predict(["good"])
    model.set_weights([RNG.standard_normal(w.shape) for w in model.get_weights()])
    return model


def test_texts_are_explained_token_by_token():
    model = texts_model()
    texts = ["good film", "film bad unseen film film"]
    for found, text in zip(explain.attribute(model, texts), texts, strict=True):
        assert found.tokens == text.split()
        assert found.values.shape == (len(found.tokens),)
        assert found.error <= 1e-3
        assert found.output == pytest.approx(float(model.predict([text])[0, 0]), abs=1e-6)
        names = [name for name, _ in found.by_token()]
        assert sorted(names) == sorted(found.tokens)
    (gone,) = explain.attribute(model, ["good film"], method="occlusion")
    assert gone.values.shape == (2,)
    batch = explain.attribute(model, texts, steps=64)
    (alone,) = explain.attribute(model, texts[1:], steps=64)
    np.testing.assert_allclose(batch[1].values, alone.values, atol=1e-5)


def test_attention_weights_sum_to_one():
    model = texts_model()
    one, two = explain.attention(model, ["good film", "bad"])
    assert one.tokens == ["good", "film"]
    assert one.values.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(two.values, [1.0], atol=1e-6)
    inputs, lengths = model.inputs_of(["good film"], "attention")
    own = model.layers[3].attention_weights(inputs, lengths)[0]
    np.testing.assert_allclose(one.values, own, atol=1e-6)
    with pytest.raises(ValueError, match="expected exactly one Attention layer, got none"):
        explain.attention(model_of(LSTM(3)), X)
    pooled = model_of(LSTM(3, return_sequences=True), lc.layers.MaxPooling1D(2), Attention())
    with pytest.raises(ValueError, match="layers before it change their number"):
        explain.attention(pooled, X)


def test_masks_and_masking():
    model = model_of(LSTM(4))
    mask = np.ones((4, 6), bool)
    mask[1, 2:4] = False
    found = explain.attribute(model, X, mask=mask)
    assert found[1].values.shape == (6, 3)
    assert (found[1].values[2:4] == 0).all()
    (alone,) = explain.attribute(model, X[1:2][:, mask[1]], target=found[1].target)
    np.testing.assert_allclose(found[1].values[mask[1]], alone.values, atol=1e-6)
    masking = model_of(Masking(9.0), LSTM(4))
    x = X.copy()
    x[2, 4:] = 9.0
    assert explain.attribute(masking, x)[2].error <= 1e-3


def test_outputs_with_a_time_axis():
    model = model_of(LSTM(4, return_sequences=True))
    last = explain.attribute(model, ROWS, target=0)
    for row, one in zip(ROWS, last, strict=True):
        assert one.output == pytest.approx(model.predict([row])[0][-1, 0])
    (second,) = explain.attribute(model, X[:1], target=0, step=1)
    assert second.output == pytest.approx(model.predict(X[:1])[0, 1, 0])
    assert (second.values[2:] == 0).all()  # the future does not matter
    with pytest.raises(ValueError, match="step: expected one of the 2 steps of outputs of row 1"):
        explain.attribute(model, ROWS, target=0, step=3)


def test_the_largest_output_is_explained_unless_one_is_named():
    model = model_of(LSTM(4), activation="softmax", units=3)
    found = explain.attribute(model, X)
    assert [one.target for one in found] == list(model.predict(X).argmax(axis=1))


def test_html_is_escaped_and_coloured(tmp_path):
    pytest.importorskip("matplotlib")
    model = texts_model()
    (found,) = explain.attribute(model, ['<b> good "x"'])
    text = found._repr_html_()
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "&quot;x&quot;" in text
    assert text.count("rgba(") == 3
    assert "output" in text
    found.plot(tmp_path / "text.svg")
    assert (tmp_path / "text.svg").exists()
    (series,) = explain.attribute(model_of(LSTM(3)), X[:1])
    assert series.plot(tmp_path / "series.png").get_images()[0].get_array().shape == (3, 6)
    assert "rgba" in series._repr_html_()


class Restless(GaussianNoise):
    """A user's layer that is random in training, whatever its options."""

    def forward(self, inputs, lengths, training, seed):
        return inputs + (5.0 if training else 0.0), lengths, None


def test_what_cannot_be_explained_is_refused():
    model = model_of(LSTM(3))
    with pytest.raises(TypeError, match="model: expected a Sequential, Model or EncoderDecoder"):
        explain.attribute(None, X)
    with pytest.raises(ValueError, match="y: expected None for a Sequential"):
        explain.attribute(model, X, X)
    with pytest.raises(
        ValueError, match="output: expected None, since the Sequential has one output"
    ):
        explain.attribute(model, X, output="dense")
    with pytest.raises(ValueError, match="method: expected"):
        explain.attribute(model, X, method="guess")
    with pytest.raises(ValueError, match="target: expected 0 to 1, got 2"):
        explain.attribute(model, X, target=2)
    with pytest.raises(ValueError, match="step: expected None, since the model's output has no"):
        explain.attribute(model, X, step=1)
    with pytest.raises(ValueError, match=r"baseline: expected a shape that broadcasts to"):
        explain.attribute(model, X, baseline=[1.0, 2.0])
    with pytest.raises(ValueError, match="baseline: expected finite"):
        explain.attribute(model, X, baseline=[1.0, np.nan, 0.0])
    with pytest.raises(ValueError, match="steps"):
        explain.attribute(model, X, steps=0)
    with pytest.raises(ValueError, match="a layer of your own is random"):
        explain.attribute(model_of(Restless(1.0), LSTM(3)), X)
    flat = lc.Sequential([Input((3,)), Dense(2), Activation("tanh")])
    with pytest.raises(ValueError, match=r"x: expected sequences, got inputs of shape \(4, 3\)"):
        explain.attribute(flat, X[:, 0])
    small = lc.Sequential([Input((None, 3)), LSTM(8), Dense(1)])
    quantized = lc.quantize(small)
    with pytest.raises(ValueError, match="model: expected one that is not quantized"):
        explain.attribute(quantized, X)
