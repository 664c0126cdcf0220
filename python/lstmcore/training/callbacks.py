"""Callbacks: notified of every epoch and batch, they watch, save and steer the training."""

import inspect
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lstmcore import _checks
from lstmcore._files import OWN, check_ending, check_target
from lstmcore._suggest import public
from lstmcore._typing import Array, Mode
from lstmcore.training.callback import Callback
from lstmcore.training.callback import Logs as Logs  # for callbacks outside this module
from lstmcore.training.history import History
from lstmcore.training.log_table import LogTable
from lstmcore.training.monitoring import Monitoring, written_lines
from lstmcore.training.pruning import OptunaPruning
from lstmcore.training.schedules import Schedule
from lstmcore.training.trainable import Trainable
from lstmcore.training.unfreezing import GradualUnfreezing

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "GradualUnfreezing",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "OptunaPruning",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)


class EarlyStopping(Monitoring):
    """Stop when a figure no longer improves.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Its name in the logs.
    min_delta : float, default 0.0
        Smaller changes do not count as an improvement.
    patience : int, default 0
        Epochs without improvement after which training stops.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or greater is better; "auto": as the metric declares, else greater for a
        name that contains "acc".
    baseline : float, optional
        A value that the figure must improve on as well.
    restore_best_weights : bool, default False
        Whether the model has the weights of its best epoch after `fit`, however `fit` ended:
        stopped, after its last epoch, by an error or an interruption. `Model.epoch` still counts
        the epochs trained; `History.restored_epoch` says which epoch's weights these are.
    start_from_epoch : int, default 0
        Epochs before this one are ignored.
    verbose : {0, 1}, default 0
        1: a line when it stops the training, and when it restores weights.

    Attributes
    ----------
    stopped_epoch : int or None
        Where it stopped the training.
    best_epoch : int or None
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        *,
        mode: Mode = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        verbose: Literal[0, 1] = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, verbose)
        self.patience = _checks.integer(patience, "patience", 0)
        self.baseline = None if baseline is None else _checks.real(baseline, "baseline")
        self.restore_best_weights = _checks.flag(restore_best_weights, "restore_best_weights")
        self.start_from_epoch = _checks.integer(start_from_epoch, "start_from_epoch", 0)
        self._begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Reset the callback.

        Raises
        ------
        ValueError
            If the logs will not have the figure.
        """
        self._monitor.require(self)
        self._begin()

    def _stop_reason(self) -> str:
        return self._unimproved(self.wait)

    def _begin(self) -> None:
        self._monitor.reset()
        self.wait = 0
        self.stopped_epoch: int | None = None
        self.best_epoch: int | None = None
        self._best_weights: Array | None = None
        self._restored_epoch = None

    def get_state(self) -> dict[str, Any]:
        """Return the best figure, its epoch and weights, and the epochs without improvement."""
        state = {**self._monitor.get_state(), "wait": self.wait, "best_epoch": self.best_epoch}
        if self.stopped_epoch is not None:
            state["wait"] = 0  # if training continues after all, patience starts over
        if self._best_weights is not None:
            state["best_weights"] = self._best_weights
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `get_state` returned, if it is about the same figure."""
        if not self._monitor.fits(state):
            return
        self._monitor.set_state(state)
        self.wait = _checks.integer(state["wait"], "wait", 0)
        best_epoch = state["best_epoch"]
        self.best_epoch = None if best_epoch is None else _checks.integer(best_epoch, "best_epoch")
        weights = state.get("best_weights")
        if self.restore_best_weights and weights is not None:
            values = self.model.parameters.values
            weights = _checks.float_array(weights, "best_weights", values.dtype)
            if weights.shape != values.shape:
                raise ValueError(
                    f"best_weights: expected shape {values.shape}, got {weights.shape}"
                )
            self._best_weights = weights

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Check the figure."""
        if epoch < self.start_from_epoch:
            return
        value = self._monitor.value(logs)
        self.wait += 1
        if self._monitor.improves(value):
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._best_weights = self.model.parameters.values.copy()
            if self.baseline is None or self._monitor.better(value, self.baseline):
                self.wait = 0
        if self.wait >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True
            self._say(f"stopped: {self._stop_reason()}", epoch)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Restore the model's best weights."""
        if self._best_weights is not None:
            self.model.parameters.values[...] = self._best_weights
            self.model.parameters.touch()
            self._best_weights = None
            self._restored_epoch = self.best_epoch
            if self.best_epoch is not None:
                self._say(f"weights of epoch {self.best_epoch + 1} restored")


