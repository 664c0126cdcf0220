"""Loops that ONNX Runtime runs: what they carry does not grow beyond the limit."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx.growth import may_grow  # noqa: E402
from lstmcore.onnx.guards import guard_graph  # noqa: E402
from onnx_kit import BOOL, INT64, compare, make_model, op, runtime, tensor, value  # noqa: E402
from onnx_kit import without_runtime as block_runtime  # noqa: E402

MIB = 1 << 20


def body_of(nodes, carried, results, stacked=()):
    return helper.make_graph(
        [*nodes, op("Identity", ["c"], ["on"])],
        "body",
        [value("i", (), INT64), value("c", (), BOOL), *(value(name, None) for name in carried)],
        [value("on", (), BOOL), *(value(name, None) for name in (*results, *stacked))],
    )


def loop(nodes, carried=("v",), results=("w",), first=("x",), initializers=(), opset=17):
    body = body_of(nodes, carried, results)
    outputs = [f"y{k}" for k in range(len(carried))]
    node = op("Loop", ["n", "", *first], outputs, body=body)
    inputs = [value("n", (), INT64), *(value(name, ("a", "b")) for name in dict.fromkeys(first))]
    return make_model([node], inputs, outputs, initializers, opset=opset)


GROWING = {
    "Concat": [op("Concat", ["v", "v"], ["w"], axis=0)],
    "Concat of what is made of it": [
        op("Neg", ["v"], ["u"]),
        op("Concat", ["v", "u"], ["w"], axis=1),
    ],
    "Tile": [op("Tile", ["v", "twice"], ["w"])],
}
FIXED = [
    tensor("twice", [2, 1], np.int64),
]


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("opset", [11, 17])
def test_values_that_grow_in_every_turn(name, opset):
    model = loop(GROWING[name], initializers=FIXED, opset=opset)
    x = np.ones((2, 2), np.float32)
    few = {"n": np.array(2), "x": x}
    compare(model, few)
    loaded = lc_onnx.load(model, memory_limit=MIB)
    pattern = r"\(Loop\): expected values that grow by at most 1 MiB in its turns, got more; a larg"
    with pytest.raises(ValueError, match=pattern):
        loaded.run({"n": np.array(62), "x": x})


def test_the_reference_stops_too(monkeypatch):
    block_runtime(monkeypatch)
    model = loop(GROWING["Concat"], initializers=[tensor("go", True, bool)])
    model.graph.node[0].input[1] = "go"  # the reference takes no turn without it
    loaded = lc_onnx.load(model, memory_limit=MIB)
    x = np.ones((1, 1), np.float32)
    assert loaded.run({"n": np.array(3), "x": x})["y0"].shape == (8, 1)
    with pytest.raises(ValueError, match=r"\(Loop\): index 1 is out of bounds"):
        loaded.run({"n": np.array(62), "x": x})


def test_a_large_value_may_be_carried():
    """It counts how much larger it becomes, exactly in bytes."""
    model = loop(
        [op("Concat", ["v", "line"], ["w"], axis=0)], initializers=[tensor("line", [[1.0]])]
    )
    loaded = lc_onnx.load(model, memory_limit=1000)
    x = np.ones((1000, 1), np.float32)
    assert loaded.run({"n": np.array(249), "x": x})["y0"].shape == (1249, 1)
    with pytest.raises(ValueError, match="grow by at most 1000 bytes"):
        loaded.run({"n": np.array(250), "x": x})


def test_two_values_are_counted_together():
    nodes = [op("Concat", ["v", "u"], ["w"], axis=0), op("Concat", ["u", "v"], ["t"], axis=0)]
    model = loop(nodes, ("v", "u"), ("w", "t"), ("x", "x"))
    x = np.ones((1, 1), np.float32)
    feed = {"n": np.array(8), "x": x}
    with pytest.raises(ValueError, match="grow by"):
        lc_onnx.load(model, memory_limit=2 * 4 * 255).run(feed)
    assert len(lc_onnx.load(model, memory_limit=2 * 4 * 255 + 1).run(feed)["y0"]) == 256


def test_sequences_have_no_size():
    """They grow by what a turn inserts; a Size of one would break the model."""
    body = body_of([op("SequenceInsert", ["s", "x"], ["s1"])], ["s"], ["s1"])
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    body.input[2].CopyFrom(sequence)
    body.output[1].CopyFrom(helper.make_tensor_sequence_value_info("s1", TensorProto.FLOAT, None))
    nodes = [
        op("SequenceEmpty", [], ["s0"], dtype=TensorProto.FLOAT),
        op("Loop", ["n", "", "s0"], ["all"], body=body),
        op("ConcatFromSequence", ["all"], ["y"], axis=0),
    ]
    model = make_model(nodes, [value("n", (), INT64), value("x", ("a",))], ["y"])
    feed = {"n": np.array(3), "x": np.ones(2, np.float32)}
    assert lc_onnx.load(model).run(feed)["y"].shape == runtime(model, feed)["y"].shape == (6,)


# ---- which loops need no guard -------------------------------------------------------------------

CELL = [
    op("MatMul", ["h", "W"], ["a"]),
    op("Add", ["a", "b"], ["d"]),
    op("Split", ["d"], ["k", "l"], axis=-1, num_outputs=2),
    op("Mul", ["k", "l"], ["e"]),
    op("Tanh", ["e"], ["h1"]),
]


def test_a_recurrent_cell_cannot_grow():
    assert not may_grow(body_of(CELL, ["h"], ["h1"]), 1)
    turned = [op("MatMul", ["W", "h"], ["a"]), *CELL[1:]]
    assert may_grow(body_of(turned, ["h"], ["h1"]), 1)
    lost = [*CELL, op("Concat", ["h", "h"], ["unused"], axis=0)]
    assert not may_grow(body_of(lost, ["h"], ["h1"]), 1)
    outer = [op("Transpose", ["v"], ["t"]), op("Mul", ["v", "t"], ["w"])]
    for nodes in (*GROWING.values(), outer):
        assert may_grow(body_of(nodes, ["v"], ["w"]), 1)


def test_what_cannot_grow_is_not_measured():
    graph = helper.make_graph(
        [op("Loop", ["n", "", "x"], ["y"], body=body_of(CELL, ["h"], ["h1"]))], "g", [], []
    )
    guard_graph(graph, 18, {})
    body = graph.node[-1].attribute[0].g
    assert not any(node.op_type == "Size" for node in (*graph.node, *body.node))
    assert any(node.op_type == "Gather" for node in body.node)  # its turns


# ---- old versions --------------------------------------------------------------------------------


def test_versions_without_guards_are_refused_by_name():
    model = loop([op("Neg", ["v"], ["w"])], opset=5)
    pattern = (
        r"\(Loop\): expected version 7 of the standard or a later one, in which its turns "
        r"and what it carries can be limited, got 5"
    )
    with pytest.raises(ValueError, match=pattern):
        lc_onnx.load(model)
    tile = op("Tile", ["x", "n", "axis"], ["y"])
    inputs = [value("x", ("a",)), value("n", ())]
    model = make_model([tile], inputs, ["y"], [tensor("axis", 0.0)], opset=5)
    with pytest.raises(ValueError, match=r"\(Tile\): expected version 7 .* the size of its output"):
        lc_onnx.load(model)


def test_old_versions_that_need_no_guard_are_read():
    model = make_model([op("Neg", ["x"], ["y"])], [value("x", (2,))], ["y"], opset=5)
    with pytest.warns(RuntimeWarning, match="runs slowly"):
        loaded = lc_onnx.load(model)
    assert loaded(np.ones(2, np.float32)).tolist() == [-1, -1]
