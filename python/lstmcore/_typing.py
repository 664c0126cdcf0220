"""Type aliases, including the names of options, which run-time checks get from `choices`.

Letters: N batch, T time steps, C features, U units of an output.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array whose element type is checked at run time."""

Shape: TypeAlias = tuple[int | None, ...]
"""The shape of a batch; None where it may differ from batch to batch: (None, None, C)."""


class _SupportsDLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...


class _SupportsArray(Protocol):
    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


Exporter: TypeAlias = _SupportsDLPack | _SupportsArray
"""Another library's array or table, such as PyTorch's or pandas', read without a copy."""

ArrayLike: TypeAlias = npt.ArrayLike | Exporter
"""What can become an array: arrays, tables, numbers, strings and lists of them, even ragged."""

Inputs: TypeAlias = ArrayLike | Iterable[Any]
"""Inputs of a model: an array, a list of rows, texts, or an iterable of batches."""

ValidationData: TypeAlias = (
    tuple[Inputs, ArrayLike] | tuple[Inputs, ArrayLike, ArrayLike] | Iterable[Any]
)
"""Validation data: x and y, optionally with weights, or batches of these."""

Named: TypeAlias = ArrayLike | Mapping[str, Any]
"""An array, or of a graph with several inputs or outputs one for each, by name."""

State: TypeAlias = Mapping[str, tuple[Array, Array]]
"""h and c of each recurrent layer of a model, by the layer's name."""

DTypeName: TypeAlias = Literal["float32", "float64"]
DType: TypeAlias = DTypeName | type[np.float32] | type[np.float64] | np.dtype[Any]
"""The element type of a model's weights."""

InputType: TypeAlias = Literal["float32", "float64", "int32", "int64"]
"""What an `Input` may hold: numbers, or token ids."""

# ---- names of options -------------------------------------------------------------------------

LayerActivation: TypeAlias = Literal[
    "linear",
    "relu",
    "tanh",
    "sigmoid",
    "softmax",
    "elu",
    "selu",
    "gelu",
    "silu",
    "swish",
    "hard_silu",
    "hard_swish",
    "softplus",
    "softsign",
    "leaky_relu",
    "exponential",
    "hard_sigmoid",
    "relu6",
    "mish",
]
CellActivation: TypeAlias = Literal[
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "hard_sigmoid",
    "softsign",
    "softplus",
    "affine",
    "scaled_tanh",
    "thresholded_relu",
    "fast_sigmoid",
    "fast_tanh",
    "linear",
]
RNNActivation: TypeAlias = Literal["tanh", "relu"]
InitializerName: TypeAlias = Literal[
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "uniform",
    "zeros",
    "ones",
]
RegularizerName: TypeAlias = Literal["l1", "l2", "l1_l2"]
ConstraintName: TypeAlias = Literal["max_norm"]
Precision: TypeAlias = Literal["fp32", "bf16x3", "bf16x2", "bf16", "int8", "auto"]
Padding: TypeAlias = Literal["valid", "same", "causal"]
PoolPadding: TypeAlias = Literal["valid", "same"]
MergeMode: TypeAlias = Literal["concat", "sum", "mul", "ave"]
AttentionKind: TypeAlias = Literal["additive", "multiplicative"]
Standardize: TypeAlias = Literal[
    "lower_and_strip_unicode_punctuation",
    "lower",
    "strip_unicode_punctuation",
    "lower_and_strip_punctuation",
    "strip_punctuation",
]
SubwordSplit: TypeAlias = Literal["bpe", "unigram"]
Split: TypeAlias = Literal["whitespace", "character", "raw_character", SubwordSplit]
GateOrder: TypeAlias = Literal["hx", "xh"]
Candidate: TypeAlias = Literal["c", "g"]
Direction: TypeAlias = Literal["forward", "reverse", "bidirectional"]
RecurrentForm: TypeAlias = Literal["lstm", "auto", "scan"]
Recompute: TypeAlias = int | Literal["sqrt"] | None
OptimizerName: TypeAlias = Literal["sgd", "rmsprop", "adam", "adamw"]
SpanScheme: TypeAlias = Literal["BIO", "BIOES", "BILOU"]
SpanAverage: TypeAlias = Literal["micro", "macro", "weighted"]
Pace: TypeAlias = Literal["root", "linear", "steps"]
LossName: TypeAlias = Literal[
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
    "sparse_categorical_focal_crossentropy",
    "categorical_focal_crossentropy",
    "binary_focal_crossentropy",
    "mse",
    "mean_squared_error",
    "mae",
    "mean_absolute_error",
    "huber",
    "log_cosh",
    "quantile",
    "pinball",
    "gaussian_nll",
    "poisson",
    "presence_crossentropy",
    "ctc",
    "crf",
]
MetricName: TypeAlias = Literal[
    "accuracy",
    "acc",
    "sparse_categorical_accuracy",
    "categorical_accuracy",
    "binary_accuracy",
    "top_k",
    "top_k_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "precision",
    "precision_macro",
    "precision_micro",
    "precision_weighted",
    "recall",
    "recall_macro",
    "recall_micro",
    "recall_weighted",
    "f1",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "auc",
    "roc_auc",
    "pr_auc",
    "average_precision",
    "perplexity",
    "mse",
    "mean_squared_error",
    "rmse",
    "root_mean_squared_error",
    "mae",
    "mean_absolute_error",
    "mape",
    "mean_absolute_percentage_error",
    "r2",
    "span_f1",
    "character_error_rate",
    "cer",
    "word_error_rate",
    "wer",
]
Average: TypeAlias = Literal["auto", "binary", "macro", "micro", "weighted"]
AreaAverage: TypeAlias = Literal["auto", "macro", "micro"]
Curve: TypeAlias = Literal["ROC", "PR"]
Response: TypeAlias = Literal["auto", "classes", "scores", "values", "outputs"]
VarianceForm: TypeAlias = Literal["softplus", "log"]
Infeasible: TypeAlias = Literal["error", "zero"]
OnNan: TypeAlias = Literal["raise", "ignore"]
Mode: TypeAlias = Literal["auto", "min", "max"]
Verbose: TypeAlias = int | Literal["auto"]

# Options of the scikit-learn estimators.
AutoOrInt: TypeAlias = int | Literal["auto"]
Pooling: TypeAlias = Literal["max", "mean", "attention", "last"]
Scale: TypeAlias = Literal["standard", "series"]
ForecasterScale: TypeAlias = Literal["standard"]
RateCourse: TypeAlias = Literal["onecycle", "cosine", "constant"]
RegressionLoss: TypeAlias = Literal["squared_error", "absolute_error"]
ForecasterLoss: TypeAlias = Literal["squared_error", "absolute_error", "quantile", "gaussian"]
Strategy: TypeAlias = Literal["direct", "recursive"]
Exogenous: TypeAlias = Literal["known", "past"]


def choices(alias: Any) -> tuple[str, ...]:
    """List the names of a `Literal`."""
    return get_args(alias)
