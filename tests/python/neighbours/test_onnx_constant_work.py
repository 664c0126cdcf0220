"""The work of constants, and sizes that depend on what constants hold, are limited too."""

import itertools

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import helper, numpy_helper  # noqa: E402

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx.folding import may_fold  # noqa: E402
from onnx_kit import branches, ints, make_model, op, runtime, tensor, value, weighty  # noqa: E402

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ONE = tensor("one", 1, np.int64)


def ones(name, *shape):
    """Make a constant of a few bytes in the file, and what its size is."""
    made = op("ConstantOfShape", [f"{name}_n"], [name], value=tensor("v", [1.0]))
    return made, ints(f"{name}_n", *shape)


def made_of(sizes, nodes, opset=17):
    """Make a model that adds one number of what the nodes compute, `a`, to its input."""
    first = [ones(name, *shape) for name, shape in sizes.items()]
    last = [op("ReduceMax", ["a"], ["m"], keepdims=0), op("Add", ["x", "m"], ["y"])]
    nodes = [*(node for node, _ in first), *nodes, *last]
    return make_model(nodes, ["x"], ["y"], [*(size for _, size in first), ONE], opset=opset)


REFUSED = r"multiplications for constants in all, got .* memory_limit"

LONG, HALF = (1, 1, 1_000_000), (1, 1, 500_000)
WORK = {
    "Conv": ({"b": LONG, "w": HALF}, [op("Conv", ["b", "w"], ["a"])]),
    "ConvTranspose": ({"b": HALF, "w": HALF}, [op("ConvTranspose", ["b", "w"], ["a"])]),
    "AveragePool": ({"b": LONG}, [op("AveragePool", ["b"], ["a"], kernel_shape=[500_000])]),
    "MatMul": ({"b": (1400, 1400)}, [op("MatMul", ["b", "b"], ["a"])]),
    "Gemm": ({"b": (1400, 1400)}, [op("Gemm", ["b", "b"], ["a"], transA=1)]),
    "Einsum": ({"b": (10_000,)}, [op("Einsum", ["b", "b", "b"], ["a"], equation="i,j,k->")]),
    "LSTM": (
        {"b": (10_000, 1, 1), "w": (1, 2000, 1), "r": (1, 2000, 500)},
        [op("LSTM", ["b", "w", "r"], ["", "a"], hidden_size=500)],
    ),
    "Dropout": (
        {"b": LONG, "w": HALF},
        [op("Dropout", ["b"], ["d"]), op("Conv", ["d", "w"], ["a"])],
    ),
}


@pytest.mark.parametrize("kind", WORK)
@pytest.mark.parametrize("decides", [False, True])
def test_files_of_a_few_bytes_cannot_ask_for_hours(kind, decides):
    model = made_of(*WORK[kind])
    assert model.ByteSize() < 1000
    if kind in ("Gemm", "MatMul"):  # whose constants are larger than those of a file so small
        weighty(model, 100_000)
    if decides:  # the constant is a condition, so that it is computed here
        graphs = branches([op("Identity", ["x"], ["t"])], [op("Neg", ["x"], ["e"])])
        del model.graph.node[-1]
        model.graph.node.extend(
            [op("Cast", ["m"], ["flag"], to=9), op("If", ["flag"], ["y"], **graphs)]
        )
    with pytest.raises(ValueError, match=REFUSED):
        lc_onnx.load(model)


def test_the_budget_of_work_grows_with_the_memory_limit():
    model = made_of({"b": (1300, 1300)}, [op("MatMul", ["b", "b"], ["a"])])
    weighty(model, 20_000)
    with pytest.raises(ValueError, match="at most 2148"):
        lc_onnx.load(model)
    assert lc_onnx.load(model, memory_limit=1 << 27)(np.zeros(1, np.float32)) == 1300


def test_what_is_held_while_a_constant_is_computed():
    """Pairs of these vectors make a cube of a billion numbers, before they are summed."""
    equation = "i,j,k,ij,jk,ik->"
    node = op("Einsum", ["b", "b", "b", "c", "c", "c"], ["a"], equation=equation)
    with pytest.raises(ValueError, match=r"\(Einsum\): expected a constant that takes at most 12"):
        lc_onnx.load(made_of({"b": (1000,), "c": (1000, 1000)}, [node]))
    assert (
        lc_onnx.load(made_of({"b": (10,), "c": (10, 10)}, [node]))(np.zeros(1, np.float32)) == 1000
    )


