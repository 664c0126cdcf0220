"""Passes over batches of which this process computes some shards."""

import math
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from lstmcore._seeds import derive
from lstmcore._typing import Array
from lstmcore.distributed.comparison import check_alike, check_batches
from lstmcore.distributed.digests import digest, digests_of_training
from lstmcore.distributed.errors import DistributedError
from lstmcore.distributed.gradients import GradientSum
from lstmcore.distributed.group import Group
from lstmcore.distributed.rows import tables_that_pay
from lstmcore.distributed.tree import divide
from lstmcore.functional import LSTMState
from lstmcore.layers.states import ModelState
from lstmcore.training import loop
from lstmcore.training.callback import Logs
from lstmcore.training.carry import Carry, Walk, check_continues, choose_rows
from lstmcore.training.data import Batch, Examples
from lstmcore.training.totals import AnyTotals, JointlyJudged, totals_of
from lstmcore.training.trainable import Trainable

__all__ = ["EvaluationPass", "TrainingPass"]

BATCH_BYTES = 2**16
"""Of each array of a batch that comes from an iterable, the bytes that processes compare."""


class _Checks:
    """Digests of batches that an iterable makes, which processes compare."""

    def __init__(self, group: Group) -> None:
        self._active = group.size > 1
        self._examples: Examples | None = None  # of the batch before

    def of(self, examples: Examples) -> str | None:
        """Return the digest of the batch's arrays; None if they are those of the batch before."""
        before, self._examples = self._examples, examples
        return digest(examples, BATCH_BYTES) if self._active and examples is not before else None


class _Figures:
    """Loss and metrics of each shard of a process; joined in the order of shards.

    Parameters
    ----------
    model : Trainable
    group : Group
    own : range
        The shards of this process.
    """

    def __init__(self, model: Trainable, group: Group, own: range) -> None:
        self._model, self._group = model, group
        self.of_shard: dict[int, AnyTotals] = {shard: totals_of(model.compiled) for shard in own}

    def joined(self, running: bool, where: str) -> AnyTotals:
        """Return the totals of all shards; if `running`, without metrics for whole epochs."""
        own = [totals.gathered(running) for totals in self.of_shard.values()]
        joined = totals_of(self._model.compiled)
        for gathered in self._group.share(own, where):  # ranks have their shards in order
            for part in gathered:
                joined.merge(part, running)
        return joined


class _Forward(NamedTuple):
    """What a forward of a shard leaves for its backward."""

    batch: Batch
    outputs: Any
    lengths: Any
    contexts: Any


class _Report(NamedTuple):
    """What the other processes need to know of a shard before its backward."""

    counts: list[int]
    """Rows of each output that the mean loss counts."""
    samples: int
    averages: dict[str, tuple[float, Array]]
    """What the forward does to moving averages; see `Parameters.take_averages`."""


