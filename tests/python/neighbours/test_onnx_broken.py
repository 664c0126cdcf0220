"""`lstmcore.onnx.load` on models that are broken, odd, or larger than necessary."""

import math

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def tensor(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def value(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def op(kind, inputs="x", outputs="y", **attributes):
    return helper.make_node(kind, inputs.split(","), outputs.split(","), **attributes)


def make_model(nodes, inputs, outputs, initializers=(), opset=17):
    """Make a model; by default, inputs and outputs are float32 of any shape."""
    inputs = [value(entry) if isinstance(entry, str) else entry for entry in inputs]
    outputs = [value(entry) if isinstance(entry, str) else entry for entry in outputs]
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


# ---- nodes that the standard does not allow ------------------------------------------------------

ones = np.ones((4, 3, 3), np.float32)
BROKEN = {
    r"node 'y' \(LSTM\): inputs: expected 3 to 8, got 2": op("LSTM", "x,w", hidden_size=1),
    r"\(LSTM\): R: expected this input, got none": op("LSTM", "x,w,", hidden_size=1),
    r"\(MaxPool\): kernel_shape: expected this attribute": op("MaxPool"),
    r"\(MaxPool\): kernel_shape: expected numbers of at": op("MaxPool", kernel_shape=[0]),
    r"\(Conv\): group: expected at least 1, got 0": op("Conv", "x,w", group=0),
    r"\(Conv\): strides: expected numbers of at least 1": op("Conv", "x,w", strides=[0]),
    r"\(Conv\): dilations: expected numbers of at least": op("Conv", "x,w", dilations=[0]),
    r"\(Gemm\): alpha: expected FLOAT, got STRING": op("Gemm", "x,w", alpha="a"),
    r"\(Concat\): axis: expected this attribute, got none": op("Concat", "x,x"),
    r"\(Relu\): attributes: expected none, got alpha": op("Relu", alpha=3.0),
    r"\(Add\): inputs: expected 2, got 1": op("Add"),
    r"\(Relu\): inputs: expected 1, got 2": op("Relu", "x,x"),
    r"\(Relu\): outputs: expected 1, got 2": op("Relu", "x", "y,z"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_nodes(message):
    model = make_model([BROKEN[message]], ["x"], ["y"], [tensor("w", ones)])
    with pytest.raises(ValueError, match=message):
        lc_onnx.load(model)
    assert not lc_onnx.Backend.is_compatible(model)


def test_two_values_of_one_name():
    model = make_model([op("Relu"), op("Neg")], ["x"], ["y"])
    with pytest.raises(ValueError, match="expected distinct names, got 'y' a second time"):
        lc_onnx.load(model)
    with pytest.raises(ValueError, match="got 'x' a second time"):
        lc_onnx.load(make_model([op("Relu", "x", "x")], ["x"], ["x"]))
    with pytest.raises(ValueError, match="got 'c' a second time"):
        lc_onnx.load(make_model([op("Relu", "x", "c")], ["x"], ["c"], [tensor("c", [1.0])]))


# ---- tensors -------------------------------------------------------------------------------------


def test_weights_beside_the_file(tmp_path):
    model = make_model([op("Add", "x,w")], ["x"], ["y"], [tensor("w", np.arange(3000))])
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    x = np.ones(3000, np.float32)
    np.testing.assert_array_equal(lc_onnx.load(path)(x), x + np.arange(3000))
    with pytest.raises(ValueError, match="w: its data are in another file"):
        lc_onnx.load(path.read_bytes())
    with pytest.raises(ValueError, match="w: its data are in another file"):
        lc_onnx.load(onnx.load(path, load_external_data=False))


def test_tensors_that_are_cut_short():
    model = make_model([op("Add", "x,w")], ["x"], ["y"], [tensor("w", np.arange(3))])
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-2]
    with pytest.raises(ValueError, match=r"w: expected a tensor of shape \(3,\) with its data"):
        lc_onnx.load(model)


def test_values_that_no_output_needs_are_not_computed():
    nodes = [op("ConstantOfShape", "huge", "unused"), op("Neg", "unused", "more"), op("Relu")]
    model = make_model(nodes, ["x"], ["y"], [tensor("huge", [10**5, 10**5, 100], np.int64)])
    np.testing.assert_array_equal(lc_onnx.load(model)(np.array([-1, 1], np.float32)), [0, 1])


def test_subgraphs_get_the_values_they_need():
    then = helper.make_graph([op("Neg", "doubled", "t")], "then", [], [value("t")])
    other = helper.make_graph([op("Abs", "doubled", "e")], "else", [], [value("e")])
    branch = op("If", "flag", "y", then_branch=then, else_branch=other)
    flag = value("flag", (), TensorProto.BOOL)
    model = make_model([op("Add", "x,x", "doubled"), branch], ["x", flag], ["y"])
    assert lc_onnx.load(model)(np.array([2], np.float32), np.array(True)) == [-4]


# ---- inputs and outputs --------------------------------------------------------------------------


def test_a_negative_size_allows_any_size():
    model = make_model([op("Relu")], [value("x", (-1, 3))], [value("y", (-1, 3))])
    loaded = lc_onnx.load(model)
    assert loaded.inputs[0].shape == (None, 3)
    assert loaded(np.ones((2, 3), np.float32)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"x: expected shape \(\?, 3\), got \(2, 2\)"):
        loaded(np.ones((2, 2), np.float32))


def test_outputs_share_no_memory():
    nodes = [op("Relu"), op("Identity", "y", "z"), op("Flatten", "y", "flat", axis=0)]
    found = lc_onnx.load(make_model(nodes, ["x"], ["z", "y", "flat"])).run({"x": ones})
    for result in found.values():
        result[...] = 7
        np.testing.assert_array_equal(sum((other == 7).all() for other in found.values()), 1)
        result[...] = 1


def test_a_small_output_does_not_keep_a_large_array():
    nodes = [op("Relu", "x", "large"), op("Gather", "large,first", axis=0)]
    model = lc_onnx.load(make_model(nodes, ["x"], ["y"], [tensor("first", 0, np.int64)]))
    y = model(np.ones((1000, 1000), np.float32))
    assert y.shape == (1000,)
    assert y.base is None or y.base.nbytes <= y.nbytes


# ---- edge cases of operators ---------------------------------------------------------------------


def one(node, inputs, initializers=(), opset=17):
    """Run one node here and, if it supports the types, in ONNX Runtime."""
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in inputs.items()
    ]
    model = make_model([node], infos, [onnx.ValueInfoProto(name="y")], initializers, opset)
    found = lc_onnx.load(model).run(inputs)["y"]
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    data = onnx.shape_inference.infer_shapes(model).SerializeToString()
    (expected,) = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, inputs)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    return found


@pytest.mark.parametrize("reverse", [0, 1])
def test_exclusive_sums_do_not_subtract_the_number_itself(reverse):
    node = op("CumSum", "x,axis", exclusive=1, reverse=reverse)
    x = np.array([[1e8, 1.0, np.inf, 3.0], [0.1, 0.2, 0.3, 1e9]], np.float32)
    y = one(node, {"x": x}, [tensor("axis", 1, np.int32)])
    rows = [[0, 1e8, 1e8 + 1, np.inf], [0, 0.1, 0.1 + 0.2, 0.1 + 0.2 + 0.3]]
    if not reverse:
        np.testing.assert_allclose(y, np.float32(rows), rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (3,), (1, 3), (3, 1), (3, 3)])
