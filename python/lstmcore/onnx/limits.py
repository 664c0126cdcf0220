"""How much a model may ask for: bytes of its values, and turns of its loops.

A few bytes of a file are enough to ask for more than any machine has. So sizes are compared with
these limits before anything is computed: those that a file fixes by `lstmcore.onnx.sizes`, those
that NumPy meets by its operators, those that a session computes by nodes of
`lstmcore.onnx.guards`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from lstmcore.onnx.graph import Node

__all__ = [
    "TURNS",
    "Limits",
    "bounding",
    "counting_turns",
    "elements",
    "limits",
    "limits_of",
    "readable",
]

TURNS = 1 << 24
"""Turns of a loop, unless `load` is told otherwise."""

VALUE = 1 << 30
"""Bytes of a value, unless `load` is told otherwise."""

ROOM = 12 << 20
"""Constants may have so many bytes, and more in proportion to the model: see `_in_proportion`.

All are counted that are computed from others, such as masks and tables of positions. Most live only
until the next one is computed from them, such as the parts, turns and joins of weights. Loading
takes up to three times their bytes, so that a small file takes less than 64 MiB.
"""

SMALL, TIMES_SMALL, TIMES = 1 << 20, 64, 16
"""So many bytes of a model allow `TIMES_SMALL` times as many for constants; others `TIMES`.

A mask over 2048 steps takes 16 MiB in a model of 300 KB as it does in a large one.
"""

HELD = 12 << 20
"""What is held while one constant is computed, besides its inputs, has at most `TIMES` times the
bytes of the model, and so many bytes more. Honest files hold little."""

WORK_TIMES, WORK_ROOM = 64, 1 << 31
"""Multiplications for all constants together: so many for a byte of the model, and so many more."""

SLOW_TIMES, SLOW_ROOM = 4, 1 << 20
"""The same for constants that the reference implementation of onnx computes, often in loops of
Python's that take microseconds for an element."""

FREE = 1 << 20
"""Nodes and their graphs that take no more than this leave constants their whole limit."""

PARTS, BYTES_OF_PART = 64, 1 << 10
"""Parts of a model that are sessions of their own: so many, and one for so many of its bytes."""

PARTS_FREE, PART = 16, 64 << 10
"""Parts beyond so many count as constants of so many bytes: a session takes twice that."""

FEW = 4
"""Threads of a part beyond `PARTS_FREE`; each takes some 40 KiB."""

SPINNING = 32
"""Threads of the parts of a model that may spin while they wait. Each does so for some 40 ms when
it starts, which is most of the time that opening a small session takes."""

RECURRENT = 4 << 10
"""What a recurrent node takes besides its weights counts as so much, beyond `PARTS_FREE` nodes."""

COPY_WORK, COPY = 1 << 17, 1 << 10
"""Multiplications and bytes that a small constant stands for in each part that holds it."""

Shape: TypeAlias = Iterable[int]


