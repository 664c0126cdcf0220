"""The pictures of a benchmark's results."""

import io
import json
import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("bench.shapes", reason="the benchmark is not part of the package")

from bench.environments import ROOT
from matplotlib.colors import to_hex

from bench import accuracy, pictures, report, results


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


@pytest.mark.parametrize("name", ["full", "avx2", "precision"])
def test_committed_pictures_are_those_of_the_committed_runs(name):
    """The documentation has exactly the pictures that the runs have data for."""
    folder = ROOT / "docs" / "performance" / ("" if name == "full" else name)
    loaded = results.load(ROOT / "bench" / "results" / f"{name}.json")
    drawn = {picture for picture, _ in report.drawn(loaded)}
    others = {"accuracy.svg"} if name == "full" else set()
    assert {path.name for path in folder.glob("*.svg")} == drawn | others


def test_errors_are_drawn():
    entries = json.loads((ROOT / "bench" / "results" / "accuracy.json").read_text())
    (ax,) = accuracy.draw(entries).axes
    assert len(ax.lines) == len(entries)