def test_gemm_with_any_constant_bias(shape):
    rng = np.random.default_rng(0)
    weights = [tensor("w", rng.normal(size=(4, 3))), tensor("b", rng.normal(size=shape))]
    x = rng.normal(size=(3, 4)).astype(np.float32)
    one(op("Gemm", "x,w,b", beta=0.5), {"x": x}, weights)


def test_empty_batches():
    weights = [tensor("w", np.ones((3, 4))), tensor("b", np.ones(4))]
    for x in (np.zeros((0, 3), np.float32), np.zeros((2, 0, 3), np.float32)):
        one(op("MatMul", "x,w"), {"x": x}, weights)
    one(op("Gemm", "x,w,b"), {"x": np.zeros((0, 3), np.float32)}, weights)
    places = np.zeros((0, 2, 1), np.int64)
    x = np.zeros((0, 3, 5), np.float32)
    assert one(op("GatherND", "x,i", batch_dims=1), {"x": x, "i": places}).shape == (0, 2, 5)


def test_gemm_checks_the_number_of_columns():
    model = make_model([op("Gemm", "x,w")], ["x"], ["y"], [tensor("w", np.ones((6, 2)))])
    with pytest.raises(ValueError, match=r"A: expected a matrix of 6 columns, got \(4, 3\)"):
        lc_onnx.load(model)(np.ones((4, 3), np.float32))


@pytest.mark.parametrize("kind", ["ReduceLogSum", "ReduceLogSumExp"])
@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_logarithms_of_sums_keep_their_type(kind, dtype):
    one(op(kind, axes=[1]), {"x": np.array([[1, 2, 9], [4, 40, 6]], dtype)}, opset=13)


def test_stacks_of_matrices_are_multiplied_pair_by_pair():
    rng = np.random.default_rng(0)
    for n, m, k, p in ((50, 4, 8, 4), (3, 80, 90, 70)):
        a = rng.normal(size=(n, m, k)).astype(np.float32)
        b = rng.normal(size=(n, k, p)).astype(np.float32)
        model = lc_onnx.load(make_model([op("MatMul", "x,z")], ["x", "z"], ["y"]))
        y = model(a, b)
        np.testing.assert_allclose(y, a.astype(float) @ b.astype(float), rtol=1e-4, atol=1e-4)
        for row in range(n):
            alone = model(a[row : row + 1], b[row : row + 1])[0]
            np.testing.assert_array_equal(y[row], alone)