@dataclass
class Limits:
    """What the nodes of a model may ask for.

    Attributes
    ----------
    value : int
        Bytes of any one value.
    usual, constants : int
        Bytes that nodes and constants together count as, unless the caller asks for more than a
        value may have by default; see `begin`.
        Bytes of all values together that do not depend on the model's inputs.
    held : int
        Bytes that computing one of these takes besides its inputs.
    turns : int
        Turns of a loop, with those of the loops in it.
    work : int
        Multiplications, or steps of another kind, for all constants together.
    slow : int
        The same for those constants that the reference implementation computes.
    parts : int
        Parts that are sessions of their own.
    chosen : bool
        Whether the caller has set what values may have, rather than left it.
    spent, worked, slowed, again : int
        Bytes of the constants so far; multiplications for them, and those that the reference does;
        bytes of those that several constants are computed from, but for the first.
    opened, packed : int
        Parts and recurrent nodes so far.
    """

    value: int = VALUE
    usual: int = ROOM
    constants: int = ROOM
    held: int = HELD
    turns: int = TURNS
    work: int = WORK_ROOM
    slow: int = SLOW_ROOM
    parts: int = PARTS
    chosen: bool = False
    spent: int = 0
    worked: int = 0
    slowed: int = 0
    again: int = 0
    opened: int = 0
    packed: int = 0

    def begin(self, size: int) -> None:
        """Leave constants what a model's nodes and graphs, which count so much, do not take.

        Raises
        ------
        ValueError
            If nothing is left.
        """
        if self.constants > self.usual:
            return
        left = self.usual - max(size - FREE, 0)
        if left < 0:
            raise ValueError(
                f"model: expected nodes and graphs within nodes that take at most "
                f"{readable(self.usual)} in all, got {readable(size)}; {self._advice(size)}"
            )
        self.constants = min(self.constants, left)

    def check(self, node: Node, shape: Shape, width: int) -> None:
        """Raise ValueError if an output of a node, with `width` bytes an element, is too large."""
        self.check_bytes(node, elements(shape) * width)

    def check_bytes(self, node: Node, size: float) -> None:
        """Raise ValueError if an output of a node is too large, or has no size."""
        if not size <= self.value:
            node.fail(
                f"expected an output of at most {readable(self.value)}, got {readable(size)}; "
                "a larger memory_limit of lstmcore.onnx.load allows it"
            )

    def spend(self, node: Node, size: int) -> None:
        """Raise ValueError if the constants are too large together."""
        self.spent += size
        if self.spent > self.constants:
            node.fail(
                f"expected constants of at most {readable(self.constants)} in all, got "
                f"{readable(self.spent)} so far; {self._advice(self.spent)}"
            )

    def hold(self, node: Node, size: int) -> None:
        """Raise ValueError if computing a constant takes too much memory besides its inputs."""
        if size > self.held:
            node.fail(
                f"expected a constant that takes at most {readable(self.held)} while it is "
                f"computed, got {readable(size)}; {self._advice(size)}"
            )

    def read_again(self, node: Node, size: int) -> None:
        """Raise ValueError if constants are computed from the same ones too often.

        ONNX Runtime copies what it computes a constant from, each time, and small blocks that it
        keeps may lie in the place of such a copy, so that the next one takes new memory.
        """
        self.again += size
        if self.again > self.constants:
            node.fail(
                f"expected constants that read at most {readable(self.constants)} of others again, "
                f"got {readable(self.again)} so far; {self._advice(self.again)}"
            )

    def multiply(self, node: Node, count: int) -> None:
        """Raise ValueError if the constants take too many multiplications together."""
        self.worked += count
        if self.worked > self.work:
            node.fail(
                f"expected at most {self.work} multiplications for constants in all, got "
                f"{self.worked:.6g} so far; {self._advice((self.worked - WORK_ROOM) // WORK_TIMES)}"
            )

    def interpret(self, node: Node, count: int) -> None:
        """Raise ValueError if the constants that the reference computes take too many steps."""
        self.slowed += count
        if self.slowed > self.slow:
            node.fail(
                f"expected constants that take at most {self.slow} steps in the reference "
                "implementation of the package onnx, which runs what ONNX Runtime refuses or is "
                f"not installed for, got {self.slowed:.6g} so far; "
                f"{self._advice((self.slowed - SLOW_ROOM) // SLOW_TIMES)}"
            )

    def repeat(self, node: Node, size: int, work: int) -> None:
        """Count a constant once more, since another part computes and holds it too.

        Parameters
        ----------
        node : Node
            Where it comes from, or what reads it.
        size, work : int
            Its bytes, and multiplications.
        """
        self.multiply(node, work + COPY_WORK)
        self.spend(node, size + COPY)

    def pack(self, node: Node, size: int) -> None:
        """Count a recurrent node, whose packed weights have `size` bytes more than the file."""
        self.packed += 1
        self.spend(node, size + RECURRENT * (self.packed > PARTS_FREE))

    def open(self, label: str) -> None:
        """Raise ValueError if a model has too many parts that are sessions of their own."""
        self.opened += 1
        if self.opened > self.parts:
            size = (self.opened - PARTS) * BYTES_OF_PART
            raise ValueError(
                f"{label}: expected at most {self.parts} parts between recurrent nodes, and "
                f"constants that are computed alone, got more; {self._advice(size)}"
            )
        if self.opened > PARTS_FREE:
            self.spent += PART
            if self.spent > self.constants:
                raise ValueError(
                    f"{label}: expected constants and parts between recurrent nodes that take at "
                    f"most {readable(self.constants)} in all, got {readable(self.spent)} so far; "
                    f"{self._advice(self.spent)}"
                )

    def threads(self, most: int) -> tuple[int, bool]:
        """Return how many threads the part that is opened has, and whether they may spin."""
        count = most if self.opened <= PARTS_FREE else min(most, FEW)
        return count, self.opened * (count - 1) <= SPINNING

    def _advice(self, size: int) -> str:
        """Return what allows so many bytes for constants, and lowers the limit of no value."""
        enough = max(self.value, 1 << max(size, 1).bit_length())
        return f"memory_limit={enough} of lstmcore.onnx.load, or a larger one, allows it"

    def turn(self, node: Node, taken: list[int]) -> None:
        """Count a turn of a loop; raise ValueError if it is beyond the limit."""
        self.check_turns(node, taken[0] + 1)
        taken[0] += 1

    def check_turns(self, node: Node, count: int) -> None:
        """Raise ValueError if a loop takes too many turns."""
        if count > self.turns:
            node.fail(
                f"expected at most {self.turns} turns, got more; a larger loop_limit of "
                "lstmcore.onnx.load allows it"
            )