class ModelCheckpoint(Monitoring):
    """Save the model after epochs; training can continue from such a file.

    Parameters
    ----------
    filepath : str or path
        May contain "{epoch}", counted from 1, and names of the logs: "{epoch:02d}-{val_loss:.3f}".
        An ending of another format, such as ``.keras``, is refused.
    monitor : str, default "val_loss"
        The figure that `save_best_only` compares.
    save_best_only : bool, default False
        Whether only epochs are saved in which the figure is the best so far.
    mode : {"auto", "min", "max"}, default "auto"
        As in `EarlyStopping`.
    include_optimizer : bool, default True
        As in `Model.save`.
    save_weights_only : bool, default False
        Keras' name for ``include_optimizer=False``: the file holds layers and weights, which `load`
        and `Model.load_weights` read.
    verbose : {0, 1}, default 0
        1: a line for each file.
    """

    def __init__(
        self,
        filepath: "str | os.PathLike[str]",
        monitor: str = "val_loss",
        *,
        save_best_only: bool = False,
        mode: Mode = "auto",
        include_optimizer: bool = True,
        save_weights_only: bool = False,
        verbose: Literal[0, 1] = 0,
    ) -> None:
        self.filepath = os.fspath(filepath)
        check_ending(self.filepath, OWN, "filepath")
        check_target(self.filepath, "filepath")
        super().__init__(monitor, mode, verbose=verbose)
        self.save_weights_only = _checks.flag(save_weights_only, "save_weights_only")
        self.save_best_only = _checks.flag(save_best_only, "save_best_only")
        self.include_optimizer = _checks.flag(include_optimizer, "include_optimizer")
        self._due: bool | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Raise ValueError if the logs will not have the figure."""
        self._due = None
        if self.save_best_only:
            self._monitor.require(self)

    def get_state(self) -> dict[str, Any]:
        """Return the best figure."""
        return self._monitor.get_state() if self.save_best_only else {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `get_state` returned, if it is about the same figure."""
        if self._monitor.fits(state):
            self._monitor.set_state(state)

    def judge(self, logs: Logs) -> None:
        """Determine whether this epoch is to be saved."""
        self._due = not self.save_best_only or self._monitor.improves(self._monitor.value(logs))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save, if it is time."""
        if self._due is None:
            self.judge(logs)
        due, self._due = self._due, None
        if not due:
            return
        try:
            path = self.filepath.format(epoch=epoch + 1, **logs)
        except KeyError as error:
            known = ", ".join(["epoch", *logs])
            raise ValueError(f"filepath: expected names among {known}, got {error}") from None
        whole = self.include_optimizer and not self.save_weights_only
        self.model.save(path, include_optimizer=whole)
        best = ""
        if self.save_best_only:
            best = f", {self.monitor} {logs[self.monitor]:.4g} is the best so far"
        self._say(f"saved {path}{best}", epoch)


class ReduceLROnPlateau(Monitoring):
    """Lower the learning rate when a figure no longer improves.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Its name in the logs.
    factor : float, default 0.1
        What the rate is multiplied by, in (0, 1).
    patience : int, default 10
        Epochs without improvement before the rate is lowered.
    mode : {"auto", "min", "max"}, default "auto"
        As in `EarlyStopping`.
    min_delta : float, default 1e-4
        Smaller changes do not count as an improvement.
    cooldown : int, default 0
        Epochs after a change that do not count.
    min_lr : float, default 0.0
        The rate stays at least this.
    verbose : {0, 1}, default 0
        1: a line when it lowers the rate.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        *,
        mode: Mode = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        verbose: Literal[0, 1] = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, verbose)
        self._adds = ("learning_rate",)
        self.factor = _checks.real(factor, "factor", 0.0, 1.0, low_open=True, high_open=True)
        self.patience = _checks.integer(patience, "patience", 0)
        self.cooldown = _checks.integer(cooldown, "cooldown", 0)
        self.min_lr = _checks.real(min_lr, "min_lr", 0.0)
        self._begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Reset the callback.

        Raises
        ------
        ValueError
            If the logs will not have the figure.
        """
        self._monitor.require(self)
        self._begin()

    def _begin(self) -> None:
        self._monitor.reset()
        self.wait = 0
        self.cooling = 0

    def get_state(self) -> dict[str, Any]:
        """Return the best figure and the epochs that count."""
        return {**self._monitor.get_state(), "wait": self.wait, "cooling": self.cooling}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `get_state` returned, if it is about the same figure."""
        if self._monitor.fits(state):
            self._monitor.set_state(state)
            self.wait = _checks.integer(state["wait"], "wait", 0)
            self.cooling = _checks.integer(state["cooling"], "cooling", 0)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Check the figure."""
        rate = _plain_rate(self.model, "ReduceLROnPlateau")
        logs["learning_rate"] = rate
        improved = self._monitor.improves(self._monitor.value(logs))
        if improved or self.cooling:
            self.cooling = max(self.cooling - 1, 0)
            self.wait = 0
            return
        self.wait += 1
        if self.wait >= max(self.patience, 1) and rate > self.min_lr:
            lower = max(rate * self.factor, self.min_lr)
            self.model.optimizer.learning_rate = lower
            why = self._unimproved(self.wait)
            self._say(f"learning_rate lowered from {rate:.4g} to {lower:.4g}: {why}", epoch)
            self.cooling, self.wait = self.cooldown, 0


class LearningRateScheduler(Callback):
    """Set the learning rate of each epoch.

    Parameters
    ----------
    schedule : callable
        From the epoch, counted from 0, and the rate before it, to the rate; or from the epoch
        alone.
    verbose : {0, 1}, default 0
        1: a line for each epoch.
    """

    def __init__(
        self,
        schedule: Callable[[int, float], float] | Callable[[int], float],
        verbose: Literal[0, 1] = 0,
    ) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function, got {_checks.describe(schedule)}")
        _arguments_of(schedule, 0, 0.0)
        self.schedule = schedule
        self.verbose = written_lines(verbose)
        self._adds = ("learning_rate",)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the rate."""
        rate = _plain_rate(self.model, "LearningRateScheduler")
        schedule: Callable[..., float] = self.schedule
        chosen = schedule(*_arguments_of(schedule, epoch, rate))
        rate = _checks.real(chosen, "schedule's learning rate", 0.0)
        self.model.optimizer.learning_rate = rate
        self._say(f"learning_rate set to {rate:.4g}", epoch)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Report the rate."""
        logs["learning_rate"] = _plain_rate(self.model, "LearningRateScheduler")


class CSVLogger(Callback):
    """Write the results of each epoch as a line of a table.

    Parameters
    ----------
    filename : str or path
        A file; without `append`, devices such as ``/dev/null`` will do as well. Pipes are refused,
        since opening one waits for a program that reads from it, perhaps for ever.
    separator : str, default ","
        One character.
    append : bool, default False
        Whether to continue an existing table instead of replacing it: figures go under their names
        in its header, with empty fields for missing ones. Figures that the header lacks are
        refused, before training begins if they are known by then. An incomplete last line (too few
        fields, or half a number) is dropped, with a warning; one that lacks only its line end is
        kept.
    """

    def __init__(
        self, filename: "str | os.PathLike[str]", separator: str = ",", append: bool = False
    ) -> None:
        self.filename = os.fspath(filename)
        check_target(self.filename, "filename")
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ValueError(f"separator: expected one character, got {separator!r}")
        self.separator = separator
        self.append = _checks.flag(append, "append")
        self._table: LogTable | None = None

    @property
    def path(self) -> Path:
        """Where the table is."""
        return Path(self.filename)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the file.

        Raises
        ------
        ValueError
            If there is a table to continue, and its header lacks a figure.
        """
        self._table = LogTable(self.path, self.separator, self.append)
        try:
            self._table.check(getattr(self, "params", {}).get("metrics") or [])
        except ValueError:
            self.on_train_end()
            raise

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write a line."""
        assert self._table is not None
        self._table.write(epoch, logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        if self._table is not None:
            self._table.close()
            self._table = None


class TerminateOnNaN(Callback):
    """Stop as soon as the loss is not a finite number."""

    def _stop_reason(self) -> str:
        return "the loss was not a finite number"

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Check the loss."""
        if not math.isfinite(logs["loss"]):
            self.model.stop_training = True


