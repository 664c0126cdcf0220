"""Connectionist temporal classification as a loss, alone and in training."""

import itertools

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import check_step
from lstmcore import decoding, layers, losses

STEPS, UNITS = 5, 4
LENGTHS = np.array([5, 4, 3, 5, 1])
TARGETS = [[1, 3, 1], [2, 2], [], [1, 1, 3], [3]]


def read(alignment, blank):
    """Merge equal neighbours, then remove blanks."""
    return [symbol for symbol, _ in itertools.groupby(alignment) if symbol != blank]


def plain(labels, probabilities, blank=0):
    """Compute a loss and the share of each symbol at each step, over all alignments."""
    total, shares = 0.0, np.zeros_like(probabilities)
    steps, units = probabilities.shape
    for alignment in itertools.product(range(units), repeat=steps):
        if read(alignment, blank) == list(labels):
            probability = np.prod(probabilities[np.arange(steps), alignment])
            total += probability
            shares[np.arange(steps), alignment] += probability
    return -np.log(total), shares / total


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def expected(logits, weights, blank=0, targets=TARGETS):
    """Return the mean loss and its gradient with respect to logits, by the slow reference."""
    value, gradient = 0.0, np.zeros_like(logits)
    for row, (labels, length) in enumerate(zip(targets, LENGTHS, strict=True)):
        probabilities = softmax(logits[row, :length])
        loss, shares = plain(labels, probabilities, blank)
        value += weights[row] * loss / len(logits)
        gradient[row, :length] = weights[row] * (probabilities - shares) / len(logits)
    return value, gradient


@pytest.mark.parametrize("blank", [0, 2, 3])
@pytest.mark.parametrize("weights", [np.ones(5), np.array([2.0, 0.5, 0.0, 1.0, 3.0])])
def test_ctc_is_the_sum_over_all_alignments(blank, weights, rng):
    logits = 2 * rng.standard_normal((5, STEPS, UNITS))
    targets = [[(label + blank) % UNITS for label in row] for row in TARGETS]
    value, gradient = expected(logits, weights, blank, targets)
    logits[2, 3:] = np.nan  # past the row's length
    loss = losses.CTC(blank, from_logits=True)
    found = loss.value_and_gradient(targets, logits, weights, lengths=LENGTHS)
    assert found[0] == pytest.approx(value, rel=1e-13)
    assert found[1] == pytest.approx(gradient, abs=1e-14)
    assert loss(targets, logits, weights, lengths=LENGTHS) == found[0]
    single = loss.value_and_gradient(targets, logits.astype(np.float32), weights, lengths=LENGTHS)
    assert single[1].dtype == np.float32
    assert single[0] == pytest.approx(value, rel=1e-6)
    assert single[1] == pytest.approx(gradient, abs=1e-6)


def test_probabilities_have_the_loss_of_their_logits(rng):
    logits = rng.standard_normal((5, STEPS, UNITS))
    outputs = softmax(logits)
    loss = losses.CTC()
    value = losses.CTC(from_logits=True)(TARGETS, logits, lengths=LENGTHS)
    assert loss(TARGETS, outputs, lengths=LENGTHS) == pytest.approx(value, rel=1e-13)
    assert loss.with_logits().get_config() == {**loss.get_config(), "from_logits": True}
    gradient = loss.value_and_gradient(TARGETS, outputs, lengths=LENGTHS)[1]
    assert not gradient[2, 3:].any()
    outputs[2, 3:] = np.nan
    assert loss(TARGETS, outputs, lengths=LENGTHS) == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("from_logits", [False, True])
def test_ctc_has_the_gradient_of_its_value(from_logits, rng):
    logits = rng.standard_normal((4, STEPS, UNITS))
    outputs = logits if from_logits else softmax(logits)
    loss = losses.CTC(from_logits=from_logits)
    assert losses.check_gradient(loss, TARGETS[:4], outputs) < 1e-7