class TrainingPass:
    """A pass over the batches of an epoch, with a step of the optimizer after each.

    Parameters
    ----------
    model : Trainable
    carry : Carry
    group : Group
    total : GradientSum
        Of the model's gradients.
    shards : int
        Of a batch.
    own : range
        Those that this process computes.
    guarded : bool
        Whether a step that would make weights NaN or infinite raises FloatingPointError.
    watched : callable
        Says whether anybody looks at the logs of batches.
    """

    def __init__(
        self,
        model: Trainable,
        carry: Carry,
        group: Group,
        total: GradientSum,
        shards: int,
        own: range,
        guarded: bool,
        watched: Callable[[], bool],
    ) -> None:
        self._model, self._carry, self._group = model, carry, group
        self._shards, self._own, self._guarded, self._watched = shards, own, guarded, watched
        self._figures = _Figures(model, group, own)
        self._sum = total
        self._states: dict[int, ModelState] = {}
        self._rows: int | None = None  # of every batch, if each continues the one before it
        self._checks = _Checks(group)
        self._check: str | None = None  # of this batch
        self._samples = 0  # of this batch
        shapes = zip(model.compiled.heads, loop.listed(model.output_shape), strict=True)
        # Whether the counts of a step are known before its forwards, and nothing of these is summed
        # before the backwards: then each shard's tape is freed before the next forward.
        self._counted = (
            carry.tbptt is None
            and all(spec.trainable for spec in model.parameters.specs.values())
            and all(loop.counts_samples(head, len(shape)) for head, shape in shapes)
        )

    # ---- batches -----------------------------------------------------------------------------

    def go(self, examples: Examples, rows: Array | slice) -> None:
        """Make the steps of a batch; see `Pass`."""
        count = len(examples)
        chosen = divide(rows, count, self._shards)
        self._samples = sum(map(_count, chosen))
        self._begin_states(rows, count, chosen)
        self._check = self._checks.of(examples)
        windows = {shard: self._windows(examples, chosen[shard]) for shard in self._own}
        while True:
            batches = {shard: next(own, None) for shard, own in windows.items()}
            if not self._step(batches) or self._carry.tbptt is None:
                return

    def _windows(self, examples: Examples, rows: Array | slice) -> Iterator[Batch]:
        if _count(rows) == 0:
            return iter(())
        return examples.windows(rows, self._carry.tbptt)

    def _begin_states(self, rows: Array | slice, count: int, chosen: list[Array | slice]) -> None:
        """Find the state before the batch, for each shard."""
        first = self._carry.first
        if not self._carry.stateful:
            self._states = {shard: choose_rows(first, chosen[shard]) for shard in self._own}
            return
        came = _batch_rows(rows, count)
        before = self._rows
        if before is None:
            before = next(iter(first.values())).h.shape[1] if first else came
            places = divide(slice(None), before, self._shards)
            self._states = {shard: choose_rows(first, places[shard]) for shard in self._own}
        check_continues(before, came)
        self._rows = before

    @property
    def state(self) -> ModelState:
        """The state after the last batch, of all shards."""
        found = self._group.share(self._states, "the state after the last batch")
        states = [state for own in found for state in own.values() if state]
        return {
            name: LSTMState(
                *(
                    np.concatenate([getattr(state[name], part) for state in states], axis=1)
                    for part in ("h", "c")
                )
            )
            for name in (states[0] if states else ())
        }

    # ---- steps -------------------------------------------------------------------------------

    def _step(self, batches: dict[int, Batch | None]) -> bool:
        """Make one step on windows of all shards; return False if no process has any left."""
        model, optimizer = self._model, self._model.compiled.optimizer
        model._follow_trainable()  # which a process without rows would not notice
        model.parameters.forget_averages()  # of a step that was refused
        where = f"step {optimizer.iterations + 1} of the optimizer"
        # Forwards that must come before all backwards, since these need to know the counts.
        ahead = {} if self._counted else self._forwards(batches)
        reports = [report for _, report in ahead.values()]
        own_part = (reports, self._check, self._sum.touched, model.stop_training)
        found = self._group.share(own_part, where)
        check_batches(self._group, [check for _, check, _, _ in found], where)
        if any(stop for _, _, _, stop in found):  # a signal may have set it in one process
            self._group.stops = model.stop_training = True
        every = [report for own, _, _, _ in found for report in own]
        counts = [self._samples] * len(model.compiled.heads)
        if not self._counted:
            counts = [sum(column) for column in zip(*(one.counts for one in every), strict=True)]
        if not self._counted and not every:
            return False
        judged: dict[int, Any] = {}

        def leaf(shard: int) -> bool:
            batch = batches[shard]
            if batch is None:
                return False
            if shard not in ahead:
                ahead[shard] = self._forward(shard, batch)
            forward, _ = ahead.pop(shard)
            judged[shard] = self._backward(forward, counts)
            return True

        touched = [own for _, _, own, _ in found]
        self._sum.run(leaf, where, tables_that_pay(model.parameters, touched))
        penalty = self._finish(judged, counts, where)
        for shard, one in judged.items():
            self._figures.of_shard[shard].take(one, penalty)
        model.parameters.note_moves(_joined_averages(every))
        loop.make_step(model)
        for shard, one in judged.items():
            self._figures.of_shard[shard].take_metrics(one)
        return True

    def _forwards(self, batches: dict[int, Batch | None]) -> dict[int, tuple[_Forward, _Report]]:
        """Compute the outputs of the shards that have rows."""
        rows = {shard: batch for shard, batch in batches.items() if batch is not None}
        return {shard: self._forward(shard, batch) for shard, batch in rows.items()}

    def _forward(self, shard: int, batch: Batch) -> tuple[_Forward, _Report]:
        """Compute the outputs of a shard."""
        model, compiled = self._model, self._model.compiled
        seed = derive(model.seed, loop.DROPOUT, compiled.optimizer.iterations, shard)
        outputs, lengths, contexts, self._states[shard] = model._forward_from(
            batch.inputs,
            batch.lengths,
            True,
            seed,
            compiled.takes_logits,
            self._states[shard],
            batch.reset,
        )
        counts = loop.count_rows(compiled, outputs, lengths)
        samples = len(loop.listed(outputs)[0])
        report = _Report(counts, samples, model.parameters.take_averages())
        return _Forward(batch, outputs, lengths, contexts), report

    def _backward(self, forward: _Forward, counts: list[int]) -> Any:
        """Write the gradients of a shard; return its loss."""
        batch, outputs, lengths, contexts = forward
        model = self._model
        judged = loop.judge(model.compiled, outputs, lengths, batch, True, counts)
        model.backward(contexts, judged.gradient)
        if self._guarded and not math.isfinite(sum(_values(judged))):
            # Every process sees it in the sum of all gradients.
            model.parameters.take_rows()  # which may not name the place of the mark
            model.parameters.gradients[model.parameters.trained_parts[0].start] = math.nan
        return judged

    def _finish(self, judged: dict[int, Any], counts: list[int], where: str) -> float:
        """Add penalties; raise FloatingPointError in all processes if the step must not be made."""
        model = self._model
        try:
            return loop.finish_gradients(model, 0.0, self._guarded)
        except FloatingPointError as error:
            own = [_values(one) for one in judged.values()]
            shards = [values for part in self._group.share(own, where) for values in part]
            totals = [sum(column) for column in zip(*shards, strict=True)]
            means = [total / max(count, 1) for total, count in zip(totals, counts, strict=True)]
            refused = error
            if not math.isfinite(sum(means)):
                refused = loop.refusal(model, f"the loss is {sum(means)}")
            raise self._group.agree(refused) from None

    # ---- figures -----------------------------------------------------------------------------

    def batch_logs(self) -> Logs:
        """Return loss and metrics so far; nothing if nobody looks at them."""
        if not self._watched():
            return {}
        logs: Logs = self._figures.joined(True, "the logs of a batch").batch_logs()
        return logs

    def logs(self) -> Logs:
        """Return loss and metrics of the epoch, after all processes have compared their weights."""
        if self._group.size > 1:
            where = "the end of an epoch"
            check_alike(
                self._group,
                digests_of_training(self._model),
                where,
                DistributedError,
                "; something changed them in one process alone: a callback at a batch, a layer or "
                "loss of your own that does not compute the same everywhere, or a faulty machine",
            )
        logs: Logs = self._figures.joined(False, "the figures of an epoch").logs()
        return logs


