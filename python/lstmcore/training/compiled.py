"""What `Sequential.compile` sets up."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from lstmcore import _checks
from lstmcore._configurable import encode, make
from lstmcore._typing import Response, Shape
from lstmcore.training import losses, metrics, optimizers, schedules
from lstmcore.training.losses import Loss, LossLike, SequenceLoss
from lstmcore.training.metrics import Metric, MetricLike, SequenceMetric
from lstmcore.training.optimizers import Optimizer

__all__ = ["Compiled", "Metrics"]

Metrics: TypeAlias = Sequence[MetricLike] | MetricLike | None
"""What `compile` takes as metrics: one, several, or none."""

_KEYS = {"optimizer", "loss", "metrics"}
_OPTIONAL_KEYS = {"weighted_metrics"}


@dataclass(frozen=True)
class Compiled:
    """An optimizer, a loss and metrics.

    Attributes
    ----------
    optimizer : Optimizer
    loss : Loss
        As the user gave it.
    metrics : tuple of Metric
        All of them, the weighted ones last; copies of those that were given, which are not changed.
    step_loss : Loss
        What a step computes: `loss`, or its form that takes logits.
    takes_logits : bool
        Whether the last layer leaves its activation to `step_loss`.
    weighted : tuple of Metric
        Those of `metrics` that are given the weights of samples.
    checked : set of int
        Widths of outputs that `check_outputs` has accepted.
    """

    optimizer: Optimizer
    loss: Loss
    metrics: tuple[Metric, ...]
    step_loss: Loss
    takes_logits: bool
    weighted: tuple[Metric, ...] = ()
    checked: set[int] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def make(
        cls,
        optimizer: Optimizer | str,
        loss: LossLike,
        plain: Metrics,
        last_activation: str,
        weighted: Metrics = None,
    ) -> "Compiled":
        """Find everything by name; see `Sequential.compile`."""
        chosen_loss = losses.get(loss)
        unweighted = tuple(metrics.get(entry, chosen_loss).fresh() for entry in _entries(plain))
        taken = {metric.name for metric in unweighted}
        with_weights = tuple(
            _get_weighted(entry, chosen_loss, taken) for entry in _entries(weighted)
        )
        found = (*unweighted, *with_weights)
        keys = ["loss", *(metric.name for metric in found)]
        if len(set(keys)) < len(keys):
            raise ValueError(f"metrics: expected different names, got {', '.join(keys[1:])}")
        rows = [metric.name for metric in found if not isinstance(metric, SequenceMetric)]
        if rows and isinstance(chosen_loss, SequenceLoss) and not chosen_loss.has_metrics:
            kind = "none"
            if chosen_loss.decodes:
                kind = "only metrics of sequences, such as 'character_error_rate',"
            raise ValueError(
                f"metrics: expected {kind} alongside {type(chosen_loss).__name__}, whose targets "
                f"are sequences of other lengths than the outputs, got {', '.join(rows)}"
            )
        step_loss, takes_logits = chosen_loss.behind(last_activation)
        sequences = chosen_loss.sees_sequences  # which show metrics no logits
        for metric in found:
            metric.bind(chosen_loss, chosen_loss if sequences else step_loss)
        for metric in with_weights:
            if not metric.takes_weights:
                why = "the function of {} has no argument sample_weight"
                if isinstance(metric, SequenceMetric):
                    why = "{} has no weights"
                raise ValueError(
                    f"weighted_metrics: {why.format(repr(metric.name))}; put it into metrics"
                )
        optimizer = optimizers.get(optimizer)
        return cls(optimizer, chosen_loss, found, step_loss, takes_logits, with_weights)

    def check_outputs(self, units: int) -> None:
        """Raise ValueError if a metric cannot judge `units` outputs with this loss."""
        loss = self.loss
        if units in self.checked:
            return
        targets, predicted, judging = None, units, self.metrics
        if isinstance(loss, SequenceLoss):
            judging = self.sequence_metrics
        else:
            targets = None if loss.labels else loss.target_width(units)
            predicted = loss.predictions(np.zeros((1, units))).shape[-1]
        for metric in judging:
            try:
                metric.check_outputs(units if metric.takes_outputs else predicted, targets)
            except ValueError as error:
                start = f"metrics: {metric.name!r}: "
                raise ValueError(start + str(error).removeprefix(start)) from error
        self.checked.add(units)

    def check_shape(self, output_shape: Shape) -> None:
        """Raise ValueError if a metric cannot judge outputs of this shape; see `check_outputs`."""
        units = output_shape[-1]
        assert units is not None  # of a model that is built
        if self.sequence_metrics and len(output_shape) != 3:
            raise ValueError(
                f"metrics: {self.sequence_metrics[0].name!r} expects outputs at each step, (N, T, "
                f"U), got {_checks.show_shape(output_shape)}; use return_sequences=True"
            )
        self.check_outputs(units)

    @property
    def sequence_metrics(self) -> tuple[Metric, ...]:
        """Those of `metrics` that see whole sequences."""
        return tuple(one for one in self.metrics if isinstance(one, SequenceMetric))

    @property
    def row_metrics(self) -> tuple[Metric, ...]:
        """Those of `metrics` that see rows."""
        return tuple(one for one in self.metrics if not isinstance(one, SequenceMetric))

    @property
    def heads(self) -> "tuple[Compiled, ...]":
        """Loss and metrics of each output: this object alone."""
        return (self,)

    @property
    def log_names(self) -> list[str]:
        """Names in the logs of training and evaluation, in their order."""
        return ["loss", *self.logged_metrics]

    @property
    def logged_metrics(self) -> dict[str, Metric]:
        """The metrics by their names in logs."""
        return {metric.name: metric for metric in self.metrics}

    def for_activation(self, last_activation: str) -> "Compiled":
        """Make this again for a model that ends in another activation; the optimizer stays."""
        plain = [metric for metric in self.metrics if metric not in self.weighted]
        return self.make(self.optimizer, self.loss, plain, last_activation, self.weighted)

    def get_config(self) -> dict[str, Any]:
        """Describe everything but the optimizer's slots, as JSON can hold it."""
        plain = [metric for metric in self.metrics if metric not in self.weighted]
        config = {
            "optimizer": encode(self.optimizer),
            "loss": encode(self.loss),
            "metrics": encode(plain),
        }
        if self.weighted:
            config["weighted_metrics"] = encode(self.weighted)
        return config

    @classmethod
    def from_config(
        cls, config: Any, last_activation: str, custom_objects: Mapping[str, Any]
    ) -> "Compiled":
        """Undo `get_config`; see `lstmcore.load` for `custom_objects`."""
        if not isinstance(config, dict) or not _KEYS <= set(config) <= _KEYS | _OPTIONAL_KEYS:
            expected = ", ".join(sorted(_KEYS))
            raise ValueError(f"compile: expected {expected}, got {_checks.quote(config)}")
        steering = {**_public(optimizers), **_public(schedules), **custom_objects}
        optimizer = _make(config["optimizer"], steering)
        known_losses = {
            **_public(losses),
            **custom_objects,
            "Function": _restore_loss(custom_objects),
        }
        loss = _make(config["loss"], known_losses)
        known = {
            **_public(metrics),
            **custom_objects,
            "Function": _restore_metric(custom_objects),
        }
        lists = [config["metrics"], config.get("weighted_metrics", [])]
        if not all(isinstance(entries, list) for entries in lists):
            raise ValueError(f"compile: expected lists of metrics, got {_checks.quote(lists)}")
        plain, weighted = (
            [_make_metric(entry, known, known_losses) for entry in entries] for entries in lists
        )
        if not isinstance(optimizer, Optimizer):
            raise ValueError(f"compile: {type(optimizer).__name__} is not an optimizer")
        return cls.make(optimizer, loss, plain, last_activation, weighted)


