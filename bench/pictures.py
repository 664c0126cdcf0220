"""Pictures of measurements with matplotlib: bars, a roofline, and dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "lstmcore": "#2563eb",
    "pytorch": "#ea580c",
    "onnxruntime": "#7c3aed",
    "openvino": "#0d9488",
    "jax": "#65a30d",
    "tensorflow": "#6b7280",
    "keras": "#b45309",
    "ncnn": "#be185d",
    "mnn": "#a21caf",
    "litert": "#ca8a04",
    "keras-jax": "#4d7c0f",
    "keras-torch": "#9a3412",
}
INK = "#374151"
PALE = "#e5e7eb"
GREY = "#9ca3af"
BELOW = "#93c5fd"
WIDTH = 9.0  # inches
ROW = 0.26  # inches, the height of a row of bars or dots


def save(figure: Figure, path: Path) -> None:
    """Write a picture: the same figures always make the same file, and text stays text."""
    import matplotlib

    from lstmcore import plots

    with matplotlib.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        plots.save(figure, path)


def _figure(height: float, title: str) -> tuple[Figure, Axes]:
    from lstmcore import plots

    figure = plots.new_figure(WIDTH, height)
    (ax,) = plots.new_axes(figure)
    plots.tidy(ax)
    figure.suptitle(title, x=0.015, ha="left", color=INK, fontsize=12, fontweight="bold")
    return figure, ax


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart."""

    label: str
    value: float
    note: str
    own: bool = True
    """Whether it is lstmcore's."""


def bars(title: str, rows: Sequence[Bar], mark: float, mark_label: str) -> Figure:
    """Draw horizontal bars with a vertical mark: blue for lstmcore, pale below the mark."""
    figure, ax = _figure(ROW * len(rows) + 1.0, title)
    # Cut bars off at eight times the mark, so that a few long ones do not hide the others.
    longest = min(max([mark * 1.2, *(row.value for row in rows)]), 8 * mark)
    places = range(len(rows))
    ax.barh(
        places,
        [min(row.value, longest) for row in rows],
        height=0.7,
        color=[
            GREY if not row.own else COLOURS["lstmcore"] if row.value >= mark else BELOW
            for row in rows
        ],
    )
    for place, row in zip(places, rows, strict=True):
        end = min(row.value, longest)
        if row.value > longest:  # cut off and labelled
            ax.text(end, place, "// ", ha="right", va="center", color="white", fontsize=9)
        ax.annotate(
            f"{row.value:.2f} {row.note}",
            (end, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            annotation_clip=False,
        )
    ax.axvline(mark, color=INK, linewidth=1.0)
    ax.annotate(
        mark_label,
        (mark, -0.5),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=INK,
        fontsize=9,
        annotation_clip=False,
    )
    ax.set_yticks(places, [row.label for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)  # from top to bottom
    ax.set_xlim(0, longest)
    ax.set_xticks([])  # each bar is labelled
    ax.grid(visible=False)
    ax.spines["bottom"].set_visible(False)
    return figure


@dataclass(frozen=True)
class Point:
    """A point of the roofline picture."""

    intensity: float
    gflops: float
    peer: str


def roofline(
    title: str, points: Sequence[Point], peak: float, bandwidths: Sequence[tuple[str, float]]
) -> Figure:
    """Draw GF/s over operations per byte, with the limits of arithmetic and of each memory."""
    figure, ax = _figure(5.6, title)
    intensities = [point.intensity for point in points] or [1.0]
    left, right = min(0.1, *intensities) / 1.2, max(1000.0, *intensities) * 1.2
    bottom = min([1.0, *(point.gflops for point in points)]) / 1.2
    ax.loglog()
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, peak * 2)
    ax.grid(which="major", color=PALE, linewidth=0.8)
    ax.minorticks_off()
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("floating-point operations per byte that must move", color=INK, fontsize=9)
    ax.set_ylabel("GF/s", color=INK, fontsize=9)
    corners = [left]
    before = float("inf")
    for name, bandwidth in sorted(bandwidths, key=lambda entry: -entry[1]):
        begin, corner = max(left, bottom / bandwidth), peak / bandwidth
        if corner <= left:
            continue
        corners.append(corner)
        ax.plot([begin, corner], [begin * bandwidth, peak], color=INK, linewidth=1.0)
        _along(ax, name, begin, begin * bandwidth, below=before < 1.6 * bandwidth)
        before = bandwidth
    knee = max(min(corners[1:], default=left), left)
    ax.plot([knee, right], [peak, peak], color=INK, linewidth=1.0)
    ax.annotate(
        f"{peak:.0f} GF/s, the limit of multiply-adds",
        (right, peak),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        color=INK,
        fontsize=9,
    )
    for peer in dict.fromkeys(point.peer for point in points):
        own = [point for point in points if point.peer == peer]
        ax.plot(
            [point.intensity for point in own],
            [point.gflops for point in own],
            linestyle="none",
            marker="o",
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.6,
            color=COLOURS.get(peer, INK),
            label=peer,
        )
    if points:
        ax.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=INK, fontsize=9
        )
    return figure


def _along(ax: Axes, name: str, x: float, y: float, *, below: bool) -> None:
    """Write a name along the lower end of a line that rises one decade per decade."""
    ax.annotate(
        name,
        (x, y),
        xytext=(16, 8) if below else (8, 14),
        textcoords="offset points",
        va="top" if below else "baseline",
        color=INK,
        fontsize=9,
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
    )


def dots(title: str, rows: Sequence[str], values: Sequence[tuple[str, float]]) -> Figure:
    """Draw dots on a logarithmic axis: a row for each name; `values` are (name, value)."""
    figure, ax = _figure(ROW * len(rows) + 1.1, title)
    ax.set_xscale("log")
    for name, value in values:
        colour = COLOURS["pytorch"] if name.startswith("PyTorch") else COLOURS["lstmcore"]
        ax.plot(
            value,
            rows.index(name),
            "o",
            color=colour,
            markersize=6.5,
            alpha=0.75,
            markeredgecolor="white",
        )
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="x", color=PALE, linewidth=0.8)
    ax.minorticks_off()
    return figure
