"""Helpers for options that several commands share."""

import argparse
import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

__all__ = [
    "Parser",
    "above",
    "add_command",
    "add_json",
    "add_model_columns",
    "check_not_source",
    "if_interrupted",
    "share",
]


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        """Report the error, and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}; {self.prog} --help says more\n")


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], about: str, example: str
) -> argparse.ArgumentParser:
    """Add a command whose help ends with an example."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about[0].lower() + about[1:].partition(". ")[0].removesuffix("."),
        description=textwrap.fill(about, 78),
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help=f"write {what} as JSON")


def add_model_columns(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the columns for a model that was saved in Python."""
    group = parser.add_argument_group(
        "columns", "For models saved from Python; those of 'lstmcore train' know their columns."
    )
    group.add_argument("--text", metavar="COLUMN", help="the texts")
    group.add_argument("--key", metavar="COLUMN", help="rows with the same key are one sequence")
    group.add_argument("--time", metavar="COLUMN", help="sorts the rows of a sequence")
    group.add_argument("--features", metavar="COLUMN", nargs="+", help="inputs of a step")


def check_not_source(out: str, source: str, name: str) -> None:
    """Raise ValueError, naming the option `name`, if `out` is the same file as `source`."""
    if os.path.exists(out) and os.path.exists(source) and os.path.samefile(out, source):
        raise ValueError(f"{name}: expected a file other than the one that is read, got {out}")


@contextmanager
def if_interrupted(told: str) -> Iterator[None]:
    """If Ctrl-C ends the block, end the message with `told`, which says what was done."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(told) from None


def above(low: float, kind: Callable[[str], Any], *, equal: bool = False) -> Callable[[str], Any]:
    """Return a parser of numbers above `low`, or with `equal` of at least `low`."""
    what = "a whole number" if kind is int else "a number"
    bound = f"of at least {low:g}" if equal else f"above {low:g}"

    def read(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not low <= number < float("inf") or (number == low and not equal):
            raise argparse.ArgumentTypeError(f"expected {what} {bound}, got {text!r}")
        return number

    return read


def share(text: str) -> float:
    """Read a share of the samples."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < 1.0:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, got {text!r}")
    return number
