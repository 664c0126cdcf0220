"""From the arguments of `fit` and `evaluate` to sources of checked batches."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._intake import Intake
from lstmcore._typing import Array, OnNan, choices
from lstmcore.layers.states import ModelState
from lstmcore.training import loop
from lstmcore.training.batches import (
    BATCH_SIZE,
    InMemory,
    Iterated,
    Source,
    is_batches,
    parts_of,
    refuse_beside,
)
from lstmcore.training.callback_list import CallbackList
from lstmcore.training.callback_state import CallbackState
from lstmcore.training.callbacks import Callback, History, TerminateOnNaN
from lstmcore.training.carry import Carry
from lstmcore.training.curriculum import Curriculum, Paced
from lstmcore.training.data import Examples, Ragged, whole_batches
from lstmcore.training.division import Distribution, Session
from lstmcore.training.look import look_at_loss
from lstmcore.training.prepare import split
from lstmcore.training.progress import reporters
from lstmcore.training.samples import Samples
from lstmcore.training.trainable import Trainable

__all__ = ["Step", "evaluate", "fit", "on_batch"]

Step: TypeAlias = Callable[..., ModelState]
"""`loop.train_step` or `loop.test_step`."""


class Fitted(Trainable, Protocol):
    """A model as `fit` sees it, with what it stores about the running or last training."""

    history: History | None
    _listeners: CallbackList | None
    _callback_states: list[CallbackState]


def fit(
    model: Fitted, samples: Samples, *, distributed: Distribution | None, **options: Any
) -> History:
    """Check everything, then train; `options` are the other arguments of `Model.fit`."""
    if distributed is None:
        distributed = loop.WHOLE
    _checks.instance(
        distributed,
        Distribution,
        "distributed",
        "lstmcore.distributed.MPI(), lstmcore.distributed.OneProcess() or None",
    )
    with distributed.session() as session:
        return _fit(model, samples, session, **options)


def _fit(
    model: Fitted,
    samples: Samples,
    session: Session,
    *,
    batch_size: int | None,
    epochs: int,
    verbose: int | str,
    callbacks: Sequence[Callback] | Callback | None,
    validation_split: float,
    validation_data: Any,
    shuffle: bool | None,
    initial_epoch: int,
    steps_per_epoch: int | None,
    validation_steps: int | None,
    validation_batch_size: int | None,
    tbptt: int | None,
    stateful: bool | None,
    state: Any,
    curriculum: Curriculum | None,
    check_finite: bool,
    on_nan: str,
) -> History:
    """Check everything, then train; see `fit`."""
    streaming = _are_batches(model, samples)
    if streaming:
        refuse_beside(
            y=samples.y,
            sample_weight=samples.sample_weight,
            batch_size=batch_size,
            validation_split=validation_split or None,
            shuffle=shuffle or None,
            reset=samples.reset,
            mask=samples.mask,
            curriculum=curriculum,
        )
        shuffle = False
    rows = _checks.integer(BATCH_SIZE if batch_size is None else batch_size, "batch_size", 1)
    validation_rows = _checks.integer(
        rows if validation_batch_size is None else validation_batch_size,
        "validation_batch_size",
        1,
    )
    epochs = _checks.integer(epochs, "epochs", 1)
    initial_epoch = _checks.integer(initial_epoch, "initial_epoch", 0)
    if initial_epoch > epochs:
        raise ValueError(
            f"initial_epoch: expected at most epochs, the number of the epoch at which training "
            f"ends, got {initial_epoch} with epochs={epochs}, so that nothing would be trained; "
            f"for {epochs} more epochs pass epochs={initial_epoch + epochs}"
        )
    steps = _steps(steps_per_epoch, "steps_per_epoch")
    validation_steps = _steps(validation_steps, "validation_steps")
    if validation_steps is not None and validation_data is None and not validation_split:
        raise ValueError("validation_steps: expected None without anything to validate on")
    if tbptt is not None:
        tbptt = _checks.integer(tbptt, "tbptt", 1)
    on_nan = _checks.choice(on_nan, "on_nan", choices(OnNan))
    if curriculum is not None:
        _checks.instance(curriculum, Curriculum, "curriculum", "an lstmcore.Curriculum")
    intake = Intake(check_finite)
    listed = _listed(callbacks)
    judged = any(isinstance(callback, TerminateOnNaN) for callback in listed)
    history = History()
    listeners = session.listeners([*listed, history, *reporters(verbose, history)], model)
    with model._unchanged_on_error(model.optimizer):
        windows = tbptt is not None
        training: Examples | Iterated
        if streaming:
            training = _iterated(model, samples, intake, "x", steps, "steps_per_epoch", windows)
        else:
            model._learn_vocabularies(samples)
            training = _examples(model, samples, intake, windows)
        order: Array | None = None
        if curriculum is not None:
            assert isinstance(training, Examples)
            order = curriculum.order(samples.x, samples.y, len(training))
        held_out = _held_out(model, validation_data, intake, validation_steps, windows)
        if held_out is None and validation_split != 0.0:
            assert isinstance(training, Examples)
            training, held_out = split(training, validation_split)
        if isinstance(training, Examples):
            _refuse_zeros(training.weights)
        for part in (training, held_out):
            if isinstance(part, Iterated):
                part.check_epochs(epochs - initial_epoch)
        count = min(rows, len(training)) if isinstance(training, Examples) else None
        carry = model._carry(tbptt, stateful, state, count, intake)
        shuffle = _checks.flag(not carry.stateful if shuffle is None else shuffle, "shuffle")
        if carry.stateful and shuffle:
            raise ValueError("shuffle: expected False, since each batch continues the previous one")
        source = _source(training, "x", carry, rows, shuffle, steps, "steps_per_epoch")
        if curriculum is not None and order is not None:
            source = _paced(model, source, curriculum, order, carry)
        validation: Source | None = None
        if held_out is not None:
            bucket = not carry.stateful and validation_steps is None
            validation = _source(
                held_out,
                "validation_data",
                carry,
                validation_rows,
                bucket,
                validation_steps,
                "validation_steps",
            )
        unfreezing = any(listener._unfreezes for listener in listeners.callbacks)
        _check_trains(model, "fit", unfreezing)
        first = training if isinstance(training, Examples) else training.peek()
        look_at_loss(model, first, tbptt)
        model.optimizer.build(model.parameters)
        model.history = history
        model.stop_training = False
        names = model.compiled.log_names
        if validation is not None:
            names = [*names, *(f"val_{name}" for name in names)]
        params = {"epochs": epochs, "steps": source.steps, "initial_epoch": initial_epoch}
        session.compare(
            model,
            len(first) if count is None else count,
            x_and_y=first,
            validation_data=held_out.peek() if isinstance(held_out, Iterated) else held_out,
            batch_size=(rows, validation_rows),
            epochs=params,
            validation_steps=validation_steps,
            shuffle=shuffle,
            curriculum=None if curriculum is None else (order, *curriculum.described()),
            tbptt=carry.tbptt,
            state=(carry.stateful, carry.first),
            on_nan=(on_nan, judged),
        )
        _begin(model, listeners, params, names)
    try:
        loop.fit(
            model,
            source,
            validation,
            listeners,
            session,
            epochs=epochs,
            initial_epoch=initial_epoch,
            shuffle=shuffle,
            carry=carry,
            guarded=on_nan == "raise" and not judged,
        )
    finally:
        model._listeners = None
    return history


def evaluate(
    model: Trainable,
    samples: Samples,
    *,
    batch_size: int | None,
    verbose: int | str,
    steps: int | None,
    state: Any,
    stateful: bool | None,
    check_finite: bool,
    return_dict: bool,
) -> Any:
    """Check everything, then compute loss and metrics; see `Model.evaluate`."""
    steps = _steps(steps, "steps")
    intake = Intake(check_finite)
    rows = _checks.integer(BATCH_SIZE if batch_size is None else batch_size, "batch_size", 1)
    source: Source
    with nullcontext() if model.built else model._unchanged_on_error():
        if _are_batches(model, samples):
            refuse_beside(
                y=samples.y,
                sample_weight=samples.sample_weight,
                batch_size=batch_size,
                reset=samples.reset,
                mask=samples.mask,
            )
            source = _iterated(model, samples, intake, "x", steps, "steps")
            carry = model._carry(None, stateful, None, None)
            if not carry.stateful:
                refuse_beside(state=state)
            count = None
        else:
            examples = _examples(model, samples, intake)
            carry = model._carry(None, stateful, None, rows)
            count = len(examples)
            if carry.stateful:
                count = rows = whole_batches(count, rows, "x")
            # With a number of steps, take the first rows, not the shortest ones.
            source = InMemory(examples, rows, not carry.stateful and steps is None, steps, "steps")
        if state is not None:
            carry = replace(carry, first=model._check_state(state, count, intake=intake))
    return _results(loop.evaluate(model, source, verbose, carry), return_dict)


def on_batch(
    model: Trainable,
    step: Step,
    samples: Samples,
    state: Any,
    check_finite: bool,
    return_dict: bool,
    return_state: bool,
    on_nan: str | None = None,
) -> Any:
    """Check everything, then run `step` on all samples; see `Model.train_on_batch`."""
    intake = Intake(check_finite)
    if on_nan is not None:  # when training
        guarded = _checks.choice(on_nan, "on_nan", choices(OnNan)) == "raise"
        step = partial(step, guarded=guarded)
    return_state = _checks.flag(return_state, "return_state")
    return_dict = _checks.flag(return_dict, "return_dict")
    with nullcontext() if model.built else model._unchanged_on_error():
        if _are_batches(model, samples):
            raise TypeError(
                "x: expected one batch, an array or a list of rows, got "
                f"{_checks.describe(samples.x)}, which yields several; use fit or evaluate"
            )
        examples = _examples(model, samples, intake)
        if return_state:
            model._check_passes_state("return_state")
        before: ModelState = {}
        if state is not None:
            before = model._check_state(state, len(examples), intake=intake)
        if on_nan is not None:
            _check_trains(model, "train_on_batch")
    totals = loop.totals_of(model.compiled)
    after = step(model, examples.batch(slice(None)), totals, before)
    results = _results(totals.logs(), return_dict)
    return (results, after) if return_state else results


def _are_batches(model: Trainable, samples: Samples) -> bool:
    """Return whether `samples.x` yields batches of samples."""
    if isinstance(samples.x, list) and samples.y is not None:
        return False  # rows with their targets
    return is_batches(samples.x, model._batch_rank, lone=True)


def _examples(
    model: Trainable, samples: Samples, intake: Intake, windows: bool = False
) -> Examples:
    """Check and convert samples."""
    if samples.y is None:
        _refuse_pair(samples.x)
    model._check_head()
    examples = model._examples(samples, intake, windows)
    model.compiled.check_shape(model.output_shape)
    return examples


def _iterated(
    model: Trainable,
    samples: Samples,
    intake: Intake,
    name: str,
    steps: int | None,
    argument: str,
    windows: bool = False,
    same: bool = False,
) -> Iterated:
    """Check and convert what `samples.x` yields, batch by batch; look at the first one now."""

    def prepare(item: Any) -> Examples:
        x, y, weights = parts_of(item)
        return _examples(model, Samples(x, y, weights, samples.class_weight), intake, windows)

    source = Iterated(samples.x, prepare, name, steps, argument, same)
    source.peek()
    return source


def _refuse_pair(x: Any) -> None:
    """Raise ValueError if `x`, passed without y, seems to hold both."""
    if not isinstance(x, (tuple, list)) or len(x) not in (2, 3):
        return
    if all(hasattr(part, "__len__") and not isinstance(part, (str, bytes)) for part in x):
        raise ValueError(
            f"y: expected targets, got None alongside x that is a {type(x).__name__} of {len(x)}; "
            + (
                "pass x and y as two arguments: fit(x, y)"
                if len(x) == 2
                else "pass x, y and weights as arguments: fit(x, y, sample_weight=weights)"
            )
        )


def _results(logs: dict[str, float], return_dict: bool) -> Any:
    """Return loss and metrics in the form that Keras' users know."""
    if _checks.flag(return_dict, "return_dict"):
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _check_trains(model: Trainable, name: str, unfreezing: bool = False) -> None:
    """Raise ValueError, naming the method `name`, if no weight can be trained.

    `unfreezing` says that a callback will unfreeze a layer before the first step.
    """
    if model.parameters.values.size == 0:
        raise ValueError(f"{name}: the model has no weights to train")
    model._follow_trainable()
    if not unfreezing and not model.parameters.trained_parts:
        raise ValueError(
            f"{name}: expected a layer that is trained, but all with weights are frozen; set "
            "trainable = True on one of them, or on the model for all, or pass fit the callback "
            "GradualUnfreezing()"
        )
    model._check_trains()


