"""Callbacks of several processes: they run on rank 0, and the others follow what they change."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lstmcore._options import arguments
from lstmcore._typing import Array
from lstmcore.distributed.digests import SLOTS, WEIGHTS, digests_of_training
from lstmcore.distributed.errors import DistributedError
from lstmcore.distributed.group import Group
from lstmcore.layers.base import Layer
from lstmcore.training.callback import Callback, Logs
from lstmcore.training.callback_list import CallbackList
from lstmcore.training.callback_state import CallbackState
from lstmcore.training.callbacks import LambdaCallback
from lstmcore.training.history import History
from lstmcore.training.progress import Reporter, can_move
from lstmcore.training.trainable import Trainable

__all__ = ["SharedCallbacks"]


_PLAIN = (bool, int, float, str)
"""Attributes of losses that are followed."""


class _Raised(NamedTuple):
    """What rank 0 sends instead of its changes if a callback raised an error."""

    text: str


class _Steering:
    """What callbacks may change in a model, and how it was when the processes last agreed.

    Parameters
    ----------
    model : Trainable
    """

    def __init__(self, model: Trainable) -> None:
        self._model = model
        self._layers: list[Layer] = [
            inner for layer in model.layers for inner in layer._layers_within()
        ]
        heads = model.compiled.heads
        self._losses = [loss for head in heads for loss in (head.loss, head.step_loss)]
        self._seen = self._all()

    def _all(self) -> dict[tuple[Any, ...], Any]:
        optimizer = self._model.optimizer
        found: dict[tuple[Any, ...], Any] = {("stop",): self._model.stop_training}
        for name in arguments(type(optimizer)):
            found["optimizer", name] = getattr(optimizer, name)
        for place, layer in enumerate(self._layers):
            found["switch", place] = layer._switch
            for name in layer._live_options:
                found["layer", place, name] = getattr(layer, name)
        for place, loss in enumerate(self._losses):
            for name, value in vars(loss).items():
                if value is None or isinstance(value, _PLAIN):
                    found["loss", place, name] = value
        return found

    def look(self) -> None:
        """Note how everything is; rank 0 does so before its callbacks run."""
        self._seen = self._all()

    def changes(self) -> dict[tuple[Any, ...], Any]:
        """Return what has changed since the last call."""
        before, self._seen = self._seen, self._all()
        return {
            key: value
            for key, value in self._seen.items()
            if key not in before or (value is not before[key] and value != before[key])
        }

    def follow(self, changes: dict[tuple[Any, ...], Any]) -> None:
        """Make changes that rank 0 has made."""
        for (kind, *place), value in changes.items():
            if kind == "stop":
                self._model.stop_training = value
            elif kind == "optimizer":
                setattr(self._model.optimizer, place[0], value)
            elif kind == "switch":
                self._layers[place[0]]._trainable = value
            elif kind == "loss":
                vars(self._losses[place[0]])[place[1]] = value
            else:
                setattr(self._layers[place[0]], place[1], value)
        self._seen = self._all()


class _News(NamedTuple):
    """What rank 0 sends after its callbacks have run."""

    changes: dict[tuple[Any, ...], Any]
    weights: Array | None
    """All of them, if callbacks have changed any."""
    memory: tuple[int, dict[str, Array]] | None
    """Steps and slots of the optimizer, if callbacks have changed any."""
    more: Any


class SharedCallbacks(CallbackList):
    """Callbacks that run on rank 0 and are followed everywhere; see `CallbackList`.

    Parameters
    ----------
    callbacks : sequence of Callback
        On other ranks than 0, only the histories among them are notified.
    model : Trainable
    group : Group

    Attributes
    ----------
    watched : bool
        Whether a callback looks at the logs of batches; the same in all processes.
    """

    def __init__(self, callbacks: Sequence[Callback], model: Trainable, group: Group) -> None:
        self._leads, self._group = group.rank == 0, group
        if not self._leads:
            callbacks = [entry for entry in callbacks if isinstance(entry, History)]
        super().__init__(callbacks, model)
        self._outer = sys.exc_info()[1]  # of a handler in which fit is called
        self._steering: _Steering | None = None
        self.watched = self._steers_batches = False

    def _follow(
        self,
        where: str,
        action: Callable[[], None],
        more: Callable[[], Any] = lambda: None,
        event: str = "",
    ) -> Any:
        """Act on rank 0, and follow everywhere; return what `more` returns on rank 0.

        If a callback of the user's overrides the method `event`, all weights and slots are compared
        with those before, so that whatever it does to them is followed.
        """
        if self._group.size == 1:
            action()
            return more()
        if self._steering is None:
            self._steering = _Steering(self.model)
        if self._leads:
            closely = any(_is_theirs(one) and _listens(one, event) for one in self.callbacks)
            return self._lead(where, action, more, closely)
        news = self._news(None, where)
        if isinstance(news, _Raised):
            error = DistributedError(f"fit: a callback of {self._group.name(0)} raised {news.text}")
            raise self._group.agree(error)
        self._steering.follow(news.changes)
        self._end_if_agreed()
        if news.weights is not None:
            self.model.parameters.values[...] = news.weights
            self.model.parameters.touch()
        if news.memory is not None:
            optimizer = self.model.optimizer
            optimizer.iterations = news.memory[0]
            for name, slot in news.memory[1].items():
                optimizer.slots[name][...] = slot
        return news.more

    def _news(self, own: Any, where: str) -> Any:
        """Return what rank 0 sends, and agree on the end of the training.

        It ends if rank 0 has `stop_training` set after its callbacks, or if another rank has set
        its own, such as in the handler of a signal.
        """
        model, group = self.model, self._group
        stops = model.stop_training and (self._leads or not group.stops)
        found = group.share((own, stops), where)
        group.stops = any(stop for _, stop in found)
        return found[0][0]

    def _end_if_agreed(self) -> None:
        if self._group.stops:  # else a signal may just have set it in this process
            self.model.stop_training = True

    def _lead(
        self, where: str, action: Callable[[], None], more: Callable[[], Any], closely: bool
    ) -> Any:
        assert self._steering is not None
        parameters = self.model.parameters
        version = parameters.version
        self._steering.look()
        before = digests_of_training(self.model) if closely else {}
        try:
            action()
            found = more()
        except BaseException as error:
            if not isinstance(error, Exception) or isinstance(error, DistributedError):
                self._group.warn(error)  # an end, which does not wait until the others come here
                raise
            self._news(_Raised(f"{type(error).__name__}: {error}"), where)
            self._group.agree(error)
            raise
        after = digests_of_training(self.model) if closely else {}
        changed = [name for name, value in after.items() if before[name] != value]
        weights = None
        if parameters.version != version or WEIGHTS in changed:
            weights = parameters.values
        optimizer = self.model.optimizer
        memory = (optimizer.iterations, optimizer.slots) if SLOTS in changed else None
        self._news(_News(self._steering.changes(), weights, memory, found), where)
        self._end_if_agreed()
        return found

    # ---- events ------------------------------------------------------------------------------

    def on_train_begin(self) -> None:
        """Notify every callback that the training begins."""
        begin = super().on_train_begin
        self.watched, self._steers_batches = self._follow(
            "the beginning of the training", begin, self._batch_listeners, "on_train_begin"
        )
        if not self._leads:
            begin()

    def set_states(self, states: Sequence[CallbackState]) -> None:
        """Restore each state in the callback of its class and number, on rank 0."""
        restore = super().set_states
        self._follow("the states of callbacks", lambda: restore(states), event="set_state")
        if not self._leads:
            restore(states)

    def _batch_listeners(self) -> tuple[bool, bool]:
        """Return whether a callback looks at the logs of batches, and whether one may steer."""
        ends, steers = False, False
        for callback in self.callbacks:
            at_end = _listens(callback, "on_train_batch_end")
            if isinstance(callback, Reporter):
                ends |= callback.bar and can_move()
            else:
                ends |= at_end
                steers |= at_end or _listens(callback, "on_train_batch_begin")
        return ends, steers

    def on_epoch_begin(self, epoch: int) -> None:
        """Notify every callback that an epoch begins."""
        begin = super().on_epoch_begin
        self._follow(
            f"the beginning of epoch {epoch + 1}", lambda: begin(epoch), event="on_epoch_begin"
        )
        if not self._leads:
            begin(epoch)

    def on_train_batch_begin(self, batch: int) -> None:
        """Notify every callback that a batch begins."""
        begin = super().on_train_batch_begin
        self._at_batch(f"the beginning of batch {batch + 1}", lambda: begin(batch))

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Notify every callback that a batch has ended."""
        end = super().on_train_batch_end
        self._at_batch(f"the end of batch {batch + 1}", lambda: end(batch, logs))

    def _at_batch(self, where: str, action: Callable[[], None]) -> None:
        if self._steers_batches:
            self._follow(where, action)
        elif self._leads:
            action()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Notify every callback that an epoch has ended."""
        end = super().on_epoch_end
        try:
            where = f"the end of epoch {epoch + 1}"
            found = self._follow(where, lambda: end(epoch, logs), lambda: logs, "on_epoch_end")
            logs.update(found)  # to which callbacks may have added
        finally:
            if not self._leads:
                end(epoch, logs)

    def on_train_end(self, logs: Logs) -> None:
        """Notify every callback that the training has ended."""
        end = super().on_train_end
        error = sys.exc_info()[1]
        if error is not None and error is not self._outer and not self._group.agreed(error):
            self._group.warn(error)  # before the callbacks' work, which may take long
            end(logs)
            return
        if self._leads:
            where = "the end of the training"
            self._follow(where, lambda: end(logs), self._results, "on_train_end")
            return
        states, reasons = self._follow("the end of the training", lambda: None)
        self.model._keep_callback_states([CallbackState(*state) for state in states])
        for history in self._histories:
            history.stop_reason, history.restored_epoch = reasons
        end(logs)

    def _results(self) -> tuple[list[tuple[Any, ...]], tuple[Any, Any]]:
        """Return what callbacks remember, and why and how the training ended."""
        history = self._histories[-1]
        states = [tuple(state) for state in self.states()]
        return states, (history.stop_reason, history.restored_epoch)


def _is_theirs(callback: Callback) -> bool:
    """Return whether a callback runs the user's own code."""
    own = type(callback).__module__.startswith("lstmcore.")
    return isinstance(callback, LambdaCallback) or not own


def _listens(callback: Callback, method: str) -> bool:
    """Return whether a callback, or a function put in its place, overrides a method."""
    if not method:
        return False
    own = getattr(getattr(callback, method), "__func__", None)
    return own is not getattr(Callback, method)
