"""Small ONNX models for tests, and what ONNX Runtime computes with them."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lstmcore import onnx as lc_onnx

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

N, T, C, H = 3, 7, 4, 5


def tensor(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def ints(name, *numbers):
    return tensor(name, numbers, np.int64)


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def op(kind, inputs=("x",), outputs=("y",), **attributes):
    """Make a node; names are a list, or letters, each of which is a name."""
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def weighty(model, size):
    """Return a model with so many bytes of weights more, which allow it constants in proportion."""
    model.graph.initializer.append(tensor("weights", np.zeros(size, np.uint8), np.uint8))
    return model


def make_model(nodes, inputs, outputs, initializers=(), opset=17, domains=(), **fields):
    """Make a model; outputs may be names, and inputs too, of float32 in any shape."""
    inputs = [value(entry) if isinstance(entry, str) else entry for entry in inputs]
    outputs = [onnx.ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs]
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **fields)


def branches(then, otherwise):
    """Make the two graphs of an If, with the outputs t and e."""
    return {
        "then_branch": helper.make_graph(then, "then", [], [onnx.ValueInfoProto(name="t")]),
        "else_branch": helper.make_graph(otherwise, "else", [], [onnx.ValueInfoProto(name="e")]),
    }


def session(model, threads=1):
    """Return a session of ONNX Runtime."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def runtime(model, inputs):
    """Return what ONNX Runtime computes, by name."""
    opened = session(model)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(None, inputs), strict=True))


def load(model):
    """Load a model whose LSTMs always run on the engine."""
    return lc_onnx.load(model, same_bits=True)


def compare(model, inputs, tolerance=1e-5):
    """Compare all outputs with ONNX Runtime's; return ours."""
    found, expected = load(model).run(inputs), runtime(model, inputs)
    assert found.keys() == expected.keys()
    for name, result in expected.items():
        assert found[name].dtype == result.dtype
        assert found[name].shape == result.shape
        np.testing.assert_allclose(found[name], result, rtol=tolerance, atol=tolerance)
    return found


def without_runtime(monkeypatch):
    """Let `import onnxruntime` fail, as where it is not installed."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


# ---- models with LSTMs ---------------------------------------------------------------------------

EVERYTHING = ("B", "sequence_lens", "initial_h", "initial_c", "P")


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
