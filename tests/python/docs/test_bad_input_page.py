"""What docs/bad_input.md says about input that does not fit is what happens."""

from pathlib import Path

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers

PAGE = Path(__file__).parents[3] / "docs" / "bad_input.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the pages are only in the source tree")

X = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)


def rows():
    """Return the table: the first words of each row, what happens, and what the error says."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    return [(one[0], one[1], one[2].strip("`| ") if len(one) > 2 else "") for one in cells]


def compiled(head, loss, **options):
    model = lc.Sequential([layers.LSTM(4, **options), head], seed=0)
    model.compile("adam", loss)
    return model


def classifier():
    return compiled(layers.Dense(5, "softmax"), "sparse_categorical_crossentropy")


def recognizer(**options):
    head = layers.Dense(5, "softmax")
    return compiled(head, lc.losses.CTC(**options), return_sequences=True)


def words(**options):
    found = layers.TextVectorization(**options)
    found.adapt(["a warm film", "a tedious film"])
    return found


def reader():
    model = lc.Sequential([words(), layers.Embedding(9, 3, mask_zero=True), layers.LSTM(4)])
    model.build((None, None))
    return model


def translator():
    model = lc.EncoderDecoder(source=words(), target=words(), units=4, embedding_size=3)
    model.compile("adam")
    return model


def captioner():
    model = lc.EncoderDecoder(source_features=2, target=words(), units=4, embedding_size=3)
    model.compile("adam")
    return model


def writer():
    body = [layers.LSTM(4, return_sequences=True)]
    return lc.LanguageModel(words(), body, embedding=4)


def forecaster(**options):
    pytest.importorskip("sklearn")
    from lstmcore.sklearn import LSTMForecaster

    settings = {"max_updates": 2, "difference": 0, "hidden_size": 2, "season": None, **options}
    return LSTMForecaster(10, 3, **settings)


SERIES = np.sin(np.arange(60) / 5)


def frozen():
    model = compiled(layers.Dense(1), "mse")
    model.trainable = False
    return model


REFUSED = {
    "a single sequence": [
        lambda: reader_of_numbers().predict(X[0]),
        lambda: reader_of_numbers()(X[0]),
        lambda: compiled(layers.Dense(2), "mse").fit(X[0], np.zeros((1, 2))),
        lambda: lc.explain.attribute(reader_of_numbers(), X[0]),
        lambda: lc.explain.trace(reader_of_numbers(), X[0]),
        lambda: captioner().predict(X[0]),
        lambda: captioner().fit(X[0], ["a film"]),
        lambda: lc.explain.attribute(captioner(), X[0]),
    ],
    "a single string": [lambda: reader().predict("a film"), lambda: translator().decode("a film")],
    "labels that do not": [lambda: classifier().fit(X, [5, 9, 6, 7], verbose=0)],
    "a [CTC](ctc.md) target": [lambda: recognizer().fit(X, [[1, 2, 3, 1], [1], [2], [3]])],
    "`adapt` without": [
        lambda: layers.TextVectorization().adapt([]),
        lambda: layers.TextVectorization().adapt([""]),
    ],
    "an id to": [lambda: words().decode([[99]]), lambda: words().decode([[-1]])],
    "an empty prompt": [lambda: writer().generate("", 3)],
    "a beam of 0": [
        lambda: translator().decode(["a film"], 0),
        lambda: lc.decoding.ctc_beam_search(recognizer().predict(X), beam_width=0),
    ],
    "a temperature": [
        lambda: translator().decode(["a film"], temperature=0),
        lambda: writer().generate("a", 3, temperature=-1),
        lambda: writer().generate("a", 3, temperature=float("nan")),
        lambda: writer().generate("a", 3, temperature=float("inf")),
    ],
    "`min_length` above": [lambda: translator().decode(["a film"], min_length=5, max_length=3)],
    "a [curriculum]": [
        lambda: classifier().fit(X, [0, 1, 2, 3], curriculum=lc.Curriculum([1, 2]), verbose=0)
    ],
    "`fit` with all": [lambda: frozen().fit(X, np.zeros((4, 1)), verbose=0)],
    "forecasts for which": [
        lambda: forecaster().fit(SERIES, SERIES).predict(6, X=SERIES[:3]),
    ],
    "forecasts beyond": [lambda: forecaster(exogenous="past").fit(SERIES, SERIES).predict(9)],
    "a [backtest]": [lambda: forecaster().backtest(SERIES, start=5)],
    "weights of a layer": [lambda: layers.Dense(2).set_weights([np.zeros((2, 2)), np.zeros(2)])],
}


def reader_of_numbers():
    model = lc.Sequential([layers.LSTM(4), layers.Dense(2)])
    model.build((None, None, 2))
    return model


def test_every_row_is_tested():
    refused = [first for first, what, _ in rows() if what.startswith("refused")]
    assert len(refused) == len(REFUSED)
    for start in REFUSED:
        assert sum(first.startswith(start) for first in refused) == 1, start
    defined = [first for first, what, _ in rows() if not what.startswith("refused")]
    assert [first.split(" ", 2)[:2] for first in defined] == [
        ["an", "empty"],
        ["a", "word,"],
        ["an", "empty"],
        ["no", "texts"],
    ]


@pytest.mark.filterwarnings("ignore:.*max_updates:UserWarning")
@pytest.mark.parametrize("start", REFUSED)
def test_what_is_refused_says_what_the_page_says(start):
    (says,) = (says for first, _, says in rows() if first.startswith(start))
    assert says
    for call in REFUSED[start]:
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert says in str(caught.value)


def test_what_has_a_defined_result():
    model = recognizer()
    blank = model.predict(X[:1])[..., 0]
    loss = model.evaluate(X[:1], [[]], verbose=0)
    assert (loss if np.isscalar(loss) else loss[0]) == pytest.approx(-np.log(blank).sum(), rel=1e-5)
    relaxed = recognizer(infeasible="zero").evaluate(X[:1], [[1, 2, 3, 1]], verbose=0)
    assert (relaxed if np.isscalar(relaxed) else relaxed[0]) == 0
    assert words()(["unheard"]).tolist() == [[1]]
    texts = reader()
    np.testing.assert_array_equal(texts.predict(["", "a film"])[0], np.zeros(4))
    for pooling in (layers.GlobalMaxPooling1D(), layers.GlobalAveragePooling1D()):
        np.testing.assert_array_equal(pooling(X, lengths=[3, 0, 1, 2])[1], np.zeros(2))
    np.testing.assert_array_equal(layers.Attention()(X, lengths=[3, 0, 1, 2])[1], np.zeros(2))
    assert len(texts.predict([])) == 0
    assert translator().decode([]) == []
