"""Numbers of any type become the model's type; errors name the position of anything else."""

import datetime
import decimal
import fractions
import warnings

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import functional as F
from lstmcore import layers, losses, metrics
from lstmcore._intake import Intake
from lstmcore.stream import LSTMStream

N, T, C = 6, 5, 3
SMALL = (
    np.arange(N * T * C, dtype=np.int64).reshape(N, T, C) % 7 - 3
)  # every type below can hold these
LABELS = np.arange(N) % 2

FORMS = {
    "float64": SMALL.astype(np.float64),
    "float16": SMALL.astype(np.float16),
    "longdouble": SMALL.astype(np.longdouble),
    "other byte order": SMALL.astype(">f4"),
    "int8": SMALL.astype(np.int8),
    "int64": SMALL,
    "list of int": SMALL.tolist(),
    "list of float": SMALL.astype(float).tolist(),
    "mixed list": [
        [[float(v) if v % 2 else v for v in step] for step in row] for row in SMALL.tolist()
    ],
    "list of arrays": [row.astype(np.float64) for row in SMALL],
    "rows of several types": [
        row.astype(kind)
        for row, kind in zip(SMALL, ("f2", "f4", "f8", "i1", "i8", ">f8"), strict=True)
    ],
    "objects": SMALL.astype(object),
    "decimals": np.vectorize(decimal.Decimal, otypes=[object])(SMALL),
    "fractions": np.vectorize(fractions.Fraction, otypes=[object])(SMALL),
    "buffer": memoryview(SMALL.astype(np.float64)),
}
LABEL_FORMS = {
    "int32": LABELS.astype(np.int32),
    "uint64": LABELS.astype(np.uint64),
    "float64": LABELS.astype(np.float64),
    "bool": LABELS > 0,
    "list of bool": (LABELS > 0).tolist(),
    "list of float": LABELS.astype(float).tolist(),
    "objects": LABELS.astype(object),
    "column": LABELS.astype(float)[:, None],
}


def classifier(**options):
    model = lc.Sequential([layers.LSTM(3), layers.Dense(2, activation="softmax")], **options)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def results(x, y):
    """Return the results of all of a model's methods, as one list of arrays."""
    model = classifier()
    history = model.fit(x, y, batch_size=4, epochs=2, validation_data=(x, y), verbose=0)
    return [
        *model.get_weights(),
        np.array([values for _, values in sorted(history.history.items())]),
        np.array(model.evaluate(x, y, verbose=0)),
        np.array(model.test_on_batch(x, y)),
        np.array(model.train_on_batch(x, y)),
        np.array(model.predict(x, verbose=0)),
        model(x),
    ]


@pytest.fixture(scope="module")
def expected():
    dense = results(SMALL.astype(np.float32), LABELS)
    ragged = results(list(SMALL.astype(np.float32)), LABELS)
    return {False: dense, True: ragged}


