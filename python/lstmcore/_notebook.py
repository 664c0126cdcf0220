"""Output in Jupyter notebooks."""

import io
import sys
from typing import Any

__all__ = ["in_notebook", "show_after_cell", "show_html"]


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this code; IPython in a terminal does not count."""
    shell = _shell()
    return shell is not None and "IPKernelApp" in shell.config


def show_html(html: str, text: str) -> None:
    """Show HTML, or `text` where the notebook is read as text."""
    from IPython.display import display

    display({"text/html": html, "text/plain": text}, raw=True)


def show_after_cell(figure: Any) -> None:
    """Show a matplotlib figure below the current cell, in its state at the end of the cell.

    Figures of pyplot behave in the same way; this one is unknown to pyplot, whose state is left
    alone.
    """
    from IPython.display import Image, display

    shell = _shell()

    def show() -> None:
        shell.events.unregister("post_execute", show)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=144)
        display(Image(picture.getvalue(), format="png", retina=True))

    shell.events.register("post_execute", show)
