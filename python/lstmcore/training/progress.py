"""What `fit`, `evaluate` and `predict` show while they run.

A line for each epoch on the standard output, wherever that leads; and, where somebody can watch it
move, a bar on the standard error: in a terminal, and in a notebook.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeVar

from lstmcore._notebook import in_notebook
from lstmcore.training.callback import Callback, Logs
from lstmcore.training.history import Best, History, describe_best

Item = TypeVar("Item")

__all__ = ["Bar", "Reporter", "reporters", "with_bar"]

# Seconds between two drawings of a bar. Drawing takes 0.1 ms in a terminal, and in a notebook,
# whose widgets are sent a message for each change, up to 2 ms: under 1 % of the time.
TERMINAL_INTERVAL = 0.1
NOTEBOOK_INTERVAL = 0.25

USUAL_SIZE = {"ncols": 80, "nrows": 24}

PATIENCE = 0.5
"""Seconds that `evaluate` and `predict` take before they show a bar; most calls are shorter."""


class Bar:
    """A bar that is drawn now and then; what is printed meanwhile appears above it.

    Parameters
    ----------
    total : int or None
        Steps; None if unknown.
    what : str
        Text in front of it.
    done : int, default 0
        Steps that have been made already.
    """

    def __init__(self, total: int | None, what: str, done: int = 0) -> None:
        notebook = in_notebook()
        self._interval = NOTEBOOK_INTERVAL if notebook else TERMINAL_INTERVAL
        stream = _innermost(sys.stderr)
        measured = not notebook and not _hides_size(stream)
        self._bar = _tqdm(notebook)(
            total=total,
            initial=done,
            desc=f"{what}: ",
            bar_format=_format(total),
            file=stream,
            leave=notebook,
            mininterval=0.0,  # `advance` keeps the time
            miniters=1,
            dynamic_ncols=measured,
            **USUAL_SIZE if _hides_size(stream) else {},
        )
        self._count, self._logs = done, Logs()
        self._drawn = True
        self._due = time.perf_counter() + self._interval
        self._replaced: list[tuple[str, Any, _Above]] = []
        if not hasattr(self._bar, "container"):  # not made of widgets: printing would run into it
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if stream is not None:
                    self._replaced.append((name, stream, _Above(stream, self)))
                    setattr(sys, name, self._replaced[-1][2])

    def advance(self, logs: Logs | None = None) -> None:
        """Count a step; redraw with these figures if it is time."""
        self._count += 1
        self._logs = logs or {}
        if time.perf_counter() >= self._due:
            self._draw()

    def restart(self, total: int | None, what: str) -> None:
        """Start over, as the bar of something else, which is drawn when it is time."""
        self._count = self._bar.n = self._bar.last_print_n = 0
        self._bar.start_t = self._bar.last_print_t = time.time()
        self._bar.set_description(what, refresh=False)
        if total != self._bar.total:
            self._bar.bar_format = _format(total)
            self._bar.total = total
            self._bar.reset(total)

    def write_above(self, stream: TextIO, text: str) -> None:
        """Write whole lines to a stream of the terminal that shows the bar."""
        if self._drawn:
            self._bar.clear()
            self._drawn = False
        stream.write(text)
        stream.flush()
        if time.perf_counter() >= self._due:
            self._draw()

    def close(self) -> None:
        """Remove the bar, except in a notebook, and restore the streams."""
        for name, stream, above in reversed(self._replaced):
            above.finish()
            if getattr(sys, name) is above:  # else somebody replaced it meanwhile
                setattr(sys, name, stream)
        self._replaced = []
        self._draw()
        self._bar.close()

    def _draw(self) -> None:
        self._bar.set_postfix(self._logs, refresh=False)
        self._bar.n = self._bar.last_print_n = self._count
        self._bar.refresh()
        self._drawn = True
        self._due = time.perf_counter() + self._interval


def _tqdm(notebook: bool) -> Any:
    """Return the class of the bar: of widgets in a notebook that has ipywidgets, else of text."""
    if not notebook:
        from tqdm import tqdm

        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about ipywidgets, which is optional
        from tqdm.auto import tqdm as auto
    return auto


def _format(total: int | None) -> str:
    """Return the form of a bar: without tqdm's rate, which would squeeze it in 80 columns."""
    if total is None:
        return "{desc}{n_fmt} [{elapsed}{postfix}]"
    return "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def _hides_size(stream: Any) -> bool:
    """Return whether a terminal says that it has no columns or no rows, as some containers' do."""
    try:
        return 0 in os.get_terminal_size(stream.fileno())
    except (AttributeError, OSError, ValueError):  # no file of the operating system
        return False


def _innermost(stream: Any) -> Any:
    """Return the stream itself, even while the bars of other calls wrap it."""
    while isinstance(stream, _Above):
        stream = stream.stream
    return stream


