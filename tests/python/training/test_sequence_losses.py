"""Losses of whole sequences, whose targets have their own lengths."""

import math

import numpy as np
import pytest

import lstmcore as lc
from layer_kit import check_step
from lstmcore import layers, losses

TARGETS = [[0, 2, 2], [], [1]]
LENGTHS = np.array([4, 2, 3])
STEPS, UNITS = 4, 3


def plain(targets, outputs, lengths):
    """Compute the losses of all sequences, by loops."""
    found = []
    for labels, row, length in zip(targets, outputs, lengths, strict=True):
        total = 0.0
        for unit in range(UNITS):
            absent = math.prod(1 - p for p in row[:length, unit])
            total -= math.log(1 - absent) if unit in labels else math.log(absent)
        found.append(total / UNITS)
    return np.array(found)


def forms(rng):
    logits = rng.standard_normal((3, STEPS, UNITS))
    outputs = 1 / (1 + np.exp(-logits))
    loss = losses.PresenceCrossentropy()
    return outputs, [(loss, outputs), (loss.with_logits(), logits)]


@pytest.mark.parametrize("weights", [None, np.array([2.0, 0.5, 0.0])], ids=["plain", "weighted"])
def test_presence_follows_its_definition(weights, rng):
    outputs, cases = forms(rng)
    expected = plain(TARGETS, outputs, LENGTHS) * (1 if weights is None else weights)
    for loss, seen in cases:
        value = loss(TARGETS, seen, weights, lengths=LENGTHS)
        assert value == pytest.approx(expected.mean(), rel=1e-13)
        assert loss(TARGETS, seen) == pytest.approx(
            plain(TARGETS, outputs, [STEPS] * 3).mean(), rel=1e-13
        )


def test_presence_has_the_gradient_of_its_value(rng):
    weights = np.array([2.0, 0.5, 1.0])
    for loss, seen in forms(rng)[1]:
        assert losses.check_gradient(loss, TARGETS, seen) < 1e-7
        _, gradient = loss.value_and_gradient(TARGETS, seen, weights, lengths=LENGTHS)
        for place in np.ndindex(*seen.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = seen.copy()
                moved[place] += step
                ends.append(loss(TARGETS, moved, weights, lengths=LENGTHS))
            # Values near 1 have rounding errors of 1e-16, which are divided by 2e-6.
            assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-9)
        assert not gradient[1, 2:].any()  # past the row's end


def test_float32_is_float64_rounded(rng):
    for loss, seen in forms(rng)[1]:
        few = seen.astype(np.float32)
        value, gradient = loss.value_and_gradient(TARGETS, few)
        exact, exact_gradient = loss.value_and_gradient(TARGETS, few.astype(np.float64))
        assert gradient.dtype == np.float32
        assert value == exact  # computed in float64
        np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-7)


def test_padding_and_rows_of_weight_0_may_hold_anything(rng):
    weights = np.array([1.0, 0.0, 1.0])
    for loss, seen in forms(rng)[1]:
        value, gradient = loss.value_and_gradient(TARGETS, seen, weights, lengths=LENGTHS)
        changed = seen.copy()
        changed[1] = np.nan
        changed[2, 3] = np.nan
        again, same = loss.value_and_gradient(TARGETS, changed, weights, lengths=LENGTHS)
        assert again == value
        np.testing.assert_array_equal(same, gradient)
        assert not gradient[1].any()


def test_extreme_logits_are_exact():
    loss = losses.PresenceCrossentropy(from_logits=True)
    outputs = np.full((1, 1, 1), -200.0)
    value, gradient = loss.value_and_gradient([[0]], outputs)
    assert value == 200.0  # log P = -200
    assert gradient == pytest.approx(-1.0, rel=1e-12)
    value, gradient = loss.value_and_gradient([[]], -outputs)
    assert value == 200.0
    assert gradient == pytest.approx(1.0, rel=1e-12)


def test_a_sequence_without_steps_costs_nothing():
    outputs = np.full((2, 2, 3), 0.5)
    value, gradient = losses.PresenceCrossentropy().value_and_gradient(
        [[0], [1]], outputs, lengths=[0, 2]
    )
    assert value == pytest.approx(plain([[1]], outputs[1:], [2])[0] / 2, rel=1e-14)
    assert not gradient[0].any()


# ---- in training -------------------------------------------------------------------------------

EVENTS = 3  # kinds of events, each a jump in one channel for one step