class EvaluationPass:
    """A pass over the batches to validate on.

    Parameters
    ----------
    model, carry, group, shards, own
        See `TrainingPass`.
    """

    def __init__(
        self, model: Trainable, carry: Carry, group: Group, shards: int, own: range
    ) -> None:
        self._model, self._shards, self._own, self._group = model, shards, own, group
        self._figures = _Figures(model, group, own)
        self._walks = {shard: Walk(carry) for shard in own}
        self._checks, self._found = _Checks(group), list[str | None]()
        self._penalty: float | None = None
        self._stateful = carry.stateful
        self._rows: int | None = None  # of every batch, if each continues the one before it

    def go(self, examples: Examples, rows: Array | slice) -> None:
        """Compute this process's shards of a batch; see `Pass`."""
        self._group.look("the end of a validation")
        self._found.append(self._checks.of(examples))
        if self._stateful:
            came = _batch_rows(rows, len(examples))
            check_continues(came if self._rows is None else self._rows, came)
            self._rows = came
        if self._penalty is None:  # the same for all shards and batches
            self._model._follow_trainable()
            self._penalty = loop.penalty_of(self._model.parameters)
        chosen = divide(rows, len(examples), self._shards)
        for shard in self._own:
            if _count(chosen[shard]):
                self._walks[shard].go(examples, chosen[shard], self._step_of(shard))

    def _step_of(self, shard: int) -> Callable[[Batch, ModelState], ModelState]:
        totals = self._figures.of_shard[shard]
        return lambda batch, state: loop.test_step(self._model, batch, totals, state, self._penalty)

    @property
    def state(self) -> ModelState:
        """Nothing, since no call continues a validation."""
        return {}

    def batch_logs(self) -> Logs:
        """Return nothing, since nobody looks at the batches of a validation."""
        return {}

    def logs(self) -> Logs:
        """Return loss and metrics of all batches, which must be the same in all processes."""
        found = self._group.share(self._found, "the batches of a validation")
        for number, checks in enumerate(zip_longest(*found), 1):
            check_batches(self._group, checks, f"batch {number} of the validation")
        logs: Logs = self._figures.joined(False, "the end of a validation").logs()
        return logs


def _count(rows: Array | slice) -> int:
    """Return how many rows of a shard there are."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def _batch_rows(rows: Array | slice, count: int) -> int:
    """Return how many of `count` samples a batch has."""
    return len(range(*rows.indices(count))) if isinstance(rows, slice) else len(rows)


def _values(judged: Any) -> list[float]:
    """Return the sum of the losses of each output."""
    parts = judged.parts if isinstance(judged, JointlyJudged) else [judged]
    return [part.value for part in parts]


def _joined_averages(reports: list[_Report]) -> dict[str, tuple[float, Array]]:
    """Return where moving averages go: to the mean over samples of where the shards move them."""
    samples = sum(report.samples for report in reports)
    names = dict.fromkeys(name for report in reports for name in report.averages)
    moves = {}
    for name in names:
        factor, shift = 0.0, np.zeros(())
        for report in reports:
            share = report.samples / samples
            own = report.averages.get(name, (1.0, np.zeros(())))  # a shard without valid steps
            factor, shift = factor + share * own[0], shift + share * own[1]
        moves[name] = (factor, np.asarray(shift))
    return moves
