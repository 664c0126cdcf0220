"""`LSTMForecaster`, which continues time series."""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from lstmcore import _checks
from lstmcore._suggest import suggests
from lstmcore._typing import (
    AutoOrInt,
    DType,
    Exogenous,
    ForecasterLoss,
    ForecasterScale,
    Inputs,
    OptimizerName,
    RateCourse,
    Strategy,
)
from lstmcore.sklearn.backtest import Backtest, run_backtest
from lstmcore.sklearn.distributions import (
    check_levels,
    describes,
    interval_levels,
    scaled_quantiles,
)
from lstmcore.sklearn.intervals import errors_at_the_end, half_widths
from lstmcore.sklearn.keeping import unchanged_on_error
from lstmcore.sklearn.series import Series, read_series
from lstmcore.sklearn.windows import LOOKED_AT, WindowEstimator

__all__ = ["LSTMForecaster"]


class LSTMForecaster(WindowEstimator):
    """Forecast time series by an LSTM that reads a window of the past.

    Parameters
    ----------
    window : int, default 24
        Past steps that a forecast is based on.
    horizon : int, default 1
        Steps to forecast.
    strategy : {"direct", "recursive"}, default "direct"
        "direct": the model forecasts all `horizon` steps at once. "recursive": it forecasts the
        next step, which is then its input for the step after that.
    target : str or sequence of str, optional
        Columns of the frames `y` to forecast; the others are exogenous. None: forecast all.
    exogenous : {"known", "past"}
        "known": exogenous columns, such as a calendar or a price, are known ahead, so the model
        sees them at the steps that it forecasts, and `predict` needs them. "past": they are known
        only up to now.
    difference : int or "auto", default "auto"
        Lag of the differences that are forecast instead of the values: 1 for series with a trend,
        the length of the season for seasonal series, 0 for none. "auto": whichever of these lags
        works best in a trial, which takes about a second: a small model is trained on the first two
        thirds of the training data and forecasts the rest. 0 is chosen only if it is clearly
        better.
    season : int, "auto" or None, default "auto"
        Length of the season that ``difference="auto"`` tries, such as 12 for monthly data. "auto":
        a peak of the autocorrelation, if repeating the last season is better than repeating the
        last value or the mean. None: no season. A season that is too long for a trial on the series
        is left out, with a warning.
    calibration : float, optional
        Share of each series' steps, at its end, on which `fit` measures errors for
        `predict_interval`; at least `horizon` steps. A second model, trained on the steps before,
        forecasts them, which takes as long again. None: no errors are measured; see `calibrate`.
    hidden_size : int, default 64
    loss : {"squared_error", "absolute_error", "quantile", "gaussian"}
        "quantile": the model learns the `quantiles` of each value; its forecast is the one nearest
        to 0.5. "gaussian": it learns the mean and the variance of a normal distribution, and its
        forecast is the mean. See `predict_quantiles`, and `losses.Quantile` and
        `losses.GaussianNLL` for the formulas.
    quantiles : sequence of float, default (0.05, 0.25, 0.5, 0.75, 0.95)
        Levels for ``loss="quantile"``, and the default of `predict_quantiles`.
    num_layers : int, default 1
    dropout : float, default 0.0
    scale : {"standard"}, optional
        How to scale exogenous columns and targets, or their differences; None: not at all.
    recurrent_dropout, input_dropout, layer_norm, cell_options, solver, alpha, batch_size
        See `LSTMClassifier`.
    learning_rate, global_clipnorm, shuffle
        See `LSTMClassifier`.
    learning_rate_init : float, default 0.003
        The highest learning rate.
    max_iter, max_updates : int, optional
        See `LSTMClassifier`; but 300 updates, and at least 20 epochs, if neither is given.
    early_stopping, validation_fraction, n_iter_no_change, tol
        See `LSTMClassifier`; the score is R^2 on the last windows of each series.
    warm_start, random_state, verbose, dtype
        See `LSTMClassifier`.

    Attributes
    ----------
    n_targets_, n_exogenous_ : int
        Numbers of targets, K, and of exogenous columns, E.
    difference_ : int
        Lag of the differences that are forecast; 0 for the values themselves.
    season_ : int or None
        Length of the season that was given or found; None if there is none, or if it is too long to
        be tried by ``difference="auto"``.
    steps_ : int
        Steps that the model forecasts at once.
    target_mean_, target_scale_ : ndarray of float64, shape (K,)
        Mean and scale of the values or of their differences.
    exogenous_mean_, exogenous_scale_ : ndarray of float64, shape (E,)
    errors_ : ndarray of float64, shape (M, horizon, K)
        Magnitudes of the errors found by `calibrate`, or by `fit` with `calibration`, in ascending
        order.
    n_features_in_ : int
        K + E.
    feature_names_in_ : ndarray of object
        Names of the target and exogenous columns, if all are strings.
    model_, n_iter_, n_updates_, loss_, loss_curve_, validation_scores_, best_validation_score_
        See `LSTMClassifier`; losses are those of scaled targets.

    Notes
    -----
    A series is an array or a pandas or polars series (T,), or an array or a frame (T, K) whose K
    columns are forecast together. A list of series of any lengths, or of lists of numbers, trains
    one model on all of them. Rows must be in order and evenly spaced in time: indexes and columns
    of times are ignored, and forecasts are arrays.

    Scaling is internal; forecasts are in the units of the series.

    Examples
    --------
    >>> import numpy as np
    >>> from lstmcore.sklearn import LSTMForecaster
    >>> wave = np.sin(np.arange(310) / 5)
    >>> forecast = LSTMForecaster(20, 10, random_state=0).fit(wave[:300]).predict()
    >>> bool(np.abs(forecast - wave[300:]).max() < 0.1)
    True
    """

    @suggests
    def __init__(
        self,
        window: int = 24,
        horizon: int = 1,
        *,
        strategy: Strategy = "direct",
        target: Hashable | Sequence[Hashable] | None = None,
        exogenous: Exogenous = "known",
        difference: AutoOrInt = "auto",
        season: AutoOrInt | None = "auto",
        calibration: float | None = None,
        hidden_size: int = 64,
        loss: ForecasterLoss = "squared_error",
        quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
        num_layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        input_dropout: float = 0.0,
        layer_norm: bool = False,
        cell_options: Mapping[str, object] | None = None,
        scale: ForecasterScale | None = "standard",
        solver: OptimizerName = "adamw",
        alpha: float = 0.01,
        batch_size: AutoOrInt = "auto",
        learning_rate: RateCourse = "onecycle",
        learning_rate_init: float = 0.003,
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
        self.window = window
        self.horizon = horizon
        self.strategy = strategy
        self.target = target
        self.exogenous = exogenous
        self.difference = difference
        self.season = season
        self.calibration = calibration
        self.hidden_size = hidden_size
        self.loss = loss
        self.quantiles = quantiles
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

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text: str = super().__repr__(N_CHAR_MAX)
        if not hasattr(self, "difference_"):
            return text
        return f"{text}  # difference_={self.difference_}, season_={self.season_}"

    # ---- training ----------------------------------------------------------------------------

    def fit(self, y: Inputs, X: Inputs | None = None) -> "LSTMForecaster":
        """Train on all windows of one series, or of several.

        Parameters
        ----------
        y : array_like, frame, or list of them
            A series (T,) or (T, K); see the class.
        X : array_like, frame, or list of them, optional
            Exogenous columns, (T, E), or (T,) for one column.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the arguments do not fit, no series is long enough for a window and the steps after
            it, also without the steps of `calibration`, or the training diverges. The estimator is
            then unchanged.

        Warns
        -----
        UserWarning
            If some series are too short to be trained on, or `season` is too long to be tried.
        ConvergenceWarning
            See `LSTMClassifier.fit`.
        """
        errors = None
        if self.calibration is not None:
            self._check_parameters()
            errors = errors_at_the_end(self, y, X)
        self._train_on(y, X, incremental=False)
        if errors is not None:
            self.errors_ = errors
        return self

    def partial_fit(self, y: Inputs, X: Inputs | None = None) -> "LSTMForecaster":
        """Append new steps to the series, and train for one epoch on the windows that lead to them.

        The first call is a `fit` of one epoch. The learning rate is constant, whatever
        `learning_rate` says; see `LSTMClassifier.partial_fit`. A calibration is discarded.

        Parameters
        ----------
        y, X
            As in `fit`: the steps that follow those of earlier calls.

        Returns
        -------
        self
        """
        self._train_on(y, X, incremental=True)
        return self

    def update(self, y: Inputs, X: Inputs | None = None) -> "LSTMForecaster":
        """Append new steps to the series, to forecast from their end, without training.

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
            if reset:
                self._learn_lag(series)
            numbers = self._count_windows(series)
            short = [place for place, count in enumerate(numbers) if not count]
            if short and not incremental:
                warnings.warn(
                    f"y: {len(short)} of {len(numbers)} series, the first at {short[0]}, are too "
                    "short for a window and the steps after it, so they are not trained on",
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
        """Check hyper-parameters and series; with `reset`, describe the data for a new model."""
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
                f"y: expected {len(self._series)} series that continue the earlier ones, got "
                f"{len(series)}"
            )
        return [old.then(new) for old, new in zip(self._series, series, strict=True)]

    # ---- forecasts ---------------------------------------------------------------------------

    def predict(
        self,
        horizon: int | None = None,
        X: Inputs | None = None,
        *,
        y: Inputs | None = None,
        past_X: Inputs | None = None,
    ) -> Any:
        """Forecast the next steps.

        Parameters
        ----------
        horizon : int, optional
            Steps to forecast; None: the estimator's `horizon`. Steps beyond those that the model
            forecasts at once are based on its own forecasts.
        X : array_like, frame, or list of them, optional
            Values (horizon, E) of exogenous columns that are known ahead, at the steps to forecast.
        y : array_like, frame, or list of them, optional
            Other series to continue instead, each of at least ``window + difference_`` steps.
        past_X : array_like, frame, or list of them, optional
            Exogenous columns of `y`, as X in `fit`.

        Returns
        -------
        ndarray of float64, shape (horizon,) or (horizon, K), or list of them
            In the units of the series, with as many axes, and a list for a list.
        """
        check_is_fitted(self, "model_")
        steps = self._steps_ahead(horizon)
        past, beside, ahead, listed = self._origins(steps, X, y, past_X)
        return self._as_given(self._forecast(past, beside, ahead, steps), listed)

    def predict_quantiles(
        self,
        horizon: int | None = None,
        X: Inputs | None = None,
        *,
        quantiles: Sequence[float] | None = None,
        y: Inputs | None = None,
        past_X: Inputs | None = None,
    ) -> Any:
        """Return quantiles of the next values, as the model learned them.

        Parameters
        ----------
        horizon, X, y, past_X
            As in `predict`; `horizon` is at most `steps_`, since the distribution of steps beyond
            would have to include that of the forecasts that they are based on.
        quantiles : sequence of float, optional
            Q levels in (0, 1); with ``loss="quantile"`` among the estimator's `quantiles`. None:
            these.

        Returns
        -------
        ndarray of float64, shape (horizon, Q) or (horizon, K, Q), or list of them
            In the order of the levels. Quantiles that cross are sorted (Chernozhukov et al. 2010).

        Raises
        ------
        ValueError
            If `loss` is neither "quantile" nor "gaussian", a level was not trained, or the horizon
            is too long.
        """
        check_is_fitted(self, "model_")
        levels = check_levels(self, quantiles)
        steps = self._steps_ahead(horizon)
        if steps > self.steps_:
            raise ValueError(
                f"horizon: expected at most {self.steps_}, which the model forecasts at once, got "
                f"{steps}"
            )
        past, beside, ahead, listed = self._origins(steps, X, y, past_X)
        outputs = self._outputs_after(past, beside, ahead)
        scaled = scaled_quantiles(self, outputs, levels)
        rows = [self._undone(scaled[..., place], past) for place in range(len(levels))]
        return self._as_given(np.stack(rows, axis=-1)[:, :steps], listed)

    def score(self, y: Inputs, X: Inputs | None = None) -> float:
        """Forecast `horizon` steps from each step of `y` that has a window before it.

        Parameters
        ----------
        y, X
            As in `fit`. The series that were trained on play no part.

        Returns
        -------
        float
            R^2 of all these forecasts together, averaged over targets; 1 is best.
        """
        true, forecasts = self._rolling(y, X)
        width = self.n_targets_
        return float(r2_score(true.reshape(-1, width), forecasts.reshape(-1, width)))

    def calibrate(self, y: Inputs, X: Inputs | None = None) -> "LSTMForecaster":
        """Measure the errors of forecasts on series that were not trained on.

        Parameters
        ----------
        y, X
            As in `fit`: a window, the horizon, and one more step for each further error. Forecasts
            are made as in `score`.

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
        X: Inputs | None = None,
        *,
        coverage: float = 0.9,
        extrapolate: bool = False,
        y: Inputs | None = None,
        past_X: Inputs | None = None,
    ) -> Any:
        """Return bounds that contain the true value at each step with probability `coverage`.

        Their distance from the forecast is the `coverage` quantile of the errors that `calibrate`,
        or `fit` with `calibration`, measured at the same step (split conformal prediction,
        Papadopoulos et al. 2002). They are valid as far as the future resembles the steps on which
        errors were measured. If none were measured, and `loss` is "quantile" or "gaussian", the
        bounds are those quantiles of `predict_quantiles` which leave out equal shares on both
        sides.

        Parameters
        ----------
        horizon, X, y, past_X
            As in `predict`; `horizon` is at most the estimator's.
        coverage : float, default 0.9
            Probability, in (0, 1).
        extrapolate : bool, default False
            Whether M errors may serve for a coverage above M / (M + 1), too, for which they are
            taken to be normal: the distance is their root mean square times a quantile of
            Student's t distribution with M degrees of freedom, but at least the largest error.
            False: such a coverage is an error.

        Returns
        -------
        ndarray of float64, shape (horizon, 2) or (horizon, K, 2), or list of them
            Lower and upper bounds.

        Raises
        ------
        ValueError
            If no errors were measured after `fit`, or too few for the coverage, or quantiles are
            needed that were not trained.
        """
        check_is_fitted(self, "model_")
        coverage = _checks.real(coverage, "coverage", 0.0, 1.0, low_open=True, high_open=True)
        _checks.flag(extrapolate, "extrapolate")
        if not hasattr(self, "errors_"):
            if describes(self.loss):
                ends = interval_levels(coverage)
                return self.predict_quantiles(horizon, X, quantiles=ends, y=y, past_X=past_X)
            raise ValueError(
                "predict_interval: needs calibrate(y) first, on unseen series, or calibration=0.2 "
                "before fit"
            )
        steps, longest = self._steps_ahead(horizon), self.errors_.shape[1]
        if steps > longest:
            raise ValueError(f"horizon: expected at most {longest}, as calibrated, got {steps}")
        off = half_widths(self.errors_, coverage, extrapolate=extrapolate)[:steps]
        forecasts = self.predict(steps, X, y=y, past_X=past_X)
        if self._flat:
            off = off[:, 0]
        if isinstance(forecasts, list):
            return [np.stack([one - off, one + off], axis=-1) for one in forecasts]
        return np.stack([forecasts - off, forecasts + off], axis=-1)

    def backtest(
        self,
        y: Inputs,
        X: Inputs | None = None,
        *,
        start: Any = 0.7,
        step: int | None = None,
        refit: bool = False,
        coverage: float | None = None,
    ) -> Backtest:
        """Forecast the last part of a series from many origins, beside simple forecasts.

        The forecaster itself is not changed: copies of it are trained. The other forecasts are the
        last value ("naive"), the last season ("seasonal naive"), and scikit-learn's ridge
        regression, with a penalty chosen by leave-one-out errors, on the ``window + difference_``
        steps that the LSTM looks at ("ridge").

        Parameters
        ----------
        y, X
            One series, as in `fit`; dates are the index of a pandas object.
        start : float, int or label, default 0.7
            Steps before the first forecast: a share of them, any real number in (0, 1), or their
            number. Or the first step that is forecast, by its label in the index of a pandas
            object: a date, a time or a text, such as ``"2024-03-01"``; of several steps with this
            label, the first. Integers are numbers of steps in every index.
        step : int, optional
            Steps from one origin to the next; None: `horizon`.
        refit : bool, default False
            Whether to train again on all steps before each origin, rather than once. The season
            and the difference are then found again, too, for all forecasts; see `Backtest.seasons`.
        coverage : float, optional
            Coverage of intervals, in (0, 1). If `calibration` is None and `loss` describes no
            distribution, the copies are trained with ``calibration=0.2``. None: no intervals.

        Returns
        -------
        Backtest
            Its `table` has MAE, RMSE, MASE and coverage; `plot` draws it.

        Raises
        ------
        ValueError
            If `y` is a list, or too short before or after `start`, or its index has no such label,
            or there can be no intervals of this coverage; nothing is trained then, but the trials
            of ``difference="auto"``. See also `fit`.
        """
        return run_backtest(self, y, X, start=start, step=step, refit=refit, coverage=coverage)