def sequences(rng, count=300):
    """Make sequences of 5 to 15 steps of noise with events; return their steps and kinds too."""
    x, places, present = [], [], []
    for length in rng.integers(5, 16, count):
        where = rng.uniform(size=(length, EVENTS)) < 0.05
        noise = 0.3 * rng.standard_normal((length, EVENTS))
        x.append((noise + where * 1.5).astype(np.float32))
        places.append(where)
        present.append(np.flatnonzero(where.any(axis=0)))
    return x, places, present


def make_model(first=None, **options):
    first = first or layers.LSTM(8, return_sequences=True)
    model = lc.Sequential([first, layers.Dense(EVENTS, activation="sigmoid")])
    model.compile(lc.optimizers.Adam(0.02), "presence_crossentropy", **options)
    return model


def test_labels_of_sequences_train_a_model(rng):
    """End to end: ragged inputs, targets of different lengths, metrics, validation."""
    model = make_model(metrics=["accuracy", "f1", "auc"])
    x, _, present = sequences(rng)
    history = model.fit(x, present, epochs=60, validation_split=0.2, verbose=0).history
    assert history["val_loss"][-1] < 0.1 * history["val_loss"][0]
    x, _, present = sequences(rng)
    result = model.evaluate(x, present, verbose=0, return_dict=True)
    # Fresh data, three seeds: 0.967 to 0.98, 0.956 to 0.973 and 0.991 to 0.997.
    assert result["accuracy"] > 0.95
    assert result["f1"] > 0.94
    assert result["auc"] > 0.98


def test_labels_of_sequences_train_a_model_that_finds_the_steps(rng):
    """The labels say which events occur, and the model finds the steps.

    The model sees each step alone: an LSTM remembers events and may report them at later steps.
    """
    model = make_model(layers.Dense(8, activation="tanh"))
    x, _, present = sequences(rng)
    model.fit(x, present, epochs=60, verbose=0)
    x, places, _ = sequences(rng)
    steps = np.concatenate(model.predict(x, verbose=0)) > 0.5
    events = np.concatenate(places)
    assert (steps & events).sum() > 0.9 * events.sum()
    assert (steps & events).sum() > 0.9 * steps.sum()


def test_the_loss_is_the_mean_over_sequences(rng, tmp_path):
    model = make_model(metrics="binary_accuracy", weighted_metrics=[lc.metrics.Recall()])
    x, _, present = sequences(rng, 20)
    weights = rng.uniform(size=20)
    model.fit(x, present, batch_size=4, sample_weight=weights, verbose=0)
    outputs = model.predict(x, verbose=0)
    expected = [plain([a], b[None], [len(b)])[0] for a, b in zip(present, outputs, strict=True)]
    loss, accuracy, recall = model.evaluate(
        x, present, batch_size=3, sample_weight=weights, verbose=0
    )
    # From float32 outputs, but without the rounding of probabilities.
    assert loss == pytest.approx(np.mean(weights * expected), rel=1e-5)
    chosen = np.array([1 - np.prod(1 - row, axis=0) > 0.5 for row in outputs])
    wanted = np.array([np.isin(range(EVENTS), labels) for labels in present])
    assert accuracy == pytest.approx((chosen == wanted).mean())
    hits, below = (weights @ (chosen & wanted), weights @ wanted)
    figures = np.divide(hits, below, out=np.zeros(EVENTS), where=below > 0)
    assert recall == pytest.approx(figures.mean())
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = lc.load(path).evaluate(x, present, batch_size=3, sample_weight=weights, verbose=0)
    assert again == [loss, accuracy, recall]


def test_the_gradient_reaches_the_weights(rng):
    model = lc.Sequential(
        [layers.LSTM(2, return_sequences=True), layers.Dense(UNITS, activation="sigmoid")],
        dtype="float64",
    )
    model.compile(lc.optimizers.SGD(1.0), "presence_crossentropy")
    assert model.compiled.takes_logits
    x = [rng.standard_normal((length, 2)) for length in LENGTHS]
    model.build((None, None, 2))
    check_step(model, x, TARGETS, 5, abs=1e-9)


def test_targets_may_be_an_array_and_longer_than_the_outputs(rng):
    model = make_model()
    x = rng.standard_normal((4, 2, EVENTS)).astype(np.float32)
    y = np.array([[0, 1, 1, 0, 1]] * 4)
    assert model.evaluate(x, y, verbose=0) == model.evaluate(x, [[0, 1]] * 4, verbose=0)


