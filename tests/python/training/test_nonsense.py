"""Models that cannot learn are refused before training; sensible ones are accepted."""

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import callbacks, layers, losses

N, T, C = 6, 4, 3
X = np.random.default_rng(3).standard_normal((N, T, C))
LABELS = np.arange(N) % 2


def model_of(units, activation, head=layers.Dense, loss=None, **options):
    last = head(units, activation=activation, **options)
    model = lc.Sequential([layers.LSTM(2, return_sequences=head is not layers.Dense), last])
    if loss is not None:
        model.compile("sgd", loss)
    return model


def in_time(units, activation):
    return layers.TimeDistributed(layers.Dense(units, activation=activation))


def convolution(units, activation):
    return layers.Conv1D(units, 1, activation=activation)


LOSSES = {
    "mse": "mse",
    "mae": "mae",
    "binary": "binary_crossentropy",
    "sparse": "sparse_categorical_crossentropy",
    "categorical": "categorical_crossentropy",
    "binary logits": losses.BinaryCrossentropy(from_logits=True),
    "sparse logits": losses.SparseCategoricalCrossentropy(from_logits=True),
    "categorical logits": losses.CategoricalCrossentropy(from_logits=True),
}
HEADS = [
    # units, activation, losses, text of the error; None: accepted
    (1, "softmax", list(LOSSES), "several units with softmax.*activation='sigmoid'.*=None"),
    (2, "softmax", ["mse", "mae", "sparse", "categorical"], None),
    (2, "softmax", ["binary"], "ends with activation='softmax'; for one of several .* categorical"),
    (2, "softmax", ["binary logits"], "expects logits, but layer 'last' applies softmax"),
    (2, "softmax", ["sparse logits", "categorical logits"], "applies softmax already"),
    (1, "sigmoid", ["mse", "mae", "binary"], None),
    (3, "sigmoid", ["mse", "mae", "binary"], None),
    (3, "sigmoid", ["sparse", "categorical"], "ends with activation='sigmoid'; .*='softmax'"),
    (1, "sigmoid", ["sparse", "categorical"], "a unit for each class.*binary_crossentropy"),
    (3, "sigmoid", ["sparse logits"], "expects logits, but layer 'last' applies sigmoid"),
    (1, None, ["mse", "mae", "binary logits"], None),
    (3, None, ["mse", "mae", "binary logits", "sparse logits", "categorical logits"], None),
    (1, None, ["binary"], r"activation='sigmoid', or use BinaryCrossentropy\(from_logits=True\)"),
    (1, None, ["sparse logits", "categorical logits", "sparse"], "expected a unit for each class"),
    (3, None, ["sparse", "categorical"], r"activation='softmax', or use .*\(from_logits=True\)"),
    (3, "relu", ["binary", "sparse"], "ends with activation='relu'"),
    (3, "tanh", ["categorical", "binary"], "ends with activation='tanh'"),
]


@pytest.mark.parametrize("head", [layers.Dense, in_time, convolution])
@pytest.mark.parametrize(("units", "activation", "names", "message"), HEADS)
def test_last_layers_and_losses(head, units, activation, names, message):
    for name in names:
        last = head(units, activation=activation)
        last.name = "last"
        model = lc.Sequential([layers.LSTM(2, return_sequences=True), last])
        if message is None:
            model.compile("sgd", LOSSES[name])
            continue
        with pytest.raises(ValueError, match=f"'last'.*{message}|{message}"):
            model.compile("sgd", LOSSES[name])
        assert not model.is_compiled


# ---- distributions as targets --------------------------------------------------------------------

DISTRIBUTIONS = [losses.CategoricalCrossentropy, losses.CategoricalFocalCrossentropy]
SHARES = np.array([[0.2, 0.8], [1, 0], [0, 1], [0.5, 0.5], [0.9991, 0], [1, 0]])
WRONG = {
    "numbers": (
        np.linspace(-2, 3, 2 * N).reshape(N, 2),
        0,
        r"\[-2, -1\.54545\] with the sum -3\.5",
    ),
    "nothing": (np.where(np.arange(N)[:, None] == 3, 0, SHARES), 3, r"\[0, 0\] with the sum 0;"),
    "too much": (5 * SHARES, 0, r"\[1, 4\] with the sum 5;"),
    "a little off": (np.where(np.arange(N)[:, None] == 4, [0.4, 0.598], SHARES), 4, "sum 0.998"),
    "negative": (np.where(np.arange(N)[:, None] == 5, [-1, 2], SHARES), 5, "sum 1; .*several"),
    "two classes": (np.where(np.arange(N)[:, None] == 2, [1, 1], SHARES), 2, "binary_crossentr"),
}


