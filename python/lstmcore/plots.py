"""Plot training, attention and forecasts with matplotlib (``pip install matplotlib``).

Every function draws into given axes, or into a new figure, and returns the axes; their ``figure``
can be changed and saved in any format. A notebook shows new figures below the cell. Nothing here
uses pyplot, so no window opens and no setting changes.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from lstmcore import _checks
from lstmcore._extras import how_to_install
from lstmcore._files import check_target
from lstmcore._notebook import in_notebook, show_after_cell
from lstmcore._suggest import public
from lstmcore._time_axis import places_on_axis, shorten_dates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["attention_map", "backtest", "forecast_fan", "learning_curve"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = public(__name__, __all__)

TRAINING_COLOUR = "#2563eb"
VALIDATION_COLOUR = "#ea580c"
GRID_COLOUR = "#e5e7eb"
TEXT_COLOUR = "#374151"

COLOURS = (TRAINING_COLOUR, VALIDATION_COLOUR)
PANEL_SIZE = (4.6, 3.2)  # inches
WIDE = (7.2, 3.2)  # inches, of pictures of series
MOST_COLUMNS = 3  # panels side by side
MOST_MARKERS = 40  # with more epochs, lines without markers are clearer
CELL = 0.27  # inches, the width of a map's cell
LETTER = 0.09  # inches, the width of a letter of a map's labels
LINE = 12.0  # points, the minimum distance between labels
DPI = 150  # of bitmap formats


class HistoryLike(Protocol):
    """The result of `fit`."""

    @property
    def history(self) -> Mapping[str, Sequence[float]]:
        """Values of every epoch, by name."""


def learning_curve(
    history: HistoryLike | Mapping[str, Sequence[float]],
    path: str | os.PathLike[str] | None = None,
    *,
    metrics: str | Sequence[str] | None = None,
    title: str | None = None,
    ax: "Axes | Sequence[Axes] | None" = None,
) -> "list[Axes]":
    """Draw loss and metrics by epoch, one panel each, with training and validation.

    Parameters
    ----------
    history : History or mapping of str to sequence of float
        The result of `fit`, or its ``history``: one value per epoch for each name. ``val_*`` shares
        the panel of the name without the prefix. Values that are not finite leave a gap. Lines are
        labelled at their ends; in axes that you pass, by a legend, since neighbouring axes may
        leave no room.
    path : path-like, optional
        File for the picture, in the format of its ending: ``.png``, ``.svg``, ``.pdf``, ... Missing
        folders are created.
    metrics : str or sequence of str, optional
        Names of the panels, in order. None: all except learning rates, or as many as `ax` has room
        for.
    title : str, optional
        Title above the panels; None: "Learning curve". Not allowed with `ax`, whose figure is
        yours.
    ax : Axes, or sequence or array of Axes, optional
        Axes to draw in, one for each panel; surplus axes are not changed. None: a new figure, which
        a notebook shows.

    Returns
    -------
    list of Axes
        One for each panel; ``axes[0].figure`` is the figure.

    Raises
    ------
    TypeError
        If `history` is no History, or `ax` holds anything but axes.
    ValueError
        If there is no epoch to draw, a name is unknown, or there are fewer axes than `metrics`.
    ImportError
        If matplotlib is not installed.
    """
    values = history if isinstance(history, Mapping) else getattr(history, "history", None)
    if not isinstance(values, Mapping) or not all(
        isinstance(name, str) and hasattr(entry, "__len__") for name, entry in values.items()
    ):
        raise TypeError(f"history: expected a History, got {_checks.describe(history)}")
    names = _panels(values, metrics)
    if isinstance(path, str) and path in values:
        raise ValueError(
            f"path: expected the name of a file, got {path!r}; for that panel alone pass "
            f"metrics={path!r}"
        )
    if ax is None:
        axes = _new_axes(len(names), "Learning curve" if title is None else title)
    else:
        axes = _given_axes(ax)
        if metrics is None and axes:  # no axes at all is an error
            names = names[: len(axes)]
        if len(axes) < len(names):
            raise ValueError(
                f"ax: expected {len(names)} axes, one for each of {', '.join(names)}, got "
                f"{len(axes)}; choose the panels with metrics"
            )
        axes = axes[: len(names)]
        if title is not None:
            raise ValueError(
                f"title: expected None with ax, whose figure has a title of its own, got {title!r}"
            )
    epochs = [number + 1 for number in getattr(history, "epoch", ())]
    for panel, name in zip(axes, names, strict=True):
        ends = _draw_panel(panel, name, values[name], values.get(f"val_{name}", ()), epochs)
        if ax is None:
            _label_ends(panel, ends)
        elif ends:
            panel.legend(frameon=False, fontsize=9, labelcolor=inks(panel)[0])
    _finish(axes[0], path, ax is None)
    return axes


def attention_map(
    weights: npt.ArrayLike,
    source: Sequence[str],
    target: Sequence[str],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Attention",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the attention of each token of a target as a row of cells.

    Parameters
    ----------
    weights : array_like, shape (S, T)
        Weights in 0 .. 1, such as `Hypothesis.attention`; darker is more.
    source : sequence of str
        Labels of the T columns; a string stands for its characters.
    target : sequence of str
        Labels of the S rows.
    path : path-like, optional
        As in `learning_curve`.
    title : str, default "Attention"
        Title above the map.
    ax : Axes, optional
        Axes to draw in. None: a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the shape does not match the labels, there is no cell, or a weight is not in 0 .. 1.
    ImportError
        If matplotlib is not installed.
    """
    cells = np.asarray(weights, np.float64)
    if cells.shape != (len(target), len(source)):
        raise ValueError(
            f"weights: expected shape ({len(target)}, {len(source)}) for {len(target)} tokens that "
            f"look at {len(source)}, got {cells.shape}"
        )
    if cells.size == 0:
        raise ValueError(f"weights: expected at least one, got shape {cells.shape}")
    if not (cells.min() >= 0 and cells.max() <= 1 + 1e-6):  # refuses NaN too
        raise ValueError(f"weights: expected numbers in [0, 1], got {cells.min()} to {cells.max()}")

    made = ax is None
    if ax is None:
        width = CELL * len(source) + LETTER * max(map(len, target)) + 0.4
        height = CELL * len(target) + LETTER * max(map(len, source)) + 0.6
        (ax,) = new_axes(new_figure(max(width, 2.0), height))
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("attention", ["#ffffff", TRAINING_COLOUR])
    ax.imshow(cells, cmap=shades, vmin=0.0, vmax=1.0, interpolation="nearest")
    ax.xaxis.tick_top()
    upright = all(len(text) == 1 for text in source)
    ax.set_xticks(range(len(source)), list(source), rotation=0 if upright else 90, parse_math=False)
    ax.set_yticks(range(len(target)), list(target), parse_math=False)
    ax.set_xticks(np.arange(len(source) + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(target) + 1) - 0.5, minor=True)
    text, pale = inks(ax)
    ax.grid(which="minor", color=pale, linewidth=0.8)
    ax.tick_params(which="both", length=0, colors=text, labelsize=9)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(title, loc="left", color=text, fontsize=11, fontweight="bold", parse_math=False)
    _finish(ax, path, made)
    return ax