@pytest.mark.parametrize("form", FORMS)
def test_all_types_lead_to_the_bits_of_float32(form, expected):
    x = FORMS[form]
    ragged = isinstance(x, list) and isinstance(x[0], (np.ndarray, list))
    for got, wanted in zip(results(x, LABELS), expected[ragged], strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("form", LABEL_FORMS)
def test_all_types_of_labels(form, expected):
    for got, wanted in zip(
        results(SMALL.astype(np.float32), LABEL_FORMS[form]), expected[False], strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("kind", ["f2", "f8", "i4", "?", object])
def test_values_as_targets_and_weights(kind):
    x, y = SMALL.astype(np.float32), (SMALL[:, 0, :1] > 0).astype(kind)
    weights = (np.arange(N) % 3).astype(kind)

    def trained(y, weights):
        model = lc.Sequential([layers.LSTM(2), layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x, y, sample_weight=weights, verbose=0)
        return model.get_weights()

    for got, wanted in zip(
        trained(y, weights), trained(y.astype("f4"), weights.astype("f4")), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("kind", ["f8", "f2", "u1", object])
def test_token_ids_may_be_whole_floats(kind):
    ids = np.abs(SMALL[..., 0])
    model = lc.Sequential([layers.Embedding(5, 2), layers.LSTM(2)])
    wanted = model.predict(ids, verbose=0)
    np.testing.assert_array_equal(model.predict(ids.astype(kind), verbose=0), wanted)
    rows = [row.astype(kind) for row in ids]
    np.testing.assert_array_equal(model.predict(rows, verbose=0), wanted)
    coder = lc.EncoderDecoder(5, 5, embedding_size=2, units=2)
    coder.compile()
    tokens = ids % 2 + 3
    np.testing.assert_array_equal(coder(tokens.astype(kind), tokens), coder(tokens, tokens))
    assert coder.evaluate(tokens.astype(kind), tokens.astype(kind), verbose=0) == coder.evaluate(
        tokens, tokens, verbose=0
    )


def test_a_matching_type_is_not_copied():
    x = SMALL.astype(np.float32)
    intake = Intake()
    assert intake.floats(x, "x", np.dtype(np.float32)) is x
    assert intake.floats(x, "x", None) is x
    assert intake.integers(SMALL, "x") is SMALL


def test_a_model_of_float64_accepts_float32():
    x = SMALL.astype(np.float32) / 3
    model = classifier(dtype="float64")
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), model.predict(x.astype(np.float64), verbose=0)
    )


def test_the_packages_own_ratings_train_a_default_model():
    part = lc.datasets.movie_snippets().train
    texts, ratings = part.sentences[:200], part.ratings[:200]
    assert ratings.dtype == np.float64
    vectorizer = layers.TextVectorization(max_tokens=500)
    vectorizer.adapt(texts)
    model = lc.Sequential([vectorizer, layers.Embedding(500, 4), layers.LSTM(4), layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(texts, ratings, epochs=2, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]


# ---- layers on their own -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "found"),
    [("f8", "f8"), ("f4", "f4"), ("f2", "f4"), ("i8", "f4"), ("?", "f4"), (object, "f4")],
)
def test_the_first_call_chooses_the_type(kind, found):
    layer = layers.LSTM(2)
    assert layer(SMALL.astype(kind)).dtype == found
    assert layer(SMALL.astype("f4")).dtype == found
    assert layer(SMALL.astype("f8")).dtype == found


def test_arguments_of_layers_and_cells():
    x = SMALL.astype(np.float32)
    state = np.ones((N, 2), np.float32), np.zeros((N, 2), np.float32)
    wide = tuple(part.astype(np.float64) for part in state)
    lstm, cell = layers.LSTM(2), layers.LSTMCell(2)
    attention = layers.Attention(query_size=4)
    lengths = np.array([5, 4, 3, 2, 1, 5])
    np.testing.assert_array_equal(
        lstm(x, initial_state=wide, lengths=lengths.astype(float)),
        lstm(x, initial_state=state, lengths=lengths),
    )
    for got, wanted in zip(cell(x[:, 0], wide)[1], cell(x[:, 0], state)[1], strict=True):
        np.testing.assert_array_equal(got, wanted)
    query = np.ones((N, 4))
    np.testing.assert_array_equal(attention(x, query=query), attention(x, query=query.astype("f4")))


def test_states_of_models():
    model = lc.Sequential([layers.LSTM(2, return_sequences=True)])
    model.compile("sgd", "mse")
    x, y = SMALL.astype(np.float32), np.zeros((N, T, 2), np.float32)
    model.build((None, None, C))
    state = {"lstm": tuple(np.full((1, N, 2), 0.5, "f4") for _ in "hc")}
    wide = {"lstm": tuple(part.astype(np.float64) for part in state["lstm"])}
    np.testing.assert_array_equal(model.predict(x, state=wide), model.predict(x, state=state))
    assert model.evaluate(x, y, state=wide, verbose=0) == model.evaluate(
        x, y, state=state, verbose=0
    )
    assert model.test_on_batch(x, y, state=wide) == model.test_on_batch(x, y, state=state)
    model.state = wide
    assert model.state["lstm"].h.dtype == np.float32


@pytest.mark.parametrize("owner", ["model", "layer"])
def test_weights_that_are_set(owner):
    model = classifier()
    model.build((None, None, C))
    thing = model if owner == "model" else model.layers[0]
    doubled = [2 * view for view in thing.get_weights()]
    thing.set_weights([view.astype(np.float64).tolist() for view in doubled])
    for got, wanted in zip(thing.get_weights(), doubled, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == np.float32
    model.set_weights({"dense.bias": [1, 2]})
    np.testing.assert_array_equal(model.weights["dense.bias"], [1, 2])


def test_losses_and_metrics_on_their_own():
    labels, p = [True, False, True], np.array([[0.25, 0.75], [0.5, 0.5], [0.75, 0.25]])
    loss = losses.SparseCategoricalCrossentropy()
    wanted = -np.log([0.75, 0.5, 0.25]).mean()
    assert loss(labels, p) == pytest.approx(wanted, rel=1e-15)
    assert loss([1.0, 0.0, 1.0], p.astype("f2"), [1, 1, 1]) == pytest.approx(wanted, rel=1e-7)
    accuracy = metrics.SparseCategoricalAccuracy()
    accuracy.update([1.0, 0.0, 1.0], p.tolist(), [True, True, True])
    assert accuracy.result() == pytest.approx(2 / 3)
    error = metrics.MeanSquaredError()
    error.update([[True], [False]], np.array([[1], [3]], np.int8))
    assert error.result() == 4.5
    with pytest.raises(ValueError, match=r"y_true: expected whole numbers, but y_true\[1\] is 0.5"):
        accuracy.update([1, 0.5, 1], p)
    with pytest.raises(TypeError, match="y_pred: expected numbers, got strings"):
        error.update([[1]], [["1"]])


# ---- exact conversions ---------------------------------------------------------------------------


def test_functions_refuse_and_name_the_conversion():
    config = lc.LSTMConfig(C, 2)
    weights = F.init_weights(config)
    x = SMALL.astype(np.float32)
    for kind in ("f8", "f2", "i8", "?"):
        with pytest.raises(TypeError, match=r"x: .*; convert it with \.astype\('float32'\)"):
            F.lstm(SMALL.astype(kind), weights, config)
    with pytest.raises(TypeError, match=r"x: .* got list; .*numpy\.asarray\(.*dtype='float32'\)"):
        F.lstm(x.tolist(), weights, config)
    with pytest.raises(TypeError, match=r"x: .*\.astype\('float64'\)"):
        F.lstm(x, {name: view.astype("f8") for name, view in weights.items()}, config)
    with pytest.raises(TypeError, match=r"weights\['weight_ih_l0'\]: .*\.astype\('float32'\)"):
        F.pack({name: view.astype("f2") for name, view in weights.items()}, config)
    with pytest.raises(TypeError, match=r"reset: expected dtype bool.*\.astype\('bool'\)"):
        F.lstm(x, weights, config, reset=np.zeros((N, T), int))
    with pytest.raises(TypeError, match=r"x: .* got complex64[^;]*$"):  # no advice on conversion
        F.lstm(x.astype("c8"), weights, config)
    stream = LSTMStream(weights, config, batch_size=N)
    with pytest.raises(TypeError, match=r"x: .*\.astype\('float32'\)"):
        stream.step(x[:, 0].astype("f8"))


def test_arrays_that_are_changed_in_place_are_not_converted():
    limit = lc.constraints.MaxNorm(1.0)
    for weight in ([[3.0, 4.0]], np.array([[3, 4]])):
        with pytest.raises(TypeError, match="weight: expected an array of floats, .* in place"):
            limit.restore(weight, 1)
    weight = np.array([[3.0, 4.0]], np.float16)
    limit.restore(weight, 1)
    np.testing.assert_allclose(weight, [[0.6, 0.8]], rtol=1e-3)  # float16 has three digits


# ---- values that are not numbers -----------------------------------------------------------------

DAY = datetime.date(2020, 1, 1)
REFUSED = {
    "strings": (np.array(["1", "a"]), TypeError, "got strings; .*TextVectorization"),
    "digits": (np.array(["1", "2"]), TypeError, r"got strings; .*numpy.asarray\(thing, dtype=fl"),
    "list of strings": (["1", "2"], TypeError, "expected numbers, got strings"),
    "bytes": (np.array([b"1"]), TypeError, "expected numbers, got bytes"),
    "string objects": (
        np.array([1, "2"], object),
        TypeError,
        r"expected numbers, got '2' \(str\) at \[1\]; convert digits to numbers",
    ),
    "dates": (np.array(["2020-01-01"], "M8[D]"), TypeError, "got dates; .*hour"),
    "date objects": (np.array([[1, DAY]], object), TypeError, r"at \[0, 1\]; for dates"),
    "durations": (np.array([1], "m8[s]"), TypeError, "got durations; .*seconds"),
    "complex": (np.array([1j]), TypeError, "got complex numbers; pass .real and .imag"),
    "records": (np.zeros(2, [("a", "f4")]), TypeError, "expected numbers, got .*'a'"),
    "missing": (np.array([1.0, None], object), ValueError, r"got None at \[1\]; fill it in"),
    "things": (np.array([1, object()], object), TypeError, r"<object .* at \[1\]$"),
    "too large": (np.array([10**400, 0.5], object), ValueError, "numbers that float64 can hold"),
    "uneven": ([1, [2, 3]], ValueError, "rows of different lengths"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_are_not_numbers(name):
    values, kind, message = REFUSED[name]
    with pytest.raises(kind, match=f"^thing: .*{message}"):
        Intake().floats(values, "thing", np.dtype(np.float32))
    with pytest.raises(kind, match=f"^thing: .*{message}" if name != "too large" else "thing"):
        Intake().integers(values, "thing")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 1.5], r"labels: expected whole numbers, but labels\[1\] is 1.5"),
        ([[0.0, np.nan]], r"labels\[0, 1\] is nan"),
        ([np.inf], r"labels\[0\] is inf"),
        ([2.0**63], r"labels\[0\] is 9\.2"),
        (np.array([2**63], np.uint64), r"below 2\*\*63"),
        (np.array([2**70], object), "integers of 64 bits"),
    ],
)
def test_values_that_are_not_whole_numbers(values, message):
    with pytest.raises(ValueError, match=message):
        Intake().integers(values, "labels")


def test_flags():
    model = lc.Sequential([layers.LSTM(2, return_sequences=True)])
    valid = SMALL[..., 0] > 0
    valid[:, 0] = True
    wanted = model.predict(SMALL, mask=valid, verbose=0)
    got = model.predict(SMALL, mask=valid.astype(object), verbose=0)
    np.testing.assert_array_equal(got, wanted)
    with pytest.raises(TypeError, match=r"mask: expected an array of bool.*\.astype\(bool\)"):
        model.predict(SMALL, mask=valid.astype(int), verbose=0)


# ---- overflow ------------------------------------------------------------------------------------


def test_values_that_become_infinite_are_warned_of_once(recwarn):
    warnings.simplefilter("always")
    x = SMALL.astype(np.float64)
    x[3, 2, 1] = -1e300
    x[4, 0, 0] = 1e39
    model = classifier()
    model.predict(x, batch_size=1, verbose=0)
    model.fit(x, LABELS, batch_size=2, epochs=2, on_nan="ignore", verbose=0)
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == 2  # one for each call
    assert messages[0].startswith(
        "x: 2 of 90 values became infinite, since float32 holds at most 3.4e+38"
    )
    assert "x[3, 2, 1] = -1e+300" in messages[0]
    assert {warning.filename for warning in recwarn} == {__file__}  # warnings point to this file
    assert all(warning.category is RuntimeWarning for warning in recwarn)


def test_warnings_of_overflow_name_argument_and_position():
    x, y = SMALL.astype(np.float64), np.ones((N, 1))
    y[2] = 1e39
    model = lc.Sequential([layers.LSTM(2), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(RuntimeWarning, match=r"y: 1 of 6 .* y\[2, 0\] = 1e\+39"):
        model.evaluate(x, y, verbose=0)
    rows = list(x)
    rows[1] = rows[1].copy()
    rows[1][4, 2] = 1e39
    with pytest.warns(RuntimeWarning, match=r"x\[1\]\[4, 2\] = 1e\+39"):
        model.predict(rows, verbose=0)
    with pytest.warns(RuntimeWarning, match="x: "):
        model.predict((np.full((2, 3, C), 1e300) for _ in range(3)), verbose=0)
    layer = layers.LSTM(2)
    layer(SMALL.astype(np.float32))
    with pytest.warns(RuntimeWarning, match="inputs: "):
        layer(np.full((1, 1, C), 1e300))


def test_no_warning_where_nothing_is_lost(recwarn):
    warnings.simplefilter("always")
    x = np.array([1e-300, 3.4e38, np.inf, np.nan])  # small values become 0 silently
    Intake(check_finite=False).floats(x, "x", np.dtype(np.float32))
    steps = np.array([[1.0, 1e300]])
    valid = np.array([[True, False]])
    Intake().floats(steps, "x", np.dtype(np.float32), valid)
    assert not recwarn.list
