"""What `fit` returns: the figures of every epoch."""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lstmcore.training.callback import Callback, Logs
from lstmcore.training.tables import as_html, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Best", "History"]


class Best(NamedTuple):
    """The best epoch of a training.

    Attributes
    ----------
    name : str
        The figure that it is about: "val_loss", or "loss" where nothing was validated.
    value : float
    epoch : int
        Counted from 0, as in `History.epoch`.
    """

    name: str
    value: float
    epoch: int


class History(Callback):
    """Records what `fit` reports; `fit` returns one.

    A notebook shows it as a table of the epochs.

    Attributes
    ----------
    epoch : list of int
        Epochs that ended, counted from 0.
    history : dict of str to list of float
        For each name of the logs ("loss", "val_accuracy", ...) its value in each of them; NaN for
        an epoch without it.
    stop_reason : str or None
        Why a callback ended the training before its last epoch: "val_loss did not improve for 3
        epochs". None if none did.
    restored_epoch : int or None
        The epoch, counted from 0, whose weights the model has, because a callback such as
        `EarlyStopping` restored them at the end. None: those of the last step.
    """

    stop_reason: str | None = None
    restored_epoch: int | None = None

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget how an earlier training ended."""
        self.stop_reason = self.restored_epoch = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Append the results."""
        for name, value in logs.items():
            values = self.history.setdefault(name, [])
            values += [math.nan] * (len(self.epoch) - len(values))  # epochs that did not have it
            values.append(value)
        self.epoch.append(epoch)

    @property
    def best(self) -> Best | None:
        """The epoch with the smallest finite "val_loss", or "loss" if nothing was validated.

        None if it has none.
        """
        name = "val_loss" if "val_loss" in self.history else "loss"
        pairs = zip(self.epoch, self.history.get(name, ()), strict=False)
        finite = [(value, epoch) for epoch, value in pairs if math.isfinite(value)]
        return Best(name, *min(finite)) if finite else None

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        metrics: str | Sequence[str] | None = None,
        title: str | None = None,
        ax: "Axes | Sequence[Axes] | None" = None,
    ) -> "list[Axes]":
        """Draw the figures by epoch; see `lstmcore.plots.learning_curve`, which does it."""
        from lstmcore.plots import learning_curve

        return learning_curve(self, path, metrics=metrics, title=title, ax=ax)

    def to_frame(self) -> Any:
        """Return the figures as a pandas ``DataFrame``.

        Returns
        -------
        pandas.DataFrame
            A row for each epoch, with the epoch, counted from 0, as index, and a column for each
            name of the logs. An epoch without a figure has NaN there.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "History.to_frame needs pandas, which is not installed: pip install pandas; "
                "History.history holds the same figures as lists"
            ) from error
        index = pandas.Index(self.epoch, name="epoch", dtype="int64")
        return pandas.DataFrame(self._columns(), index=index, dtype="float64")

    def _columns(self) -> dict[str, list[float]]:
        """Return the figures with NaN where an epoch had none: at the end of a column."""
        rows = len(self.epoch)
        return {
            name: [*values, *[math.nan] * (rows - len(values))]
            for name, values in self.history.items()
        }

    def __repr__(self) -> str:
        count = len(self.epoch)
        parts = [f"{count} epoch{'s' * (count != 1)}"]
        if self.best is not None:
            parts.append(describe_best(self.best))
        return f"History({', '.join(parts)})"

    def _repr_html_(self) -> str:
        columns = self._columns()
        best = self.best
        rows = []
        for place, epoch in enumerate(self.epoch):
            mark = " (best)" if best is not None and best.epoch == epoch else ""
            figures = [f"{values[place]:.4g}" for values in columns.values()]
            rows.append([f"{epoch + 1}{mark}", *figures])
        return as_html(repr(self), ["Epoch", *columns], shorten(rows), folded=True)


def describe_best(best: Best) -> str:
    """Write which epoch was best, counted from 1 as in the lines of `fit`."""
    return f"best {best.name} {best.value:.4g} at epoch {best.epoch + 1}"