def test_parameters_of_activations_that_need_none():
    rng = np.random.default_rng(0)
    weights = [tensor("w", rng.normal(size=(1, 8, 3))), tensor("r", rng.normal(size=(1, 8, 2)))]
    x = rng.normal(size=(5, 2, 3)).astype(np.float32)
    numbers = {"activation_alpha": [0.4, 0.5, 0.6], "activation_beta": [0.0, 0.0, 0.0]}
    for first in ("Sigmoid", "HardSigmoid"):
        node = op("LSTM", "x,w,r", hidden_size=2, activations=[first, "Tanh", "Tanh"], **numbers)
        one(node, {"x": x}, weights)


def test_the_error_function_is_exact_to_its_last_digits():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.normal(size=20_000),
            rng.uniform(-7, 7, 20_000),
            [0.0, -0.0, 1e-300, 0.46875, 0.5, 4.0, -4.0, 3.92, 6.0, 30.0, np.inf, -np.inf, np.nan],
        ]
    )
    model = lc_onnx.load(make_model([op("Erf")], [value("x", None, TensorProto.DOUBLE)], ["y"]))
    expected = np.array([math.erf(number) for number in x])
    y = model(x)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    np.testing.assert_array_equal(np.signbit(y[:-1]), np.signbit(x[:-1]))
    np.testing.assert_array_max_ulp(y[:-1], expected[:-1], 2)
    x = x[:-1].astype(np.float32)
    expected = np.array([math.erf(number) for number in x], np.float32)
    y = lc_onnx.load(make_model([op("Erf")], ["x"], ["y"]))(x)
    np.testing.assert_array_max_ulp(y, expected, 1)
    assert np.abs(y).max() == 1
    np.testing.assert_array_equal(
        lc_onnx.load(make_model([op("Erf")], ["x"], ["y"]))(x[::7].reshape(-1, 4)[:, ::2]),
        y[::7].reshape(-1, 4)[:, ::2],
    )


@pytest.mark.parametrize("size", [3, 70])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool", "Conv"])
def test_windows_element_by_element_and_as_one_view(kind, size):
    """Windows of up to 64 elements are processed element by element, larger ones as one view."""
    x = np.random.default_rng(0).normal(size=(40, 5, 150)).astype(np.float32)
    options = {"strides": [2], "pads": [2, 1]}
    if kind == "Conv":
        weights = [tensor("w", np.random.default_rng(1).normal(size=(5, 1, size)) / size)]
        one(op("Conv", "x,w", group=5, dilations=[2], **options), {"x": x}, weights)
    else:
        if kind == "AveragePool":
            one(op(kind, kernel_shape=[size], count_include_pad=1, **options), {"x": x})
        one(op(kind, kernel_shape=[size], **options), {"x": x})
        model = lc_onnx.load(make_model([op(kind, kernel_shape=[size])], ["x"], ["y"]))
        np.testing.assert_array_equal(model(x)[7:9], model(x[7:9]))
        np.testing.assert_array_equal(model(x[..., :80]), model(x)[..., : 81 - size])
        with pytest.raises(ValueError, match=f"expected windows of .{size},. to fit"):
            model(x[..., :2])


def test_rows_of_a_depthwise_convolution_are_independent():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 6, 31, 40)).astype(np.float32)
    weights = [tensor("w", rng.normal(size=(6, 1, 3, 3)) / 9), tensor("b", rng.normal(size=6))]
    y = one(op("Conv", "x,w,b", group=6, pads=[1, 0, 1, 2]), {"x": x}, weights)
    model = make_model([op("Conv", "x,w,b", group=6, pads=[1, 0, 1, 2])], ["x"], ["y"], weights)
    np.testing.assert_array_equal(lc_onnx.load(model)(x[3:4]), y[3:4])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": [3], "pads": [2, 1], "output_padding": [1]},
        {"strides": [2], "dilations": [2], "group": 2},
        {"strides": [2], "auto_pad": "SAME_UPPER"},
        {"strides": [2], "output_shape": [17]},
        {"strides": [2], "output_shape": [20]},
    ],
)
def test_transposed_convolutions(options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 9)).astype(np.float32)
    kernel = rng.normal(size=(4, 2, 3)) / 4
    bias = tensor("b", rng.normal(size=2 * options.get("group", 1)))
    node = op("ConvTranspose", "x,w,b", **options)
    one(node, {"x": x}, [tensor("w", kernel), bias])
    one(node, {"x": x[:0]}, [tensor("w", kernel), bias])


def test_transposed_convolutions_refuse_an_output_that_is_too_large():
    weights = [tensor("w", np.ones((4, 2, 3)))]
    node = op("ConvTranspose", "x,w", strides=[2], output_shape=[21])
    with pytest.raises(ValueError, match="output_shape: expected less than 21, got 21"):
        lc_onnx.load(make_model([node], ["x"], ["y"], weights))(np.ones((1, 4, 9), np.float32))


def test_einsum():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 5)).astype(np.float32)
    w = tensor("w", rng.normal(size=(3, 5, 2)))
    one(op("Einsum", "x,w", equation="bij,bjk->bik"), {"x": x}, [w])
    one(op("Einsum", "x,w", equation="bij,cjk->bc"), {"x": x}, [w])
    one(op("Einsum", "x", equation="...ij->...ji"), {"x": x})