def test_casts_of_what_the_file_does_not_store_are_counted():
    nodes = [op("Cast", ["b"], [f"d{k}"], to=11) for k in range(8)]
    nodes += [op("Max", [f"d{k}" for k in range(8)], ["e"]), op("Cast", ["e"], ["a"], to=1)]
    with pytest.raises(ValueError, match=r"\(Cast\): expected constants of at most 12"):
        lc_onnx.load(made_of({"b": (300_000,)}, nodes))


def test_reductions_count_what_they_read():
    nodes = [op("ReduceSum", ["b"], [f"r{k}"], keepdims=0) for k in range(800)]
    nodes += [op("Max", [f"r{k}" for k in range(800)], ["a"])]
    with pytest.raises(ValueError, match=r"\(ReduceSum\): .* of others again"):
        lc_onnx.load(made_of({"b": (1500, 2000)}, nodes))


@pytest.mark.parametrize("kind", ["shape", "nested"])
def test_what_only_onnx_runtime_finds_constant_is_not_computed_at_load(kind):
    """A Shape of a value that is no input follows from the shapes that ONNX Runtime infers."""
    nodes = [
        op("Relu", ["x"], ["r"]),
        op("Shape", ["r"], ["s"]),
        op("Mul", ["s", "many"], ["n"]),
        op("Concat", ["first", "n"], ["b_n"], axis=0),
        op("ConstantOfShape", ["b_n"], ["b"]),
        op("Conv", ["b", "b"], ["a"]),
    ]
    last = [op("ReduceMax", ["a"], ["m"], keepdims=0), op("Add", ["x", "m"], ["y"])]
    sizes = [ints("many", 40), ints("first", 1, 1)]
    if kind == "shape":
        model = make_model([*nodes, *last], [value("x", (1,))], ["y"], sizes)
    else:
        graphs = branches([op("ReduceMax", ["a"], ["t"])], [op("ReduceMin", ["a"], ["e"])])
        graphs["then_branch"].node.insert(0, nodes.pop())
        graphs["else_branch"].node.insert(0, op("Identity", ["b"], ["a"]))
        inputs = [value("x", (1,)), value("flag", (), onnx.TensorProto.BOOL)]
        model = make_model([*nodes, op("If", ["flag"], ["y"], **graphs)], inputs, ["y"], sizes)
    assert not may_fold(model.graph)
    feed = {"x": np.ones(1, np.float32)}
    if kind == "nested":
        feed["flag"] = np.array(True)
    found, expected = lc_onnx.load(model).run(feed), runtime(model, feed)
    np.testing.assert_array_equal(found["y"], expected["y"])
    light = make_model([*nodes[:3], op("Cast", ["n"], ["y"], to=1)], ["x"], ["y"], sizes)
    assert may_fold(light.graph)


# ---- sizes that depend on what a constant holds --------------------------------------------------

PLACES = [op("NonZero", ["b"], ["p"]), op("Cast", ["p"], ["row"], to=1)]
COLUMN = [*PLACES, op("Transpose", ["row"], ["column"])]
HELD = {
    "broadcasting": [*COLUMN, op("Mul", ["row", "column"], ["a"])],
    "MatMul": [*COLUMN, op("MatMul", ["column", "row"], ["a"])],
    "Einsum": [*PLACES, op("Einsum", ["row", "row"], ["a"], equation="ai,bj->ij")],
    "Where": [
        *COLUMN,
        op("Cast", ["row"], ["c"], to=9),
        op("Where", ["c", "row", "column"], ["a"]),
    ],
    "Compress": [
        op("Cast", ["b"], ["c"], to=9),
        op("Compress", ["b", "c"], ["row"]),
        op("Reshape", ["row", "upright"], ["column"]),
        op("Add", ["row", "column"], ["a"]),
    ],
    "Unique": [
        op("Unique", ["b"], ["u", "i", "back"]),
        op("Cast", ["back"], ["row"], to=1),
        op("Reshape", ["row", "upright"], ["column"]),
        op("Add", ["row", "column"], ["a"]),
    ],
    "Concat": [
        *PLACES,
        *(
            op("Concat", ["row" if k == 0 else f"d{k - 1}"] * 2, [f"d{k}"], axis=1)
            for k in range(17)
        ),
        op("Identity", ["d16"], ["a"]),
    ],
}


