"""The estimators pass sktime's own checks."""

import pytest

pytest.importorskip("sktime", reason="sktime is not installed")

from sktime.utils.estimator_checks import check_estimator

from lstmcore.sktime import LSTMClassifier, LSTMForecaster, LSTMRegressor

pytestmark = pytest.mark.filterwarnings("ignore")

COMMON = ["test_constructor", "test_clone"]


@pytest.mark.parametrize(
    ("kind", "checks"),
    [
        (LSTMClassifier, ["test_classifier_output"]),
        (LSTMRegressor, ["test_regressor_output"]),
        (LSTMForecaster, ["test_predict_time_index", "test_update_predict_single"]),
    ],
)
def test_some_checks_of_sktime(kind, checks):
    wanted = COMMON + checks
    results = check_estimator(kind, raise_exceptions=False, tests_to_run=wanted, verbose=False)
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}
    assert {name.split("[")[0] for name in results} == set(wanted)


# The forecaster's take a minute or two: over a thousand are trained.
@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "least"), [(LSTMClassifier, 30), (LSTMRegressor, 30), (LSTMForecaster, 100)]
)
def test_the_checks_of_sktime(kind, least):
    results = check_estimator(kind, raise_exceptions=False, verbose=False)
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}
    assert len(results) > least
