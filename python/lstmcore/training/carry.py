"""The state that is carried from window to window and from batch to batch."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lstmcore._typing import Array
from lstmcore.functional import LSTMState
from lstmcore.layers.states import ModelState
from lstmcore.training.data import Batch, Examples

__all__ = ["Carry", "Walk", "check_continues", "choose_rows"]


@dataclass(frozen=True)
class Carry:
    """What passes from window to window and from batch to batch.

    Attributes
    ----------
    tbptt : int or None
        Time steps of a window; None: all. The state passes from window to window, gradients do not.
    stateful : bool
        Whether the state also passes from batch to batch.
    first : dict of str to LSTMState
        The state before the first batch or, if not `stateful`, with an entry for each sample; what
        has no entry is zero.
    """

    tbptt: int | None = None
    stateful: bool = False
    first: ModelState = field(default_factory=dict)


class Walk:
    """One walk over all batches, which passes the state on."""

    def __init__(self, carry: Carry) -> None:
        self.carry, self.state = carry, carry.first

    def check_rows(self, count: int) -> None:
        """Raise ValueError unless a batch of `count` rows can continue the previous one."""
        if self.carry.stateful and self.state:
            check_continues(next(iter(self.state.values())).h.shape[1], count)

    def go(
        self,
        examples: Examples,
        rows: Array | slice,
        step: Callable[[Batch, ModelState], ModelState],
    ) -> None:
        """Call `step` with each window of `rows` and the state before it; it returns the next."""
        if isinstance(rows, slice):
            self.check_rows(len(range(*rows.indices(len(examples)))))
        state = self.state if self.carry.stateful else choose_rows(self.carry.first, rows)
        for batch in examples.windows(rows, self.carry.tbptt):
            state = step(batch, state)
        self.state = state


def check_continues(before: int, count: int) -> None:
    """Raise ValueError unless a batch of `count` rows can continue one of `before`."""
    if count != before:
        raise ValueError(
            f"x: expected a batch of {before} rows, since each continues the one before it, or the "
            f"state, got {count}"
        )


def choose_rows(state: ModelState, rows: Array | slice) -> ModelState:
    """Choose rows of every h and c."""
    return {name: LSTMState(h[:, rows], c[:, rows]) for name, (h, c) in state.items()}