@pytest.mark.parametrize("loss", DISTRIBUTIONS)
@pytest.mark.parametrize("case", WRONG)
def test_targets_that_are_not_distributions_are_refused(loss, case):
    wrong, row, message = WRONG[case]
    model = model_of(2, "softmax", loss=loss())
    message = rf"y\[{row}\]: {loss.__name__} expects a share .* got .*{message}"
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=f"^{message}"):
            call(X, wrong)
    assert not model.built
    model.fit(X, SHARES, verbose=0)
    with pytest.raises(ValueError, match=f"^validation_data: {message}"):
        model.fit(X, SHARES, validation_data=(X, wrong), verbose=0)
    with pytest.raises(ValueError, match=f"^batch 0: {message}"):
        model.fit(iter([(X, wrong)]), verbose=0)
    outputs = np.full((N, 2), 0.5)
    with pytest.raises(ValueError, match=message.replace("y", "y_true", 1)):
        loss()(wrong, outputs)
    weights = np.ones(N)
    weights[row:] = 0
    weights[:row] = 1
    if row:  # values that do not count may be anything
        expected = model.evaluate(X, SHARES, sample_weight=weights, verbose=0)
        assert model.evaluate(X, wrong, sample_weight=weights, verbose=0) == expected
        assert loss()(wrong, outputs, weights) == loss()(SHARES, outputs, weights)


