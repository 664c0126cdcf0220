"""Bool arrays whose true bytes are not 1 give the same numbers as those of ones."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from onnx_kit import BOOL, branches, make_model, op, tensor, value  # noqa: E402

PLAIN = np.array([True, False, True, True])
BYTES = np.array([255, 0, 2, 128], np.uint8)
ODD = BYTES.view(bool)
OTHER = np.array([True, True, True, False])


NODES = {
    "Not": [op("Not", ["m"], ["a"]), op("Cast", ["a"], ["c"], to=1), op("Erf", ["c"], ["y"])],
    "Cast": [op("Cast", ["m"], ["y"], to=1)],
    "CastToBytes": [op("Cast", ["m"], ["y"], to=2)],
    "Equal": [op("Equal", ["m", "n"], ["y"])],
    "Xor": [op("Xor", ["m", "n"], ["y"])],
    "And": [op("And", ["m", "n"], ["y"])],
    "Where": [op("Cast", ["n"], ["c"], to=1), op("Where", ["m", "c", "one"], ["y"])],
    "NonZero": [op("NonZero", ["m"], ["y"])],
    "Compress": [op("Compress", ["n", "m"], ["y"])],
    "Identity": [op("Identity", ["m"], ["y"])],
    "If": [
        op("Gather", ["m", "two"], ["f"]),
        op("If", ["f"], ["y"], **branches([op("Not", ["m"], ["t"])], [op("Not", ["n"], ["e"])])),
    ],
}
NUMBERS = [tensor("one", [1.0]), tensor("two", 2, np.int64)]


def numbers_of(arrays):
    """Return the arrays with their bytes, which bool arrays would hide."""
    return {name: (a.dtype, a.view(np.uint8).tolist()) for name, a in arrays.items()}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("kind", NODES)
def test_inputs(runner, kind, declared):
    names = {name for node in NODES[kind] for name in node.input} - {"one", "two"}
    if kind == "If":
        names.add("n")
    given = [name for name in ("m", "n") if name in names]
    inputs = [
        value(name, (4,), BOOL) if declared else onnx.ValueInfoProto(name=name) for name in given
    ]
    if not declared:
        for entry in inputs:
            entry.type.tensor_type.elem_type = BOOL
    loaded = lc_onnx.load(make_model(NODES[kind], inputs, ["y"], NUMBERS))
    expected = loaded.run({name: {"m": PLAIN, "n": OTHER}[name] for name in given})
    found = loaded.run({name: {"m": ODD, "n": OTHER}[name] for name in given})
    assert numbers_of(found) == numbers_of(expected)
    assert ODD.view(np.uint8).tolist() == BYTES.tolist()  # callers' arrays stay as they are


def test_other_forms_of_inputs(runner):
    loaded = lc_onnx.load(make_model(NODES["Cast"], [value("m", None, BOOL)], ["y"]))
    spread = np.array([255, 9, 0, 9, 2, 9, 128, 9], np.uint8)[::2].view(bool)
    assert loaded.run({"m": spread})["y"].tolist() == [1, 0, 1, 1]
    assert loaded(np.array(7, np.uint8).view(bool)).tolist() == 1
    assert loaded(ODD[2]).tolist() == 1
    assert loaded(ODD.reshape(2, 2).T).tolist() == [[1, 1], [0, 1]]
    assert loaded(m=ODD[:0]).tolist() == []
    with pytest.raises(TypeError, match=r"m: expected a NumPy array, got MaskedArray"):
        loaded(np.ma.masked_array(ODD))
    with pytest.raises(ValueError, match=r"inputs: missing: m"):
        loaded.run({})
    with pytest.raises(TypeError, match=r"m: expected a NumPy array, got list"):
        loaded.run({"m": [True]})


def test_the_backend(runner):
    (found,) = lc_onnx.Backend.run_node(op("Equal", ["m", "n"], ["y"]), [ODD, PLAIN])
    assert found.tolist() == [True] * 4


def test_models_that_stay_whole():
    """The second call of a small model with LSTMs is ONNX Runtime's alone."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    random = np.random.default_rng(0)
    weights = [
        tensor("w", random.normal(size=(1, 8, 2))),
        tensor("r", random.normal(size=(1, 8, 2))),
    ]
    nodes = [
        op("Not", ["m"], ["n"]),
        op("Cast", ["n"], ["c"], to=1),
        op("LSTM", ["c", "w", "r"], ["y"], hidden_size=2),
    ]
    loaded = lc_onnx.load(make_model(nodes, [value("m", (2, 1, 2), BOOL)], ["y"], weights))
    for _ in range(3):
        expected = loaded(PLAIN.reshape(2, 1, 2))
        assert np.array_equal(loaded(ODD.reshape(2, 1, 2)), expected)


def odd_tensor(name=""):
    return TensorProto(name=name, data_type=BOOL, dims=[4], raw_data=BYTES.tobytes())


@pytest.mark.parametrize("place", ["initializer", "Constant", "sparse", "branch", "other file"])
def test_tensors_of_files(runner, place, tmp_path):
    if (place, runner) == ("sparse", "onnx.reference"):
        pytest.skip("the reference does not compute with sparse constants")
    nodes, tensors = [op("Cast", ["m"], ["c"], to=1), op("Add", ["c", "x"], ["y"])], []
    if place in ("initializer", "other file"):
        tensors = [odd_tensor("m")]
    elif place == "Constant":
        nodes.insert(0, op("Constant", [], ["m"], value=odd_tensor()))
    elif place == "sparse":
        sparse = helper.make_sparse_tensor(
            odd_tensor("m"), numpy_helper.from_array(np.arange(4)), [4]
        )
        nodes.insert(0, op("Constant", [], ["m"], sparse_value=sparse))
    else:
        graphs = branches([*nodes[:1], op("Add", ["c", "x"], ["t"])], [op("Neg", ["x"], ["e"])])
        graphs["then_branch"].initializer.append(odd_tensor("m"))
        nodes = [op("If", ["f"], ["y"], **graphs)]
    inputs = [value("x", (4,)), *([value("f", (), BOOL)] if place == "branch" else [])]
    model = make_model(nodes, inputs, ["y"], tensors)
    before, source = model.SerializeToString(), model
    if place == "other file":
        source = tmp_path / "model.onnx"
        onnx.save_model(model, source, save_as_external_data=True, size_threshold=0)
    feed = {"x": np.zeros(4, np.float32)}
    if place == "branch":
        feed["f"] = np.array(3, np.uint8).view(bool)
    assert lc_onnx.load(source).run(feed)["y"].tolist() == [1, 0, 1, 1]
    assert place == "other file" or model.SerializeToString() == before
