"""Plots: what is drawn, where, and in which files; and that matplotlib's state is unchanged."""

import io
import math
import subprocess
import sys
import textwrap
import types
import xml.etree.ElementTree as ET

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lstmcore import _notebook, plots
from lstmcore.training.history import History

HISTORY = {
    "loss": [0.69, 0.5, 0.3],
    "accuracy": [0.5, 0.7, 0.9],
    "val_loss": [0.6, 0.5, 0.55],
    "val_accuracy": [0.6, 0.7, 0.72],
    "learning_rate": [1e-3, 1e-3, 1e-3],
}


def curves(ax):
    """Return the values of the lines by their labels."""
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines}


def labels(ax):
    return [text.get_text() for text in ax.texts]


def test_a_panel_for_each_metric_with_both_curves():
    axes = plots.learning_curve(HISTORY)
    assert [ax.get_title(loc="left") for ax in axes] == ["loss", "accuracy"]
    assert curves(axes[0]) == {"training": HISTORY["loss"], "validation": HISTORY["val_loss"]}
    assert curves(axes[1])["validation"] == HISTORY["val_accuracy"]
    for ax in axes:
        assert isinstance(ax, Axes)
        assert labels(ax) == ["training", "validation"]
        assert [to_hex(line.get_color()) for line in ax.lines] == [
            plots.TRAINING_COLOUR,
            plots.VALIDATION_COLOUR,
        ]
        assert list(ax.lines[0].get_xdata()) == [1, 2, 3]
        assert all(tick == int(tick) for tick in ax.get_xticks())
    assert axes[0].figure is axes[1].figure
    assert axes[0].figure.get_suptitle() == "Learning curve"


def test_metrics_are_chosen():
    for chosen in ("accuracy", ["accuracy"]):
        (ax,) = plots.learning_curve(HISTORY, metrics=chosen)
        assert ax.get_title(loc="left") == "accuracy"
    axes = plots.learning_curve(HISTORY, metrics=["learning_rate", "loss"])
    assert [ax.get_title(loc="left") for ax in axes] == ["learning rate", "loss"]
    with pytest.raises(ValueError, match="metrics: expected names among loss, accuracy, learn"):
        plots.learning_curve(HISTORY, metrics="val_loss")


def test_many_panels_are_arranged_in_rows():
    values = {f"metric{n}": [1.0, 2.0] for n in range(5)}
    axes = plots.learning_curve(values)
    assert len(axes) == len(axes[0].figure.axes) == 5
    tops = [round(ax.get_position().y1, 3) for ax in axes]
    assert tops[0] == tops[1] == tops[2] > tops[3] == tops[4]


def test_accepts_the_result_of_fit():
    history = History()
    for epoch in range(2, 5):  # as after resumed training
        history.on_epoch_end(epoch, {"loss": 1.0 / epoch})
    for axes in (plots.learning_curve(history), history.plot()):
        assert list(axes[0].lines[0].get_xdata()) == [3, 4, 5]
        assert curves(axes[0]) == {"training": [1 / 2, 1 / 3, 1 / 4]}


def test_draws_into_axes_that_are_given():
    figure = Figure()
    ax = figure.add_subplot()
    assert plots.learning_curve(HISTORY, metrics="loss", ax=ax) == [ax]
    assert set(curves(ax)) == {"training", "validation"}
    both = figure.subplots(1, 2)
    assert plots.learning_curve(HISTORY, ax=both) == list(both)
    with pytest.raises(ValueError, match="title: expected None with ax"):
        plots.learning_curve(HISTORY, metrics="loss", ax=ax, title="Mine")


def test_axes_are_used_as_far_as_they_go():
    grid = Figure().subplots(2, 2)
    assert plots.learning_curve(HISTORY, ax=grid) == list(grid[0])
    assert [bool(ax.lines) for ax in grid.ravel()] == [True, True, False, False]
    one = Figure().add_subplot()
    assert plots.learning_curve(HISTORY, ax=one) == [one]
    assert curves(one)["training"] == HISTORY["loss"]
    chosen = ["loss", "accuracy"]
    for few in (one, [one], []):
        with pytest.raises(
            ValueError, match=r"ax: expected 2 axes, one for each of loss, accuracy"
        ):
            plots.learning_curve(HISTORY, ax=few, metrics=chosen)
    with pytest.raises(ValueError, match="ax: expected 2 axes"):
        plots.learning_curve(HISTORY, ax=[])
    for wrong in (Figure(), [one, None]):
        with pytest.raises(TypeError, match="ax: expected matplotlib's Axes, or several, got"):
            plots.learning_curve(HISTORY, ax=wrong)


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_what_is_drawn_into_given_axes_stays_within_them(layout):
    figure = Figure(figsize=(6.4, 4.8), layout=layout)
    axes = figure.subplots(1, 2)
    plots.learning_curve(HISTORY, ax=axes)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for ax in axes:
        assert labels(ax) == []
        legend = ax.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]
        inside, outside = legend.get_window_extent(renderer), ax.get_window_extent(renderer)
        assert outside.x0 <= inside.x0 < inside.x1 <= outside.x1
        assert outside.y0 <= inside.y0 < inside.y1 <= outside.y1
    for ax in plots.learning_curve(HISTORY):  # these have no other axes next to them
        assert ax.get_legend() is None


