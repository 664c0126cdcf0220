"""Pruning of trials of a search that will not be the best."""

import math
from typing import Any

from lstmcore._extras import how_to_install
from lstmcore.training.callback import Logs
from lstmcore.training.monitoring import Monitoring

__all__ = ["OptunaPruning"]


class OptunaPruning(Monitoring):
    """End a trial of an Optuna study early if its figures are worse than those of others.

    After each epoch it reports the figure to the trial, and raises ``optuna.TrialPruned`` if the
    study's pruner says so. The exception passes through `fit` to the study, which counts the trial
    as pruned::

        def objective(trial):
            model = make_model(units=trial.suggest_int("units", 8, 64, log=True))
            pruning = lc.callbacks.OptunaPruning(trial, "val_accuracy")
            model.fit(x, y, epochs=20, validation_split=0.2, callbacks=[pruning], verbose=0)
            return max(model.history.history["val_accuracy"])

        study = optuna.create_study(direction="maximize")
        study.optimize(objective, n_trials=30)

    Parameters
    ----------
    trial : optuna.trial.Trial
        The trial that the study passes to its objective.
    monitor : str, default "val_loss"
        The figure's name in the logs; the study's direction says whether smaller or greater is
        better.

    Raises
    ------
    ImportError
        If Optuna is not installed.
    TypeError
        If `trial` is not a trial.
    """

    def __init__(self, trial: Any, monitor: str = "val_loss") -> None:
        if not (callable(getattr(trial, "report", None)) and hasattr(trial, "should_prune")):
            raise TypeError(
                "trial: expected the optuna.trial.Trial that a study passes to its objective, got "
                f"{type(trial).__name__}"
            )
        _pruned()
        super().__init__(monitor, "auto")
        self.trial = trial

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Raise ValueError if the logs will not have the figure."""
        self._monitor.require(self)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Report the figure.

        Raises
        ------
        optuna.TrialPruned
            If the trial is to end, or its figure is NaN.
        """
        value = self._monitor.value(logs)
        if math.isnan(value):
            raise _pruned()(f"{self.monitor} is nan in epoch {epoch + 1}")
        self.trial.report(value, epoch)
        if self.trial.should_prune():
            raise _pruned()(f"{self.monitor} of {value:.4g} in epoch {epoch + 1}")


def _pruned() -> type[Exception]:
    """Return Optuna's exception."""
    try:
        from optuna import TrialPruned
    except ImportError as error:
        raise ImportError(
            f"OptunaPruning needs Optuna, which is not installed; {how_to_install('optuna')}"
        ) from error
    kind: type[Exception] = TrialPruned
    return kind
