"""A table of a model's layers."""

from collections.abc import Sequence

from lstmcore._typing import Shape
from lstmcore.layers import Layer

__all__ = ["summarize"]


def summarize(layers: Sequence[Layer], shapes: Sequence[Shape | None]) -> list[str]:
    """Write the lines of the table; a shape of None is not known yet.

    Layers with weights that are not trained are marked, and counted at the end.
    """
    rows = [("Layer", "Output shape", "Parameters")]
    total = frozen = 0
    for layer, shape in zip(layers, shapes, strict=True):
        count = sum(view.size for view in layer.weights.values())
        kept = layer.frozen_size
        total, frozen = total + count, frozen + kept
        shown = "?" if shape is None else str(shape)
        mark = "" if not kept else ", frozen" if kept == count else ", partly frozen"
        if shape is None and not layer.trainable:
            mark = ", frozen"
        title = f"{layer.name} ({type(layer).__name__}{mark})"
        rows.append((title, shown, f"{count:,}" if shape else "?"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}"
        for name, shape, count in rows
    ]
    rule = "-" * len(lines[0])
    split = f" ({total - frozen:,} trained, {frozen:,} frozen)" if frozen else ""
    known = all(shape is not None for shape in shapes)
    return [
        lines[0],
        rule,
        *lines[1:],
        rule,
        f"Parameters: {total:,}{split}" if known else "Not built yet",
    ]