@pytest.mark.parametrize("kind", HELD)
def test_sizes_that_depend_on_what_a_constant_holds(kind):
    model = made_of({"b": (20_000,)}, HELD[kind])
    model.graph.initializer.append(ints("upright", -1, 1))
    assert model.ByteSize() < 1200
    with pytest.raises(ValueError, match=r"\(\w+\): expected .* memory_limit"):
        lc_onnx.load(model)
    if kind == "Concat":
        return
    few = made_of({"b": (5,)}, HELD[kind])
    few.graph.initializer.append(ints("upright", -1, 1))
    x = np.zeros(1, np.float32)
    np.testing.assert_array_equal(lc_onnx.load(few)(x), runtime(few, {"x": x})["y"])


def test_types_that_a_branch_claims_are_not_trusted():
    """What a constant NonZero finds is said to be one number."""
    flag = numpy_helper.from_array(np.array(True), "flag")
    size = op("ConstantOfShape", ["n"], ["b"], value=tensor("v", [1.0]))
    nodes = [size, *HELD["broadcasting"], op("ReduceMax", ["a"], ["t"], keepdims=0)]
    graphs = branches(nodes, [op("Identity", ["x"], ["e"])])
    graphs["then_branch"].value_info.append(value("p", (1, 1), onnx.TensorProto.INT64))
    model = make_model(
        [op("If", ["flag"], ["z"], **graphs), op("Add", ["x", "z"], ["y"])],
        ["x"],
        ["y"],
        [flag, ints("n", 20_000)],
    )
    with pytest.raises(ValueError, match=r"\(Mul\): expected an output of at most 1 GiB"):
        lc_onnx.load(model)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(False), "flag"))
    with pytest.raises(ValueError, match=r"\(Mul\): expected an output of at most 1 GiB"):
        lc_onnx.load(model)


def test_constants_of_unknown_size_are_refused_by_name():
    node = helper.make_node("WordConvEmbedding", ["b", "b", "b"], ["a"], domain="com.microsoft")
    model = made_of({"b": (1, 1, 1, 1)}, [node])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ValueError, match=r"Embedding\): expected a constant whose size follows"):
        lc_onnx.load(model)


# ---- texts and sequences -------------------------------------------------------------------------


def of_texts(nodes, letters):
    """Make a model that adds to its input whether the texts `a` are that which nodes start with."""
    text = helper.make_tensor("text", onnx.TensorProto.STRING, [1], [b"a" * letters])
    nodes = [
        op("Constant", [], ["text"], value=text),
        *nodes,
        op("Equal", ["a", "text"], ["same"]),
        op("Cast", ["same"], ["b"], to=1),
        op("ReduceMax", ["b"], ["m"], keepdims=0),
        op("Add", ["x", "m"], ["y"]),
    ]
    return make_model(nodes, ["x"], ["y"], [ONE, ints("many", 2_000_000), ints("few", 3)], opset=20)


def doubled(times):
    names = ["text", *(f"c{k}" for k in range(times - 1)), "a"]
    return [op("StringConcat", [a, a], [b]) for a, b in itertools.pairwise(names)]


def test_texts_count_their_letters():
    for nodes in ([op("Tile", ["text", "many"], ["a"])], doubled(25)):
        with pytest.raises(ValueError, match="memory_limit"):
            lc_onnx.load(of_texts(nodes, 1900))
    x = np.zeros(1, np.float32)
    assert lc_onnx.load(of_texts([op("Tile", ["text", "few"], ["a"])], 1900))(x) == 1
    assert lc_onnx.load(of_texts(doubled(3), 1900))(x) == 0


def test_sequences_count_their_tensors():
    split = op("SplitToSequence", ["b", "one"], ["s"], axis=0)
    nodes = [split, op("SequenceAt", ["s", "one"], ["a"])]
    with pytest.raises(ValueError, match=r"\(SplitToSequence\): .* memory_limit"):
        lc_onnx.load(made_of({"b": (2_000_000,)}, nodes))
    assert lc_onnx.load(made_of({"b": (20,)}, nodes))(np.zeros(1, np.float32)) == 1
    whole = [split, op("ConcatFromSequence", ["s"], ["a"], axis=0)]
    assert lc_onnx.load(made_of({"b": (20, 5)}, whole))(np.zeros(1, np.float32)) == 1


def test_sequences_that_are_doubled_again_and_again():
    nodes = []
    for k in range(30):
        nodes += [op("SequenceConstruct", ["b" if k == 0 else f"c{k - 1}"] * 2, [f"s{k}"])]
        nodes += [op("ConcatFromSequence", [f"s{k}"], [f"c{k}" if k < 29 else "a"], axis=0)]
    with pytest.raises(ValueError, match=r"\(\w*Sequence\w*\): .* memory_limit"):
        lc_onnx.load(made_of({"b": (20_000,)}, nodes))