def test_targets_may_be_padded(rng):
    logits = rng.standard_normal((5, STEPS, UNITS))
    expected = losses.CTC(from_logits=True)(TARGETS, logits, lengths=LENGTHS)
    for padding in (-1, 0, 99):  # 0 is also the blank, as in Keras
        padded = np.full((5, 4), padding)
        for row, labels in zip(padded, TARGETS, strict=True):
            row[: len(labels)] = labels
        loss = losses.CTC(padding=padding, from_logits=True)
        assert loss(padded, logits, lengths=LENGTHS) == expected
        assert loss(padded.tolist(), logits, lengths=LENGTHS) == expected
        counts = [len(labels) for labels in TARGETS]
        loss = losses.CTC(from_logits=True)
        assert loss(padded, logits, lengths=LENGTHS, target_lengths=counts) == expected


def test_pairs_that_do_not_fit_cost_nothing_if_asked(rng):
    logits = rng.standard_normal((3, 3, UNITS))
    targets = [[1, 1, 2], [1, 2, 3], [2, 1, 2, 1]]  # 4 steps, 3, 4
    loss = losses.CTC(infeasible="zero", from_logits=True)
    value, gradient = loss.value_and_gradient(targets, logits)
    alone = losses.CTC(from_logits=True).value_and_gradient(targets[1:2], logits[1:2])
    assert value == pytest.approx(alone[0] / 3, rel=1e-15)
    assert gradient[1] == pytest.approx(alone[1][0] / 3, rel=1e-14)
    assert not gradient[[0, 2]].any()
    logits[1, :, 3] = -np.inf  # a label that cannot be
    steps = np.array([3, 3, 3])
    padded = np.array([[1, 1, 2, 0], [1, 2, 3, 0], [2, 1, 2, 1]])
    parts = (padded, np.array([3, 3, 4]), logits, steps)
    value, gradient = loss.sum_sequences(*parts, need_gradient=True)
    assert value == 0
    assert not gradient.any()
    assert losses.CTC(from_logits=True).sum_sequences(*parts)[0] == np.inf


def test_certain_labels_cost_nothing():
    logits = np.full((1, 4, 3), -200.0)
    logits[0, np.arange(4), [1, 0, 1, 2]] = 200
    value, gradient = losses.CTC(from_logits=True).value_and_gradient([[1, 1, 2]], logits)
    assert value == pytest.approx(0, abs=1e-12)
    assert gradient == pytest.approx(0, abs=1e-12)
    value, _ = losses.CTC(from_logits=True).value_and_gradient([[]], logits)
    assert value == pytest.approx(1200)  # three blanks, which are 400 below their rivals


# ---- in training -------------------------------------------------------------------------------

SHAPES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], np.float32)


def spelled(rng, count):
    """Make sequences that show each of their labels, 1 to 4, for 2 to 5 steps after a pause."""
    x, labels = [], []
    for size in rng.integers(1, 6, count):
        labels.append(rng.integers(1, 5, size))
        steps = [np.zeros((2, 3), np.float32)]
        for label in labels[-1]:
            steps.append(np.repeat(SHAPES[label - 1 : label], rng.integers(2, 6), axis=0))
            steps.append(np.zeros((rng.integers(1, 4), 3), np.float32))
        row = np.concatenate(steps)
        x.append(row + 0.1 * rng.standard_normal(row.shape).astype(np.float32))
    return x, labels


def make_model(loss="ctc", activation="softmax", dtype="float32"):
    model = lc.Sequential(
        [
            layers.Bidirectional(layers.LSTM(12, return_sequences=True)),
            layers.Dense(5, activation=activation),
        ],
        dtype=dtype,
    )
    model.compile(lc.optimizers.Adam(0.02), loss)
    return model


