"""How `lstmcore.onnx` divides a graph: what runs where, loops and branches around LSTMs, errors."""

from itertools import pairwise

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper  # noqa: E402

from lstmcore.onnx.parts import opened_session  # noqa: E402
from onnx_kit import (  # noqa: E402
    BOOL,
    INT64,
    branches,
    compare,
    ints,
    load,
    make_model,
    op,
    recurrent_model,
    runtime,
    tensor,
    value,
    without_runtime,
)

C, H = 3, 4
RANDOM = np.random.default_rng(0)
WEIGHTS = [
    tensor("w", RANDOM.normal(0, 0.5, (1, 4 * H, C))),
    tensor("r", RANDOM.normal(0, 0.5, (1, 4 * H, H))),
]
X = RANDOM.normal(0, 1, (5, 2, C)).astype(np.float32)
SERIES = value("x", ("t", "n", C))


def lstm(x="x", y="l", **options):
    """Make an LSTM node over `x` that computes `y` (T, 1, N, H), and `y`_h."""
    return op("LSTM", [x, "w", "r"], [y, f"{y}_h"], hidden_size=H, name=f"lstm_{y}", **options)


@pytest.fixture
def sequences():
    return np.random.default_rng(1).normal(0, 1, (6, 11, 3)).astype(np.float32)


# ---- what runs where -----------------------------------------------------------------------------


def test_a_graph_is_cut_at_its_recurrent_nodes(sequences, runner):
    model = load(recurrent_model())
    assert model.steps == (
        f"{runner}: 2 Transpose, Conv, Relu",
        "lstmcore: LSTM 'y0'",
        "NumPy: Transpose",
        "NumPy: Reshape",
        "lstmcore: LSTM 'lstm1'",
        f"{runner}: Squeeze, Gemm, LogSoftmax, ArgMax",
    )
    assert f"\n  run  {runner}: Squeeze" in str(model)
    found = model.run({"x": sequences})
    if runner == "onnx.reference":
        return  # ONNX Runtime is hidden
    for name, array in runtime(recurrent_model(), {"x": sequences}).items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def test_the_reference_computes_the_same(sequences, monkeypatch):
    expected = load(recurrent_model()).run({"x": sequences})
    without_runtime(monkeypatch)
    found = load(recurrent_model()).run({"x": sequences})
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def test_nodes_of_one_level_are_one_part():
    """Two branches with an LSTM each meet again: two parts, not four."""
    nodes = [
        op("Relu", "x", "a"),
        op("Neg", "x", "b"),
        lstm("a", "la"),
        lstm("b", "lb"),
        op("Exp", ["la"], "p"),
        op("Abs", ["lb"], "q"),
        op("Sub", "pq", "y"),
    ]
    model = make_model(nodes, [SERIES], ["y"], WEIGHTS)
    assert load(model).steps == (
        "ONNX Runtime: Relu, Neg",
        "lstmcore: LSTM 'lstm_la'",
        "lstmcore: LSTM 'lstm_lb'",
        "ONNX Runtime: Exp, Abs, Sub",
    )
    compare(model, {"x": X})


def test_groups_of_views_leave_a_part():
    """The state is sliced by NumPy while the input goes through a session."""
    nodes = [
        op("Relu", "x", "a"),
        op("Split", "s", ["h", "c"], axis=0),
        op("LSTM", ["a", "w", "r", "", "", "h", "c"], ["", "hn", "cn"], hidden_size=H, name="l"),
        op("Concat", ["hn", "cn"], ["sn"], axis=0),
    ]
    model = make_model(nodes, [SERIES, value("s", (2, "n", H))], ["sn"], WEIGHTS)
    assert load(model).steps == (
        "NumPy: Split",
        "ONNX Runtime: Relu",
        "lstmcore: LSTM 'l'",
        "NumPy: Concat",
    )
    compare(model, {"x": X, "s": RANDOM.normal(0, 1, (2, 2, H)).astype(np.float32)})


def test_other_recurrent_nodes_run_in_a_part(runner):
    weights = [
        tensor("gw", RANDOM.normal(0, 0.5, (1, 3 * H, H))),
        tensor("gr", RANDOM.normal(0, 0.5, (1, 3 * H, H))),
    ]
    nodes = [
        lstm(),
        op("Squeeze", ["l", "one"], ["s"]),
        op("GRU", ["s", "gw", "gr"], ["g", "y"], hidden_size=H),
    ]
    model = make_model(nodes, [SERIES], ["y"], [*WEIGHTS, *weights, ints("one", 1)])
    loaded = load(model)
    assert loaded.steps[-1] == f"{runner}: Squeeze, GRU"
    assert loaded(X).shape == (1, 2, H)
    if runner == "ONNX Runtime":
        compare(model, {"x": X})


