"""The turns of loops within loops are counted together, wherever each of them runs."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from onnx_kit import BOOL, INT64, compare, make_model, op, tensor, value  # noqa: E402

CONSTANTS = [tensor("one", 1.0), tensor("zero", 0.0)]


def loop(nodes, result, level, carried="x", most="n", stacked=False):
    """Make a Loop whose condition is computed, so that no file fixes its turns."""
    nodes = [*nodes, op("GreaterOrEqual", [result, "zero"], [f"on{level}"])]
    outputs = [value(f"on{level}", (), BOOL), value(result, ())]
    if stacked:
        nodes.append(op("Identity", [result], [f"all{level}"]))
        outputs.append(value(f"all{level}", ()))
    body = helper.make_graph(
        nodes,
        f"body{level}",
        [value(f"i{level}", (), INT64), value(f"c{level}", (), BOOL), value(f"v{level}", ())],
        outputs,
    )
    results = [f"y{level}", f"stack{level}"] if stacked else [f"y{level}"]
    return op("Loop", [most, "", carried], results, body=body)


def add(level):
    return op("Add", [f"v{level}", "one"], [f"w{level}"])


def model(nodes, outputs=("y0",), constants=(), extra=()):
    inputs = [value("x", ()), value("n", (), INT64), *extra]
    return make_model(nodes, inputs, list(outputs), [*CONSTANTS, *constants])


def nested(**options):
    inner = loop([add(1)], "w1", 1, "v0", **options)
    return loop([inner, op("Identity", ["y1"], ["w0"])], "w0", 0, **options)


def in_branches():
    then = helper.make_graph([loop([add(2)], "w2", 2, "v0")], "then", [], [value("y2", ())])
    other = helper.make_graph([op("Add", ["v0", "one"], ["e"])], "else", [], [value("e", ())])
    branch = op("If", ["flag"], ["w0"], then_branch=then, else_branch=other)
    return loop([branch], "w0", 0)


def in_a_scan():
    body = helper.make_graph(
        [loop([add(2)], "w2", 2, "s"), op("Identity", ["row"], ["out"])],
        "scanned",
        [value("s", ()), value("row", ())],
        [value("y2", ()), value("out", ())],
    )
    scan = op("Scan", ["v0", "rows"], ["w0", "outs"], body=body, num_scan_inputs=1)
    return loop([scan], "w0", 0)


def run(proto, turns, limit, **more):
    loaded = lc_onnx.load(proto, loop_limit=limit)
    return loaded.run({"x": np.array(0, np.float32), "n": np.array(turns), **more})


STOPPED = r"node '\w+' \(Loop\): expected at most \d+ turns, got more"


@pytest.mark.parametrize("stacked", [False, True])
def test_loops_within_loops(stacked):
    outputs = ["y0", "stack0"] if stacked else ["y0"]
    proto = model([nested(stacked=stacked)], outputs)
    compare(proto, {"x": np.array(0, np.float32), "n": np.array(5)})
    assert run(proto, 5, 30)["y0"] == 25  # 5 turns, each with 5 more
    with pytest.raises(ValueError, match=STOPPED):
        run(proto, 5, 29)


def test_loops_one_after_the_other_are_counted_alone():
    proto = model([loop([add(0)], "w0", 0), loop([add(1)], "w1", 1, "y0")], ["y1"])
    assert run(proto, 7, 7)["y1"] == 14
    with pytest.raises(ValueError, match=STOPPED):
        run(proto, 7, 6)
    inner = [loop([add(1)], "w1", 1, "v0"), loop([add(2)], "w2", 2, "y1")]
    proto = model([loop([*inner, op("Identity", ["y2"], ["w0"])], "w0", 0)])
    assert run(proto, 3, 3 + 18)["y0"] == 18
    with pytest.raises(ValueError, match=STOPPED):
        run(proto, 3, 3 + 17)


def test_loops_in_branches():
    proto = model([in_branches()], extra=[value("flag", (), BOOL)])
    flag = np.array(True)
    compare(proto, {"x": np.array(0, np.float32), "n": np.array(4), "flag": flag})
    assert run(proto, 4, 20, flag=flag)["y0"] == 16
    with pytest.raises(ValueError, match=STOPPED):
        run(proto, 4, 19, flag=flag)
    assert run(proto, 4, 4, flag=np.array(False))["y0"] == 4


def test_loops_in_a_scan():
    proto = model([in_a_scan()], extra=[value("rows", (3,))])
    rows = np.ones(3, np.float32)
    compare(proto, {"x": np.array(0, np.float32), "n": np.array(2), "rows": rows})
    assert run(proto, 2, 2 + 12, rows=rows)["y0"] == 12
    with pytest.raises(ValueError, match=STOPPED):
        run(proto, 2, 2 + 11, rows=rows)


def test_three_levels():
    innermost = loop([add(2)], "w2", 2, "v1")
    middle = loop([innermost, op("Identity", ["y2"], ["w1"])], "w1", 1, "v0")
    proto = model([loop([middle, op("Identity", ["y1"], ["w0"])], "w0", 0)])
    assert run(proto, 3, 3 + 9 + 27)["y0"] == 27
    with pytest.raises(ValueError, match=STOPPED):
        run(proto, 3, 3 + 9 + 26)


def recurrent(inner):
    """Make nodes that add 0 by an LSTM, so that the loop around them runs here."""
    return [
        op("Reshape", ["v0", "three"], ["v3"]),
        op("LSTM", ["v3", "W", "R"], ["", "h"], hidden_size=1),
        op("ReduceMax", ["h"], ["m"], keepdims=0),
        op("Mul", ["m", "zero"], ["nothing"]),
        op("Add", ["v0", "nothing"], ["u0"]),
        *inner,
    ]


WEIGHTS = [
    tensor("W", np.ones((1, 4, 1))),
    tensor("R", np.ones((1, 4, 1))),
    tensor("three", [-1, 1, 1], np.int64),
]


def test_loops_of_sessions_in_loops_that_run_here():
    inner = [loop([add(1)], "w1", 1, "u0"), op("Identity", ["y1"], ["w0"])]
    proto = model([loop(recurrent(inner), "w0", 0)], constants=WEIGHTS)
    assert "Loop" in str(lc_onnx.load(proto, same_bits=True))
    for _ in range(2):
        assert run(proto, 5, 30)["y0"] == 25
        with pytest.raises(ValueError, match=STOPPED):
            run(proto, 5, 29)


def test_loops_that_both_run_here():
    inner = loop(recurrent([op("Add", ["u0", "one"], ["w0"])]), "w0", 0, "v1")
    proto = model([loop([inner, op("Identity", ["y0"], ["w1"])], "w1", 1)], ["y1"], WEIGHTS)
    assert run(proto, 4, 20)["y1"] == 16
    with pytest.raises(ValueError, match=STOPPED):
        run(proto, 4, 19)
    assert run(proto, 4, 20)["y1"] == 16  # a run that failed leaves no count behind


# ---- numbers of turns that are known before the first one ----------------------------------------

MUCH = 1 << 62


def counted(nodes, condition, opset=17):
    """Make a Loop that ends after as many turns as an input says, unless `condition` ends it."""
    inputs = [value("i", (), INT64), value("c", (), BOOL), value("v0", ())]
    body = helper.make_graph(nodes, "body", inputs, [value(condition, (), BOOL), value("w0", ())])
    node = op("Loop", ["n", "begin", "x"], ["y0"], body=body)
    inputs = [value("x", ()), value("n", (), INT64), value("begin", (), BOOL)]
    return make_model([node], inputs, ["y0"], [*CONSTANTS, *WEIGHTS], opset=opset)


def plain(here):
    """Return the nodes of a body, which runs here or in a session."""
    added = [op("Add", ["u0" if here else "v0", "one"], ["w0"])]
    return recurrent(added) if here else added


def fed(turns, begin=True):
    return {"x": np.array(0, np.float32), "n": np.array(turns), "begin": np.array(begin)}


@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("opset", [8, 17])
def test_loops_that_nothing_ends_sooner_do_not_begin(here, opset):
    if here and opset < 14:
        pytest.skip("the nodes around the LSTM are newer")
    proto = counted([op("Identity", ["c"], ["on"]), *plain(here)], "on", opset)
    loaded = lc_onnx.load(proto, same_bits=True)  # with 16 million turns, which take minutes
    with pytest.raises(ValueError, match=STOPPED):
        loaded.run(fed(MUCH))
    with pytest.raises(ValueError, match=STOPPED):
        loaded.run(fed((1 << 24) + 1))
    assert loaded.run(fed(5))["y0"] == 5
    for turns, begin in ((0, True), (-1, True), (-MUCH, True), (MUCH, False)):
        assert loaded.run(fed(turns, begin))["y0"] == 0


@pytest.mark.parametrize("here", [False, True])
def test_loops_that_something_ends_sooner_may_be_told_any_number(here):
    less = [op("Less", ["w0", "seven"], ["on"])]
    seven = op("Constant", [], ["seven"], value=tensor("seven", 7.0))
    false = op("Constant", [], ["on"], value=tensor("false", False, bool))
    for nodes, turns in (([*plain(here), seven, *less], 7), ([*plain(here), false], 1)):
        loaded = lc_onnx.load(counted(nodes, "on"), same_bits=True)
        assert loaded.run(fed((1 << 63) - 1))["y0"] == turns


@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("first", [False, None], ids=["false", "computed"])
@pytest.mark.parametrize("number", [True, False], ids=["number", "no number"])
def test_loops_without_end_that_may_not_begin(here, first, number):
    """A constant number of turns, or none, and a condition that is passed on."""
    proto = counted([op("Identity", ["c"], ["on"]), *plain(here)], "on")
    proto.graph.initializer.append(tensor("n", (1 << 63) - 1, np.int64))
    if not number:
        proto.graph.node[0].input[0] = ""
    if first is not None:
        proto.graph.initializer.append(tensor("begin", first, bool))
    fixed = {"n"} if first is None else {"n", "begin"}
    kept = [entry for entry in proto.graph.input if entry.name not in fixed]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    feed = {name: array for name, array in fed(0, False).items() if name not in fixed}
    loaded = lc_onnx.load(proto, same_bits=True, loop_limit=1000)
    assert loaded.run(feed)["y0"] == 0
    if first is None:
        with pytest.raises(ValueError, match=STOPPED):
            loaded.run({**feed, "begin": np.array(True)})
