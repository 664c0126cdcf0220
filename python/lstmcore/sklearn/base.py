"""The common part of the estimators: from hyper-parameters to a trained `Sequential`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from lstmcore import _checks, layers
from lstmcore._arrays import refuse_masked
from lstmcore._options import arguments
from lstmcore._seeds import derive
from lstmcore._suggest import did_you_mean
from lstmcore._typing import (
    Array,
    LayerActivation,
    OptimizerName,
    Pooling,
    RateCourse,
    Scale,
    choices,
)
from lstmcore.models import Sequential
from lstmcore.regularizers import L2
from lstmcore.sklearn.budget import (
    PREDICT_ROWS,
    UPDATES,
    Watch,
    auto_or_integer,
    plan,
    warn_unless_converged,
)
from lstmcore.sklearn.inputs import Panel, cast, read_panel, statistics
from lstmcore.sklearn.keeping import (
    from_bytes,
    one_blas_thread,
    settled,
    to_bytes,
    unchanged_on_error,
)
from lstmcore.training.losses import LossLike
from lstmcore.training.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from lstmcore.training.schedules import CosineDecay, OneCycle, Schedule

__all__ = ["SequenceEstimator"]

POOLING_LAYERS: dict[str, Any] = {
    "mean": layers.GlobalAveragePooling1D,
    "max": layers.GlobalMaxPooling1D,
    "attention": layers.Attention,
}
FLAGS = (
    "bidirectional",
    "slopes",
    "positions",
    "layer_norm",
    "shuffle",
    "early_stopping",
    "warm_start",
)
LONGEST = 64  # steps of the LSTM with patch_size="auto"; gradients vanish over longer sequences
OWN_OPTIONS = {
    "units": "hidden_size",
    "num_layers": "num_layers",
    "dropout": "dropout",
    "recurrent_dropout": "recurrent_dropout",
    "input_dropout": "input_dropout",
    "layer_norm": "layer_norm",
    "kernel_regularizer": "alpha",
    "recurrent_regularizer": "alpha",
    "return_sequences": "pooling",
    "return_state": "",
    "go_backwards": "",
    "stateful": "",
    "name": "",
    "seed": "random_state",
}
STRUCTURE = (
    "hidden_size",
    "num_layers",
    "bidirectional",
    "pooling",
    "dropout",
    "recurrent_dropout",
    "input_dropout",
    "layer_norm",
    "cell_options",
    "scale",
    "patch_size",
    "slopes",
    "positions",
    "dtype",
    "target",
    "exogenous",
    "window",
    "strategy",
    "difference",
    "season",
)
PENALTY = "solver, alpha: L2 penalty"


class SequenceEstimator(BaseEstimator):
    """Base of the estimators; `LSTMClassifier` explains the hyper-parameters."""

    _scales = choices(Scale)
    _updates = UPDATES

    # ---- for subclasses ----------------------------------------------------------------------

    def _targets(self, y: Any, reset: bool, classes: Any) -> Array:
        """Check `y` and return it as numbers; with `reset`, record its description."""
        raise NotImplementedError

    def _learn_targets(self, targets: Array) -> None:
        """Compute the scale of the targets that are trained on."""

    def _prepared(self, targets: Array) -> Array:
        """Scale the result of `_targets`."""
        return targets

    def _output(self) -> tuple[int, LayerActivation, LossLike]:
        """Return the width of the output, its activation and the loss."""
        raise NotImplementedError

    def _validation_score(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        """Compute the score for early stopping; higher is better."""
        raise NotImplementedError

    def _constant_loss(self, targets: Array, weights: Array | None) -> float:
        """Return the training loss of the best output that is the same for all inputs."""
        raise NotImplementedError

    def _check_held(self, targets: Array, weights: Array | None) -> None:
        """Raise ValueError if the samples held out have no score."""
        if weights is not None and not weights.any():
            raise ValueError(
                f"sample_weight: all {len(targets)} samples that early stopping sets aside have "
                "weight 0; expected a larger validation_fraction, or other weights"
            )

    def _strata(self, targets: Array) -> Array | None:
        """Return the labels by which samples are held out in equal shares, or None."""
        return None

    def _sample_weights(self, y: Any, sample_weight: Any, incremental: bool) -> Array | None:
        """Return the weight of each sample."""
        if sample_weight is None:
            return None
        refuse_masked(sample_weight, "sample_weight")
        weights: Array = np.asarray(sample_weight, dtype=np.float64)
        if weights.ndim != 1:
            raise ValueError(f"sample_weight: expected shape (N,), got {weights.shape}")
        check_consistent_length(y, weights)
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError("sample_weight: expected finite numbers of at least 0")
        return weights

    # ---- training ----------------------------------------------------------------------------

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool = False,
        classes: Any = None,
    ) -> None:
        first = not hasattr(self, "model_")
        reset = first or not (incremental or self.warm_start)
        self._check_parameters()
        if not reset:
            self._check_unchanged()
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        with unchanged_on_error(self, None if reset else self.model_):
            panel = read_panel(self, X, reset=reset)
            targets = self._targets(y, reset, classes)
            if panel.form == "table" and len(targets) == 1 < len(panel):
                raise ValueError(
                    f"X: expected one sequence like y, got {len(panel)} of one channel each; for a "
                    "single sequence (T, C) pass X[None]"
                )
            check_consistent_length(panel.lengths, targets)
            weights = self._sample_weights(y, sample_weight, incremental)
            if weights is not None:
                weights = self._normalized(weights, incremental)
            random = check_random_state(self.random_state)
            held = None
            if self.early_stopping and not incremental:
                panel, targets, weights, held = self._hold_out(panel, targets, weights, random)
                if weights is not None and not weights.any():
                    raise ValueError(
                        "sample_weight: all samples that are not held out have weight 0"
                    )
            if reset:
                self._learn_scale(panel)
                self._learn_targets(targets)
            if held is not None:
                held = (self._model_inputs(held[0]), self._prepared(held[1]), held[2])
            inputs = self._model_inputs(panel)
            self._learn(inputs, self._prepared(targets), weights, held, random, reset, incremental)

    def _normalized(self, weights: Array, incremental: bool) -> Array:
        """Scale weights to mean 1, so that only their ratios matter."""
        if not weights.any():
            raise ValueError("sample_weight: expected some that are not zero, got all zero")
        if not np.isfinite(weights).all():
            raise ValueError("sample_weight: expected finite numbers, also after class_weight")
        if incremental:  # or only ratios within one call would matter
            return cast(weights, np.dtype(self.dtype), "sample_weight")
        with np.errstate(over="ignore"):
            mean = weights.mean()
        if not np.isfinite(mean):
            weights = weights / weights.max()
            mean = weights.mean()
        return np.asarray(weights / mean)

    def _learn(
        self,
        inputs: Any,
        targets: Array,
        weights: Array | None,
        held: Any,
        random: Any,
        reset: bool,
        incremental: bool,
    ) -> None:
        """Train a new model if `reset`, else the current one; for one epoch if `incremental`."""
        if held is not None:
            self._check_held(*held[1:])
        seed = int(random.randint(np.iinfo(np.int32).max))
        budget = plan(self, len(inputs), incremental=incremental)
        if reset:
            with one_blas_thread():
                self.model_ = self._build(seed)
            self._made_of = self._structure()
        # New lists, so that a call that fails does not change the old ones.
        self.loss_curve_: list[float] = [] if reset else [*self.loss_curve_]
        if reset or not incremental:
            earlier = [] if reset else self.validation_scores_ or []
            self.validation_scores_: Any = None if held is None else [*earlier]
            self.best_validation_score_: float | None = None
            self.n_iter_ = 0
        model = self.model_
        if reset or not incremental:
            model.seed = derive(seed, len(self.loss_curve_))
            model.compile(
                self._optimizer(None if incremental else budget.updates), self._output()[2]
            )
            self._compiled_with = self._trained_by()
        else:
            self._go_on()
        watch = Watch(self, held, budget.patience)
        before = len(self.loss_curve_)
        try:
            model.fit(
                inputs,
                targets,
                batch_size=budget.batch_size,
                epochs=budget.epochs,
                verbose=2 if self.verbose else 0,
                callbacks=[watch],
                shuffle=self.shuffle,
                sample_weight=weights,
            )
        except FloatingPointError as error:
            raise self._diverged("the loss or a gradient became NaN or infinite") from error
        if not np.isfinite(self.loss_):
            raise self._diverged(f"the loss became {self.loss_}")
        if watch.best_weights is not None:
            model.set_weights(watch.best_weights)
        if not np.isfinite(model.parameters.values).all():
            raise self._diverged("weights became NaN or infinite")
        self.n_updates_ = int(model.optimizer.iterations)
        if not (incremental or watch.stopped):
            # A penalty in the loss says nothing about the targets.
            constant = None if self._penalty() else self._constant_loss(targets, weights)
            warn_unless_converged(self.loss_curve_[before:], constant, self.n_updates_)

    def _diverged(self, what: str) -> ValueError:
        return ValueError(
            f"fit: {what}; expected a lower learning_rate_init than {self.learning_rate_init}, or "
            "other data"
        )

    def _trained_by(self) -> dict[str, Any]:
        """Return the hyper-parameters that cannot change while an optimizer is in use."""
        return {name: getattr(self, name) for name in ("solver", "loss") if hasattr(self, name)}

    def _go_on(self) -> None:
        """Continue with the optimizer at a constant rate, with the current hyper-parameters."""
        for name, value in self._trained_by().items():
            if value != self._compiled_with[name]:
                raise ValueError(
                    f"{name}: expected {self._compiled_with[name]!r}, which the optimizer was made "
                    f"with, since partial_fit reuses that optimizer; got {value!r}"
                )
        optimizer = self.model_.optimizer
        optimizer.learning_rate = float(self.learning_rate_init)
        optimizer.global_clipnorm = self.global_clipnorm
        if isinstance(optimizer, AdamW):
            optimizer.weight_decay = float(self.alpha)

    def _hold_out(
        self, panel: Panel, targets: Array, weights: Array | None, random: Any
    ) -> tuple[Panel, Array, Array | None, Any]:
        """Hold out samples for early stopping."""
        numbers = np.arange(len(panel))
        train, test = train_test_split(
            numbers,
            test_size=self.validation_fraction,
            random_state=random.randint(np.iinfo(np.int32).max),
            stratify=self._strata(targets),
        )
        train.sort()
        held = (panel.take(test), targets[test], None if weights is None else weights[test])
        return (
            panel.take(train),
            targets[train],
            None if weights is None else weights[train],
            held,
        )

    def _learn_scale(self, panel: Panel) -> None:
        for name in ("input_mean_", "input_scale_", "slope_scale_"):
            if hasattr(self, name):
                delattr(self, name)
        self._scaling = (
            self.scale,
            np.dtype(self.dtype),
        )  # the model's, whatever is set later
        self._positions = self.positions
        self.patch_size_ = self.patch_size
        if self.patch_size == "auto":
            self.patch_size_ = -(-int(panel.lengths.max()) // LONGEST)
        if self.scale == "standard":
            values = panel.values.astype(np.float64)
            self.input_mean_, self.input_scale_ = statistics(values, "X")
        self._slopes = self.slopes
        if self._slopes:
            slopes = self._scaled(panel).slopes().astype(np.float64)
            self.slope_scale_ = statistics(slopes, "X")[1]
            if self.scale is None:
                self.slope_scale_ = np.ones_like(self.slope_scale_)

    def _model_inputs(self, panel: Panel) -> Any:
        """Return the model's inputs: scaled, with slopes and positions, in patches."""
        scaled = self._with_slopes(self._scaled(panel)).patched(self.patch_size_)
        return (scaled.beside(scaled.positions()) if self._positions else scaled).inputs()

    def _with_slopes(self, panel: Panel) -> Panel:
        if not self._slopes:
            return panel
        with np.errstate(over="ignore"):
            return panel.beside(cast(panel.slopes() / self.slope_scale_, self._scaling[1], "X"))

    def _scaled(self, panel: Panel) -> Panel:
        scale, dtype = self._scaling
        if scale == "series":
            return panel.scaled_each(dtype)
        if scale is None:
            return Panel(cast(panel.values, dtype, "X"), panel.lengths, panel.form)
        return panel.scaled(self.input_mean_, self.input_scale_, dtype)

    # ---- the model ---------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """Raise TypeError or ValueError if a hyper-parameter is invalid."""
        for name in ("hidden_size", "num_layers"):
            _checks.integer(getattr(self, name), name, 1)
        for name in ("max_iter", "max_updates"):
            if getattr(self, name) is not None:
                _checks.integer(getattr(self, name), name, 1)
        for name in ("batch_size", "n_iter_no_change", "patch_size"):
            if hasattr(self, name):
                auto_or_integer(getattr(self, name), name, 1)
        for name in ("dropout", "recurrent_dropout", "input_dropout"):
            _checks.real(getattr(self, name), name, 0.0, 1.0, high_open=True)
        for name in FLAGS:
            if hasattr(self, name):
                _checks.flag(getattr(self, name), name)
        if hasattr(self, "pooling"):
            _checks.choice(self.pooling, "pooling", choices(Pooling))
        if self.scale is not None:
            _checks.choice(self.scale, "scale", self._scales)
        _checks.choice(self.solver, "solver", choices(OptimizerName))
        _checks.choice(self.learning_rate, "learning_rate", choices(RateCourse))
        _checks.real(self.learning_rate_init, "learning_rate_init", 0.0, low_open=True)
        _checks.real(self.alpha, "alpha", 0.0)
        _checks.real(self.tol, "tol", 0.0)
        _checks.real(
            self.validation_fraction, "validation_fraction", 0.0, 1.0, low_open=True, high_open=True
        )
        if self.global_clipnorm is not None:
            _checks.real(self.global_clipnorm, "global_clipnorm", 0.0, low_open=True)
        _checks.float_dtype(self.dtype)
        options = self.cell_options
        if options is None:
            return
        _checks.instance(options, Mapping, "cell_options", "a mapping of options of layers.LSTM")
        for name in options:
            if name in OWN_OPTIONS:
                other = OWN_OPTIONS[name]
                hint = f"; use {other}" if other else ""
                raise ValueError(f"cell_options: {name} is not allowed{hint}")
            if name not in arguments(layers.LSTM):
                hint = did_you_mean(name, arguments(layers.LSTM))
                raise ValueError(
                    f"cell_options: expected arguments of layers.LSTM, got {name!r}{hint}"
                )

    def _structure(self) -> dict[str, Any]:
        """Return the hyper-parameters that are fixed once the model exists."""
        made = {
            name: settled(name, getattr(self, name)) for name in STRUCTURE if hasattr(self, name)
        }
        return {**made, PENALTY: self.alpha if self.solver != "adamw" else 0.0}

    def _check_unchanged(self, names: tuple[str, ...] | None = None) -> None:
        """Raise ValueError if a hyper-parameter has changed since the model was made."""
        now = self._structure()
        for name, value in self._made_of.items():
            if (names is None or name in names) and now.get(name) != value:
                raise ValueError(
                    f"{name}: expected {value!r}, which the model was made with and cannot change; "
                    f"got {now.get(name)!r}"
                )

    def _pooling(self) -> str:
        """Return how steps are pooled: "last", the name of a pooling layer, or "none"."""
        return str(self.pooling)

    def _input_width(self) -> int:
        """Return the number of channels of a step of the model's inputs."""
        return int(self.n_channels_ * (1 + self._slopes) * self.patch_size_ + self._positions)

    def _penalty(self) -> L2 | None:
        return L2(self.alpha / 2) if self.alpha and self.solver != "adamw" else None

    def _build(self, seed: int) -> Sequential:
        """Make the model that the hyper-parameters describe, with initial values."""
        units, activation, _ = self._output()
        pooling = self._pooling()
        penalty = self._penalty()
        lstm: Any = layers.LSTM(
            self.hidden_size,
            return_sequences=pooling != "last",
            num_layers=self.num_layers,
            dropout=self.dropout if self.num_layers > 1 else 0.0,
            recurrent_dropout=self.recurrent_dropout,
            input_dropout=self.input_dropout,
            layer_norm=self.layer_norm,
            kernel_regularizer=penalty,
            recurrent_regularizer=penalty,
            **(self.cell_options or {}),
        )
        parts: list[Any] = [layers.Input((None, self._input_width()))]
        parts.append(layers.Bidirectional(lstm) if self.bidirectional else lstm)
        if pooling in POOLING_LAYERS:
            parts.append(POOLING_LAYERS[pooling]())
        if self.dropout:
            parts.append(layers.Dropout(self.dropout))
        parts.append(layers.Dense(units, activation=activation, kernel_regularizer=penalty))
        return Sequential(parts, seed=seed, dtype=self.dtype)

    def _optimizer(self, steps: int | None) -> Optimizer:
        """Make the optimizer; with `steps` None, its schedule has no end."""
        highest = float(self.learning_rate_init)
        rate: float | Schedule = highest
        if steps is not None and self.learning_rate == "cosine":
            rate = CosineDecay(highest, steps)
        elif steps is not None and self.learning_rate == "onecycle":
            rate = OneCycle(highest, max(steps, 2))
        limit = self.global_clipnorm
        if self.solver == "adamw":
            return AdamW(rate, weight_decay=self.alpha, global_clipnorm=limit)
        if self.solver == "sgd":
            return SGD(rate, momentum=0.9, nesterov=True, global_clipnorm=limit)
        if self.solver == "rmsprop":
            return RMSprop(rate, global_clipnorm=limit)
        return Adam(rate, global_clipnorm=limit)

    def _outputs(self, X: Any) -> Array:
        """Compute the model's outputs for `X`."""
        if not hasattr(self, "model_"):  # usually fitted, and this check is fast
            check_is_fitted(self, "model_")
        panel = read_panel(self, X, reset=False)
        outputs: Array = self.model_.predict(self._model_inputs(panel), PREDICT_ROWS, 0)
        return outputs

    # ---- the interface of scikit-learn ---------------------------------------------------------

    def set_params(self, **params: Any) -> Any:
        """Set hyper-parameters.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the estimator does not have one; the error suggests which was meant.
        """
        try:
            return super().set_params(**params)
        except ValueError as error:
            known = arguments(type(self))
            hint = "".join(did_you_mean(name, known) for name in params if name not in known)
            if not hint:
                raise
            raise ValueError(f"{str(error).removesuffix('.')}{hint}") from None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = to_bytes(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "model_" in state:
            state["model_"] = from_bytes(state["model_"])
        super().__setstate__(state)


def check_r2_exists(targets: Array) -> None:
    """Raise ValueError if every column of (M, K) is constant, so that R^2 is undefined."""
    if (targets == targets[:1]).all():
        raise ValueError(
            f"validation_fraction: the {len(targets)} targets that early stopping sets aside are "
            "all equal, so R^2 is undefined; expected a larger fraction"
        )
