"""Where the steps of a series lie on an axis, by their labels."""

from datetime import date
from numbers import Real
from typing import TYPE_CHECKING, Any

from lstmcore._typing import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["places_on_axis", "shorten_dates"]

MOST_LABELS = 6  # of texts along the axis


def places_on_axis(ax: "Axes", labels: Array, steps: Array) -> Array:
    """Return where steps are drawn: at their labels if these are numbers or times, else at `steps`.

    Then some steps are marked by their labels. matplotlib would order texts by their first use,
    and draw different steps with the same text in one place.

    Parameters
    ----------
    ax : Axes
    labels : ndarray, shape (M,)
        Of steps in their order.
    steps : ndarray of int64, shape (M,)
        Their positions in the series, rising.

    Returns
    -------
    ndarray, shape (M,)
    """
    if labels.dtype.kind in "biufM":
        return labels
    if labels.dtype.kind == "O" and all(isinstance(label, (Real, date)) for label in labels):
        return labels  # dates with a time zone, for instance
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    shown = {
        int(step): str(label).replace("$", r"\$") for step, label in zip(steps, labels, strict=True)
    }

    def name(place: float, _: Any) -> str:
        return shown.get(round(place), "")

    ax.xaxis.set_major_locator(MaxNLocator(MOST_LABELS, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(name))
    return steps


def shorten_dates(ax: "Axes") -> None:
    """Write what dates have in common only once, if the axis shows dates."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = ax.xaxis.get_major_locator()
    if isinstance(locator, AutoDateLocator):
        concise: Any = ConciseDateFormatter
        ax.xaxis.set_major_formatter(concise(locator))