def limits_of(size: int, memory: int | None, turns: int) -> Limits:
    """Return the limits of a model of `size` bytes, as `load` is asked for them.

    Who asks for less than a value may have by default wants less of everything. Who asks for more
    gets no less of anything.
    """

    def most(usual: int) -> int:
        return usual if memory is None else max(memory, usual) if memory >= VALUE else memory

    usual = _in_proportion(size) + ROOM
    constants, held = most(usual), most(TIMES * size + HELD)
    work = WORK_TIMES * most(size) + WORK_ROOM
    slow = SLOW_TIMES * most(size) + SLOW_ROOM
    value = VALUE if memory is None else memory
    parts = PARTS + (size if value < VALUE else max(size, memory or 0)) // BYTES_OF_PART
    return Limits(value, usual, constants, held, turns, work, slow, parts, memory is not None)


def _in_proportion(size: int) -> int:
    """Return what constants may have for the bytes of a model."""
    small = min(size, SMALL)
    return TIMES_SMALL * small + TIMES * (size - small)


_limits: ContextVar[Limits | None] = ContextVar("_limits", default=None)


def limits() -> Limits:
    """Return the limits of the model that is being loaded."""
    return _limits.get() or Limits()


@contextmanager
def bounding(chosen: Limits) -> Iterator[None]:
    """Read and compile models within under these limits."""
    token = _limits.set(chosen)
    try:
        yield
    finally:
        _limits.reset(token)


_taken: ContextVar[list[int] | None] = ContextVar("_taken", default=None)


@contextmanager
def counting_turns() -> Iterator[list[int]]:
    """Yield the number of turns so far: of the loop around this one, or 0, as the only entry."""
    outer = _taken.get()
    if outer is not None:
        yield outer
        return
    token = _taken.set(own := [0])
    try:
        yield own
    finally:
        _taken.reset(token)


def elements(shape: Shape) -> int:
    """Return the number of elements; an axis of size 0 counts as one of size 1.

    What runs along the other axes takes time even if there is nothing in them.
    """
    count = 1
    for size in shape:
        count *= max(int(size), 1)
    return count


def readable(size: float) -> str:
    """Return a number of bytes for people."""
    if size != size:
        return "a size that is no number"
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if size >= unit:
            return (
                f"{size / unit:.4g} {name}"
                if size < float(unit << 60)
                else f"more than 1e18 {name}"
            )
    return f"{size:.0f} bytes"
