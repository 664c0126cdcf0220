"""Forecasters that learn quantiles or a normal distribution of each value."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from scipy.stats import norm

from lstmcore import losses
from lstmcore.sklearn import LSTMForecaster
from lstmcore.sklearn.distributions import constant_loss, with_changes_summed

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
TIME = np.arange(600.0)
NOISE = 0.5
WAVE = 10 + 3 * np.sin(TIME / 4) + NOISE * RNG.standard_normal(600)
QUICK = {"window": 12, "hidden_size": 12, "max_updates": 150, "learning_rate_init": 0.01}


def forecaster(loss, **settings):
    return LSTMForecaster(
        **{**QUICK, "horizon": 4, "loss": loss, "difference": 0, "random_state": 0, **settings}
    )


# ---- the losses, in closed form ------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.05, 0.5, 0.8])
def test_the_pinball_loss_of_normal_draws_has_its_closed_form(level):
    """Its minimum over constants is the density at the quantile (of a standard normal)."""
    draws = norm.ppf((np.arange(200_000) + 0.5) / 200_000)[:, None]
    output = np.full_like(draws, norm.ppf(level))
    value, _ = losses.Quantile(level).sum(draws, output)
    assert value / len(draws) == pytest.approx(norm.pdf(norm.ppf(level)), rel=1e-4)


@pytest.mark.parametrize("value", [-1.3, 0.0, 2.0])
def test_the_mean_over_quantiles_is_half_the_crps_of_a_normal(value):
    """The closed form of Gneiting & Raftery 2007."""
    count = 2000
    levels = (np.arange(count) + 0.5) / count
    mean, deviation = 0.3, 1.7
    outputs = (mean + deviation * norm.ppf(levels))[None]
    pinball, _ = losses.Quantile(levels).sum(np.array([[value]]), outputs)
    z = (value - mean) / deviation
    crps = deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert 2 * pinball == pytest.approx(crps, rel=2e-3)


@pytest.mark.parametrize("loss", [losses.Quantile([0.1, 0.5, 0.9]), losses.GaussianNLL()])
def test_gradients_match_finite_differences(loss):
    units = 6
    outputs = RNG.standard_normal((4, units))
    targets = RNG.standard_normal((4, loss.target_width(units)))
    weights = np.array([1.0, 2.0, 0.0, 0.5])
    _, gradient = loss.sum(targets, outputs, weights, 1.0, True)
    for place in np.ndindex(outputs.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = outputs.copy()
            moved[place] += step
            values.append(loss.sum(targets, moved, weights)[0])
        assert gradient[place] == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-8)


@pytest.mark.parametrize("loss", ["quantile", "gaussian", "squared_error"])
def test_no_constant_output_has_a_lower_loss(loss):
    targets = RNG.gamma(2.0, size=(400, 2))
    model = forecaster(loss, quantiles=[0.1, 0.5])
    least = constant_loss(model, targets)
    if loss == "quantile":
        outputs = np.quantile(targets, [0.1, 0.5], axis=0).T.ravel()
        found, width = losses.Quantile([0.1, 0.5]), 4
    elif loss == "gaussian":
        raw = np.log(np.expm1(targets.var(axis=0)))
        outputs, found, width = np.concatenate([targets.mean(axis=0), raw]), losses.GaussianNLL(), 4
    else:
        outputs, found, width = targets.mean(axis=0), losses.MeanSquaredError(), 2

    def value(row):
        return found.sum(targets, np.tile(row, (400, 1)))[0] / 400

    assert value(outputs) == pytest.approx(least, rel=1e-5)
    for _ in range(20):
        assert value(outputs + 0.1 * RNG.standard_normal(width)) >= least - 1e-9


# ---- forecasts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["quantile", "gaussian"])
@pytest.mark.parametrize("beside", [False, True])
def test_quantiles_cover_their_share(loss, beside):
    x = (RNG.random(600) < 0.5).astype(float) if beside else None
    series = WAVE + (2 * x if beside else 0)
    model = forecaster(loss).fit(series[:450], None if x is None else x[:450])
    below = []
    for at in range(450, 596, 3):
        given = {} if x is None else {"past_X": x[:at], "X": x[at : at + 4]}
        found = model.predict_quantiles(quantiles=[0.05, 0.5, 0.95], y=series[:at], **given)
        assert found.shape == (4, 3)
        below.append(series[at : at + 4, None] <= found)
    shares = np.mean(below, axis=(0, 1))
    # 196 values: the deviation of a share of 0.5 is 0.036; the model itself is off by less.
    np.testing.assert_allclose(shares, [0.05, 0.5, 0.95], atol=0.13)
    width = found[:, 2] - found[:, 0]
    ratio = width / (2 * 1.645 * NOISE)
    # A little wider, since the mean is learnt from few data, too.
    assert 0.5 < ratio.min() < ratio.max() < 2.2


@pytest.mark.parametrize("loss", ["quantile", "gaussian"])
def test_the_middle_is_the_forecast(loss):
    model = forecaster(loss).fit(WAVE[:300])
    middle = model.predict_quantiles(quantiles=[0.5])
    np.testing.assert_allclose(middle[:, 0], model.predict(), rtol=1e-6)
    assert model.predict_quantiles().shape == (4, 5)
    assert (np.diff(model.predict_quantiles(), axis=1) >= 0).all()
    assert model.predict_quantiles(2).shape == (2, 5)
    # The interval without a calibration is made of two quantiles.
    pair = model.predict_quantiles(quantiles=[0.05, 0.95])
    np.testing.assert_array_equal(model.predict_interval(coverage=0.9), pair)
    assert model.score(WAVE[250:]) > 0.8


def test_a_calibration_replaces_the_quantiles_as_bounds():
    model = forecaster("gaussian", calibration=0.3).fit(WAVE)
    middle = model.predict_interval(coverage=0.8).mean(axis=1)
    np.testing.assert_allclose(middle, model.predict())
    assert model.errors_.shape[1] == 4


@pytest.mark.parametrize("loss", ["quantile", "gaussian"])
@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_two_targets_with_a_trend_in_units_of_the_series(loss, strategy):
    pair = np.stack([5 * TIME, 1000 + 40 * np.sin(TIME / 4)], axis=1)
    pair += np.random.default_rng(1).standard_normal(pair.shape)
    model = forecaster(loss, strategy=strategy, difference=1, max_updates=300).fit(pair[:500])
    np.testing.assert_allclose(model.predict(), pair[500:504], atol=20)
    assert model.predict(9).shape == (9, 2)
    assert model.predict_quantiles(model.steps_).shape == (model.steps_, 2, 5)


def test_the_uncertainty_of_a_random_walk_grows_with_the_square_root_of_the_horizon():
    walk = np.cumsum(RNG.standard_normal(1500))
    model = forecaster("gaussian", difference=1, max_updates=200).fit(walk)
    low, high = model.predict_quantiles(quantiles=[0.16, 0.84]).T
    ratio = (high - low) / (high - low)[0]
    np.testing.assert_allclose(ratio, np.sqrt([1, 2, 3, 4]), rtol=0.25)


def test_changes_are_summed_beyond_the_first_season():
    values = np.arange(2 * 7.0).reshape(1, 7, 2)
    summed = with_changes_summed(values, 2, 2)
    np.testing.assert_array_equal(summed[:, :4], values[:, :4])
    np.testing.assert_array_equal(summed[0, 4], values[0, 2] + values[0, 4])
    np.testing.assert_array_equal(summed[0, 6], values[0, 2] + values[0, 4] + values[0, 6])
    assert with_changes_summed(values, 2, 5) is values
    assert with_changes_summed(values, 2, 0) is values


def test_targets_of_a_forecaster_stay_apart():
    """Without exogenous columns, too, where one row of outputs has all steps and targets."""
    pair = np.stack([np.sin(TIME / 4), 50 + 9 * np.cos(TIME / 5)], axis=1)
    model = forecaster("squared_error", horizon=3, max_updates=300).fit(pair[:500])
    assert (np.abs(model.predict() - pair[500:503]) < [0.3, 3]).all()


def test_early_stopping_measures_the_points():
    model = forecaster("quantile", early_stopping=True, max_updates=None, max_iter=5)
    assert max(model.fit(WAVE).validation_scores_) > 0.3


# ---- refusals ------------------------------------------------------------------------------------


def test_levels_that_cannot_be_answered_are_refused():
    model = forecaster("quantile", max_updates=2).fit(WAVE[:100])
    with pytest.raises(ValueError, match=r"quantiles: expected some of 0.05, .*got 0.3; set"):
        model.predict_quantiles(quantiles=[0.5, 0.3])
    with pytest.raises(ValueError, match=r"quantiles: expected some of .*got 0.4"):
        model.predict_interval(coverage=0.2)
    with pytest.raises(ValueError, match=r"quantiles: expected a sequence of levels, got \[\]"):
        model.predict_quantiles(quantiles=[])
    with pytest.raises(ValueError, match="quantiles"):
        model.predict_quantiles(quantiles=[1.0])
    with pytest.raises(ValueError, match="horizon: expected at most 4, which the model forecasts"):
        model.predict_quantiles(5)
    plain = forecaster("squared_error", max_updates=2).fit(WAVE[:100])
    with pytest.raises(ValueError, match=r"expected a forecaster with loss='quantile' or"):
        plain.predict_quantiles()


@pytest.mark.parametrize("quantiles", [[], [0.5, 0.5], [0.0], [1.2], 0.5])
def test_impossible_levels_are_refused_before_training(quantiles):
    with pytest.raises(ValueError, match="quantiles: expected"):
        forecaster("quantile", quantiles=quantiles).fit(WAVE)


def test_the_meaning_of_outputs_cannot_change_after_fit():
    model = forecaster("quantile", max_updates=2, quantiles=np.array([0.2, 0.5])).fit(WAVE[:100])
    model.partial_fit(WAVE[100:120])
    model.set_params(quantiles=[0.1, 0.5])
    with pytest.raises(ValueError, match=r"quantiles: expected \[0.2, 0.5\], which the model was"):
        model.predict()
    with pytest.raises(ValueError, match="loss: expected 'quantile', which the model was made"):
        model.set_params(quantiles=[0.2, 0.5], loss="gaussian").predict_quantiles()
    plain = forecaster("squared_error", max_updates=2).fit(WAVE[:100])
    before = plain.predict()
    assert (plain.set_params(loss="absolute_error", quantiles=[0.3]).predict() == before).all()
    with pytest.raises(ValueError, match="loss: expected 'squared_error or absolute_error'"):
        plain.set_params(loss="gaussian").predict()


def test_a_horizon_beyond_the_known_columns_is_refused():
    x = (RNG.random(100) < 0.5).astype(float)
    model = forecaster("gaussian", max_updates=2).fit(WAVE[:100], x)
    with pytest.raises(ValueError, match="X: expected 6 steps, one for each forecast, got 4"):
        model.predict(6, X=x[:4])
    with pytest.raises(ValueError, match="X: expected the 1 exogenous columns of 4 steps"):
        model.predict_quantiles()
    past = forecaster("gaussian", max_updates=2, exogenous="past").fit(WAVE[:100], x)
    with pytest.raises(ValueError, match=r"horizon: expected at most 4, since the exogenous"):
        past.predict(5)
