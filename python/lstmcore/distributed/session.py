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

__all__ = ["SHARDS", "OneProcess", "Sharded"]

SHARDS = 8
"""Parts of a batch by default."""


class Sharded(Distribution):
    """Base of the ways to divide batches into shards.

    Parameters
    ----------
    shards : int
        See `MPI`.
    timeout : float
        See `MPI`.
    """

    def __init__(self, shards: int, timeout: float) -> None:
        self.shards = _checks.integer(shards, "shards", 1)
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
        if self.shards < group.size:
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
    shards : int, default 8
        See `MPI`.
    """

    def __init__(self, shards: int = SHARDS) -> None:
        super().__init__(shards, 1.0)

    def _open(self) -> Communicator:
        return Alone()


class ShardedSession:
    """The session of one process; see `lstmcore.training.division.Session`.

    Parameters
    ----------
    group : Group
    shards : int
    """

    def __init__(self, group: Group, shards: int) -> None:
        self._group, self._shards = group, shards
        self._own = block(shards, group.rank, group.size)
        self._callbacks: SharedCallbacks | None = None
        self._sum: GradientSum | None = None

    def listeners(self, callbacks: Sequence[Callback], model: Trainable) -> SharedCallbacks:
        """Return the callbacks: all on rank 0, only histories on the others."""
        self._callbacks = SharedCallbacks(callbacks, model, self._group)
        return self._callbacks

    def compare(self, model: Trainable, **what: object) -> None:
        """Raise ValueError, in all processes, if something differs between them."""
        self._check_metrics(model)
        if self._group.size == 1:
            return
        where = "the comparison of models and data"
        check_alike(self._group, digests_of(model, what), where, ValueError)

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
