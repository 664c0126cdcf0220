"""Callbacks of several processes: they run on rank 0, and the others follow what they change."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lstmcore._options import arguments
from lstmcore._typing import Array
from lstmcore.distributed.errors import DistributedError
from lstmcore.distributed.group import Group
from lstmcore.layers.base import Layer
from lstmcore.training.callback import Callback, Logs
from lstmcore.training.callback_list import CallbackList
from lstmcore.training.callback_state import CallbackState
from lstmcore.training.history import History
from lstmcore.training.progress import Reporter, can_move
from lstmcore.training.trainable import Trainable

__all__ = ["SharedCallbacks"]


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
        return found

    def changes(self) -> dict[tuple[Any, ...], Any]:
        """Return what has changed since the last call."""
        before, self._seen = self._seen, self._all()
        return {
            key: value
            for key, value in self._seen.items()
            if value is not before[key] and value != before[key]
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
            else:
                setattr(self._layers[place[0]], place[1], value)
        self._seen = self._all()


class _News(NamedTuple):
    """What rank 0 sends after its callbacks have run."""

    changes: dict[tuple[Any, ...], Any]
    weights: Array | None
    """All of them, if callbacks have changed any."""
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
    ) -> Any:
        """Act on rank 0, and follow everywhere; return what `more` returns on rank 0."""
        if self._group.size == 1:
            action()
            return more()
        if self._steering is None:
            self._steering = _Steering(self.model)
        if self._leads:
            return self._lead(where, action, more)
        news = self._group.lead(None, where)
        if isinstance(news, _Raised):
            error = DistributedError(f"fit: a callback of {self._group.name(0)} raised {news.text}")
            raise self._group.agree(error)
        self._steering.follow(news.changes)
        if news.weights is not None:
            self.model.parameters.values[...] = news.weights
            self.model.parameters.touch()
        return news.more

    def _lead(self, where: str, action: Callable[[], None], more: Callable[[], Any]) -> Any:
        assert self._steering is not None
        parameters = self.model.parameters
        version = parameters.version
        try:
            action()
            found = more()
        except BaseException as error:
            self._group.lead(_Raised(f"{type(error).__name__}: {error}"), where)
            self._group.agree(error)
            raise
        weights = None if parameters.version == version else parameters.values
        self._group.lead(_News(self._steering.changes(), weights, found), where)
        return found

    # ---- events ------------------------------------------------------------------------------

    def on_train_begin(self) -> None:
        """Notify every callback that the training begins."""
        begin = super().on_train_begin
        self.watched, self._steers_batches = self._follow(
            "the beginning of the training", begin, self._batch_listeners
        )
        if not self._leads:
            begin()

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
        self._follow(f"the beginning of epoch {epoch + 1}", lambda: begin(epoch))
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
            found = self._follow(
                f"the end of epoch {epoch + 1}", lambda: end(epoch, logs), lambda: logs
            )
            logs.update(found)  # to which callbacks may have added
        finally:
            if not self._leads:
                end(epoch, logs)

    def on_train_end(self, logs: Logs) -> None:
        """Notify every callback that the training has ended."""
        end = super().on_train_end
        error = sys.exc_info()[1]
        if error is not self._outer and not self._group.agreed(error):
            end(logs)  # the others are told of the error when this process leaves
            return
        if self._leads:
            self._follow("the end of the training", lambda: end(logs), self._results)
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


def _listens(callback: Callback, method: str) -> bool:
    """Return whether a callback, or a function put in its place, overrides a method."""
    own = getattr(getattr(callback, method), "__func__", None)
    return own is not getattr(Callback, method)
