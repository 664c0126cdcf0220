"""How a run measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes
    ----------
    repeats : int
        Turns of each peer on each case.
    turn : float
        Shortest duration of a turn in seconds; a single call may last longer.
    budget : float
        Seconds for all turns of a peer on a case together; at least three turns are made.
    settle : float
        Seconds of rest before each turn, so that the threads of the last peer fall asleep.
    warm : float
        Seconds of warming up for each variant of a peer.
    isa : str or None
        Instruction set forced on lstmcore.
    peers_isa : str or None
        Instruction set that the peers are held to.
    contend : float
        Peers that take longer than the fastest by this factor get three turns only.
    torch_compile : bool
        Whether PyTorch may compile.
    """

    repeats: int = 5
    turn: float = 0.1
    budget: float = 15.0
    settle: float = 0.1
    warm: float = 0.2
    isa: str | None = None
    peers_isa: str | None = None
    contend: float = 1.5
    torch_compile: bool = False
