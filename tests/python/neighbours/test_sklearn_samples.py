"""Samples in frames: long tables, nested frames, and scikit-learn's tools on both."""

import doctest
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from lstmcore.sklearn import LSTMClassifier, LSTMRegressor, samples, split_samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_size": 2, "max_iter": 2, "random_state": 0}
RANDOM = np.random.default_rng(0)
LENGTHS = [3, 5, 4, 3, 6, 4, 5, 3]
NAMES = [f"patient {number}" for number in (3, 1, 2, 0, 7, 5, 6, 4)]
ROWS = [RANDOM.standard_normal((length, 2)) for length in LENGTHS]
LABELS = np.array([0, 1] * 4)
LIBRARIES = pytest.mark.parametrize("library", ["pandas", "polars"])


def long_table(library):
    """Return a long table whose rows are in random order, but for the first of each sample."""
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    names = np.repeat(NAMES, LENGTHS)
    days = np.concatenate([np.arange(length) for length in LENGTHS])
    values = np.concatenate(ROWS)
    first = np.flatnonzero(days == 0)
    order = np.concatenate([first, RANDOM.permutation(np.flatnonzero(days))])
    columns = {
        "pulse": values[order, 0],
        "patient": names[order],
        "day": days[order],
        "pressure": values[order, 1],
    }
    return frames.DataFrame(columns)


def nested_frame(library, rows=ROWS):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "polars":
        return frames.DataFrame(
            {"pulse": [row[:, 0] for row in rows], "pressure": [row[:, 1] for row in rows]}
        )
    columns = {
        name: [frames.Series(row[:, place]) for row in rows]
        for place, name in enumerate(("pulse", "pressure"))
    }
    return frames.DataFrame(columns)


# ---- long tables ---------------------------------------------------------------------------------


@LIBRARIES
def test_a_long_table_is_divided_into_its_samples(library):
    frames, names = split_samples(long_table(library), "patient", order="day")
    assert names.tolist() == NAMES
    assert [list(frame.columns) for frame in frames] == [["pulse", "pressure"]] * len(NAMES)
    for frame, row in zip(frames, ROWS, strict=True):
        np.testing.assert_array_equal(np.asarray(frame), row)


def test_rows_stay_in_order_without_a_column_to_sort_by():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": [2, 1, 2, 1], "x": [1.0, 2.0, 3.0, 4.0]})
    frames, names = split_samples(table, "id")
    assert names.tolist() == [2, 1]
    assert names.dtype.kind == "i"
    assert [frame["x"].tolist() for frame in frames] == [[1.0, 3.0], [2.0, 4.0]]
    assert [frame.index.tolist() for frame in frames] == [[0, 2], [1, 3]]


def test_levels_of_the_index_are_columns_too():
    pandas = pytest.importorskip("pandas")
    table = long_table("pandas").set_index(["patient", "day"])
    frames, names = split_samples(table, "patient", order="day")
    assert names.tolist() == NAMES
    for frame, row in zip(frames, ROWS, strict=True):
        np.testing.assert_array_equal(frame, row)
    assert isinstance(frames[0], pandas.DataFrame)


def test_refused_tables():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"id": ["a", "a"], "day": [1, 1], "x": [1.0, 2.0]})
    with pytest.raises(TypeError, match="table: expected a pandas or polars frame, got an array"):
        split_samples(np.zeros((3, 2)), "id")
    with pytest.raises(ValueError, match="sample: .* which are id, day, x; got 'patient'"):
        split_samples(table, "patient")
    with pytest.raises(ValueError, match="order: .* which are id, day, x; got 'time'"):
        split_samples(table, "id", order="time")
    with pytest.raises(ValueError, match="order: .* 'day' once in a sample, .* twice in .* 'a'"):
        split_samples(table, "id", order="day")
    with pytest.raises(ValueError, match="order: expected a value of 'day' in every row"):
        split_samples(table.assign(day=[1.0, np.nan]), "id", order="day")
    with pytest.raises(ValueError, match="table: expected at least one row, got none"):
        split_samples(table[:0], "id")
    for missing in (None, np.nan, pandas.NA):
        with pytest.raises(ValueError, match="sample: expected a name in every row, got .* row 1"):
            split_samples(table.assign(id=pandas.Series(["a", missing], dtype=object)), "id")


def test_the_docstring_runs():
    pytest.importorskip("pandas")
    failures, tests = doctest.testmod(samples)
    assert (failures, tests > 0) == (0, True)


# ---- nested frames -------------------------------------------------------------------------------


@LIBRARIES
@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_a_nested_frame_is_a_list_of_sequences_with_names(library, kind):
    nested = nested_frame(library)
    model = kind(**SMALL).fit(nested, LABELS)
    assert list(model.feature_names_in_) == ["pulse", "pressure"]
    assert (model.n_features_in_, model.input_form_) == (2, "list")
    expected = kind(**SMALL).fit(ROWS, LABELS)
    np.testing.assert_array_equal(model.predict(nested), expected.predict(ROWS))
    np.testing.assert_array_equal(model.predict(ROWS), expected.predict(ROWS))
    with pytest.raises(ValueError, match="expected the columns pulse, pressure in this order"):
        model.predict(nested[["pressure", "pulse"]])
    with pytest.raises(ValueError, match="expected the columns pulse, pressure .* got pulse at 0"):
        model.predict(nested[["pulse"]])


