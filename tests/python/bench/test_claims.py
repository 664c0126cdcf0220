"""The goals, from results that were never measured."""

import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench.environments import OWN

from bench import claims, company, grids, report
from bench_kit import case, make_run, measured, verdict
from lstmcore.config import LSTMConfig
from lstmcore.memory import tape_bytes


@pytest.fixture
def run():
    return make_run()


@pytest.mark.parametrize(("slowest", "holds"), [(1.06, True), (1.04, False)])
def test_every_cell_and_the_mean(run, slowest, holds):
    cells = [case(shape.name) for shape in grids.CELLS]
    run.measurements = []
    for index, one in enumerate(cells):
        ratio = slowest if index == 4 else 2.0**1.25
        run.measurements += [measured(one, OWN, 1e-3), measured(one, "jax", ratio * 1e-3)]
    claim = verdict(run, "inference, 2 threads: every cell")
    assert claim.holds is holds
    assert cells[4].shape.name in claim.measured
    # Eight cells at 2^(5/4) and one at about 1 have a geometric mean of about 2^(10/9).
    assert verdict(run, "inference, 2 threads: geometric mean").holds is True
    assert verdict(run, "training, 2 threads: every cell").holds is None


def test_part_of_the_grid_proves_nothing(run):
    one = case("1x1x32x32")
    run.measurements = [measured(one, OWN, 1e-3), measured(one, "jax", 9e-3)]
    assert verdict(run, "inference, 2 threads: every cell").holds is None
    assert verdict(run, "inference, 2 threads: geometric mean").holds is None


def test_shares_of_each_instruction_set(run):
    one = case("100x32x128x128")
    run.versions["lstmcore@avx2"] = {"isa": "avx2"}
    seconds = one.flops / 280e9
    run.measurements = [measured(one, OWN, seconds), measured(one, "lstmcore@avx2", seconds * 2)]
    assert verdict(run, "inference 100x32x128x128, avx512").holds is True  # 280 of 400
    assert verdict(run, "inference 100x32x128x128, avx2").measured.startswith("0.70")
    run.measurements[0].seconds = [seconds * 1.1]
    assert verdict(run, "inference 100x32x128x128, avx512").holds is False


def test_ragged_is_judged_by_the_data(run):
    ragged, padded = case("ragged-400x64"), case("padded-400x64")
    data = ragged.shape.total_steps / (400 * 64)
    run.measurements = [measured(padded, OWN, 1.0), measured(ragged, OWN, 1.19 * data)]
    assert verdict(run, "ragged-400x64, inference").holds is True
    run.measurements[1].seconds = [1.21 * data]
    assert verdict(run, "ragged-400x64, inference").holds is False


def test_stream_goal_scales_with_the_limit(run):
    assert claims.stream_goal(16, 229.0) == pytest.approx(0.07)
    assert claims.stream_goal(16, 114.5) == pytest.approx(0.14)
    steps = [
        {"dtype": "float32", "inputs": 1, "hidden": 16, "median": 0.08},
        {"dtype": "float32", "inputs": 1, "hidden": 32, "median": 0.2},
    ]
    run.stream = {"isa": "avx512", "steps": steps}  # 200 GF/s per core
    assert verdict(run, "stream in C++, H 16").holds is True
    assert verdict(run, "stream in C++, H 32").holds is False
    assert verdict(run, "stream in C++, H 64").holds is None


def test_small_models_and_overheads(run):
    run.measurements = [
        measured(case("small-models-1", threads=1), OWN, 1.8),
        measured(case("small-models-2", threads=1), OWN, 1.0),
        measured(case("call-overhead", threads=1), OWN, 11e-6),
        measured(case("training-step", "training"), OWN, 1.0, facts={"engine share": 0.91}),
    ]
    assert verdict(run, "small models, inference").holds is True
    assert verdict(run, "small models, training").holds is None
    assert verdict(run, "F.lstm on next to no work").holds is False
    assert verdict(run, "training loop").holds is True


def test_memory_formula_and_goal(run):
    one = case("padded-400x64", "training")
    rows, hidden, inputs, batch = 400 * 64, 256, 128, 64
    tape = 4 * (rows * (6 * hidden + inputs) + batch * 2 * hidden)
    config = LSTMConfig(inputs, hidden)
    assert tape_bytes(config, batch, rows, "avx512", 4) == tape
    outputs = rows * (hidden + inputs) + 2 * batch * 2 * hidden
    weights = 4 * hidden * (4 * (inputs + hidden) + 1)
    backward = 384 * 4 * hidden + 2 * (384 << 10) // 4  # six steps of 64 rows; two threads
    backward += batch * 2 * hidden  # dh and dc of a step
    expected = claims.expected_memory(run, one)
    assert expected == tape + 4 * (outputs + weights + backward)
    run.measurements = [
        measured(one, OWN, 1.0, memory=1.09 * expected),
        measured(one, "pytorch", 1.0, memory=1.05 * expected),
    ]
    start = "memory of training padded-400x64"
    assert verdict(run, f"{start}: the formula").holds is True
    assert verdict(run, f"{start}: below").holds is False
    run.measurements[0].memory = 0.89 * expected
    assert verdict(run, f"{start}: the formula").holds is False


def test_a_run_of_nothing_reaches_no_goal(run):
    assert {claim.holds for claim in claims.claims(run)} == {None}
    assert report.sections(run)


def every_cell(run, ratio):
    run.measurements = []
    for shape in grids.CELLS:
        one = case(shape.name)
        run.measurements += [measured(one, OWN, 1e-3), measured(one, "jax", ratio * 1e-3)]


def test_avx2_has_goals_of_its_own(run):
    every_cell(run, 1.08)
    start = "inference, 2 threads: every cell"
    assert verdict(run, start).holds is True
    run.versions[OWN]["isa"] = "avx2"
    assert verdict(run, start).holds is False
    run.measurements = [measured(case("100x64x256x512"), OWN, 1e-3)]
    assert verdict(run, "inference 100x64x256x512, avx2").goal.endswith("0.85 of the FMA limit")


def test_peers_with_richer_instruction_sets_prove_nothing(run):
    every_cell(run, 9.0)
    run.versions[OWN]["isa"] = "avx2"
    run.settings["isa"] = "avx2"
    assert verdict(run, "inference, 2 threads: every cell").holds is None
    run.settings["peers_isa"] = "avx2"
    assert verdict(run, "inference, 2 threads: every cell").holds is True


def test_goals_in_company(run):
    at_most = company.Result.of("mm-beside-lstm", [1.0, 1.1, 1.2])
    assert (at_most.ratio, at_most.low, at_most.high) == pytest.approx((1.1, 1.05, 1.15))
    at_least = company.Result.of("torch-training", [1.4])
    failed = company.Result("lstm-beside-session", why="onnxruntime is not installed")
    run.company = [vars(result) for result in (at_most, at_least, failed)]
    assert verdict(run, "F.lstm and torch.mm of 800: torch.mm").holds is True
    assert verdict(run, "lstmcore.torch.LSTM in PyTorch's own").holds is False
    missing = verdict(run, "F.lstm and ONNX Runtime: F.lstm")
    assert (missing.holds, missing.measured) == (None, "onnxruntime is not installed")
    table = report.in_company(run)
    assert [row[1] for row in table[1:]] == ["1.40", "1.10", "onnxruntime is not installed"]
