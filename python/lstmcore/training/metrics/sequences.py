"""Metrics of whole sequences: of the tags, or the labels, that a model decides for each of them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lstmcore import _checks
from lstmcore._typing import Array, ArrayLike, SpanAverage, SpanScheme, choices
from lstmcore.training.losses import CRF, CTC, Loss, SequenceLoss
from lstmcore.training.metrics.base import Metric
from lstmcore.training.metrics.edits import edit_distance
from lstmcore.training.metrics.spans import SpanCounts, average_f1, count_spans, spans

__all__ = ["CharacterErrorRate", "SequenceMetric", "SpanF1", "WordErrorRate"]


class SequenceMetric(Metric):
    """Base of the metrics that see whole sequences of decisions, one row for each.

    For each sequence they get the labels of the target and those that the model decides: the
    greatest output of each step, what Viterbi's algorithm finds with `losses.CRF`, or what greedy
    decoding reads with `losses.CTC`. Steps that padding, lengths and masks leave out are not in the
    rows, and neither are targets that are not known, those of weight 0. With `tbptt`, sequences are
    the windows.

    A subclass overrides `reset`, `update_sequences` and `result`, and for training on several
    processes `gathered` and `merge`.
    """

    labels = None
    takes_weights = False

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`: the loss must be about labels of steps, or decode."""
        if not loss.labels and not (isinstance(loss, SequenceLoss) and loss.decodes):
            raise ValueError(
                f"metrics: {self.name!r} expects a loss about labels of steps or of sequences, got "
                f"{type(loss).__name__}"
            )

    def update(self, y_true: Any, y_pred: Any, sample_weight: ArrayLike | None = None) -> None:
        """Add a batch.

        Parameters
        ----------
        y_true, y_pred : sequence of array_like of int, each of shape (S_i,)
            Labels of the targets, and those that were decided.
        sample_weight : None
            Sequences have no weights here.

        Raises
        ------
        ValueError
            If there are weights, or not as many rows.
        """
        if sample_weight is not None:
            raise ValueError(
                f"sample_weight: expected None for {type(self).__name__}, which has no weights"
            )
        rows, found = (
            [_checks.integer_array(row, name) for row in given]
            for given, name in ((y_true, "y_true"), (y_pred, "y_pred"))
        )
        if len(rows) != len(found):
            raise ValueError(f"y_pred: expected {len(rows)} rows like y_true, got {len(found)}")
        self.update_sequences(rows, found)

    def update_sequences(self, y_true: Sequence[Array], y_pred: Sequence[Array]) -> None:
        """Add sequences.

        Parameters
        ----------
        y_true, y_pred : sequence of ndarray of int64, each of shape (S_i,)
            Labels of the targets, and those that were decided.
        """
        raise NotImplementedError


