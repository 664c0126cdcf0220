"""Estimators of aeon: its own checks, and the same results as those of scikit-learn's room."""

import inspect
import pickle

import numpy as np
import pytest

pytest.importorskip("aeon", reason="aeon is not installed")

from aeon.testing.estimator_checking import check_estimator
from aeon.utils.conversion import convert_collection
from sklearn.model_selection import GridSearchCV, cross_val_predict

import lstmcore.aeon
import lstmcore.sklearn

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Data seen by instance"),  # about constant channels
]

SMALL = {"hidden_size": 3, "max_iter": 2, "random_state": 0}
RANDOM = np.random.default_rng(0)
EVEN = RANDOM.standard_normal((8, 2, 7))  # (N, C, T)
RAGGED = [RANDOM.standard_normal((2, length)) for length in (3, 8, 5, 5, 9, 4, 3, 6)]
LABELS = np.array(["a", "b"] * 4)
PAIRS = [
    (lstmcore.aeon.LSTMClassifier, lstmcore.sklearn.LSTMClassifier, LABELS),
    (lstmcore.aeon.LSTMRegressor, lstmcore.sklearn.LSTMRegressor, np.arange(8.0)),
]
KINDS = [kind for kind, _, _ in PAIRS]


@pytest.mark.filterwarnings("ignore")  # the checks fit constant series and much else
@pytest.mark.parametrize(
    ("kind", "least"), [*((kind, 20) for kind in KINDS), (lstmcore.aeon.LSTMForecaster, 15)]
)
def test_the_checks_of_aeon(kind, least):
    results = check_estimator(kind)
    assert [(name, result) for name, result in results.items() if result != "PASSED"] == [
        (name, result) for name, result in results.items() if str(result).startswith("No stored")
    ]
    assert sum(result == "PASSED" for result in results.values()) >= least


@pytest.mark.parametrize(("kind", "contained", "targets"), PAIRS)
@pytest.mark.parametrize("panel", [EVEN, RAGGED], ids=["even", "ragged"])
def test_the_same_results_with_channels_first(kind, contained, targets, panel):
    model = kind(**SMALL).fit(panel, targets)
    steps_first = [series.T for series in panel]
    expected = contained(**SMALL).fit(steps_first, targets)
    np.testing.assert_array_equal(model.predict(panel), expected.predict(steps_first))
    if kind is lstmcore.aeon.LSTMClassifier:
        probabilities = expected.predict_proba(steps_first)
        np.testing.assert_array_equal(model.predict_proba(panel), probabilities)
    assert model.score(panel, targets) == expected.score(steps_first, targets)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(panel), model.predict(panel))


@pytest.mark.parametrize(("kind", "contained", "targets"), PAIRS)
def test_other_collections_of_aeon(kind, contained, targets):
    model = kind(**SMALL).fit(EVEN, targets)
    expected = model.predict(EVEN)
    for name in ("np-list", "df-list", "pd-multiindex"):
        collection = convert_collection(EVEN, name)
        np.testing.assert_array_equal(model.predict(collection), expected)
    table = EVEN[:, 0]  # (N, T): one channel
    alone = kind(**SMALL).fit(table, targets)
    np.testing.assert_array_equal(alone.predict(EVEN[:, :1]), alone.predict(table))


def test_it_learns():
    time = np.arange(30.0)
    phases = np.random.default_rng(1).uniform(0, 6, 120)
    labels = np.arange(120) % 2
    waves = np.sin(time * (0.5 + 0.3 * labels[:, None]) + phases[:, None])[:, None]
    model = lstmcore.aeon.LSTMClassifier(8, max_updates=150, random_state=0)
    model.fit(waves[:80], labels[:80])
    assert model.score(waves[80:], labels[80:]) > 0.95
    search = GridSearchCV(model, {"hidden_size": [4, 8]}, cv=2, error_score="raise")
    assert search.fit(waves[:80], labels[:80]).best_score_ > 0.9
    predicted = cross_val_predict(model, waves, labels, cv=2, method="predict_proba")
    assert ((predicted[:, 1] > 0.5) == labels).mean() > 0.9


@pytest.mark.parametrize(("kind", "contained", "targets"), PAIRS)
def test_hyper_parameters_are_those_of_the_contained_estimator(kind, contained, targets):
    own, others = inspect.signature(kind).parameters, inspect.signature(contained).parameters
    assert list(own) == [name for name in others if name != "warm_start"]
    assert all(own[name] == others[name] for name in own)
    assert kind(12).hidden_size == 12
    for name in ("hidden_size", "cell_options", "learning_rate_init"):
        assert f"\n{name}" in inspect.getdoc(kind) or f", {name}" in inspect.getdoc(kind)
    with pytest.raises(TypeError, match="unexpected argument 'hiden_size'.* 'hidden_size'"):
        kind(hiden_size=3)
    with pytest.raises(TypeError, match="unexpected argument 'warm_start'"):
        kind(warm_start=True)
    with pytest.raises(TypeError, match="too many positional arguments"):
        kind(3, 4)
    with pytest.raises(ValueError, match="pooling: expected one of"):
        kind(pooling="sum").fit(EVEN, targets)
