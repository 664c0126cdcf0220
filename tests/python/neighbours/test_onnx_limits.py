"""Files of a few hundred bytes that ask for more memory or time than there is are refused."""

import itertools
import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx.branches import branch_of  # noqa: E402
from lstmcore.onnx.graph import node_of  # noqa: E402
from lstmcore.onnx.limits import limits_of  # noqa: E402
from onnx_kit import BOOL, FLOAT, INT64, branches, ints, make_model, op, tensor, value, weighty  # noqa: E402

MUCH = 1 << 62
LARGE = 400_000_000


def one(*args):
    return tensor(args[0], args[1:] or [1.0])


# ---- constants -----------------------------------------------------------------------------------

CONSTANTS = {
    "ConstantOfShape": ([op("ConstantOfShape", ["n"], ["a"])], [ints("n", LARGE)]),
    "ConstantOfShape of two axes": (
        [op("ConstantOfShape", ["n"], ["a"])],
        [ints("n", 1 << 31, 1 << 33)],
    ),
    "Range": (
        [op("Range", ["s", "n", "d"], ["a"])],
        [tensor("s", 0.0), tensor("n", float(LARGE)), tensor("d", 1.0)],
    ),
    "Range with small steps": (
        [op("Range", ["s", "n", "d"], ["a"])],
        [tensor("s", 0.0), tensor("n", 1.0), tensor("d", 1e-30)],
    ),
    "Expand": ([op("Expand", ["x1", "n"], ["a"])], [one("x1"), ints("n", LARGE)]),
    "Tile": ([op("Tile", ["x1", "n"], ["a"])], [one("x1"), ints("n", MUCH)]),
    "Tile whose size overflows": (
        [op("Tile", ["x4", "n"], ["a"])],
        [one("x4", 1, 2, 3, 4), ints("n", MUCH)],
    ),
    "Pad": ([op("Pad", ["x1", "n"], ["a"])], [one("x1"), ints("n", LARGE, 0)]),
    "Pad that overflows": ([op("Pad", ["x1", "n"], ["a"])], [one("x1"), ints("n", MUCH, MUCH)]),
    "OneHot": (
        [op("OneHot", ["i", "n", "v"], ["a"])],
        [ints("i", 0, 1), ints("n", LARGE), tensor("v", [0.0, 1.0])],
    ),
    "Resize by scales": (
        [op("Resize", ["x1", "", "n"], ["a"])],
        [one("x1"), tensor("n", [4e8])],
    ),
    "Resize to sizes": (
        [op("Resize", ["x1", "", "", "n"], ["a"])],
        [one("x1"), ints("n", LARGE)],
    ),
    "a size that is computed": (
        [op("Mul", ["k", "k"], ["n"]), op("ConstantOfShape", ["n"], ["a"])],
        [ints("k", 20_000)],
    ),
    "an outer product": (
        [op("MatMul", ["column", "row"], ["a"])],
        [tensor("column", np.ones((20_000, 1))), tensor("row", np.ones((1, 20_000)))],
    ),
    "broadcasting": (
        [op("Add", ["column", "row"], ["a"])],
        [tensor("column", np.ones((20_000, 1))), tensor("row", np.ones((1, 20_000)))],
    ),
    "Gather of many rows": (
        [op("Gather", ["rows", "places"], ["a"])],
        [tensor("rows", np.ones((1, 20_000))), tensor("places", np.zeros(20_000), np.int64)],
    ),
    "a value that is doubled again and again": (
        [op("Concat", ["a0", "a0"], ["a1"], axis=0)]
        + [op("Concat", [f"a{k}", f"a{k}"], [f"a{k + 1}"], axis=0) for k in range(1, 61)]
        + [op("Identity", ["a61"], ["a"])],
        [one("a0")],
    ),
    "many constants": (
        [op("ConstantOfShape", ["n"], [f"c{k}"]) for k in range(8)]
        + [op("Concat", [f"c{k}" for k in range(8)], ["a"], axis=0)],
        [ints("n", 4_000_000)],
    ),
    "random numbers": ([op("RandomNormal", [], ["a"], shape=[1 << 20, 1 << 20])], []),
    "sparse": (
        [
            op(
                "Constant",
                [],
                ["a"],
                sparse_value=helper.make_sparse_tensor(
                    tensor("values", [1.0]), ints("places", 5), [MUCH]
                ),
            )
        ],
        [],
    ),
    "windows": ([op("HannWindow", ["n"], ["a"])], [tensor("n", LARGE, np.int64)]),
}


