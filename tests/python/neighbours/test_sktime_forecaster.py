"""The forecaster of sktime: horizons, intervals, exogenous columns, updates."""

import inspect
import pickle

import numpy as np
import pytest

pytest.importorskip("sktime", reason="sktime is not installed")

import pandas as pd
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.model_evaluation import evaluate
from sktime.split import SlidingWindowSplitter

import lstmcore.sklearn
from lstmcore.sktime import LSTMForecaster

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of sktime and pandas
]

QUICK = {
    "window": 8,
    "hidden_size": 8,
    "max_updates": 60,
    "learning_rate_init": 0.02,
    "difference": 0,
    "random_state": 0,
}
MONTHS = pd.period_range("2001-01", periods=203, freq="M")
TIME = np.arange(203)
SWITCH = (np.sin(TIME * TIME) > 0).astype(float)  # the past does not determine the next step
WAVE = pd.Series(50 + 10 * np.sin(TIME / 4), MONTHS, name="load")
DRIVEN = WAVE + 15 * SWITCH
BESIDE = pd.DataFrame({"on": SWITCH, "month": MONTHS.month.astype(float)}, MONTHS)


# ---- horizons and times --------------------------------------------------------------------------


def test_forecasts_are_those_of_the_contained_estimator_at_the_steps_of_fh():
    model = LSTMForecaster(**QUICK).fit(WAVE[:200], fh=[1, 3])
    expected = lstmcore.sklearn.LSTMForecaster(horizon=3, **QUICK).fit(WAVE[:200].to_numpy())
    forecast = model.predict()
    np.testing.assert_array_equal(forecast, expected.predict()[[0, 2]])
    assert forecast.name == "load"
    assert forecast.index.equals(MONTHS[[200, 202]])
    np.testing.assert_allclose(forecast, WAVE.iloc[[200, 202]], atol=2)
    dates = ForecastingHorizon(MONTHS[[200, 202]], is_relative=False)
    absolute = LSTMForecaster(**QUICK).fit(WAVE[:200], fh=dates).predict()
    pd.testing.assert_series_equal(absolute, forecast)
    copy = pickle.loads(pickle.dumps(model))
    pd.testing.assert_series_equal(copy.predict(), forecast)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(5, 208),
        pd.date_range("2001-01-01", periods=203, freq="D"),
        pd.date_range("2001-01-01", periods=203, freq="h"),
    ],
    ids=["range", "days", "hours"],
)
def test_every_index_of_times(index):
    series, beside = DRIVEN.set_axis(index), BESIDE.set_axis(index)
    model = LSTMForecaster(**QUICK)
    model.fit(series.iloc[:200], X=beside.iloc[:200], fh=[1, 2, 3])
    forecast = model.predict(X=beside.iloc[200:])
    assert forecast.index.equals(index[200:])
    expected = LSTMForecaster(**QUICK).fit(DRIVEN[:200], X=BESIDE[:200], fh=[1, 2, 3])
    np.testing.assert_array_equal(forecast, expected.predict(X=BESIDE[200:]))


def test_several_targets_and_their_names():
    pair = pd.DataFrame({"load": WAVE, "other": -WAVE})
    model = LSTMForecaster(**QUICK).fit(pair[:200], fh=[1, 2])
    assert list(model.predict().columns) == ["load", "other"]
    interval = model.predict_interval(coverage=[0.5, 0.9])
    assert interval.columns.tolist() == [
        (name, share, bound)
        for name in ("load", "other")
        for share in (0.5, 0.9)
        for bound in ("lower", "upper")
    ]
    centre = interval["other"].T.groupby(level=0).mean().T
    np.testing.assert_allclose(centre[0.9], model.predict()["other"])
    assert (interval["load"][0.9]["upper"] >= interval["load"][0.5]["upper"]).all()


def test_panels_have_a_model_for_each_series():
    index = pd.MultiIndex.from_product([["a", "b"], MONTHS[:60]])
    values = np.concatenate([WAVE[:60], -WAVE[:60]])
    model = LSTMForecaster(**QUICK).fit(pd.DataFrame({"load": values}, index), fh=[1])
    forecast = model.predict()
    assert forecast.index.tolist() == [("a", MONTHS[60]), ("b", MONTHS[60])]
    alone = LSTMForecaster(**QUICK).fit(-WAVE[:60].to_frame(), fh=[1]).predict()
    np.testing.assert_array_equal(forecast.loc["b"], alone)


def test_the_direct_strategy_needs_the_horizon_in_fit():
    with pytest.raises(ValueError, match="fh"):
        LSTMForecaster(**QUICK).fit(WAVE)


