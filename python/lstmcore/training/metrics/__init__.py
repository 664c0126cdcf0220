"""Metrics: figures about predictions that are reported but not minimized."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from lstmcore import _checks
from lstmcore._suggest import did_you_mean, public
from lstmcore._typing import LossName, MetricName
from lstmcore.training import losses
from lstmcore.training.losses import Loss
from lstmcore.training.metrics.base import Metric, middle
from lstmcore.training.metrics.classes import F1, Precision, Recall
from lstmcore.training.metrics.edits import character_error_rate, edit_distance, word_error_rate
from lstmcore.training.metrics.function import Function
from lstmcore.training.metrics.means import (
    BinaryAccuracy,
    CategoricalAccuracy,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanLoss,
    MeanSquaredError,
    Perplexity,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    TopK,
)
from lstmcore.training.metrics.ranks import AUC
from lstmcore.training.metrics.regression import R2
from lstmcore.training.metrics.sequences import (
    CharacterErrorRate,
    SequenceMetric,
    SpanF1,
    WordErrorRate,
)
from lstmcore.training.metrics.spans import (
    Span,
    SpanScore,
    forbidden_transitions,
    span_f1,
    span_scores,
    spans,
)

__all__ = [
    "AUC",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "CharacterErrorRate",
    "F1",
    "Function",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanLoss",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2",
    "Recall",
    "RootMeanSquaredError",
    "SequenceMetric",
    "Span",
    "SpanF1",
    "SpanScore",
    "SparseCategoricalAccuracy",
    "TopK",
    "WordErrorRate",
    "character_error_rate",
    "edit_distance",
    "forbidden_transitions",
    "get",
    "span_f1",
    "span_scores",
    "spans",
    "word_error_rate",
]

if not TYPE_CHECKING:  # which would take it for a module with any name
    __getattr__, __dir__ = public(__name__, __all__)

MetricLike: TypeAlias = Metric | Loss | MetricName | LossName | Callable[..., Any]
"""What `compile` takes as a metric."""

NAMES: dict[str, tuple[type[Metric], dict[str, Any]]] = {
    "sparse_categorical_accuracy": (SparseCategoricalAccuracy, {}),
    "categorical_accuracy": (CategoricalAccuracy, {}),
    "binary_accuracy": (BinaryAccuracy, {}),
    "top_k": (TopK, {}),
    "top_k_categorical_accuracy": (TopK, {}),
    "sparse_top_k_categorical_accuracy": (TopK, {}),
    **{
        f"{name}{ending}": (kind, {"average": average})
        for name, kind in (("precision", Precision), ("recall", Recall), ("f1", F1))
        for ending, average in (
            ("", "auto"),
            ("_macro", "macro"),
            ("_micro", "micro"),
            ("_weighted", "weighted"),
        )
    },
    "auc": (AUC, {}),
    "roc_auc": (AUC, {}),
    "pr_auc": (AUC, {"curve": "PR"}),
    "average_precision": (AUC, {"curve": "PR"}),
    "perplexity": (Perplexity, {}),
    "mse": (MeanSquaredError, {}),
    "mean_squared_error": (MeanSquaredError, {}),
    "rmse": (RootMeanSquaredError, {}),
    "root_mean_squared_error": (RootMeanSquaredError, {}),
    "mae": (MeanAbsoluteError, {}),
    "mean_absolute_error": (MeanAbsoluteError, {}),
    "mape": (MeanAbsolutePercentageError, {}),
    "mean_absolute_percentage_error": (MeanAbsolutePercentageError, {}),
    "r2": (R2, {}),
    "span_f1": (SpanF1, {}),
    "character_error_rate": (CharacterErrorRate, {}),
    "cer": (CharacterErrorRate, {}),
    "word_error_rate": (WordErrorRate, {}),
    "wer": (WordErrorRate, {}),
}
"""Besides these, "accuracy" and "acc", and every name of a loss, which means its mean."""


def get(metric: MetricLike, loss: Loss) -> Metric:
    """Find a metric.

    Parameters
    ----------
    metric : Metric, str, Loss or callable
        "accuracy" means the one that fits `loss`; the name of a loss, or a loss, its mean; any
        other callable becomes a `Function`.
    loss : Loss
        The model's loss, which tells what its outputs are.

    Returns
    -------
    Metric
        `metric` itself if it is one.

    Raises
    ------
    TypeError, ValueError
        If there is no such metric, or `loss` is no loss.
    """
    if isinstance(metric, Metric):
        return metric
    _checks.instance(loss, Loss, "loss", "a Loss")
    if isinstance(metric, type):
        raise TypeError(f"metrics: expected an object, got the class {metric.__name__}; call it")
    if isinstance(metric, Loss):
        names = [name for name, kind in losses.NAMES.items() if kind is type(metric)]
        return MeanLoss(metric, names[0] if names else getattr(metric, "name", None))
    if metric in ("accuracy", "acc"):
        return _accuracy(str(metric), loss)
    if isinstance(metric, str):
        if metric in NAMES:
            kind, options = NAMES[metric]
            return kind.named(metric, loss, **options)
        if metric in losses.NAMES:
            own = losses.get(metric)
            logits = loss.shows_logits and own.activation == loss.activation
            return MeanLoss(own.with_logits() if logits else own, metric)
    elif callable(metric):
        return Function(metric, threshold=middle(loss))
    every = ("accuracy", *NAMES, *losses.NAMES)
    known = ", ".join(map(repr, every))
    raise ValueError(
        f"metrics: expected a Metric, a function of (y_true, y_pred) or one of {known}, "
        f"got {metric!r}{did_you_mean(metric, every)}"
    )


def _accuracy(name: str, loss: Loss) -> Metric:
    if loss.labels:
        return SparseCategoricalAccuracy(name)
    if loss.activation == "softmax":
        return CategoricalAccuracy(name)
    if loss.activation == "sigmoid":
        return BinaryAccuracy.named(name, loss)
    raise ValueError(f"metrics: {name!r} has no meaning with {type(loss).__name__}")