def _entries(given: Metrics) -> list[MetricLike]:
    if given is None:
        return []
    return [given] if isinstance(given, (str, Metric, Loss)) or callable(given) else list(given)


def _get_weighted(entry: MetricLike, loss: Loss, taken: Collection[str]) -> Metric:
    """Find a metric of `weighted_metrics`.

    Made here of a name, a loss or a function that `metrics` have as well, it is called
    "weighted_accuracy", as in Keras; one that the user made keeps its name.
    """
    found = metrics.get(entry, loss)
    metric = found.fresh()
    if metric.name in taken and found is not entry:
        object.__setattr__(metric, "name", f"weighted_{metric.name}")  # which no user can set
    return metric


def _public(module: Any) -> dict[str, type]:
    values = {name: getattr(module, name) for name in module.__all__}
    bases = (Loss, SequenceLoss, Metric, SequenceMetric, Optimizer, schedules.Schedule)
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, type) and value not in bases
    }


def _make(spec: Any, classes: Mapping[str, Any]) -> Any:
    if not isinstance(spec, dict) or set(spec) != {"class", "config"}:
        raise ValueError(f"compile: expected a class and its config, got {_checks.quote(spec)}")
    return make(spec["class"], spec["config"], classes)


def _make_metric(spec: Any, known: Mapping[str, Any], known_losses: Mapping[str, Any]) -> Any:
    """Make a metric. A loss within it is found among the losses: a metric may have its name."""
    config = spec.get("config") if isinstance(spec, dict) else None
    if not isinstance(config, dict) or "loss" not in config or set(spec) != {"class", "config"}:
        return _make(spec, known)
    rest = {key: value for key, value in config.items() if key != "loss"}
    return make(spec["class"], rest, known, loss=_make(config["loss"], known_losses))


# ---- functions, of which a file has only the names ---------------------------------------------


def _restore_loss(custom_objects: Mapping[str, Any]) -> Callable[..., Loss]:
    """Return what takes the place of `losses.Function` where a file is read."""

    def restore(name: str, labels: bool) -> Loss:
        given = _given(name, custom_objects, f"lstmcore.losses.Function({name}, gradient=...)")
        if not isinstance(given, losses.Function):
            raise ValueError(
                f"custom_objects[{name!r}]: expected the loss that the model was compiled with, "
                f"lstmcore.losses.Function({name}, gradient=...), got {given!r}"
            )
        if given.labels != labels or given.name != name:
            raise ValueError(
                f"custom_objects[{name!r}]: expected a Function with name={name!r} and "
                f"labels={labels}, got name={given.name!r} and labels={given.labels}"
            )
        return given

    return restore


def _restore_metric(custom_objects: Mapping[str, Any]) -> Callable[..., Metric]:
    """Return what takes the place of `metrics.Function` where a file is read."""

    def restore(
        name: str, response: Response, threshold: float, greater_is_better: bool | None
    ) -> Metric:
        given = _given(name, custom_objects, name)
        if isinstance(given, metrics.Function):
            given = given.function
        if isinstance(given, type) or not callable(given):
            raise ValueError(f"custom_objects[{name!r}]: expected a function, got {given!r}")
        return metrics.Function(
            given,
            name,
            response=response,
            threshold=threshold,
            greater_is_better=greater_is_better,
        )

    return restore


def _given(name: str, custom_objects: Mapping[str, Any], what: str) -> Any:
    if name not in custom_objects:
        raise ValueError(
            f"the model was compiled with the function {name!r}, which a file cannot hold; give it "
            f"by load(path, custom_objects={{{name!r}: {what}}})"
        )
    return custom_objects[name]
