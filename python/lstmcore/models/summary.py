"""A table of a model's layers."""

from collections.abc import Callable, Sequence
from typing import Any

from lstmcore._notebook import in_notebook, show_html
from lstmcore._typing import Shape
from lstmcore.layers import Layer
from lstmcore.training.tables import as_html

__all__ = ["Summarized", "summarize", "summarize_html"]


class Summarized:
    """Base of models: shows their layers as a table."""

    @property
    def layers(self) -> list[Layer]:
        """The layers, each with its name."""
        raise NotImplementedError

    def _layer_shapes(self) -> list[Shape | None]:
        """List the shapes of the outputs of `layers`, None for one that is not known yet."""
        raise NotImplementedError

    def _layer_sources(self) -> list[str] | None:
        """List what each of `layers` takes; None: the output of the one before it."""
        return None

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Show a table of the layers, their output shapes and numbers of parameters.

        Parameters
        ----------
        print_fn : callable, optional
            Called with each line. None: `print` or, in a notebook, an HTML table.
        """
        lines = summarize(self.layers, self._layer_shapes(), self._layer_sources())
        if print_fn is None and in_notebook():
            show_html(self._repr_html_(), "\n".join(lines))
            return
        for line in lines:
            (print_fn or print)(line)

    def _repr_html_(self) -> str:
        shown = self.layers, self._layer_shapes(), self._layer_sources()
        return summarize_html(repr(self), *shown)


def summarize(
    layers: Sequence[Layer],
    shapes: Sequence[Shape | None],
    sources: Sequence[str] | None = None,
) -> list[str]:
    """Write the lines of the table.

    Parameters
    ----------
    layers : sequence of Layer
    shapes : sequence of shapes or None
        Of the layers' outputs; None: not known yet.
    sources : sequence of str, optional
        What each layer takes, for a column of its own.

    Returns
    -------
    list of str
        Layers with weights that are not trained are marked, and counted at the end.
    """
    rows, total = _table(layers, shapes, sources)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{entry:>{width}}" if at == 2 else f"{entry:<{width}}"
            for at, (entry, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return [lines[0], rule, *lines[1:], rule, total]


def summarize_html(
    title: str,
    layers: Sequence[Layer],
    shapes: Sequence[Shape | None],
    sources: Sequence[str] | None = None,
) -> str:
    """Write the table as HTML under `title`, for notebooks."""
    rows, total = _table(layers, shapes, sources)
    return as_html(title, rows[0], rows[1:], note=total)


def _table(
    layers: Sequence[Layer], shapes: Sequence[Shape | None], sources: Sequence[str] | None
) -> tuple[list[list[str]], str]:
    """Return the head and a row for each layer, and a line about all of them."""
    rows = [["Layer", "Output shape", "Parameters"]]
    if sources is not None:
        rows[0].append("Inputs")
    total = frozen = 0
    for place, (layer, shape) in enumerate(zip(layers, shapes, strict=True)):
        count = sum(view.size for view in layer.weights.values())
        kept = layer.frozen_size
        total, frozen = total + count, frozen + kept
        mark = "" if not kept else ", frozen" if kept == count else ", partly frozen"
        if shape is None and not layer.trainable:
            mark = ", frozen"
        known = shape is not None
        name = f"{layer.name} ({type(layer).__name__}{mark})"
        rows.append([name, str(shape) if known else "?", f"{count:,}" if known else "?"])
        if sources is not None:
            rows[-1].append(sources[place])
    if any(shape is None for shape in shapes):
        return rows, "Not built yet"
    split = f" ({total - frozen:,} trained, {frozen:,} frozen)" if frozen else ""
    return rows, f"Parameters: {total:,}{split}"