def forecast_fan(
    history: npt.ArrayLike,
    forecast: npt.ArrayLike,
    intervals: Mapping[float, npt.ArrayLike] | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    dates: npt.ArrayLike | None = None,
    truth: npt.ArrayLike | None = None,
    title: str = "Forecast",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a forecast after the steps that it continues, in a fan of intervals.

    Parameters
    ----------
    history : array_like, shape (T,)
        The last steps before the forecast.
    forecast : array_like, shape (h,)
    intervals : mapping of float to array_like, shape (h, 2)
        Lower and upper bounds by coverage, such as `LSTMForecaster.predict_interval` returns; the
        narrower, the darker.
    path : path-like, optional
        As in `learning_curve`.
    dates : array_like, shape (T + h,), optional
        Labels of all steps: numbers, dates or texts. None: 0 is the last step of the history.
    truth : array_like, shape (h,), optional
        The values that came true.
    title : str, default "Forecast"
        Title above the picture.
    ax : Axes, optional
        Axes to draw in. None: a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If shapes do not match, or there is no step.
    ImportError
        If matplotlib is not installed.
    """
    known, ahead = _array(history, "history", (None,)), _array(forecast, "forecast", (None,))
    size = len(ahead)
    fan = {share: _array(pair, "intervals", (size, 2)) for share, pair in (intervals or {}).items()}
    after = None if truth is None else _array(truth, "truth", (size,))
    total = len(known) + len(ahead)
    steps = np.arange(total) - len(known) + 1
    times = steps if dates is None else np.asarray(dates)
    if times.shape != (total,):
        raise ValueError(
            f"dates: expected shape ({total},), for {len(known)} steps of history and {len(ahead)} "
            f"of the forecast, got {times.shape}"
        )

    made = ax is None
    if ax is None:
        (ax,) = new_axes(new_figure(*WIDE))
    text, _ = inks(ax)
    times = places_on_axis(ax, times, steps)
    later = times[len(known) :]
    for place, share in enumerate(sorted(fan, reverse=True)):
        shade = 0.35 * (place + 1) / len(fan)
        label = f"{share:.0%} interval"
        ax.fill_between(
            later, *fan[share].T, color=TRAINING_COLOUR, alpha=shade, linewidth=0, label=label
        )
    ax.plot(times[: len(known)], known, color=text, linewidth=1.2, label="history")
    if after is not None:
        ax.plot(later, after, color=text, linewidth=1.2, linestyle=":", label="true")
    ax.plot(later, ahead, color=TRAINING_COLOUR, linewidth=1.8, label="forecast")
    _explain_lines(ax, title)
    _finish(ax, path, made)
    return ax


def backtest(
    result: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    names: Sequence[str] = ("LSTM",),
    target: int = 0,
    title: str = "Backtest",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the forecasts of a backtest beside the true values, each from its origin.

    Parameters
    ----------
    result : Backtest
        The result of `LSTMForecaster.backtest`. The intervals of the first name are shaded. Steps
        lie at their dates or numbers; with other labels, such as texts, one after the other.
    path : path-like, optional
        As in `learning_curve`.
    names : sequence of str, default ("LSTM",)
        Forecasts to draw, among those of `result`.
    target : int, default 0
        Which of K targets.
    title : str, default "Backtest"
        Title above the picture.
    ax : Axes, optional
        Axes to draw in. None: a new figure, which a notebook shows.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a name or the target does not exist.
    ImportError
        If matplotlib is not installed.
    """
    if not hasattr(result, "forecasts"):
        raise TypeError(f"result: expected a Backtest, got {_checks.describe(result)}")
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in result.forecasts]
    if unknown or not names:
        known = ", ".join(map(repr, result.forecasts))
        raise ValueError(f"names: expected some of {known}, got {unknown or names}")
    width = result.true.shape[-1]
    if not 0 <= target < width:
        raise ValueError(f"target: expected 0 to {width - 1}, got {target}")

    made = ax is None
    if ax is None:
        (ax,) = new_axes(new_figure(*WIDE))
    text, _ = inks(ax)
    steps = np.asarray(result.origins)[:, None] + np.arange(result.true.shape[1])
    drawn, first = np.unique(steps, return_index=True)
    times = places_on_axis(ax, np.asarray(result.dates).ravel()[first], drawn)
    ax.plot(times, result.true[..., target].ravel()[first], color=text, linewidth=1, label="true")
    times = times[np.searchsorted(drawn, steps)]
    for place, name in enumerate(names):
        colour = f"C{place}" if place > 1 else COLOURS[place]
        label: str | None = name
        for origin, values in enumerate(result.forecasts[name][..., target]):
            ax.plot(times[origin], values, color=colour, linewidth=1.4, label=label)
            if place == 0 and name in result.bounds:
                lower, upper = result.bounds[name][origin, :, target].T
                share = None if label is None else f"{result.coverage:.0%} interval"
                ax.fill_between(
                    times[origin], lower, upper, color=colour, alpha=0.2, linewidth=0, label=share
                )
            label = None
    _explain_lines(ax, title)
    _finish(ax, path, made)
    return ax


