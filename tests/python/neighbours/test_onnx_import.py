"""`lstmcore.onnx.load` compared with ONNX Runtime: LSTM attributes, versions, whole models."""

import threading
import tracemalloc

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import lstmcore  # noqa: E402
from lstmcore import functional as F  # noqa: E402
from lstmcore import onnx as lc_onnx  # noqa: E402

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def tensor(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def make_model(nodes, inputs, outputs, initializers=(), opset=17, **fields):
    outputs = [onnx.ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs]
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **fields
    )


def typed(model):
    """Add the types of the outputs, which ONNX Runtime requires."""
    model = onnx.shape_inference.infer_shapes(model)
    for output in model.graph.output:
        assert output.type.HasField("tensor_type"), output.name
    return model


def runtime(model, inputs):
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        typed(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def compare(model, inputs, tolerance=1e-5):
    found, expected = lc_onnx.load(model).run(inputs), runtime(model, inputs)
    assert found.keys() == expected.keys()
    for name, result in expected.items():
        assert found[name].dtype == result.dtype
        assert found[name].shape == result.shape
        np.testing.assert_allclose(found[name], result, rtol=tolerance, atol=tolerance)


# ---- the LSTM ------------------------------------------------------------------------------------

N, T, C, H = 3, 7, 4, 5
EVERYTHING = ("B", "sequence_lens", "initial_h", "initial_c", "P")

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


def lstm_case(attributes, given, seed=0, layout=0):
    """Make a node with its arrays: weights as constants, the rest as inputs."""
    random = np.random.default_rng(seed)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1

    def draw(*shape):
        return random.normal(0, 0.5, shape).astype(np.float32)

    weights = {"W": draw(directions, 4 * H, C), "R": draw(directions, 4 * H, H)}
    extra = {"B": draw(directions, 8 * H), "P": draw(directions, 3 * H)}
    weights.update({name: extra[name] for name in ("B", "P") if name in given})
    inputs = {"X": draw(T, N, C)}
    if "sequence_lens" in given:
        inputs["sequence_lens"] = np.array([3, T, 1], np.int32)
    for name in ("initial_h", "initial_c"):
        states = draw(directions, N, H)
        if name in given:
            inputs[name] = states
    arrays = {**weights, **inputs}
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"]
    names = [name if name in arrays else "" for name in order]
    if layout:
        attributes = {**attributes, "layout": 1}
        for name in ("X", "initial_h", "initial_c"):
            if name in inputs:
                inputs[name] = np.ascontiguousarray(inputs[name].swapaxes(0, 1))
    node = helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=H, **attributes)
    return node, weights, inputs


def lstm_model(node, weights, inputs, opset=17):
    infos = [
        value(name, array.shape, helper.np_dtype_to_tensor_dtype(array.dtype))
        for name, array in inputs.items()
    ]
    constants = [tensor(name, array) for name, array in weights.items()]
    return make_model([node], infos, list(node.output), constants, opset)


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


# ---- versions of operators -----------------------------------------------------------------------

X = np.random.default_rng(0).normal(0, 2, (2, 3, 4)).astype(np.float32)
INDICES = np.array([1, 0], np.int64)


def op(kind, inputs=("x",), outputs=("y",), **attributes):
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def ints(name, *numbers):
    return tensor(name, numbers, np.int64)


