"""How much constants read of others is limited, and how much of them the reference computes."""

import itertools

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx.graph import node_of  # noqa: E402
from lstmcore.onnx.work import multiplications  # noqa: E402
from onnx_kit import branches, ints, make_model, op, tensor, weighty  # noqa: E402
from onnx_kit import without_runtime as block_runtime  # noqa: E402

ADD = [op("ReduceMax", ["a"], ["m"], keepdims=0), op("Add", ["x", "m"], ["y"])]
ZERO = np.zeros(1, np.float32)


def numbers(count):
    """Make the numbers 0, 1, ... as a constant `b`, and what it is made from."""
    made = op("Range", ["zero", "count", "one"], ["b"])
    return made, [tensor("zero", 0.0), tensor("count", float(count)), tensor("one", 1.0)]


def reading(count, node, times, *names):
    """Make a model in which many constants are computed from the same one."""
    made, tensors = numbers(count)
    nodes, results = [made], [f"a{k}" for k in range(times)]
    for k, result in enumerate(results):
        tensors.append(ints(f"k{k}", k + 1))
        nodes.append(op(node, ["b", f"k{k}"], [result, *(f"{name}{k}" for name in names)]))
    nodes += [op("ReduceMax", [result], [f"r{k}"], keepdims=0) for k, result in enumerate(results)]
    nodes.append(op("Max", [f"r{k}" for k in range(times)], ["a"]))
    return make_model([*nodes, *ADD], ["x"], ["y"], tensors)


@pytest.fixture
def runtime_only():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.parametrize(("node", "names"), [("TopK", ["i"]), ("Gather", [])])
def test_constants_read_the_same_one_within_a_limit(runtime_only, node, names):
    """A hundred of them took 380 MiB, in a file of 5 KB."""
    with pytest.raises(ValueError, match=rf"\({node}\): expected constants that read at most 12"):
        lc_onnx.load(reading(700_000, node, 100, *names))
    model = reading(700_000, node, 4, *names)
    assert lc_onnx.load(model)(ZERO) == (699_999 if node == "TopK" else 4)
    with pytest.raises(ValueError, match=r"of others again, got .* memory_limit="):
        lc_onnx.load(reading(700_000, node, 20, *names))
    assert lc_onnx.load(weighty(reading(700_000, node, 20, *names), 1_000_000))(ZERO) > 0
    assert lc_onnx.load(reading(700_000, node, 20, *names), memory_limit=1 << 30)(ZERO) > 0


def test_sizes_of_constants_are_not_reads(runtime_only):
    made, tensors = numbers(2_000_000)
    nodes = [op("Shape", ["b"], [f"s{k}"]) for k in range(20)]
    nodes += [op("Max", [f"s{k}" for k in range(20)], ["n"]), op("Cast", ["n"], ["a"], to=1)]
    model = make_model([made, *nodes, *ADD], ["x"], ["y"], tensors)
    assert lc_onnx.load(model)(ZERO) == 2_000_000


def test_what_a_selection_holds_and_does(runtime_only):
    with pytest.raises(ValueError, match=r"\(TopK\): .* takes at most 12 MiB while it is computed"):
        lc_onnx.load(reading(1_500_000, "TopK", 1, "i"))
    node = node_of(op("TopK", ["b", "k"], ["a", "i"]), 0, 17)
    assert multiplications(node, [[1 << 20], [1]], 2) == 21 << 20


def test_what_is_computed_again_counts_again(runtime_only):
    """A size that numbers decide is found by computing the node, and all before it."""
    nodes = [op("ConstantOfShape", ["n"], ["b"], value=tensor("v", [1.0]))]
    nodes += [op("MatMul", ["b", "b"], ["p"]), op("Slice", ["p", "begin", "end"], ["c"])]
    names = [f"k{k}" for k in range(100)]
    for k, name in enumerate(names):
        nodes += [op("Mul", ["c", name], [f"d{k}"]), op("NonZero", [f"d{k}"], [f"z{k}"])]
        nodes += [op("ReduceMax", [f"z{k}"], [f"r{k}"], keepdims=0)]
    nodes += [op("Max", [f"r{k}" for k in range(100)], ["i"]), op("Cast", ["i"], ["a"], to=1)]
    tensors = [ints("n", 800, 800), ints("begin", 0), ints("end", 3)]
    tensors += [tensor(name, float(k + 1)) for k, name in enumerate(names)]
    with pytest.raises(ValueError, match=r"\(MatMul\): expected at most .* multiplications"):
        lc_onnx.load(make_model([*nodes, *ADD], ["x"], ["y"], tensors))


# ---- the reference implementation ----------------------------------------------------------------


def deciding(nodes, tensors, dtype=np.float64):
    """Make a model with an If whose condition is what the nodes compute, `a`."""
    graphs = branches([op("Identity", ["x"], ["t"])], [op("Neg", ["x"], ["e"])])
    last = [
        op("ReduceMax", ["a"], ["m"], keepdims=0),
        op("Cast", ["m"], ["flag"], to=9),
        op("If", ["flag"], ["y"], **graphs),
    ]
    return make_model([*nodes, *last], ["x"], ["y"], tensors)


def scattered(count, times):
    """Make a model that scatters many numbers, and then resizes, as ONNX Runtime cannot."""
    nodes = [
        op("ConstantOfShape", ["n1"], ["i"], value=tensor("v", [0], np.int64)),
        op("ConstantOfShape", ["n"], ["u"], value=tensor("v", [1.0], np.float64)),
    ]
    names = ["d", *(f"d{k}" for k in range(times))]
    nodes += [
        op("ScatterND", [before, "i", "u"], [after]) for before, after in itertools.pairwise(names)
    ]
    nodes += [
        op("Reshape", [names[-1], "four"], ["b"]),
        op("Resize", ["b", "", "scales"], ["a"], mode="cubic"),
    ]
    tensors = [ints("n1", count, 1), ints("n", count), ints("four", 1, 1, 1, 2)]
    tensors += [tensor("d", [1.0, 2.0], np.float64), tensor("scales", [1.0, 1.0, 1.0, 2.0])]
    return deciding(nodes, tensors)


@pytest.mark.filterwarnings("ignore:.*runs slowly:RuntimeWarning")
@pytest.mark.parametrize("installed", [True, False])
def test_the_reference_computes_few_constants(installed, monkeypatch):
    """Fifteen of these took 13 s of the processor, in a file of a kilobyte."""
    if installed:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    else:
        block_runtime(monkeypatch)
    with pytest.raises(ValueError, match=r"at most 10\d+ steps in the reference .* memory_limit="):
        lc_onnx.load(scattered(100_000, 6))
    assert lc_onnx.load(scattered(1000, 4))(np.ones(1, np.float32)) == 1
    assert lc_onnx.load(weighty(scattered(100_000, 6), 200_000))(np.ones(1, np.float32)) == 1


def test_weights_may_be_computed_by_the_reference(monkeypatch):
    """What the file stores may be turned around, although the runtime is not installed."""
    block_runtime(monkeypatch)
    nodes = [op("ReduceSum", ["w"], ["s"]), op("Abs", ["w"], ["p"]), op("Mul", ["s", "p"], ["a"])]
    model = deciding(nodes, [tensor("w", np.ones(500_000))])
    assert lc_onnx.load(model)(np.ones(1, np.float32)) == 1
