"""The estimators with scikit-learn's own tools, and the effects of their hyper-parameters."""

import pickle
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

import lstmcore as lc
from lstmcore.sklearn import LSTMClassifier, LSTMForecaster, LSTMRegressor

# Most fits here are cut short on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"hidden_size": 8, "max_iter": 8, "learning_rate_init": 0.02, "random_state": 0}
EXPECTED_FAILED_CHECKS = {
    "check_sample_weight_equivalence_on_dense_data": "batches and their order differ with the "
    "number of samples, as for every estimator that is trained in random batches",
}


def sequences(count=60, channels=2, seed=0, lengths=(4, 12)):
    """Make ragged sequences, and labels: whether their first channel is positive or negative."""
    random = np.random.default_rng(seed)
    rows = [random.standard_normal((random.integers(*lengths), channels)) for _ in range(count)]
    labels = np.array([row[0, 0] > 0 for row in rows])
    for row in rows:
        row[:, 0] = np.abs(row[:, 0]) * (1 if row[0, 0] > 0 else -1)
    return rows, labels


def same(a, b):
    return all(
        (x == y).all() for x, y in zip(a.model_.get_weights(), b.model_.get_weights(), strict=True)
    )


# ---- scikit-learn's own checks -------------------------------------------------------------------


def checks():
    settings = {"hidden_size": 16, "max_iter": 25, "learning_rate_init": 0.02, "batch_size": 16}
    for estimator in (LSTMClassifier(**settings), LSTMRegressor(**settings)):
        for instance, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            yield pytest.param(instance, check, name, id=f"{type(estimator).__name__}-{name}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check", "name"), list(checks()))
def test_common_checks(estimator, check, name):
    if name in EXPECTED_FAILED_CHECKS:
        with pytest.raises(AssertionError):
            check(estimator)
        return
    check(estimator)


def test_kinds():
    assert is_classifier(LSTMClassifier())
    assert is_regressor(LSTMRegressor())


def test_name_does_not_shadow():
    code = (
        "import lstmcore, sys; assert 'sklearn' not in sys.modules; import lstmcore.sklearn, "
        "sklearn; assert sklearn.__version__ and sklearn is not lstmcore.sklearn"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "try:\n    import lstmcore.sklearn\n"
        "except ImportError as error:\n    assert 'pip install scikit-learn' in str(error)\n"
        "else:\n    raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- forms of input ------------------------------------------------------------------------------


def test_forms_of_input_are_equivalent():
    random = np.random.default_rng(0)
    array = random.standard_normal((40, 6, 3))
    y = array[:, 0, 0] > 0
    whole = LSTMClassifier(**QUICK).fit(array, y)
    listed = LSTMClassifier(**QUICK).fit(list(array), y)
    objects = np.empty(40, dtype=object)
    objects[:] = list(array)
    as_objects = LSTMClassifier(**QUICK).fit(objects, y)
    nested = LSTMClassifier(**QUICK).fit(array.tolist(), y)
    assert same(whole, listed)
    assert same(whole, as_objects)
    assert same(whole, nested)
    expected = whole.predict_proba(array)
    assert (listed.predict_proba(array) == expected).all()
    assert (whole.predict_proba(list(array)) == expected).all()
    assert (whole.predict_proba(list(array)[:1]) == expected[:1]).all()
    assert whole.n_features_in_ == whole.n_channels_ == 3


def test_series_of_one_channel():
    random = np.random.default_rng(0)
    table = random.standard_normal((40, 9))
    y = table.mean(axis=1)
    flat = LSTMRegressor(**QUICK).fit(table, y)
    deep = LSTMRegressor(**QUICK).fit(table[..., None], y)
    listed = LSTMRegressor(**QUICK).fit(list(table), y)
    assert same(flat, deep)
    assert same(flat, listed)
    assert (flat.n_features_in_, deep.n_features_in_) == (9, 1)
    assert (flat.predict(list(table)) == deep.predict(table)).all()
    assert len(listed.predict([row[:5].tolist() for row in table])) == 40
    assert len(deep.predict(table[:, :4])) == 40
    with pytest.raises(ValueError, match="4 features, but LSTMRegressor is expecting 9"):
        flat.predict(table[:, :4])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    table = np.random.default_rng(0).standard_normal((30, 4))
    y = table[:, 0] > 0
    frame = frames.DataFrame({f"t{step}": table[:, step] for step in range(4)})
    model = LSTMClassifier(**QUICK).fit(frame, frames.Series(y))
    assert same(model, LSTMClassifier(**QUICK).fit(table, y))
    assert (model.predict(frame) == LSTMClassifier(**QUICK).fit(table, y).predict(table)).all()
    if hasattr(model, "feature_names_in_"):  # set if scikit-learn knows the library
        assert list(model.feature_names_in_) == ["t0", "t1", "t2", "t3"]
        with pytest.raises(ValueError, match="feature names"):
            model.predict(frame[["t1", "t0", "t2", "t3"]])
    else:
        assert library == "polars"

    rows, labels = sequences()
    columns = [frames.Series(f"s{place}", row) for place, row in enumerate(table)]
    if library == "pandas":
        columns = [frames.Series(row, name=f"s{place}") for place, row in enumerate(table)]
    assert same(LSTMClassifier(**QUICK).fit(columns, y), LSTMClassifier(**QUICK).fit(table, y))
    listed = [frames.DataFrame({"a": row[:, 0], "b": row[:, 1]}) for row in rows]
    model = LSTMClassifier(**QUICK).fit(listed, labels)
    assert same(model, LSTMClassifier(**QUICK).fit(rows, labels))
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match=r"columns a, b in this order, got b, a at 0"):
        model.predict([listed[0][["b", "a"]]])
    with pytest.raises(ValueError, match=r"columns a, b in this order, got b, a at 2"):
        LSTMClassifier(**QUICK).fit([rows[0], listed[1], listed[2][["b", "a"]]], labels[:3])
    if library == "pandas":
        twice = listed[0].rename(columns={"b": "a"})
        with pytest.raises(ValueError, match="columns: expected different names, got a more than"):
            LSTMClassifier(**QUICK).fit([twice, twice], [0, 1])