def _begin(
    model: Fitted, listeners: CallbackList, params: Mapping[str, Any], names: Sequence[str]
) -> None:
    """Notify callbacks that the training begins; if it is resumed, restore their states."""
    listeners.set_params(params, names)
    listeners.on_train_begin()
    if params["initial_epoch"] > 0 and params["initial_epoch"] == model.epoch:
        try:
            listeners.set_states(model._callback_states)
        except BaseException:
            listeners.on_train_end({})
            raise
    model._listeners = listeners


def _listed(callbacks: Any) -> list[Callback]:
    """Return a list of callbacks, also for a single one; `CallbackList` checks its entries."""
    if callbacks is None:
        return []
    single = isinstance(callbacks, (Callback, type, str)) or not isinstance(callbacks, Iterable)
    return [callbacks] if single else list(callbacks)


def _refuse_zeros(weights: Any) -> None:
    values = weights.values if isinstance(weights, Ragged) else weights
    if isinstance(values, np.ndarray) and not values.any():
        raise ValueError(
            "sample_weight: expected a weight above 0, got zeros only (times those of "
            "class_weight), with which nothing is learnt"
        )


def _source(
    part: Examples | Iterated,
    name: str,
    carry: Carry,
    rows: int,
    bucket: bool,
    limit: int | None,
    argument: str,
) -> Source:
    """Divide samples in memory into batches; a source of batches stays as it is."""
    if isinstance(part, Iterated):
        return part
    if carry.stateful:
        whole_batches(len(part), rows, name)
    return InMemory(part, rows, bucket, limit, argument)


