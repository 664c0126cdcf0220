"""The forecaster: windows, strategies, exogenous columns, units, and what is refused."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.utils.estimator_checks import estimator_checks_generator

from lstmcore.sklearn import LSTMForecaster

# Most fits here are cut short on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_size": 4, "max_iter": 1, "difference": 0}

QUICK = {"window": 12, "hidden_size": 8, "max_iter": 4, "learning_rate_init": 0.02}
TIME = np.arange(240.0)
WAVE = 500 + 20 * np.sin(TIME / 4)
SWITCH = (np.sin(TIME * TIME) > 0).astype(float)  # the past does not determine the next step
DRIVEN = WAVE + 30 * SWITCH


def forecaster(**settings):
    return LSTMForecaster(**{**QUICK, "random_state": 0, "difference": 0, **settings})


def same(a, b):
    pairs = zip(a.model_.get_weights(), b.model_.get_weights(), strict=True)
    return all((x == y).all() for x, y in pairs)


# ---- forecasts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
@pytest.mark.parametrize("difference", [0, 1, 25])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_forecasts_in_units_of_the_series(strategy, difference, loss):
    model = forecaster(
        horizon=6, strategy=strategy, difference=difference, loss=loss, max_iter=25
    ).fit(WAVE[:200])
    forecast = model.predict()
    assert forecast.shape == (6,)
    assert forecast.dtype == np.float64
    np.testing.assert_allclose(forecast, WAVE[200:206], atol=6)
    assert model.predict(20).shape == (20,)
    assert (model.predict(20)[:6] == forecast).all()
    assert (model.predict(2) == forecast[:2]).all()
    assert model.score(WAVE[150:]) > 0.8
    assert model.steps_ == (6 if strategy == "direct" else 1)


def test_differences_follow_a_trend():
    trend = WAVE + 5 * TIME
    model = forecaster(horizon=4, difference=1, max_iter=15).fit(trend[:150])
    np.testing.assert_allclose(model.predict(y=trend[:236]), trend[236:], atol=8)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_uses_columns_that_are_known_ahead(strategy):
    model = forecaster(horizon=5, strategy=strategy, hidden_size=16, max_iter=25)
    model.fit(DRIVEN[:200], SWITCH[:200])
    on = model.predict(X=np.ones(5))
    off = model.predict(X=np.zeros(5))
    np.testing.assert_allclose(on - off, 30, atol=10)
    assert model.score(DRIVEN[150:], SWITCH[150:]) > 0.85
    blind = forecaster(horizon=5, exogenous="past", hidden_size=16, max_iter=25)
    assert blind.fit(DRIVEN[:200], SWITCH[:200]).score(DRIVEN[150:], SWITCH[150:]) < 0.6


def test_past_columns_predict_the_series():
    delayed = np.concatenate([np.zeros(4), SWITCH[:-4]]) + 7
    model = forecaster(horizon=4, exogenous="past", hidden_size=16, max_iter=40)
    model.fit(delayed[:200], SWITCH[:200])
    assert model.score(delayed[150:], SWITCH[150:]) > 0.8
    with pytest.raises(ValueError, match=r"X: expected None, since exogenous='past'"):
        model.predict(X=np.zeros(4))
    with pytest.raises(ValueError, match="horizon: expected at most 4"):
        model.predict(5)


def test_several_targets_and_series():
    two = np.column_stack([WAVE, -WAVE / 1000])
    model = forecaster(horizon=3, max_iter=15).fit(two[:200])
    assert model.predict(7).shape == (7, 2)
    np.testing.assert_allclose(model.predict()[:, 1], two[200:203, 1], atol=0.02)

    with pytest.warns(UserWarning, match="1 of 3 series, the first at 2, .*not trained on"):
        many = forecaster(horizon=3).fit([WAVE[:100], WAVE[20:150], WAVE[:5]])
    first, second = many.predict(4, y=[WAVE[:100], WAVE[20:150]])
    assert (first == many.predict(4, y=WAVE[:100])).all()
    assert (second == many.predict(4, y=WAVE[:150])).all()
    with pytest.raises(ValueError, match="at least 12 steps.*got 5 in series 2"):
        many.predict()
    assert (forecaster(horizon=3).fit([WAVE[:100]]).predict(2)[0].shape) == (2,)


def test_contents_of_windows():
    model = forecaster(window=3, horizon=2, scale=None, max_iter=1)
    model.fit(np.arange(8.0), np.arange(8.0) + 100)
    series = model._read(np.arange(8.0), np.arange(8.0) + 100, False)
    inputs, targets = model._windows(series)
    assert model._count_windows(series) == [4]
    assert inputs.shape == (4, 5, 3)
    expected = [[0, 100, 0], [1, 101, 0], [2, 102, 0], [0, 103, 1], [0, 104, 1]]
    assert inputs[0].tolist() == expected
    assert targets[0, 3:, 0].tolist() == [3, 4]
    assert model._step_weights(1)[0].tolist() == [0, 0, 0, 2.5, 2.5]

    plain = forecaster(window=3, horizon=2, difference=2, scale=None, max_iter=1)
    squares = np.arange(9.0) ** 2
    plain.fit(squares)
    inputs, targets = plain._windows(plain._read(squares, None, False))
    assert inputs[0, :, 0].tolist() == [4, 8, 12]
    assert targets[0].tolist() == [16, 20]


# ---- intervals -----------------------------------------------------------------------------------


def test_intervals_have_the_requested_coverage():
    time = np.arange(2000.0)
    noisy = np.sin(time / 4) + 0.5 * np.random.default_rng(0).standard_normal(2000)
    model = forecaster(horizon=2, max_iter=5).fit(noisy[:200])
    model.calibrate(noisy[200:1200])
    true, forecasts = model._rolling(noisy[1200:], None)
    inside = np.abs(true - forecasts) <= model.errors_[int(np.ceil(988 * 0.8)) - 1]
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=0.05)
    first = model.predict_interval(coverage=0.8, y=noisy[1200:1212])
    assert (
        (first[:, 0] <= true[0, :, 0]) & (true[0, :, 0] <= first[:, 1]) == inside[0, :, 0]
    ).all()

    model = forecaster(horizon=2).fit(WAVE[:120])
    with pytest.raises(ValueError, match="needs calibrate"):
        model.predict_interval()
    model.calibrate(WAVE[106:190])
    assert model.errors_.shape == (71, 2, 1)
    forecast, pair = model.predict(), model.predict_interval()
    np.testing.assert_allclose(pair.mean(axis=1), forecast)
    # Of 71 errors and a future one, the 65th is the smallest that nine in ten do not exceed.
    np.testing.assert_allclose(pair[:, 1] - forecast, model.errors_[64, :, 0])
    assert model.predict_interval(1).shape == (1, 2)
    with pytest.raises(ValueError, match="coverage: expected at most 0.986"):
        model.predict_interval(coverage=0.99)
    with pytest.raises(ValueError, match="coverage"):
        model.predict_interval(coverage=1.0)
    with pytest.raises(ValueError, match="horizon: expected at most 2"):
        model.predict_interval(3)
    assert not hasattr(model.fit(WAVE), "errors_")

    two = forecaster(horizon=3).fit([np.column_stack([WAVE, WAVE])] * 2)
    two.calibrate(np.column_stack([WAVE, WAVE]))
    assert [one.shape for one in two.predict_interval()] == [(3, 2, 2), (3, 2, 2)]


# ---- new steps -----------------------------------------------------------------------------------


def test_update_and_partial_fit():
    model = forecaster(horizon=3).fit(WAVE[:150])
    weights = model.model_.get_weights()
    model.update(WAVE[150:160]).update(WAVE[160:161])
    assert (model.predict() == model.predict(y=WAVE[:161])).all()
    assert all((a == b).all() for a, b in zip(weights, model.model_.get_weights(), strict=True))
    model.partial_fit(WAVE[161:180])
    assert not all((a == b).all() for a, b in zip(weights, model.model_.get_weights(), strict=True))
    assert model.n_iter_ == 5
    assert (model.predict() == model.predict(y=WAVE[:180])).all()
    with pytest.raises(ValueError, match="expected 1 series that continue"):
        model.update([WAVE[:5], WAVE[:5]])

    begun = forecaster(horizon=3, max_iter=1, learning_rate="constant")
    assert same(clone(begun).fit(WAVE[:150]), clone(begun).partial_fit(WAVE[:150]))


def test_partial_fit_sees_each_new_window_once():
    model = forecaster(horizon=3, batch_size=1000).fit(WAVE[:150])
    series = model._continued(model._read(WAVE[150:157], None, False))
    assert len(model._windows(series)[0]) == 7


def test_early_stopping_and_warm_start():
    model = forecaster(
        horizon=2, max_iter=100, early_stopping=True, n_iter_no_change=3, learning_rate="constant"
    ).fit(WAVE)
    assert model.n_iter_ < 100
    assert len(model.validation_scores_) == model.n_iter_
    early, late = model._parts([20, 10])
    assert np.flatnonzero(late).tolist() == [18, 19, 29]
    assert np.flatnonzero(~(early | late)).tolist() == [17, 28]

    warm = forecaster(warm_start=True).fit(WAVE)
    warm.fit(WAVE)
    assert len(warm.loss_curve_) == 8
    with pytest.raises(ValueError, match="window: expected 12"):
        warm.set_params(window=10).fit(WAVE)
    with pytest.raises(ValueError, match="window: expected 12"):
        warm.predict()


# ---- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    frame = frames.DataFrame({"on": SWITCH, "load": DRIVEN, "day": TIME % 7})
    model = forecaster(horizon=3, target="load").fit(frame[:200])
    assert list(model.feature_names_in_) == ["load", "on", "day"]
    other = np.column_stack([SWITCH, TIME % 7])
    plain = forecaster(horizon=3).fit(DRIVEN[:200], other[:200])
    assert same(model, plain)
    expected = plain.predict(X=other[200:203])
    assert (model.predict(X=frame[200:203]) == expected).all()
    assert (model.predict(X=frame[["day", "on"]][200:203]) == expected).all()
    assert (model.predict(X=other[200:203], y=frame[50:200]) == expected).all()
    assert model.score(frame[150:]) == plain.score(DRIVEN[150:], other[150:])
    assert model.predict(X=frame[203:206], y=frame[:203]).shape == (3,)

    named = [frame["load"], frame["day"]]  # series with different names
    assert len(forecaster(horizon=3).fit(named).predict()) == 2
    both = forecaster(horizon=3, target=["load", "day"]).fit(frame[:200])
    assert both.predict(X=frame[200:203]).shape == (3, 2)
    alone = forecaster(horizon=3).fit(frame["load"])
    assert same(alone, forecaster(horizon=3).fit(DRIVEN))
    with pytest.raises(ValueError, match="target: expected columns of y, which are on, load, day"):
        forecaster(target="price").fit(frame)
    again = model.predict(X=frame[200:203], y=frame[["day", "load", "on"]][:200])
    assert (again == expected).all()
    both_again = both.predict(X=frame[200:203], y=frame[["day", "on", "load"]][:200])
    assert (both_again == both.predict(X=frame[200:203])).all()
    two = forecaster(horizon=3).fit(frame[["load", "day"]][:200], frame[["on"]][:200])
    mixed = two.predict(
        X=frame[200:203], y=frame[["day", "load"]][:200], past_X=frame[["on"]][:200]
    )
    assert (mixed == two.predict(X=frame[200:203])).all()
    renamed = frames.DataFrame({"day": TIME[:30], "load": DRIVEN[:30], "off": TIME[:30]})
    with pytest.raises(ValueError, match="expected the columns on, day, got day, off"):
        model.update(renamed)
    if library == "pandas":
        twice = frame.rename(columns={"day": "on"})
        with pytest.raises(ValueError, match="columns: expected different names, got on more than"):
            forecaster(target="load").fit(twice)
    with pytest.raises(ValueError, match="X: expected None, since the columns of y"):
        forecaster(target="load").fit(frame, other)


@pytest.mark.parametrize(
    ("settings", "y", "x", "match"),
    [
        ({}, WAVE[:12], None, "at least 13 steps"),
        ({"difference": 3}, WAVE[:15], None, "at least 16 steps"),
        ({}, np.full(50, np.nan), None, "NaN"),
        ({}, np.zeros((5, 5, 5)), None, r"shape \(T,\) or \(T, columns\)"),
        ({}, WAVE, SWITCH[:9], "X: expected 240 steps like y, got 9"),
        ({}, [WAVE, WAVE], SWITCH, "X: expected a list of 2"),
        ({}, [WAVE, WAVE], [SWITCH], "X: expected a list of 2"),
        ({}, [WAVE, WAVE[:, None]], None, r"shape \(T,\) like the first"),
        ({}, [WAVE[:, None], np.zeros((20, 2))], None, "1 columns as before, got 2"),
        ({"target": "load"}, WAVE, None, "y: expected a frame"),
        ({"window": 0}, WAVE, None, "window"),
        ({"horizon": 0}, WAVE, None, "horizon"),
        ({"difference": -1}, WAVE, None, "difference"),
        ({"difference": "yes"}, WAVE, None, 'difference: expected "auto" or an integer'),
        ({"season": 1}, WAVE, None, "season: expected an integer of at least 2"),
        ({"season": "year"}, WAVE, None, 'season: expected "auto"'),
        ({"strategy": "both"}, WAVE, None, "strategy"),
        ({"exogenous": "future"}, WAVE, None, "exogenous"),
        ({"loss": "huber"}, WAVE, None, "loss"),
        ({"scale": "series"}, WAVE, None, "scale"),
        ({"early_stopping": True, "horizon": 115}, WAVE, None, "validation_fraction"),
    ],
)
def test_refused(settings, y, x, match):
    with pytest.raises(ValueError, match=match):
        forecaster(**settings).fit(y, x)


def test_refused_forecasts():
    with pytest.raises(NotFittedError):
        forecaster().predict()
    model = forecaster(horizon=3).fit(WAVE)
    with pytest.raises(ValueError, match="the model has no exogenous columns"):
        model.predict(X=np.zeros(3))
    with pytest.raises(ValueError, match="past_X: expected None without y"):
        model.predict(past_X=np.zeros(3))
    with pytest.raises(ValueError, match="horizon"):
        model.predict(0)
    with pytest.raises(ValueError, match="at least 15 steps"):
        model.score(WAVE[:14])
    driven = forecaster(horizon=3).fit(DRIVEN, SWITCH)
    with pytest.raises(ValueError, match="the 1 exogenous columns of 3 steps, got None"):
        driven.predict()
    with pytest.raises(ValueError, match="X: expected 3 steps, one for each forecast, got 2"):
        driven.predict(X=np.zeros(2))
    with pytest.raises(ValueError, match="X: expected 1 columns as before, got 2"):
        driven.predict(X=np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("y", "error", "match"),
    [
        (None, TypeError, "y: expected a series of numbers, got None"),
        ("wave", TypeError, "y: expected a series of numbers, got "),
        ({"load": WAVE}, TypeError, "y: expected a series of numbers, got "),
        ([], ValueError, "y: expected a series, or a list of them, got an empty one"),
        (7.0, ValueError, r"y: expected shape \(T,\) or \(T, columns\), got \(\)"),
    ],
)
def test_no_series(y, error, match):
    with pytest.raises(error, match=match):
        forecaster().fit(y)
    with pytest.raises(TypeError, match="dense"):
        forecaster().fit(csr_matrix(np.eye(20)))


def test_a_series_is_not_a_horizon():
    model = forecaster().fit(WAVE)
    for wrong in (WAVE, [1.0, 2.0]):
        with pytest.raises(TypeError, match=r"horizon: expected an integer, .*predict\(y=series\)"):
            model.predict(wrong)


# ---- with scikit-learn's tools -------------------------------------------------------------------


# `fit` takes y first, where scikit-learn's checks pass X, and `predict` takes a horizon, which they
# do not know. Besides, scipy cannot make a sparse series of one axis in all of its formats.
OTHER_SIGNATURES = {
    "check_estimator_sparse_array",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit1d",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
}


def checks():
    for instance, check in estimator_checks_generator(LSTMForecaster(2, **SMALL)):
        name = getattr(check, "func", check).__name__
        if name not in OTHER_SIGNATURES:
            yield pytest.param(instance, check, id=name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_common_checks(estimator, check):
    check(estimator)


def test_grid_search_over_time():
    grid = {"hidden_size": [4, 8]}
    split = TimeSeriesSplit(2, test_size=40)
    search = GridSearchCV(forecaster(horizon=2), grid, cv=split, error_score="raise").fit(WAVE)
    assert search.best_params_["hidden_size"] in (4, 8)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()

    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"on": SWITCH, "load": DRIVEN})
    beside = forecaster(horizon=2, target="load")
    search = GridSearchCV(beside, grid, cv=split, error_score="raise").fit(frame)
    assert search.best_estimator_.n_exogenous_ == 1


def test_copies_and_seeds():
    model = forecaster(horizon=3, target=None, difference=2).fit(DRIVEN, SWITCH)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.predict(X=np.ones(3)) == model.predict(X=np.ones(3))).all()
    assert (copy.update(DRIVEN, SWITCH).predict(X=np.ones(3)) == copy.predict(X=np.ones(3))).all()
    assert same(model, clone(model).fit(DRIVEN, SWITCH))
    assert not same(model, clone(model).set_params(random_state=1).fit(DRIVEN, SWITCH))
