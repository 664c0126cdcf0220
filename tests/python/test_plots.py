import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from lstmcore import plots

HISTORY = {
    "loss": [0.69, 0.5, 0.3],
    "accuracy": [0.5, 0.7, 0.9],
    "val_loss": [0.6, 0.5, 0.55],
    "val_accuracy": [0.6, 0.7, 0.72],
    "learning_rate": [1e-3, 1e-3, 1e-3],
}


def elements(document, tag):
    return list(ET.fromstring(document).iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def texts(document):
    return [element.text for element in elements(document, "text")]


def lines(document, colour):
    """The points of every curve of a colour; the first is the legend's."""
    found = [
        re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path.get("d"))
        for path in elements(document, "path")
        if path.get("stroke") == colour
    ]
    return [[(float(x), float(y)) for x, y in points] for points in found][1:]


def test_a_panel_for_each_metric_with_both_curves():
    document = plots.learning_curve(HISTORY, title="Mine & <yours>")

    assert {"Mine & <yours>", "loss", "accuracy", "training", "validation", "epoch"} <= set(
        texts(document)
    )
    assert "learning rate" not in texts(document)
    assert len(lines(document, plots.TRAINING_COLOUR)) == 2
    assert len(lines(document, plots.VALIDATION_COLOUR)) == 2
    assert [text for text in texts(document) if text in ("1", "2", "3")] == ["1", "2", "3"] * 2


def test_curves_pass_through_the_values():
    points = lines(plots.learning_curve({"loss": [0.0, 1.0, 0.25]}), plots.TRAINING_COLOUR)[0]
    (x1, y1), (x2, y2), (x3, y3) = points

    # Larger values stand higher, which is a smaller y; 0.05 is half of the last digit written.
    assert x3 - x2 == pytest.approx(x2 - x1, abs=0.1)
    assert y1 == plots.TOP + plots.PANEL_HEIGHT
    assert y2 == plots.TOP
    assert y3 == pytest.approx(y1 + 0.25 * (y2 - y1), abs=0.05)


def test_takes_what_fit_returns():
    class History:
        history = HISTORY

    assert plots.learning_curve(History()) == plots.learning_curve(HISTORY)


def test_writes_the_file_and_its_folder(tmp_path):
    target = tmp_path / "new" / "curve.svg"
    document = plots.learning_curve(HISTORY, target)
    assert target.read_text(encoding="utf-8") == document


def test_without_validation_the_legend_has_one_entry():
    document = plots.learning_curve({"loss": [1.0, 0.5]})
    assert "training" in texts(document)
    assert "validation" not in texts(document)


def test_values_that_are_not_finite_leave_a_gap():
    document = plots.learning_curve({"loss": [1.0, 0.8, math.nan, 0.5, math.inf, 0.3]})
    assert "nan" not in document
    assert "inf" not in document
    assert len(lines(document, plots.TRAINING_COLOUR)[0]) == 4
    path = elements(document, "path")[-1].get("d")
    assert [command for command in path if command.isalpha()] == ["M", "L", "M", "M"]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([3.0], id="one epoch"),
        pytest.param([0.5, 0.5], id="flat"),
        pytest.param([0.0, 0.0], id="zero"),
        pytest.param([math.nan], id="nothing finite"),
        pytest.param([1e-9, 3e-9], id="tiny"),
        pytest.param([1e12, 5e12], id="huge"),
        pytest.param([-3.0, 2.0], id="negative"),
        pytest.param([1 / (1 + epoch) for epoch in range(1000)], id="many epochs"),
    ],
)
def test_every_curve_stays_inside_its_axes(values):
    document = plots.learning_curve({"loss": values})
    for line in lines(document, plots.TRAINING_COLOUR):
        for x, y in line:
            assert plots.LEFT <= x <= plots.LEFT + plots.PANEL_WIDTH
            assert plots.TOP <= y <= plots.TOP + plots.PANEL_HEIGHT
    assert 2 <= len(elements(document, "text")) <= 30


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.14, 0.7], ["0.0", "0.2", "0.4", "0.6", "0.8"]),
        ([0.52, 0.71], ["0.50", "0.55", "0.60", "0.65", "0.70", "0.75"]),
        ([-1.0, 1.0], ["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
        ([3.0, 14.0], ["0", "5", "10", "15"]),
    ],
)
def test_ticks_are_round_and_span_the_values(values, expected):
    document = plots.learning_curve({"loss": values})
    ticks = [e.text for e in elements(document, "text") if e.get("text-anchor") == "end"]
    assert ticks == expected


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"val_loss": [1.0]}])
def test_nothing_to_draw_is_an_error(history):
    with pytest.raises(ValueError, match=r"history: expected at least one epoch"):
        plots.learning_curve(history)


def test_an_attention_map_has_a_cell_for_each_pair():
    weights = [[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]]
    document = plots.attention_map(weights, "a<b", ["first", "2"], title="Mine & <yours>")
    cells = [cell for cell in elements(document, "rect") if cell.get("class") == "cell"]
    assert [float(cell.get("fill-opacity")) for cell in cells] == [0.25, 0.75, 0, 1, 0, 0]
    # Rows below each other, columns side by side, none beyond the picture.
    places = [(float(cell.get("y")), float(cell.get("x"))) for cell in cells]
    assert places == sorted(places)
    assert len(set(places)) == 6
    root = ET.fromstring(document)
    assert max(x for _, x in places) + plots.CELL <= float(root.get("width"))
    assert max(y for y, _ in places) + plots.CELL <= float(root.get("height"))
    assert {"a", "<", "b", "first", "2", "Mine & <yours>"} <= set(texts(document))


def test_an_attention_map_is_written(tmp_path):
    path = tmp_path / "new" / "map.svg"
    document = plots.attention_map([[1.0]], ["a word"], ["x"], path)
    assert path.read_text(encoding="utf-8") == document


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (
            [[0.5, 0.5]],
            r"weights: expected shape \(1, 3\) for 1 tokens that look at 3, got \(1, 2\)",
        ),
        ([[0.5, 0.6, -0.1]], r"weights: expected numbers in \[0, 1\]"),
        ([[0.5, math.nan, 0.5]], r"weights: expected numbers in \[0, 1\]"),
    ],
)
def test_an_attention_map_refuses(weights, text):
    with pytest.raises(ValueError, match=text):
        plots.attention_map(weights, "abc", "x")
    with pytest.raises(ValueError, match="weights: expected at least one"):
        plots.attention_map(np.zeros((0, 3)), "abc", "")