def using(nodes, initializers, opset=17):
    """Make a model that adds one number of what the nodes compute to its input."""
    nodes = [*nodes, op("ReduceMax", ["a"], ["m"], keepdims=0), op("Add", ["x", "m"])]
    return make_model(nodes, ["x"], ["y"], initializers, opset=opset)


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_of_any_size(name, runner):
    model = using(*CONSTANTS[name])
    assert name == "outer product" or model.ByteSize() < 1_000_000
    with pytest.raises(ValueError, match=r"node '\w+' \(\w+\): .* memory_limit"):
        lc_onnx.load(model)


@pytest.mark.parametrize("name", ["ConstantOfShape", "Tile", "Expand", "Pad"])
@pytest.mark.parametrize("kind", ["then_branch", "else_branch"])
def test_constants_within_branches(name, kind):
    nodes, initializers = CONSTANTS[name]
    nodes = [*nodes, op("ReduceMax", ["a"], ["m"], keepdims=0)]
    large = helper.make_graph(nodes, "large", [], [value("m", ())], initializers)
    small = helper.make_graph([op("Identity", ["zero"], ["z"])], "small", [], [value("z", ())])
    other = {"then_branch": "else_branch", "else_branch": "then_branch"}[kind]
    branch = op("If", ["flag"], ["m"], **{kind: large, other: small})
    model = make_model(
        [branch, op("Add", ["x", "m"])],
        ["x", value("flag", (), BOOL)],
        ["y"],
        [tensor("zero", 0.0)],
    )
    with pytest.raises(ValueError, match="memory_limit"):
        lc_onnx.load(model)


def test_a_larger_limit_and_a_smaller_one(runner):
    node = op("ConstantOfShape", ["n"], ["a"])
    model = using([node], [ints("n", 20_000_000)])
    with pytest.raises(ValueError, match=r"constants of at most 12.01 MiB in all, got 76.29 MiB"):
        lc_onnx.load(model)
    y = lc_onnx.load(model, memory_limit=1 << 27)(np.ones(1, np.float32))
    assert y == 1
    small = using([node], [ints("n", 1000)])
    with pytest.raises(ValueError, match="an output of at most 2000 bytes, got 4000 bytes"):
        lc_onnx.load(small, memory_limit=2000)
    assert lc_onnx.load(small)(np.ones(1, np.float32)) == 1


def advised(error):
    return int(re.search(r"memory_limit=(\d+) of lstmcore.onnx.load", str(error))[1])


def test_the_advice_of_an_error_works_and_lowers_nothing(runner):
    """Where the constants need more, values keep what they may have."""
    model = using([op("ConstantOfShape", ["n"], ["a"])], [ints("n", 20_000_000)])
    with pytest.raises(ValueError, match="in all, got") as found:
        lc_onnx.load(model)
    assert advised(found.value) == 1 << 30
    assert lc_onnx.load(model, memory_limit=advised(found.value))(np.ones(1, np.float32)) == 1
    two = [op("ConstantOfShape", ["n"], ["b"]), op("Neg", ["b"], ["a"])]
    model = using(two, [ints("n", 1000)])
    with pytest.raises(ValueError, match="in all, got") as found:
        lc_onnx.load(model, memory_limit=7000)
    assert advised(found.value) == 8192
    lc_onnx.load(model, memory_limit=8192)


def test_which_limits_a_number_sets():
    size, default = 1 << 27, limits_of(1 << 27, None, 5)
    more, less = limits_of(size, 1 << 30, 5), limits_of(size, 1 << 20, 5)
    assert (more.value, less.value) == (1 << 30, 1 << 20)
    for name in ("constants", "held", "work"):
        assert getattr(more, name) >= getattr(default, name) > getattr(less, name)