def _array(values: npt.ArrayLike, name: str, shape: tuple[int | None, ...]) -> Any:
    found = np.asarray(values, np.float64)
    fits = found.ndim == len(shape) and all(
        size in (None, length) for size, length in zip(shape, found.shape, strict=True)
    )
    if not fits or not found.size:
        expected = "(T,), with at least one step" if shape == (None,) else str(shape)
        raise ValueError(f"{name}: expected shape {expected}, got {found.shape}")
    return found


def _explain_lines(ax: "Axes", title: str) -> None:
    """Add title, legend and a grid to lines over time."""
    tidy(ax)
    shorten_dates(ax)
    text, _ = inks(ax)
    ax.set_title(title, loc="left", color=text, fontsize=11, fontweight="bold", parse_math=False)
    ax.legend(frameon=False, fontsize=8, labelcolor=text, loc="best")


# ---- figures, for these plots and for others in the same style -----------------------------------


def new_figure(width: float, height: float) -> "Figure":
    """Return a white figure of this size in inches, independent of pyplot.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError(
            f"pictures need matplotlib, which is not installed: {how_to_install('plot')}"
        ) from error
    return Figure(
        figsize=(width, height),
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )


def new_axes(figure: "Figure", rows: int = 1, columns: int = 1) -> "list[Axes]":
    """Return a grid of white axes, row by row."""
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes:
        ax.set_facecolor("white")
    return axes


def inks(ax: "Axes") -> tuple[str, str]:
    """Return colours for text and for a grid that are visible on the figure of `ax`."""
    from matplotlib.colors import to_rgba

    red, green, blue, opacity = to_rgba(_whole(ax).get_facecolor())
    dark = opacity > 0 and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    return (GRID_COLOUR, TEXT_COLOUR) if dark else (TEXT_COLOUR, GRID_COLOUR)


def tidy(ax: "Axes", *, grid: Literal["both", "x", "y"] = "y") -> None:
    """Reduce axes to the bottom line and a pale grid."""
    text, pale = inks(ax)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(text)
    ax.set_axisbelow(True)
    ax.grid(axis=grid, color=pale, linewidth=0.8)
    ax.tick_params(axis="both", which="both", colors=text, labelsize=9, length=0)
    ax.tick_params(axis="x", which="major", length=3)


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure in the format of the path's ending; create missing folders.

    Raises
    ------
    ValueError
        If the format is unknown.
    OSError
        If the path is not one of a file, or cannot be written to.
    """
    target = Path(path)
    known = figure.canvas.get_supported_filetypes()
    ending = target.suffix[1:].lower()
    if ending not in known:
        expected = ", ".join(f".{name}" for name in sorted(known))
        raise ValueError(
            f"path: expected a name that ends in one of {expected}, got {os.fspath(path)!r}"
        )
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Without the date, equal pictures are equal files.
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "ps": {}, "eps": {}}
    figure.savefig(target, dpi=DPI, metadata=dated.get(ending))