def test_ctc_trains_a_model_that_spells(rng, tmp_path):
    """End to end: ragged inputs and targets, validation, decoding, a file."""
    model = make_model()
    assert model.compiled.takes_logits
    x, labels = spelled(rng, 300)
    history = model.fit(x, labels, epochs=25, validation_split=0.1, verbose=0).history
    assert history["val_loss"][-1] < 0.1 * history["val_loss"][0]
    x, labels = spelled(rng, 100)
    found = decoding.ctc_greedy(model.predict(x, verbose=0))
    # Three seeds: 0 to 0.004.
    assert lc.metrics.character_error_rate(labels, found) < 0.05
    loss = model.evaluate(x, labels, verbose=0)
    rows = zip(labels, model.predict(x, verbose=0), strict=True)
    alone = [losses.CTC()([a], b[None]) for a, b in rows]
    assert loss == pytest.approx(np.mean(alone), rel=1e-3, abs=1e-5)  # the outputs are float32
    path = tmp_path / "model.safetensors"
    model.save(path)
    assert lc.load(path).evaluate(x, labels, verbose=0) == loss


def test_the_forms_of_a_model_learn_the_same(rng):
    x, labels = spelled(rng, 40)
    padded = np.full((40, 6), -1)
    for row, values in zip(padded, labels, strict=True):
        row[: len(values)] = values
    steps = max(map(len, x))
    array = np.zeros((40, steps, 3), np.float32)
    mask = np.zeros((40, steps), bool)
    for row, (values, there) in enumerate(zip(array, mask, strict=True)):
        values[: len(x[row])], there[: len(x[row])] = x[row], True
    found = []
    for activation, loss, inputs, targets, options in (
        ("softmax", "ctc", x, labels, {}),
        (None, losses.CTC(from_logits=True), x, labels, {}),
        ("softmax", losses.CTC(padding=-1), array, padded, {"mask": mask}),
    ):
        model = make_model(loss, activation)
        history = model.fit(
            inputs, targets, epochs=2, shuffle=False, batch_size=40, verbose=0, **options
        )
        found.append(history.history["loss"])
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[2] == pytest.approx(found[0], rel=1e-6)


def test_options_are_in_files(tmp_path):
    loss = losses.CTC(blank=4, padding=-1, infeasible="zero", from_logits=True)
    model = make_model(loss, None)
    model.build((None, None, 3))
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors").compiled.loss
    assert isinstance(again, losses.CTC)
    assert again.get_config() == loss.get_config()
    assert again.get_config()["blank"] == 4


def test_the_gradient_reaches_the_weights(rng):
    model = make_model(dtype="float64")
    model.compile(lc.optimizers.SGD(1.0), "ctc")
    x, labels = spelled(rng, 3)
    model.build((None, None, 3))
    check_step(model, x, labels, 97, rel=1e-6, abs=1e-7)


def test_fewer_steps_of_outputs_than_of_inputs(rng):
    """The steps that count are those of the outputs: a convolution may leave too few."""
    model = lc.Sequential([layers.Conv1D(8, 2, strides=2), layers.Dense(5, activation="softmax")])
    model.compile("adam", "ctc")
    x = rng.standard_normal((3, 8, 3)).astype(np.float32)
    model.fit(x, [[1, 2, 3, 4], [1, 1, 2], []], verbose=0)
    with pytest.raises(
        ValueError, match=r"y\[1\]: expected a target that fits into the model's 4 .* needs 5: 4 "
    ):
        model.fit(x, [[1], [1, 1, 2, 3], [1, 2, 1, 2, 3]], verbose=0)


# ---- bad input ---------------------------------------------------------------------------------


