"""Training, evaluation and prediction, batch by batch."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from lstmcore import _core
from lstmcore._seeds import derive
from lstmcore._signals import signals_deferred
from lstmcore._typing import Array
from lstmcore.functional import LSTMState
from lstmcore.layers.parameters import Parameters, WeightSpec
from lstmcore.layers.states import ModelState
from lstmcore.training.batches import InMemory, Source
from lstmcore.training.callback import Callback
from lstmcore.training.callback_list import CallbackList
from lstmcore.training.carry import Carry, Walk, choose_rows
from lstmcore.training.compiled import Compiled
from lstmcore.training.data import Batch, Examples
from lstmcore.training.decisions import Decisions, decisions_of
from lstmcore.training.division import Distribution, Session
from lstmcore.training.joint import Joint
from lstmcore.training.losses import CRF, SequenceLoss
from lstmcore.training.masks import spread
from lstmcore.training.progress import with_bar
from lstmcore.training.totals import AnyTotals, JointlyJudged, Judged, Totals, totals_of
from lstmcore.training.trainable import Trainable

__all__ = [
    "WHOLE",
    "Totals",
    "evaluate",
    "fit",
    "predict",
    "test_step",
    "totals_of",
    "train_step",
]

# Places of randomness in `derive(model.seed, place, step)`. The step is the number of steps that
# the optimizer has taken, which a model file stores, so a resumed run draws the same numbers.
SHUFFLE, DROPOUT = 1, 2


def train_step(
    model: Trainable, batch: Batch, totals: AnyTotals, state: ModelState, guarded: bool = False
) -> ModelState:
    """Take one step of the optimizer on `batch`, from `state`; return the state after it.

    If `guarded`, raise FloatingPointError before the step if the loss or a gradient is not finite.
    """
    compiled, parameters = model.compiled, model.parameters
    parameters.forget_averages()  # of a step that was refused
    seed = derive(model.seed, DROPOUT, compiled.optimizer.iterations)
    outputs, lengths, contexts, after = model._forward_from(
        batch.inputs, batch.lengths, True, seed, compiled.takes_logits, state, batch.reset
    )
    judged = judge(compiled, outputs, lengths, batch, True)
    model.backward(contexts, judged.gradient)
    penalty = finish_gradients(model, judged.mean, guarded)
    totals.take(judged, penalty)
    make_step(model)
    totals.take_metrics(judged)
    return after


def finish_gradients(model: Trainable, loss: float, guarded: bool) -> float:
    """Add the gradients of the penalties to those of `loss`, a mean; return the penalties' sum.

    If `guarded`, raise FloatingPointError if the loss or a gradient is not finite.
    """
    penalty = _add_penalties(model.parameters)
    if guarded:
        _guard(model, loss + penalty)
    return penalty


def make_step(model: Trainable) -> None:
    """Make the step of the optimizer that the gradients ask for."""
    with signals_deferred():  # it is made as a whole or not at all
        model.compiled.optimizer.apply(model.parameters)
        _constrain(model.parameters)


def _guard(model: Trainable, loss: float) -> None:
    if not math.isfinite(loss):
        raise refusal(model, f"the loss is {loss}")
    if not model.parameters.gradients_are_finite():
        raise refusal(model, "a gradient of the loss is not finite")


def refusal(model: Trainable, what: str) -> FloatingPointError:
    """Return the error for a step that is not made because of `what`."""
    rate = model.optimizer.learning_rate
    now = f" (now {rate:g})" if isinstance(rate, float) else ""
    caller, also = "train_on_batch", ""
    if model._is_fitting:
        caller = "fit"
        also = "; callbacks.TerminateOnNaN() ends the training without an error"
    return FloatingPointError(
        f"{caller}: {what} in step {model.optimizer.iterations + 1} of the optimizer, which was "
        f"not made: the weights are those before it. Try a lower learning_rate{now}, "
        "global_clipnorm=1 in the optimizer, or x and y scaled to about mean 0 and deviation 1. "
        f"on_nan='ignore' continues training{also}"
    )


def test_step(
    model: Trainable,
    batch: Batch,
    totals: AnyTotals,
    state: ModelState,
    penalty: float | None = None,  # noqa: PT028 - not a test of pytest
) -> ModelState:
    """Compute loss and metrics on `batch`, from `state`; return the state after it.

    `penalty` is what `penalty_of` returns; None: it is computed.
    """
    compiled = model.compiled
    model._follow_trainable()
    outputs, lengths, _, after = model._forward_from(
        batch.inputs, batch.lengths, False, 0, compiled.takes_logits, state, batch.reset
    )
    judged = judge(compiled, outputs, lengths, batch, False)
    totals.take(judged, penalty_of(model.parameters) if penalty is None else penalty)
    totals.take_metrics(judged)
    return after


class _WholePass:
    """A pass of one process, batch by batch; see `Pass`.

    Parameters
    ----------
    model : Trainable
    carry : Carry
    step : callable
        Computes a batch: takes it, the totals and the state before it, and returns the state after.
    """

    def __init__(
        self,
        model: Trainable,
        carry: Carry,
        step: Callable[[Batch, AnyTotals, ModelState], ModelState],
    ) -> None:
        self._totals, self._walk, self._step = totals_of(model.compiled), Walk(carry), step
        self.batch_logs, self.logs = self._totals.batch_logs, self._totals.logs

    def go(self, examples: Examples, rows: Array | slice) -> None:
        self._walk.go(examples, rows, lambda batch, state: self._step(batch, self._totals, state))

    @property
    def state(self) -> ModelState:
        return self._walk.state


class _Whole(Distribution):
    """One process alone, with whole batches; also its own `Session`."""

    def session(self) -> AbstractContextManager[Session]:
        return nullcontext(self)

    def listeners(self, callbacks: Sequence[Callback], model: Trainable) -> CallbackList:
        return CallbackList(callbacks, model)

    def compare(self, model: Trainable, rows: int, **what: object) -> None:
        """Do nothing, since no other process takes part."""

    def stops(self, model: Trainable) -> bool:
        return model.stop_training

    def training(self, model: Trainable, carry: Carry, guarded: bool) -> _WholePass:
        def step(batch: Batch, totals: AnyTotals, state: ModelState) -> ModelState:
            return train_step(model, batch, totals, state, guarded)

        return _WholePass(model, carry, step)

    def evaluation(self, model: Trainable, carry: Carry) -> _WholePass:
        def step(batch: Batch, totals: AnyTotals, state: ModelState) -> ModelState:
            return test_step(model, batch, totals, state)

        return _WholePass(model, carry, step)


WHOLE = _Whole()
"""The division of work that `fit` has by default: none."""


def fit(
    model: Trainable,
    source: Source,
    validation: Source | None,
    listeners: CallbackList,
    session: Session = WHOLE,
    *,
    epochs: int,
    initial_epoch: int,
    shuffle: bool,
    carry: Carry,
    guarded: bool,
) -> None:
    """Train from `initial_epoch` to `epochs`; `listeners` already know that it begins."""
    logs: dict[str, float] = {}
    try:
        for epoch in range(initial_epoch, epochs):
            model._begin_epoch(epoch)
            listeners.on_epoch_begin(epoch)
            seed = derive(model.seed, SHUFFLE, model.compiled.optimizer.iterations)
            training = session.training(model, carry, guarded)
            batches = source.batches(seed if shuffle else None, epoch)
            for number, (examples, rows) in enumerate(batches):
                listeners.on_train_batch_begin(number)
                training.go(examples, rows)
                listeners.on_train_batch_end(number, training.batch_logs())
                if session.stops(model):
                    break
            logs = training.logs()
            if carry.stateful:
                model.state = training.state
            if validation is not None:
                # From zeros: validation data does not continue the training data.
                unseen = replace(carry, first={})
                results = evaluate(model, validation, 0, unseen, session)
                logs.update((f"val_{name}", value) for name, value in results.items())
            model.epoch = epoch + 1  # an epoch cut short, even in validation, does not count
            listeners.on_epoch_end(epoch, logs)
            if session.stops(model):
                break
    finally:
        # Even after an interruption, best weights are restored and files are closed.
        try:
            model._keep_callback_states(listeners.states())
        finally:
            listeners.on_train_end(logs)


def evaluate(
    model: Trainable, source: Source, verbose: int | str, carry: Carry, session: Session = WHOLE
) -> dict[str, float]:
    """Compute the mean loss and the metrics over all batches of `source`."""
    evaluation = session.evaluation(model, carry)
    batches = with_bar(source.batches(), source.steps, "Evaluate", verbose, evaluation.logs)
    for examples, rows in batches:
        evaluation.go(examples, rows)
    return evaluation.logs()


def predict(
    model: Trainable,
    examples: Examples,
    batch_size: int,
    verbose: int | str,
    stateful: bool,
    state: ModelState,
    want_state: bool = True,
) -> tuple[Any, ModelState]:
    """Compute the outputs of all of `examples`, in their order, and the state at the end.

    If `stateful`, `state` is that before the first batch, and each batch continues the one before
    it; else it has an entry for each sample. The returned state is of the same kind; without
    `want_state` it is left empty where it would have to be gathered.
    """
    after: ModelState = {}
    in_rows = examples.outputs_in_rows(model.output_shape)
    gathered = [_Gathered(len(examples), ragged) for ragged in listed(in_rows)]
    source = InMemory(examples, batch_size, bucket=not stateful)
    for _, rows in with_bar(source.batches(), source.steps, "Predict", verbose):
        batch = examples.batch(rows)
        before = state if stateful else choose_rows(state, rows)
        y, lengths, _, end = model._forward_from(
            batch.inputs, batch.lengths, False, 0, False, before, batch.reset
        )
        if stateful:
            state = after = end
        elif want_state:
            _put_rows(after, rows, end, len(examples))
        for one, values, counts in zip(gathered, listed(y), listed(lengths), strict=True):
            one.put(rows, values, counts)
    found = [one.values for one in gathered]
    return (found if isinstance(in_rows, list) else found[0]), after


def spread_over(outputs: Any, heads: Sequence[Examples]) -> Any:
    """Put rows of each output back where a mask left their steps; see `masks.spread`."""
    found = []
    for values, head in zip(outputs if len(heads) > 1 else [outputs], heads, strict=True):
        if head.there is not None and isinstance(values, list):
            values = spread(values, head.there)
        found.append(values)
    return found if len(heads) > 1 else found[0]


def listed(value: Any) -> list[Any]:
    """Return a list of what belongs to each output, also for a model with a single one."""
    return value if isinstance(value, list) else [value]


class _Gathered:
    """The outputs of all samples, in their order; a list if they have different numbers of steps.

    Parameters
    ----------
    count : int
        Samples.
    ragged : bool
        Whether the samples' own lengths are those of the outputs.
    """

    def __init__(self, count: int, ragged: bool) -> None:
        self.count, self.ragged = count, ragged
        self.values: Array | list[Array] | None = None

    def put(self, rows: Array | slice, y: Array, lengths: Array | None) -> None:
        """Put the outputs of a batch where they belong."""
        if self.values is None and self.ragged and lengths is not None:
            self.values = [np.empty(0)] * self.count
        if isinstance(self.values, list):
            assert lengths is not None
            numbers = range(*rows.indices(self.count)) if isinstance(rows, slice) else rows
            for row, values, length in zip(numbers, y, lengths, strict=True):
                self.values[int(row)] = values[:length].copy()
            return
        if self.values is None:
            self.values = np.empty((self.count, *y.shape[1:]), y.dtype)
        self.values[rows] = y


def output_rows(model: Trainable, examples: Examples, batch_size: int, stateful: bool) -> Array:
    """Compute the outputs of all samples, or of their valid steps, as rows (M, U).

    The order of the rows is that of the batches, the same for every model.
    """
    state: ModelState = {}
    found: list[Array] = []
    for _, rows in InMemory(examples, batch_size, bucket=not stateful).batches():
        batch = examples.batch(rows)
        y, lengths, _, end = model._forward_from(
            batch.inputs, batch.lengths, False, 0, False, state, batch.reset
        )
        if stateful:
            state = end
        if y.ndim > 2 and lengths is not None:
            y = y[np.arange(y.shape[1]) < lengths[:, None]]
        found.append(y.reshape(-1, y.shape[-1]))
    return np.concatenate(found) if found else np.empty((0, model.output_shape[-1] or 0))


def _put_rows(state: ModelState, rows: Array | slice, part: ModelState, count: int) -> None:
    """Put the rows of `part` where they belong in `state`, of `count` rows."""
    for name, pair in part.items():
        if name not in state:
            h, c = (np.empty((len(one), count, one.shape[2]), one.dtype) for one in pair)
            state[name] = LSTMState(h, c)
        for whole, values in zip(state[name], pair, strict=True):
            whole[:, rows] = values


def count_rows(compiled: Compiled | Joint, outputs: Any, lengths: Any) -> list[int]:
    """Count the rows over which the mean loss of each output is taken."""
    heads = zip(compiled.heads, listed(outputs), listed(lengths), strict=True)
    return [_count_rows(head, values, valid) for head, values, valid in heads]


def counts_samples(compiled: Compiled, axes: int) -> bool:
    """Return whether the mean loss of an output with so many axes is taken over samples."""
    return axes == 2 or isinstance(compiled.step_loss, (SequenceLoss, CRF))


def _count_rows(compiled: Compiled, outputs: Array, lengths: Array | None) -> int:
    if counts_samples(compiled, outputs.ndim):
        return len(outputs)
    return math.prod(outputs.shape[:2]) if lengths is None else int(lengths.sum())


def judge(
    compiled: Compiled | Joint,
    outputs: Any,
    lengths: Any,
    batch: Batch,
    need_gradient: bool,
    whole: Sequence[int] | None = None,
) -> Any:
    """Compute the loss of a batch: `Judged`, or `JointlyJudged` for several outputs.

    If it is a shard of a batch, `whole` is what `count_rows` returns for the whole batch, over
    which the mean is taken whose gradient is returned.
    """
    if whole is None:
        whole = count_rows(compiled, outputs, lengths)
    if not isinstance(compiled, Joint):
        return _loss(compiled, outputs, lengths, batch, need_gradient, whole[0])
    parts, gradient, mean = [], [], 0.0
    heads = zip(compiled.parts.items(), outputs, lengths, batch.heads, whole, strict=True)
    for (name, part), values, valid, head, rows in heads:
        judged = _loss(part, values, valid, head, need_gradient, rows)
        weight = compiled.loss_weights[name]
        mean += weight * judged.mean
        own = judged.gradient
        gradient.append(None if own is None else own * own.dtype.type(weight))
        parts.append(judged)
    return JointlyJudged(parts, mean, gradient, len(outputs[0]))


def _loss(
    compiled: Compiled,
    outputs: Array,
    lengths: Array | None,
    batch: Batch,
    need_gradient: bool,
    whole: int,
) -> Judged:
    """Compute the loss of the one output, and the gradient of the mean over `whole` rows."""
    loss, scale = compiled.step_loss, 1.0 / max(whole, 1)
    if isinstance(loss, SequenceLoss):
        assert batch.targets is not None
        assert batch.target_lengths is not None
        if lengths is None:
            lengths = np.full(len(outputs), outputs.shape[1], np.int64)
        sequences = (batch.targets, batch.target_lengths, outputs, lengths)
        count, weights = len(outputs), batch.weights
        value, gradient = loss.sum_sequences(*sequences, weights, scale, need_gradient)
        seen = loss.for_metrics(*sequences) if compiled.row_metrics else (batch.targets, outputs)
        decisions = _decisions(compiled, outputs, lengths, batch)
        return Judged(value, gradient, count, (*seen, None, weights), decisions)
    if isinstance(loss, CRF):
        assert batch.targets is not None
        assert lengths is not None
        count, tagged = len(outputs), (outputs, lengths)
        value, gradient = loss.sum_tagged(
            batch.targets, *tagged, batch.weights, scale, need_gradient
        )
        if not compiled.metrics:
            return Judged(value, gradient, count, (batch.targets, outputs, None, None))
        decided = loss.decided(*tagged)
        rows, targets, weights, mask, _ = _flatten(decided, lengths, batch)
        decisions = _decisions(compiled, decided, lengths, batch)
        return Judged(value, gradient, count, (targets, rows, mask, weights), decisions)
    rows, targets, weights, mask, count = _flatten(outputs, lengths, batch)
    value, gradient = loss.sum(targets, rows, weights, scale, need_gradient)
    if gradient is not None:
        gradient = gradient.reshape(outputs.shape)
    decisions = _decisions(compiled, outputs, lengths, batch)
    return Judged(value, gradient, count, (targets, rows, mask, weights), decisions)


def _decisions(
    compiled: Compiled, outputs: Array, lengths: Array | None, batch: Batch
) -> Decisions | None:
    """Return what metrics of sequences see, if there are any."""
    if not compiled.sequence_metrics:
        return None
    return decisions_of(compiled.step_loss, outputs, lengths, batch)


def _flatten(
    outputs: Array, lengths: Array | None, batch: Batch
) -> tuple[Array, Array, Array | None, Array | None, int]:
    """Return outputs (M, U), targets, weights and mask (M,), and the number of valid rows.

    The mask is 0 at invalid steps and where no target is known; where weights are 0 it may be 1.
    """
    targets, weights = batch.targets, batch.weights
    assert targets is not None
    known = None if batch.known is None else batch.known.astype(outputs.dtype)
    if outputs.ndim == 2:
        return outputs, targets, weights, known, len(outputs)
    samples, steps, units = outputs.shape
    mask, count = known, samples * steps
    if lengths is not None:
        there = (np.arange(steps) < lengths[:, None]).astype(outputs.dtype)
        mask, count = there if known is None else there * known, int(lengths.sum())
    if weights is None:
        weights = mask
    else:
        weights = np.broadcast_to(
            weights if weights.ndim == 2 else weights[:, None], (samples, steps)
        )
        weights = weights if mask is None else weights * mask
    flat = (-1,) if targets.ndim == 2 else (-1, targets.shape[2])
    return (
        outputs.reshape(-1, units),
        targets.reshape(flat),
        None if weights is None else weights.reshape(-1),
        None if mask is None else mask.reshape(-1),
        count,
    )


def _constrain(parameters: Parameters) -> None:
    for name, spec in parameters.specs.items():
        if spec.constraint is not None and name not in parameters.frozen:
            spec.constraint.restore(parameters.value(name), spec.inputs)
            parameters.touch()


def _penalized(parameters: Parameters) -> list[tuple[str, WeightSpec]]:
    """List the weights with a penalty; as in Keras, frozen weights have none."""
    return [
        (name, spec)
        for name, spec in parameters.specs.items()
        if (spec.l1 or spec.l2) and name not in parameters.frozen
    ]


def penalty_of(parameters: Parameters) -> float:
    """Return the sum of the penalties on all weights."""
    total = 0.0
    for name, spec in _penalized(parameters):
        values = parameters.value(name).reshape(-1)
        if spec.l1:
            total += spec.l1 * float(np.abs(values).sum(dtype=np.float64))
        if spec.l2:
            total += spec.l2 * _core.squared_norm(values)
    return total


def _add_penalties(parameters: Parameters) -> float:
    """Add the gradients of the penalties, and return the penalties' sum."""
    for name, spec in _penalized(parameters):
        gradient, values = parameters.gradient(name), parameters.value(name)
        if spec.l1:
            gradient += spec.l1 * np.sign(values)
        if spec.l2:
            gradient += 2.0 * spec.l2 * values
    return penalty_of(parameters)
