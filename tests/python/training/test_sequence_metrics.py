"""Metrics of whole sequences in training: spans of tags, and error rates of greedy decoding."""

import itertools

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import decoding, layers, losses, metrics

TAGS = ["O", "B-A", "I-A", "B-B", "I-B"]
K, SYMBOLS = len(TAGS), ["", "aa", "b", " "]


def tagged(rng, count=24):
    """Draw rows of numbers and of tags, of which many spans are broken."""
    lengths = rng.integers(1, 9, count)
    x = [rng.standard_normal((length, 2)).astype("float32") for length in lengths]
    return x, [rng.integers(0, K, length) for length in lengths]


def tagger(crf, metric, loss=None, weighted=None):
    parts = [layers.Input((None, 2)), layers.LSTM(6, return_sequences=True)]
    parts.append(layers.Dense(K, activation=None if crf else "softmax"))
    model = lc.Sequential([*parts, layers.CRF(K)] if crf else parts, seed=3)
    usual = "crf" if crf else "sparse_categorical_crossentropy"
    model.compile(lc.optimizers.Adam(0.05), loss or usual, metric, weighted)
    return model


def speaker(metric, blank=0, loss=None):
    model = lc.Sequential(
        [
            layers.Input((None, 2)),
            layers.LSTM(8, return_sequences=True),
            layers.Dense(len(SYMBOLS), activation="softmax"),
        ],
        seed=1,
    )
    model.compile(lc.optimizers.Adam(0.05), loss or losses.CTC(blank), metric)
    return model


def spoken(rng, blank=0, count=20):
    labels = [label for label in range(len(SYMBOLS)) if label != blank]
    y = [rng.choice(labels, rng.integers(0, 4)) for _ in range(count)]
    x = [rng.standard_normal((rng.integers(7, 12), 2)).astype("float32") for _ in y]
    return x, y


@pytest.mark.parametrize("crf", [True, False])
@pytest.mark.parametrize("scheme", [None, "BIO"])
@pytest.mark.parametrize("average", ["micro", "macro"])
def test_span_f1_is_that_of_the_predictions(crf, scheme, average, rng):
    x, y = tagged(rng)
    model = tagger(crf, ["accuracy", metrics.SpanF1(TAGS, scheme, average)])
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=(x, y)).history
    found = [row if crf else row.argmax(axis=1) for row in model.predict(x, verbose=0)]
    expected = metrics.span_f1(y, found, TAGS, scheme=scheme, average=average)
    assert 0 < expected < 1
    result = model.evaluate(x, y, batch_size=5, verbose=0, return_dict=True)
    assert result["span_f1"] == pytest.approx(expected, abs=1e-12)
    assert history["val_span_f1"][-1] == pytest.approx(expected, abs=1e-12)
    accuracy = (np.concatenate(found) == np.concatenate(y)).mean()
    assert result["accuracy"] == pytest.approx(accuracy)
    assert set(history) == {
        f"{of}{name}" for of in ("", "val_") for name in ("loss", "accuracy", "span_f1")
    }


def test_span_f1_by_name_has_the_tags_of_the_loss(rng, tmp_path):
    x, y = tagged(rng)
    model = tagger(True, ["span_f1"], losses.CRF(TAGS))
    model.fit(x, y, epochs=2, verbose=0)
    result = model.evaluate(x, y, verbose=0, return_dict=True)
    assert result["span_f1"] == metrics.span_f1(y, model.predict(x, verbose=0), TAGS)
    model.save(tmp_path / "tagger.safetensors")
    again = lc.load(tmp_path / "tagger.safetensors")
    assert again.compiled.loss.tags == TAGS
    assert again.evaluate(x, y, verbose=0, return_dict=True) == result
    assert losses.CRF().get_config() == {}  # as in older files