@pytest.mark.parametrize(
    ("x", "match"),
    [
        ([np.zeros((3, 2)), np.zeros((3, 4))], "2 channels like the first sequence, got 4 at 1"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], "at least one step"),
        ([np.zeros((3, 2)), np.full((3, 2), np.nan)], "NaN"),
        (np.zeros((2, 0, 3)), "at least one step"),
        (np.zeros((2, 3, 4, 5)), "dim"),
        (np.zeros(2), "Reshape your data"),
        ([], "X: expected at least one sequence, got none"),
        ([[1.0, 2.0], [[1.0], [2.0, 3.0]]], "inhomogeneous"),
        ([[1.0], [[1.0], [2.0, 3.0]]], "uneven lists at 1"),
        (np.full((2, 3, 1), np.inf), "infinity"),
    ],
)
def test_bad_inputs(x, match):
    with pytest.raises(ValueError, match=match):
        LSTMClassifier(**QUICK).fit(x, [0, 1])


def test_a_wrong_number_of_channels():
    rows, y = sequences()
    model = LSTMClassifier(**QUICK).fit(rows, y)
    with pytest.raises(ValueError, match="sequences of 2 channels"):
        model.predict([row[:, :1] for row in rows])
    with pytest.raises(ValueError, match="sequences of 2 channels"):
        model.predict(np.zeros((2, 5)))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("hidden_size", 0, ValueError),
        ("hidden_size", 2.5, TypeError),
        ("num_layers", 0, ValueError),
        ("bidirectional", 1, TypeError),
        ("pooling", "sum", ValueError),
        ("dropout", 1.0, ValueError),
        ("cell_options", {"units": 3}, ValueError),
        ("cell_options", {"peepholes": True}, ValueError),
        ("cell_options", ["peephole"], TypeError),
        ("scale", "minmax", ValueError),
        ("solver", "lbfgs", ValueError),
        ("alpha", -1.0, ValueError),
        ("batch_size", "all", ValueError),
        ("batch_size", 2.5, TypeError),
        ("patch_size", 0, ValueError),
        ("patch_size", "long", ValueError),
        ("positions", 1, TypeError),
        ("slopes", "yes", TypeError),
        ("max_updates", 0, ValueError),
        ("max_updates", "auto", TypeError),
        ("n_iter_no_change", "never", ValueError),
        ("learning_rate", "adaptive", ValueError),
        ("learning_rate_init", 0.0, ValueError),
        ("global_clipnorm", 0.0, ValueError),
        ("max_iter", 0, ValueError),
        ("early_stopping", "yes", TypeError),
        ("validation_fraction", 1.0, ValueError),
        ("n_iter_no_change", 0, ValueError),
        ("tol", -1.0, ValueError),
        ("dtype", "float16", ValueError),
    ],
)
def test_bad_hyper_parameters(name, value, error):
    rows, y = sequences(10)
    with pytest.raises(error, match=name.split("_")[0]):
        LSTMClassifier().set_params(**{name: value}).fit(rows, y)


