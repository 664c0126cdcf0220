"""One module per peer: how it is set up, and how it runs a case.

Each has a function ``load(threads)`` that imports the peer and returns a `Runner`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bench.shapes import Case


class Unsupported(Exception):
    """Raised when the peer cannot do this; the message says what is missing."""


@dataclass
class Prepared:
    """A case that is ready to run.

    Attributes
    ----------
    variants : dict of str to callable
        Ways to do the same; the fastest is measured. A call returns after all its work.
    digest : callable
        Sums over the results of one call, equal for all peers up to rounding.
    facts : callable
        Further names and numbers to report.
    """

    variants: dict[str, Callable[[], object]]
    digest: Callable[[], dict[str, float]]
    facts: Callable[[], dict[str, float]] = field(default=dict)


class Runner(Protocol):
    """A loaded peer."""

    def versions(self) -> dict[str, str]:
        """Return names and versions of the software that does the work."""
        ...

    def prepare(self, case: Case) -> Prepared:
        """Make everything that a user would make once; raise `Unsupported` if it cannot."""
        ...
