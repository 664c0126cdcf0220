"""What peers are told: the layouts of models that the benchmark writes for them."""

import sys
from importlib import import_module
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench.shapes import ALL_PEERS, KERAS

from bench import environments, grids, problem, worker
from bench_kit import case


@pytest.fixture
def ncnn(monkeypatch):
    """Import the module of a peer that need not be installed."""
    monkeypatch.setitem(sys.modules, "ncnn", ModuleType("ncnn"))
    monkeypatch.delitem(sys.modules, "bench.runners.ncnn", raising=False)
    yield import_module("bench.runners.ncnn")
    sys.modules.pop("bench.runners.ncnn", None)


def test_every_peer_has_a_module_and_an_environment():
    for peer in (*ALL_PEERS, *KERAS):
        module = environments.ROOT / "bench" / "runners" / f"{worker.module_name(peer)}.py"
        assert module.exists(), peer
        assert environments.interpreter(peer).parts[-3] in environments.REQUIREMENTS


def test_ncnn_reads_two_layers_in_both_directions(ncnn):
    shape = grids.select("stacked-bidirectional")[0]
    first, second = ncnn.description(shape).splitlines()[3:]
    assert first == f"LSTM lstm0 1 1 x y0 0=128 1={2 * 512 * 128} 2=2"
    assert second == f"LSTM lstm1 1 1 y0 y 0=128 1={2 * 512 * 256} 2=2"
    weights = problem.make_weights(shape, "float32")
    numbers = sum(array.size for array in weights.values())
    assert len(ncnn.weight_bytes(shape, weights)) == 4 * numbers + 2 * 3 * 4


def test_ncnn_orders_gates_i_f_o_g(ncnn):
    shape = grids.select("1x1x32x32")[0]
    weights = problem.make_weights(shape, "float32")
    i, f, g, o = np.split(weights["weight_ih_l0"], 4)
    written = np.frombuffer(ncnn.weight_bytes(shape, weights), "<f4")
    assert np.array_equal(written[1 : 1 + 4 * 32 * 32], np.concatenate([i, f, o, g]).ravel())


@pytest.mark.parametrize("name", ["100x32x128x128", "projection", "ragged-100x32"])
def test_ncnn_refuses_batches_and_options(ncnn, name):
    with pytest.raises(ncnn.Unsupported):
        ncnn.NcnnRunner(1).prepare(case(name))


def test_litert_writes_what_it_reads():
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    litert = import_module("bench.runners.litert")
    one = case("1x1x32x32")
    sums = litert.LiteRtRunner(1).prepare(one).digest()
    lstmcore = import_module("bench.runners.lstmcore").LstmcoreRunner().prepare(one).digest()
    assert sums == pytest.approx(lstmcore, rel=1e-5)