def test_bad_targets():
    rows, y = sequences(10)
    with pytest.raises(ValueError, match="one class"):
        LSTMClassifier(**QUICK).fit(rows, np.zeros(10))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LSTMClassifier(**QUICK).fit(rows, y[:5])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LSTMClassifier(**QUICK).fit(rows, y, sample_weight=np.ones(5))
    with pytest.raises(ValueError, match="all zero"):
        LSTMClassifier(**QUICK).fit(rows, y, sample_weight=np.zeros(10))
    with pytest.raises(ValueError, match="at least 0"):
        LSTMClassifier(**QUICK).fit(rows, y, sample_weight=-np.ones(10))
    with pytest.raises(ValueError, match="loss"):
        LSTMRegressor(loss="poisson").fit(rows, np.arange(10.0))
    with pytest.raises(NotFittedError):
        LSTMRegressor().predict(rows)


# ---- learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "attention"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classifies(pooling, dtype):
    rows, y = sequences(100)
    names = np.array(["low", "high"])[y.astype(int)]
    train, test, y_train, y_test = train_test_split(rows, names, random_state=0)
    model = LSTMClassifier(**{**QUICK, "max_iter": 15}, pooling=pooling, dtype=dtype)
    model.fit(train, y_train)
    assert model.score(test, y_test) > 0.9
    assert list(model.classes_) == ["high", "low"]
    probabilities = model.predict_proba(test)
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(
        np.exp(model.predict_log_proba(test)).round(6) > 0.5, probabilities > 0.5
    )
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(test)).all()
    assert model.n_iter_ == len(model.loss_curve_) == 15
    assert model.loss_ == model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.validation_scores_ is None


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_regresses_in_units_of_the_targets(outputs, loss):
    rows, _ = sequences(120, seed=1)
    sums = np.array([[1e6 + 50 * row[:, 0].mean(), row[-1, 1] * 1e-3] for row in rows])
    y = sums[:, 0] if outputs == 1 else sums
    model = LSTMRegressor(16, loss=loss, max_iter=60, learning_rate_init=0.02, random_state=0)
    model.fit(rows, y)
    assert model.score(rows, y) > 0.9
    predicted = model.predict(rows)
    assert predicted.shape == y.shape
    assert predicted.dtype == np.float64
    assert model.n_outputs_ == outputs


@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("learning_rate", ["constant", "cosine", "onecycle"])
def test_solvers_learn(solver, learning_rate):
    rows, y = sequences()
    model = LSTMClassifier(**QUICK, solver=solver, learning_rate=learning_rate, dropout=0.0)
    model.fit(rows, y)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_options_of_the_model():
    rows, y = sequences(20)
    model = LSTMClassifier(
        **QUICK,
        num_layers=2,
        bidirectional=False,
        recurrent_dropout=0.1,
        input_dropout=0.1,
        layer_norm=True,
        solver="adam",
        alpha=0.3,
        cell_options={"peephole": True, "zoneout_h": 0.1},
    ).fit(rows, y)
    lstm, _, dropout, dense = model.model_.layers
    assert isinstance(lstm, lc.layers.LSTM)
    assert (lstm.num_layers, lstm.dropout, lstm.recurrent_dropout) == (2, 0.5, 0.1)
    assert (lstm.input_dropout, lstm.layer_norm, lstm.peephole, lstm.zoneout_h) == (
        0.1,
        True,
        True,
        0.1,
    )
    assert lstm.recurrent_regularizer.l2 == dense.kernel_regularizer.l2 == 0.15
    assert dropout.rate == 0.5
    assert model.model_.optimizer.global_clipnorm == 1.0


def test_scales():
    rows, y = sequences()
    far = [row * [1e3, 1e-3] + [1e5, 0] for row in rows]
    model = LSTMClassifier(**QUICK).fit(far, y)
    stacked = np.concatenate(far)
    np.testing.assert_allclose(model.input_mean_, stacked.mean(axis=0))
    np.testing.assert_allclose(model.input_scale_, stacked.std(axis=0))
    assert model.score(far, y) > 0.9

    each = LSTMClassifier(**QUICK, scale="series").fit(rows, y)
    moved = [row * (place + 1) + place for place, row in enumerate(rows)]
    np.testing.assert_allclose(each.predict_proba(moved), each.predict_proba(rows), atol=1e-5)
    assert not hasattr(each, "input_mean_")

    plain = LSTMClassifier(**QUICK, scale=None, slopes=False, positions=False).fit(rows, y)
    inputs = [row.astype(np.float32) for row in rows]
    assert (plain.model_.predict(inputs, verbose=0) == plain.predict_proba(rows)).all()


