"""Where ONNX Runtime and the standard differ: ours follows the text, and can do the other."""

import numpy as np
import pytest

from reference import lstm as plain_loops
from reference import relative_error

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.convert import from_onnx  # noqa: E402

N, T, C, H = 3, 7, 4, 5


def model_of(node, x, initializers=()):
    """Make a model with the input X and the outputs of one node."""
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, x.shape)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output]
    constants = [numpy_helper.from_array(array, name) for name, array in initializers]
    graph = helper.make_graph([node], "test", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


APART = ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Relu", "Softsign"]


@pytest.mark.parametrize("activations", [None, APART])
def test_clip_of_the_output(rng, activations):
    """The standard clips the input of activations, h's as well; ONNX Runtime all but h's."""
    x = rng.normal(size=(T, N, C)).astype(np.float32)
    arrays = {
        "W": rng.normal(size=(2, 4 * H, C)),
        "R": rng.normal(size=(2, 4 * H, H)),
        "B": rng.normal(size=(2, 8 * H)),
        "P": rng.normal(size=(2, 3 * H)),
    }
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    attributes = {"direction": "bidirectional", "clip": 0.2, "hidden_size": H}
    if activations is not None:
        attributes["activations"] = activations
    names = ["X", "W", "R", "B", "", "", "", "P"]
    node = helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], **attributes)
    model = model_of(node, x, arrays.items())
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = dict(zip(node.output, session.run(None, {"X": x}), strict=True))
    as_runtime = lc_onnx.load(model, clip_output=False).run({"X": x})
    for name, array in expected.items():
        np.testing.assert_allclose(as_runtime[name], array, rtol=0, atol=1e-6)
    found = lc_onnx.load(model).run({"X": x})
    assert abs(found["Y"] - expected["Y"]).max() > 0.01
    if activations is None:
        # The equations in plain loops, which test_onnx_weights compares with the standard's.
        weights, config = from_onnx(**arrays, **attributes)
        assert config.output_clip == pytest.approx(0.2)
        y, _, c = plain_loops(x.swapaxes(0, 1), weights, config)
        assert relative_error(found["Y"].transpose(2, 0, 1, 3).reshape(y.shape), y) < 1e-5
        assert relative_error(found["Y_c"], c) < 1e-5


def test_clip_output_is_true_or_false():
    with pytest.raises(TypeError, match="clip_output: expected True or False"):
        lc_onnx.load(b"", clip_output="no")


@pytest.mark.parametrize("wrong", [-1, 8])
def test_reverse_sequence_with_lengths_outside_the_sequence(wrong):
    x = np.zeros((T, N), np.float32)
    node = helper.make_node("ReverseSequence", ["X", "lengths"], ["Y"], time_axis=0, batch_axis=1)
    lengths = np.array([3, wrong, 0])
    inputs = {"X": x, "lengths": lengths}
    model = model_of(node, x)
    model.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT64, [N]))
    with pytest.raises(ValueError, match="(?i)length"):
        lc_onnx.load(model).run(inputs)
    lengths[1] = 7
    lc_onnx.load(model).run(inputs)