def test_a_history_takes_the_same_first_argument(tmp_path):
    history = History()
    for epoch in range(2):
        history.on_epoch_end(epoch, {"loss": 1.0, "accuracy": 0.5})
    assert len(history.plot(tmp_path / "a.pdf")) == 2
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    for draw in (history.plot, lambda name: plots.learning_curve(history, name)):
        with pytest.raises(ValueError, match=r"path: .* file, got 'loss'; .* metrics='loss'"):
            draw("loss")
    assert len(history.plot(metrics="loss")) == 1


def test_axes_of_a_subfigure_are_written_as_a_whole(tmp_path):
    figure = Figure()
    ax = figure.subfigures(1, 2)[0].add_subplot()
    plots.learning_curve(HISTORY, tmp_path / "a.png", metrics="loss", ax=ax)
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("ending", "start"),
    [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")],
)
def test_the_ending_chooses_the_format(ending, start, tmp_path):
    target = tmp_path / "new" / f"curve.{ending}"
    axes = plots.learning_curve(HISTORY, target, title="Mine & <yours> for 5$ or 6$")
    content = target.read_bytes()
    assert content.startswith(start)
    assert len(axes) == 2
    plots.learning_curve(HISTORY, target, title="Mine & <yours> for 5$ or 6$")
    if ending == "pdf":
        assert target.read_bytes() == content  # it contains no date
    if ending == "svg":
        assert ET.parse(target).getroot().tag.endswith("svg")
        assert b"dc:date" not in content


@pytest.mark.parametrize("name", ["curve.xyz", "curve"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"path: expected a name that ends in one of .*\.png.*got"):
        plots.learning_curve(HISTORY, tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()


def test_values_that_are_not_finite_leave_a_gap():
    (ax,) = plots.learning_curve({"loss": [1.0, 0.8, math.nan, 0.5, math.inf]})
    drawn = curves(ax)["training"]
    assert drawn[:2] == [1.0, 0.8]
    assert math.isnan(drawn[2])
    assert math.isnan(drawn[4])
    assert ax.texts[0].xy == (4, 0.5)  # the label is at the last finite point


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([0.5], id="one"),
        pytest.param([0.5] * 4, id="flat"),
        pytest.param([0.0, 0.0], id="zero"),
        pytest.param([math.nan], id="nothing finite"),
        pytest.param([1e-9, 3e-9], id="tiny"),
        pytest.param([1e12, 5e12], id="huge"),
        pytest.param([-3.0, 2.0], id="negative"),
        pytest.param([1 / (1 + epoch) for epoch in range(1000)], id="many epochs"),
    ],
)
def test_every_curve_stays_inside_its_axes(values):
    (ax,) = plots.learning_curve({"loss": values})
    low, high = ax.get_ylim()
    left, right = ax.get_xlim()
    assert all(low < value < high for value in values if math.isfinite(value))
    assert left < 1 <= len(values) < right
    ax.figure.savefig(io.BytesIO(), format="png")
    assert 1 <= len(ax.get_xticks()) <= 12


@pytest.mark.parametrize("last", [0.5, 0.51, 0.49])
def test_labels_of_curves_that_meet_do_not_overlap(last):
    (ax,) = plots.learning_curve({"loss": [1.0, 0.5], "val_loss": [1.0, last]})
    for limits in (ax.get_ylim(), (0.0, 5.0)):  # even after a change of the axis
        ax.set_ylim(limits)
        ax.figure.savefig(io.BytesIO(), format="png")
        one, other = (text.get_window_extent() for text in ax.texts)
        assert not one.overlaps(other)
        assert (one.y0 < other.y0) == (last > 0.5)  # in the vertical order of the lines


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"val_loss": [1.0]}])
def test_nothing_to_draw_is_an_error(history):
    with pytest.raises(ValueError, match=r"history: expected at least one epoch"):
        plots.learning_curve(history)