def _whole(ax: "Axes") -> "Figure":
    """Return the whole figure of axes, which may be in a subfigure."""
    figure: Figure = ax.figure.figure
    return figure


def _finish(ax: "Axes", path: str | os.PathLike[str] | None, made: bool) -> None:
    """Write the figure if there is a path; show it in a notebook if it was made here."""
    figure = _whole(ax)
    if path is not None:
        save(figure, path)
    if made and in_notebook():
        show_after_cell(figure)


# ---- learning curves -----------------------------------------------------------------------------


def _panels(
    values: Mapping[str, Sequence[float]], metrics: str | Sequence[str] | None
) -> list[str]:
    there = [name for name in values if not name.startswith("val_") and len(values[name]) > 0]
    if metrics is None:
        names = [name for name in there if name not in ("lr", "learning_rate")]
    else:
        names = [metrics] if isinstance(metrics, str) else list(metrics)
        for name in names:
            if name not in there:
                raise ValueError(f"metrics: expected names among {', '.join(there)}, got {name!r}")
    if not names:
        raise ValueError("history: expected at least one epoch of at least one metric, got none")
    return names


def _given_axes(ax: "Axes | Sequence[Axes]") -> "list[Axes]":
    """Return axes as a list: one, or those in a list or an array of any shape, row by row."""
    from matplotlib.axes import Axes

    several = isinstance(ax, Sequence | np.ndarray)
    axes = list(np.ravel(np.asarray(ax, dtype=object))) if several else [cast("Axes", ax)]
    for entry in axes:
        if not isinstance(entry, Axes):
            raise TypeError(
                f"ax: expected matplotlib's Axes, or several, got {type(entry).__name__}; such as "
                "figure.subplots() returns"
            )
    return axes


