"""Pictures: just enough SVG for bars and for points between logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

COLOURS = {
    "lstmcore": "#c0392b",
    "pytorch": "#d68910",
    "onnxruntime": "#2471a3",
    "openvino": "#7d3c98",
    "jax": "#1e8449",
    "tensorflow": "#707b7c",
}
INK = "#333333"
PALE = "#cccccc"


@dataclass
class Picture:
    """A drawing of fixed size."""

    width: int
    height: int
    parts: list[str] = field(default_factory=list)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: str = INK) -> None:
        """Draw a line."""
        self.parts.append(
            f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
            f'stroke="{colour}"/>'
        )

    def box(self, corner: tuple[float, float], size: tuple[float, float], colour: str) -> None:
        """Draw a filled rectangle."""
        self.parts.append(
            f'<rect x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{max(size[0], 0):.1f}" '
            f'height="{size[1]:.1f}" fill="{colour}"/>'
        )

    def dot(self, place: tuple[float, float], colour: str, title: str) -> None:
        """Draw a point that tells `title` when pointed at."""
        self.parts.append(
            f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4.5" fill="{colour}" '
            f'fill-opacity="0.8"><title>{escape(title)}</title></circle>'
        )

    def text(
        self, place: tuple[float, float], words: str, anchor: str = "start", size: int = 12
    ) -> None:
        """Write `words`."""
        self.parts.append(
            f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" font-size="{size}" fill="{INK}" '
            f'text-anchor="{anchor}">{escape(words)}</text>'
        )

    def render(self) -> str:
        """Return the file's text."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="sans-serif">'
        )
        background = f'<rect width="{self.width}" height="{self.height}" fill="white"/>'
        return "\n".join([head, background, *self.parts, "</svg>", ""])


@dataclass(frozen=True)
class LogAxis:
    """Values from `low` to `high` on pixels from `start` to `end`, by their logarithm."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the pixel of `value`; what lies outside lands on the edge."""
        value = min(max(value, self.low), self.high)
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return the powers of ten inside."""
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart."""

    label: str
    value: float
    note: str


def bars(title: str, rows: Sequence[Bar], mark: float, mark_label: str) -> str:
    """Return horizontal bars with a vertical mark."""
    left, top, height, right = 250, 60, 24, 230
    picture = Picture(900, top + height * len(rows) + 30)
    # A few giants must not make all others invisible: bars end at eight times the mark.
    longest = min(max([mark * 1.2, *(row.value for row in rows)]), 8 * mark)
    scale = (picture.width - left - right) / longest
    picture.text((16, 26), title, size=16)
    for index, row in enumerate(rows):
        y = top + index * height
        colour = COLOURS["lstmcore"] if row.value >= mark else COLOURS["tensorflow"]
        picture.text((left - 8, y + 15), row.label, "end")
        length = min(row.value, longest) * scale
        picture.box((left, y + 3), (length, height - 6), colour)
        picture.text((left + length + 6, y + 15), f"{row.value:.2f}  {row.note}")
    x = left + mark * scale
    picture.line((x, top - 6), (x, top + height * len(rows)))
    picture.text((x, top - 10), mark_label, "middle")
    return picture.render()


@dataclass(frozen=True)
class Point:
    """A point of the roofline picture."""

    intensity: float
    gflops: float
    peer: str
    title: str


def roofline(
    title: str, points: Sequence[Point], peak: float, bandwidths: Sequence[tuple[str, float]]
) -> str:
    """Return GF/s over operations per byte, under the limits of arithmetic and of each memory."""
    picture = Picture(900, 560)
    intensities = [point.intensity for point in points] or [1.0]
    x = LogAxis(min(0.1, *intensities) / 1.2, max(1000.0, *intensities) * 1.2, 80, 700)
    lowest = min([1.0, *(point.gflops for point in points)])
    y = LogAxis(lowest / 1.2, peak * 2, 500, 60)
    picture.text((16, 26), title, size=16)
    for value in x.ticks():
        picture.line((x.place(value), y.start), (x.place(value), y.end), PALE)
        picture.text((x.place(value), y.start + 18), f"{value:g}", "middle")
    for value in y.ticks():
        picture.line((x.start, y.place(value)), (x.end, y.place(value)), PALE)
        picture.text((x.start - 6, y.place(value) + 4), f"{value:g}", "end")
    picture.text((390, y.start + 40), "floating-point operations a byte that must move", "middle")
    picture.text((16, 48), "GF/s")
    for name, bandwidth in bandwidths:
        begin, corner = max(x.low, y.low / bandwidth), peak / bandwidth
        if corner <= x.low:
            continue
        picture.line((x.place(begin), y.place(begin * bandwidth)), (x.place(corner), y.place(peak)))
        picture.text((x.place(begin) + 6, y.place(begin * bandwidth) - 6), name)
    knee = min([peak / bandwidth for _, bandwidth in bandwidths] or [x.low])
    picture.line((x.place(max(knee, x.low)), y.place(peak)), (x.end, y.place(peak)))
    picture.text((x.end, y.place(peak) - 6), f"{peak:.0f} GF/s", "end")
    for point in points:
        colour = COLOURS.get(point.peer, INK)
        picture.dot((x.place(point.intensity), y.place(point.gflops)), colour, point.title)
    for index, peer in enumerate(dict.fromkeys(point.peer for point in points)):
        picture.dot((720, 80 + 22 * index), COLOURS.get(peer, INK), peer)
        picture.text((732, 84 + 22 * index), peer)
    return picture.render()


def points(title: str, rows: Sequence[str], values: Sequence[tuple[str, str, float]]) -> str:
    """Return dots on a logarithmic axis: one row a name, with (name, what the dot is, value)."""
    left, top, height = 250, 60, 28
    picture = Picture(900, top + height * len(rows) + 50)
    found = [value for _, _, value in values] or [1.0]
    x = LogAxis(min(found) / 2, max(found) * 2, left, picture.width - 30)
    bottom = top + height * len(rows)
    picture.text((16, 26), title, size=16)
    for value in x.ticks():
        picture.line((x.place(value), top), (x.place(value), bottom), PALE)
        picture.text((x.place(value), bottom + 18), f"{value:g}", "middle")
    for index, row in enumerate(rows):
        y = top + index * height + height / 2
        colour = COLOURS["pytorch"] if row.startswith("PyTorch") else COLOURS["lstmcore"]
        picture.text((left - 8, y + 4), row, "end")
        for name, what, value in values:
            if name == row:
                picture.dot((x.place(value), y), colour, f"{what}: {value:.1e}")
    return picture.render()
