"""What a loop in a session collects over its turns has a limit: results, and sequences."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from onnx_kit import BOOL, FLOAT, INT64, branches, ints, make_model, op, runtime, value  # noqa: E402

MIB = 1 << 20
REFUSED = r"\(Loop\): expected results of all turns, and sequences, of at most 1 MiB, got more"


def sequence(name):
    return helper.make_tensor_sequence_value_info(name, FLOAT, None)


def loop(nodes, inputs, outputs, given, results, last):
    """Make a model whose Loop takes as many turns as its input says; `last` makes y from them."""
    body = helper.make_graph(
        [op("Identity", ["c"], ["on"]), *nodes],
        "body",
        [value("i", (), INT64), value("c", (), BOOL), *inputs],
        [value("on", (), BOOL), *outputs],
    )
    node = op("Loop", ["turns", "", *given], results, body=body)
    start = op("SequenceConstruct", ["x"], ["s0"])
    model_inputs = [value("x", (1,)), value("turns", (), INT64)]
    return make_model([start, node, *last], model_inputs, ["y"], [ints("n", 1000), ints("two", 2)])


EXPAND = op("Expand", ["x", "n"], ["many"])
LENGTH = [op("SequenceLength", ["all"], ["y"])]


def results():
    return loop([EXPAND], [], [value("many")], [], ["all"], [op("ReduceSum", ["all"], ["y"])])


def sequences():
    nodes = [EXPAND, op("SequenceInsert", ["s", "many"], ["t"])]
    return loop(nodes, [sequence("s")], [sequence("t")], ["s0"], ["all"], LENGTH)


def both():
    nodes = [EXPAND, op("SequenceInsert", ["s", "x"], ["t"])]
    last = [op("SequenceLength", ["all"], ["k"]), op("ReduceSum", ["rows"], ["sum"], keepdims=0)]
    last += [op("Cast", ["k"], ["float"], to=1), op("Add", ["float", "sum"], ["y"])]
    outputs = [sequence("t"), value("many")]
    return loop(nodes, [sequence("s")], outputs, ["s0"], ["all", "rows"], last)


COLLECTING = {"results": results, "sequences": sequences, "both": both}


@pytest.mark.parametrize("kind", COLLECTING)
def test_what_loops_collect_is_limited(kind):
    """A turn adds 4000 bytes, of which 1 MiB takes 262 without what a sequence needs besides."""
    model = COLLECTING[kind]()
    loaded = lc_onnx.load(model, memory_limit=MIB)
    for turns in (0, 3, 200):
        feed = {"x": np.ones(1, np.float32), "turns": np.array(turns)}
        np.testing.assert_array_equal(loaded.run(feed)["y"], runtime(model, feed)["y"])
    for turns in (263, 10_000_000):
        with pytest.raises(ValueError, match=REFUSED):
            loaded.run({"x": np.ones(1, np.float32), "turns": np.array(turns)})
    more = lc_onnx.load(model, memory_limit=4 * MIB)
    assert more.run({"x": np.ones(1, np.float32), "turns": np.array(300)})["y"] > 0


def test_sequences_that_double_in_every_turn():
    nodes = [
        op("ConcatFromSequence", ["s"], ["whole"], axis=0),
        op("SequenceConstruct", ["whole", "whole"], ["t"]),
    ]
    model = loop(nodes, [sequence("s")], [sequence("t")], ["s0"], ["all"], LENGTH)
    loaded = lc_onnx.load(model, memory_limit=MIB)
    feed = {"x": np.ones(1, np.float32), "turns": np.array(10)}
    assert loaded.run(feed)["y"] == 2
    with pytest.raises(ValueError, match=REFUSED):
        loaded.run({**feed, "turns": np.array(60)})


def test_sequences_that_graphs_within_make_longer_are_refused():
    graphs = branches([op("SequenceInsert", ["s", "x"], ["t"])], [op("Identity", ["s"], ["e"])])
    nodes = [op("Less", ["i", "i"], ["flag"]), op("If", ["flag"], ["t2"], **graphs)]
    model = loop(nodes, [sequence("s")], [sequence("t2")], ["s0"], ["all"], LENGTH)
    with pytest.raises(ValueError, match=r"\(Loop\): expected sequences that only the nodes of"):
        lc_onnx.load(model)


def test_loops_within_loops_count_what_the_outer_one_collects():
    inner = helper.make_graph(
        [EXPAND, op("Identity", ["d"], ["on2"])],
        "inner",
        [value("j", (), INT64), value("d", (), BOOL)],
        [value("on2", (), BOOL), value("many")],
    )
    nodes = [
        op(
            "Loop",
            [
                "two0",
                "",
            ],
            ["rows"],
            body=inner,
        )
    ]
    model = loop(nodes, [], [value("rows")], [], ["all"], [op("ReduceSum", ["all"], ["y"])])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(2), "two0"))
    loaded = lc_onnx.load(model, memory_limit=MIB)
    feed = {"x": np.ones(1, np.float32), "turns": np.array(100)}
    assert loaded.run(feed)["y"].max() == 200_000
    with pytest.raises(ValueError, match=REFUSED):
        loaded.run({**feed, "turns": np.array(132)})