def _new_axes(count: int, title: str) -> "list[Axes]":
    columns = min(count, MOST_COLUMNS)
    rows = -(-count // columns)
    figure = new_figure(PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + 0.4)
    axes = new_axes(figure, rows, columns)
    for empty in axes[count:]:
        empty.remove()
    figure.suptitle(
        title, x=0.015, ha="left", color=TEXT_COLOUR, fontweight="bold", parse_math=False
    )
    return axes[:count]


def _draw_panel(
    ax: "Axes",
    name: str,
    training: Sequence[float],
    validation: Sequence[float],
    epochs: Sequence[int],
) -> list[tuple[float, float, str, str]]:
    """Draw the lines; return where each ends, its label and its colour."""
    from matplotlib.ticker import MaxNLocator

    count = max(len(training), len(validation))
    numbers = epochs if len(epochs) == count else range(1, count + 1)
    ends: list[tuple[float, float, str, str]] = []
    for values, label, colour in (
        (training, "training", TRAINING_COLOUR),
        (validation, "validation", VALIDATION_COLOUR),
    ):
        points = [value if math.isfinite(value) else math.nan for value in values]
        if not points:
            continue
        marker = "o" if count <= MOST_MARKERS else None
        ax.plot(
            numbers[: len(points)],
            points,
            color=colour,
            linewidth=1.8,
            marker=marker,
            markersize=3.5,
            label=label,
            solid_capstyle="round",
        )
        last = [place for place, value in enumerate(points) if math.isfinite(value)]
        if last:
            ends.append((numbers[last[-1]], points[last[-1]], label, colour))
    tidy(ax)
    if count == 1:
        ax.set_xlim(numbers[0] - 1, numbers[0] + 1)
        ax.set_xticks([numbers[0]])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    text, _ = inks(ax)
    ax.set_xlabel("epoch", color=text, fontsize=9)
    ax.set_title(name.replace("_", " "), loc="left", color=text, fontsize=10, parse_math=False)
    return ends


def _label_ends(ax: "Axes", ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the label of each line after its end, far enough apart to be legible."""
    notes = [
        ax.annotate(
            label,
            (x, y),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
        )
        for x, y, label, colour in ends
    ]
    if len(notes) != 2:
        return

    def spread(ax: "Axes") -> None:
        low, high = ax.get_ylim()
        height = ax.get_window_extent().height * 72 / _whole(ax).dpi  # in points, like offsets
        places = [(y - low) / (high - low) * height for _, y, _, _ in ends]
        push = max(0.0, LINE - abs(places[0] - places[1])) / 2
        upper = 0 if places[0] >= places[1] else 1
        notes[upper].xyann, notes[1 - upper].xyann = (6, push), (6, -push)

    spread(ax)
    ax.callbacks.connect("ylim_changed", spread)