class SpanF1(SequenceMetric):
    """The F1 of whole spans in sequences of tags; see `span_f1`.

    For a model whose outputs are tags at each step: with `losses.CRF`, or with a softmax.

    Parameters
    ----------
    tags : sequence of str, optional
        The name of each number: "O", "B-PER" and so on. None: those of the loss, ``CRF(tags=...)``.
    scheme : {"BIO", "BIOES", "BILOU"}, optional
        See `spans`.
    average : {"micro", "macro", "weighted"}, default "micro"
        See `span_f1`.
    name : str, optional
        See `Metric`.
    """

    greater_is_better = True
    default_name = "span_f1"

    def __init__(
        self,
        tags: Sequence[str] | None = None,
        scheme: SpanScheme | None = None,
        average: SpanAverage = "micro",
        name: str | None = None,
    ) -> None:
        if scheme is not None:
            _checks.choice(scheme, "scheme", choices(SpanScheme))
        self.tags = None if tags is None else _checked_tags(tags, scheme)
        self.scheme = scheme
        _checks.choice(average, "average", choices(SpanAverage))
        self.average = average
        self._names = self.tags
        super().__init__(name)

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`: the loss must be about tags, and may know their names."""
        if not loss.labels:
            raise ValueError(
                "metrics: SpanF1 expects a loss about tags at each step, 'crf' or "
                f"'sparse_categorical_crossentropy', got {type(loss).__name__}"
            )
        self._names = self.tags
        if self._names is None and isinstance(loss, CRF) and loss.tags is not None:
            self._names = _checked_tags(loss.tags, self.scheme)
        if self._names is None:
            raise ValueError(
                f"metrics: {self.name!r} needs the names of the tags: pass "
                "lstmcore.metrics.SpanF1(tags), or loss=lstmcore.losses.CRF(tags)"
            )

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`."""
        if self._names is not None and units != len(self._names):
            raise ValueError(
                f"expected a name for each of the {units} outputs, got {len(self._names)} tags"
            )

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._counts: SpanCounts = Counter(), Counter(), Counter()

    def update_sequences(self, y_true: Sequence[Array], y_pred: Sequence[Array]) -> None:
        """See `SequenceMetric.update_sequences`."""
        if self._names is None:
            raise ValueError("tags: expected the names of the tags, got None")
        count_spans(y_true, y_pred, self._names, self.scheme, None, self._counts)

    def gathered(self) -> Any:
        """See `Metric.gathered`."""
        return tuple(dict(counts) for counts in self._counts)

    def merge(self, gathered: Any) -> None:
        """See `Metric.merge`."""
        for own, more in zip(self._counts, gathered, strict=True):
            own.update(more)

    def result(self) -> float:
        """See `Metric.result`; 0 if neither has any span."""
        return average_f1(self._counts, self.average)


class _ErrorRate(SequenceMetric):
    """Base of the error rates of greedy decoding with `losses.CTC`."""

    greater_is_better = False

    def __init__(self, symbols: Sequence[str] | None = None, name: str | None = None) -> None:
        self.symbols = None if symbols is None else _checks.strings(symbols, "symbols")
        super().__init__(name)

    def bind(self, loss: Loss, step_loss: Loss) -> None:
        """See `Metric.bind`: the loss must be `losses.CTC`."""
        if not isinstance(loss, CTC):
            raise ValueError(
                f"metrics: {type(self).__name__} expects the loss 'ctc', whose outputs can be "
                f"decoded, got {type(loss).__name__}; for texts use the function "
                f"lstmcore.metrics.{self.default_name}"
            )

    def check_outputs(self, units: int, targets: int | None) -> None:
        """See `Metric.check_outputs`."""
        if self.symbols is not None and units != len(self.symbols):
            raise ValueError(
                f"expected a text for each of the {units} outputs, the blank included, got "
                f"{len(self.symbols)} symbols"
            )

    def reset(self) -> None:
        """See `Metric.reset`."""
        self._edits, self._units = 0, 0

    def update_sequences(self, y_true: Sequence[Array], y_pred: Sequence[Array]) -> None:
        """See `SequenceMetric.update_sequences`."""
        for labels, found in zip(y_true, y_pred, strict=True):
            wanted = self._divided(labels)
            self._edits += edit_distance(wanted, self._divided(found))
            self._units += len(wanted)

    def gathered(self) -> Any:
        """See `Metric.gathered`."""
        return self._edits, self._units

    def merge(self, gathered: Any) -> None:
        """See `Metric.merge`."""
        edits, units = gathered
        self._edits, self._units = self._edits + edits, self._units + units

    def result(self) -> float:
        """See `Metric.result`; infinite if something was found where nothing is to be found."""
        if self._units:
            return self._edits / self._units
        return float("inf") if self._edits else 0.0

    def _divided(self, labels: Array) -> Sequence[Any]:
        """Return the units of a sequence of labels that are counted."""
        raise NotImplementedError


class CharacterErrorRate(_ErrorRate):
    """The character error rate (CER) of greedy decoding; see `character_error_rate`.

    Parameters
    ----------
    symbols : sequence of str, optional
        The text of each output; that of the blank is not used. None: each label is a character, so
        that this is the label error rate.
    name : str, optional
        See `Metric`.
    """

    default_name = "character_error_rate"

    def _divided(self, labels: Array) -> Sequence[Any]:
        if self.symbols is None:
            return list(labels.tolist())
        return "".join(self.symbols[label] for label in labels)


class WordErrorRate(_ErrorRate):
    """The word error rate (WER) of greedy decoding; see `word_error_rate`.

    Parameters
    ----------
    symbols : sequence of str, optional
        The text of each output, such as letters and a space, of which words are put together; that
        of the blank is not used. None: each label is a word.
    name : str, optional
        See `Metric`.
    """

    default_name = "word_error_rate"

    def _divided(self, labels: Array) -> Sequence[Any]:
        if self.symbols is None:
            return list(labels.tolist())
        return "".join(self.symbols[label] for label in labels).split()


def _checked_tags(tags: Any, scheme: SpanScheme | None) -> list[str]:
    """Return the names of tags as a list, each of which a scheme must know."""
    names = _checks.strings(tags, "tags")
    for name in names:
        spans([name], scheme)
    return names