def test_parameters_set_after_fit_change_no_prediction():
    rows, y = sequences()
    model = LSTMClassifier(**QUICK).fit(rows, y)
    expected = model.predict_proba(rows)
    model.set_params(scale=None, dtype="float64", hidden_size=3, pooling="last")
    assert (model.predict_proba(rows) == expected).all()


def test_divergence_is_an_error():
    rows, y = sequences()
    model = LSTMRegressor(
        **{**QUICK, "learning_rate_init": 1e30}, solver="sgd", global_clipnorm=None
    )
    with pytest.raises(ValueError, match="learning_rate_init"):
        model.fit(rows, y.astype(float))


def test_constant_channels():
    rows, y = sequences()
    constant = [np.column_stack([row, np.full(len(row), 0.1)]) for row in rows]
    assert np.isfinite(LSTMClassifier(**QUICK).fit(constant, y).loss_)
    assert LSTMRegressor(**QUICK).fit(rows, np.full(60, 3.0)).target_scale_ == 1.0


# ---- weights -------------------------------------------------------------------------------------


def test_sample_weights():
    rows, y = sequences()
    flipped = y.copy()
    flipped[::3] = ~flipped[::3]
    weights = np.where(flipped == y, 1.0, 0.0)
    model = LSTMClassifier(**{**QUICK, "max_iter": 15}).fit(rows, flipped, weights)
    assert model.score(rows, y) > 0.9
    again = LSTMClassifier(**{**QUICK, "max_iter": 15}).fit(rows, flipped, 7 * weights)
    np.testing.assert_allclose(again.predict_proba(rows), model.predict_proba(rows), atol=1e-4)


def test_class_weights():
    rows, y = sequences()
    rare = np.flatnonzero(y)[:3]
    chosen = np.concatenate([rare, np.flatnonzero(~y)])
    rows, y = [rows[place] for place in chosen], y[chosen]
    plain = LSTMClassifier(**QUICK).fit(rows, y)
    balanced = LSTMClassifier(**QUICK, class_weight="balanced").fit(rows, y)
    heavy = LSTMClassifier(**QUICK, class_weight={True: 10.0}).fit(rows, y)
    rise = [model.predict_proba(rows)[:, 1].mean() for model in (plain, balanced, heavy)]
    assert rise[0] < rise[1]
    assert rise[0] < rise[2]


# ---- early stopping, warm starts, partial fits ---------------------------------------------------


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_early_stopping(kind):
    rows, y = sequences(80)
    y = y if kind is LSTMClassifier else np.array([row[:, 0].mean() for row in rows])
    settings = {**QUICK, "max_iter": 200, "learning_rate": "constant"}
    model = kind(**settings, early_stopping=True, n_iter_no_change=3, tol=0.01)
    model.fit(rows, y, sample_weight=np.ones(80))
    assert 4 <= model.n_iter_ < 200
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert same(model, clone(model).fit(rows, y))


def test_warm_start_continues():
    rows, y = sequences()
    model = LSTMClassifier(**QUICK, warm_start=True).fit(rows, y)
    before = model.loss_
    model.fit(rows, y)
    assert model.n_iter_ == 8
    assert len(model.loss_curve_) == 16
    assert model.loss_ < before
    with pytest.raises(ValueError, match="hidden_size: expected 8, which the model was made with"):
        model.set_params(hidden_size=9).fit(rows, y)
    with pytest.raises(ValueError, match="expected classes"):
        model.set_params(hidden_size=8).fit(rows, np.arange(60) % 3 + 5)
    cold = model.set_params(warm_start=False).fit(rows, y)
    assert same(cold, LSTMClassifier(**QUICK).fit(rows, y))


def test_partial_fit():
    rows, y = sequences()
    model = LSTMClassifier(**QUICK, batch_size=32)
    with pytest.raises(ValueError, match="classes must be passed"):
        model.partial_fit(rows, y)
    for _ in range(6):
        for part in (slice(0, 30), slice(30, 60)):
            model.partial_fit(rows[part], y[part], classes=[False, True])
    assert model.n_iter_ == len(model.loss_curve_) == 12
    assert model.n_updates_ == model.model_.optimizer.iterations == 12
    assert model.score(rows, y) > 0.9
    with pytest.raises(ValueError, match="not the same"):
        model.partial_fit(rows, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="balanced"):
        LSTMClassifier(class_weight="balanced").partial_fit(rows, y, classes=[False, True])

    half = pickle.loads(pickle.dumps(model))
    assert same(model.partial_fit(rows, y), half.partial_fit(rows, y))

    regressor = LSTMRegressor(**QUICK).partial_fit(rows, y.astype(float))
    assert regressor.partial_fit(rows, y.astype(float)).n_iter_ == 2


