"""The benchmark's arithmetic: grids, medians, goals, tables. Nothing is timed."""

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench import (
    accuracy,
    claims,
    controller,
    pictures,
    problem,
    report,
    results,
    shapes,
    statistics,
)
from bench.environments import OWN, ROOT
from matplotlib.colors import to_hex

from lstmcore.config import LSTMConfig
from lstmcore.memory import tape_bytes


def case(name, direction="inference", dtype="float32", threads=2):
    return shapes.Case(shapes.select(name)[0], direction, dtype, threads)


def measured(where, peer, *seconds, **more):
    return results.Measurement(where, peer, seconds=list(seconds), calls=1, **more)


@pytest.fixture
def run():
    """Make a run without measurements, on a machine with known limits."""
    limits = [
        {"isa": isa, "dtype": "float32", "threads": threads, "gflops": 100.0 * threads * factor}
        for threads in (1, 2)
        for isa, factor in (("avx2", 1), ("avx512", 2))
    ]
    return results.Run(
        machine={"processor": "a processor", "cores": 2},
        settings={"repeats": 3},
        versions={OWN: {"lstmcore": "1", "isa": "avx512"}},
        limits={
            "fma": limits,
            "read": [{"level": "L1", "threads": 2, "bytes": 20_000, "gigabytes": 300.0}],
        },
    )


def verdict(run, start, threads=2):
    found = [claim for claim in claims.claims(run, threads) if claim.goal.startswith(start)]
    assert len(found) == 1, [claim.goal for claim in found]
    return found[0]


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


def test_shapes_have_distinct_names_and_reasons():
    names = [shape.name for shape in shapes.SHAPES]
    assert len(names) == len(set(names))
    assert all(shape.reason and shape.kind in shapes.KINDS for shape in shapes.SHAPES)
    assert len([shape for shape in shapes.SHAPES if shape.cell]) == 9


def test_select():
    assert shapes.select("full") == list(shapes.SHAPES)
    options = shapes.select("options")
    assert [shape.name for shape in options if not shape.cost] == [shapes.PLAIN]
    assert [shape.name for shape in shapes.select("projection,1x1x32x32")] == [
        "projection",
        "1x1x32x32",
    ]
    assert len(shapes.select("quick,1x1x32x32")) == len(shapes.select("quick"))
    with pytest.raises(ValueError, match="got 'no-such'"):
        shapes.select("no-such")


def test_choice_leaves_out_meaningless_cases():
    shape = shapes.select("100x32x128x128")[0]
    keys = [c.key for c in shapes.Choice((1, 2), ["training"]).cases([shape])]
    assert keys == [f"{shape.name}/training/{d}/{t}" for t in (1, 2) for d in shapes.DTYPES]
    stream = shapes.select("stream-16")[0]
    assert [c.threads for c in shapes.Choice((2,)).cases([stream])] == [1]
    model = shapes.select("training-step")[0]
    assert shapes.Choice((1,), None, ["float64"]).cases([model]) == []


def test_case_survives_json():
    for name in ("ragged-100x32", "small-models-2", "stacked-bidirectional"):
        one = case(name, "training")
        assert shapes.Case.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_lengths_are_the_same_every_time_and_in_range():
    shape = shapes.select("ragged-400x64")[0]
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
    shape = shapes.select("1x1x32x32")[0]
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
    shape = shapes.select("ragged-100x32")[0]
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


def test_run_survives_json(run, tmp_path):
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


@pytest.mark.parametrize(("slowest", "holds"), [(1.0, True), (0.9, False)])
def test_every_cell_and_the_mean(run, slowest, holds):
    cells = [case(shape.name) for shape in shapes.CELLS]
    run.measurements = []
    for index, one in enumerate(cells):
        ratio = slowest if index == 4 else 2.0**1.25
        run.measurements += [measured(one, OWN, 1e-3), measured(one, "jax", ratio * 1e-3)]
    claim = verdict(run, "inference, 2 threads: every cell")
    assert claim.holds is holds
    assert cells[4].shape.name in claim.measured
    # Eight cells at 2^(5/4) and one at 1 have a geometric mean of 2^(10/9).
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


def test_ragged_goal_follows_the_valid_steps(run):
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


def test_an_empty_run_reaches_no_goal(run):
    assert {claim.holds for claim in claims.claims(run)} == {None}
    assert report.sections(run)


def test_peers_of_a_case():
    asked = controller.asked_peers(None)
    assert asked[0] == OWN
    common = controller.peers_of(case("100x32x128x128"), asked, "")
    assert common[:2] == [OWN, "lstmcore@avx2"]
    assert "keras" not in common
    double = controller.peers_of(case("100x32x128x128", dtype="float64"), asked, "")
    assert "lstmcore@avx2" not in double
    step = controller.peers_of(case("training-step", "training"), asked, "")
    assert step == [OWN, "pytorch", "keras"]
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