VERSIONS = {
    "Squeeze-11": (11, [op("Unsqueeze", axes=[0, 2], outputs="a"), op("Squeeze", "a", axes=[0])]),
    "Squeeze-13": (
        13,
        [op("Unsqueeze", ["x", "u"], "a"), op("Squeeze", ["a", "s"])],
        [ints("u", 0, -1), ints("s", -1)],
    ),
    "Unsqueeze-negative": (13, [op("Unsqueeze", ["x", "u"])], [ints("u", -2)]),
    "ReduceSum-11": (11, [op("ReduceSum", axes=[1], keepdims=0)]),
    "ReduceSum-13": (13, [op("ReduceSum", ["x", "a"], keepdims=0)], [ints("a", 0, -1)]),
    "ReduceMean-13": (13, [op("ReduceMean", axes=[1, 2])]),
    "ReduceMean-18": (18, [op("ReduceMean", ["x", "a"])], [ints("a", 1)]),
    "ReduceMax-13": (13, [op("ReduceMax", axes=[-1])]),
    "ReduceL2-18": (18, [op("ReduceL2", ["x"], keepdims=0)]),
    "Softmax-11": (11, [op("Softmax")]),
    "Softmax-11-last": (11, [op("Softmax", axis=2)]),
    "Softmax-13": (13, [op("Softmax")]),
    "LogSoftmax-11": (11, [op("LogSoftmax", axis=0)]),
    "LogSoftmax-13": (13, [op("LogSoftmax", axis=0)]),
    "Slice-9": (9, [op("Slice", starts=[1, -3], ends=[9, -1], axes=[1, 2])]),
    "Slice-13": (
        13,
        [op("Slice", ["x", "s", "e", "a", "t"])],
        [ints("s", -1, 3), ints("e", -(2**62), 0), ints("a", 1, -1), ints("t", -1, -2)],
    ),
    "Pad-10": (10, [op("Pad", pads=[0, 1, 2, 0, 0, 1], value=1.5)]),
    "Pad-11": (11, [op("Pad", ["x", "p", "v"])], [ints("p", 0, 1, 2, 0, -1, 1), tensor("v", 2.5)]),
    "Pad-reflect": (13, [op("Pad", ["x", "p"], mode="reflect")], [ints("p", 0, 0, 3, 0, 0, 2)]),
    "Pad-reflect-two": (13, [op("Pad", ["x", "p"], mode="reflect")], [ints("p", 1, 0, 3, 0, 2, 0)]),
    "Pad-edge": (13, [op("Pad", ["x", "p"], mode="edge")], [ints("p", 1, 0, 3, 0, 2, 5)]),
    "Pad-18": (
        18,
        [op("Pad", ["x", "p", "", "a"], mode="edge")],
        [ints("p", 1, 2), ints("a", -1)],
    ),
    "Pad-wrap": (19, [op("Pad", ["x", "p"], mode="wrap")], [ints("p", 0, 0, 3, 0, 0, 2)]),
    "Clip-6": (10, [op("Clip", min=-1.0, max=0.5)]),
    "Clip-11": (11, [op("Clip", ["x", "", "m"])], [tensor("m", 0.5)]),
    "Split-11": (11, [op("Split", outputs="abc", axis=2, split=[1, 1, 2])]),
    "Split-13": (13, [op("Split", ["x", "s"], "ab", axis=2)], [ints("s", 1, 3)]),
    "Split-18": (18, [op("Split", outputs="abc", axis=2, num_outputs=3)]),
    "Dropout-10": (10, [op("Dropout", ratio=0.5)]),
    "Dropout-13": (13, [op("Dropout")]),
    "Cast": (13, [op("Cast", to=INT64)]),
    "Shape-15": (15, [op("Shape", start=1)]),
    "Gather": (13, [op("Gather", ["x", "i"], axis=-1)], [ints("i", 1, -1)]),
    "ArgMax-12": (12, [op("ArgMax", axis=1, select_last_index=1)]),
    "LayerNormalization": (
        17,
        [op("LayerNormalization", ["x", "s", "b"])],
        [tensor("s", [1, 2, 3, 4]), tensor("b", [0, 1, 0, -1])],
    ),
    "BatchNormalization-14": (
        14,
        [op("BatchNormalization", ["x", "s", "s", "m", "s"])],
        [tensor("s", [1, 2, 3]), tensor("m", [0, 1, -1])],
    ),
    "Gemm": (
        13,
        [op("Flatten", outputs="f"), op("Gemm", ["f", "w", "b"], transB=1, alpha=0.5, beta=2.0)],
        [tensor("w", np.ones((5, 12)) * 0.1), tensor("b", np.arange(5))],
    ),
    "Gemm-transposed": (
        13,
        [op("Flatten", outputs="f"), op("Gemm", ["f", "w", "b"], transA=1)],
        [tensor("w", [[1, 2, 3], [4, 5, 6]]), tensor("b", np.ones((12, 1)))],
    ),
    "MatMul, bias, tanh": (
        13,
        [op("MatMul", ["x", "w"], "m"), op("Add", ["b", "m"], "a"), op("Tanh", "a")],
        [tensor("w", np.eye(4, 6)), tensor("b", np.arange(6) / 6)],
    ),
    "MatMul of two": (13, [op("Transpose", outputs="t", perm=[0, 2, 1]), op("MatMul", ["x", "t"])]),
    "MatMul of stacks": (
        13,
        [
            op("Transpose", outputs="t", perm=[0, 2, 1]),
            op("Unsqueeze", ["t", "u"], "v"),
            op("MatMul", ["x", "v"]),
        ],
        [ints("u", 1)],
    ),
    "MatMul with a vector": (13, [op("MatMul", ["x", "w"])], [tensor("w", [1, 2, 3, 4])]),
    "product used twice": (
        13,
        [op("MatMul", ["x", "w"], "m"), op("Relu", "m", "r"), op("Sub", ["r", "m"])],
        [tensor("w", np.eye(4, 6))],
    ),
    "Conv": (
        13,
        [op("Conv", ["x", "w", "b"], "c", pads=[2, 1]), op("Relu", "c")],
        [tensor("w", np.cos(np.arange(30)).reshape(5, 3, 2)), tensor("b", np.arange(5))],
    ),
    "Conv, stride, dilation": (
        13,
        [op("Conv", ["x", "w"], strides=[2], dilations=[2], pads=[1, 2])],
        [tensor("w", np.cos(np.arange(30)).reshape(5, 3, 2))],
    ),
    "Conv, groups": (
        13,
        [op("Conv", ["x", "w", "b"], "c", group=3), op("Sigmoid", "c")],
        [tensor("w", np.cos(np.arange(12)).reshape(6, 1, 2)), tensor("b", np.arange(6))],
    ),
    "Conv, upper": (
        13,
        [op("Conv", ["x", "w"], auto_pad="SAME_UPPER", strides=[3])],
        [tensor("w", np.cos(np.arange(30)).reshape(5, 3, 2))],
    ),
    "Conv, lower": (
        13,
        [op("Conv", ["x", "w"], auto_pad="SAME_LOWER")],
        [tensor("w", np.cos(np.arange(30)).reshape(5, 3, 2))],
    ),
    "Conv, two axes": (
        13,
        [op("Unsqueeze", ["x", "u"], "i"), op("Conv", ["i", "w"], pads=[1, 1, 1, 1])],
        [ints("u", 1), tensor("w", np.cos(np.arange(18)).reshape(2, 1, 3, 3))],
    ),
    "a chain of convolutions": (
        13,
        [
            op("Conv", ["x", "w"], "a", pads=[1, 1]),
            op("Relu", "a", "b"),
            op("Conv", ["b", "v"], "c", pads=[0, 2]),
            op("Transpose", "c", perm=[2, 0, 1]),
        ],
        [
            tensor("w", np.cos(np.arange(45)).reshape(5, 3, 3)),
            tensor("v", np.sin(np.arange(40)).reshape(4, 5, 2)),
        ],
    ),
    "Where": (
        13,
        [op("Less", ["x", "z"], "l"), op("Where", ["l", "z", "x"])],
        [tensor("z", 0.5)],
    ),
    "MaxPool": (13, [op("MaxPool", kernel_shape=[2], strides=[2], ceil_mode=1, pads=[1, 0])]),
    "Expand": (13, [op("Expand", ["x", "s"])], [ints("s", 2, 1, 3, 1)]),
    "shapes": (
        13,
        [
            op("Shape", "x", "s"),
            op("Gather", ["s", "i"], "n"),
            op("Concat", ["n", "m"], "t", axis=0),
            op("Reshape", ["x", "t"]),
        ],
        [ints("i", 0), ints("m", -1)],
    ),
}


