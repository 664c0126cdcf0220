"""Tables as HTML, for notebooks."""

from collections.abc import Sequence
from html import escape

__all__ = ["as_html", "shorten"]

MOST_ROWS = 20
"""Of a longer table, the beginning and the end are shown."""

# Only lines between rows, in a grey that shows on white and on black; the rest is the notebook's.
TABLE = "border-collapse: collapse; color: inherit; font: inherit; white-space: nowrap"
RULE = "border-bottom: 1px solid rgba(128, 128, 128, 0.35);"
FIRST = f"text-align: left; padding: 0.2em 1em 0.2em 0; {RULE}"
OTHERS = f"text-align: right; padding: 0.2em 0 0.2em 1em; {RULE}"


def as_html(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    note: str = "",
    folded: bool = False,
) -> str:
    """Write a table.

    Parameters
    ----------
    title : str
        Shown above it.
    head : sequence of str
        Names of the columns. The first is flush left, the others flush right.
    rows : sequence of sequence of str
    note : str, optional
        Shown below it.
    folded : bool, default False
        Whether only the title is shown until it is clicked.

    Returns
    -------
    str
        HTML in which all of these texts are escaped and nothing has a colour of its own.
    """
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    table = f'<table style="{TABLE}">\n{chr(10).join(lines)}\n</table>'
    if note:
        table += f"\n<div>{escape(note)}</div>"
    if folded:
        summary = f'<summary style="cursor: pointer">{escape(title)}</summary>'
        return f"<details>{summary}\n{table}\n</details>"
    return f"<div><div>{escape(title)}</div>\n{table}\n</div>"


def _row(tag: str, cells: Sequence[str]) -> str:
    styles = [FIRST, *[OTHERS] * (len(cells) - 1)]
    parts = (
        f'<{tag} style="{style}">{escape(cell)}</{tag}>'
        for style, cell in zip(styles, cells, strict=True)
    )
    return f"<tr>{''.join(parts)}</tr>"


def shorten(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Leave out the middle of more than `MOST_ROWS` rows."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    half = MOST_ROWS // 2
    return [*rows[:half], ["..."] * len(rows[0]), *rows[-half:]]
