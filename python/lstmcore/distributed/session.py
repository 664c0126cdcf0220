"""One `fit` of several processes, each of which computes some shards of every batch."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from lstmcore import _checks
from lstmcore.distributed.callbacks import SharedCallbacks
from lstmcore.distributed.communicator import Alone, Communicator
from lstmcore.distributed.comparison import check_alike
from lstmcore.distributed.digests import digests_of
from lstmcore.distributed.gradients import GradientSum
from lstmcore.distributed.group import Group
from lstmcore.distributed.passes import EvaluationPass, TrainingPass
from lstmcore.distributed.tree import block
from lstmcore.training.callback import Callback
from lstmcore.training.carry import Carry
from lstmcore.training.division import Distribution, Session
from lstmcore.training.trainable import Trainable

__all__ = ["OneProcess", "Sharded", "shards_of"]

MOST_SHARDS, LEAST_ROWS = 8, 64
"""By default a batch has as many shards as have so many rows each, but not more than so many."""


class Sharded(Distribution):
    """Base of the ways to divide batches into shards.

    Parameters
    ----------
    shards : int or None
        See `MPI`.
    timeout : float
        See `MPI`.
    """

    def __init__(self, shards: int | None, timeout: float) -> None:
        self.shards = None if shards is None else _checks.integer(shards, "shards", 1)
        self.timeout = _checks.real(timeout, "timeout", 0.0, low_open=True)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Begin one call of `fit`; see `Distribution.session`."""
        groups: list[Group] = []
        with self._ended_orderly(groups):
            group = Group(self._open(), self.timeout)
            groups.append(group)
            try:
                group.meet()
                self._check_shards(group)
                with self._running(group):
                    yield ShardedSession(group, self.shards)
            except BaseException as error:
                group.leave(error)
                raise
            group.communicator.close()

    def _check_shards(self, group: Group) -> None:
        """Raise ValueError, in all processes, unless every one has a shard."""
        asked = group.share(self.shards, "shards")
        error = None
        if self.shards is not None and self.shards < group.size:
            error = (
                f"shards: expected at least {group.size}, one for each process, got {self.shards}; "
                "the same number of shards gives the same bits with any number of processes"
            )
        if len(set(asked)) > 1:
            error = f"shards: expected the same number in all processes, got {asked}"
        if error is not None:
            raise group.agree(ValueError(error))

    def _open(self) -> Communicator:
        """Connect to the other processes."""
        raise NotImplementedError

    def _ended_orderly(self, groups: list[Group]) -> AbstractContextManager[None]:
        """Return a context in which a signal to end is an error; `groups` has the group, if met."""
        return nullcontext()

    def _running(self, group: Group) -> AbstractContextManager[None]:
        """Return what is set up while `fit` runs."""
        return nullcontext()


class OneProcess(Sharded):
    """The same shards in this process alone: the bits of `MPI`, without MPI.

    To look at a training of many machines on one, or to continue it.

    Parameters
    ----------
    shards : int, optional
        See `MPI`.
    """

    def __init__(self, shards: int | None = None) -> None:
        super().__init__(shards, 1.0)

    def _open(self) -> Communicator:
        return Alone()


def shards_of(rows: int) -> int:
    """Return how many shards a batch of so many rows has by default.

    It depends on nothing else, so that the bits are the same for any number of processes.
    """
    return min(max(rows // LEAST_ROWS, 1), MOST_SHARDS)


class ShardedSession:
    """The session of one process; see `lstmcore.training.division.Session`.

    Parameters
    ----------
    group : Group
    shards : int or None
        None: `compare` decides.
    """

    def __init__(self, group: Group, shards: int | None) -> None:
        self._group, self._asked = group, shards
        self._shards, self._own = 0, range(0)
        self._callbacks: SharedCallbacks | None = None
        self._sum: GradientSum | None = None

    def listeners(self, callbacks: Sequence[Callback], model: Trainable) -> SharedCallbacks:
        """Return the callbacks: all on rank 0, only histories on the others."""
        self._callbacks = SharedCallbacks(callbacks, model, self._group)
        return self._callbacks

    def compare(self, model: Trainable, rows: int, **what: object) -> None:
        """Raise ValueError, in all processes, if something differs between them."""
        self._check_metrics(model)
        if self._group.size > 1:
            where = "the comparison of models and data"
            check_alike(self._group, digests_of(model, what), where, ValueError)
        self._divide(rows)

    def _divide(self, rows: int) -> None:
        """Decide how many shards a batch has, and which of them are computed here."""
        group = self._group
        self._shards = shards_of(rows) if self._asked is None else self._asked
        if self._shards < group.size:
            raise group.agree(
                ValueError(
                    f"batch_size: batches of {rows} rows make {self._shards} shards of at least "
                    f"{LEAST_ROWS} rows, and {group.size} processes need at least as many shards; "
                    f"pass batch_size={LEAST_ROWS * group.size} or more, fewer processes, or "
                    f"shards={group.size} or more, which is slower where shards are small"
                )
            )
        self._own = block(self._shards, group.rank, group.size)

    def _check_metrics(self, model: Trainable) -> None:
        for name, metric in model.compiled.logged_metrics.items():
            if not metric.merges:
                raise ValueError(
                    f"metrics: {name!r} cannot be gathered by several processes; its class, "
                    f"{type(metric).__name__}, overrides reset, so it must also override gathered "
                    "and merge (lstmcore.metrics.Metric)"
                )

    def stops(self, model: Trainable) -> bool:
        """Return whether all processes end the training now."""
        return self._group.stops if self._group.size > 1 else model.stop_training

    def training(self, model: Trainable, carry: Carry, guarded: bool) -> TrainingPass:
        """Begin a pass over the batches to train on."""
        group, shards = self._group, self._shards
        if self._sum is None:
            self._sum = GradientSum(group, shards, model.parameters)
        own = (self._sum, shards, self._own)
        return TrainingPass(model, carry, group, *own, guarded, self._watched)

    def evaluation(self, model: Trainable, carry: Carry) -> EvaluationPass:
        """Begin a pass over the batches to validate on."""
        return EvaluationPass(model, carry, self._group, self._shards, self._own)

    def _watched(self) -> bool:
        """Return whether a callback looks at the logs of batches."""
        return self._callbacks is None or self._callbacks.watched
