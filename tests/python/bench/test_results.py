"""The benchmark's arithmetic: grids, medians, digests, tables. Nothing is timed."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench.environments import OWN

from bench import controller, grids, problem, report, results, shapes, statistics
from bench_kit import case, make_run, measured


@pytest.fixture
def run():
    """Make a run in which lstmcore takes 1 ms for everything, with known shares of the peak."""
    return make_run()


def test_quantiles_lie_between_neighbours():
    values = [4.0, 1.0, 3.0, 2.0]
    assert statistics.median(values) == 2.5
    assert statistics.median([3.0, 9.0, 1.0]) == 3.0
    assert statistics.quantile(values, 0.0) == 1.0
    assert statistics.quantile(values, 1.0) == 4.0
    assert statistics.quantile(values, 0.25) == 1.75
    with pytest.raises(ValueError, match="values: expected at least one"):
        statistics.median([])


def test_geometric_mean():
    assert statistics.geometric_mean([1.0, 4.0]) == pytest.approx(2.0, rel=1e-15)
    with pytest.raises(ValueError, match="expected positive numbers, got 0"):
        statistics.geometric_mean([1.0, 0.0])
    with pytest.raises(ValueError, match="expected at least one"):
        statistics.geometric_mean([])


def test_shapes_have_names_of_their_own_and_reasons():
    names = [shape.name for shape in grids.SHAPES]
    assert len(names) == len(set(names))
    assert all(shape.reason and shape.kind in shapes.KINDS for shape in grids.SHAPES)
    assert len([shape for shape in grids.SHAPES if shape.cell]) == 9


def test_select():
    assert grids.select("full") == list(grids.SHAPES)
    options = grids.select("options")
    assert [shape.name for shape in options if not shape.cost] == [grids.PLAIN]
    assert [shape.name for shape in grids.select("projection,1x1x32x32")] == [
        "projection",
        "1x1x32x32",
    ]
    assert len(grids.select("quick,1x1x32x32")) == len(grids.select("quick"))
    with pytest.raises(ValueError, match="got 'no-such'"):
        grids.select("no-such")


def test_choice_keeps_what_alone_makes_sense():
    shape = grids.select("100x32x128x128")[0]
    keys = [c.key for c in grids.Choice((1, 2), ["training"]).cases([shape])]
    assert keys == [f"{shape.name}/training/{d}/{t}" for t in (1, 2) for d in shapes.DTYPES]
    stream = grids.select("stream-16")[0]
    assert [c.threads for c in grids.Choice((2,)).cases([stream])] == [1]
    model = grids.select("training-step")[0]
    assert grids.Choice((1,), None, ["float64"]).cases([model]) == []


def test_case_goes_through_json():
    for name in ("ragged-100x32", "small-models-2", "stacked-bidirectional"):
        one = case(name, "training")
        assert shapes.Case.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_lengths_are_the_same_every_time_and_in_range():
    shape = grids.select("ragged-400x64")[0]
    lengths = shape.lengths()
    assert np.array_equal(lengths, shape.lengths())
    assert lengths.shape == (64,)
    assert lengths.min() >= 40
    assert lengths.max() <= 400
    assert shape.total_steps == lengths.sum()


def test_flops_count_products():
    assert case("100x32x128x128").flops == 2 * 100 * 32 * 512 * 256
    assert case("100x32x128x128", "training").flops == 3 * 2 * 100 * 32 * 512 * 256
    layers = 2 * (2 * 512 * 256) + 2 * (2 * 512 * (256 + 128))
    assert case("stacked-bidirectional").flops == 3200 * layers
    projected = 2 * 1024 * (128 + 64) + 2 * 256 * 64
    assert case("projection").flops == 3200 * projected


def test_layouts_of_weights():
    shape = grids.select("1x1x32x32")[0]
    weights = problem.make_weights(shape, "float64")
    hidden = shape.hidden
    i, f, g, o = np.split(weights["weight_ih_l0"], 4)
    assert np.array_equal(
        problem.gates(weights["weight_ih_l0"], "iofg"), np.concatenate([i, o, f, g])
    )
    kernel, recurrent, bias = problem.keras_weights(weights, "_l0")
    assert kernel.shape == (shape.inputs, 4 * hidden)
    assert np.array_equal(recurrent, weights["weight_hh_l0"].T)
    assert bias.shape == (4 * hidden,)
    w, r, b = problem.onnx_weights(weights, ["_l0"])
    assert w.shape == (1, 4 * hidden, shape.inputs)
    assert r.shape == (1, 4 * hidden, hidden)
    assert b.shape == (1, 8 * hidden)
    assert not b[:, 4 * hidden :].any()


def test_digest_sees_permutations_and_ignores_padding():
    shape = grids.select("ragged-100x32")[0]
    y = np.random.default_rng(0).standard_normal((32, 100, 4))
    first = problem.digest(shape, y)
    assert problem.digest(shape, y[:, :, ::-1]) != pytest.approx(first, rel=1e-6)
    other = y.copy()
    other[np.arange(100) >= shape.lengths()[:, None]] = 7
    assert problem.digest(shape, other) == first


def test_measurement_and_ratio(run):
    one = case("100x32x128x128")
    own = measured(one, OWN, 1e-3, 3e-3, 2e-3)
    run.measurements = [
        own,
        measured(one, "lstmcore@avx2", 1e-4),
        measured(one, "pytorch", 6e-3),
        measured(one, "jax", 3e-3),
        results.Measurement(one, "openvino", status="absent", why="not installed"),
    ]
    assert own.median == 2e-3
    assert own.spread == pytest.approx(0.5)
    assert own.gflops == pytest.approx(one.flops / 2e-3 / 1e9)
    assert run.best_peer(one).peer == "jax"
    assert run.ratio(one) == pytest.approx(1.5)
    assert run.share(own) == pytest.approx(own.gflops / 400)


def test_run_goes_through_json(run, tmp_path):
    run.measurements = [measured(case("ragged-100x32", "training"), OWN, 1.0, digest={"y": 2.0})]
    path = tmp_path / "deep" / "run.json"
    run.save(path)
    assert results.load(path) == run
    path.write_text("{}")
    with pytest.raises(ValueError, match="of format 1"):
        results.load(path)


def test_disagreement_names_the_peer():
    one = case("100x32x128x128")
    digest = {"y": 100.0, "y by place": 3.0}
    found = [
        measured(one, OWN, 1.0, digest=digest),
        measured(one, "jax", 1.0, digest={"y": 100.01, "y by place": 3.01}),
        measured(one, "pytorch", 1.0, digest={"y": 100.0, "y by place": 4.0}),
    ]
    assert results.disagreements(found) == ["pytorch (y by place)"]


def test_shortest_time(run):
    peak = run.limit(run.isa(), "float32", 2)
    many_rows = case("100x32x128x128", "inference")
    assert run.shortest(many_rows) == pytest.approx(many_rows.flops / peak * 1e-9)
    one_row = case("100x1x128x256", "training")
    reading = 2 * 100 * 4 * 256 * 256 * 4 / 300e9
    assert run.shortest(one_row) == pytest.approx(reading)
    one_step = case("1x1x128x256", "inference")
    assert run.shortest(one_step) == pytest.approx(4 * 256 * (256 + 128) * 4 / 300e9)
    assert run.shortest(case("call-overhead", "inference", threads=1)) is None


def test_peers_of_a_case():
    asked = controller.asked_peers(None)
    assert asked[0] == OWN
    common = controller.peers_of(case("100x32x128x128"), asked, "")
    assert common[:2] == [OWN, "lstmcore@avx2"]
    assert "keras" not in common
    assert {"ncnn", "mnn", "litert", "keras-jax", "keras-torch"} <= set(common)
    assert "keras-jax" not in controller.peers_of(case("1x1x32x32"), asked, "")
    assert "lstmcore@avx2" not in controller.peers_of(case("100x32x128x128"), asked, "avx2")
    double = controller.peers_of(case("100x32x128x128", dtype="float64"), asked, "")
    assert "lstmcore@avx2" not in double
    step = controller.peers_of(case("training-step", "training"), asked, "")
    assert step == [OWN, "pytorch", "keras", "keras-jax", "keras-torch"]
    with pytest.raises(ValueError, match="got 'numpy'"):
        controller.asked_peers(["numpy"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.50 s"), (0.0123, "12.3 ms"), (1e-3, "1.00 ms"), (4.2e-7, "0.420 us")],
)
def test_duration(seconds, text):
    assert report.duration(seconds) == text


def test_report_writes_tables_and_pictures(run, tmp_path):
    one = case("100x32x128x128")
    run.foreign = [0.01, 0.02, 0.5]
    run.measurements = [measured(one, OWN, 1e-3), measured(one, "jax", 2e-3)]
    names = {path.name for path in report.write(run, tmp_path)}
    assert names == {"tables.md", "ratio-inference-2.svg", "roofline-2.svg"}
    tables = (tmp_path / "tables.md").read_text()
    assert "| 100 x 32 x 128 x 128 |" in tables
    assert "**1.00 ms**" in tables
    assert "2.00 ms" in report.terminal(run)
    assert "= 2.00 x best peer" in report.case_line(run, one)


def test_smaller_keeps_the_kind_of_work():
    small = shapes.smaller(case("ragged-400x64", "training"))
    assert (small.shape.steps, small.shape.batch, small.shape.hidden) == (2, 2, 5)
    assert small.shape.lengths().max() <= 2
    assert replace(small, shape=case("ragged-400x64").shape) == case("ragged-400x64", "training")


def test_brief_choice_measures_only_cells_on_every_thread_count():
    chosen = grids.select("1x1x32x32,projection,stream-16")
    cases = grids.Choice((1, 2), ["inference"], brief=True).cases(chosen)
    assert [(c.shape.name, c.threads) for c in cases] == [
        ("1x1x32x32", 1),
        ("stream-16", 1),
        ("1x1x32x32", 2),
        ("projection", 2),
    ]


def test_company_has_the_training_step():
    assert [shape.name for shape in grids.select("company")] == ["training-step"]
