"""A table of a model's layers."""

from collections.abc import Sequence

from lstmcore._typing import Shape
from lstmcore.layers import Layer

__all__ = ["summarize"]


def summarize(
    layers: Sequence[Layer], shapes: Sequence[Shape | None], frozen: int = 0
) -> list[str]:
    """Write the lines of the table; a shape of None is not known yet.

    `frozen` parameters are not trained.
    """
    rows = [("Layer", "Output shape", "Parameters")]
    total = 0
    for layer, shape in zip(layers, shapes, strict=True):
        count = sum(view.size for view in layer.weights.values())
        total += count
        shown = "?" if shape is None else str(shape)
        rows.append(
            (f"{layer.name} ({type(layer).__name__})", shown, f"{count:,}" if shape else "?")
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}"
        for name, shape, count in rows
    ]
    rule = "-" * len(lines[0])
    kept = f", {frozen:,} of them not trained" if frozen else ""
    known = all(shape is not None for shape in shapes)
    return [
        lines[0],
        rule,
        *lines[1:],
        rule,
        f"Parameters: {total:,}{kept}" if known else "Not built yet",
    ]
