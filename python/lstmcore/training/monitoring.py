"""The base of callbacks that watch one figure of the logs."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from lstmcore import _checks
from lstmcore._suggest import did_you_mean
from lstmcore._typing import MetricName, Mode, choices
from lstmcore.training.callback import Callback, Logs

__all__ = ["Monitoring", "written_lines"]


class _Monitor:
    """Decides whether a logged figure is the best so far."""

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
            metric = model.compiled.logged_metrics.get(self.monitor.removeprefix("val_"))
            if metric is not None and metric.greater_is_better is not None:
                self.sign = 1.0 if metric.greater_is_better else -1.0

    def value(self, logs: Logs) -> float:
        self._find(logs)
        return logs[self.monitor]

    def _find(self, names: Iterable[str]) -> None:
        if self.monitor not in names:
            known = list(names)
            meant, hint = known, ""
            if self.monitor.startswith("val_") and not any(n.startswith("val_") for n in known):
                hint = "; fit has no validation data; pass validation_split or validation_data"
                meant = [f"val_{name}" for name in known]
            if self.monitor not in meant:
                hint += did_you_mean(self.monitor, meant) or _of_a_metric(self.monitor)
            raise ValueError(
                f"monitor: expected one of {', '.join(known)}, got {self.monitor!r}{hint}"
            )

    def get_state(self) -> dict[str, Any]:
        return {"monitor": self.monitor, "best": self.best}

    def fits(self, state: Mapping[str, Any]) -> bool:
        """Return whether a state is about the same figure."""
        return bool(state["monitor"] == self.monitor)

    def set_state(self, state: Mapping[str, Any]) -> None:
        best = state["best"]
        self.best = None if best is None else _checks.real(best, "best")

    def better(self, value: float, than: float | None) -> bool:
        if not math.isfinite(value):  # no figure of use, and none that a model file can hold
            return False
        return than is None or self.sign * (value - than) > self.min_delta

    def improves(self, value: float) -> bool:
        """Return whether `value` is the best so far, and remember it if it is."""
        if not self.better(value, self.best):
            return False
        self.best = value
        return True


def _of_a_metric(name: str) -> str:
    """Say how a figure gets into the logs, if it is that of a metric."""
    plain = name.removeprefix("val_")
    known = plain in get_args(MetricName)
    return f"; compile(..., metrics=[{plain!r}]) computes it" if known else ""


class Monitoring(Callback):
    """A callback that watches one figure of the logs."""

    def __init__(
        self, monitor: str, mode: Mode, min_delta: float = 0.0, verbose: Literal[0, 1] = 0
    ) -> None:
        self._monitor = _Monitor(monitor, mode, min_delta)
        self.verbose = written_lines(verbose)

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
        """Smaller changes do not count as an improvement."""
        return self._monitor.min_delta

    @property
    def best(self) -> float | None:
        """The best value of the figure so far."""
        return self._monitor.best

    def _unimproved(self, epochs: int) -> str:
        return f"{self.monitor} did not improve for {epochs} epoch{'s' * (epochs != 1)}"

    def _take_over(self, name: str, found: Mapping[str, Any]) -> None:
        if name in ("monitor", "mode", "min_delta"):  # which reset it
            name = "_monitor"
        super()._take_over(name, found)


def written_lines(verbose: int) -> int:
    """Return how many lines a callback writes when it acts: 0 or 1."""
    if not isinstance(verbose, (int, np.integer, np.bool_)) or verbose not in (0, 1):
        raise ValueError(f"verbose: expected 0 or 1, got {verbose!r}")
    return int(verbose)
