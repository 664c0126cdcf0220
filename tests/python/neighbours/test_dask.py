"""A grid search over Dask's workers, by joblib, finds what a search in one process finds."""

import numpy as np
import pytest

joblib = pytest.importorskip("joblib")
distributed = pytest.importorskip("dask.distributed")
pytest.importorskip("sklearn")

from lstmcore.sklearn import LSTMClassifier  # noqa: E402


def waves(rng):
    """Draw sines of two frequencies."""
    kinds = np.arange(40) % 2
    steps = np.arange(12)
    phases = rng.uniform(0, 6, 40)
    x = np.sin((0.5 + kinds[:, None]) * steps + phases[:, None])[:, :, None]
    return x.astype("float32"), kinds


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_grid_search_over_workers_in_processes(rng):
    from sklearn.model_selection import GridSearchCV

    x, y = waves(rng)
    model = LSTMClassifier(hidden_size=6, max_iter=3, random_state=0)
    grid = {"hidden_size": [2, 6], "learning_rate_init": [0.01, 0.001]}
    alone = GridSearchCV(model, grid, cv=2, error_score="raise").fit(x, y)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(x, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(search.predict(x), alone.predict(x))
