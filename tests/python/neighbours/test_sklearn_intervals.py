"""Prediction intervals whose errors `fit` measures itself."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from scipy import stats
from sklearn.base import clone

from lstmcore.sklearn import LSTMForecaster
from lstmcore.sklearn.intervals import half_widths

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {
    "window": 8,
    "hidden_size": 8,
    "max_updates": 60,
    "learning_rate_init": 0.02,
    "difference": 0,
    "random_state": 0,
}
WAVE = 50 + 10 * np.sin(np.arange(200) / 4) + np.random.default_rng(1).standard_normal(200)


def autoregressive(steps, seed):
    """Return x_t = 0.8 x_(t - 1) + noise, of which the best forecast of h steps is 0.8^h x_t."""
    noise = np.random.default_rng(seed).standard_normal(steps + 50)
    values = np.zeros(steps + 50)
    for step in range(1, steps + 50):
        values[step] = 0.8 * values[step - 1] + noise[step]
    return values[50:]


# ---- widths --------------------------------------------------------------------------------------


def test_widths_are_order_statistics_as_far_as_these_go():
    errors = np.sort(np.random.default_rng(0).exponential(size=(19, 3, 2)), axis=0)
    np.testing.assert_array_equal(half_widths(errors, 0.0, extrapolate=False), np.zeros((3, 2)))
    np.testing.assert_array_equal(half_widths(errors, 0.5, extrapolate=False), errors[9])
    np.testing.assert_array_equal(half_widths(errors, 0.95, extrapolate=False), errors[18])
    with pytest.raises(ValueError, match="coverage: expected at most 0.95 after .* 19 forecasts"):
        half_widths(errors, 0.96, extrapolate=False)


@pytest.mark.parametrize("count", [1, 5])
def test_extrapolated_widths_have_the_coverage_for_normal_errors(count):
    """The next error of the same distribution is within them with the requested probability."""
    random = np.random.default_rng(count)
    errors = np.sort(np.abs(random.standard_normal((count, 1, 100_000))), axis=0)
    following = np.abs(random.standard_normal((1, 100_000)))
    widths = half_widths(errors, 0.95, extrapolate=True)
    assert 0.947 < (following <= widths).mean() < 0.953  # more than four standard deviations
    root = np.sqrt((errors**2).mean(axis=0))
    expected = np.maximum(stats.t.ppf(0.975, count) * root, errors[-1])
    np.testing.assert_allclose(widths, expected, rtol=1e-12)


def test_widths_increase_with_the_coverage():
    errors = np.sort(np.abs(stats.t.rvs(1, size=(9, 1, 1), random_state=2)), axis=0)
    shares = np.linspace(0, 0.999, 200)
    widths = [half_widths(errors, share, extrapolate=True).item() for share in shares]
    assert (np.diff(widths) >= 0).all()
    assert widths[-1] > errors.max()
    zeros = half_widths(np.zeros((3, 1, 1)), 0.99, extrapolate=True)
    assert 0 <= zeros.item() < 1e-300
    huge = half_widths(np.full((3, 1, 1), 1e200), 0.99, extrapolate=True)
    assert np.isfinite(huge).all()


# ---- calibration by fit --------------------------------------------------------------------------


def test_intervals_of_fit_have_the_coverage_in_fresh_data():
    model = LSTMForecaster(horizon=3, calibration=0.4, **QUICK).fit(autoregressive(600, seed=0))
    assert model.errors_.shape == (238, 3, 1)
    fresh = autoregressive(2000, seed=7)
    ends = range(8, 1997)
    bounds = np.array(model.predict_interval(y=[fresh[end - 8 : end] for end in ends]))
    true = np.array([fresh[end : end + 3] for end in ends])
    inside = (bounds[..., 0] <= true) & (true <= bounds[..., 1])
    np.testing.assert_allclose(inside.mean(axis=0), 0.9, atol=0.03)
    # Not by being too wide: these are the widths of the best possible forecasts.
    best = 1.645 * np.sqrt([1, 1.64, 1.64 + 0.8**4])
    np.testing.assert_allclose(np.diff(bounds[0])[:, 0] / 2, best, rtol=0.2)


def test_errors_are_those_of_a_second_model_on_steps_that_it_has_not_seen():
    model = LSTMForecaster(horizon=4, calibration=0.25, **QUICK).fit(WAVE)
    second = LSTMForecaster(horizon=4, **QUICK).fit(WAVE[:150]).calibrate(WAVE[142:])
    np.testing.assert_array_equal(model.errors_, second.errors_)
    plain = LSTMForecaster(horizon=4, **QUICK).fit(WAVE)
    np.testing.assert_array_equal(model.predict(), plain.predict())


def test_at_least_the_horizon_is_held_out():
    model = LSTMForecaster(horizon=20, calibration=0.01, **QUICK).fit(WAVE)
    assert model.errors_.shape == (1, 20, 1)
    with pytest.raises(ValueError, match="coverage: expected at most 0.5"):
        model.predict_interval()
    assert np.isfinite(model.predict_interval(extrapolate=True)).all()


def test_series_of_a_list_of_different_lengths():
    pair = [np.column_stack([WAVE, -WAVE]), np.column_stack([WAVE, -WAVE])[:20]]
    model = LSTMForecaster(horizon=2, calibration=0.5, **QUICK).fit(pair)
    # 100 steps of the first, whose windows end before 99 pairs; 10 of the second, and 9 pairs.
    assert model.errors_.shape == (108, 2, 2)
    assert [one.shape for one in model.predict_interval()] == [(2, 2, 2), (2, 2, 2)]


def test_columns_of_a_frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"load": WAVE, "on": np.arange(200.0) % 2})
    named = LSTMForecaster(horizon=2, calibration=0.3, target="load", **QUICK).fit(frame)
    plain = LSTMForecaster(horizon=2, calibration=0.3, **QUICK).fit(WAVE, frame[["on"]])
    np.testing.assert_array_equal(named.errors_, plain.errors_)
    assert named.n_exogenous_ == 1


def test_a_calibration_that_fails_changes_nothing():
    model = LSTMForecaster(horizon=2, calibration=0.3, **QUICK).fit(WAVE)
    before = model.predict_interval()
    with pytest.raises(ValueError, match="calibration: expected a series of at least 15 steps"):
        model.fit(WAVE[:12])
    with pytest.raises(ValueError, match="calibration: expected a number in"):
        clone(model).set_params(calibration=1.0).fit(WAVE)
    np.testing.assert_array_equal(model.predict_interval(), before)
    with pytest.raises(ValueError, match=r"needs calibrate\(y\) first"):
        LSTMForecaster(horizon=2, **QUICK).fit(WAVE).predict_interval()
    # Further training changes the model that the errors are about.
    assert not hasattr(model.partial_fit(WAVE[:10]), "errors_")
