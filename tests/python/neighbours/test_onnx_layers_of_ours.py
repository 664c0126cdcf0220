"""The export of layers that shape, scale, mask and normalize, and of all activations."""

import numpy as np
import pytest

from lstmcore import layers
from lstmcore._typing import LayerActivation, choices

pytest.importorskip("onnx", reason="ONNX is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from lstmcore.onnx import export
from onnx_export_kit import OPSETS, batch, build, check, in_importer, ready, run

LSTM = layers.LSTM
ACTIVATIONS = [name for name in choices(LayerActivation) if name != "exponential"]

STACKS = {
    "batch norm": lambda: [layers.BatchNormalization(epsilon=0.1)],
    "batch norm of an LSTM": lambda: [
        LSTM(4, return_sequences=True),
        layers.BatchNormalization(scale=False),
        LSTM(2),
    ],
    "batch norm of vectors": lambda: [LSTM(4), layers.BatchNormalization(), layers.Dense(2)],
    "noise": lambda: [layers.GaussianNoise(0.5), layers.SpatialDropout1D(0.5), LSTM(2)],
    "pooled means": lambda: [
        layers.AveragePooling1D(2, padding="same"),
        LSTM(3, return_sequences=True),
        layers.AveragePooling1D(3, 1, "same"),
        layers.GlobalMaxPooling1D(),
    ],
    "repeated": lambda: [LSTM(4), layers.RepeatVector(3), LSTM(2, return_sequences=True)],
    "activations of convolutions": lambda: [
        *(layers.Conv1D(4, 2, padding="same", activation=name) for name in ACTIVATIONS),
        layers.Activation("softmax"),
        LSTM(2),
    ],
}

WITHOUT_LENGTHS = {
    "scales": lambda: [
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=2.0),
        layers.Rescaling(0.5, [1.0, 2.0, 3.0]),
        layers.Normalization(None, 0.5, 2.0, invert=True),
        layers.Rescaling(3.0),
    ],
    "each": lambda: [
        layers.TimeDistributed(layers.Activation("gelu")),
        layers.TimeDistributed(layers.Rescaling(2.0)),
    ],
    "activations": lambda: [
        *(layers.Dense(4, name) for name in ACTIVATIONS),
        *(layers.Activation(name, alpha=0.3) for name in ("elu", "leaky_relu", "hard_sigmoid")),
    ],
}

SHAPES = {
    "flatten": lambda: [LSTM(2, return_sequences=True), layers.Flatten(), layers.Dense(2)],
    "reshape": lambda: [layers.Dense(4), layers.Reshape((-1, 2)), LSTM(2)],
    "permute": lambda: [layers.Permute((2, 1)), LSTM(2, return_sequences=True)],
    "pixels": lambda: [
        layers.Reshape((5, 3, 1)),
        layers.TimeDistributed(layers.Conv1D(2, 2)),
        layers.TimeDistributed(layers.Flatten()),
        layers.Permute((1, 2)),
        LSTM(2),
    ],
}


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize("name", STACKS)
def test_layers(name, opset):
    check(build(STACKS[name](), (None, 3)), opset)


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize("name", WITHOUT_LENGTHS)
def test_layers_that_work_step_by_step(name, opset):
    model = build(WITHOUT_LENGTHS[name](), (None, 3))
    check(model, opset, lengths=False)
    with pytest.raises(ValueError, match="^lengths: .*no layer"):
        export(model, lengths=True)


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name, opset):
    """Layers that need a known number of steps."""
    check(build(SHAPES[name](), (5, 3)), opset, sizes=((4, 5), (2, 5)))


def test_a_scale_for_each_step():
    model = build([layers.Normalization((1, 2)), LSTM(2)], (5, 3))
    check(model, sizes=((4, 5), (2, 5)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_activation(name):
    check(build([layers.Dense(4, name, use_bias=False), LSTM(2)], (None, 3)))


def test_the_exponential():
    check(build([layers.Dense(4), layers.Activation("exponential")], (None, 3)), lengths=False)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [None, 1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_average_pooling(padding, stride, size):
    layer = layers.AveragePooling1D(size, stride, padding)
    check(build([layer], (None, 3)), sizes=((4, 12), (3, 5), (6, 7), (2, 8)))


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_masking(value):
    for stack in (
        [layers.Masking(value), layers.Dense(3), layers.GlobalMaxPooling1D()],
        [layers.Masking(value), layers.BatchNormalization(), LSTM(3)],
    ):
        model = build(stack, (None, 3))
        x = batch(model, 4, 9)
        x[np.arange(9) >= np.array([9, 3, 1, 0])[:, None]] = value
        expected = model.predict(x)
        found = run(export(model), {"x": x})["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="^lengths: expected False for a model with Masking"):
            export(model, lengths=True)


@pytest.mark.filterwarnings("ignore:nodes .*, because ONNX Runtime refuses:RuntimeWarning")
def test_float64():
    """Functions with constants are spelled out, since attributes are float32.

    ONNX Runtime has no Erf of float64, so the reference implementation runs the nodes around it.
    """
    stack = [layers.BatchNormalization(), *(layers.Dense(4, name) for name in ACTIVATIONS)]
    stack += [layers.Activation(name, alpha=0.3) for name in ("elu", "leaky_relu")]
    model = build(stack, (None, 3), dtype="float64")
    x = batch(model, 4, 9)
    (compute,) = ready(export(model), [in_importer])
    np.testing.assert_allclose(compute({"x": x})["y"], model.predict(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("both", [False, True])
def test_simple_rnns_are_refused(both, tmp_path):
    layer = layers.SimpleRNN(3)
    model = build([layers.Bidirectional(layer) if both else layer], (None, 3))
    with pytest.raises(ValueError, match="^layer '.*SimpleRNN"):
        export(model, tmp_path / "model.onnx")
