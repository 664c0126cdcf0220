"""The forecaster of aeon: the forecasts of the contained estimator."""

import inspect
import pickle

import numpy as np
import pytest

pytest.importorskip("aeon", reason="aeon is not installed")

import lstmcore.sklearn
from lstmcore.aeon import LSTMForecaster

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"window": 8, "hidden_size": 8, "max_updates": 60, "learning_rate_init": 0.02}
QUICK |= {"difference": 0, "random_state": 0}
WAVE = 50 + 10 * np.sin(np.arange(203) / 4)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_a_forecast_is_the_last_of_the_contained_estimator(strategy):
    model = LSTMForecaster(horizon=3, strategy=strategy, **QUICK).fit(WAVE[:200])
    expected = lstmcore.sklearn.LSTMForecaster(horizon=3, strategy=strategy, **QUICK)
    expected.fit(WAVE[:200])
    assert model.predict(WAVE[:200]) == expected.predict()[2]
    assert model.predict(WAVE[:100]) == expected.predict(y=WAVE[:100])[2]  # of another series
    assert abs(model.predict(WAVE[:200]) - WAVE[202]) < 2
    assert model.predict(WAVE[None, :100], axis=1) == model.predict(WAVE[:100, None], axis=0)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.predict(WAVE[:100]) == model.predict(WAVE[:100])


def test_the_ways_to_forecast_several_steps():
    at_once = LSTMForecaster(**QUICK).series_to_series_forecast(WAVE[:200], 3)
    expected = lstmcore.sklearn.LSTMForecaster(horizon=3, **QUICK).fit(WAVE[:200]).predict()
    np.testing.assert_array_equal(at_once, expected)
    by_steps = LSTMForecaster(**QUICK).iterative_forecast(WAVE[:200], 3)
    expected = lstmcore.sklearn.LSTMForecaster(**QUICK).fit(WAVE[:200]).predict(3)
    np.testing.assert_allclose(by_steps, expected, rtol=1e-5)
    by_models = LSTMForecaster(**QUICK).direct_forecast(WAVE[:200], 2)
    second = LSTMForecaster(horizon=2, **QUICK).forecast(WAVE[:200])
    assert by_models[1] == second
    assert np.abs(by_models - WAVE[200:202]).max() < 2


def test_hyper_parameters_are_those_of_the_contained_estimator():
    own = inspect.signature(LSTMForecaster).parameters
    others = inspect.signature(lstmcore.sklearn.LSTMForecaster).parameters
    left_out = {"target", "exogenous", "calibration", "warm_start"}
    assert list(own) == [name for name in others if name not in left_out]
    assert all(own[name] == others[name] for name in own)
    with pytest.raises(TypeError, match="unexpected argument 'hiden_size'.* 'hidden_size'"):
        LSTMForecaster(hiden_size=3)
    with pytest.raises(ValueError, match="y: expected at least 8 steps"):
        LSTMForecaster(**QUICK).fit(WAVE).predict(WAVE[:7])
    with pytest.raises(ValueError, match=r"[Mm]ultivariate"):
        LSTMForecaster(**QUICK).fit(np.stack([WAVE, WAVE]))
    with pytest.raises(ValueError, match=r"[Ee]xogenous"):
        LSTMForecaster(**QUICK).fit(WAVE, exog=WAVE)