TABLES = {
    "causal mask": (
        [op("ConstantOfShape", ["n"], ["b"]), op("Trilu", ["b"], ["a"], upper=1)],
        [ints("n", 2048, 2048)],
    ),
    "sines of positions": (
        [
            op("Range", ["zero", "many", "one"], ["i"]),
            op("Reshape", ["i", "column"], ["p"]),
            op("Mul", ["p", "rates"], ["b"]),
            op("Sin", ["b"], ["s"]),
            op("Cos", ["b"], ["c"]),
            op("Concat", ["s", "c"], ["a"], axis=1),
        ],
        [
            *(tensor("zero", 0.0), tensor("many", 10_000.0), tensor("one", 1.0)),
            *(ints("column", -1, 1), tensor("rates", [[0.5] * 128])),
        ],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_models_compute(name, runner):
    model = weighty(using(*TABLES[name]), 350_000)
    assert lc_onnx.load(model)(np.zeros(1, np.float32)).shape == (1,)


def test_what_constants_may_have():
    """A file of 64 KiB takes 64 MiB at most: its constants three times, and what one holds."""
    small = limits_of(1 << 16, None, 5)
    assert 3 * small.constants + small.held < (64 << 20) + 4 * (1 << 16)
    most = [limits_of(size, None, 5).constants for size in (0, 1 << 20, (1 << 20) + 1, 1 << 22)]
    assert most == [12 << 20, 76 << 20, (76 << 20) + 16, 124 << 20]


def test_limits_are_checked():
    model = make_model([op("Relu")], ["x"], ["y"])
    with pytest.raises(TypeError, match="memory_limit: expected an integer"):
        lc_onnx.load(model, memory_limit=1e9)
    with pytest.raises(ValueError, match="memory_limit: expected an integer of at least 1, got 0"):
        lc_onnx.load(model, memory_limit=0)
    with pytest.raises(ValueError, match="loop_limit: expected an integer of at least 1, got -1"):
        lc_onnx.load(model, loop_limit=-1)


def test_weights_that_are_turned_and_joined_are_no_bomb():
    rng = np.random.default_rng(0)
    initializers = [tensor(f"w{k}", rng.normal(size=(600, 600))) for k in range(4)]
    nodes = [op("Transpose", [f"w{k}"], [f"t{k}"]) for k in range(4)]
    nodes += [op("Concat", [f"t{k}" for k in range(4)], ["joined"], axis=0)]
    nodes += [op("Slice", ["joined", "zero", "many"], ["a"]), op("MatMul", ["x", "a"])]
    model = make_model(nodes, ["x"], ["y"], [*initializers, ints("zero", 0), ints("many", 600)])
    x = np.ones((1, 600), np.float32)
    found = lc_onnx.load(model)(x)
    w = onnx.numpy_helper.to_array(initializers[0])
    np.testing.assert_allclose(found, x @ w.T, rtol=1e-3, atol=1e-3)


# ---- what runs -----------------------------------------------------------------------------------

SHAPES = [value("n", None, INT64)]
DYNAMIC = {
    "ConstantOfShape": (op("ConstantOfShape", ["n"], ["a"]), [MUCH]),
    "Expand": (op("Expand", ["x", "n"], ["a"]), [1 << 40]),
    "Tile": (op("Tile", ["x", "n"], ["a"]), [MUCH]),
    "Pad": (op("Pad", ["x", "n"], ["a"]), [MUCH, -MUCH]),
    "Resize": (op("Resize", ["x", "", "", "n"], ["a"]), [1 << 40]),
}


@pytest.mark.parametrize("name", DYNAMIC)
@pytest.mark.parametrize("recurrent", [False, True])
def test_sizes_that_the_model_computes(name, recurrent):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    node, much = DYNAMIC[name]
    nodes = [op("Add", ["n0", "nothing"], ["n"]), node, op("ReduceMax", ["a"], ["y"])]
    initializers = [ints("nothing", 0)]
    if recurrent:  # cut into parts
        w, r = tensor("W", np.ones((1, 4, 1))), tensor("R", np.ones((1, 4, 1)))
        nodes += [
            op("Reshape", ["x", "three"], ["x3"]),
            op("LSTM", ["x3", "W", "R"], ["", "h"], hidden_size=1),
        ]
        initializers += [w, r, ints("three", -1, 1, 1)]
    outputs = ["y", "h"] if recurrent else ["y"]
    good = np.array([0, 2] if name == "Pad" else [3])
    inputs = [value("x", (1,)), value("n0", good.shape, INT64)]
    loaded = lc_onnx.load(make_model(nodes, inputs, outputs, initializers))
    x = np.ones(1, np.float32)
    for _ in range(2):  # the first call of a shape runs in parts
        assert np.max(loaded.run({"x": x, "n0": good})["y"]) in (0, 1)
        bad = np.array(much)
        with pytest.raises(ValueError, match=rf"\({name}\): .* memory_limit"):
            loaded.run({"x": x, "n0": bad})


def test_numpy_refuses_what_is_too_large():
    """Views and sizes between two LSTMs run in NumPy."""
    w, r = tensor("W", np.ones((1, 4, 1))), tensor("R", np.ones((1, 4, 1)))
    nodes = [
        op("LSTM", ["x", "W", "R"], ["", "h"], hidden_size=1),
        op("Expand", ["h", "n"], ["wide"]),
        op("LSTM", ["wide", "W", "R"], ["y"], hidden_size=1),
    ]
    inputs = [value("x", (1, 1, 1)), value("n", (3,), INT64)]
    model = lc_onnx.load(make_model(nodes, inputs, ["y"], [w, r]), same_bits=True)
    assert "NumPy: Expand" in model.steps
    x = np.ones((1, 1, 1), np.float32)
    assert model(x, np.array([2, 3, 1])).shape == (2, 1, 3, 1)
    for sizes in ([MUCH, 4, 1], [1 << 31, 1, 1]):
        with pytest.raises(ValueError, match=r"\(Expand\): expected an output of at most 1 GiB"):
            model(x, np.array(sizes))


# ---- loops ---------------------------------------------------------------------------------------


def loop(turns, recurrent=False, condition=True, changes=False):
    """Make a model whose Loop adds 1 to x in every turn."""
    last = [op("Less", ["total", "most"], ["on"])] if changes else [op("Identity", ["c"], ["on"])]
    nodes = [op("Add", ["v", "one"], ["total"]), *last]
    initializers = [tensor("one", 1.0), tensor("most", 1e9)]
    if recurrent:
        initializers += [tensor("W", np.ones((1, 4, 1))), tensor("R", np.ones((1, 4, 1)))]
        initializers += [ints("three", -1, 1, 1)]
        nodes = [
            op("Reshape", ["v", "three"], ["v3"]),
            op("LSTM", ["v3", "W", "R"], ["", "h"], hidden_size=1),
            op("ReduceMax", ["h"], ["m"], keepdims=0),
            op("Mul", ["m", "zero"], ["nothing"]),
            op("Add", ["v", "nothing"], ["v1"]),
            op("Add", ["v1", "one"], ["total"]),
            *last,
        ]
        initializers += [tensor("zero", 0.0)]
    body = helper.make_graph(
        nodes,
        "body",
        [value("i", (), INT64), value("c", (), BOOL), value("v", ())],
        [value("on", (), BOOL), value("total", ())],
    )
    inputs = ["turns" if turns is not None else "", "first" if condition else "", "x"]
    if turns is not None:
        initializers.append(tensor("turns", turns, np.int64))
    initializers.append(tensor("first", True, bool))
    node = op("Loop", inputs, ["y"], body=body)
    return make_model([node], [value("x", ())], [value("y", ())], initializers)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("condition", [False, True])
def test_constant_loops_without_end(recurrent, condition):
    with pytest.raises(ValueError, match=r"\(Loop\): expected at most 16777216 turns, got 4.6"):
        lc_onnx.load(loop(MUCH, recurrent, condition))
    with pytest.raises(ValueError, match="got a loop without end"):
        lc_onnx.load(loop(None, recurrent, condition))
    assert lc_onnx.load(loop(3, recurrent, condition))(np.array(0, np.float32)) == 3


@pytest.mark.parametrize("recurrent", [False, True])
def test_loops_whose_condition_does_not_come_true(recurrent):
    model = lc_onnx.load(loop(MUCH, recurrent, changes=True), loop_limit=50)
    with pytest.raises(
        ValueError, match=r"\(Loop\): expected at most 50 turns, got more; a larger"
    ):
        model(np.array(0, np.float32))
    assert model(np.array(1e9, np.float32)) == 1e9  # one turn, as float32 rounds


def test_exactly_as_many_turns_as_the_limit():
    for turns in (49, 50):
        found = lc_onnx.load(loop(turns), loop_limit=50)(np.array(0, np.float32))
        assert found == turns
    with pytest.raises(ValueError, match="expected at most 50 turns, got 51"):
        lc_onnx.load(loop(51), loop_limit=50)


def test_turns_of_loops_within_loops_are_multiplied():
    inner_body = helper.make_graph(
        [op("Add", ["w", "one"], ["w1"]), op("Identity", ["c2"], ["on2"])],
        "inner",
        [value("j", (), INT64), value("c2", (), BOOL), value("w", ())],
        [value("on2", (), BOOL), value("w1", ())],
    )
    body = helper.make_graph(
        [
            op("Loop", ["turns", "", "v"], ["total"], body=inner_body),
            op("Identity", ["c"], ["on"]),
        ],
        "body",
        [value("i", (), INT64), value("c", (), BOOL), value("v", ())],
        [value("on", (), BOOL), value("total", ())],
    )
    node = op("Loop", ["turns", "", "x"], ["y"], body=body)

    def model(turns):
        initializers = [tensor("one", 1.0), tensor("turns", turns, np.int64)]
        return make_model([node], [value("x", ())], [value("y", ())], initializers)

    assert lc_onnx.load(model(5))(np.array(0, np.float32)) == 25
    with pytest.raises(ValueError, match=r"expected at most 16777216 turns, got 1e\+08"):
        lc_onnx.load(model(10_000))


def test_a_scan_over_an_axis_with_nothing_in_it():
    body = helper.make_graph(
        [op("Identity", ["s"], ["s1"])],
        "body",
        [value("s", ()), value("row", (0,))],
        [value("s1", ())],
    )
    node = op("Scan", ["x", "rows"], ["y"], body=body, num_scan_inputs=1)
    rows = onnx.TensorProto(name="rows", data_type=FLOAT, dims=[1 << 40, 0])
    model = make_model([node], [value("x", ())], [value("y", ())], [rows])
    with pytest.raises(ValueError, match=r"\(Scan\): expected at most 16777216 turns"):
        lc_onnx.load(model)


# ---- functions and other files -------------------------------------------------------------------


def functions(levels, last="Relu"):
    """Make a model with functions that each call the one before it twice."""
    domain, opsets = "own", [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    found = [
        helper.make_function(
            domain,
            f"f{k}",
            ["a"],
            ["c"],
            [
                helper.make_node(
                    f"f{k - 1}" if k else last, ["a"], ["b"], domain="own" if k else ""
                ),
                helper.make_node(
                    f"f{k - 1}" if k else last, ["b"], ["c"], domain="own" if k else ""
                ),
            ],
            opsets,
        )
        for k in range(levels)
    ]
    node = helper.make_node(f"f{levels - 1}", ["x"], ["y"], domain="own")
    return make_model([node], ["x"], ["y"], domains=["own"], functions=found)


def test_functions_that_multiply():
    assert lc_onnx.load(functions(5))(np.array([-1, 1], np.float32)).tolist() == [0, 1]
    with pytest.raises(
        ValueError, match="its functions stand for 1099511627775 nodes|its functions"
    ):
        lc_onnx.load(functions(40))


def own_function(nodes, attributes=()):
    """Make a function from a to b."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", "f", ["a"], ["b"], nodes, opsets, attributes)


def test_functions_stand_for_few_nodes_whatever_a_small_file_says():
    """A node takes some kilobytes to load, and 65,536 of them took 390 MiB."""
    assert lc_onnx.load(functions(10))(np.array([-1, 1], np.float32)).tolist() == [0, 1]
    with pytest.raises(ValueError, match="its functions stand for .* at most 4"):
        lc_onnx.load(functions(12))


def test_functions_that_copy_their_attributes():
    node = op("Constant", [], ["c"], value=tensor("v", np.ones(2000)))
    rest = [op("ReduceMax", ["c"], ["m"], keepdims=0), op("Add", ["a", "m"], ["b"])]
    function = own_function([node, *rest])

    def model(calls):
        names = ["x", *(f"x{k}" for k in range(1, calls)), "y"]
        nodes = [
            op("f", [before], [after], domain="own") for before, after in itertools.pairwise(names)
        ]
        return make_model(nodes, ["x"], ["y"], domains=["own"], functions=[function])

    assert lc_onnx.load(model(5))(np.zeros(1, np.float32)) == 5
    with pytest.raises(ValueError, match="its functions stand for"):
        lc_onnx.load(model(1000))


def test_functions_allow_no_more_graphs_by_what_they_copy():
    nested = [op("Identity", ["a"], ["t"])]
    for k in range(20):
        graphs = branches(nested, [op("Identity", ["a"], ["e"])])
        nested = [op("If", ["f"], ["b" if k == 19 else "t"], **graphs)]
    first = [
        op("Cast", ["a"], ["f"], to=9),
        op("Constant", [], ["c"], value=tensor("v", [0] * 9000)),
    ]
    used = op("ReduceMax", ["c"], ["unused"])
    function = own_function([*first, used, *nested])

    def model(calls):
        names = ["x", *(f"x{k}" for k in range(1, calls)), "y"]
        nodes = [op("f", [old], [new], domain="own") for old, new in itertools.pairwise(names)]
        return make_model(nodes, [value("x", ())], ["y"], domains=["own"], functions=[function])

    assert lc_onnx.load(model(5))(np.array(1, np.float32)) == 1
    with pytest.raises(ValueError, match="expected fewer graphs within nodes"):
        lc_onnx.load(model(24))


@pytest.mark.parametrize("what", ["attribute", "name"])
def test_functions_that_copy_what_a_call_gives_them(what):
    """An attribute or the name of a value stands in all nodes of the function that refer to it."""
    attribute = onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.ref_attr_name = "v"
    nodes = []
    for k in range(400):
        nodes += [op("Constant", [], [f"c{k}"]), op("Max", ["a", f"c{k}"], [f"m{k}"])]
        nodes[-2].attribute.append(attribute)
    nodes.append(op("Max", [f"m{k}" for k in range(400)], ["b"]))
    function = own_function(nodes, ["v"])
    name = "n" * (20_000 if what == "name" else 2)
    value = tensor("v", np.ones(20_000 if what == "attribute" else 1))
    calls = [op("Relu", ["x"], [name]), op("f", [name], ["y"], domain="own", v=value)]
    model = make_model(calls, ["x"], ["y"], domains=["own"], functions=[function])
    with pytest.raises(ValueError, match="its functions stand for"):
        lc_onnx.load(model)
    calls[1].input[0] = calls[0].output[0] = "n"
    calls[1].attribute[0].t.CopyFrom(tensor("v", [1.0]))
    model = make_model(calls, ["x"], ["y"], domains=["own"], functions=[function])
    assert lc_onnx.load(model)(np.zeros(1, np.float32)) == 1


def test_a_branch_does_not_copy_the_long_name_of_its_if():
    """All nodes of a branch had the name of the result before their own."""
    name = "n" * 20_000
    names = ["x", *(f"t{k}" for k in range(1499)), "t"]
    then = [op("Neg", [before], [after]) for before, after in itertools.pairwise(names)]
    graphs = branches(then, [op("Identity", ["x"], ["e"])])
    nodes = [op("If", ["flag"], [name], **graphs), op("Relu", [name], ["y"])]
    model = make_model(nodes, ["x"], ["y"], [tensor("flag", True, bool)])
    branch, _ = branch_of(node_of(nodes[0], 0, 17), graphs["then_branch"])
    assert branch.ByteSize() < 1 << 20
    assert lc_onnx.load(model)(np.array([-2, 2], np.float32)).tolist() == [0, 2]


def test_functions_in_a_long_chain():
    with pytest.raises(ValueError, match="expected shorter chains of nodes or functions"):
        lc_onnx.load(functions(2000))


def test_a_function_that_calls_itself():
    model = functions(2)
    model.functions[0].node[0].op_type = "f1"
    model.functions[0].node[0].domain = "own"
    with pytest.raises(ValueError, match="calls itself"):
        lc_onnx.load(model)


def test_one_file_that_stands_for_many_tensors(tmp_path):
    count = 40
    names = [f"w{k}" for k in range(count)]
    initializers = [tensor(name, np.ones(1_000_000)) for name in names]
    nodes = [op("Sum", names, ["w"]), op("Add", ["x", "w"])]
    model = make_model(nodes, ["x"], ["y"], initializers)
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    stored = onnx.load(path, load_external_data=False)
    for entry in stored.graph.initializer:  # all of them at the same place
        del entry.external_data[:]
        for key, text in (("location", "weights"), ("offset", "0"), ("length", "4000000")):
            entry.external_data.add(key=key, value=text)
    path.write_bytes(stored.SerializeToString())
    (tmp_path / "weights").write_bytes(np.ones(1_000_000, np.float32).tobytes())
    with pytest.raises(ValueError, match=r"its tensors take 152.6 MiB of other files"):
        lc_onnx.load(path)
    stored.graph.initializer[0].external_data[2].value = "3999996"
    path.write_bytes(stored.SerializeToString())
    with pytest.raises(ValueError, match="w0: expected 4000000 bytes in another file"):
        lc_onnx.load(path)


# ---- graphs within graphs ------------------------------------------------------------------------


def within(graph, levels, twice=False):
    """Put a graph into a branch of an If, again and again."""
    for _ in range(levels):
        other = (
            graph if twice else helper.make_graph([op("Neg", ["x"], ["t"])], "e", [], [value("t")])
        )
        node = op("If", ["flag"], ["t"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "then", [], [value("t")])
    inputs = [value("x", (2,)), value("flag", (), BOOL)]
    return make_model([*graph.node, op("Add", ["t", "x"], ["y"])], inputs, ["y"])


def test_chains_of_branches_are_read(runner):
    inner = helper.make_graph([op("Identity", ["x"], ["t"])], "then", [], [value("t")])
    feed = {"x": np.ones(2, np.float32), "flag": np.array(True)}
    for levels in (1, 12, 30):
        assert lc_onnx.load(within(inner, levels)).run(feed)["y"][0] == 2


def test_many_graphs_within_each_other_are_refused():
    """ONNX Runtime takes a gigabyte for those with one graph for each path of 14 branches."""
    inner = helper.make_graph([op("Identity", ["x"], ["t"])], "then", [], [value("t")])
    nodes = [op("If", ["flag"], ["t"], then_branch=inner, else_branch=inner)]
    many = helper.make_graph(nodes * 8, "many", [], [value("t")])
    for levels in (10, 14):
        with pytest.raises(ValueError, match=r"\(If\): expected fewer graphs .* 4 for each graph"):
            lc_onnx.load(within(many, levels - 1, twice=True))
    deep = helper.make_graph(nodes * 250, "many", [], [value("t")])
    with pytest.raises(ValueError, match=r"\(If\): expected fewer graphs .* here 29 deep"):
        lc_onnx.load(within(deep, 28))


def test_many_branches_beside_each_other_are_read(runner):
    graphs = branches([op("Identity", ["x"], ["t"])], [op("Neg", ["x"], ["e"])])
    nodes = [op("If", ["flag"], [f"b{k}"], **graphs) for k in range(1000)]
    nodes.append(op("Sum", [f"b{k}" for k in range(1000)], ["y"]))
    model = make_model(nodes, [value("x", (2,)), value("flag", (), BOOL)], ["y"])
    feed = {"x": np.ones(2, np.float32), "flag": np.array(True)}
    assert lc_onnx.load(model).run(feed)["y"][0] == 1000