def test_masked_steps_and_unknown_targets_are_not_in_the_rows(rng):
    x = rng.standard_normal((6, 8, 2)).astype("float32")
    y, mask = rng.integers(0, K, (6, 8)), rng.random((6, 8)) < 0.7
    mask[:, 0] = True
    model = tagger(False, metrics.SpanF1(TAGS))
    found = model.predict(x, mask=mask, verbose=0).argmax(axis=2)
    expected = metrics.span_f1(y, found, TAGS, mask=mask)
    wrong = np.where(mask, y, -1)
    assert model.evaluate(x, wrong, mask=mask, verbose=0)[1] == pytest.approx(expected)
    # Weights of 0 where a target is not known leave it out, like a mask that only metrics see.
    found = model.predict(x, verbose=0).argmax(axis=2)
    expected = metrics.span_f1(y, found, TAGS, mask=mask)
    result = model.evaluate(x, wrong, sample_weight=mask.astype("float32"), verbose=0)
    assert result[1] == pytest.approx(expected)


@pytest.mark.parametrize("blank", [0, 3])
def test_error_rates_are_those_of_greedy_decoding(blank, rng, tmp_path):
    x, y = spoken(rng, blank)
    symbols = SYMBOLS if blank == 0 else [" ", "aa", "b", ""]
    measured = [
        "cer",
        "word_error_rate",
        metrics.CharacterErrorRate(symbols, "letters"),
        metrics.WordErrorRate(symbols, "words"),
    ]
    model = speaker(measured, blank)
    # Weights with which it says a lot, and a rate at which they stay so.
    model.set_weights([2 * rng.standard_normal(one.shape) for one in model.get_weights()])
    model.optimizer.learning_rate = 1e-4
    history = model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y)).history
    found = decoding.ctc_greedy(model.predict(x, verbose=0), blank=blank)
    texts = [["".join(symbols[label] for label in row) for row in rows] for rows in (y, found)]
    expected = {
        "cer": metrics.character_error_rate(y, found),
        "word_error_rate": metrics.word_error_rate(y, found),
        "letters": metrics.character_error_rate(*texts),
        "words": metrics.word_error_rate(*texts),
    }
    result = model.evaluate(x, y, batch_size=7, verbose=0, return_dict=True)
    for name, value in expected.items():
        assert result[name] == pytest.approx(value)
        assert history[f"val_{name}"][-1] == pytest.approx(value)
    assert len(set(expected.values())) == 3  # each label is a letter, or a word
    model.save(tmp_path / "speaker.safetensors")
    assert lc.load(tmp_path / "speaker.safetensors").evaluate(
        x, y, batch_size=7, verbose=0, return_dict=True
    ) == pytest.approx(result)


def test_training_lowers_the_error_rate_and_callbacks_know_that(rng):
    """The label of a step is the sign of its first number; equal neighbours are merged."""
    x = [rng.choice([-1.0, 1.0], (6, 2)) for _ in range(60)]
    y = [[key for key, _ in itertools.groupby(np.where(row[:, 0] > 0, 1, 2))] for row in x]
    model = speaker(["cer"])
    stopping = lc.callbacks.EarlyStopping("val_cer", patience=20, restore_best_weights=True)
    history = model.fit(x, y, epochs=40, verbose=0, validation_data=(x, y), callbacks=stopping)
    rates = history.history["val_cer"]
    assert min(rates) < 0.05 < rates[0]
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(min(rates))


def test_rows_by_hand():
    rate = metrics.CharacterErrorRate()
    rate.update([[1, 2, 3], [1]], [[1, 3], [1]])
    rate.update([[]], [[]])
    assert rate.result() == pytest.approx(1 / 4)
    rate.reset()
    assert rate.result() == 0.0
    rate.update([[]], [[2]])
    assert rate.result() == float("inf")
    f1 = metrics.SpanF1(TAGS)
    f1.update([[1, 2, 0, 3]], [[1, 2, 0, 0]])
    assert f1.result() == pytest.approx(2 / 3)
    assert f1.fresh().result() == 0.0
    with pytest.raises(ValueError, match="y_pred: expected 1 rows like y_true, got 2"):
        f1.update([[1]], [[1], [2]])
    with pytest.raises(ValueError, match="sample_weight: expected None for SpanF1"):
        f1.update([[1]], [[1]], [1.0])
    with pytest.raises(ValueError, match="tags: expected the names of the tags, got None"):
        metrics.SpanF1().update([[1]], [[1]])