@pytest.mark.parametrize("case", VERSIONS)
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "open"])
def test_versions(case, fixed):
    """If the shape of an input is fixed, sizes are known before a run."""
    opset, nodes, *rest = VERSIONS[case]
    shape = X.shape if fixed else (None,) * X.ndim
    outputs = list(nodes[-1].output)
    model = make_model(nodes, [value("x", shape)], outputs, *rest, opset=opset)
    compare(model, {"x": X})


# ---- whole models --------------------------------------------------------------------------------


def recurrent_model(seed=0):
    """Make a model of a convolution, two LSTMs and a dense head, as frameworks export it."""
    random = np.random.default_rng(seed)

    def draw(*shape):
        return random.normal(0, 0.3, shape).astype(np.float32)

    nodes = [
        op("Transpose", outputs="t", perm=[0, 2, 1]),
        op("Conv", ["t", "k", "kb"], "c", pads=[1, 1], name="conv"),
        op("Relu", "c", "r"),
        op("Transpose", "r", "s", perm=[2, 0, 1]),
        op("LSTM", ["s", "w0", "r0", "b0"], ["y0"], hidden_size=8, direction="bidirectional"),
        op("Transpose", ["y0"], ["z0"], perm=[0, 2, 1, 3]),
        op("Reshape", ["z0", "shape"], ["x1"]),
        op("LSTM", ["x1", "w1", "r1", "b1"], ["", "h1"], hidden_size=6, name="lstm1"),
        op("Squeeze", ["h1", "zero"], ["h"]),
        op("Gemm", ["h", "d", "db"], ["g"], transB=1),
        op("LogSoftmax", ["g"], ["p"], axis=1),
        op("ArgMax", ["p"], ["best"], axis=1, keepdims=0),
    ]
    constants = [
        tensor("k", draw(5, 3, 3)),
        tensor("kb", draw(5)),
        tensor("w0", draw(2, 32, 5)),
        tensor("r0", draw(2, 32, 8)),
        tensor("b0", draw(2, 64)),
        ints("shape", 0, 0, -1),
        tensor("w1", draw(1, 24, 16)),
        tensor("r1", draw(1, 24, 6)),
        tensor("b1", draw(1, 48)),
        ints("zero", 0),
        tensor("d", draw(4, 6)),
        tensor("db", draw(4)),
    ]
    inputs = [value("x", ("batch", "steps", 3))]
    outputs = [value("p", ("batch", 4)), value("best", ("batch",), INT64)]
    return make_model(nodes, inputs, outputs, constants, opset=15)