def test_the_recursive_strategy_takes_any_horizon_later():
    model = LSTMForecaster(strategy="recursive", **QUICK)
    assert not model.get_tag("requires-fh-in-fit")
    assert LSTMForecaster().get_tag("requires-fh-in-fit")
    model.fit(WAVE[:200])
    early = LSTMForecaster(strategy="recursive", **QUICK).fit(WAVE[:200], fh=[1, 3])
    pd.testing.assert_series_equal(model.predict(fh=[1, 3]), early.predict())
    assert model.predict(fh=[40]).index.equals(pd.period_range("2020-12", periods=1, freq="M"))
    # 40 steps were held out, and the window is 8.
    assert model.estimator_.errors_.shape == (33, 8, 1)
    assert model.predict_interval(fh=[2, 8]).shape == (2, 2)
    with pytest.raises(ValueError, match="fh: expected at most 8 steps ahead, .* got 9; pass fh"):
        model.predict_interval(fh=[2, 9])


# ---- steps of the past ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"strategy": "recursive"}, {"difference": 2}], ids=str)
def test_steps_of_the_past_are_forecast_one_step_ahead(options):
    """Each as the contained estimator forecasts it from the true steps before."""
    settings = {**QUICK, **options}
    model = LSTMForecaster(**settings).fit(DRIVEN[:100], X=BESIDE[:100], fh=[-99, -60, 0, 2])
    assert model.get_tag("capability:insample")
    forecast = model.predict(X=BESIDE[100:])
    assert forecast.index.equals(MONTHS[[0, 39, 99, 101]])
    assert np.isnan(forecast.iloc[0])  # without a window before it
    values, beside = DRIVEN.to_numpy()[:, None], BESIDE.to_numpy()
    for place, at in ((1, 39), (2, 99)):
        expected = model.estimator_.predict(
            1, beside[at : at + 1], y=values[:at], past_X=beside[:at]
        )
        np.testing.assert_allclose(forecast.iloc[place], expected[0, 0], rtol=1e-5)
    expected = LSTMForecaster(**settings).fit(DRIVEN[:100], X=BESIDE[:100], fh=[2])
    assert forecast.iloc[3] == expected.predict(X=BESIDE[100:]).iloc[0]
    with pytest.raises(NotImplementedError, match="in-sample"):
        model.predict_interval(X=BESIDE[100:])


def test_the_first_steps_have_no_forecast():
    model = LSTMForecaster(**{**QUICK, "difference": 1}).fit(WAVE[:60], fh=-np.arange(60))
    forecast = model.predict()
    assert forecast.isna().sum() == 8 + 1  # the window, and the lag of the differences
    assert forecast[-51:].notna().all()
    assert np.corrcoef(forecast[-51:], WAVE[9:60])[0, 1] > 0.9


def test_steps_of_the_past_include_those_of_updates():
    model = LSTMForecaster(exogenous="past", **QUICK)
    model.fit(DRIVEN[:100], X=BESIDE[:100], fh=[0, 1])
    model.update(DRIVEN[90:120], X=BESIDE[90:120], update_params=False)
    forecast = model.predict()
    assert forecast.index.equals(MONTHS[[119, 120]])
    past = {"y": DRIVEN.to_numpy()[:119, None], "past_X": BESIDE.to_numpy()[:119]}
    expected = model.estimator_.predict(1, **past)
    np.testing.assert_allclose(forecast.iloc[0], expected[0, 0], rtol=1e-5)


# ---- intervals -----------------------------------------------------------------------------------


def test_intervals_have_the_coverage_in_fresh_data():
    noise = np.random.default_rng(3).standard_normal(1500)
    values = np.zeros(1500)
    for step in range(1, 1500):
        values[step] = 0.8 * values[step - 1] + noise[step]
    series = pd.Series(values)
    model = LSTMForecaster(calibration=0.4, **QUICK).fit(series[:600], fh=[1, 2])
    inside = {0.5: [], 0.9: []}
    for end in range(600, 1498, 3):
        bounds = model.predict_interval(coverage=[0.5, 0.9])
        for share, found in inside.items():
            lower, upper = bounds[0][share]["lower"], bounds[0][share]["upper"]
            true = series[bounds.index]
            found.append(((lower <= true) & (true <= upper)).to_numpy())
        model.update(series[end : end + 3], update_params=False)
    for share, found in inside.items():
        # Two standard deviations, of 300 forecasts and of the 239 errors behind the bounds.
        np.testing.assert_allclose(np.mean(found, axis=0), share, atol=0.09)


def test_quantiles_are_bounds_and_in_order():
    model = LSTMForecaster(**QUICK).fit(WAVE[:80], fh=[1, 3])
    shares = [0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999]
    quantiles = model.predict_quantiles(alpha=shares)["load"]
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose(quantiles[0.5], model.predict())
    interval = model.predict_interval(coverage=0.9)["load"][0.9]
    np.testing.assert_allclose(quantiles[[0.05, 0.95]], interval)
    assert (model.predict_var() > 0).all().all()


