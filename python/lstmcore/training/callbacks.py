"""Callbacks: told of every epoch and batch of a training, they watch, save and steer."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmcore import _checks
from lstmcore._files import OWN, check_ending, check_no_folder
from lstmcore._suggest import did_you_mean, public
from lstmcore._typing import Array, Mode, choices
from lstmcore.training.callback import Callback
from lstmcore.training.callback import Logs as Logs  # for callbacks outside this module
from lstmcore.training.history import History
from lstmcore.training.log_table import LogTable
from lstmcore.training.schedules import Schedule

if TYPE_CHECKING:
    from lstmcore.model import Model

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)


class _Monitor:
    """Tells whether a logged figure is the best so far."""

    def __init__(self, monitor: str, mode: Mode, min_delta: float = 0.0) -> None:
        self.monitor = monitor
        self.mode = _checks.choice(mode, "mode", choices(Mode))
        self.min_delta = _checks.real(min_delta, "min_delta", 0.0)
        growing = "acc" in monitor if mode == "auto" else mode == "max"
        self.sign = 1.0 if growing else -1.0
        self.reset()

    def reset(self) -> None:
        self.best: float | None = None

    def require(self, callback: Callback) -> None:
        """Raise ValueError if it is known before the training that the figure will not be there.

        With mode "auto", also ask the model's metrics which way is better.
        """
        known = getattr(callback, "params", {}).get("metrics")
        if known is not None:
            self._find(known)
        model = getattr(callback, "model", None)
        if self.mode == "auto" and model is not None and model.is_compiled:
            for metric in model.compiled.metrics:
                known_way = metric.greater_is_better
                if metric.name == self.monitor.removeprefix("val_") and known_way is not None:
                    self.sign = 1.0 if known_way else -1.0

    def value(self, logs: Logs) -> float:
        self._find(logs)
        return logs[self.monitor]

    def _find(self, names: Iterable[str]) -> None:
        if self.monitor not in names:
            known = list(names)
            blind = self.monitor.startswith("val_") and not any(n.startswith("val_") for n in known)
            hint = "; fit has no validation data" if blind else did_you_mean(self.monitor, known)
            raise ValueError(
                f"monitor: expected one of {', '.join(known)}, got {self.monitor!r}{hint}"
            )

    def get_state(self) -> dict[str, Any]:
        return {"monitor": self.monitor, "best": self.best}

    def fits(self, state: Mapping[str, Any]) -> bool:
        """Tell whether a state is about the same figure."""
        return bool(state["monitor"] == self.monitor)

    def set_state(self, state: Mapping[str, Any]) -> None:
        best = state["best"]
        self.best = None if best is None else _checks.real(best, "best")

    def better(self, value: float, than: float | None) -> bool:
        if not math.isfinite(value):  # no figure of use, and none that a model file can hold
            return False
        return than is None or self.sign * (value - than) > self.min_delta

    def improves(self, value: float) -> bool:
        """Tell whether `value` is the best so far, and remember it if it is."""
        if not self.better(value, self.best):
            return False
        self.best = value
        return True


class _Monitoring(Callback):
    """A callback that looks at one figure of the logs."""

    def __init__(self, monitor: str, mode: Mode, min_delta: float = 0.0) -> None:
        self._monitor = _Monitor(monitor, mode, min_delta)

    @property
    def monitor(self) -> str:
        """Name of the figure in the logs."""
        return self._monitor.monitor

    @property
    def mode(self) -> str:
        """Whether smaller ("min") or greater ("max") is better; "auto": by the name."""
        return self._monitor.mode

    @property
    def min_delta(self) -> float:
        """Smaller changes are no improvement."""
        return self._monitor.min_delta

    @property
    def best(self) -> float | None:
        """The best value of the figure so far."""
        return self._monitor.best

    def _take_over(self, name: str, found: Mapping[str, Any]) -> None:
        if name in ("monitor", "mode", "min_delta"):  # which begin anew
            name = "_monitor"
        super()._take_over(name, found)


class EarlyStopping(_Monitoring):
    """Stop when a figure no longer improves.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Its name in the logs.
    min_delta : float, default 0.0
        Smaller changes are no improvement.
    patience : int, default 0
        Epochs without improvement after which training stops.
    mode : {"auto", "min", "max"}, default "auto"
        Whether smaller or greater is better; "auto": what the metric says
        of itself, else greater for a name with "acc".
    baseline : float, optional
        What the figure must improve on too.
    restore_best_weights : bool, default False
        Whether the model has the weights of its best epoch after `fit`, however `fit` ended:
        stopped, after its last epoch, by an error or an interruption. `Model.epoch` still counts
        the epochs trained; `History.restored_epoch` says whose weights these are.
    start_from_epoch : int, default 0
        Epochs before this one are not looked at.

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
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = _checks.integer(patience, "patience", 0)
        self.baseline = None if baseline is None else _checks.real(baseline, "baseline")
        self.restore_best_weights = _checks.flag(restore_best_weights, "restore_best_weights")
        self.start_from_epoch = _checks.integer(start_from_epoch, "start_from_epoch", 0)
        self._begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew.

        Raises
        ------
        ValueError
            If there will be no such figure.
        """
        self._monitor.require(self)
        self._begin()

    def _stop_reason(self) -> str:
        return f"{self.monitor} did not improve for {self.wait} epoch{'s' * (self.wait != 1)}"

    def _begin(self) -> None:
        self._monitor.reset()
        self.wait = 0
        self.stopped_epoch: int | None = None
        self.best_epoch: int | None = None
        self._best_weights: Array | None = None
        self._restored_epoch = None

    def get_state(self) -> dict[str, Any]:
        """Give the best figure, its epoch and weights, and the epochs without improvement."""
        state = {**self._monitor.get_state(), "wait": self.wait, "best_epoch": self.best_epoch}
        if self.stopped_epoch is not None:
            state["wait"] = 0  # whoever goes on after all, waits anew
        if self._best_weights is not None:
            state["best_weights"] = self._best_weights
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `get_state` gave, if it is about the same figure."""
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
        """Look at the figure."""
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

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Give the model its best weights back."""
        if self._best_weights is not None:
            self.model.parameters.values[...] = self._best_weights
            self.model.parameters.touch()
            self._best_weights = None
            self._restored_epoch = self.best_epoch


class ModelCheckpoint(_Monitoring):
    """Save the model after epochs; from such a file training can go on.

    Parameters
    ----------
    filepath : str or path
        May hold "{epoch}", counted from 1, and names of the logs: "{epoch:02d}-{val_loss:.3f}".
        An ending of another format, such as ``.keras``, is refused.
    monitor : str, default "val_loss"
        What `save_best_only` looks at.
    save_best_only : bool, default False
        Whether only epochs are saved in which the figure is the best so far.
    mode : {"auto", "min", "max"}, default "auto"
        As in `EarlyStopping`.
    include_optimizer : bool, default True
        As in `Model.save`.
    """

    def __init__(
        self,
        filepath: "str | os.PathLike[str]",
        monitor: str = "val_loss",
        *,
        save_best_only: bool = False,
        mode: Mode = "auto",
        include_optimizer: bool = True,
    ) -> None:
        self.filepath = os.fspath(filepath)
        check_ending(self.filepath, OWN, "filepath")
        check_no_folder(self.filepath, "filepath")
        super().__init__(monitor, mode)
        self.save_best_only = _checks.flag(save_best_only, "save_best_only")
        self.include_optimizer = _checks.flag(include_optimizer, "include_optimizer")
        self._due: bool | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Raise ValueError if there will be no such figure."""
        self._due = None
        if self.save_best_only:
            self._monitor.require(self)

    def get_state(self) -> dict[str, Any]:
        """Give the best figure."""
        return self._monitor.get_state() if self.save_best_only else {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `get_state` gave, if it is about the same figure."""
        if self._monitor.fits(state):
            self._monitor.set_state(state)

    def judge(self, logs: Logs) -> None:
        """Find out whether this epoch is to be saved."""
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
            raise ValueError(f"filepath: expected names out of {known}, got {error}") from None
        self.model.save(path, include_optimizer=self.include_optimizer)


class ReduceLROnPlateau(_Monitoring):
    """Lower the learning rate when a figure no longer improves.

    Parameters
    ----------
    monitor : str, default "val_loss"
        Its name in the logs.
    factor : float, default 0.1
        What the rate is multiplied by, in (0, 1).
    patience : int, default 10
        Epochs without improvement before that.
    mode : {"auto", "min", "max"}, default "auto"
        As in `EarlyStopping`.
    min_delta : float, default 1e-4
        Smaller changes are no improvement.
    cooldown : int, default 0
        Epochs after a change that are not counted.
    min_lr : float, default 0.0
        The rate stays at least this.
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
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self._adds = ("learning_rate",)
        self.factor = _checks.real(factor, "factor", 0.0, 1.0, low_open=True, high_open=True)
        self.patience = _checks.integer(patience, "patience", 0)
        self.cooldown = _checks.integer(cooldown, "cooldown", 0)
        self.min_lr = _checks.real(min_lr, "min_lr", 0.0)
        self._begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin anew.

        Raises
        ------
        ValueError
            If there will be no such figure.
        """
        self._monitor.require(self)
        self._begin()

    def _begin(self) -> None:
        self._monitor.reset()
        self.wait = 0
        self.cooling = 0

    def get_state(self) -> dict[str, Any]:
        """Give the best figure and the epochs that count."""
        return {**self._monitor.get_state(), "wait": self.wait, "cooling": self.cooling}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `get_state` gave, if it is about the same figure."""
        if self._monitor.fits(state):
            self._monitor.set_state(state)
            self.wait = _checks.integer(state["wait"], "wait", 0)
            self.cooling = _checks.integer(state["cooling"], "cooling", 0)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Look at the figure."""
        rate = _plain_rate(self.model, "ReduceLROnPlateau")
        logs["learning_rate"] = rate
        improved = self._monitor.improves(self._monitor.value(logs))
        if improved or self.cooling:
            self.cooling = max(self.cooling - 1, 0)
            self.wait = 0
            return
        self.wait += 1
        if self.wait >= max(self.patience, 1) and rate > self.min_lr:
            self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
            self.cooling, self.wait = self.cooldown, 0


class LearningRateScheduler(Callback):
    """Set the learning rate of each epoch.

    Parameters
    ----------
    schedule : callable
        From the epoch, counted from 0, and the rate before it, to the rate.
    """

    def __init__(self, schedule: Callable[[int, float], float]) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function, got {_checks.describe(schedule)}")
        self.schedule = schedule
        self._adds = ("learning_rate",)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the rate."""
        rate = _plain_rate(self.model, "LearningRateScheduler")
        self.model.optimizer.learning_rate = _checks.real(
            self.schedule(epoch, rate), "schedule's learning rate", 0.0
        )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Report the rate."""
        logs["learning_rate"] = _plain_rate(self.model, "LearningRateScheduler")


class CSVLogger(Callback):
    """Write the results of each epoch as a line of a table.

    Parameters
    ----------
    filename : str or path
    separator : str, default ","
        One character.
    append : bool, default False
        Whether to go on in a table that is there, instead of replacing it: figures go under their
        names in its header, with empty fields where there is none. Figures that the header lacks
        are refused, before training begins where they are known by then. A last line that was not
        written to its end (too few fields, or half a number) is dropped, with a warning; one that
        only lacks its line end is kept.
    """

    def __init__(
        self, filename: "str | os.PathLike[str]", separator: str = ",", append: bool = False
    ) -> None:
        self.filename = os.fspath(filename)
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
            If there is a table to go on with, and its header lacks a figure.
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
        """Look at the loss."""
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


def _plain_rate(model: "Model", who: str) -> float:
    rate = model.optimizer.learning_rate
    if isinstance(rate, Schedule):
        raise ValueError(
            f"{who}: expected an optimizer with a number as learning_rate, got the schedule "
            f"{type(rate).__name__}"
        )
    return rate
