"""All callbacks of a training, and what they remember from one to the next."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lstmcore import _checks
from lstmcore.training.callback import Callback, Logs
from lstmcore.training.callback_state import CallbackState
from lstmcore.training.callbacks import ModelCheckpoint
from lstmcore.training.history import History
from lstmcore.training.trainable import Trainable

__all__ = ["CallbackList"]


class CallbackList:
    """Notifies all callbacks, in order; see `Callback` for the methods."""

    def __init__(self, callbacks: Sequence[Callback], model: Trainable) -> None:
        self.model = model
        self._stopped = False
        for callback in callbacks:
            if not isinstance(callback, Callback):
                advice = ""
                if callable(callback) and not isinstance(callback, type):
                    advice = "; for a function pass callbacks.LambdaCallback(on_epoch_end=function)"
                came = _checks.describe(callback)
                raise TypeError(f"callbacks: expected Callback objects, got {came}{advice}")
            callback.model = model
        self._histories = [entry for entry in callbacks if isinstance(entry, History)]
        # Checkpoints come after those that change the optimizer, so that they hold the change.
        self.callbacks = sorted(callbacks, key=lambda entry: isinstance(entry, ModelCheckpoint))

    def set_params(self, params: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Set the parameters of the training, and the names that the logs will have."""
        known: list[str] | None = list(metrics)
        for callback in self.callbacks:
            added = _added_names(callback)
            known = None if known is None or added is None else [*known, *added]
            callback.params = {**params, "metrics": known}

    def on_train_begin(self) -> None:
        """Notify every callback that the training begins; if one raises, end those before it."""
        for place, callback in enumerate(self.callbacks):
            try:
                callback.on_train_begin({})
            except BaseException:
                with suppress(Exception):  # the first error is the one to report
                    _tell_end(self.callbacks[:place], {})
                raise

    def on_train_end(self, logs: Logs) -> None:
        """Notify every callback that the training has ended, then raise the first error, if any."""
        _tell_end(self.callbacks, logs, self._histories)

    def states(self) -> list[CallbackState]:
        """Return the states of the callbacks that have one."""
        counts: Counter[str] = Counter()
        states = []
        for callback in self.callbacks:
            name = type(callback).__name__
            if state := callback.get_state():
                states.append(CallbackState(name, counts[name], state))
            counts[name] += 1
        return states

    def set_states(self, states: Sequence[CallbackState]) -> None:
        """Restore each state in the callback of its class and number."""
        found = {(state.class_name, state.number): state.state for state in states}
        counts: Counter[str] = Counter()
        for callback in self.callbacks:
            name = type(callback).__name__
            state = found.get((name, counts[name]))
            counts[name] += 1
            if state is None:
                continue
            try:
                callback.set_state(state)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"callbacks: the saved state of {name}: {error}") from error

    def on_epoch_begin(self, epoch: int) -> None:
        """Notify every callback that an epoch begins."""
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, {})
            self._notice_stop(callback)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Notify every callback that an epoch has ended.

        Histories are notified even if another callback raised or was interrupted, since the epoch
        was trained and `Model.epoch` counts it.
        """
        waiting = list(self._histories)
        try:
            self._tell_epoch(epoch, logs, waiting)
        except BaseException:
            for history in waiting:
                history.on_epoch_end(epoch, logs)
            raise

    def _tell_epoch(self, epoch: int, logs: Logs, waiting: list[History]) -> None:
        """Notify all in order; remove from `waiting` the histories that were notified."""
        judged = False
        for callback in self.callbacks:
            if isinstance(callback, ModelCheckpoint) and not judged:
                # All judge before the first one saves, so that each file holds all verdicts.
                judged = True
                for other in self.callbacks:
                    if isinstance(other, ModelCheckpoint):
                        other.judge(logs)
            if callback in waiting:
                waiting.remove(callback)
            callback.on_epoch_end(epoch, logs)
            self._notice_stop(callback)

    def _notice_stop(self, callback: Callback) -> None:
        """Write to histories why the training ends, if `callback` has just ended it."""
        if self._stopped or not self.model.stop_training:
            return
        self._stopped = True
        for history in self._histories:
            history.stop_reason = callback._stop_reason()

    def on_train_batch_begin(self, batch: int) -> None:
        """Notify every callback that a batch begins."""
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch, {})
            self._notice_stop(callback)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Notify every callback that a batch has ended."""
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)
            self._notice_stop(callback)


def _added_names(callback: Callback) -> tuple[str, ...] | None:
    """Return the names that `callback` adds to the logs; None if they are not known."""
    function = getattr(callback.on_epoch_end, "__func__", None)
    known = getattr(function, "__module__", "").startswith("lstmcore.")
    return callback._adds if known else None


def _tell_end(callbacks: Sequence[Callback], logs: Logs, histories: Sequence[History] = ()) -> None:
    """Notify every callback that the training has ended, then raise the first error, if any.

    If a callback restored the weights of an epoch, histories learn which.
    """
    first: BaseException | None = None
    for callback in callbacks:
        try:
            callback.on_train_end(logs)
            if callback._restored_epoch is not None:
                for history in histories:
                    history.restored_epoch = callback._restored_epoch
        except BaseException as error:
            first = first or error
    if first is not None:
        raise first
