"""The base of all callbacks."""

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from lstmcore._configurable import one_line
from lstmcore._options import Checked
from lstmcore.training.trainable import Trainable

__all__ = ["Callback", "Logs"]

Logs = dict[str, float]


class Callback(Checked):
    """Base of the callbacks; each method may be overridden.

    Attributes
    ----------
    model : Model
        The model in training. ``model.stop_training = True`` ends the training after this batch.
    params : dict
        ``epochs``, ``initial_epoch``, ``steps``, the batches of an epoch, and ``metrics``, the
        names that this callback will find in the logs of an epoch; None if callbacks before it may
        add others.
    """

    model: Trainable
    params: Mapping[str, Any]
    _open_attributes: ClassVar[tuple[str, ...]] = ("model", "params")
    _methods_name_state = True

    _adds: tuple[str, ...] = ()
    """Names that `on_epoch_end` of a class of this package adds to the logs."""

    _unfreezes: ClassVar[bool] = False
    """Whether `on_train_begin` makes a layer trainable, so that a frozen model can be fitted."""

    _restored_epoch: int | None = None
    """Epoch, counted from 0, whose weights `on_train_end` restored."""

    def __repr__(self) -> str:
        return one_line(self)

    def _say(self, text: str, epoch: int | None = None) -> None:
        """Print a line among those of `fit`, if the option `verbose` is 1."""
        if getattr(self, "verbose", 0) and sys.stdout is not None:
            when = "" if epoch is None else f"Epoch {epoch + 1}: "
            sys.stdout.write(f"{when}{type(self).__name__}: {text}\n")
            sys.stdout.flush()

    def _stop_reason(self) -> str:
        """Say why this callback set ``model.stop_training``; see `History.stop_reason`."""
        return f"{type(self).__name__} requested it"

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed training needs from this callback to continue as if uninterrupted.

        Returns
        -------
        dict
            Numbers, text, lists and objects of JSON's types, and arrays of float32 or float64;
            empty if it needs nothing.
        """
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `get_state` returned, after `on_train_begin` of a resumed training.

        Raises
        ------
        ValueError
            If it does not fit.
        """

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when `fit` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when `fit` ends, even after an error or an interruption."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch begins; `epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Called with an epoch's results: "loss", metrics, and the same after ``val_``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called when a batch begins; `batch` counts from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Called after a batch with the means so far in this epoch."""
