"""A grid search over Ray's workers, by joblib, finds what a search in one process finds."""

import numpy as np
import pytest

joblib = pytest.importorskip("joblib")
pytest.importorskip("sklearn")

from lstmcore.sklearn import LSTMClassifier  # noqa: E402
from test_dask import waves  # noqa: E402


@pytest.fixture
def workers():
    ray = pytest.importorskip("ray")  # of the nightly tests alone
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("workers")
def test_grid_search_over_workers_in_processes(rng):
    from sklearn.model_selection import GridSearchCV

    x, y = waves(rng)
    model = LSTMClassifier(hidden_size=6, max_iter=3, random_state=0)
    grid = {"hidden_size": [2, 6], "learning_rate_init": [0.01, 0.001]}
    alone = GridSearchCV(model, grid, cv=2, error_score="raise").fit(x, y)
    with joblib.parallel_config("ray"):
        search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(x, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(search.predict(x), alone.predict(x))