# ---- pictures ------------------------------------------------------------------------------------


def texts(figure):
    """Return the texts of a figure, except axes' numbers, after checking that none is cut off."""
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    (ax,) = figure.axes
    rows = ax.get_yticklabels() if ax.get_yscale() == "linear" else []
    found = [*ax.texts, *rows, figure._suptitle]
    for text in found:
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1 + 1, text
    return [text.get_text() for text in found if text.get_text()]


def test_bars_are_as_long_as_their_values_up_to_a_limit():
    rows = [
        pictures.Bar("slower", 0.5, "x a"),
        pictures.Bar("faster", 2.0, "x b, 1.00 ms"),
        pictures.Bar("another's", 3.0, "x", own=False),
        pictures.Bar("a giant", 100.0, "x c"),
    ]
    figure = pictures.bars("Speed", rows, 1.0, "best peer")
    (ax,) = figure.axes
    assert [bar.get_width() for bar in ax.patches] == [0.5, 2.0, 3.0, 8.0]
    colours = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    blue = pictures.COLOURS["lstmcore"]
    assert colours == [pictures.BELOW, blue, pictures.GREY, blue]
    written = texts(figure)
    for text in ("Speed", "best peer", "slower", "0.50 x a", "2.00 x b, 1.00 ms", "100.00 x c"):
        assert text in written
    assert [text.strip() for text in written].count("//") == 1  # the largest bar is cut off
    (mark,) = ax.lines
    assert list(mark.get_xdata()) == [1.0, 1.0]
    assert ax.yaxis_inverted()  # the first row is at the top


def test_roofline_has_the_limits_and_the_points():
    points = [pictures.Point(50.0, 100.0, "lstmcore"), pictures.Point(0.5, 2.0, "jax")]
    limits = [("L1", 400.0), ("DRAM", 20.0), ("fast", 1e9)]
    figure = pictures.roofline("One layer", points, 200.0, limits)
    (ax,) = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    assert lines["lstmcore"] == [[50.0, 100.0]]
    assert lines["jax"] == [[0.5, 2.0]]
    ends = [line.get_xydata()[-1].tolist() for line in ax.lines[:3]]
    assert ends[:2] == [[0.5, 200.0], [10.0, 200.0]]  # where the memory and arithmetic limits meet
    assert ends[2][1] == 200.0
    written = texts(figure)
    assert "L1" in written
    assert "DRAM" in written
    assert "fast" not in written  # it is never the limit
    assert "200 GF/s, the limit of multiply-adds" in written
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["lstmcore", "jax"]


def test_dots_lie_in_the_rows_of_their_names():
    figure = pictures.dots("Errors", ["fp32", "PyTorch float32"], [("PyTorch float32", 1e-7)])
    (ax,) = figure.axes
    assert ax.lines[0].get_xydata().tolist() == [[1e-7, 1.0]]
    assert to_hex(ax.lines[0].get_color()) == pictures.COLOURS["pytorch"]
    assert {"Errors", "fp32", "PyTorch float32"} <= set(texts(figure))


def test_a_picture_is_the_same_file_each_time_and_its_text_is_text(tmp_path):
    contents = []
    for _ in range(2):
        figure = pictures.bars("Title", [pictures.Bar("a & b", 1.5, "x c")], 1.0, "best peer")
        pictures.save(figure, tmp_path / "bars.svg")
        contents.append((tmp_path / "bars.svg").read_text())
    assert contents[0] == contents[1]
    found = ET.fromstring(contents[0]).iter("{http://www.w3.org/2000/svg}text")
    assert {"Title", "a & b", "1.50 x c"} <= {"".join(text.itertext()) for text in found}


@pytest.mark.parametrize("name", ["full", "precision"])
def test_committed_pictures_are_those_of_the_committed_runs(name):
    """The documentation has exactly the pictures that the runs have data for."""
    folder = ROOT / "docs" / "performance" / ("precision" if name == "precision" else "")
    loaded = results.load(ROOT / "bench" / "results" / f"{name}.json")
    drawn = {picture for picture, _ in report.drawn(loaded)}
    others = {"accuracy.svg"} if name == "full" else set()
    assert {path.name for path in folder.glob("*.svg")} == drawn | others


def test_errors_are_drawn():
    entries = json.loads((ROOT / "bench" / "results" / "accuracy.json").read_text())
    (ax,) = accuracy.draw(entries).axes
    assert len(ax.lines) == len(entries)


def test_smaller_keeps_the_kind_of_work():
    small = shapes.smaller(case("ragged-400x64", "training"))
    assert (small.shape.steps, small.shape.batch, small.shape.hidden) == (2, 2, 5)
    assert small.shape.lengths().max() <= 2
    assert replace(small, shape=case("ragged-400x64").shape) == case("ragged-400x64", "training")
