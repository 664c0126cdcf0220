"""Typos in the estimators' arguments: the error suggests what was probably meant."""

import inspect
from typing import get_args

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from lstmcore import _typing
from lstmcore.sklearn import LSTMClassifier, LSTMForecaster, LSTMRegressor
from lstmcore.sklearn.base import POOLING_LAYERS
from lstmcore.sklearn.regressor import LOSSES

X, Y = np.zeros((8, 5)), np.arange(8) % 2
every = pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor, LSTMForecaster])


@every
@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("hiden_size", "hidden_size"),
        ("num_layer", "num_layers"),
        ("learning_rate_int", "learning_rate_init"),
        ("randomstate", "random_state"),
        ("max_update", "max_updates"),
    ],
)
def test_arguments(kind, typo, meant):
    said = f"{typo!r}; did you mean {meant!r}\\?$"
    with pytest.raises(TypeError, match=f"^{kind.__name__}: unexpected argument {said}"):
        kind(**{typo: 3})
    with pytest.raises(ValueError, match=f"^Invalid parameter {typo!r} .*; did you mean {meant!r}"):
        kind().set_params(**{typo: 3})


@every
def test_unknown_names_list_the_valid_ones(kind):
    with pytest.raises(
        TypeError, match="unexpected argument 'xyz'; expected .*hidden_size, .*dtype"
    ):
        kind(xyz=3)
    with pytest.raises(ValueError, match=r"^Invalid parameter 'xyz' .*\]\.$"):
        kind().set_params(xyz=3)


def test_typos_of_a_search():
    search = GridSearchCV(LSTMClassifier(), {"hiden_size": [2]}, cv=2)
    with pytest.raises(ValueError, match="did you mean 'hidden_size'"):
        search.fit(X, Y)
    with pytest.raises(ValueError, match="did you mean 'hidden_size'"):
        make_pipeline(LSTMClassifier()).set_params(lstmclassifier__hiden_size=2)


WORDS = [
    ("pooling", "maxx", "max"),
    ("scale", "standart", "standard"),
    ("solver", "adamm", "adam"),
    ("learning_rate", "one-cycle", "onecycle"),
    ("loss", "square_error", "squared_error"),
    ("strategy", "recursiv", "recursive"),
    ("exogenous", "knwon", "known"),
    ("class_weight", "balance", "balanced"),
]


@pytest.mark.parametrize(
    ("kind", "name", "typo", "meant"),
    [
        (kind, *entry)
        for kind in (LSTMClassifier, LSTMRegressor, LSTMForecaster)
        for entry in WORDS
        if entry[0] in inspect.signature(kind).parameters
    ],
)
def test_words(kind, name, typo, meant):
    series = (np.arange(40.0),) if kind is LSTMForecaster else (X, Y)
    with pytest.raises(ValueError, match=f"{name}: expected .*; did you mean {meant!r}"):
        kind(**{name: typo}).fit(*series)


def test_typed_words_match_the_tables():
    assert set(get_args(_typing.Pooling)) == {"last", *POOLING_LAYERS}
    assert set(get_args(_typing.RegressionLoss)) == set(LOSSES)
