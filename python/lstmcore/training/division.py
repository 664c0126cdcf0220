"""How the work of a training is divided: the protocol between the loop and whoever computes.

The loop goes through epochs and batches. What one batch means, be it a step of this process alone
or shards on many machines, is up to a `Session`. `loop.WHOLE` is the trivial one; the others are
in `lstmcore.distributed`.
"""

# ruff: noqa: D102 - the protocols' members are described in their docstrings.

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lstmcore._configurable import one_line
from lstmcore._options import Checked
from lstmcore._typing import Array
from lstmcore.layers.states import ModelState
from lstmcore.training.callback import Callback, Logs
from lstmcore.training.callback_list import CallbackList
from lstmcore.training.carry import Carry
from lstmcore.training.data import Examples
from lstmcore.training.trainable import Trainable

__all__ = ["Distribution", "Pass", "Session"]


class Pass(Protocol):
    """One pass over batches, with what it has gathered so far.

    `go` computes the samples `rows` of `examples`, one batch. `batch_logs` returns loss and metrics
    so far without those that are for whole epochs, `logs` all of them. `state` is the state after
    the last batch.
    """

    def go(self, examples: Examples, rows: Array | slice) -> None: ...
    def batch_logs(self) -> Logs: ...
    def logs(self) -> Logs: ...
    @property
    def state(self) -> ModelState: ...


class Session(Protocol):
    """One call of `fit`, in every process that takes part.

    `listeners` makes the list of callbacks. `compare` raises an error if the model, its data or the
    arguments of `fit`, passed by name, differ between processes; it must be called before a pass,
    with the number of rows of a whole batch. `training` and `evaluation` begin
    a pass; if `guarded`, a step that would make weights NaN or infinite raises FloatingPointError.
    `stops` says whether ``model.stop_training`` ends the training now, the same in all processes.
    """

    def listeners(self, callbacks: Sequence[Callback], model: Trainable) -> CallbackList: ...
    def compare(self, model: Trainable, rows: int, **what: object) -> None: ...
    def stops(self, model: Trainable) -> bool: ...
    def training(self, model: Trainable, carry: Carry, guarded: bool) -> Pass: ...
    def evaluation(self, model: Trainable, carry: Carry) -> Pass: ...


class Distribution(Checked):
    """What `fit` accepts as ``distributed``: options, and the sessions that follow them."""

    def __repr__(self) -> str:
        return one_line(self)

    def _why_fixed(self, name: str) -> str | None:
        return "it is fixed when the object is made; make a new one with it"

    def session(self) -> AbstractContextManager[Session]:
        """Begin one call of `fit`; an error that leaves the context is told to all processes."""
        raise NotImplementedError