def test_distributions_are_checked_at_valid_steps():
    """In padded, masked and ragged rows, and in rows that are read window by window."""
    rng = np.random.default_rng(5)
    steps = X.shape[1]
    y = np.eye(3)[rng.integers(0, 3, (N, steps))]
    ids = rng.integers(1, 5, (N, steps))
    ids[2, 2:] = 0
    model = lc.Sequential(
        [
            layers.Embedding(5, 2, mask_zero=True),
            layers.LSTM(2, return_sequences=True),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("sgd", "categorical_crossentropy")
    blank = np.where((ids == 0)[..., None], 0, y)
    model.fit(ids, blank, verbose=0)
    wrong = blank.copy()
    wrong[2, 1] = wrong[4, 0] = 2
    refused = r"^y\[2, 1\]: Categ.* sum 6"
    weights = np.ones((N, steps))
    weights[2, 1] = 0
    for given, message in (
        ({}, refused),
        ({"sample_weight": weights}, r"^y\[4, 0\]: "),
        ({"sample_weight": np.arange(N) != 2}, r"^y\[4, 0\]: "),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(ids, wrong, verbose=0, **given)
    plain = lc.Sequential([layers.LSTM(2, return_sequences=True), layers.Dense(3, "softmax")])
    plain.compile("sgd", "categorical_crossentropy")
    valid = ids != 0
    plain.fit(X, blank, mask=valid, verbose=0)
    with pytest.raises(ValueError, match=refused):
        plain.fit(X, wrong, mask=valid, verbose=0)
    with pytest.raises(ValueError, match=r"^y\[4, 0\]: "):
        plain.fit(X, wrong, mask=valid, sample_weight=weights, verbose=0)
    rows = [x[:count] for x, count in zip(X, valid.sum(axis=1), strict=True)]
    ragged = [values[: len(x)] for values, x in zip(wrong, rows, strict=True)]
    with pytest.raises(ValueError, match=r"^y\[2\]\[1\]: "):
        plain.fit(rows, ragged, verbose=0)
    own = [values[: len(x)] for values, x in zip(weights, rows, strict=True)]
    for some in (own, weights, np.arange(N) != 2):
        with pytest.raises(ValueError, match=r"^y\[4\]\[0\]: "):
            plain.fit(rows, ragged, sample_weight=some, verbose=0)
    assert model.evaluate(ids, wrong, sample_weight=np.zeros(N), verbose=0) == 0
    with pytest.raises(ValueError, match=r"^y\[4, 0\]: "):  # weights as a list of rows
        plain.fit(X, wrong, sample_weight=list(weights * valid), verbose=0)


AFTER = {
    "pooled": [layers.GlobalMaxPooling1D()],
    "averaged": [layers.GlobalAveragePooling1D()],
    "in windows": [layers.MaxPooling1D(2)],
    "dropped out": [layers.Dropout(0.1)],
    "several": [layers.TimeDistributed(layers.Dropout(0.1)), layers.GlobalAveragePooling1D()],
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(("units", "activation", "names", "message"), HEADS)
def test_last_layers_are_checked_before_pooling_or_dropout(
    after, units, activation, names, message
):
    for name in names:
        last = layers.Dense(units, activation, name="last")
        rest = [layer.copy() for layer in AFTER[after]]
        model = lc.Sequential([layers.LSTM(2, return_sequences=True), last, *rest])
        if message is None:
            model.compile("sgd", LOSSES[name])
            continue
        with pytest.raises(ValueError, match=f"'last'.*{message}|{message}"):
            model.compile("sgd", LOSSES[name])


@pytest.mark.parametrize(
    "within",
    [
        lambda: layers.Dense(1, activation="softmax"),
        lambda: convolution(1, "softmax"),
        lambda: in_time(1, "softmax"),
        lambda: layers.Residual([in_time(1, "softmax"), layers.Dense(2)]),
    ],
)
def test_softmax_of_one_unit_is_refused_anywhere(within):
    middle = within()
    middle.name = "middle"
    model = lc.Sequential([layers.LSTM(2, return_sequences=True), middle, layers.LSTM(2)])
    with pytest.raises(ValueError, match="layer 'middle': expected several units with softmax"):
        model.compile("sgd", "mse")


def test_layers_without_their_own_activation_are_checked_by_their_outputs():
    pooled = lc.Sequential(
        [
            layers.LSTM(2, return_sequences=True),
            layers.Dense(1, activation="sigmoid"),
            layers.GlobalMaxPooling1D(),
        ]
    )
    pooled.compile("sgd", "binary_crossentropy")
    pooled.fit(X, LABELS, verbose=0)
    plain = lc.Sequential([layers.LSTM(1)])
    plain.compile("sgd", "binary_crossentropy")
    with pytest.raises(ValueError, match=r"expects probabilities in \[0, 1\]"):
        plain.fit(100 * X, LABELS, verbose=0)


# ---- targets -------------------------------------------------------------------------------------

TARGETS = {
    # units, activation, loss, y, text of the error
    "binary -1 and 1": (
        1,
        "sigmoid",
        "binary",
        2 * LABELS - 1,
        r"got -1 to 1, the first outside .* y > 0",
    ),
    "binary 1 and 2": (1, "sigmoid", "binary", LABELS + 1, r"got 1 to 2, .*; .* pass y - 1"),
    "binary several": (
        1,
        "sigmoid",
        "binary",
        np.arange(N) % 3,
        "got 0 to 2, .*Dense.3, .*sparse",
    ),
    "binary numbers": (
        1,
        "sigmoid",
        "binary",
        X[:, 0, 0],
        r"\[0, 1\], got -\d\S* to \d\.\d*, .*y\[0\]$",
    ),
    "binary logits": (1, None, "binary logits", LABELS + 1, r"got 1 to 2, .* pass y - 1"),
    "labels 1 and 2": (
        2,
        "softmax",
        "sparse",
        LABELS + 1,
        r"got 2 at y\[[01]\]; .* pass y - 1",
    ),
    "labels 5 and 6": (2, "softmax", "sparse", LABELS + 5, r"for 5 to 6 pass y - 5; .*Classifier"),
    "labels 5 to 9": (
        2,
        "softmax",
        "sparse",
        5 + np.arange(N) % 5,
        r"got 5 at y\[0\]; .* for 5 to 9 pass y - 5 and end the model with Dense.5, .*any labels$",
    ),
    "binary 5 and 6": (1, "sigmoid", "binary", LABELS + 5, r"got 5 to 6, .* 5 to 6 pass y - 5"),
    "labels -1 and 1": (
        2,
        "softmax",
        "sparse",
        2 * LABELS - 1,
        r"got -1 at y\[[01]\]; .* y > 0",
    ),
    "labels above": (
        2,
        "softmax",
        "sparse",
        np.arange(N),
        r"got 2 at y\[2\]; for the labels 0 to 5 .*Dense.6",
    ),
    "labels far above": (2, "softmax", "sparse", LABELS * 10**6, r"got 1000000 at y\[[01]\]$"),
    "labels of text": (2, "softmax", "sparse", ["a", "b"] * 3, "got strings; .*numpy.unique"),
    "labels of digits": (2, "softmax", "sparse", ["0", "1"] * 3, "got strings"),
    "labels between": (2, "softmax", "sparse", LABELS + 0.5, r"whole numbers, but y\[0\] is 0.5"),
    "one-hot": (2, "softmax", "sparse", np.eye(2)[LABELS], r"\(6, 2\); .*argmax\(axis=-1\)"),
    "labels for one-hot": (2, "softmax", "categorical", LABELS, "sparse_categorical_crossentropy"),
    "labels for mse": (2, "softmax", "mse", LABELS, r"y: expected shape \(N, 2\) .* got \(6,\)"),
    "text for mse": (1, None, "mse", ["1.5"] * N, "got strings"),
    "wide for mse": (1, None, "mse", np.zeros((N, 2)), r"y: expected shape \(N, 1\)"),
    "narrow for mse": (2, None, "mse", np.zeros((N, 1)), r"y: expected shape \(N, 2\)"),
    "one for all": (1, None, "mse", 1.0, r"y: expected shape \(N, 1\)"),
    "one row for all": (1, None, "mse", [[1.0]], "y: expected 6 entries like x, got 1"),
    "steps for sequences": (1, None, "mse", X[..., :1], r"y: expected shape \(N, 1\)"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_that_do_not_fit(name):
    units, activation, loss, y, message = TARGETS[name]
    model = model_of(units, activation, loss=LOSSES[loss])
    calls = (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch)
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=message):
            call(X, y)
    assert not model.built


@pytest.mark.parametrize(
    ("units", "activation", "loss", "y"),
    [
        (1, "sigmoid", "binary", LABELS > 0),
        (1, "sigmoid", "binary", (LABELS > 0)[:, None]),
        (1, "sigmoid", "binary", np.full(N, 0.5)),
        (2, "softmax", "sparse", LABELS > 0),
        (2, "softmax", "sparse", LABELS[:, None].astype(float)),
        (2, "softmax", "categorical", np.eye(2)[LABELS] > 0),
        (1, None, "mse", np.ones(N, int)),  # constant targets are allowed
    ],
)
def test_targets_that_fit(units, activation, loss, y):
    model = model_of(units, activation, loss=LOSSES[loss])
    history = model.fit(np.ones((N, T, C)), y, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    "weights", [{"sample_weight": np.zeros(N)}, {"class_weight": {0: 0, 1: 0}}]
)
def test_weights_that_are_all_zero(weights):
    model = model_of(2, "softmax", loss="sparse_categorical_crossentropy")
    with pytest.raises(
        ValueError, match="sample_weight: expected a weight above 0, got zeros only"
    ):
        model.fit(X, LABELS, verbose=0, **weights)
    assert not model.built


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("balanced", r"class_weight: expected a mapping .*such as \{0: .*np.bincount\(y\)"),
        ([1.0, 2.0], r"class_weight: expected a mapping .*pass dict\(enumerate\(weights\)\)"),
        ({2: 1.0}, r"class_weight: expected classes 0\.\.1, got 2"),
        ({2.0: 1.0}, r"class_weight: expected classes 0\.\.1, got 2"),
        ({"0": 1.0}, "class_weight: expected an integer, got '0'"),
        ({0.5: 1.0}, "class_weight: expected an integer, got 0.5"),
        ({np.nan: 1.0}, "class_weight: expected an integer, got nan"),
        ({0: -1.0}, r"class_weight\[0\]: expected a number"),
        ({0: "1"}, r"class_weight\[0\]: expected a number"),
    ],
)
def test_class_weights_that_do_not_fit(weights, message):
    model = model_of(2, "softmax", loss="sparse_categorical_crossentropy")
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(X, LABELS, class_weight=weights, verbose=0)


def test_balanced_class_weights_as_the_error_suggests():
    labels = np.array([0, 0, 0, 1, 1, 2])
    counts = np.bincount(labels)
    balanced = dict(enumerate(len(labels) / (len(counts) * counts)))
    assert balanced == {0: 6 / 9, 1: 6 / 6, 2: 6 / 3}
    model = model_of(3, "softmax", loss="sparse_categorical_crossentropy")
    model.fit(X, labels, class_weight=balanced, verbose=0)


@pytest.mark.parametrize(
    "keys", [(0.0, 1.0), (False, True), (np.float32(0), np.float64(1)), (np.bool_(0), np.int8(1))]
)
def test_classes_may_be_of_any_type_that_labels_are(keys):
    values = []
    for classes in ((0, 1), keys):
        model = model_of(2, "softmax", loss="sparse_categorical_crossentropy")
        weights = dict(zip(classes, (0.5, 3.0), strict=True))
        values.append(model.train_on_batch(X, LABELS, class_weight=weights))
    assert values[0] == values[1]


# ---- inputs, callbacks, metrics ------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [[X, X], (X, X, X), [X[:, 0], X[:, 1]], [X[:, 0], X[:, 1, :2]]],
    ids=["two", "three", "rows", "widths"],
)
def test_two_inputs(x):
    model = model_of(2, "softmax", loss="sparse_categorical_crossentropy")
    message = rf"if x is meant as {len(x)} inputs of 6 samples.*numpy.concatenate\(x, axis=-1\)"
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(ValueError, match=message):
            call(x, LABELS)
    ids = lc.Sequential([layers.Embedding(3, 2), layers.LSTM(2), layers.Dense(1)])
    ids.compile("sgd", "mse")
    with pytest.raises(ValueError, match="if x is meant as 2 inputs"):
        ids.fit([LABELS[:, None]] * 2, LABELS)
    coder = lc.EncoderDecoder(5, 5)
    coder.compile()
    with pytest.raises(ValueError, match="if x is meant as 2 inputs"):
        coder.fit([np.full((N, T), 3)] * 2, np.full((N, T), 3))
    for named in ({"a": X}, {1, 2}):
        with pytest.raises(TypeError, match="x: expected an array or a list .* one input"):
            model.fit(named, LABELS)


def test_only_errors_about_x_mention_two_inputs():
    model = lc.Sequential([layers.LSTM(2, return_sequences=True), in_time(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = [X[0], X[1]], [LABELS[:T], LABELS[:T]]
    model.fit(x, y, verbose=0)  # two rows of equal length
    cases = [
        (x, [y[0], y[1] + 7], {}, "y: expected labels in 0..1"),
        (x, [y[0], y[1][:-1]], {}, "y: expected 4 entries in row 1"),
        (x, np.array(3), {}, "y: expected"),
        (x, y, {"sample_weight": [1.0, -1.0]}, "sample_weight: expected finite"),
        (x, y, {"class_weight": {7: 1.0}}, "class_weight: expected classes"),
        (x, y, {"mask": np.ones((2, T), np.int64)}, "mask: expected"),
        ([X[0], X[1] * np.nan], y, {}, r"x\[1\]\[0, 0\] is nan"),
    ]
    for given, targets, options, message in cases:
        with pytest.raises((TypeError, ValueError), match=f"^{message}") as error:
            model.fit(given, targets, verbose=0, **options)
        assert "meant as" not in str(error.value)


def test_rows_of_other_widths_are_not_inputs():
    model = model_of(2, "softmax", loss="sparse_categorical_crossentropy")
    with pytest.raises(
        ValueError, match=r"all rows alike, got shape \(3, 2\) at 1, \(4, 3\) before$"
    ):
        model.fit([X[0], X[1, :3, :2]], [0, 1])


@pytest.mark.parametrize(
    "make",
    [
        lambda model: model.compile(lc.optimizers.Adam, "mse"),
        lambda model: model.compile("adam", lc.losses.Huber),
        lambda model: model.compile("adam", "mse", lc.metrics.R2),
        lambda model: model.compile("adam", "mse", weighted_metrics=[lc.metrics.R2]),
        lambda _: lc.Sequential([layers.LSTM]),
        lambda model: model.add(layers.Dense),
        lambda _: layers.Bidirectional(layers.LSTM),
        lambda _: layers.TimeDistributed(layers.Dense),
        lambda _: layers.Residual(layers.LSTM),
        lambda _: layers.RNN(layers.LSTMCell),
        lambda _: layers.Dense(2, kernel_regularizer=lc.regularizers.L2),
        lambda _: layers.Dense(2, kernel_constraint=lc.constraints.MaxNorm),
        lambda _: lc.optimizers.Adam(lc.schedules.CosineDecay),
    ],
)
def test_a_class_instead_of_an_object(make):
    with pytest.raises(TypeError, match="expected .*got the class [A-Z0-9a-z]+; call it"):
        make(model_of(1, None))


def test_one_callback_and_one_metric():
    model = lc.Sequential([layers.LSTM(2), layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics="accuracy")
    seen = []
    note = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)))
    for given in (note, [note], (note,), iter([note]), None, []):
        model.fit(X, LABELS, callbacks=given, verbose=0)
    assert seen == [["accuracy", "loss"]] * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (print, r"got <built-in .*callbacks.LambdaCallback\(on_epoch_end=function\)"),
        ([print], r"got <built-in .*callbacks.LambdaCallback\(on_epoch_end=function\)"),
        (callbacks.History, "got the class History; call it to make an object$"),
        ([callbacks.History], "got the class History; call it to make an object$"),
        ([None], r"expected Callback objects, got None \(NoneType\)$"),
        (3, r"expected Callback objects, got 3 \(int\)$"),
        ("early", "expected Callback objects, got 'early'"),
    ],
)
def test_objects_that_are_not_callbacks(given, message):
    model = model_of(2, "softmax", loss="sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=f"callbacks: .*{message}"):
        model.fit(X, LABELS, callbacks=given, verbose=0)