def test_an_attention_map_has_a_cell_for_each_pair():
    weights = [[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]]
    ax = plots.attention_map(weights, "a<$", ["first $", "2"], title="5$ & 6$")
    (image,) = ax.images
    assert image.get_array().tolist() == weights
    assert image.get_clim() == (0.0, 1.0)
    white, blue = (to_hex(image.to_rgba(np.array([[value]]))[0, 0]) for value in (0.0, 1.0))
    assert (white, blue) == ("#ffffff", plots.TRAINING_COLOUR)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "<", "$"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["first $", "2"]
    assert ax.get_title(loc="left") == "5$ & 6$"
    assert ax.xaxis.get_ticks_position() == "top"
    ax.figure.savefig(io.BytesIO(), format="png")


def test_long_tokens_are_vertical():
    rotations = [
        plots.attention_map([[0.5, 0.5]], source, "x").get_xticklabels()[0].get_rotation()
        for source in ("ab", ["word", "b"])
    ]
    assert rotations == [0, 90]


def test_an_attention_map_is_written_and_goes_into_axes(tmp_path):
    path = tmp_path / "new" / "map.svg"
    ax = Figure().add_subplot()
    assert plots.attention_map([[1.0]], ["a word"], ["x"], path, ax=ax) is ax
    assert ET.parse(path).getroot().tag.endswith("svg")


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


# ---- together with the rest of matplotlib --------------------------------------------------------


def test_nothing_global_changes(tmp_path):
    """Runs in a separate process, since other tests may have imported pyplot here."""
    code = f"""
        import sys
        import matplotlib
        before = dict(dict.items(matplotlib.rcParams))  # reading the backend would choose one
        from lstmcore import plots
        plots.learning_curve({HISTORY!r}, {str(tmp_path / "a.svg")!r})
        plots.attention_map([[1.0]], "a", "b", {str(tmp_path / "b.png")!r})
        assert dict(dict.items(matplotlib.rcParams)) == before
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_the_package_does_not_need_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (
        lambda: plots.learning_curve(HISTORY),
        lambda: plots.attention_map([[1.0]], "a", "b"),
    ):
        with pytest.raises(ImportError, match=r"not installed: pip install matplotlib$"):
            draw()


class Kernel:
    """The part of a notebook's kernel that shows pictures: what happens at the end of a cell."""

    def __init__(self, monkeypatch):
        self.waiting, self.shown = [], []
        self.events = types.SimpleNamespace(
            register=lambda name, call: self.waiting.append((name, call)),
            unregister=lambda name, call: self.waiting.remove((name, call)),
        )
        self.config = {"IPKernelApp": {}}
        ipython = types.ModuleType("IPython")
        ipython.get_ipython = lambda: self
        display = types.ModuleType("IPython.display")
        display.display = self.shown.append
        display.Image = lambda data, format, retina: data
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def end_of_cell(self):
        for name, call in list(self.waiting):
            assert name == "post_execute"
            call()


def test_a_notebook_shows_the_picture_when_the_cell_has_ended(monkeypatch, tmp_path):
    kernel = Kernel(monkeypatch)
    axes = plots.learning_curve(HISTORY, tmp_path / "a.png")
    assert kernel.shown == []
    axes[0].set_title("changed since")
    kernel.end_of_cell()
    assert [data[:4] for data in kernel.shown] == [b"\x89PNG"]
    kernel.end_of_cell()  # the next cell does not show it again
    assert len(kernel.shown) == 1
    plots.attention_map([[1.0]], "a", "b", ax=axes[0])  # the caller's figure
    kernel.end_of_cell()
    assert len(kernel.shown) == 1


def test_a_script_shows_nothing(monkeypatch):
    called = []
    monkeypatch.setattr(plots, "show_after_cell", called.append)
    assert not _notebook.in_notebook()
    plots.learning_curve(HISTORY)
    assert called == []


def test_pictures_look_the_same_in_every_style():
    """Dark text on white, even if the current style is dark."""
    with matplotlib.rc_context({**matplotlib.style.library["dark_background"]}):
        (ax,) = plots.learning_curve({"loss": [1.0, 0.5]})
        found = [ax.figure.get_facecolor(), ax.get_facecolor(), ax.get_xticklabels()[0].get_color()]
        assert [to_hex(colour) for colour in found] == ["#ffffff", "#ffffff", plots.TEXT_COLOUR]
        # In a user's dark figure, the text is light.
        own = Figure().add_subplot()
        plots.learning_curve({"loss": [1.0, 0.5]}, ax=own)
        assert to_hex(own.get_xticklabels()[0].get_color()) == plots.GRID_COLOUR
        assert to_hex(own.get_legend().get_texts()[0].get_color()) == plots.GRID_COLOUR