def test_weights_that_are_computed_from_constants(runner):
    """They are computed and packed when the model is loaded."""
    scale = [tensor("half", 0.5), tensor("v", RANDOM.normal(0, 1, (1, 4 * H, C)))]
    nodes = [op("Mul", ["v", "half"], ["m"]), op("LSTM", ["x", "m", "r"], "y", hidden_size=H)]
    model = make_model(nodes, [SERIES], ["y"], [WEIGHTS[1], *scale])
    assert load(model).steps == ("lstmcore: LSTM 'y'",)
    plain = make_model(
        [op("LSTM", ["x", "m", "r"], "y", hidden_size=H)],
        [SERIES],
        ["y"],
        [WEIGHTS[1], tensor("m", onnx.numpy_helper.to_array(scale[1]) * np.float32(0.5))],
    )
    np.testing.assert_array_equal(load(model)(X), load(plain)(X))


def test_random_numbers_are_drawn_anew():
    nodes = [
        op("RandomNormal", [], ["h"], shape=[1, 2, H]),
        op("LSTM", ["x", "w", "r", "", "", "h"], "y", hidden_size=H),
    ]
    model = load(make_model(nodes, [SERIES], ["y"], WEIGHTS))
    assert np.abs(model(X) - model(X)).max() > 0.01


def test_types_of_values_between_parts():
    """Integers, booleans and sequences pass from one part to the next over the LSTM."""
    nodes = [
        op("Abs", "x", "a"),
        op("ReduceMax", "a", "m", keepdims=0),
        op("Ceil", "m", "u"),
        op("Cast", "u", "i", to=INT64),
        op("Less", "mu", "b"),
        op("SplitToSequence", "a", ["seq"], axis=0),
        lstm("a"),
        op("Shape", ["l_h"], ["shape"]),
        op("Gather", ["shape", "zero"], ["place"]),
        op("SequenceAt", ["seq", "place"], ["first"]),
        op("Exp", ["l"], "e"),
        op("ReduceSum", "e", "z", keepdims=0),
        op("ReduceSum", ["first"], ["f"], keepdims=0),
        op("Where", "bzf", "k"),
        op("Cast", "k", ["rounded"], to=INT64),
        op("Add", ["rounded", "i"], "y"),
    ]
    constants = [*WEIGHTS, tensor("zero", 0, np.int64)]
    model = make_model(nodes, [SERIES], ["y"], constants)
    assert len(load(model).steps) == 3
    compare(model, {"x": X})