class _Above:
    """Stands in for a stream while a bar is shown; the rest of a line waits for its end."""

    def __init__(self, stream: TextIO, bar: Bar) -> None:
        self.stream, self._bar, self._rest = stream, bar, ""

    def write(self, text: str) -> int:
        lines, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._bar.write_above(self.stream, lines + newline)
        return len(text)

    def flush(self) -> None:
        """Do nothing: lines are flushed when they are written."""

    def finish(self) -> None:
        """Write what waits."""
        if self._rest:
            self._bar.write_above(self.stream, self._rest)
            self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Reporter(Callback):
    """Writes a line for each epoch, and one about all of them; shows a bar where it can move.

    Parameters
    ----------
    bar : bool
        Whether a bar may be drawn.
    history : History
        Of the training, for its best epoch.
    """

    def __init__(self, bar: bool, history: History) -> None:
        self.bar = bar
        self.history = history
        self._bar: Bar | None = None
        self._begin = self._epoch_begin = 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look at the clock."""
        self._begin = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Open the bar."""
        self._epoch_begin = time.perf_counter()
        if not self.bar or not can_move():
            return
        steps, what = self.params["steps"], f"Epoch {epoch + 1}/{self.params['epochs']}"
        if self._bar is None:
            self._bar = Bar(steps, what)
        else:
            self._bar.restart(steps, what)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the line."""
        seconds = time.perf_counter() - self._epoch_begin
        _write(f"Epoch {epoch + 1}/{self.params['epochs']}", logs, seconds)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Take the bar away, and say what the training did."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self.history.epoch or self.history.restored_epoch is not None:
            seconds = time.perf_counter() - self._begin
            _print(self._conclusion(seconds))
        elif self.params["initial_epoch"] == self.params["epochs"]:
            _print(f"Trained 0 epochs: epoch {self.params['epochs']} has already been reached")

    def _conclusion(self, seconds: float) -> str:
        done = len(self.history.epoch)
        planned = self.params["epochs"] - self.params["initial_epoch"]
        of = "" if done == planned else f" of {planned}"
        parts = [f"Trained {done}{of} epoch{'s' * (planned != 1)} in {duration(seconds)}"]
        best: Best | None = self.history.best
        if best is not None:
            parts.append(describe_best(best))
        if self.model.stop_training:
            parts.append(f"stopped: {self.history.stop_reason or 'model.stop_training was set'}")
        elif done < planned:
            parts.append("interrupted")
        if self.history.restored_epoch is not None:
            parts.append(f"weights of epoch {self.history.restored_epoch + 1} restored")
        return "; ".join(parts)


def reporters(verbose: int | str, history: History) -> list[Callback]:
    """Choose by Keras' numbers: 0 nothing, 2 lines, 1 or "auto" lines and a bar."""
    level = _level(verbose)
    return [] if level == 0 else [Reporter(level != 2, history)]


def with_bar(
    batches: Iterable[Item],
    total: int | None,
    what: str,
    verbose: int | str,
    results: Callable[[], Logs] | None = None,
) -> Iterator[Item]:
    """Go through `batches` as `verbose` says.

    Parameters
    ----------
    batches : iterable
    total : int or None
        Their number; None if it is not known.
    what : str
        "Evaluate", "Predict" and so on.
    verbose : {0, 1, 2, "auto"}
        0: nothing; "auto": a bar where it can move; 2: a line at the end; 1: both.
    results : callable, optional
        Asked after the last batch for the figures of the line.
    """
    level = _level(verbose)
    return iter(batches) if level == 0 else _shown(batches, total, what, level, results)


def _shown(
    batches: Iterable[Item],
    total: int | None,
    what: str,
    level: int | str,
    results: Callable[[], Logs] | None,
) -> Iterator[Item]:
    begin = time.perf_counter()
    watched = level in (1, "auto") and can_move()
    bar = None
    try:
        for number, batch in enumerate(batches):
            if watched and bar is None and time.perf_counter() - begin >= PATIENCE:
                bar = Bar(total, what, number)
            yield batch
            if bar is not None:
                bar.advance()
    finally:
        if bar is not None:
            bar.close()
    if level in (1, 2):
        _write(what, {} if results is None else results(), time.perf_counter() - begin)


def can_move() -> bool:
    """Return whether a bar can move: in a terminal and in a notebook, not in a file or a pipe."""
    return in_notebook() or bool(getattr(sys.stderr, "isatty", lambda: False)())


def duration(seconds: float) -> str:
    """Write a time with two or three digits."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _write(what: str, logs: Logs, seconds: float) -> None:
    figures = (f"{name}: {value:.4g}" for name, value in logs.items())
    _print(" - ".join([what, *figures, duration(seconds)]))


def _print(line: str) -> None:
    if sys.stdout is not None:  # as in a program without a console
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _level(verbose: int | str) -> int | str:
    if verbose not in (0, 1, 2, "auto"):  # False and True are 0 and 1
        raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
    return verbose if isinstance(verbose, str) else int(verbose)