# ---- the same bits -------------------------------------------------------------------------------


def test_same_bits_for_any_number_of_threads():
    rows, y = sequences(80, lengths=(20, 40))
    threads = lc.get_num_threads()
    models = []
    try:
        for count in (1, 2, 3):
            lc.set_num_threads(count)
            model = LSTMClassifier(32, layer_norm=True, max_iter=3, random_state=3)
            models.append(model.fit(rows, y))
    finally:
        lc.set_num_threads(threads)
    assert same(models[0], models[1])
    assert same(models[0], models[2])
    assert not same(models[0], clone(models[0]).set_params(random_state=4).fit(rows, y))


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_copies(kind, tmp_path):
    joblib = pytest.importorskip("joblib")
    rows, y = sequences()
    model = kind(**QUICK).fit(rows, y.astype(float))
    joblib.dump(model, tmp_path / "model.joblib")
    for copy in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
        joblib.load(tmp_path / "model.joblib", mmap_mode="r"),
    ):
        assert (copy.predict(rows) == model.predict(rows)).all()
        assert same(copy, model)
        assert copy.get_params() == model.get_params()
    assert pickle.loads(pickle.dumps(kind())).get_params() == kind().get_params()


# ---- scikit-learn's tools ------------------------------------------------------------------------


def test_grid_search_over_lists_in_two_processes():
    rows, y = sequences()
    grid = {"hidden_size": [4, 8], "cell_options": [None, {"peephole": True}]}
    search = GridSearchCV(LSTMClassifier(**QUICK), grid, cv=2, n_jobs=2, error_score="raise")
    search.fit(rows, y)
    alone = GridSearchCV(LSTMClassifier(**QUICK), grid, cv=2, error_score="raise").fit(rows, y)
    assert (search.cv_results_["mean_test_score"] == alone.cv_results_["mean_test_score"]).all()
    assert same(search.best_estimator_, alone.best_estimator_)
    assert search.score(rows, y) > 0.8


def test_pipeline_and_cross_validation():
    array = np.random.default_rng(0).standard_normal((60, 7, 2))
    y = array[:, 0, 0] > 0
    array[:, :, 0] = np.abs(array[:, :, 0]) * np.where(y, 1, -1)[:, None]
    doubled = FunctionTransformer(lambda values: values * 2)
    pipeline = make_pipeline(doubled, LSTMClassifier(**QUICK))
    scores = cross_val_score(pipeline, array, y, cv=3, scoring="neg_log_loss")
    assert (scores > -0.6).all()
    pipeline.fit(array, y, lstmclassifier__sample_weight=np.ones(60))
    assert (
        pipeline.set_params(lstmclassifier__hidden_size=4).get_params()[
            "lstmclassifier__hidden_size"
        ]
        == 4
    )


def test_verbose_writes_lines(capsys):
    rows, y = sequences(10)
    LSTMClassifier(**QUICK).fit(rows, y)
    assert capsys.readouterr().out == ""
    LSTMClassifier(**QUICK, verbose=True).fit(rows, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[0].startswith("Epoch 1/8 - loss: ")
    assert lines[8].startswith("Trained 8 epochs in ")


def test_forecaster_is_neither_classifier_nor_regressor():
    assert not is_classifier(LSTMForecaster())
    assert not is_regressor(LSTMForecaster())


# ---- the example ---------------------------------------------------------------------------------


def japanese_vowels():
    path = Path(__file__).parents[3] / "examples" / "python" / "japanese_vowels.py"
    if not path.exists():
        pytest.skip("the examples are only in the source tree")
    return runpy.run_path(str(path))


def test_example_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "aeon.datasets", None)
    with pytest.raises(SystemExit, match="the data come with the package aeon"):
        japanese_vowels()["utterances"]("train")


@pytest.mark.nightly
def test_japanese_vowels():
    pytest.importorskip("aeon", reason="aeon is not installed")
    example = japanese_vowels()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from aeon and its dependencies
        (x, y), (test_x, test_y) = example["utterances"]("train"), example["utterances"]("test")
    threads = lc.get_num_threads()
    lc.set_num_threads(1)
    try:
        models = [LSTMClassifier(**example["SETTINGS"], random_state=seed) for seed in range(5)]
        accuracies = [model.fit(x, y).score(test_x, test_y) for model in models]
    finally:
        lc.set_num_threads(threads)
    assert np.mean(accuracies) >= example["GOAL"], accuracies
