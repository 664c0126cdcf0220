"""The claims of docs/scikit-learn.md: default settings learn from small data sets.

Each fit takes a few seconds, since the claims are about the whole default budget. That page names
the other data sets on which the defaults were chosen.
"""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.neighbors import KNeighborsClassifier

import lstmcore as lc
from lstmcore.sklearn import LSTMClassifier, LSTMForecaster, LSTMRegressor


@pytest.fixture(autouse=True)
def one_thread():
    """Use one thread, which suits small models in small batches."""
    threads = lc.get_num_threads()
    lc.set_num_threads(1)
    yield
    lc.set_num_threads(threads)


def shipped(name, *arguments):
    """Load a data set that the package aeon contains, without a download."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from aeon and its dependencies
        datasets = pytest.importorskip("aeon.datasets", reason="aeon is not installed")
        return getattr(datasets, f"load_{name}")(*arguments)


@pytest.mark.parametrize("name", ["gunpoint", "italy_power_demand", "arrow_head", "basic_motions"])
def test_no_worse_than_the_nearest_neighbour(name):
    """Means of three seeds are 0.004 to 0.4 above the neighbour; one seed may be 0.02 below.

    The tolerance is this variation between seeds. Without the budget, the pooling and the slopes,
    scores are 0.04 to 0.35 below the neighbour on the first three data sets.
    """
    (x, y), (test_x, test_y) = shipped(name, "train"), shipped(name, "test")
    near = KNeighborsClassifier(1).fit(x.reshape(len(x), -1), y)
    x, test_x = x.transpose(0, 2, 1), test_x.transpose(0, 2, 1)  # aeon puts the channels first
    accuracy = LSTMClassifier(random_state=0).fit(x, y).score(test_x, test_y)
    assert accuracy >= near.score(test_x.transpose(0, 2, 1).reshape(len(test_x), -1), test_y) - 0.02


def test_airline():
    """Forecasts are better than repeating the last year, unlike those without differences."""
    series = np.asarray(shipped("airline"), dtype=np.float64).ravel()
    train, season = series[:96], 12
    errors = {}
    for difference in ("auto", 0):
        model = LSTMForecaster(horizon=12, difference=difference, random_state=0).fit(train)
        assert model.season_ == season
        true, forecasts = model._rolling(series[96 - 24 - model.difference_ :], None)
        errors[difference] = np.abs(true - forecasts).mean()
    begins = np.arange(96, 133)
    naive = np.mean([np.abs(series[t : t + 12] - series[t - 12 : t]) for t in begins])
    assert errors["auto"] < 0.7 * naive  # 0.44 to 0.47 of it with three seeds
    assert errors[0] > 1.1 * naive


def test_a_regression():
    """Predict the speed of noisy waves from 60 of 100 steps; the nearest neighbour has R^2 0.89."""
    random, time = np.random.default_rng(3), np.arange(100) / 100

    def waves(count):
        speed = random.uniform(2, 8, count)
        phase = random.uniform(size=(count, 1))
        noise = 0.3 * random.standard_normal((count, 100))
        return np.sin(2 * np.pi * (speed[:, None] * time + phase)) + noise, speed

    (x, y), (test_x, test_y) = waves(60), waves(300)
    assert LSTMRegressor(random_state=0).fit(x, y).score(test_x, test_y) > 0.98
