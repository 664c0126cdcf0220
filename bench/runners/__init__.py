"""One module per peer: how it is set up, and how it runs a case.

Each has a function ``load(threads)`` that imports the peer and returns a `Runner`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bench.shapes import Case


class Unsupported(Exception):
    """The peer has no way to do this; the message says what is missing."""


@dataclass
class Prepared:
    """A case that is ready to run.

    Attributes
    ----------
    variants : dict of str to callable
        Ways to do the same; the fastest one is measured. A call does all the work before it
        returns.
    digest : callable
        Sums over the results of one call, equal for every peer but for rounding.
    facts : callable
        More to be told: names and numbers.
    """

    variants: dict[str, Callable[[], object]]
    digest: Callable[[], dict[str, float]]
    facts: Callable[[], dict[str, float]] = field(default=dict)


class Runner(Protocol):
    """A peer, loaded."""

    def versions(self) -> dict[str, str]:
        """Names and versions of what does the work."""
        ...

    def prepare(self, case: Case) -> Prepared:
        """Make everything that a user would make once; raise `Unsupported` if it cannot be."""
        ...