class LambdaCallback(Callback):
    """Functions as a callback.

    Parameters
    ----------
    on_train_begin, on_train_end : callable, optional
        Called with the logs.
    on_epoch_begin, on_epoch_end, on_train_batch_begin, on_train_batch_end : callable, optional
        Called with the number of the epoch or batch and the logs.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[[int, Logs | None], Any] | None = None,
        on_epoch_end: Callable[[int, Logs], Any] | None = None,
        on_train_begin: Callable[[Logs | None], Any] | None = None,
        on_train_end: Callable[[Logs | None], Any] | None = None,
        on_train_batch_begin: Callable[[int, Logs | None], Any] | None = None,
        on_train_batch_end: Callable[[int, Logs], Any] | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name.startswith("on_")}
        for name, function in given.items():
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{name}: expected a function, got {_checks.describe(function)}")
            setattr(self, name, function)


def _arguments_of(
    schedule: Callable[..., Any], epoch: int, rate: float
) -> tuple[int, float] | tuple[int]:
    """Return what `schedule` is called with: epoch and rate or, if it takes only one, the epoch.

    Raises
    ------
    TypeError
        If it can be called with neither.
    """
    try:
        signature = inspect.signature(schedule)
    except (TypeError, ValueError):  # of some builtins, which have none
        return epoch, rate
    for arguments in ((epoch, rate), (epoch,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return arguments
    raise TypeError(
        "schedule: expected a function of the epoch, or of the epoch and the rate before it, got "
        f"one with the arguments {signature}"
    )


def _plain_rate(model: Trainable, who: str) -> float:
    rate = model.optimizer.learning_rate
    if isinstance(rate, Schedule):
        raise ValueError(
            f"{who}: expected an optimizer with a number as learning_rate, got the schedule "
            f"{type(rate).__name__}"
        )
    return rate