class LastLabel(losses.SequenceLoss):
    """A user's loss: half the squared difference of the sum of all outputs and the last label."""

    def sum_sequences(
        self,
        targets,
        target_lengths,
        outputs,
        lengths,
        weights=None,
        scale=1.0,
        need_gradient=False,
    ):
        last = targets[np.arange(len(targets)), target_lengths - 1]
        valid = np.arange(outputs.shape[1]) < lengths[:, None]
        missed = (outputs * valid[:, :, None]).sum(axis=(1, 2)) - last
        factors = 1.0 if weights is None else weights
        gradient = (missed * factors * scale)[:, None, None] * valid[:, :, None]
        gradient = np.broadcast_to(gradient, outputs.shape).astype(outputs.dtype)
        return float((factors * missed**2).sum() / 2), gradient if need_gradient else None


def test_own_sequence_losses(rng, tmp_path):
    loss = LastLabel()
    assert losses.check_gradient(loss, [[0, 1], [2]], rng.standard_normal((2, 3, 4))) < 1e-8
    model = lc.Sequential([layers.LSTM(4, return_sequences=True), layers.Dense(5)])
    model.compile(lc.optimizers.Adam(0.02), loss)
    x = [rng.standard_normal((length, 2)).astype(np.float32) for length in (3, 5, 2)]
    history = model.fit(x, [[1, 2], [0], [4, 4, 4, 3]], epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.01 * history[0]
    model.save(tmp_path / "model.safetensors")
    loaded = lc.load(tmp_path / "model.safetensors", custom_objects={"LastLabel": LastLabel})
    assert isinstance(loaded.compiled.loss, LastLabel)
    with pytest.raises(ValueError, match="metrics: expected none alongside LastLabel"):
        model.compile("sgd", loss, ["mae"])


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "options", "match"),
    [
        ([[0], [3]], {}, r"y: expected labels in 0\.\.2 .*got 3"),
        ([[0], [-1]], {}, r"y: expected labels in 0\.\.2 .*got -1"),
        ([[0]], {}, "y: expected 2 entries like x, got 1"),
        ([[0], [[1]]], {}, r"y: expected rows \(S,\) of labels, got shape \(1, 1\) at 1"),
        (np.zeros(2, int), {}, r"y: expected a list of rows of labels, or an array \(N, S\)"),
        ([[0], [1]], {"class_weight": {0: 1}}, "class_weight: expected None"),
        ([[0], [1]], {"sample_weight": np.ones((2, 4))}, r"sample_weight: expected shape \(N,\)"),
        ([[0], [1]], {"tbptt": 2}, "tbptt: expected None for PresenceCrossentropy"),
    ],
)
def test_bad_targets_are_refused(y, options, match):
    model = make_model()
    with pytest.raises(ValueError, match=match):
        model.fit(np.zeros((2, 4, EVENTS), np.float32), y, verbose=0, **options)


def test_labels_that_are_not_integers_are_refused():
    with pytest.raises(ValueError, match=r"y\[1\]: .* whole .* y\[1\]\[0\] is 0.5"):
        make_model().fit(np.zeros((2, 4, EVENTS), np.float32), [[0], [0.5]], verbose=0)


def test_models_without_time_are_refused():
    model = lc.Sequential([layers.LSTM(4), layers.Dense(2, activation="sigmoid")])
    model.compile("sgd", "presence_crossentropy")
    with pytest.raises(ValueError, match=r"outputs \(N, T, U\), .* use return_sequences=True"):
        model.fit(np.zeros((2, 4, 3), np.float32), [[0], [1]], verbose=0)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda loss: loss([[0]], np.ones((1, 3))),
            ValueError,
            r"y_pred: expected shape \(N, T, U",
        ),
        (lambda loss: loss([[0]], np.ones((2, 3, 1))), ValueError, "y_true: expected 2 rows"),
        (lambda loss: loss([[0]], np.ones((1, 3, 1)), [1, 1]), ValueError, "sample_weight"),
        (lambda loss: loss([[0]], np.ones((1, 3, 1)), lengths=[4]), ValueError, "lengths"),
        (lambda loss: loss([[0]], np.full((1, 3, 1), 1.5)), ValueError, "probabilities in"),
        (lambda loss: loss.sum(np.zeros(1), np.ones((1, 1))), TypeError, "whole sequences"),
        (lambda loss: lc.metrics.MeanLoss(loss), TypeError, "expected a Loss of rows"),
    ],
)
def test_bad_calls_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make(losses.PresenceCrossentropy())


def test_an_encoder_decoder_refuses_losses_of_sequences():
    model = lc.EncoderDecoder(10, 10)
    with pytest.raises(ValueError, match="loss: expected one whose targets are tokens"):
        model.compile("adam", "presence_crossentropy")
