"""The loss of a batch, and running losses and metrics over the batches of an epoch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from lstmcore._typing import Array
from lstmcore.training.compiled import Compiled
from lstmcore.training.decisions import Decisions
from lstmcore.training.joint import Joint
from lstmcore.training.metrics import Metric, SequenceMetric

__all__ = ["AnyTotals", "JointTotals", "JointlyJudged", "Judged", "Totals", "totals_of"]


@dataclass(frozen=True)
class Judged:
    """The loss of a batch, and what metrics see of it.

    Attributes
    ----------
    value : float
        Sum of the losses of `count` rows.
    gradient : ndarray or None
        Of their mean.
    count : int
    seen : tuple
        Arguments of `Totals.add_metrics`.
    decisions : Decisions or None
        What metrics of sequences see; None: there are no such metrics.
    """

    value: float
    gradient: Array | None
    count: int
    seen: tuple[Array, Array, Array | None, Array | None]
    decisions: Decisions | None = None

    @property
    def mean(self) -> float:
        """The mean loss of the rows that count."""
        return self.value / max(self.count, 1)


@dataclass(frozen=True)
class JointlyJudged:
    """The losses of a batch of several outputs.

    Attributes
    ----------
    parts : list of Judged
    mean : float
        The weighted sum of the parts' means.
    gradient : list of (ndarray or None)
        Of that sum, with respect to each output.
    count : int
        Samples.
    """

    parts: list[Judged]
    mean: float
    gradient: list[Array | None]
    count: int


class Totals:
    """Running loss and metrics over the batches of an epoch."""

    def __init__(self, compiled: Compiled) -> None:
        self.loss, self.count, self.penalty = 0.0, 0, 0.0
        self.compiled = compiled
        # With a loss of sequences, metrics see what it makes of the logits.
        self.logits = compiled.takes_logits and not compiled.loss.sees_sequences
        # Copies: during one pass over the batches, a callback may begin another.
        self.metrics = [metric.fresh() for metric in compiled.metrics]
        self.sequence_metrics = [one for one in self.metrics if isinstance(one, SequenceMetric)]
        self.unweighted = len(compiled.metrics) - len(compiled.weighted)

    def add(self, value: float, penalty: float, count: int) -> None:
        """Add the sum of `count` losses and the penalty on the weights at that moment.

        `count` is 0 for a batch of rows without steps, which weighs nothing in the mean.
        """
        self.loss += value + penalty * count
        self.count += count
        self.penalty = penalty

    def add_metrics(
        self, targets: Array, outputs: Array, mask: Array | None, weights: Array | None
    ) -> None:
        """Pass the predictions of a batch to the metrics.

        Parameters
        ----------
        targets : ndarray, shape (M,) or (M, K)
        outputs : ndarray, shape (M, U)
            Logits if the step takes them.
        mask : ndarray, shape (M,), or None
            0 for rows that are padding.
        weights : ndarray, shape (M,), or None
            Those in the loss, 0 where `mask` is.
        """
        compiled = self.compiled
        if len(self.metrics) == len(self.sequence_metrics):
            return
        logits = outputs
        if self.logits and not all(metric.takes_logits for metric in self.metrics):
            outputs = compiled.loss.activate(logits)
        predictions = compiled.loss.predictions(outputs)
        for number, metric in enumerate(self.metrics):
            if isinstance(metric, SequenceMetric):
                continue
            if self.logits and metric.takes_logits:
                seen = logits
            else:
                seen = outputs if metric.takes_outputs else predictions
            own = type(metric).update is not Metric.update
            take = metric.update if own else metric.update_rows
            take(targets, seen, mask if number < self.unweighted else weights)

    def logs(self) -> dict[str, float]:
        """Return loss and metrics by name."""
        return self._logs(self.metrics)

    def batch_logs(self) -> dict[str, float]:
        """Return loss and metrics so far, without those that are for whole epochs."""
        return self._logs([metric for metric in self.metrics if metric.running])

    def _logs(self, metrics: Iterable[Metric]) -> dict[str, float]:
        logs = {"loss": self.mean}
        logs.update((metric.name, metric.result()) for metric in metrics)
        return logs

    @property
    def mean(self) -> float:
        """The mean loss so far."""
        return self.loss / self.count if self.count else self.penalty

    def take(self, judged: Judged, penalty: float) -> None:
        """Add the loss of a batch."""
        self.add(judged.value, penalty, judged.count)

    def take_metrics(self, judged: Judged) -> None:
        """Show a batch to the metrics."""
        self.add_metrics(*judged.seen)
        if judged.decisions is not None:
            for metric in self.sequence_metrics:
                metric.update_sequences(*judged.decisions)

    def gathered(self, running: bool) -> Any:
        """Return what `merge` takes; if `running`, without metrics that are for whole epochs."""
        chosen = (metric for metric in self.metrics if metric.running or not running)
        return (self.loss, self.count, self.penalty), [metric.gathered() for metric in chosen]

    def merge(self, gathered: Any, running: bool) -> None:
        """Add what other totals have gathered, as if their batches followed; see `gathered`."""
        before = self.penalty
        (loss, count, penalty), parts = gathered
        self.add(loss, 0.0, count)
        self.penalty = penalty or before  # of others that had no batch it is 0
        chosen = (metric for metric in self.metrics if metric.running or not running)
        for metric, part in zip(chosen, parts, strict=True):
            metric.merge(part)


class JointTotals:
    """Running losses and metrics of several outputs; see `Totals`."""

    def __init__(self, joint: Joint) -> None:
        self.joint = joint
        self.parts = {name: Totals(part) for name, part in joint.parts.items()}
        self.penalties, self.count, self.penalty = 0.0, 0, 0.0

    def take(self, judged: JointlyJudged, penalty: float) -> None:
        """Add the losses of a batch."""
        for totals, part in zip(self.parts.values(), judged.parts, strict=True):
            totals.take(part, 0.0)
        self.penalties += penalty * judged.count
        self.count += judged.count
        self.penalty = penalty

    def take_metrics(self, judged: JointlyJudged) -> None:
        """Show a batch to the metrics of each output."""
        for totals, part in zip(self.parts.values(), judged.parts, strict=True):
            totals.take_metrics(part)

    def gathered(self, running: bool) -> Any:
        """Return what `merge` takes; see `Totals`."""
        parts = [part.gathered(running) for part in self.parts.values()]
        return (self.penalties, self.count, self.penalty), parts

    def merge(self, gathered: Any, running: bool) -> None:
        """Add what other totals have gathered; see `Totals`."""
        (penalties, count, penalty), parts = gathered
        self.penalty = penalty or self.penalty
        self.penalties, self.count = self.penalties + penalties, self.count + count
        for own, part in zip(self.parts.values(), parts, strict=True):
            own.merge(part, running)

    def logs(self) -> dict[str, float]:
        """Return the weighted loss, that of each output, and the metrics, by name."""
        return self._joined({name: part.logs() for name, part in self.parts.items()})

    def batch_logs(self) -> dict[str, float]:
        """Return the same so far, without metrics that are for whole epochs."""
        return self._joined({name: part.batch_logs() for name, part in self.parts.items()})

    def _joined(self, found: dict[str, dict[str, float]]) -> dict[str, float]:
        penalty = self.penalties / self.count if self.count else self.penalty
        losses = {name: logs.pop("loss") for name, logs in found.items()}
        weights = self.joint.loss_weights
        whole = sum(weights[name] * loss for name, loss in losses.items()) + penalty
        joined = {"loss": whole}
        joined.update((self.joint.log_name(name, "loss"), loss) for name, loss in losses.items())
        for name, logs in found.items():
            joined.update((self.joint.log_name(name, key), value) for key, value in logs.items())
        return joined


AnyTotals: TypeAlias = Any
"""`Totals`, or `JointTotals` with what they take, `JointlyJudged`."""


def totals_of(compiled: Compiled | Joint) -> AnyTotals:
    """Return empty totals for a model that is compiled so."""
    return JointTotals(compiled) if isinstance(compiled, Joint) else Totals(compiled)
