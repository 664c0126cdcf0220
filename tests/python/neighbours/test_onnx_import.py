"""`lstmcore.onnx.load`: versions of operators, whole models, promises, errors."""

import threading
import tracemalloc

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper  # noqa: E402

import lstmcore  # noqa: E402
from lstmcore import onnx as lc_onnx  # noqa: E402
from onnx_kit import (  # noqa: E402
    BOOL,
    INT64,
    branches,
    compare,
    ints,
    lstm_case,
    make_model,
    op,
    recurrent_model,
    tensor,
    value,
)

# ---- versions of the operators that NumPy runs ---------------------------------------------------

X = np.random.default_rng(0).normal(0, 2, (2, 3, 4)).astype(np.float32)

VERSIONS = {
    "Squeeze-11": (11, [op("Unsqueeze", axes=[0, 2], outputs="a"), op("Squeeze", "a", axes=[0])]),
    "Squeeze-13": (
        13,
        [op("Unsqueeze", ["x", "u"], "a"), op("Squeeze", ["a", "s"])],
        [ints("u", 0, -1), ints("s", -1)],
    ),
    "Squeeze-all": (
        13,
        [op("Unsqueeze", ["x", "u"], "a"), op("Squeeze", "a")],
        [ints("u", 0, -1)],
    ),
    "Squeeze-no-axes": (
        13,
        [op("Unsqueeze", ["x", "u"], "a"), op("Squeeze", ["a", "s"])],
        [ints("u", 0, -1), ints("s")],
    ),
    "Unsqueeze-negative": (13, [op("Unsqueeze", ["x", "u"])], [ints("u", -2)]),
    "Slice-9": (9, [op("Slice", starts=[1, -3], ends=[9, -1], axes=[1, 2])]),
    "Slice-13": (
        13,
        [op("Slice", ["x", "s", "e", "a", "t"])],
        [ints("s", -1, 3), ints("e", -(2**62), 0), ints("a", 1, -1), ints("t", -1, -2)],
    ),
    "Split-11": (11, [op("Split", outputs="abc", axis=2, split=[1, 1, 2])]),
    "Split-13": (13, [op("Split", ["x", "s"], "ab", axis=2)], [ints("s", 1, 3)]),
    "Split-18": (18, [op("Split", outputs="abc", axis=2, num_outputs=3)]),
    "Cast": (13, [op("Cast", to=INT64)]),
    "Shape-15": (15, [op("Shape", start=1)]),
    "Gather": (13, [op("Gather", ["x", "i"], axis=-1)], [ints("i", 1, -1)]),
    "Gather-scalar": (13, [op("Gather", ["x", "i"], axis=1)], [tensor("i", -1, np.int64)]),
    "Concat": (13, [op("Concat", ["x", "x"], axis=-1)]),
    "Flatten": (13, [op("Flatten", axis=-1)]),
    "Transpose": (13, [op("Transpose")]),
    "Transpose-13": (13, [op("Transpose", perm=[2, 0, 1])]),
    "Expand": (13, [op("Expand", ["x", "s"])], [ints("s", 2, 1, 3, 1)]),
    "Reshape": (13, [op("Reshape", ["x", "s"])], [ints("s", 0, -1)]),
    "comparisons": (
        13,
        [
            op("Less", ["x", "z"], "l"),
            op("Not", "l", "n"),
            op("Greater", ["x", "z"], "g"),
            op("Equal", ["n", "g"], "y"),
        ],
        [tensor("z", 0.5)],
    ),
    "ConstantOfShape": (
        13,
        [op("Shape", "x", "s"), op("ConstantOfShape", "s", value=ints("v", 7))],
    ),
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
    assert all(step.startswith("NumPy: ") for step in lc_onnx.load(model).steps)


# ---- whole models --------------------------------------------------------------------------------


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


def test_constants_are_left_to_the_session_and_unused_nodes_to_nobody():
    nodes = [
        op("Add", ["two", "two"], ["four"]),
        op("Mul", ["x", "four"], "y"),
        op("Exp", "x", ["unused"]),
    ]
    model = lc_onnx.load(make_model(nodes, [value("x", (None,))], ["y"], [tensor("two", 2.0)]))
    assert model.steps == ("ONNX Runtime: Add, Mul",)
    assert "1 steps" in repr(model)
    np.testing.assert_array_equal(model(np.ones(3, np.float32)), [4, 4, 4])


def test_values_are_freed_after_their_last_use():
    size = 1 << 20
    names = [f"v{number}" for number in range(40)]
    kinds = [TensorProto.DOUBLE, TensorProto.FLOAT] * 20
    nodes = [
        op("Cast", [a], [b], to=kind)
        for a, b, kind in zip(["x", *names], names, kinds, strict=False)
    ]
    model = lc_onnx.load(make_model(nodes, [value("x", (None,))], [names[-1]]))
    assert len(model.steps) == 40
    x = np.ones(size, np.float32)
    tracemalloc.start()
    model(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * x.nbytes  # one value in either type


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


def stacked_model():
    """Make a model of two LSTMs, which NumPy's views alone connect."""
    random = np.random.default_rng(0)
    nodes = [
        op("Transpose", "x", "s", perm=[1, 0, 2]),
        op("LSTM", ["s", "w0", "r0"], ["y0"], hidden_size=8, direction="bidirectional"),
        op("Transpose", ["y0"], ["z0"], perm=[0, 2, 1, 3]),
        op("Reshape", ["z0", "shape"], ["x1"]),
        op("LSTM", ["x1", "w1", "r1"], ["", "h1"], hidden_size=6, name="lstm1"),
        op("Squeeze", ["h1", "zero"], ["h"]),
    ]
    shapes = {"w0": (2, 32, 3), "r0": (2, 32, 8), "w1": (1, 24, 16), "r1": (1, 24, 6)}
    weights = [tensor(name, random.normal(0, 0.3, shape)) for name, shape in shapes.items()]
    constants = [*weights, ints("shape", 0, 0, -1), ints("zero", 0)]
    return make_model(nodes, [value("x", ("n", "t", 3))], ["h"], constants)


@pytest.mark.parametrize("size", [3, 300])
def test_same_bits_for_any_number_of_threads(size):
    """For a whole batch, and for a batch that is passed in two calls."""
    x = np.random.default_rng(0).normal(0, 1, (size, 40, 3)).astype(np.float32)
    results = []
    before = lstmcore.get_num_threads()
    try:
        for threads in (1, 2, 3):
            lstmcore.set_num_threads(threads)
            model = lc_onnx.load(stacked_model())
            results.append(model(x))
            results.append(np.concatenate([model(x[:2]), model(x[2:])]))
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
