"""`lstmcore.onnx.load` on models that are broken, odd, or larger than necessary."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper  # noqa: E402

import onnx_kit  # noqa: E402
from lstmcore import onnx as lc_onnx  # noqa: E402
from onnx_kit import compare, make_model, tensor, value  # noqa: E402


def op(kind, inputs="x", outputs="y", **attributes):
    return onnx_kit.op(kind, inputs.split(","), outputs.split(","), **attributes)


# ---- nodes that the standard does not allow ------------------------------------------------------

ones = np.ones((4, 3, 3), np.float32)
BROKEN = {
    r"node 'y' \(LSTM\): inputs: expected 3 to 8, got 2": op("LSTM", "x,w", hidden_size=1),
    r"\(LSTM\): R: expected this input, got none": op("LSTM", "x,w,", hidden_size=1),
    r"\(MaxPool\): kernel_shape: expected this attribute": op("MaxPool"),
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
    double = TensorProto.DOUBLE
    nodes = [op("Cast", "x", "large", to=double), op("Gather", "large,first", axis=0)]
    model = lc_onnx.load(make_model(nodes, ["x"], ["y"], [tensor("first", 0, np.int64)]))
    y = model(np.ones((1000, 1000), np.float32))
    assert y.shape == (1000,)
    assert y.base is None or y.base.nbytes <= y.nbytes


# ---- the LSTM ------------------------------------------------------------------------------------


def test_parameters_of_activations_that_need_none():
    rng = np.random.default_rng(0)
    weights = [tensor("w", rng.normal(size=(1, 8, 3))), tensor("r", rng.normal(size=(1, 8, 2)))]
    x = rng.normal(size=(5, 2, 3)).astype(np.float32)
    numbers = {"activation_alpha": [0.4, 0.5, 0.6], "activation_beta": [0.0, 0.0, 0.0]}
    for first in ("Sigmoid", "HardSigmoid"):
        node = op("LSTM", "x,w,r", hidden_size=2, activations=[first, "Tanh", "Tanh"], **numbers)
        compare(make_model([node], ["x"], ["y"], weights), {"x": x})