def _paced(
    model: Trainable, source: Source, curriculum: Curriculum, order: Array, carry: Carry
) -> Paced:
    """Divide samples in memory into batches of a curriculum."""
    assert isinstance(source, InMemory)
    if carry.stateful:
        raise ValueError(
            "curriculum: expected None with stateful=True, where each batch continues the previous "
            "one"
        )
    order = order[order < len(source.examples)]  # without those that validation_split holds out
    own = (source.examples, source.batch_size, source.bucket, source.limit)
    return Paced(*own, order, curriculum, lambda: model.optimizer.iterations)


def _steps(value: int | None, name: str) -> int | None:
    return None if value is None else _checks.integer(value, name, 1)


def _held_out(
    model: Trainable, data: Any, intake: Intake, steps: int | None, windows: bool
) -> Examples | Iterated | None:
    """Check the data to validate on: samples, or a source of batches."""
    if data is None:
        return None
    if is_batches(data, model._batch_rank):
        return _iterated(
            model,
            Samples(data),
            intake,
            "validation_data",
            steps,
            "validation_steps",
            windows,
            same=True,
        )
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ValueError(
            "validation_data: expected (x, y), (x, y, sample_weight), or a source of such batches, "
            f"got {_checks.describe(data)}"
        )
    try:
        return _examples(model, Samples(*data), intake, windows)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from error
