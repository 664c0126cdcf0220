"""`LSTMClassifier`, which classifies sequences."""

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels

from lstmcore import _checks
from lstmcore._arrays import refuse_masked
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
    Scale,
)
from lstmcore.sklearn.base import SequenceEstimator

__all__ = ["LSTMClassifier"]


class LSTMClassifier(ClassifierMixin, SequenceEstimator):
    """Classify sequences by an LSTM.

    Parameters
    ----------
    hidden_size : int, default 64
        Units of each layer and direction.
    num_layers : int, default 1
        Stacked layers.
    bidirectional : bool, default True
        Whether each layer also reads the sequence backwards.
    pooling : {"max", "mean", "attention", "last"}, default "max"
        How steps are combined. "max": the greatest value of each unit, so that a feature counts
        wherever it appears; "mean": their mean; "attention": a mean with learnt weights; "last":
        the last output of each direction.
    dropout : float, default 0.5
        Fraction of the outputs of stacked layers, and of pooling, that is dropped in training.
    recurrent_dropout, input_dropout : float, default 0.0
        Fraction of the state, and of the inputs' channels, that is dropped in training, the same
        for all steps of a sequence.
    layer_norm : bool, default False
        Whether to layer-normalize the gates' products. Unsuitable for a single channel, whose
        magnitude normalization would remove.
    cell_options : mapping, optional
        Further arguments of `layers.LSTM`, such as ``{"peephole": True, "zoneout_h": 0.05}``.
    scale : {"standard", "series"}, optional
        How to scale the inputs. "standard": each channel by its mean and standard deviation over
        all steps that `fit` sees; "series": each series separately; None: not at all.
    solver : {"adamw", "adam", "rmsprop", "sgd"}, default "adamw"
        "sgd" has a Nesterov momentum of 0.9.
    alpha : float, default 0.01
        For "adamw", the weight decay, decoupled from the gradient. For the others, the strength of
        an L2 penalty: alpha / 2 times the sum of the squares of all kernels, without biases, is
        added to the mean loss.
    patch_size : int or "auto", default "auto"
        Number of input steps that are combined into one step of the LSTM, as channels side by side.
        "auto": the smallest with which the longest sequence that `fit` sees has at most 64 steps,
        since gradients hardly reach further; this also saves time.
    slopes : bool, default True
        Whether to add a channel with the slope of each channel.
    positions : bool, default True
        Whether to add a channel with the relative position of each step in its sequence.
    batch_size : int or "auto", default "auto"
        "auto": a power of two up to a quarter of the rows, from 8 to 32.
    learning_rate : {"onecycle", "cosine", "constant"}, default "onecycle"
        Course of the learning rate over all epochs: "onecycle" rises to the maximum and falls
        again, "cosine" falls from it, "constant" stays.
    learning_rate_init : float, default 0.01
        The highest learning rate.
    global_clipnorm : float, optional
        Upper limit of the norm of all gradients together, 1 by default. None: no limit.
    max_iter : int, optional
        Maximum number of epochs; see `max_updates`.
    max_updates : int, optional
        Maximum number of optimizer steps, one for each batch, rounded up to whole epochs. If both
        limits are given, training ends at whichever comes first. If neither is, it takes 1000
        updates, but at least 20 epochs: with few rows, an epoch has few updates, and more epochs
        are needed.
    shuffle : bool, default True
        Whether to draw a new order in each epoch, in batches of similar lengths.
    early_stopping : bool, default False
        Whether to hold out a part of the data, the same share of each class, and to stop when its
        accuracy has not improved by `tol` for `n_iter_no_change` epochs. The model then has the
        weights of the best epoch, the last one if several are equal. Otherwise training takes all
        epochs.
    validation_fraction : float, default 0.1
        Fraction of the data that early stopping holds out.
    n_iter_no_change : int or "auto", default "auto"
        "auto": a quarter of all epochs, but at least 10, so that training does not stop while
        "onecycle" is still rising.
    tol : float, default 1e-4
    class_weight : mapping of class to float, or "balanced", optional
        Factors of `sample_weight`. "balanced": all classes have the same total weight.
    warm_start : bool, default False
        Whether `fit` continues from the weights, classes and scale of the previous call, with a new
        optimizer.
    random_state : int, RandomState or None
        Seed of initial values, dropout, order and held-out samples. With an int, every run has the
        same results, bit for bit on one instruction set, for any number of threads.
    verbose : bool, default False
        Whether to print a line for each epoch.
    dtype : {"float32", "float64"}
        Type of all computation.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
    model_ : Sequential
        The trained model, which takes scaled inputs.
    n_features_in_ : int
        Number of channels; for a table, of columns.
    feature_names_in_ : ndarray of object
        Column names of a frame, if they are strings.
    n_channels_ : int
    input_form_ : {"table", "array", "list"}
    input_mean_, input_scale_ : ndarray of float64, shape (C,)
        With ``scale="standard"``.
    slope_scale_ : ndarray of float64, shape (C,)
        With `slopes`, divisors of the slopes of the scaled channels.
    patch_size_ : int
        The patch size that was given or chosen.
    n_iter_ : int
        Epochs of the last `fit` and of `partial_fit` calls since.
    n_updates_ : int
        Optimizer steps in these epochs.
    loss_ : float
        Loss of the last epoch.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_ : list of float or None
        With early stopping, the accuracy after each epoch.
    best_validation_score_ : float or None

    Notes
    -----
    X is an array (N, T, C); a list of N sequences of any lengths, each (T_i, C), (T_i,) or a frame
    with T_i rows; a nested frame, whose N rows have a sequence (T_i,) in each of C columns; or a
    table, (N, T) or a frame with N rows, of N series of one channel. A list of plain lists of
    numbers of equal length is also fitted as a table. `split_samples` makes a list of frames from
    a long table with a column that names the sample.

    If `fit` saw arrays or lists, later calls may pass arrays and lists of sequences of other
    lengths. A table must have the same columns as the table that `fit` saw, as everywhere in
    scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.sklearn import LSTMClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((rng.integers(5, 15), 2)) for _ in range(400)]
    >>> y = [x[0, 0] > 0 for x in X]
    >>> classifier = LSTMClassifier(16, random_state=0).fit(X[:200], y[:200])
    >>> classifier.score(X[200:], y[200:]) > 0.9
    True
    """

    @suggests
    def __init__(
        self,
        hidden_size: int = 64,
        *,
        num_layers: int = 1,
        bidirectional: bool = True,
        pooling: Pooling = "max",
        dropout: float = 0.5,
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
        class_weight: Mapping[Hashable, float] | Literal["balanced"] | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        dtype: DType = "float32",
    ) -> None:
        self.hidden_size = hidden_size
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
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype

    def fit(self, X: Inputs, y: Inputs, sample_weight: ArrayLike | None = None) -> "LSTMClassifier":
        """Fit the model to sequences and their classes.

        Parameters
        ----------
        X : array_like, or list of array_like
            N sequences; see the class.
        y : array_like, shape (N,)
            Classes of the sequences: numbers or strings.
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
            If the training loss is still falling at the end, or is hardly below the loss of a
            constant output.
        """
        self._train(X, y, sample_weight)
        return self

    def partial_fit(
        self,
        X: Inputs,
        y: Inputs,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "LSTMClassifier":
        """Train for one epoch on these sequences, continuing where the last call ended.

        The first call also sets the scale of the inputs. The learning rate is constant, whatever
        `learning_rate` says, and `early_stopping` has no effect. After `fit`, the call continues
        with its optimizer. `learning_rate_init`, `global_clipnorm` and the weight decay may change
        between calls.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array_like, shape (K,), optional
            All classes that any call may contain; required by the first call.

        Returns
        -------
        self
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError(
                "class_weight: 'balanced' needs all samples, which partial_fit does not see"
            )
        if hasattr(self, "model_"):
            if classes is not None and not np.array_equal(
                np.unique(np.asarray(classes)), self.classes_
            ):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                    f"{self.classes_!r}"
                )
        elif classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        self._train(X, y, sample_weight, incremental=True, classes=classes)
        return self

    def predict_proba(self, X: Inputs) -> Array:
        """Compute the probability of each class.

        Parameters
        ----------
        X : array_like, or list of array_like
            N sequences; see the class.

        Returns
        -------
        ndarray, shape (N, K)
            In the order of `classes_`.
        """
        return self._outputs(X)

    def predict_log_proba(self, X: Inputs) -> Array:
        """Compute the logarithm of `predict_proba`."""
        return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Inputs) -> Array:
        """Return the most probable class of each sequence.

        Parameters
        ----------
        X : array_like, or list of array_like
            N sequences; see the class.

        Returns
        -------
        ndarray, shape (N,)
        """
        best = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def _targets(self, y: Any, reset: bool, classes: Any) -> Array:
        refuse_masked(y, "y")
        labels: Array = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        if reset:
            found = unique_labels(labels if classes is None else classes)
            if len(found) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes, but the data "
                    f"contains only one class: {found.tolist()[0]!r}"
                )
            self.classes_ = found
        return self._places(labels)

    def _places(self, labels: Array) -> Array:
        """Return the indices of labels in `classes_`."""
        places = np.searchsorted(self.classes_, labels)
        places = np.minimum(places, len(self.classes_) - 1)
        unknown = self.classes_[places] != labels
        if unknown.any():
            other = labels[unknown].tolist()[0]
            raise ValueError(f"y: expected classes {self.classes_} as before, got {other!r}")
        return places.astype(np.int64)

    def _sample_weights(self, y: Any, sample_weight: Any, incremental: bool) -> Array | None:
        weights = super()._sample_weights(y, sample_weight, incremental)
        if self.class_weight is None:
            return weights
        labels: Array = column_or_1d(y)
        if isinstance(self.class_weight, str):
            factors: Array = compute_sample_weight(self.class_weight, labels)
        else:
            factors = self._class_factors()[self._places(labels)]
        with np.errstate(over="ignore"):
            return factors if weights is None else np.asarray(factors * weights)

    def _class_factors(self) -> Array:
        """Return the weight of each of `classes_`, not all of which need be in a batch."""
        given: Any = self.class_weight
        known = self.classes_.tolist()
        unknown = [key for key in given if key not in known]
        if unknown and any(key not in given for key in known):
            # Every class has a weight here; others may be of classes that this part of the data
            # lacks.
            raise ValueError(f"class_weight: expected classes of {known}, got {unknown[0]!r}")
        return np.array(
            [_checks.real(given.get(key, 1.0), f"class_weight[{key!r}]", 0.0) for key in known]
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if isinstance(self.class_weight, str):
            _checks.choice(self.class_weight, "class_weight", ("balanced",))
        elif self.class_weight is not None:
            _checks.instance(
                self.class_weight, Mapping, "class_weight", '"balanced" or a mapping of classes'
            )

    def _output(self) -> tuple[int, LayerActivation, LossName]:
        return len(self.classes_), "softmax", "sparse_categorical_crossentropy"

    def _constant_loss(self, targets: Array, weights: Array | None) -> float:
        shares = np.bincount(targets, weights, len(self.classes_)) / len(targets)
        known = shares[shares > 0]
        return float(-(known * np.log(known / known.sum())).sum())

    def _strata(self, targets: Array) -> Array | None:
        return targets

    def _validation_score(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        return float(accuracy_score(targets, outputs.argmax(axis=1), sample_weight=weights))