def test_operators_of_onnx_runtime(monkeypatch):
    """Their types are not known before ONNX Runtime has read them."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    nodes = [
        op("FusedMatMul", ["x", "k"], "a", transB=1, domain="com.microsoft"),
        lstm("a"),
        op("BiasGelu", ["l", "bias"], ["g"], domain="com.microsoft"),
        lstm_of_four(),
        op("Exp", ["q"], "y"),
    ]
    constants = [
        *WEIGHTS,
        tensor("k", RANDOM.normal(0, 0.5, (C, C))),
        tensor("bias", RANDOM.normal(0, 0.5, H)),
        tensor("w4", RANDOM.normal(0, 0.5, (1, 4 * H, H))),
        ints("one", 1),
    ]
    nodes.insert(3, op("Squeeze", ["g", "one"], ["s"]))
    model = make_model(nodes, [SERIES], ["y"], constants, domains=["com.microsoft"])
    compare(model, {"x": X})
    without_runtime(monkeypatch)
    with pytest.raises(ValueError, match=r"com.microsoft.FusedMatMul .* pip install onnxruntime"):
        load(model)


def lstm_of_four():
    return op("LSTM", ["s", "w4", "r"], ["q"], hidden_size=H, name="second")


def test_what_onnx_runtime_has_no_kernel_for_runs_in_the_reference():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    kernel = RANDOM.normal(0, 1, (2, 3, 2))
    model = make_model(
        [op("Conv", ["x", "k"], "y", name="wide")],
        [value("x", (1, 3, 4), TensorProto.DOUBLE)],
        ["y"],
        [tensor("k", kernel, np.float64)],
    )
    with pytest.warns(RuntimeWarning, match=r"node 'wide' \(Conv\): runs slowly, in the reference"):
        loaded = load(model)
    assert loaded.steps == ("onnx.reference: Conv",)
    x = RANDOM.normal(0, 1, (1, 3, 4))
    windows = np.lib.stride_tricks.sliding_window_view(x[0], 2, axis=1)  # (3, 3, 2)
    np.testing.assert_allclose(loaded(x)[0], np.einsum("ctk,ock->ot", windows, kernel))


# ---- loops and branches --------------------------------------------------------------------------


def graph(nodes, inputs, outputs, initializers=()):
    return helper.make_graph(nodes, "body", inputs, outputs, list(initializers))


def loop_model(most=4):
    """Make a model that runs an LSTM over x in a loop, each time from the state before it."""
    body = graph(
        [
            op("LSTM", ["x2", "w", "r", "", "", "h"], ["s", "hn"], hidden_size=H),
            op("Identity", ["go"], ["on"]),
            op("Exp", ["hn"], ["e"]),
            op("ReduceSum", ["e"], ["sum"], keepdims=0),
        ],
        [value("i", (), INT64), value("go", (), BOOL), value("h", (1, None, H))],
        [value("on", (), BOOL), value("hn", (1, None, H)), value("sum", ())],
    )
    nodes = [
        op("Relu", "x", ["x2"]),
        op("Loop", ["most", "", "start"], ["last", "sums"], body=body, name="again"),
        op("Neg", ["last"], "y"),
    ]
    inputs = [SERIES, value("start", (1, "n", H))]
    constants = [*WEIGHTS, tensor("most", most, np.int64)]
    return make_model(nodes, inputs, [value("y"), value("sums", (None,))], constants)


@pytest.mark.parametrize("most", [4, 0])
def test_a_loop_around_an_lstm(most, runner):
    start = RANDOM.normal(0, 1, (1, 2, H)).astype(np.float32)
    model = load(loop_model(most))
    assert model.steps == (
        f"{runner}: Relu",
        "lstmcore: Loop 'again'",
        "  body",
        "    NumPy: Identity",
        "    lstmcore: LSTM 's'",
        f"    {runner}: Exp, ReduceSum",
        f"{runner}: Neg",
    )
    found = model.run({"x": X, "start": start})
    assert found["sums"].shape == (most,)
    state, relu = start, np.maximum(X, 0)
    cell = make_model(
        [op("LSTM", ["x", "w", "r", "", "", "h"], ["", "y"], hidden_size=H)],
        [SERIES, value("h", (1, "n", H))],
        ["y"],
        WEIGHTS,
    )
    cell = load(cell)
    for number in range(most):
        state = cell(relu, state)
        np.testing.assert_allclose(found["sums"][number], np.exp(state).sum(), rtol=1e-5)
    np.testing.assert_allclose(found["y"], -state, rtol=1e-6)
    if runner == "ONNX Runtime":
        compare(loop_model(most), {"x": X, "start": start})


def test_a_scan_around_an_lstm(runner):
    """It carries both states, so it computes what the LSTM computes of the whole series."""
    states = ["h", "c"]
    body = graph(
        [
            op("Unsqueeze", ["row", "zero"], ["series"]),
            op("LSTM", ["series", "w", "r", "", "", *states], ["", "hn", "cn"], hidden_size=H),
            op("Mul", ["hn", "two"], ["out"]),
        ],
        [*(value(name, (1, None, H)) for name in states), value("row", (None, C))],
        [value(name, (1, None, H)) for name in ("hn", "cn", "out")],
        [tensor("two", 2.0)],
    )
    scan = op(
        "Scan", ["h0", "c0", "x"], ["last", "cell", "y"], body=body, num_scan_inputs=1, name="walk"
    )
    inputs = [SERIES, value("h0", (1, "n", H)), value("c0", (1, "n", H))]
    outputs = [value("last"), value("cell"), value("y")]
    model = make_model([scan], inputs, outputs, [*WEIGHTS, ints("zero", 0)])
    feed = {"x": X}
    feed.update((name, RANDOM.normal(0, 1, (1, 2, H)).astype(np.float32)) for name in ("h0", "c0"))
    found = load(model).run(feed)
    names = ["x", "w", "r", "", "", "h0", "c0"]
    whole = make_model([op("LSTM", names, ["y"], hidden_size=H)], inputs, ["y"], WEIGHTS)
    expected = load(whole).run(feed)["y"]
    np.testing.assert_allclose(found["y"], 2 * expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["last"], expected[-1], rtol=1e-5, atol=1e-6)
    if runner == "ONNX Runtime":
        compare(model, feed)


def branching_model(condition, *inputs, constants=()):
    """Make a model whose If has an LSTM in both branches; they use values of the outer graph."""
    bodies = branches(
        [op("Relu", ["d"], ["v"]), lstm("v"), op("Exp", ["l"], ["t"])],
        [op("Neg", ["d"], ["v"]), lstm("v", "k"), op("Abs", ["k"], ["e"])],
    )
    nodes = [
        op("Add", "xx", "d"),
        op("If", [condition], ["z"], name="which", **bodies),
        op("Sqrt", ["z"], "y"),
    ]
    return make_model(nodes, [SERIES, *inputs], [value("y")], [*WEIGHTS, *constants])


def test_a_branch_around_an_lstm(runner):
    model = branching_model("flag", value("flag", (), BOOL))
    loaded = load(model)
    assert "lstmcore: If 'which'" in loaded.steps
    assert f"{runner}: Add" in loaded.steps
    cases = [{"x": X, "flag": np.array(flag)} for flag in (True, False)]
    first, second = (loaded.run(case)["y"] for case in cases)
    assert np.abs(first - second).max() > 0.01
    if runner == "ONNX Runtime":
        for case in cases:
            compare(model, case)


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_that_is_known_joins_the_parts_around_it(flag):
    constants = [tensor("f", flag, np.bool_)]
    model = branching_model("f", constants=constants)
    steps = load(model).steps
    assert steps == (
        f"ONNX Runtime: Add, {'Relu' if flag else 'Neg'}",
        f"lstmcore: LSTM {'z/lstm_l' if flag else 'z/lstm_k'!r}",
        f"ONNX Runtime: {'Exp' if flag else 'Abs'}, Sqrt",
    )
    compare(model, {"x": X})


def test_names_within_a_branch_that_is_known():
    """It returns outer values, the same value twice, constants, and contains an If of its own."""
    inner = branches([op("Mul", ["a", "own"], ["t"])], [op("Sub", ["a", "d"], ["e"])])
    then = helper.make_graph(
        [op("Exp", ["d"], ["a"]), op("If", ["flag"], ["b"], **inner)],
        "then",
        [],
        [onnx.ValueInfoProto(name=name) for name in ("a", "a", "b", "d", "own")],
        [tensor("own", 3.0)],
    )
    other = helper.make_graph(
        [op("Frobnicate", ["d"], [name]) for name in "vwxyz"],
        "else",
        [],
        [onnx.ValueInfoProto(name=name) for name in "vwxyz"],
    )
    nodes = [
        op("Add", "xx", "d"),
        op("If", ["yes"], ["p", "q", "s", "u", "own"], then_branch=then, else_branch=other),
    ]
    inputs = [value("x", (None,)), value("flag", (), BOOL)]
    outputs = ["p", "q", "s", "u", "own"]
    model = load(make_model(nodes, inputs, outputs, [tensor("yes", True, np.bool_)]))
    x = np.array([0.5, -1], np.float32)
    a = np.exp(2 * x)
    for flag, third in ((True, 3 * a), (False, a - 2 * x)):
        found = model.run({"x": x, "flag": np.array(flag)})
        for name, expected in zip(outputs, (a, a, third, 2 * x, 3), strict=True):
            np.testing.assert_allclose(found[name], expected, rtol=1e-6)
        arrays = found.values()
        assert not any(np.shares_memory(a, b) for a, b in pairwise(arrays))


# ---- errors --------------------------------------------------------------------------------------


def test_errors_of_a_part_name_the_node(runner):
    nodes = [op("Relu", "x", "a", name="first"), op("Add", "az", "y", name="sum")]
    loaded = load(make_model(nodes, ["x", "z"], ["y"]))
    label = r"node 'sum' \(Add\): " if runner == "ONNX Runtime" else r"nodes 'first' \(Relu\) to"
    with pytest.raises(ValueError, match=label):
        loaded(np.ones(2, np.float32), np.ones(3, np.float32))


def test_errors_within_a_loop_name_the_node():
    model = load(loop_model())
    with pytest.raises(ValueError, match=r"^node 's' \(LSTM\): "):
        model.run({"x": X, "start": np.ones((1, 3, H), np.float32)})


def test_types_that_do_not_fit():
    model = make_model(
        [op("Add", "xz", "y", name="sum")], [value("x", (2,)), value("z", (2,), INT64)], ["y"]
    )
    with pytest.raises(ValueError, match=r"node 'sum' \(Add\): ONNX Runtime refuses: .*Type"):
        load(model)


def test_idle_threads_sleep_only_beside_the_engine(monkeypatch):
    """A file of which ONNX Runtime runs everything waits as ONNX Runtime itself does."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    alone = []

    def opened(package, model, by_itself=False, folding=True):
        alone.append(by_itself)
        return opened_session(package, model, by_itself, folding)

    monkeypatch.setattr("lstmcore.onnx.parts.opened_session", opened)
    load(make_model([op("Exp", ["x"], "y")], [SERIES], ["y"]))
    assert alone == [True]
    alone.clear()
    load(recurrent_model())
    assert alone
    assert not any(alone)
