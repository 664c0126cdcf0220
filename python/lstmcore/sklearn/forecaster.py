"""An LSTM that continues series."""

import warnings
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from lstmcore import _checks
from lstmcore._typing import Array
from lstmcore.sklearn.base import PREDICT_ROWS, SequenceEstimator, check_r2_exists
from lstmcore.sklearn.inputs import cast, statistics
from lstmcore.sklearn.keeping import unchanged_on_error
from lstmcore.sklearn.series import Series, is_list, read_exogenous, read_series

__all__ = ["LSTMForecaster"]

LOSSES = {"squared_error": "mse", "absolute_error": "mae"}
STRATEGIES = ("direct", "recursive")
EXOGENOUS = ("known", "past")
LOOKED_AT = ("window", "difference", "target", "exogenous")  # by forecasts, too


class LSTMForecaster(SequenceEstimator):
    """Forecast series by an LSTM that looks at windows of what came before.

    Parameters
    ----------
    window : int, default 24
        Steps that a forecast looks back at.
    horizon : int, default 1
        Steps that it looks ahead.
    strategy : {"direct", "recursive"}, default "direct"
        "direct": the model gives all `horizon` steps at once. "recursive": it gives the next one,
        and what it gave is its input for the one after.
    target : str or sequence of str, optional
        Columns of the frames `y` that are forecast; the others are exogenous. None: all are
        forecast.
    exogenous : {"known", "past"}
        Whether exogenous columns are known ahead, such as a calendar or a price, so that the model
        sees them at the steps that it forecasts and `predict` asks for them; or only up to now.
    difference : int, default 0
        Lag of differences that are forecast instead of the values: 1 for series with a trend, the
        length of a season for seasonal ones. 0: none.
    hidden_size : int, default 64
    loss : {"squared_error", "absolute_error"}
    num_layers : int, default 1
    dropout : float, default 0.0
    scale : {"standard"}, optional
        How targets, or their differences, and exogenous columns are scaled; None: not.
    recurrent_dropout, input_dropout, layer_norm, cell_options, solver, alpha, batch_size
        As of `LSTMClassifier`, like the following.
    learning_rate, learning_rate_init, global_clipnorm, shuffle
        As of `LSTMClassifier`.
    max_iter : int, default 50
        Epochs.
    early_stopping, validation_fraction, n_iter_no_change, tol
        As of `LSTMClassifier`, by R^2 of the last windows of each series.
    warm_start, random_state, verbose, dtype
        As of `LSTMClassifier`.

    Attributes
    ----------
    n_targets_, n_exogenous_ : int
        K and E.
    steps_ : int
        Steps that the model gives at once.
    target_mean_, target_scale_ : ndarray of float64, shape (K,)
        Of the values or of their differences.
    exogenous_mean_, exogenous_scale_ : ndarray of float64, shape (E,)
    errors_ : ndarray of float64, shape (M, horizon, K)
        Magnitudes of the errors that `calibrate` saw, in rising order.
    n_features_in_ : int
        K + E.
    feature_names_in_ : ndarray of object
        Names of the targets' and the exogenous columns, if all are strings.
    model_, n_iter_, loss_, loss_curve_, validation_scores_, best_validation_score_
        As of `LSTMClassifier`; losses are those of scaled targets.

    Notes
    -----
    A series is an array or a series (T,), or an array or a frame (T, K) whose K columns are
    forecast together. A list of series, of any lengths, trains one model on all of them; a list of
    lists of numbers is one. Rows stand in order, with equal time between them: an index or a column
    of times is not looked at, and forecasts are arrays.

    Everything is scaled inside, and forecasts are in the units of the series.

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.sklearn import LSTMForecaster
    >>> series = np.sin(np.arange(300) / 5)
    >>> LSTMForecaster(20, 10, max_iter=5, random_state=0).fit(series).predict().shape
    (10,)
    """

    bidirectional = False
    _scales = ("standard",)

    def __init__(
        self,
        window: int = 24,
        horizon: int = 1,
        *,
        strategy: str = "direct",
        target: Any = None,
        exogenous: str = "known",
        difference: int = 0,
        hidden_size: int = 64,
        loss: str = "squared_error",
        num_layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        input_dropout: float = 0.0,
        layer_norm: bool = False,
        cell_options: Any = None,
        scale: str | None = "standard",
        solver: str = "adamw",
        alpha: float = 0.01,
        batch_size: int | str = "auto",
        learning_rate: str = "onecycle",
        learning_rate_init: float = 0.003,
        global_clipnorm: float | None = 1.0,
        max_iter: int | None = None,
        max_updates: int | None = None,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | str = "auto",
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
        dtype: Any = "float32",
    ) -> None:
        self.window = window
        self.horizon = horizon
        self.strategy = strategy
        self.target = target
        self.exogenous = exogenous
        self.difference = difference
        self.hidden_size = hidden_size
        self.loss = loss
        self.num_layers = num_layers
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.input_dropout = input_dropout
        self.layer_norm = layer_norm
        self.cell_options = cell_options
        self.scale = scale
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

    # ---- training ----------------------------------------------------------------------------

    def fit(self, y: Any, X: Any = None) -> "LSTMForecaster":
        """Train on all windows of one series, or of several.

        Parameters
        ----------
        y : array_like, frame, or list of them
            A series (T,) or (T, K); see the class.
        X : array_like, frame, or list of them, optional
            What else is known at each step: (T, E), or (T,) for one column.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If something does not fit, no series is as long as a window and what follows it, or
            the training diverges; nothing is changed then.

        Warns
        -----
        UserWarning
            If some series are that short: they are not trained on.
        """
        self._train_on(y, X, incremental=False)
        return self

    def partial_fit(self, y: Any, X: Any = None) -> "LSTMForecaster":
        """Take new steps of the same series in, and train for one epoch on what leads to them.

        The first call is a `fit` of one epoch. The learning rate is constant, whatever
        `learning_rate` says; see `LSTMClassifier.partial_fit`. What `calibrate` saw is forgotten.

        Parameters
        ----------
        y, X
            As in `fit`: what comes after the steps of the calls before.

        Returns
        -------
        self
        """
        self._train_on(y, X, incremental=True)
        return self

    def update(self, y: Any, X: Any = None) -> "LSTMForecaster":
        """Take new steps of the same series in, to forecast from their end; nothing is trained.

        Parameters
        ----------
        y, X
            As in `partial_fit`.

        Returns
        -------
        self
        """
        check_is_fitted(self, "model_")
        self._check_unchanged(LOOKED_AT)
        series = self._continued(read_series(self, y, X, reset=False))
        self._series = [one.last(self._kept()) for one in series]
        return self

    def _train_on(self, y: Any, X: Any, *, incremental: bool) -> None:
        reset = not ((incremental or self.warm_start) and hasattr(self, "model_"))
        with unchanged_on_error(self, None if reset else self.model_):
            series = self._read(y, X, reset)
            if incremental and not reset:
                series = self._continued(series)
            numbers = self._count_windows(series)
            short = [place for place, count in enumerate(numbers) if not count]
            if short and not incremental:
                warnings.warn(
                    f"y: {len(short)} of {len(numbers)} series, the first at {short[0]}, are not "
                    "as long as a window and what follows it, so they are not trained on",
                    stacklevel=3,
                )
            early = late = None
            if self.early_stopping and not incremental:
                early, late = self._parts(numbers)
            if reset:
                self._learn_scales(series, numbers, early)
            if hasattr(self, "errors_"):
                del self.errors_
            random = check_random_state(self.random_state)
            inputs, targets = self._windows(series)
            held = None
            if early is not None:
                held = (inputs[late], targets[late], None)
                inputs, targets = inputs[early], targets[early]
            weights = self._step_weights(len(inputs))
            self._learn(inputs, targets, weights, held, random, reset, incremental)
            self._series = [one.last(self._kept()) for one in series]

    def _read(self, y: Any, X: Any, reset: bool) -> list[Series]:
        """Check hyper-parameters and series; with `reset` take note of what a new model is for."""
        self._check_parameters()
        if not reset:
            self._check_unchanged()
        series = read_series(self, y, X, reset=reset)
        if reset:
            self.steps_ = self.horizon if self.strategy == "direct" else 1
            self._dtype = np.dtype(self.dtype)
        return series

    def _continued(self, series: list[Series]) -> list[Series]:
        if len(series) != len(self._series):
            raise ValueError(
                f"y: expected {len(self._series)} series that go on where those before ended, got "
                f"{len(series)}"
            )
        return [old.then(new) for old, new in zip(self._series, series, strict=True)]

    # ---- forecasts ---------------------------------------------------------------------------

    def predict(
        self, horizon: int | None = None, X: Any = None, *, y: Any = None, past_X: Any = None
    ) -> Any:
        """Forecast what comes next.

        Parameters
        ----------
        horizon : int, optional
            Steps to forecast; None: the estimator's. Steps beyond those that the model gives at
            once follow from its own forecasts.
        X : array_like, frame, or list of them, optional
            With exogenous columns that are known ahead, their values at these steps: (horizon, E).
        y : array_like, frame, or list of them, optional
            Other series, to continue these instead: at least `window` steps, and `difference` more.
        past_X : array_like, frame, or list of them, optional
            Beside `y`, as X in `fit`.

        Returns
        -------
        ndarray of float64, shape (horizon,) or (horizon, K), or list of them
            As the series: in their units, with their number of axes, a list for a list.
        """
        check_is_fitted(self, "model_")
        self._check_unchanged(LOOKED_AT)
        steps = self._steps_ahead(horizon)
        if y is None and past_X is not None:
            raise ValueError("past_X: expected None without y, whose it would be")
        series = self._series
        if y is not None:
            series = read_series(self, y, past_X, reset=False)
            listed = is_list(y)
        else:
            listed = self._listed
        needed = self.window + self.difference
        for place, one in enumerate(series):
            if len(one.y) < needed:
                raise ValueError(
                    f"y: expected at least {needed} steps, which a forecast looks back at, got "
                    f"{len(one.y)} in series {place}"
                )
        ahead = read_exogenous(self, X, steps, len(series), listed)
        past = np.stack([one.y[-needed:] for one in series])
        beside = np.stack([one.x[-self.window :] for one in series])
        forecasts = self._forecast(past, beside, ahead, steps)
        rows = [row[:, 0] if self._flat else row for row in forecasts]
        return rows if listed else rows[0]

    def score(self, y: Any, X: Any = None) -> float:
        """Forecast `horizon` steps from each step of `y` that has a window before it.

        Parameters
        ----------
        y, X
            As in `fit`. Nothing but these is looked at.

        Returns
        -------
        float
            R^2 of all these forecasts together; 1 is best. The mean over targets.
        """
        true, forecasts = self._rolling(y, X)
        width = self.n_targets_
        return float(r2_score(true.reshape(-1, width), forecasts.reshape(-1, width)))

    def calibrate(self, y: Any, X: Any = None) -> "LSTMForecaster":
        """Learn from series that were not trained on how far forecasts are off.

        Parameters
        ----------
        y, X
            As in `fit`: at least a window, the horizon, and as many steps more as errors are
            wanted. Forecasts are made as by `score`.

        Returns
        -------
        self
        """
        true, forecasts = self._rolling(y, X)
        self.errors_ = np.sort(np.abs(true - forecasts), axis=0)
        return self

    def predict_interval(
        self,
        horizon: int | None = None,
        X: Any = None,
        *,
        coverage: float = 0.9,
        y: Any = None,
        past_X: Any = None,
    ) -> Any:
        """Give bounds that hold what comes next with a probability of `coverage`, at each step.

        They are as far from the forecast as that share of the errors that `calibrate` saw at the
        same step (split conformal prediction, Papadopoulos et al. 2002), which is as good as the
        series there is like what comes next.

        Parameters
        ----------
        horizon, X, y, past_X
            As in `predict`; no further than the estimator's horizon.
        coverage : float, default 0.9
            In (0, 1).

        Returns
        -------
        ndarray of float64, shape (horizon, 2) or (horizon, K, 2), or list of them
            Lower and upper bounds.

        Raises
        ------
        ValueError
            If there was no `calibrate` since `fit`, or it saw too few errors for the coverage.
        """
        check_is_fitted(self, "model_")
        coverage = _checks.real(coverage, "coverage", 0.0, 1.0, low_open=True, high_open=True)
        if not hasattr(self, "errors_"):
            raise ValueError("predict_interval: needs calibrate(y) first, on unseen series")
        steps = self._steps_ahead(horizon)
        count, longest = self.errors_.shape[:2]
        if steps > longest:
            raise ValueError(f"horizon: expected at most {longest}, as calibrated, got {steps}")
        rank = int(np.ceil((count + 1) * coverage))
        if rank > count:
            raise ValueError(
                f"coverage: expected at most {count / (count + 1):.3g} after a calibration with "
                f"{count} forecasts, got {coverage}"
            )
        off = self.errors_[rank - 1, :steps]
        forecasts = self.predict(steps, X, y=y, past_X=past_X)
        if self._flat:
            off = off[:, 0]
        if isinstance(forecasts, list):
            return [np.stack([one - off, one + off], axis=-1) for one in forecasts]
        return np.stack([forecasts - off, forecasts + off], axis=-1)

    def _steps_ahead(self, horizon: Any) -> int:
        if np.ndim(horizon) or hasattr(horizon, "columns"):
            raise TypeError(
                f"horizon: expected an integer, got {_checks.describe(horizon)}; predict(y=series) "
                "continues another series than that of fit"
            )
        return _checks.integer(self.horizon if horizon is None else horizon, "horizon", 1)

    def _rolling(self, y: Any, X: Any) -> tuple[Array, Array]:
        """Give what came and what is forecast from each step with a window before: (M, h, K)."""
        check_is_fitted(self, "model_")
        self._check_unchanged(LOOKED_AT)
        true, forecasts = [], []
        needed, steps = self.window + self.difference, _checks.integer(self.horizon, "horizon", 1)
        for one in read_series(self, y, X, reset=False):
            if len(one.y) < needed + steps:
                raise ValueError(
                    f"y: expected at least {needed + steps} steps, for a window and the horizon, "
                    f"got {len(one.y)}"
                )
            values, beside = _slide(one.y, needed + steps), _slide(one.x, needed + steps)
            known = beside[:, needed:] if self._known else None
            looked = beside[:, self.difference : needed]
            forecasts.append(self._forecast(values[:, :needed], looked, known, steps))
            true.append(values[:, needed:])
        return np.concatenate(true), np.concatenate(forecasts)

    def _forecast(self, past: Array, beside: Array, ahead: Array | None, steps: int) -> Array:
        """Continue M series: (M, window + difference, K) and (M, window, E) give (M, steps, K)."""
        lag, window, block = self.difference, self.window, self.steps_
        if not self._known and beside.shape[2] and steps > block:
            raise ValueError(
                f"horizon: expected at most {block}, since the exogenous columns beyond are not "
                f"known, got {steps}"
            )
        begin = past.shape[1]
        for at in range(0, steps, block):
            recent = past[:, past.shape[1] - window - lag :]
            values = recent[:, lag:] - recent[:, :-lag] if lag else recent
            future = None
            if ahead is not None:
                future = ahead[:, at : at + block]
                missing = block - future.shape[1]  # beyond what is asked for: as the last one
                future = np.concatenate([future, np.repeat(future[:, -1:], missing, 1)], axis=1)
            inputs = self._inputs(values, beside, future)
            outputs = self.model_.predict(inputs, PREDICT_ROWS, 0)[:, -block:]
            outputs = outputs.reshape(len(past), block, -1) * self.target_scale_ + self.target_mean_
            for step in range(block):
                value = outputs[:, step] + (past[:, -lag] if lag else 0.0)
                past = np.concatenate([past, value[:, None]], axis=1)
            if future is not None:
                beside = np.concatenate([beside, future], axis=1)[:, -window:]
        return past[:, begin : begin + steps]

    # ---- windows -----------------------------------------------------------------------------

    @property
    def _known(self) -> bool:
        """Whether the model looks at exogenous columns of the steps that it forecasts."""
        return self.exogenous == "known" and self.n_exogenous_ > 0

    def _kept(self) -> int:
        """Count the steps of a series that further calls may look at."""
        return int(self.window + self.difference + self.steps_ - 1)

    def _count_windows(self, series: list[Series]) -> list[int]:
        """Count the windows of each series, with what follows them."""
        size = self.window + self.steps_ + self.difference
        numbers = [max(len(one.y) - size + 1, 0) for one in series]
        if not any(numbers):
            most = max(len(one.y) for one in series)
            raise ValueError(
                f"y: expected at least {size} steps, for a window and what follows it, got {most}"
            )
        return numbers

    def _parts(self, numbers: list[int]) -> tuple[Array, Array]:
        """Choose the last windows of each series to stop by, and those before to train on.

        Between them are windows whose targets are in both.
        """
        early, late = [], []
        for count in numbers:
            held = int(np.ceil(count * self.validation_fraction))
            place = np.arange(count)
            late.append(place >= count - held)
            early.append(place <= count - held - self.steps_)
        pair = np.concatenate(early), np.concatenate(late)
        if not all(part.any() for part in pair):
            raise ValueError(
                f"validation_fraction: {self.validation_fraction} of {sum(numbers)} windows, of "
                f"{self.steps_} steps ahead, leaves one part without any"
            )
        return pair

    def _learn_scales(self, series: list[Series], numbers: list[int], early: Array | None) -> None:
        """Learn from the steps of all series, or of the windows `early` alone."""
        lag, size = self.difference, self.window + self.steps_
        ends = [len(one.y) - lag for one in series]
        if early is not None:
            parts = np.split(early, np.cumsum(numbers)[:-1])
            ends = [int(part.sum()) + size - 1 if part.any() else 0 for part in parts]
        y = np.concatenate(
            [_differences(one.y, lag)[: max(end, 0)] for one, end in zip(series, ends, strict=True)]
        )
        x = np.concatenate(
            [one.x[: max(end + lag, 0)] for one, end in zip(series, ends, strict=True) if end > 0]
        )
        for name, values in (("target", y), ("exogenous", x)):
            width = values.shape[1]
            mean, scale = np.zeros(width), np.ones(width)
            if self.scale is not None and len(values) > 0:
                mean, scale = statistics(values, "y" if name == "target" else "X")
            setattr(self, f"{name}_mean_", mean)
            setattr(self, f"{name}_scale_", scale)

    def _scaled_columns(self, name: str, values: Array) -> Array:
        """Scale targets or exogenous columns, and convert them to what the model takes."""
        with np.errstate(over="ignore"):
            scaled = (values - getattr(self, f"{name}_mean_")) / getattr(self, f"{name}_scale_")
        return cast(scaled, self._dtype, "y" if name == "target" else "X")

    def _windows(self, series: list[Series]) -> tuple[Array, Array]:
        """Give all windows as inputs and targets."""
        window, block, lag = self.window, self.steps_, self.difference
        size = window + block
        numbers = self._count_windows(series)
        steps = size if self._known else window
        inputs = np.zeros((sum(numbers), steps, self.n_channels_), self._dtype)
        parts, begin = [], 0
        for one, count in zip(series, numbers, strict=True):
            if not count:
                continue
            values = _slide(self._scaled_columns("target", _differences(one.y, lag)), size)
            beside = _slide(self._scaled_columns("exogenous", one.x[lag:]), size)
            self._fill(inputs[begin : begin + count], values[:, :window], beside[:, :steps])
            parts.append(values if self._known else values[:, window:].reshape(count, -1))
            begin += count
        # With an output at each step a view of the one series, where it can be, is no copy.
        return inputs, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _inputs(self, values: Array, beside: Array, future: Array | None) -> Array:
        """Make what the model takes of windows in the series' units."""
        exogenous = beside if future is None else np.concatenate([beside, future], axis=1)
        inputs = np.zeros((len(values), exogenous.shape[1], self.n_channels_), self._dtype)
        scaled = self._scaled_columns("exogenous", exogenous)
        self._fill(inputs, self._scaled_columns("target", values), scaled)
        return inputs

    def _fill(self, inputs: Array, values: Array, exogenous: Array) -> None:
        """Write scaled windows into `inputs`, which are zeros.

        Exogenous columns that are known ahead stand in further steps behind the window, which a
        last column marks; there the targets are 0, for they are what is asked for.
        """
        window, width = values.shape[1:]
        inputs[:, :window, :width] = values
        inputs[:, :, width : width + exogenous.shape[2]] = exogenous
        if self._known:
            inputs[:, window:, -1] = 1.0

    def _step_weights(self, count: int) -> Array | None:
        """Let only the steps behind the windows count, if the model has an output at each."""
        if not self._known:
            return None
        steps = self.window + self.steps_
        weights = np.zeros(steps, self._dtype)
        weights[self.window :] = steps / self.steps_
        return np.broadcast_to(weights, (count, steps))

    # ---- the model ---------------------------------------------------------------------------

    @property
    def n_channels_(self) -> int:
        """Channels of the model's inputs: targets, exogenous columns, and a mark of steps ahead."""
        return int(self.n_targets_ + self.n_exogenous_ + self._known)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _checks.integer(self.window, "window", 1)
        _checks.integer(self.horizon, "horizon", 1)
        _checks.integer(self.difference, "difference", 0)
        _checks.choice(self.strategy, "strategy", STRATEGIES)
        _checks.choice(self.exogenous, "exogenous", EXOGENOUS)
        _checks.choice(self.loss, "loss", tuple(LOSSES))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.three_d_array = True, False
        return tags

    def _structure(self) -> dict[str, Any]:
        made = super()._structure()
        return {**made, "horizon": self.horizon} if self.strategy == "direct" else made

    def _check_held(self, targets: Array, weights: Array | None) -> None:
        if self._known:
            targets = targets[:, -self.steps_ :]
        check_r2_exists(targets.reshape(-1, self.n_targets_))

    def _pooling(self) -> str:
        return "none" if self._known else "last"

    def _output(self) -> tuple[int, str, str]:
        width = self.n_targets_ if self._known else self.n_targets_ * self.steps_
        return width, "linear", LOSSES[self.loss]

    def _validation_score(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        rows = (part[:, -self.steps_ :] if self._known else part for part in (targets, outputs))
        true, predicted = (part.reshape(-1, self.n_targets_) for part in rows)
        return float(r2_score(true, predicted))


def _differences(values: Array, lag: int) -> Array:
    return values[lag:] - values[: max(len(values) - lag, 0)] if lag else values


def _slide(values: Array, size: int) -> Array:
    """Give all windows of (T, K): (T - size + 1, size, K)."""
    return np.asarray(sliding_window_view(values, size, axis=0).transpose(0, 2, 1))
