"""Backtests: each origin sees only its past, and the simple forecasts are what they say."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from lstmcore.sklearn import LSTMForecaster

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
TIME = np.arange(300.0)
SEASONAL = 50 + 10 * np.sin(2 * np.pi * TIME / 12) + RNG.standard_normal(300)


def forecaster(**settings):
    quick = {"hidden_size": 12, "max_updates": 150, "learning_rate_init": 0.01, "random_state": 0}
    return LSTMForecaster(12, 6, **{**quick, "difference": 0, "season": 12, **settings})


def test_forecasts_are_those_of_a_model_that_was_trained_on_the_past():
    model = forecaster()
    result = model.backtest(SEASONAL, start=200, step=20)
    assert not hasattr(model, "model_")  # the forecaster itself is not trained
    origins = range(200, 295, 20)
    np.testing.assert_array_equal(result.origins, origins)
    np.testing.assert_array_equal(result.dates, [np.arange(at, at + 6) for at in origins])
    np.testing.assert_array_equal(result.true[..., 0], SEASONAL[result.dates])
    trained = forecaster().fit(SEASONAL[:200])
    own = [trained.predict(y=SEASONAL[:at]) for at in origins]
    np.testing.assert_array_equal(result.forecasts["LSTM"][..., 0], own)
    again = model.backtest(SEASONAL, start=200, step=60, refit=True)
    later = forecaster().fit(SEASONAL[:260])
    np.testing.assert_array_equal(again.forecasts["LSTM"][1, :, 0], later.predict())


def test_the_simple_forecasts():
    result = forecaster(max_updates=2).backtest(SEASONAL, start=200)
    at = result.dates[:, 0]
    naive = result.forecasts["naive"][..., 0]
    np.testing.assert_array_equal(naive, np.tile(SEASONAL[at - 1][:, None], 6))
    seasonal = result.forecasts["seasonal naive"][..., 0]
    np.testing.assert_array_equal(seasonal, SEASONAL[result.dates - 12])
    # A shorter season than the horizon repeats.
    short = forecaster(max_updates=2, season=4).backtest(SEASONAL, start=200)
    back = np.array([4, 4, 4, 4, 8, 8])
    np.testing.assert_array_equal(
        short.forecasts["seasonal naive"][..., 0], SEASONAL[short.dates - back]
    )


def test_ridge_continues_a_linear_recurrence_exactly():
    """A sine with a trend is a linear function of its last steps, which ridge finds."""
    wave = np.sin(TIME / 3) + 0.1 * TIME
    result = forecaster(max_updates=2).backtest(wave, start=200)
    np.testing.assert_allclose(result.forecasts["ridge"], result.true, atol=0.02)
    assert result.table["ridge"]["MAE"] < 0.01


def test_nothing_of_the_future_is_seen():
    changed = SEASONAL.copy()
    changed[206:] += 1000
    for refit in (False, True):
        options = {"start": 200, "step": 40, "coverage": 0.8, "refit": refit}
        one = forecaster(max_updates=5).backtest(SEASONAL, **options)
        two = forecaster(max_updates=5).backtest(changed, **options)
        for name, values in one.forecasts.items():
            np.testing.assert_array_equal(values[0], two.forecasts[name][0])
            np.testing.assert_array_equal(one.bounds[name][0], two.bounds[name][0])


def test_the_figures_of_the_table():
    result = forecaster(max_updates=5).backtest(SEASONAL, start=200, coverage=0.8)
    errors = np.abs(result.forecasts["naive"] - result.true)
    row = result.table["naive"]
    assert row["MAE"] == errors.mean()
    assert row["RMSE"] == pytest.approx(np.sqrt((errors**2).mean()))
    unit = np.abs(SEASONAL[12:200] - SEASONAL[:188]).mean()
    assert row["MASE"] == pytest.approx(errors.mean() / unit)
    lower, upper = np.moveaxis(result.bounds["naive"], -1, 0)
    inside = (lower <= result.true) & (result.true <= upper)
    assert row["coverage"] == inside.mean()
    assert row["width"] == pytest.approx((upper - lower).mean())
    assert "seasonal naive" in str(result)
    assert repr(result) == f"Backtest of 16 forecasts of 6 steps of 1 target\n{result}"
    assert "coverage" in str(result)
    assert "coverage" not in str(forecaster(max_updates=5).backtest(SEASONAL, start=200))


@pytest.mark.parametrize("loss", ["squared_error", "gaussian", "quantile"])
def test_intervals_cover_and_the_lstm_learns(loss):
    result = forecaster(loss=loss).backtest(SEASONAL, start=220, step=2, coverage=0.9)
    row = result.table["LSTM"]
    assert row["MAE"] < 0.6 * result.table["naive"]["MAE"]
    assert row["coverage"] > 0.7
    # 75 values; noise of deviation 1 alone needs 3.3
    assert 2 < row["width"] < 10


def test_dates_and_frames_of_pandas():
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2021-01-01", periods=300, freq="D")
    holiday = (RNG.random(300) < 0.2).astype(float)
    frame = pd.DataFrame({"load": SEASONAL - 9 * holiday, "holiday": holiday}, days)
    result = forecaster(target="load", max_updates=20).backtest(frame, start=0.8)
    assert (result.dates[0] == days[240:246].to_numpy()).all()
    assert list(result.to_frame().index) == ["LSTM", "naive", "seasonal naive", "ridge"]
    past = forecaster(exogenous="past", max_updates=5)
    assert past.backtest(SEASONAL, holiday, start=0.8).true.shape == (10, 6, 1)


def test_two_targets():
    pair = np.stack([SEASONAL, 2 * SEASONAL[::-1]], axis=1)
    result = forecaster(max_updates=5).backtest(pair, start=200, coverage=0.8)
    assert result.forecasts["ridge"].shape == (16, 6, 2)
    assert result.bounds["LSTM"].shape == (16, 6, 2, 2)
    assert result.unit.shape == (2,)


def test_without_a_season_there_is_no_seasonal_forecast():
    result = forecaster(season=None, max_updates=2).backtest(SEASONAL, start=200)
    assert set(result.forecasts) == {"LSTM", "naive", "ridge"}
    found = forecaster(season="auto", max_updates=2).backtest(SEASONAL, start=200)
    assert found.season == 12


@pytest.fixture
def untrained(monkeypatch):
    """Let training fail."""

    def fail(*arguments, **options):
        raise AssertionError("trained before the arguments were checked")

    monkeypatch.setattr(LSTMForecaster, "fit", fail)


def test_what_cannot_be_tested_is_refused(untrained):
    model = forecaster(max_updates=2)
    with pytest.raises(ValueError, match="y: expected one series, got a list"):
        model.backtest([SEASONAL, SEASONAL])
    with pytest.raises(ValueError, match="start: expected at most 294 of 300 steps"):
        model.backtest(SEASONAL, start=295)
    with pytest.raises(ValueError, match="start"):
        model.backtest(SEASONAL, start=1.5)
    with pytest.raises(ValueError, match="step"):
        model.backtest(SEASONAL, step=0)
    with pytest.raises(ValueError, match="coverage"):
        model.backtest(SEASONAL, coverage=1.0)
    with pytest.raises(ValueError, match="start: expected at least 19 rows .* got 15 of 300"):
        model.backtest(SEASONAL, start=15)
    with pytest.raises(TypeError, match="refit"):
        model.backtest(SEASONAL, refit=2)


def test_what_the_future_would_be_needed_for_is_refused(untrained):
    """Without these checks, negative positions would read from the end of the series."""
    with pytest.raises(ValueError, match="season: expected fewer than the 200 rows .*got 200"):
        forecaster(season=200).backtest(SEASONAL, start=200)
    with pytest.raises(ValueError, match="start: expected at least 225 rows .*measure errors"):
        forecaster(season=180).backtest(SEASONAL, start=200, coverage=0.8)
    with pytest.raises(AssertionError, match="trained"):
        forecaster(season=180).backtest(SEASONAL, start=225, coverage=0.8)


def test_distributions_without_the_bounds_are_refused(untrained):
    with pytest.raises(ValueError, match=r"quantiles: expected some of 0.1, 0.9, .*got 0.25"):
        forecaster(loss="quantile", quantiles=(0.1, 0.9)).backtest(SEASONAL, coverage=0.5)
    with pytest.raises(ValueError, match="coverage: expected None for strategy='recursive'"):
        forecaster(loss="gaussian", strategy="recursive").backtest(SEASONAL, coverage=0.5)


@pytest.mark.parametrize("options", [{}, {"coverage": 0.8}])
@pytest.mark.parametrize("settings", [{}, {"difference": 12}, {"calibration": 0.5}])
def test_the_error_says_how_many_rows_are_enough(options, settings):
    """As many rows as the error asks for are enough, and one less is refused."""
    model = forecaster(season=None, max_updates=1, **settings)
    with pytest.raises(ValueError, match="start: expected at least") as caught:
        model.backtest(SEASONAL, start=13, **options)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    with pytest.raises(ValueError, match=f"start: expected at least {least} rows"):
        model.backtest(SEASONAL, start=least - 1, **options)
    result = model.backtest(SEASONAL[: least + 6], start=least, **options)
    assert result.true.shape == (1, 6, 1)


def test_errors_name_the_target():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"load": SEASONAL[:25], "day": TIME[:25]})
    message = r"rows of y \(target load\) .* got 17 of 25; y has too few rows, 31 are needed"
    with pytest.raises(ValueError, match=message):
        forecaster(target="load", difference="auto").backtest(frame, coverage=0.9)


def emerging(future=None):
    """Return a wave of 50 steps, of which the first 65 steps show too little to detect it."""
    y = 3 * np.sin(TIME * 2 * np.pi / 50) + 0.3 * np.random.default_rng(1).standard_normal(300)
    if future is not None:
        walk = np.random.default_rng(2).standard_normal(300 - future)
        y[future:] = y[future - 1] + np.cumsum(walk)
    return y


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("difference", ["auto", 0])
def test_what_is_found_at_an_origin_is_found_in_its_past(refit, difference):
    """The season and the lag, which the later steps change, are those of each origin."""
    model = LSTMForecaster(3, 2, max_updates=2, random_state=0, difference=difference)
    options = {"start": 65, "step": 150, "refit": refit, "coverage": 0.8}
    result = model.backtest(emerging(), **options)
    assert result.season is result.seasons[0] is None
    assert set(result.seasons) == ({None, 50} if refit else {None})
    assert ("seasonal naive" in result.forecasts) == refit
    for number, origin in enumerate([65, 215]):
        other = model.backtest(emerging(origin + 2), **options)
        np.testing.assert_array_equal(other.unit, result.unit)
        assert other.seasons[: number + 1] == result.seasons[: number + 1]
        for name in {*result.forecasts} & {*other.forecasts}:
            known = slice(number + 1)
            np.testing.assert_array_equal(
                other.forecasts[name][known], result.forecasts[name][known]
            )
            np.testing.assert_array_equal(other.bounds[name][known], result.bounds[name][known])


def test_a_season_that_is_found_later_is_repeated_from_then_on():
    result = LSTMForecaster(3, 2, max_updates=2, random_state=0).backtest(
        emerging(), start=40, step=60, refit=True
    )
    seasons = result.seasons
    assert seasons[0] is None
    assert seasons[-1] == 50
    back = [1 if season is None else season for season in seasons]
    np.testing.assert_array_equal(
        result.forecasts["seasonal naive"][:, 0, 0], emerging()[result.dates[:, 0] - back]
    )


def test_start_is_any_share_or_number_or_a_label():
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2021-01-01", periods=300, freq="D")
    model = forecaster(max_updates=1)

    def first(start, index=days):
        return model.backtest(pd.Series(SEASONAL, index), start=start, step=100).dates[0, 0]

    for share in (0.8, np.float32(0.8), np.float64(0.8), np.array(0.8), Fraction(4, 5)):
        assert first(share) == days[240]
    for number in (240, np.int16(240), np.array(240)):
        assert first(number) == days[240]
    when = days[240]
    for label in (when, str(when.date()), when.date(), when.to_pydatetime(), when.to_datetime64()):
        assert first(label) == when
    assert first("2021-09") == pd.Timestamp("2021-09-01")
    months = days.to_period("D")
    assert first(months[240], months) == months[240]
    texts = pd.Index([f"day {number // 2}" for number in range(300)])  # each twice
    assert first("day 120", texts) == "day 120"
    assert model.backtest(pd.Series(SEASONAL, texts), start="day 120").true.shape[0] == 10


def test_starts_that_are_none_are_refused(untrained):
    pd = pytest.importorskip("pandas")
    model = forecaster()
    dated = pd.Series(SEASONAL, pd.date_range("2021-01-01", periods=300, freq="D"))
    with pytest.raises(TypeError, match="start: expected a share .* got '2021-01-05'"):
        model.backtest(SEASONAL, start="2021-01-05")
    for wrong in (True, np.True_):
        with pytest.raises(TypeError, match="start: expected a share of the steps, their number"):
            model.backtest(dated, start=wrong)
    for wrong in ("2031-01-05", "soon", [1], None):
        with pytest.raises(ValueError, match="label of the index of y, such as 2021-05-31"):
            model.backtest(dated, start=wrong)
    with pytest.raises(ValueError, match="start: expected steps of y before the first forecast"):
        model.backtest(dated, start="2021-01-01")
    with pytest.raises(ValueError, match=r"start: expected a number in \(0, 1\), got 1.5"):
        model.backtest(SEASONAL, start=np.float32(1.5))
