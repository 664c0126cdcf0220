"""`LSTMRegressor`, which predicts numbers for sequences."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array

from lstmcore import _checks
from lstmcore._suggest import suggests
from lstmcore._typing import (
    Array,
    ArrayLike,
    AutoOrInt,
    DType,
    Inputs,
    LayerActivation,
    LossName,
    OptimizerName,
    Pooling,
    RateCourse,
    RegressionLoss,
    Scale,
    choices,
)
from lstmcore.sklearn.base import SequenceEstimator, check_r2_exists
from lstmcore.sklearn.columns import check_finite, check_numbers
from lstmcore.sklearn.inputs import cast, statistics

__all__ = ["LSTMRegressor"]

LOSSES: dict[RegressionLoss, LossName] = {"squared_error": "mse", "absolute_error": "mae"}


def constant_loss(loss: str, targets: Array, weights: Array | None) -> float:
    """Return the loss of predicting the mean of targets (M, K), for absolute errors the median."""
    if loss == "squared_error":
        errors = (targets - np.average(targets, axis=0, weights=weights)) ** 2
    else:
        errors = np.abs(targets - np.median(targets, axis=0))
    return float(np.average(errors, axis=0, weights=weights).mean())


class LSTMRegressor(RegressorMixin, SequenceEstimator):
    """Predict one or several numbers for each sequence with an LSTM.

    Parameters
    ----------
    hidden_size : int, default 64
    loss : {"squared_error", "absolute_error"}
        Loss to minimize: the mean of the errors' squares or magnitudes, in units of each target's
        standard deviation.
    num_layers : int, default 1
    bidirectional : bool, default True
    pooling : {"mean", "max", "attention", "last"}, default "mean"
    dropout : float, default 0.3
    recurrent_dropout, input_dropout, layer_norm, cell_options, scale, patch_size, slopes, positions
        See `LSTMClassifier`.
    solver, alpha, batch_size, learning_rate, learning_rate_init, global_clipnorm
        See `LSTMClassifier`.
    max_iter, max_updates, shuffle
        See `LSTMClassifier`.
    early_stopping, validation_fraction, n_iter_no_change, tol
        See `LSTMClassifier`; the score is R^2 instead of the accuracy.
    warm_start, random_state, verbose, dtype
        See `LSTMClassifier`.

    Attributes
    ----------
    n_outputs_ : int
        Number of outputs, K.
    target_mean_, target_scale_ : ndarray of float64, shape (K,)
        Scaling of the targets in training; `predict` undoes it.
    model_, n_features_in_, feature_names_in_, n_channels_, input_form_
        See `LSTMClassifier`.
    input_mean_, input_scale_, slope_scale_, patch_size_, n_iter_, n_updates_, loss_, loss_curve_
        See `LSTMClassifier`; losses are those of scaled targets.
    validation_scores_, best_validation_score_
        With early stopping, R^2 on the samples held out.

    Notes
    -----
    X has the same forms as for `LSTMClassifier`.
    """

    @suggests
    def __init__(
        self,
        hidden_size: int = 64,
        *,
        loss: RegressionLoss = "squared_error",
        num_layers: int = 1,
        bidirectional: bool = True,
        pooling: Pooling = "mean",
        dropout: float = 0.3,
        recurrent_dropout: float = 0.0,
        input_dropout: float = 0.0,
        layer_norm: bool = False,
        cell_options: Mapping[str, object] | None = None,
        scale: Scale | None = "standard",
        patch_size: AutoOrInt = "auto",
        slopes: bool = True,
        positions: bool = True,
        solver: OptimizerName = "adamw",
        alpha: float = 0.01,
        batch_size: AutoOrInt = "auto",
        learning_rate: RateCourse = "onecycle",
        learning_rate_init: float = 0.01,
        global_clipnorm: float | None = 1.0,
        max_iter: int | None = None,
        max_updates: int | None = None,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: AutoOrInt = "auto",
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        dtype: DType = "float32",
    ) -> None:
        self.hidden_size = hidden_size
        self.loss = loss
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.input_dropout = input_dropout
        self.layer_norm = layer_norm
        self.cell_options = cell_options
        self.scale = scale
        self.patch_size = patch_size
        self.slopes = slopes
        self.positions = positions
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.global_clipnorm = global_clipnorm
        self.max_iter = max_iter
        self.max_updates = max_updates
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype

    def fit(self, X: Inputs, y: Inputs, sample_weight: ArrayLike | None = None) -> "LSTMRegressor":
        """Fit the model to sequences and their targets.

        Parameters
        ----------
        X : array_like, or list of array_like
            N sequences; see the class.
        y : array_like, shape (N,) or (N, K)
            One number, or K numbers, for each sequence.
        sample_weight : array_like, shape (N,), optional
            Weights in the loss; only their ratios matter.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the arguments do not fit, or the training diverges. The estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning
            See `LSTMClassifier.fit`.
        """
        self._train(X, y, sample_weight)
        return self

    def partial_fit(
        self, X: Inputs, y: Inputs, sample_weight: ArrayLike | None = None
    ) -> "LSTMRegressor":
        """Train for one epoch on these sequences, continuing where the last call ended.

        See `LSTMClassifier.partial_fit`; the first call also sets the scale of inputs and targets.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
        """
        self._train(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Inputs) -> Array:
        """Predict values, in the units of the targets.

        Parameters
        ----------
        X : array_like, or list of array_like
            N sequences; see the class.

        Returns
        -------
        ndarray of float64, shape (N,) or (N, K)
            In the form of the `y` that was fitted.
        """
        outputs = self._outputs(X)
        outputs = outputs * self.target_scale_ + self.target_mean_
        return np.asarray(outputs.reshape(len(outputs), *self._target_shape))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _checks.choice(self.loss, "loss", choices(RegressionLoss))

    def _targets(self, y: Any, reset: bool, classes: Any) -> Array:
        check_numbers(y, "y", "for names of classes use LSTMClassifier")
        values = check_array(
            y,
            dtype=np.float64,
            ensure_2d=False,
            ensure_all_finite=False,
            input_name="y",
            estimator=self,
        )
        check_finite(values, "y", given=y)
        if values.ndim not in (1, 2):
            raise ValueError(f"y: expected shape (N,) or (N, K), got {values.shape}")
        table = values.reshape(len(values), -1)
        if reset:
            self._target_shape = values.shape[1:]
            self.n_outputs_ = table.shape[1]
        elif values.shape[1:] != self._target_shape:
            expected = ("N", *self._target_shape)
            raise ValueError(f"y: expected shape {expected} as before, got {values.shape}")
        return np.asarray(table)

    def _learn_targets(self, targets: Array) -> None:
        self.target_mean_, self.target_scale_ = statistics(targets, "y")

    def _prepared(self, targets: Array) -> Array:
        with np.errstate(over="ignore"):
            scaled = (targets - self.target_mean_) / self.target_scale_
        return cast(scaled, self._scaling[1], "y")

    def _check_held(self, targets: Array, weights: Array | None) -> None:
        super()._check_held(targets, weights)
        counted = targets if weights is None else targets[weights > 0]
        check_r2_exists(counted)

    def _output(self) -> tuple[int, LayerActivation, LossName]:
        return self.n_outputs_, "linear", LOSSES[self.loss]

    def _constant_loss(self, targets: Array, weights: Array | None) -> float:
        return constant_loss(self.loss, targets, weights)

    def _validation_score(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        return float(r2_score(targets, outputs, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