@pytest.fixture
def sequences():
    return np.random.default_rng(1).normal(0, 1, (6, 11, 3)).astype(np.float32)


def test_a_recurrent_model(sequences):
    compare(recurrent_model(), {"x": sequences})


def test_load_accepts_paths_and_bytes(sequences, tmp_path):
    proto = recurrent_model()
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights", size_threshold=0)
    expected = lc_onnx.load(recurrent_model())(sequences)[0]
    for source in (path, str(path), recurrent_model().SerializeToString()):
        model = lc_onnx.load(source)
        np.testing.assert_array_equal(model(sequences)[0], expected)
        np.testing.assert_array_equal(model(x=sequences)[0], expected)
    assert [str(entry) for entry in model.inputs] == ["x: float32 (batch, steps, 3)"]
    assert model.outputs[1].dtype == np.int64
    assert model.opset == 15
    assert "x: float32 (batch, steps, 3)" in repr(model)
    assert "\n" not in repr(model)
    assert "\n  in   x: float32 (batch, steps, 3)\n  out  " in str(model)


def test_a_function_of_the_model(sequences):
    body = [helper.make_node("Mul", ["a", "a"], ["b"])]
    function = helper.make_function(
        "own", "Square", ["a"], ["b"], body, [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [helper.make_node("Square", ["x"], ["y"], domain="own")],
        "test",
        [value("x", (None, None, None))],
        [value("y", (None, None, None))],
    )
    model = helper.make_model(
        graph,
        functions=[function],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        ir_version=8,
    )
    np.testing.assert_array_equal(lc_onnx.load(model)(sequences), sequences**2)


def branches(then, otherwise):
    return {
        "then_branch": helper.make_graph(then, "then", [], [onnx.ValueInfoProto(name="t")]),
        "else_branch": helper.make_graph(otherwise, "else", [], [onnx.ValueInfoProto(name="e")]),
    }


def test_branches_see_outer_values():
    """An inner If uses values of both outer graphs, and names repeat between branches."""
    inner = branches(
        [op("Mul", ["x", "two"], "v"), op("Add", ["v", "d"], "t")], [op("Neg", "d", "e")]
    )
    outer = branches(
        [op("Add", ["x", "x"], "d"), op("If", ["other"], "t", **inner)],
        [op("Sub", ["x", "two"], "v"), op("Abs", "v", "e")],
    )
    model = make_model(
        [op("If", ["flag"], "y", **outer)],
        [value("x", (None,)), value("flag", (), BOOL), value("other", (), BOOL)],
        [value("y", (None,))],
        [tensor("two", 2.0)],
    )
    loaded = lc_onnx.load(model)
    x = np.array([1, -2, 3], np.float32)
    expected = {(1, 1): 4 * x, (1, 0): -2 * x, (0, 1): abs(x - 2), (0, 0): abs(x - 2)}
    for (flag, other), result in expected.items():
        found = loaded.run({"x": x, "flag": np.array(bool(flag)), "other": np.array(bool(other))})
        np.testing.assert_array_equal(found["y"], result)


def test_a_branch_that_is_never_run_may_hold_anything():
    nodes = [
        op("Shape", "x", "s"),
        op("Gather", ["s", "zero"], "n"),
        op("Equal", ["n", "two"], "f"),
        op("If", "f", "y", **branches([op("Relu", "x", "t")], [op("Nonsense", "x", "e")])),
    ]
    constants = [tensor("zero", 0, np.int64), tensor("two", 2, np.int64)]
    model = make_model(nodes, [value("x", (2, "k"))], [value("y", (2, None))], constants)
    x = np.array([[1, -1], [-2, 2]], np.float32)
    np.testing.assert_array_equal(lc_onnx.load(model)(x), np.maximum(x, 0))
    model.graph.input[0].CopyFrom(value("x", ("n", "k")))
    with pytest.raises(ValueError, match="Nonsense"):
        lc_onnx.load(model)


# ---- promises of the executor --------------------------------------------------------------------


def test_constants_are_computed_once_and_unused_nodes_never():
    nodes = [
        op("Add", ["two", "two"], ["four"]),
        op("Mul", ["x", "four"], "y"),
        op("Exp", "x", ["unused"]),
    ]
    model = lc_onnx.load(make_model(nodes, [value("x", (None,))], ["y"], [tensor("two", 2.0)]))
    assert "1 steps" in repr(model)
    np.testing.assert_array_equal(model(np.ones(3, np.float32)), [4, 4, 4])


def test_activations_are_fused_into_products(sequences):
    model = lc_onnx.load(recurrent_model())
    assert "11 steps" in repr(model)  # of 12 nodes: Relu is part of Conv


def test_values_are_freed_after_their_last_use():
    size = 1 << 20
    names = [f"v{number}" for number in range(40)]
    nodes = [op("Relu", [a], [b]) for a, b in zip(["x", *names], names, strict=False)]
    model = lc_onnx.load(make_model(nodes, [value("x", (None,))], [names[-1]]))
    x = np.ones(size, np.float32)
    tracemalloc.start()
    model(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * x.nbytes


def test_outputs_share_no_memory_with_inputs_and_constants():
    nodes = [
        op("Identity", "x", ["same"]),
        op("Transpose", "x", ["view"]),
        op("Identity", "c", "k"),
    ]
    model = lc_onnx.load(
        make_model(nodes, [value("x", (2, 2))], ["same", "view", "k"], [tensor("c", [1.0])])
    )
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    first = model.run({"x": x})
    for result in first.values():
        assert not np.shares_memory(result, x)
        result[...] = 7
    np.testing.assert_array_equal(x.ravel(), [0, 1, 2, 3])
    np.testing.assert_array_equal(model.run({"x": x})["k"], [1])


def test_strided_inputs(sequences):
    model = lc_onnx.load(recurrent_model())
    wide = np.zeros((6, 22, 6), np.float32)
    wide[:, ::2, ::2] = sequences
    np.testing.assert_array_equal(model(wide[:, ::2, ::2])[0], model(sequences)[0])


@pytest.mark.parametrize("size", [3, 300])
def test_same_bits_for_any_number_of_threads(size):
    """For a whole batch, and for a batch that is passed in two calls."""
    x = np.random.default_rng(0).normal(0, 1, (size, 40, 3)).astype(np.float32)
    model, results = lc_onnx.load(recurrent_model()), []
    before = lstmcore.get_num_threads()
    try:
        for threads in (1, 2, 3):
            lstmcore.set_num_threads(threads)
            results.append(model(x)[0])
            results.append(np.concatenate([model(x[:2])[0], model(x[2:])[0]]))
    finally:
        lstmcore.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_several_threads(sequences):
    model = lc_onnx.load(recurrent_model())
    expected = model(sequences)[0]
    results = []

    def work():
        results.extend(np.array_equal(model(sequences)[0], expected) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 80


# ---- errors --------------------------------------------------------------------------------------


def test_missing_operators_are_named_all_at_once():
    inner = branches([op("Frobnicate", "x", "t", name="deep")], [op("Neg", "x", "e")])
    nodes = [
        helper.make_node("Attend", ["x"], ["a"], name="first", domain="com.example"),
        op("Frobnicate", "a", "b", name="second"),
        op("If", ["flag"], "y", **inner),
    ]
    model = make_model(nodes, [value("x", (None,)), value("flag", (), BOOL)], ["y", "b"], opset=16)
    with pytest.raises(
        ValueError,
        match=r"opset 16: com\.example\.Attend \('first'\); Frobnicate \('second', 'deep'\)",
    ):
        lc_onnx.load(model)
    assert not lc_onnx.Backend.is_compatible(model)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        lc_onnx.load(tmp_path / "nothing.onnx")
    with pytest.raises(TypeError, match="model: expected a path, bytes or an onnx.ModelProto"):
        lc_onnx.load(3)
    for wrong in (b"", b"nonsense"):
        with pytest.raises(ValueError, match="model: expected an ONNX model"):
            lc_onnx.load(wrong)
    with pytest.raises(ValueError, match="model: expected an opset of 1 to"):
        lc_onnx.load(make_model([op("Relu")], [value("x", (1,))], ["y"], opset=1000))
    with pytest.raises(ValueError, match=r"node 'y' \(Relu\): expected a value 'z'"):
        lc_onnx.load(make_model([op("Relu", "z")], [value("x", (1,))], ["y"]))
    with pytest.raises(ValueError, match="w: expected a node that computes this output"):
        lc_onnx.load(make_model([op("Relu")], [value("x", (1,))], ["w"]))
    with pytest.raises(ValueError, match="x: expected a NumPy number type"):
        lc_onnx.load(make_model([op("Relu")], [value("x", (1,), TensorProto.BFLOAT16)], ["y"]))


def test_bad_inputs(sequences):
    model = lc_onnx.load(recurrent_model())
    with pytest.raises(TypeError, match="x: expected dtype float32, got float64"):
        model.run({"x": sequences.astype(np.float64)})
    with pytest.raises(TypeError, match="x: expected a NumPy array, got list"):
        model.run({"x": sequences.tolist()})
    with pytest.raises(TypeError, match="x: expected a NumPy array, got MaskedArray"):
        model.run({"x": np.ma.masked_array(sequences)})
    with pytest.raises(ValueError, match=r"x: expected shape \(batch, steps, 3\), got \(6, 11\)"):
        model.run({"x": sequences[..., 0]})
    with pytest.raises(ValueError, match=r"x: expected shape .* got \(6, 11, 2\)"):
        model.run({"x": sequences[..., :2]})
    with pytest.raises(ValueError, match="inputs: missing: x"):
        model.run({})
    with pytest.raises(ValueError, match="also got z"):
        model.run({"x": sequences, "z": sequences})
    with pytest.raises(TypeError, match="inputs: expected a mapping"):
        model.run(sequences)
    with pytest.raises(TypeError, match="inputs: got two arrays for x"):
        model(sequences, x=sequences)
    with pytest.raises(TypeError, match="inputs: expected 1 arrays, got 2"):
        model(sequences, sequences)


def test_errors_of_a_run_name_the_node():
    model = lc_onnx.load(
        make_model([op("Add", ["x", "z"], name="sum")], [value("x"), value("z")], ["y"])
    )
    with pytest.raises(ValueError, match=r"node 'sum' \(Add\): "):
        model(np.ones(2, np.float32), np.ones(3, np.float32))


def test_backend(sequences):
    backend = lc_onnx.Backend
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:0")
    expected = lc_onnx.load(recurrent_model())(sequences)
    for inputs in ([sequences], {"x": sequences}, sequences):
        results = backend.run_model(recurrent_model(), inputs)
        np.testing.assert_array_equal(results[0], expected[0])
    node, weights, inputs = lstm_case({}, ("B",))
    y, h, _ = backend.run_node(node, [inputs["X"], weights["W"], weights["R"], weights["B"]])
    np.testing.assert_array_equal(y[-1], h)
    with pytest.raises(ValueError, match="device: expected 'CPU', got 'CUDA'"):
        backend.prepare(recurrent_model(), "CUDA")
    with pytest.raises(ValueError, match="inputs: expected 1 arrays, got 2"):
        backend.run_model(recurrent_model(), [sequences, sequences])
    with pytest.raises(TypeError, match="options: expected none, got speed"):
        backend.prepare(recurrent_model(), speed=2)
