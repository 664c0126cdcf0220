"""The windows of series that a forecaster is trained on, and their scaling."""

import warnings
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from lstmcore import _checks
from lstmcore._typing import (
    Array,
    Exogenous,
    ForecasterLoss,
    ForecasterScale,
    LayerActivation,
    Strategy,
    choices,
)
from lstmcore.sklearn.base import SequenceEstimator, check_r2_exists
from lstmcore.sklearn.budget import PREDICT_ROWS, auto_or_integer
from lstmcore.sklearn.distributions import (
    constant_loss,
    describes,
    loss_of,
    with_changes_summed,
)
from lstmcore.sklearn.inputs import cast, statistics
from lstmcore.sklearn.lags import choose_lag, longest_lag
from lstmcore.sklearn.seasons import find_season
from lstmcore.sklearn.series import Series, is_list, read_exogenous, read_series
from lstmcore.training import losses
from lstmcore.training.losses import LossLike

__all__ = ["LOOKED_AT", "WindowEstimator", "slide"]

# By forecasts, not only by training.
LOOKED_AT = ("window", "difference", "target", "exogenous", "loss", "quantiles")


class WindowEstimator(SequenceEstimator):
    """Base of `LSTMForecaster`: makes windows, scales them, and defines the model."""

    bidirectional = False
    _scales = choices(ForecasterScale)
    _updates = 300  # windows overlap; more updates made nine of eleven series' forecasts worse

    # ---- windows -----------------------------------------------------------------------------

    @property
    def _known(self) -> bool:
        """Return whether the model sees exogenous columns of the steps that it forecasts."""
        return bool(self.exogenous == "known" and self.n_exogenous_ > 0)

    def _kept(self) -> int:
        """Return the number of steps of a series that later calls may need."""
        return int(self.window + self.difference_ + self.steps_ - 1)

    def _count_windows(self, series: list[Series]) -> list[int]:
        """Count the windows of each series that have targets after them."""
        size = self.window + self.steps_ + self.difference_
        numbers = [max(len(one.y) - size + 1, 0) for one in series]
        if not any(numbers):
            most = max(len(one.y) for one in series)
            raise ValueError(
                f"y: expected at least {size} steps, for a window and the steps after it, "
                f"got {most}"
            )
        return numbers

    def _parts(self, numbers: list[int]) -> tuple[Array, Array]:
        """Choose the last windows of each series for early stopping, and earlier ones to train on.

        Windows in between, whose targets overlap with both, are left out.
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

    def _learn_lag(self, series: list[Series]) -> None:
        """Choose the lag of differences by the steps that are trained on."""
        held = self.validation_fraction if self.early_stopping else 0.0
        seen = [one.first(len(one.y) - int(np.ceil(held * len(one.y)))) for one in series]
        self.season_ = self.season
        if self.season == "auto":
            self.season_ = find_season([one.y for one in seen], self.horizon)
        if self.difference != "auto":
            self.difference_ = int(self.difference)
            return
        longest = longest_lag(self, seen)
        if self.season_ is not None and self.season_ > longest:
            if self.season != "auto":
                warnings.warn(
                    f"season: a season of {self.season} steps is ignored, since difference='auto' "
                    f"can try at most {max(longest, 0)} on these series with window={self.window} "
                    f"and horizon={self.horizon}; use longer series or a smaller window, or "
                    f"difference={self.season}, which is not tried",
                    stacklevel=4,
                )
            self.season_ = None
        lags = [lag for lag in sorted({0, 1, self.season_ or 0}) if lag <= max(longest, 0)]
        self.difference_ = choose_lag(self, seen, lags)

    def _learn_scales(self, series: list[Series], numbers: list[int], early: Array | None) -> None:
        """Compute scales from the steps of all series, or of the windows `early` alone."""
        lag, size = self.difference_, self.window + self.steps_
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
                mean, scale = statistics(values, self._argument(name))
            setattr(self, f"{name}_mean_", mean)
            setattr(self, f"{name}_scale_", scale)

    def _scaled_columns(self, name: str, values: Array) -> Array:
        """Scale targets or exogenous columns, and convert them to the model's dtype."""
        with np.errstate(over="ignore"):
            scaled = (values - getattr(self, f"{name}_mean_")) / getattr(self, f"{name}_scale_")
        return cast(scaled, self._dtype, self._argument(name))

    def _argument(self, name: str) -> str:
        """Return the argument of `fit` that held the "target" or "exogenous" columns."""
        return "X" if name == "exogenous" and self.target is None else "y"

    def _windows(self, series: list[Series]) -> tuple[Array, Array]:
        """Return all windows as inputs and targets."""
        window, block, lag = self.window, self.steps_, self.difference_
        size = window + block
        numbers = self._count_windows(series)
        steps = size if self._known else window
        inputs = np.zeros((sum(numbers), steps, self.n_channels_), self._dtype)
        parts, begin = [], 0
        for one, count in zip(series, numbers, strict=True):
            if not count:
                continue
            values = slide(self._scaled_columns("target", _differences(one.y, lag)), size)
            beside = slide(self._scaled_columns("exogenous", one.x[lag:]), size)
            self._fill(inputs[begin : begin + count], values[:, :window], beside[:, :steps])
            if describes(self.loss):
                values = with_changes_summed(values, window, lag)
            parts.append(values if self._known else values[:, window:].reshape(count, -1))
            begin += count
        # For a single series, targets may be a view of it, which saves a copy.
        return inputs, parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _inputs(self, values: Array, beside: Array, future: Array | None) -> Array:
        """Make the model's inputs from windows in the series' units."""
        exogenous = beside if future is None else np.concatenate([beside, future], axis=1)
        inputs = np.zeros((len(values), exogenous.shape[1], self.n_channels_), self._dtype)
        scaled = self._scaled_columns("exogenous", exogenous)
        self._fill(inputs, self._scaled_columns("target", values), scaled)
        return inputs

    def _fill(self, inputs: Array, values: Array, exogenous: Array) -> None:
        """Write scaled windows into `inputs`, which are zeros.

        Exogenous columns that are known ahead are appended as further steps, which a last column
        marks; the targets, unknown there, are 0.
        """
        window, width = values.shape[1:]
        inputs[:, :window, :width] = values
        inputs[:, :, width : width + exogenous.shape[2]] = exogenous
        if self._known:
            inputs[:, window:, -1] = 1.0

    def _step_weights(self, count: int) -> Array | None:
        """Return weights of 0 within the window and 1 after it, if every step has an output."""
        if not self._known:
            return None
        steps = self.window + self.steps_
        weights = np.zeros(steps, self._dtype)
        weights[self.window :] = steps / self.steps_
        return np.broadcast_to(weights, (count, steps))

    # ---- forecasts ---------------------------------------------------------------------------

    def _as_given(self, rows: Array, listed: bool) -> Any:
        """Return results (M, horizon, K, ...) in the form of the series that they belong to."""
        found = [row[:, 0] if self._flat else row for row in rows]
        return found if listed else found[0]

    def _origins(
        self, steps: int, X: Any, y: Any, past_X: Any
    ) -> tuple[Array, Array, Array | None, bool]:
        """Return the steps that forecasts are based on, the columns ahead, and if in a list."""
        self._check_unchanged(LOOKED_AT)
        if y is None and past_X is not None:
            raise ValueError("past_X: expected None without y, to which it belongs")
        series, listed = self._series, self._listed
        if y is not None:
            series = read_series(self, y, past_X, reset=False, x_name="past_X")
            listed = is_list(y)
        needed = self.window + self.difference_
        for place, one in enumerate(series):
            if len(one.y) < needed:
                raise ValueError(
                    f"y: expected at least {needed} steps, which a forecast is based on, got "
                    f"{len(one.y)} in series {place}"
                )
        ahead = read_exogenous(self, X, steps, len(series), listed)
        past = np.stack([one.y[-needed:] for one in series])
        return past, np.stack([one.x[-self.window :] for one in series]), ahead, listed

    def _steps_ahead(self, horizon: Any) -> int:
        if np.ndim(horizon) or hasattr(horizon, "columns"):
            raise TypeError(
                f"horizon: expected an integer, got {_checks.describe(horizon)}; predict(y=series) "
                "continues another series than that of fit, and X= passes exogenous columns"
            )
        return _checks.integer(self.horizon if horizon is None else horizon, "horizon", 1)

    def _rolling(self, y: Any, X: Any, horizon: int | None = None) -> tuple[Array, Array]:
        """Return the true values and the forecasts after each window: both (M, horizon, K)."""
        check_is_fitted(self, "model_")
        self._check_unchanged(LOOKED_AT)
        true, forecasts = [], []
        needed, steps = self.window + self.difference_, self._steps_ahead(horizon)
        for one in read_series(self, y, X, reset=False):
            if len(one.y) < needed + steps:
                raise ValueError(
                    f"y: expected at least {needed + steps} steps, for a window and the horizon, "
                    f"got {len(one.y)}"
                )
            values, beside = slide(one.y, needed + steps), slide(one.x, needed + steps)
            known = beside[:, needed:] if self._known else None
            looked = beside[:, self.difference_ : needed]
            forecasts.append(self._forecast(values[:, :needed], looked, known, steps))
            true.append(values[:, needed:])
        return np.concatenate(true), np.concatenate(forecasts)

    def _forecast(self, past: Array, beside: Array, ahead: Array | None, steps: int) -> Array:
        """Continue M series: from (M, window + lag, K) and (M, window, E) to (M, steps, K)."""
        lag, window, block = self.difference_, self.window, self.steps_
        if not self._known and beside.shape[2] and steps > block:
            raise ValueError(
                f"horizon: expected at most {block}, since the exogenous columns beyond are not "
                f"known, got {steps}"
            )
        begin = past.shape[1]
        loss = losses.get(self._output()[2])
        for at in range(0, steps, block):
            recent = past[:, past.shape[1] - window - lag :]
            future = None if ahead is None else ahead[:, at : at + block]
            points = loss.predictions(self._outputs_after(recent, beside, future))
            values = self._undone(points.reshape(len(past), block, -1), recent)
            past = np.concatenate([past, values], axis=1)
            if future is not None:
                beside = np.concatenate([beside, future], axis=1)[:, -window:]
        return past[:, begin : begin + steps]

    def _outputs_after(self, past: Array, beside: Array, future: Array | None) -> Array:
        """Return the model's outputs for the next `steps_` steps, (M, U) or (M, steps_, U)."""
        lag = self.difference_
        values = past[:, lag:] - past[:, :-lag] if lag else past
        if future is not None:
            missing = self.steps_ - future.shape[1]  # steps beyond those requested repeat the last
            future = np.concatenate([future, np.repeat(future[:, -1:], max(missing, 0), 1)], axis=1)
        outputs: Array = self.model_.predict(
            self._inputs(values, beside, future), PREDICT_ROWS, verbose=0
        )
        return outputs[:, -self.steps_ :] if self._known else outputs

    def _undone(self, scaled: Array, past: Array) -> Array:
        """Turn scaled forecasts (M, steps_, K) after `past` into values in the series' units."""
        lag, block = self.difference_, self.steps_
        if not lag:
            return np.asarray(scaled * self.target_scale_ + self.target_mean_)
        begin = past.shape[1]
        if describes(self.loss):
            step = np.arange(block)
            drift = (step // lag + 1)[:, None] * self.target_mean_
            return np.asarray(
                scaled * self.target_scale_ + drift + past[:, begin - lag + step % lag]
            )
        changes = scaled * self.target_scale_ + self.target_mean_
        for place in range(block):
            value = changes[:, place] + past[:, -lag]
            past = np.concatenate([past, value[:, None]], axis=1)
        return past[:, begin:]

    # ---- the model ---------------------------------------------------------------------------

    @property
    def n_channels_(self) -> int:
        """Channels of the model's inputs: targets, exogenous columns, a mark of future steps."""
        return int(self.n_targets_ + self.n_exogenous_ + self._known)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _checks.integer(self.window, "window", 1)
        _checks.integer(self.horizon, "horizon", 1)
        if self.calibration is not None:
            _checks.real(self.calibration, "calibration", 0.0, 1.0, low_open=True, high_open=True)
        auto_or_integer(self.difference, "difference", 0)
        if self.season is not None:
            auto_or_integer(self.season, "season", 2)
        _checks.choice(self.strategy, "strategy", choices(Strategy))
        _checks.choice(self.exogenous, "exogenous", choices(Exogenous))
        _checks.choice(self.loss, "loss", choices(ForecasterLoss))
        if np.ndim(self.quantiles) != 1:
            raise ValueError(f"quantiles: expected a sequence of levels, got {self.quantiles!r}")
        losses.Quantile(self.quantiles)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.three_d_array = True, False
        return tags

    def _structure(self) -> dict[str, Any]:
        # What the outputs mean; the two losses of single values may replace each other.
        made = {**super()._structure(), "loss": "squared_error or absolute_error"}
        if describes(self.loss):
            made["loss"] = self.loss
        if self.loss == "quantile":
            made["quantiles"] = [float(level) for level in self.quantiles]
        return {**made, "horizon": self.horizon} if self.strategy == "direct" else made

    def _check_held(self, targets: Array, weights: Array | None) -> None:
        if self._known:
            targets = targets[:, -self.steps_ :]
        check_r2_exists(targets.reshape(-1, self.n_targets_))

    def _input_width(self) -> int:
        return self.n_channels_

    def _constant_loss(self, targets: Array, weights: Array | None) -> float:
        if self._known:
            targets = targets[:, -self.steps_ :]
        return constant_loss(self, targets.reshape(len(targets), -1))

    def _pooling(self) -> str:
        return "none" if self._known else "last"

    def _output(self) -> tuple[int, LayerActivation, LossLike]:
        width = self.n_targets_ if self._known else self.n_targets_ * self.steps_
        loss, outputs = loss_of(self)
        return width * outputs, "linear", loss

    def _validation_score(self, targets: Array, outputs: Array, weights: Array | None) -> float:
        outputs = losses.get(self._output()[2]).predictions(outputs)
        rows = (part[:, -self.steps_ :] if self._known else part for part in (targets, outputs))
        true, predicted = (part.reshape(-1, self.n_targets_) for part in rows)
        return float(r2_score(true, predicted))


def _differences(values: Array, lag: int) -> Array:
    return values[lag:] - values[: max(len(values) - lag, 0)] if lag else values


def slide(values: Array, size: int) -> Array:
    """Return all windows of values (T, K): (T - size + 1, size, K)."""
    return np.asarray(sliding_window_view(values, size, axis=0).transpose(0, 2, 1))