def test_infeasible_pairs_are_refused_before_training(rng):
    model = make_model()
    x = [rng.standard_normal((length, 3)).astype(np.float32) for length in (9, 4, 3)]
    model.build((None, None, 3))
    before = [values.copy() for values in model.get_weights()]
    labels = [[1, 2], [3, 3, 3], [1, 2, 3, 4]]
    with pytest.raises(ValueError, match="y") as raised:
        model.fit(x, labels, verbose=0)
    assert str(raised.value) == (
        "y[1]: expected a target that fits into the model's 4 valid steps of outputs, got one that "
        "needs 5: 3 for its labels and 2 for the blanks between equal neighbours. Of 3 targets, 2 "
        "are too long. Use a longer input, less striding or pooling, or CTC(infeasible='zero'), "
        "with which such rows teach nothing"
    )
    with pytest.raises(ValueError, match=r"y\[1\]: expected a target that fits"):
        model.evaluate(x, labels, verbose=0)
    assert all(map(np.array_equal, before, model.get_weights()))
    weights = np.array([1.0, 0.0, 0.0])  # what does not count may not fit
    assert np.isfinite(model.evaluate(x, labels, sample_weight=weights, verbose=0))
    model.compile("adam", losses.CTC(infeasible="zero"))
    assert np.isfinite(model.fit(x, labels, verbose=0).history["loss"][0])
    with pytest.raises(ValueError, match=r"y_true\[0\]: .* needs 3: 2 for its labels and 1"):
        losses.CTC()([[1, 1]], np.full((1, 2, 2), 0.5))


@pytest.mark.parametrize(
    ("loss", "y", "match"),
    [
        ("ctc", [[1], [0, 2]], r"labels other than the blank, 0, got it at y\[1\]\[0\]; .*"),
        ("ctc", [[1], [2, 0]], r"y\[1\]\[1\]; if it fills up rows of targets, CTC\(padding=0\)"),
        ("ctc", [[1], [5]], r"expected labels in 0\.\.4 .* got 5 at y\[1\]\[0\]"),
        ("ctc", np.array([[1, -1], [1, 2]]), r"-1 at y\[0\]\[1\]; .* CTC\(padding=-1\) leaves"),
        (losses.CTC(padding=-1), [[1, -1, 2], [1]], r"got -1 at y\[0\]\[1\]$"),
        (losses.CTC(blank=5), [[1], [2]], r"blank in 0\.\.4 .* got CTC\(blank=5\)"),
        ("ctc", [[1.5], [2]], "whole"),
        ("ctc", ["a", "b"], r"y\[0\]: expected"),
        ("ctc", [1, 2], r"rows \(S,\) of labels"),
        ("ctc", [[1]], "y: expected 2 entries like x, got 1"),
    ],
)
def test_bad_targets_are_refused(loss, y, match):
    with pytest.raises((TypeError, ValueError), match=match):
        make_model(loss).fit(np.zeros((2, 8, 3), np.float32), y, verbose=0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: losses.CTC(blank=-1), "blank: expected"),
        (lambda: losses.CTC(infeasible="ignore"), "infeasible: expected .*error.*zero"),
        (lambda: losses.CTC(padding=0.5), "padding: expected"),
        (lambda: make_model(activation=None), r"end the model with .*CTC\(from_logits=True\)"),
        (lambda: make_model(losses.CTC(from_logits=True)), "expects logits"),
        (lambda: losses.CTC()([[1]], np.full((1, 2, 2), 1.5)), "probabilities in"),
        (lambda: losses.CTC()([[1]], np.ones((1, 2, 2)), target_lengths=[2]), "target_lengths: "),
        (lambda: losses.CTC()([1], np.ones((1, 2, 2)), target_lengths=[1]), r"array \(N, S\)"),
    ],
)
def test_bad_calls_are_refused(make, match):
    with pytest.raises((TypeError, ValueError), match=match):
        make()


def test_metrics_of_rows_are_refused():
    with pytest.raises(
        ValueError, match="metrics: expected only metrics of sequences.* CTC.* got accuracy"
    ):
        make_model().compile("adam", "ctc", metrics=["accuracy"])


def test_an_infinite_loss_stops_training(rng):
    """Nothing but the loss may say so: the labels fit, but their logit is -infinity."""
    model = make_model(losses.CTC(from_logits=True), None)
    x, labels = spelled(rng, 4)
    model.build((None, None, 3))
    *others, bias = model.get_weights()
    model.set_weights([*others, np.array([0, -np.inf, 0, 0, 0], bias.dtype)])
    labels[0][:] = 1
    with pytest.raises(FloatingPointError, match="the loss is inf"):
        model.fit(x, labels, verbose=0)
