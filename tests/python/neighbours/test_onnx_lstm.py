"""The LSTM operator of `lstmcore.onnx` compared with ONNX Runtime's."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper  # noqa: E402

from lstmcore import functional as F  # noqa: E402
from lstmcore import onnx as lc_onnx  # noqa: E402
from onnx_kit import (  # noqa: E402
    EVERYTHING,
    C,
    H,
    N,
    T,
    compare,
    lstm_case,
    lstm_model,
    make_model,
    tensor,
    value,
)

LSTMS = {
    "plain": ({}, ()),
    "bias": ({}, ("B",)),
    "lengths": ({}, ("B", "sequence_lens")),
    "states": ({}, ("B", "initial_h", "initial_c")),
    "only c": ({}, ("initial_c",)),
    "peepholes": ({}, ("B", "P")),
    "reverse": ({"direction": "reverse"}, EVERYTHING),
    "bidirectional": ({"direction": "bidirectional"}, EVERYTHING),
    "input_forget": ({"input_forget": 1, "direction": "bidirectional"}, EVERYTHING),
    "activations": (
        {
            "activations": ["HardSigmoid", "ScaledTanh", "Softsign"],
            "activation_alpha": [0.3, 0.7],
            "activation_beta": [0.4, 1.2],
        },
        EVERYTHING,
    ),
    "more activations": (
        {
            "activations": ["Affine", "Elu", "LeakyRelu"],
            "activation_alpha": [0.2, 0.8, 0.1],
            "activation_beta": [0.5],
        },
        EVERYTHING,
    ),
    "relu": ({"activations": ["Sigmoid", "Relu", "Softplus"]}, EVERYTHING),
    "different directions": (
        {
            "direction": "bidirectional",
            "activations": ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Relu", "Softsign"],
            "activation_alpha": [0.25],
            "activation_beta": [0.45],
        },
        EVERYTHING,
    ),
    "different parameters": (
        {
            "direction": "bidirectional",
            "activations": ["Sigmoid", "LeakyRelu", "Tanh"] * 2,
            "activation_alpha": [0.1, 0.3],
        },
        EVERYTHING,
    ),
}


@pytest.mark.parametrize("case", LSTMS)
def test_lstm_against_onnx_runtime(case):
    node, weights, inputs = lstm_case(*LSTMS[case])
    compare(lstm_model(node, weights, inputs), inputs)


@pytest.mark.parametrize("case", LSTMS)
def test_lstm_batch_first(case):
    ours = lc_onnx.load(lstm_model(*lstm_case(*LSTMS[case]))).run(lstm_case(*LSTMS[case])[2])
    node, weights, inputs = lstm_case(*LSTMS[case], layout=1)
    found = lc_onnx.load(lstm_model(node, weights, inputs)).run(inputs)
    np.testing.assert_array_equal(found["Y"], ours["Y"].transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(found["Y_h"], ours["Y_h"].swapaxes(0, 1))
    np.testing.assert_array_equal(found["Y_c"], ours["Y_c"].swapaxes(0, 1))


def test_lstm_has_the_bits_of_the_engine():
    node, weights, inputs = lstm_case({"direction": "bidirectional"}, ("B",))
    found = lc_onnx.load(lstm_model(node, weights, inputs)).run(inputs)
    from lstmcore.convert.onnx import from_onnx

    own, config = from_onnx(**weights, hidden_size=H, direction="bidirectional")
    y, state = F.lstm(inputs["X"].swapaxes(0, 1), own, config)
    np.testing.assert_array_equal(found["Y"].transpose(2, 0, 1, 3).reshape(y.shape), y)
    np.testing.assert_array_equal(found["Y_h"], state.h)


def test_lstm_in_float64():
    node, weights, inputs = lstm_case({}, ("B",))
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    model = make_model(
        [node],
        [value("X", (T, N, C), TensorProto.DOUBLE)],
        ["Y"],
        [tensor(name, array, np.float64) for name, array in wide.items()],
    )
    found = lc_onnx.load(model).run({"X": inputs["X"].astype(np.float64)})["Y"]
    assert found.dtype == np.float64
    expected = lc_onnx.load(lstm_model(node, weights, inputs)).run(inputs)["Y"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_lstm_with_weights_that_are_computed():
    node, weights, inputs = lstm_case({}, ("B", "initial_h"))
    expected = lc_onnx.load(lstm_model(node, weights, inputs)).run(inputs)
    everything = {**inputs, **weights}
    found = lc_onnx.load(lstm_model(node, {}, everything)).run(everything)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_lstm_without_its_outputs():
    """Outputs that are omitted or unused are not computed."""
    node, weights, inputs = lstm_case({"direction": "bidirectional"}, ("B",))
    expected = lc_onnx.load(lstm_model(node, weights, inputs)).run(inputs)
    node.output[0] = ""
    model = lstm_model(node, weights, inputs)
    del model.graph.output[0]
    found = lc_onnx.load(model).run(inputs)
    assert list(found) == ["Y_h", "Y_c"]
    np.testing.assert_array_equal(found["Y_h"], expected["Y_h"])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"direction": "sideways"}, "node 'lstm'.*direction: expected one of"),
        ({"activations": ["Sigmoid", "Tanh"]}, "activations: expected 3 names"),
        ({"activations": ["Sigmoid", "Tanh", "Cosh"]}, "activations: expected some of"),
        ({"layout": 2}, "layout: expected 0 or 1, got 2"),
        ({"clip": -1.0}, "clip: expected a number"),
        ({"colour": 1}, "attributes: expected .*, got colour"),
        ({"input_forget": 1, "activations": ["Softsign", "Tanh", "Tanh"]}, "input_forget: "),
    ],
)
def test_lstm_bad_attributes(attributes, message):
    node, weights, inputs = lstm_case({}, ())
    bad = helper.make_node("LSTM", list(node.input), ["Y"], name="lstm", hidden_size=H)
    bad.attribute.extend(helper.make_attribute(name, v) for name, v in attributes.items())
    with pytest.raises(ValueError, match=message):
        lc_onnx.load(lstm_model(bad, weights, inputs))
