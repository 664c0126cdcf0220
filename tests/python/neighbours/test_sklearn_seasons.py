"""Seasons and differences that the forecaster chooses for random series, and their benefit.

Series have 300 steps, with noise of standard deviation 1 or less, from a fixed seed; whatever is
asserted of one draw holds for nearly all others.
"""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone

from lstmcore.sklearn import LSTMForecaster, lags
from lstmcore.sklearn.seasons import find_season

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TIME = np.arange(300)
NOISE = np.random.default_rng(0).standard_normal(300)
WEEK = np.tile([3.0, -1.0, 0.0, 2.0, -2.0, -4.0, 2.0], 43)[:300]
SEASON12 = 3 * np.sin(2 * np.pi * TIME / 12)
SEASON40 = 3 * np.sin(2 * np.pi * TIME / 40) + 2 * np.cos(2 * np.pi * TIME / 20)
TREND = 0.2 * TIME


def chosen(series, window=24, horizon=6, **settings):
    model = LSTMForecaster(window, horizon, hidden_size=2, max_updates=1, **settings).fit(series)
    return model.difference_, model.season_


@pytest.mark.parametrize(
    ("series", "season"),
    [
        (NOISE, None),
        (NOISE.cumsum(), None),
        (TREND + NOISE, None),
        (np.full(300, 5.0), None),
        (TREND, None),
        (WEEK + 0.5 * NOISE, 7),
        (SEASON12 + NOISE, 12),
        (SEASON12 + NOISE + TREND, 12),
        (SEASON12 + 0.1 * NOISE.cumsum(), 12),
        (SEASON40 + 0.5 * NOISE + TREND, 40),
        (1e9 + 1e3 * SEASON12, 12),
        (np.exp(0.01 * TIME + 0.1 * SEASON12), 12),  # grows with the level, like air travel
    ],
)
def test_seasons(series, season):
    assert find_season([series[:, None]], 6) == season
    assert chosen(series)[1] == season


@pytest.mark.parametrize("horizon", [1, 6, 12])
def test_a_season_is_not_a_step_off(horizon):
    """The season of noisy years is found in each series by itself and in all together."""
    months = np.arange(132)
    clean = 100 + 1.5 * months + 20 * np.sin(2 * np.pi * months / 12)
    noise = np.random.default_rng(0).normal(0, 3, (40, 132, 1))
    series = list(clean[:, None] + noise)
    assert [find_season([one], horizon) for one in series] == [12] * len(series)
    assert find_season(series, horizon) == 12


def test_a_short_season_in_a_longer_one():
    hours = np.arange(480)
    clean = 10 * np.sin(2 * np.pi * hours / 24) + 5 * np.sin(2 * np.pi * hours / 168)
    noise = np.random.default_rng(0).normal(0, 1, (12, 480, 1))
    for horizon in (1, 12, 24):
        found = {find_season([one], horizon) for one in clean[:, None] + noise}
        # One step ahead, the slope is almost as good a predictor, so the day may not be accepted.
        assert found <= ({24, None} if horizon == 1 else {24})
        assert 24 in found


@pytest.mark.parametrize(
    ("series", "lags"),
    [
        (NOISE, {0, 1}),  # a window of differences determines the mean almost as well
        (WEEK + 0.5 * NOISE, {0, 7}),  # the window contains the season: both can be learnt
        (SEASON12 + NOISE, {0}),
        (NOISE.cumsum(), {1}),
        (TREND + NOISE, {1}),
        (SEASON12 + NOISE + TREND, {1, 12}),
        (SEASON40 + 0.1 * NOISE + TREND, {40}),  # longer than the window
        (np.full(300, 5.0), {0}),
    ],
)
def test_differences(series, lags):
    assert chosen(series)[0] in lags
    # The choice does not depend on the units.
    assert chosen(1e6 * series - 3e8)[0] in lags


def test_neither_trend_nor_season():
    """One difference says less about the mean than one value."""
    for seed in range(3):
        noise = np.random.default_rng(seed).standard_normal(300)
        assert chosen(noise, window=1) == (0, None)
        assert chosen(noise + 100, window=1) == (0, None)


def test_given_seasons_and_differences():
    series = SEASON40 + 0.1 * NOISE + TREND
    assert chosen(series, season=40) == (40, 40)
    assert chosen(series, season=None) == (1, None)
    assert chosen(series, difference=3) == (3, 40)
    assert chosen(series, difference=0, season=17) == (0, 17)