class Longest(metrics.SequenceMetric):
    """A user's metric: the longest sequence that is right as a whole."""

    def reset(self):
        self.longest = 0

    def update_sequences(self, y_true, y_pred):
        right = [len(a) for a, b in zip(y_true, y_pred, strict=True) if np.array_equal(a, b)]
        self.longest = max([self.longest, *right])

    def result(self):
        return float(self.longest)


def test_metrics_of_ones_own(rng):
    x, y = tagged(rng)
    model = tagger(False, [Longest("longest"), "accuracy"])
    decided = [row.argmax(axis=1) for row in model.predict(x, verbose=0)]
    y = [own if place % 2 else row for place, (own, row) in enumerate(zip(decided, y, strict=True))]
    right = [len(a) for a, b in zip(y, decided, strict=True) if np.array_equal(a, b)]
    assert model.evaluate(x, y, verbose=0, return_dict=True)["longest"] == max(right) > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tagger(True, ["span_f1"]), "'span_f1' needs the names of the tags"),
        (lambda: tagger(True, metrics.SpanF1(TAGS[:3])), "name for each of the 5 outputs, got 3"),
        (lambda: tagger(False, "cer"), "CharacterErrorRate expects the loss 'ctc'"),
        (lambda: speaker(metrics.SpanF1(TAGS)), "SpanF1 expects a loss about tags"),
        (lambda: speaker(metrics.WordErrorRate(["a"])), "text for each of the 4 outputs"),
        (lambda: metrics.SpanF1(["O", "X-A"]), "tags: expected one of the letters"),
        (lambda: metrics.SpanF1(["O", "E-A"], "BIO"), "tags: expected one of the letters"),
        (lambda: metrics.SpanF1(TAGS, "IOB"), "scheme: expected"),
        (lambda: metrics.SpanF1([]), "tags: expected at least one string"),
        (lambda: tagger(True, None, None, metrics.SpanF1(TAGS)), "'span_f1' has no weights"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_other_refusals():
    with pytest.raises(TypeError, match="tags: expected a sequence of strings"):
        metrics.SpanF1("BIO")
    with pytest.raises(TypeError, match=r"symbols\[1\]: expected a string"):
        metrics.WordErrorRate(["a", 2])
    with pytest.raises(TypeError, match="tags: expected a sequence of strings"):
        losses.CRF("BIO")
    whole = lc.Sequential([layers.Input((4, 2)), layers.LSTM(3), layers.Dense(K, "softmax")])
    with pytest.raises(ValueError, match="'span_f1' expects outputs at each step"):
        whole.compile("adam", "sparse_categorical_crossentropy", metrics.SpanF1(TAGS))
    finder = lc.Sequential(
        [layers.Input((None, 2)), layers.LSTM(3, return_sequences=True), layers.Dense(2, "sigmoid")]
    )
    with pytest.raises(ValueError, match="expects a loss about labels of steps or of sequences"):
        finder.compile("adam", "presence_crossentropy", Longest("longest"))


def test_each_output_of_a_graph_has_its_own(rng):
    sequence = lc.Input((None, 2))
    steps = layers.LSTM(5, return_sequences=True)(sequence)
    model = lc.Model(
        sequence,
        {
            "tags": layers.Dense(K, "softmax", name="tags")(steps),
            "words": layers.Dense(len(SYMBOLS), "softmax", name="words")(steps),
        },
    )
    model.compile(
        "adam",
        {"tags": "sparse_categorical_crossentropy", "words": "ctc"},
        {"tags": metrics.SpanF1(TAGS), "words": ["cer"]},
    )
    x, words = spoken(rng)
    tags = [rng.integers(0, K, len(row)) for row in x]
    result = model.evaluate(x, {"tags": tags, "words": words}, verbose=0, return_dict=True)
    found = model.predict(x, verbose=0)
    decided = [row.argmax(axis=1) for row in found["tags"]]
    assert result["tags_span_f1"] == pytest.approx(metrics.span_f1(tags, decided, TAGS))
    read = decoding.ctc_greedy(found["words"])
    assert result["words_cer"] == pytest.approx(metrics.character_error_rate(words, read))
