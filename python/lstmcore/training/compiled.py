"""What `Sequential.compile` sets up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lstmcore._configurable import encode, make
from lstmcore.training import losses, metrics, optimizers, schedules
from lstmcore.training.losses import Loss
from lstmcore.training.metrics import Metric
from lstmcore.training.optimizers import Optimizer

__all__ = ["Compiled"]


@dataclass(frozen=True)
class Compiled:
    """An optimizer, a loss and metrics.

    Attributes
    ----------
    optimizer : Optimizer
    loss : Loss
        As the user gave it.
    metrics : tuple of Metric
    step_loss : Loss
        What a step computes: `loss`, or its form that takes logits.
    takes_logits : bool
        Whether the last layer leaves its activation to `step_loss`.
    """

    optimizer: Optimizer
    loss: Loss
    metrics: tuple[Metric, ...]
    step_loss: Loss
    takes_logits: bool

    @classmethod
    def make(
        cls,
        optimizer: Optimizer | str,
        loss: Loss | str,
        names: Sequence[Metric | str] | Metric | str | None,
        last_activation: str,
    ) -> "Compiled":
        """Find everything by name; see `Sequential.compile`."""
        chosen_loss = losses.get(loss)
        entries = [names] if isinstance(names, (str, Metric)) else list(names or [])
        found = tuple(metrics.get(entry, chosen_loss) for entry in entries)
        keys = ["loss", *(metric.name for metric in found)]
        if len(set(keys)) < len(keys):
            raise ValueError(f"metrics: expected different names, got {', '.join(keys[1:])}")
        step_loss, takes_logits = chosen_loss.behind(last_activation)
        return cls(optimizers.get(optimizer), chosen_loss, found, step_loss, takes_logits)

    def get_config(self) -> dict[str, Any]:
        """Describe everything but the optimizer's slots, as JSON can hold it."""
        return {
            "optimizer": encode(self.optimizer),
            "loss": encode(self.loss),
            "metrics": encode(self.metrics),
        }

    @classmethod
    def from_config(
        cls, config: Any, last_activation: str, custom_objects: Mapping[str, type]
    ) -> "Compiled":
        """Undo `get_config`; see `lstmcore.load` for `custom_objects`."""
        keys = {"optimizer", "loss", "metrics"}
        if not isinstance(config, dict) or set(config) != keys:
            raise ValueError(f"compile: expected {', '.join(sorted(keys))}, got {config!r}")
        steering = {**_public(optimizers), **_public(schedules), **custom_objects}
        optimizer = _make(config["optimizer"], steering)
        loss = _make(config["loss"], {**_public(losses), **custom_objects})
        entries = config["metrics"]
        if not isinstance(entries, list):
            raise ValueError(f"compile: expected a list of metrics, got {entries!r}")
        known = {**_public(metrics), **custom_objects}
        found = [_make(entry, known) for entry in entries]
        if not isinstance(optimizer, Optimizer):
            raise ValueError(f"compile: {type(optimizer).__name__} is no optimizer")
        return cls.make(optimizer, loss, found, last_activation)


def _public(module: Any) -> dict[str, type]:
    values = {name: getattr(module, name) for name in module.__all__}
    bases = (Loss, Metric, Optimizer, schedules.Schedule)
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, type) and value not in bases
    }


def _make(spec: Any, classes: dict[str, type]) -> Any:
    if not isinstance(spec, dict) or set(spec) != {"class", "config"}:
        raise ValueError(f"compile: expected a class and its config, got {spec!r}")
    return make(spec["class"], spec["config"], classes)
