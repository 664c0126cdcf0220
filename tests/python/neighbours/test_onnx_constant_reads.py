"""How much constants read of others is limited, and how much of them the reference computes."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from lstmcore import onnx as lc_onnx  # noqa: E402
from lstmcore.onnx.graph import node_of  # noqa: E402
from lstmcore.onnx.work import multiplications  # noqa: E402
from onnx_constant_kit import ADD, computed_again, deciding, reading, scattered  # noqa: E402
from onnx_kit import ints, make_model, op, tensor, weighty  # noqa: E402
from onnx_kit import without_runtime as block_runtime  # noqa: E402

ZERO = np.zeros(1, np.float32)


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
    nodes = [op("ConstantOfShape", ["n"], ["b"])]
    nodes += [op("Shape", ["b"], [f"s{k}"]) for k in range(20)]
    nodes += [op("Max", [f"s{k}" for k in range(20)], ["most"]), op("Cast", ["most"], ["a"], to=1)]
    model = make_model([*nodes, *ADD], ["x"], ["y"], [ints("n", 2_000_000)])
    assert lc_onnx.load(model)(ZERO) == 2_000_000


def test_what_a_selection_holds_and_does(runtime_only):
    with pytest.raises(ValueError, match=r"\(TopK\): .* takes at most 12 MiB while it is computed"):
        lc_onnx.load(reading(1_500_000, "TopK", 1, "i"))
    node = node_of(op("TopK", ["b", "k"], ["a", "i"]), 0, 17)
    assert multiplications(node, [[1 << 20], [1]], 2) == 21 << 20


def test_powers_take_longer_than_multiplications():
    pools = [node_of(op(kind, kernel_shape=[5]), 0, 17) for kind in ("MaxPool", "LpPool")]
    counts = [multiplications(pool, [[1, 1, 1000]], 996) for pool in pools]
    assert counts == [5000, 40_000]


def test_what_is_computed_again_counts_again(runtime_only):
    """A size that numbers decide is found by computing the node, and all before it."""
    with pytest.raises(ValueError, match=r"\(MatMul\): expected at most .* multiplications"):
        lc_onnx.load(computed_again(800, 100))


# ---- the reference implementation ----------------------------------------------------------------


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