def test_a_forecaster_without_calibration_says_so():
    model = LSTMForecaster(calibration=None, **QUICK)
    assert not model.get_tag("capability:pred_int")
    model.fit(WAVE[:80], fh=[1])
    assert not hasattr(model.estimator_, "errors_")
    with pytest.raises(NotImplementedError, match="prediction intervals"):
        model.predict_interval()
    with pytest.raises(ValueError, match="calibration: expected a series of at least"):
        LSTMForecaster(**QUICK).fit(WAVE[:9], fh=[1])


# ---- exogenous columns ---------------------------------------------------------------------------


def test_columns_that_are_known_ahead():
    model = LSTMForecaster(**{**QUICK, "max_updates": 300}).fit(
        DRIVEN[:200], X=BESIDE[:200], fh=[3]
    )
    forecast = model.predict(X=BESIDE[200:])
    np.testing.assert_allclose(forecast, DRIVEN[202:], atol=4)
    # Rows that are not needed do not matter, nor does the order of columns.
    wide = BESIDE[["month", "on"]].assign(price=1.0)
    pd.testing.assert_series_equal(model.predict(X=wide), forecast)
    opposite = BESIDE[200:].assign(on=1 - BESIDE["on"][200:])
    assert np.abs(model.predict(X=opposite) - forecast).min() > 5
    with pytest.raises(ValueError, match="X: expected the columns on, month, which fit had, got N"):
        model.predict()
    with pytest.raises(ValueError, match="X: expected the columns on, month.*; missing: month"):
        model.predict(X=BESIDE[["on"]][200:])
    with pytest.raises(ValueError, match="X: expected rows from 2017-09 to 2017-11, .*: 2017-09"):
        model.predict(X=BESIDE[201:])
    without = LSTMForecaster(**QUICK).fit(WAVE[:200], fh=[1])
    with pytest.raises(ValueError, match="X: expected None, since fit had no exogenous columns"):
        without.predict(X=BESIDE[200:])


def test_columns_that_are_known_up_to_now():
    model = LSTMForecaster(exogenous="past", **QUICK)
    model.fit(DRIVEN[:200], X=BESIDE[:200], fh=[1, 2])
    expected = lstmcore.sklearn.LSTMForecaster(horizon=2, exogenous="past", **QUICK)
    expected.fit(DRIVEN[:200].to_numpy(), BESIDE[:200].to_numpy())
    np.testing.assert_array_equal(model.predict(), expected.predict())


# ---- updates -------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [False, True])
def test_updates_append_what_is_new(train):
    model = LSTMForecaster(**QUICK).fit(DRIVEN[:150], X=BESIDE[:150], fh=[1, 2])
    weights = model.estimator_.model_.get_weights()
    # Steps that were seen before do not count twice.
    model.update(DRIVEN[140:170], X=BESIDE[140:170], update_params=train)
    model.update(DRIVEN[150:170], X=BESIDE[150:170], update_params=train)
    assert model.cutoff[0] == MONTHS[169]
    forecast = model.predict(X=BESIDE[170:])
    assert forecast.index.equals(MONTHS[[170, 171]])
    same = [
        (a == b).all() for a, b in zip(weights, model.estimator_.model_.get_weights(), strict=True)
    ]
    assert all(same) != train
    expected = model.estimator_.predict(
        2,
        BESIDE[170:172].to_numpy(),
        y=DRIVEN[:170].to_numpy()[:, None],
        past_X=BESIDE[:170].to_numpy(),
    )
    np.testing.assert_array_equal(forecast, expected[:, 0])
    assert model.predict_interval(X=BESIDE[170:]).shape == (2, 2)


def test_evaluation_by_sktime():
    splits = SlidingWindowSplitter(fh=[1, 2], window_length=150, step_length=20)
    scores = evaluate(LSTMForecaster(**QUICK), splits, WAVE)
    assert len(scores) == 3
    assert scores.filter(like="test_").to_numpy().max() < 0.1  # relative to the values


def test_hyper_parameters_are_those_of_the_contained_estimator():
    own = inspect.signature(LSTMForecaster).parameters
    others = inspect.signature(lstmcore.sklearn.LSTMForecaster).parameters
    left_out = {"horizon", "target", "warm_start"}
    assert list(own) == [name for name in others if name not in left_out]
    assert {name for name in own if own[name] != others[name]} == {"calibration"}
    assert LSTMForecaster().calibration == 0.2
    with pytest.raises(TypeError, match="unexpected argument 'horizon'"):
        LSTMForecaster(horizon=3)