def test_refused_nested_frames():
    pandas = pytest.importorskip("pandas")
    nested = nested_frame("pandas")
    model = LSTMClassifier(**SMALL)
    with pytest.raises(ValueError, match="column 'age' has a single value for each row"):
        model.fit(nested.assign(age=1.0), LABELS)
    cells = nested["pressure"].to_list()
    short = nested.assign(pressure=[*cells[:3], pandas.Series([1.0]), *cells[4:]])
    with pytest.raises(ValueError, match="row 3, got 3 steps in column 'pulse' and 1 in 'pressur"):
        model.fit(short, LABELS)
    pulses = nested["pulse"].to_list()
    holed = nested.assign(pulse=[*pulses[:2], np.nan, *pulses[3:]])
    with pytest.raises(ValueError, match=r"got shape \(\) in column 'pulse' of row 2"):
        model.fit(holed, LABELS)
    text = pandas.DataFrame({"pulse": [np.array(["a", "b"])] * len(LABELS)})
    with pytest.raises(ValueError, match=r"X\[0\]: expected numbers, but the array holds text"):
        model.fit(text, LABELS)


# ---- scikit-learn's tools ------------------------------------------------------------------------


def rising(count):
    """Return a long table of slopes with noise, and the labels by sample."""
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(1)
    labels, parts = random.integers(0, 2, count), []
    for number, label in enumerate(labels):
        steps = int(random.integers(6, 12))
        slope = (2 * label - 1) * 0.3 * np.arange(steps)
        noise = random.standard_normal((steps, 2))
        parts.append(
            pandas.DataFrame(
                {"id": number, "a": slope + noise[:, 0], "b": noise[:, 1], "t": np.arange(steps)}
            )
        )
    return pandas.concat(parts, ignore_index=True), pandas.Series(labels, name="label")


def test_a_grid_search_over_a_long_table():
    table, labels = rising(80)
    frames, names = split_samples(table, "id", order="t")
    model = LSTMClassifier(max_updates=100, random_state=0)
    search = GridSearchCV(model, {"hidden_size": [4, 8]}, cv=3, error_score="raise")
    search.fit(frames, labels.loc[names])
    assert search.best_score_ > 0.85
    assert list(search.best_estimator_.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="expected the columns a, b in this order, got b, a at 0"):
        search.predict([frames[0][["b", "a"]]])


def test_cross_val_predict_of_nested_frames_by_group():
    table, labels = rising(60)
    frames, _ = split_samples(table, "id", order="t")
    pandas = pytest.importorskip("pandas")
    nested = pandas.DataFrame(
        {"a": [frame["a"] for frame in frames], "b": [frame["b"].to_numpy() for frame in frames]}
    )
    groups = np.arange(60) % 3
    model = LSTMClassifier(4, max_updates=100, random_state=0)
    by_frame = cross_val_predict(model, nested, labels, groups=groups, cv=GroupKFold(3))
    by_list = cross_val_predict(model, frames, labels, groups=groups, cv=GroupKFold(3))
    np.testing.assert_array_equal(by_frame, by_list)
    assert (by_frame == labels).mean() > 0.85


def test_a_pipeline_keeps_the_names_of_columns():
    pandas = pytest.importorskip("pandas")
    columns = [f"hour {hour}" for hour in range(6)]
    table = pandas.DataFrame(RANDOM.standard_normal((8, 6)), columns=columns)
    scale = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scale, LSTMClassifier(**SMALL)).fit(table, LABELS)
    assert pipeline[-1].feature_names_in_.tolist() == columns
    with pytest.raises(ValueError, match="feature names"):
        pipeline.predict(table[columns[::-1]])
    copy = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(copy.predict(table), pipeline.predict(table))


def test_a_pipeline_that_divides_and_smooths():
    """A step before the model may turn nested frames into lists of frames."""
    pandas = pytest.importorskip("pandas")

    def smoothed(frame):
        rows = (dict(zip(frame, row, strict=True)) for row in frame.itertuples(index=False))
        return [pandas.DataFrame(row).rolling(2, 1).mean() for row in rows]

    nested = nested_frame("pandas")
    pipeline = make_pipeline(FunctionTransformer(smoothed), LSTMRegressor(**SMALL))
    pipeline.fit(nested, LABELS)
    assert pipeline[-1].feature_names_in_.tolist() == ["pulse", "pressure"]
    expected = LSTMRegressor(**SMALL).fit(smoothed(nested), LABELS).predict(smoothed(nested))
    np.testing.assert_array_equal(pipeline.predict(nested), expected)
