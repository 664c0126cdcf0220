"""How long the estimators train, in which batches, and when they warn that it was not enough."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.exceptions import ConvergenceWarning

from lstmcore.sklearn import LSTMClassifier, LSTMForecaster, LSTMRegressor
from lstmcore.sklearn.budget import EPOCHS, UPDATES, plan, warn_unless_converged

ARRAY = np.random.default_rng(0).standard_normal((40, 5, 2))
SUMS = ARRAY[:, :, 0].sum(axis=1)
LABELS = (SUMS > 0).astype(int)


# ---- batches, epochs, updates --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "size"),
    # Powers of two, up to a quarter of the rows, from 8 to 32; never more than the number of rows.
    [(3, 3), (31, 8), (36, 8), (63, 8), (64, 16), (127, 16), (128, 32), (100000, 32)],
)
def test_batch_size_by_rows(rows, size):
    assert plan(LSTMClassifier(), rows, incremental=False).batch_size == size
    assert plan(LSTMClassifier(batch_size=20), rows, incremental=False).batch_size == min(20, rows)


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor, LSTMForecaster])
def test_epochs_and_updates(kind):
    def epochs(rows=40, **settings):  # batches of 8, so 5 in an epoch
        budget = plan(kind(**settings), rows, incremental=False)
        assert budget.updates == budget.epochs * -(-rows // budget.batch_size)
        return budget.epochs

    assert epochs() == (300 if kind is LSTMForecaster else UPDATES) // 5
    assert epochs(rows=10**6) == EPOCHS
    assert epochs(max_iter=7) == 7
    assert epochs(max_updates=30) == 6
    assert epochs(max_updates=31) == 7
    assert epochs(max_iter=3, max_updates=31) == 3
    assert epochs(max_iter=9, max_updates=31) == 7
    assert plan(kind(), 40, incremental=True).epochs == 1


def test_patience():
    def patience(**settings):
        return plan(LSTMRegressor(**settings), 40, incremental=False).patience

    assert patience(max_iter=100) == 25
    assert patience(max_iter=4) == 10
    assert patience(max_iter=100, n_iter_no_change=3) == 3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_epochs_and_updates_are_counted():
    model = LSTMClassifier(4, max_updates=12, random_state=0).fit(ARRAY, LABELS)
    assert (model.n_iter_, model.n_updates_, len(model.loss_curve_)) == (3, 15, 3)
    model.partial_fit(ARRAY, LABELS)
    assert (model.n_iter_, model.n_updates_) == (4, 20)
    forecaster = LSTMForecaster(5, difference=0, max_updates=2).fit(np.sin(np.arange(40.0)))
    assert (forecaster.n_iter_, forecaster.n_updates_) == (1, 5)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_early_stopping_keeps_the_last_of_equal_epochs(monkeypatch):
    model = LSTMClassifier(4, max_iter=6, early_stopping=True, random_state=0)
    scores, weights = iter([0.5, 1.0, 0.5, 1.0, 0.5, 0.5]), []

    def score(self, targets, outputs, sample_weights):
        weights.append(self.model_.get_weights())
        return next(scores)

    monkeypatch.setattr(LSTMClassifier, "_validation_score", score)
    model.fit(ARRAY, LABELS)
    assert model.validation_scores_ == [0.5, 1.0, 0.5, 1.0, 0.5, 0.5]
    final = model.model_.get_weights()
    assert all((a == b).all() for a, b in zip(final, weights[3], strict=True))
    assert not all((a == b).all() for a, b in zip(final, weights[1], strict=True))


# ---- not converged -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "constant", "match"),
    [
        (np.linspace(1.0, 0.2, 100), 1.0, "is still falling, from 0.446 to 0.244 in the last"),
        ([1.0, 0.5], 1.0, "is still falling, from 1 to 0.5"),
        ([0.7] * 100, 0.693, "0.7, is not below the 0.693 of one constant output"),
        ([0.68], 0.693, "hardly below"),
        ([5.0, 4.0, 3.0, 2.0], None, "after 77 updates"),
    ],
)
def test_warns(losses, constant, match):
    with pytest.warns(ConvergenceWarning, match=match):
        warn_unless_converged(list(losses), constant, 77)


@pytest.mark.parametrize(
    ("losses", "constant"),
    [
        (0.01 + np.exp(-np.arange(100) / 15), 1.0),  # flat at the end
        ([1.0] * 10 + [0.01] * 10, 1.0),
        ([0.1], 1.0),  # one epoch shows nothing
        (np.zeros(20), 0.0),  # a constant target
        ([0.5] * 20, None),
        ([*[1.0] * 4, 0.3, 0.001], 1.0),  # still falling, but negligible
        ([*[0.1] * 30, 0.6, *[0.1] * 9], 1.0),  # one jump
    ],
)
def test_does_not_warn(losses, constant):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unless_converged(list(losses), constant, 77)


def test_estimators_warn():
    settings = {"hidden_size": 8, "max_updates": 20, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match="20 updates"):
        LSTMClassifier(**settings).fit(ARRAY, LABELS)
    with pytest.warns(ConvergenceWarning, match="20 updates"):
        LSTMRegressor(**settings).fit(ARRAY, SUMS)
    wave = np.sin(np.arange(60) / 4)
    with pytest.warns(ConvergenceWarning, match="20 updates"):
        LSTMForecaster(19, learning_rate_init=1e-4, **settings).fit(wave)
    # With the rest of the budget they converge; one epoch of `partial_fit` never warns.
    settings["max_updates"] = 600
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LSTMClassifier(**settings).fit(ARRAY, LABELS)
        LSTMRegressor(**settings).fit(ARRAY, SUMS)
        LSTMForecaster(19, **settings).fit(wave)
        LSTMRegressor(**settings).partial_fit(ARRAY, SUMS)
        LSTMRegressor(**settings).fit(ARRAY, np.full(40, 3.0))


def test_no_warning_if_the_penalty_prevents_learning():
    model = LSTMRegressor(8, solver="adam", alpha=100.0, max_updates=600, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(ARRAY, SUMS)
    assert model.loss_ > 0.95  # the penalty, not a lack of training, keeps the loss high


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_loss_of_a_constant_output(loss):
    targets, weights = np.array([[0.0, 1.0], [2.0, 1.0], [7.0, 4.0]]), np.array([1.0, 1.0, 1.0])
    model = LSTMRegressor(loss=loss)
    outputs = np.linspace(0.0, 7.0, 701)[:, None, None]
    errors = np.abs(targets - outputs)
    if loss == "squared_error":
        errors = errors**2
    best = errors.mean(axis=1).min(axis=0).mean()
    np.testing.assert_allclose(model._constant_loss(targets, weights), best, rtol=1e-5)

    model = LSTMClassifier()
    model.classes_ = np.arange(4)
    labels, weights = np.array([0, 1, 1, 2]), np.array([1.0, 0.5, 0.5, 2.0])  # shares 1, 1, 2
    expected = np.log(4) / 4 * 2 + np.log(2) / 2
    np.testing.assert_allclose(model._constant_loss(labels, weights), expected, rtol=1e-12)
