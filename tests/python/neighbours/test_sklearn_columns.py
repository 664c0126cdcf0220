"""Input data: errors name columns of dates or text and positions of NaN; types are converted."""

import datetime

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from lstmcore.sklearn import LSTMClassifier, LSTMForecaster, LSTMRegressor
from lstmcore.sklearn.columns import check_numbers

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

STEPS = 30
VALUES = np.sin(np.arange(float(STEPS)))
LABELS = np.arange(STEPS) % 2
DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(days=day) for day in range(STEPS)]
COLUMNS = {
    "dates": {
        "date": DAYS,
        "time": [datetime.datetime.combine(day, datetime.time(12)) for day in DAYS],
        "since": [day - DAYS[0] for day in DAYS],
        "iso": [day.isoformat() for day in DAYS],
        "slashes": [day.strftime("%d/%m/%Y") for day in DAYS],
        "month": [day.strftime("%Y-%m") for day in DAYS],
        "quarter": ["2024Q1"] * STEPS,
    },
    "text": {"city": ["Rome", "Oslo"] * (STEPS // 2), "some": [*["1.5"] * (STEPS - 1), "none"]},
}
CASES = [
    pytest.param(kind, name, entries, id=name)
    for kind, columns in COLUMNS.items()
    for name, entries in columns.items()
]
SMALL = {"hidden_size": 2, "max_iter": 1, "random_state": 0}


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(("kind", "name", "entries"), CASES)
def test_the_column_is_named(library, kind, name, entries):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    frame = frames.DataFrame({"load": VALUES, name: entries})
    said = f"expected numbers, but column '{name}' holds {kind}; drop it"
    for model in (LSTMClassifier(**SMALL), LSTMRegressor(**SMALL)):
        with pytest.raises(ValueError, match=f"X: {said}"):
            model.fit(frame, LABELS)
        with pytest.raises(ValueError, match=rf"X\[1\]: {said}"):
            model.fit([frame[["load"]], frame], LABELS[:2])
        fitted = model.fit(frame[["load"]], LABELS)
        with pytest.raises(ValueError, match=f"X: {said}"):
            fitted.predict(frame[[name]])
    of_targets = said if kind == "dates" else said.replace("drop it", "for names of classes use")
    with pytest.raises(ValueError, match=f"y: {of_targets}"):
        LSTMRegressor(**SMALL).fit(VALUES[:, None], frame[name])
    forecaster = LSTMForecaster(4, **SMALL)
    with pytest.raises(ValueError, match=f"y: {said}"):
        forecaster.fit(frame)
    with pytest.raises(ValueError, match=f"y: {said}"):
        forecaster.set_params(target="load").fit(frame)
    with pytest.raises(ValueError, match=f"y: {said}"):
        LSTMForecaster(4, **SMALL).fit(frame[name])
    with pytest.raises(ValueError, match=f"X: {said}"):
        LSTMForecaster(4, **SMALL).fit(VALUES, frame[[name]])


def test_arrays_and_lists():
    dates = np.array(DAYS, dtype="datetime64[D]")
    with pytest.raises(ValueError, match="X: expected numbers, but the array holds dates"):
        LSTMClassifier(**SMALL).fit(dates[:, None], LABELS)
    with pytest.raises(ValueError, match="y: expected numbers, but the array holds dates"):
        LSTMForecaster(4, **SMALL).fit(dates)
    with pytest.raises(ValueError, match="y: expected numbers, but the array holds dates"):
        LSTMRegressor(**SMALL).fit(VALUES[:, None], COLUMNS["dates"]["iso"])
    table = np.empty((STEPS, 2), dtype=object)
    table[:, 0], table[:, 1] = VALUES, DAYS
    with pytest.raises(ValueError, match="X: expected numbers, but column 1 holds dates"):
        LSTMClassifier(**SMALL).fit(table, LABELS)
    with pytest.raises(ValueError, match=r"X\[0\]: expected numbers, but the array holds text"):
        LSTMClassifier(**SMALL).fit([np.array(["a", "b"])] * 2, [0, 1])


def test_numbers_pass():
    for values in (VALUES, VALUES.tolist(), ["1.5", "-2e3", "nan"], [[1], [2, 3]], [True], [], 7.0):
        check_numbers(values, "X")
    objects = np.empty(2, dtype=object)
    objects[:] = [1.5, None]  # the check of numbers reports None
    check_numbers(objects, "X")


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_the_first_position_that_is_not_finite(value, said):
    array = np.zeros((STEPS, 5, 2))
    array[3, 2, 1] = array[4, 0, 0] = value
    cases = [
        (array, r"X\[3, 2, 1\]"),
        (array.astype(np.float32), r"X\[3, 2, 1\]"),
        (list(array), r"X\[3\]\[2, 1\]"),
        (list(array[..., 1]), r"X\[3\]\[2, 0\]"),
        (array[..., 1], r"X\[3, 2\]"),
    ]
    for x, place in cases:
        for model in (LSTMClassifier(**SMALL), LSTMRegressor(**SMALL)):
            with pytest.raises(
                ValueError, match=f"X: expected finite numbers, got {said}.*{place}"
            ):
                model.fit(x, LABELS)
            fitted = model.fit(np.nan_to_num(array, posinf=0, neginf=0), LABELS)
            with pytest.raises(ValueError, match=f"X: .*{said}"):
                fitted.predict(x)
    targets = np.zeros((STEPS, 3))
    targets[7, 1] = value
    with pytest.raises(ValueError, match=rf"y: expected finite numbers, got {said}.*y\[7, 1\]"):
        LSTMRegressor(**SMALL).fit(VALUES[:, None], targets)
    with pytest.raises(ValueError, match=rf"y: expected finite numbers, got {said}.*y\[7, 1\]"):
        LSTMForecaster(4, **SMALL).fit(targets)
    with pytest.raises(ValueError, match=rf"X: expected finite numbers, got {said}.*X\[7, 1\]"):
        LSTMForecaster(4, **SMALL).fit(VALUES, targets)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_errors_name_the_column_of_values_that_are_not_finite(library):
    frames = pytest.importorskip(library, reason=f"{library} is not installed")
    whole = frames.DataFrame({"load": VALUES, "wind": VALUES})
    holed = frames.DataFrame({"load": VALUES, "wind": np.where(np.arange(STEPS) == 7, np.nan, 1.0)})
    swapped = holed[["wind", "load"]]
    for model in (LSTMClassifier(**SMALL), LSTMRegressor(**SMALL)):
        with pytest.raises(ValueError, match=r"X: .*NaN, the first at X\[7, 'wind'\]"):
            model.fit(holed, LABELS)
        with pytest.raises(ValueError, match=r"X: .*NaN, the first at X\[1\]\[7, 'wind'\]"):
            model.fit([whole, holed], [0, 1])
    with pytest.raises(ValueError, match=r"y: .*NaN, the first at y\[7, 'wind'\]"):
        LSTMRegressor(**SMALL).fit(VALUES[:, None], holed)
    with pytest.raises(ValueError, match=r"y: .*NaN, the first at y\[7, 'wind'\]"):
        LSTMForecaster(4, **SMALL).fit(holed)
    with pytest.raises(ValueError, match=r"y: .*NaN, the first at y\[1\]\[7, 'wind'\]"):
        LSTMForecaster(4, **SMALL).fit([whole, holed])
    with pytest.raises(ValueError, match=r"X: .*NaN, the first at X\[7, 'wind'\]"):
        LSTMForecaster(4, **SMALL).fit(VALUES, swapped)
    for target in ("load", "wind", ["wind"], ["load", "wind"]):
        for frame in (holed, swapped):
            with pytest.raises(ValueError, match=r"^y: .*NaN, the first at y\[7, 'wind'\]"):
                LSTMForecaster(4, target=target, **SMALL).fit(frame)


def test_errors_in_columns_besides_the_target_name_y():
    """The error names y, since whoever passes one frame passes no X."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"load": VALUES, "wind": np.cos(np.arange(STEPS))})
    fitted = LSTMForecaster(4, target="load", **SMALL).fit(frame)
    with pytest.raises(ValueError, match="^y: expected 1 columns besides target as before, got 2"):
        fitted.update(frame.assign(sun=1.0))
    other = frame.rename(columns={"wind": "sun"})
    with pytest.raises(ValueError, match="^y: expected the columns wind, got sun besides target"):
        fitted.predict(1, VALUES[:1], y=other)
    # Squares that float64 cannot sum, and values that float32 cannot hold.
    for value, scale in ((1e200, "standard"), (1e60, None)):
        huge = frame.assign(wind=frame.wind * value)
        for difference in (0, "auto"):
            model = LSTMForecaster(4, target="load", scale=scale, difference=difference, **SMALL)
            with pytest.raises(ValueError, match="^y: expected values"):
                model.fit(huge)
            with pytest.raises(ValueError, match="^X: expected values"):
                model.set_params(target=None).fit(frame.load, huge.wind)
    # Columns of steps ahead are passed as X.
    with pytest.raises(ValueError, match="^X: expected 1 steps"):
        fitted.predict(1, VALUES[:2])


def test_exogenous_columns_of_another_series_are_called_past_x():
    forecaster = LSTMForecaster(4, exogenous="past", **SMALL).fit(VALUES, VALUES)
    for wrong, said in (
        (VALUES[:-1], "expected 30 steps like y, got 29"),
        (np.stack([VALUES, VALUES], 1), "expected 1 columns as before, got 2"),
        (np.where(VALUES > 0.9, np.nan, VALUES), r"expected finite .* past_X\["),
        (DAYS, "expected numbers, but the array holds dates"),
    ):
        with pytest.raises(ValueError, match=f"^past_X: {said}"):
            forecaster.predict(y=VALUES, past_X=wrong)
    with pytest.raises(ValueError, match="^past_X: expected a list of 2 like the series"):
        forecaster.predict(y=[VALUES, VALUES], past_X=[VALUES])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int8, np.uint64, bool])
def test_types_are_converted(dtype):
    x = (np.abs(VALUES) > 0.5).astype(dtype).reshape(6, 5)
    model = LSTMClassifier(**SMALL).fit(x, [True, False] * 3)
    expected = LSTMClassifier(**SMALL).fit(x.astype(np.float32), [True, False] * 3)
    assert model.predict(x).dtype == bool
    np.testing.assert_array_equal(model.predict_proba(x), expected.predict_proba(x))
    regressor = LSTMRegressor(**SMALL).fit(x, x[:, 0])
    assert np.isfinite(regressor.predict(x)).all()
    assert np.isfinite(LSTMForecaster(4, **SMALL).fit(x.ravel()).predict()).all()


def test_labels_of_any_type():
    for labels in (["a", "b"] * 3, np.array(["a", "b"] * 3, dtype=object), [10, -3] * 3):
        model = LSTMClassifier(**SMALL).fit(VALUES.reshape(6, 5), labels)
        assert set(model.predict(VALUES.reshape(6, 5))) <= set(labels)
    with pytest.raises(ValueError, match="contains only one class: 'a'"):
        LSTMClassifier(**SMALL).fit(VALUES.reshape(6, 5), ["a"] * 6)
    constant = LSTMRegressor(**SMALL).fit(VALUES.reshape(6, 5), [2.5] * 6)
    np.testing.assert_allclose(constant.predict(VALUES.reshape(6, 5)), 2.5, atol=1.0)


@pytest.mark.parametrize("named", [False, True])
def test_names_of_classes_are_not_numbers(named):
    pandas = pytest.importorskip("pandas")
    names = pandas.Series(["a", "b"] * 5, name="kind" if named else None)
    what = "column 'kind'" if named else "the array"
    message = (
        f"^y: expected numbers, but {what} holds text; for names of classes use LSTMClassifier$"
    )
    for y in (names, names.to_frame()) if named else (names, names.to_numpy(), list(names)):
        with pytest.raises(ValueError, match=message):
            LSTMRegressor().fit(np.zeros((10, 4, 2)), y)