@pytest.mark.parametrize(
    ("steps", "window", "season", "longest"),
    [
        (90, 24, 40, 30),  # less than half of the windows would remain
        (144, 24, 500, 57),  # longer than the series
        (144, 60, 30, 30),  # a trial has two thirds, 96 steps, for window, lag and horizon
        (144, 60, 31, 30),
        (2600, 100, 1250, 1227),  # and no more than the last 2000 steps
        (12, 6, 2, 0),  # too short for any trial
        (15, 1, 3, 0),  # the 5 steps that a trial forecasts are fewer than the horizon
    ],
)
def test_a_season_that_cannot_be_tried_is_reported(steps, window, season, longest):
    series = TREND[-1] * np.sin(2 * np.pi * np.arange(steps) / season) + np.arange(steps)
    if season <= longest:
        assert chosen(series, window, season=season)[1] == season
        return
    said = f"season: a season of {season} steps is ignored, .* at most {longest} on these series"
    with pytest.warns(UserWarning, match=said) as caught:
        assert chosen(series, window, season=season)[1] is None
    assert caught[0].filename == __file__
    # A number for `difference` is used without a trial if the series is long enough.
    if steps > window + season + 6:
        assert chosen(series, window, season=season, difference=season) == (season, season)


def test_a_season_that_is_found_and_cannot_be_tried_is_none():
    assert find_season([SEASON40[:200, None]], 6) == 40
    assert chosen(SEASON40[:200], window=100)[1] is None


def test_a_trial_that_fails_is_not_chosen(monkeypatch):
    """Training begins even if its learning rate makes the trials diverge."""
    monkeypatch.setitem(lags.TRIAL, "learning_rate_init", 1e30)
    assert chosen(SEASON12 + TREND)[0] == 0


def test_several_series_and_targets_choose_together():
    long = SEASON40 + 0.1 * NOISE + TREND
    assert chosen([long, 1e-3 * long[:250], long[100:]]) == (40, 40)
    assert chosen(np.column_stack([long, 1e6 * long])) == (40, 40)
    # Adding a short series and one without a season changes nothing.
    with pytest.warns(UserWarning, match="1 of 3 series"):
        assert chosen([long, long[50:], long[:20]]) == (40, 40)


def test_trials_use_the_columns():
    """A column that drives the series explains it, but not a season longer than the window."""
    driver = np.random.default_rng(1).choice([0.0, 10.0], 300)
    model = LSTMForecaster(24, 6, hidden_size=2, max_updates=1)
    assert model.fit(driver + 0.1 * NOISE, driver).difference_ == 0


def test_held_out_steps_are_not_used():
    """A season that begins in the held-out last fifth is not found."""
    late = np.where(TIME < 240, NOISE, 50 * SEASON12)
    assert chosen(late, early_stopping=True, validation_fraction=0.2)[1] is None


def test_series_that_are_too_short_to_try():
    assert find_season([NOISE[:3, None]], 2) is None
    assert chosen(TREND[:7], window=4, horizon=2) == (0, None)


def test_choices_are_shown_and_do_not_change():
    model = LSTMForecaster(24, 6, hidden_size=2, max_updates=1, random_state=0)
    assert "difference_" not in repr(model)
    series = SEASON40 + 0.1 * NOISE + TREND
    model.fit(series)
    assert repr(model).endswith("  # difference_=40, season_=40")
    forecast = model.predict()
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.difference_, copy.season_) == (40, 40)
    assert (copy.predict() == forecast).all()
    model.update(NOISE)
    assert model.partial_fit(NOISE).difference_ == 40
    assert not hasattr(clone(model), "difference_")
    with pytest.raises(ValueError, match="at least 64 steps"):
        model.predict(y=NOISE[:63])


@pytest.mark.parametrize(("wave", "season"), [(SEASON12, 12), (SEASON40, 40)])
def test_beats_the_seasonal_naive_forecast_on_a_trend(wave, season):
    """With `difference=0`, forecasts stay in the range of the training data, below the trend."""
    series = wave + 0.3 * NOISE + 0.1 * TIME
    errors = {}
    for difference in ("auto", 0):
        model = LSTMForecaster(24, 12, hidden_size=16, difference=difference, max_updates=300)
        model.set_params(random_state=0).fit(series[:240])
        true, forecasts = model._rolling(series[240 - 24 - model.difference_ :], None)
        errors[difference] = np.abs(true - forecasts).mean()
    naive = np.mean(
        [
            np.abs(series[begin : begin + 12] - series[begin - season + np.arange(12)])
            for begin in range(240, 289)
        ]
    )
    assert errors["auto"] < 0.8 * naive
    assert errors[0] > 2 * errors["auto"]
