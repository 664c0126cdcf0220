"""What every callback is."""

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
        Being trained. ``model.stop_training = True`` ends the training after this batch.
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
    """Names that `on_epoch_end`, if it is one of this package, adds to the logs."""

    _restored_epoch: int | None = None
    """Epoch, counted from 0, whose weights `on_train_end` gave back to the model."""

    def __repr__(self) -> str:
        return one_line(self)

    def _say(self, text: str, epoch: int | None = None) -> None:
        """Write a line where the lines of `fit` stand, if the option `verbose` is 1."""
        if getattr(self, "verbose", 0) and sys.stdout is not None:
            when = "" if epoch is None else f"Epoch {epoch + 1}: "
            sys.stdout.write(f"{when}{type(self).__name__}: {text}\n")
            sys.stdout.flush()

    def _stop_reason(self) -> str:
        """Say why this callback set ``model.stop_training``; see `History.stop_reason`."""
        return f"{type(self).__name__} asked for it"

    def get_state(self) -> dict[str, Any]:
        """Give what this callback must remember for a resumed training to go on as if unbroken.

        Returns
        -------
        dict
            Numbers, text, lists and objects as JSON can hold them, and arrays of float32 or
            float64; empty if there is nothing.
        """
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `get_state` gave, after `on_train_begin` of a training that is resumed.

        Raises
        ------
        ValueError
            If it does not fit.
        """

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Take note that `fit` begins."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Take note that `fit` ends, be it by an error or an interruption."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Take note that an epoch begins; `epoch` counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Take note of an epoch's results: "loss", metrics, and the same with ``val_`` in front."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Take note that a batch begins; `batch` counts from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Take note of the means so far in this epoch."""
