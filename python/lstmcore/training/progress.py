"""What `fit` shows while it runs."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from lstmcore.training.callbacks import Callback, Logs

Item = TypeVar("Item")

__all__ = ["EpochLines", "ProgressBar", "reporters", "with_bar"]


class ProgressBar(Callback):
    """A bar for each epoch; nothing where the error stream is not a terminal."""

    _make: Any
    _bar: Any

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Make sure that there is a bar to close."""
        from tqdm import tqdm

        self._make, self._bar = tqdm, tqdm(disable=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Open the bar."""
        self._bar = self._make(
            total=self.params["steps"],
            desc=f"Epoch {epoch + 1}/{self.params['epochs']}",
            unit="batch",
            disable=None,
        )

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Move the bar."""
        if not self._bar.disable:
            self._bar.set_postfix(logs, refresh=False)
            self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Close the bar with the results of the epoch."""
        if not self._bar.disable:
            self._bar.set_postfix(logs)
        self._bar.close()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the bar of an epoch that did not end."""
        self._bar.close()


class EpochLines(Callback):
    """One line for each epoch, also where the output is not a terminal."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the line."""
        results = " - ".join(f"{name}: {value:.4g}" for name, value in logs.items())
        sys.stdout.write(f"Epoch {epoch + 1}/{self.params['epochs']} - {results}\n")
        sys.stdout.flush()


def reporters(verbose: int | str) -> list[Callback]:
    """Choose by Keras' numbers: 0 nothing, 1 or "auto" a bar, 2 a line for each epoch."""
    _check(verbose)
    if verbose == 0:
        return []
    return [EpochLines()] if verbose == 2 else [ProgressBar()]


def with_bar(batches: Iterable[Item], total: int, what: str, verbose: int | str) -> Iterable[Item]:
    """Show a bar while `batches` are gone through, if `verbose` is 1 or "auto"."""
    _check(verbose)
    if verbose in (0, 2):
        return batches
    from tqdm import tqdm

    bar: Iterable[Item] = tqdm(batches, total=total, desc=what, unit="batch", disable=None)
    return bar


def _check(verbose: int | str) -> None:
    if verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
