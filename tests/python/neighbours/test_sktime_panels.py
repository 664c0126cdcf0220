"""Classifier and regressor of sktime: the same results as elsewhere."""

import inspect
import pickle

import numpy as np
import pytest

pytest.importorskip("sktime", reason="sktime is not installed")

import pandas as pd
from sktime.datatypes import convert_to

import lstmcore.sklearn
import lstmcore.sktime

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of sktime and pandas
]

SMALL = {"hidden_size": 3, "max_iter": 2, "random_state": 0}
RANDOM = np.random.default_rng(0)
EVEN = RANDOM.standard_normal((8, 2, 7))  # (N, C, T)
RAGGED = [
    pd.DataFrame(RANDOM.standard_normal((length, 2)), columns=["a", "b"])
    for length in (3, 8, 5, 5, 9, 4, 3, 6)
]
LABELS = np.array(["a", "b"] * 4)
PAIRS = [
    (lstmcore.sktime.LSTMClassifier, lstmcore.sklearn.LSTMClassifier, LABELS),
    (lstmcore.sktime.LSTMRegressor, lstmcore.sklearn.LSTMRegressor, np.arange(8.0)),
]


@pytest.mark.parametrize(("kind", "contained", "targets"), PAIRS)
def test_the_same_results_from_every_panel(kind, contained, targets):
    model = kind(**SMALL).fit(EVEN, targets)
    steps_first = EVEN.transpose(0, 2, 1)
    expected = contained(**SMALL).fit(list(steps_first), targets)
    np.testing.assert_array_equal(model.predict(EVEN), expected.predict(steps_first))
    if kind is lstmcore.sktime.LSTMClassifier:
        probabilities = expected.predict_proba(steps_first)
        np.testing.assert_array_equal(model.predict_proba(EVEN), probabilities)
    for name in ("nested_univ", "pd-multiindex", "df-list"):
        panel = convert_to(EVEN, name)
        np.testing.assert_array_equal(model.predict(panel), model.predict(EVEN))
        again = kind(**SMALL).fit(panel, targets)
        np.testing.assert_array_equal(again.predict(EVEN), model.predict(EVEN))
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(EVEN), model.predict(EVEN))


@pytest.mark.parametrize(("kind", "contained", "targets"), PAIRS)
def test_series_of_different_lengths(kind, contained, targets):
    model = kind(**SMALL).fit(RAGGED, targets)
    expected = contained(**SMALL).fit(RAGGED, targets).predict(RAGGED)
    np.testing.assert_array_equal(model.predict(RAGGED), expected)
    assert model.columns_ == ["a", "b"]
    # Columns are found by their names.
    swapped = [frame[["b", "a"]] for frame in RAGGED]
    np.testing.assert_array_equal(model.predict(swapped), expected)


@pytest.mark.parametrize(("kind", "contained", "targets"), PAIRS)
def test_hyper_parameters_are_those_of_the_contained_estimator(kind, contained, targets):
    own, others = inspect.signature(kind).parameters, inspect.signature(contained).parameters
    assert list(own) == [name for name in others if name != "warm_start"]
    assert set(kind().get_params()) == set(own)
    with pytest.raises(TypeError, match="unexpected argument 'hiden_size'.* 'hidden_size'"):
        kind(hiden_size=3)
