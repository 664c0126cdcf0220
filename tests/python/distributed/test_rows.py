"""Gradients of large embeddings, summed and sent as the rows that were touched."""

import numpy as np
import pytest

import lstmcore as lc
from distributed_kit import Doubtful, results
from lstmcore.distributed import gradients, rows
from lstmcore.distributed.rows import Rows, join, tables_that_pay

WORDS, WIDTH = 2700, 100  # more than a megabyte


def test_joined_rows_are_sums_of_tables(rng):
    for _ in range(50):
        tables = []
        parts = []
        for _ in range(2):
            ids = np.unique(rng.integers(0, 12, rng.integers(0, 9)))
            values = rng.standard_normal((len(ids), 3)).astype(np.float32)
            table = np.zeros((12, 3), np.float32)
            table[ids] = values
            tables.append(table)
            parts.append(Rows(ids, values))
        joined = join(*parts)
        assert joined.ids.tolist() == sorted({*parts[0].ids, *parts[1].ids})
        found = np.zeros((12, 3), np.float32)
        found[joined.ids] = joined.values
        assert found.tobytes() == (tables[0] + tables[1]).tobytes()


class Table:
    frozen = frozenset(["c"])

    def gradient(self, name):
        return np.zeros((100, 2))


def test_rows_are_sent_where_they_are_fewer():
    def chosen(*touched):
        return tables_that_pay(Table(), touched)

    assert chosen({}, {}) == ()
    assert chosen({"a": 20}, {"a": 29}) == ("a",)
    assert chosen({"a": 20}, {}) == ("a",)  # a process without a row in this batch
    assert chosen({"a": 20}, {"a": 30}) == ()
    assert chosen({"a": 20}, {"a": -1}) == ()
    assert chosen({"c": 1}, {"c": 1}) == ()  # just frozen
    assert chosen({"b": 1, "a": 1}, {"b": 1, "a": 99}) == ("b",)


def texts(random, count=40):
    x = [random.integers(1, WORDS, random.integers(1, 8)) for _ in range(count)]
    return x, np.array([int(row.sum()) % 2 for row in x])


def model_of(layers=()):
    model = lc.Sequential(
        [
            lc.layers.Embedding(WORDS, WIDTH, name="words"),
            lc.layers.Dropout(0.5),
            *layers,
            lc.layers.GlobalMaxPooling1D(),
            lc.layers.Dense(1, "sigmoid"),
        ],
        seed=1,
    )
    model.compile(lc.optimizers.Adam(0.01), "binary_crossentropy")
    return model


def trained(distributed):
    model = model_of()
    x, y = texts(np.random.default_rng(3))
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, distributed=distributed)
    return model.parameters.values.tobytes(), history.history


@pytest.fixture
def sent(monkeypatch):
    """The tables of all sums."""
    found = []
    before = gradients.GradientSum.run

    def run(self, leaf, where, tables=()):
        found.append(tuple(tables))
        before(self, leaf, where, tables)

    monkeypatch.setattr(gradients.GradientSum, "run", run)
    return found


def test_rows_have_the_bits_of_tables(sent, monkeypatch):
    alone = trained(lc.distributed.OneProcess(4))
    # The first step does not know yet how many rows a batch touches.
    assert sent == [()] + [("words.embeddings",)] * 9
    for size in (2, 3):
        assert results(size, trained, 4) == [alone] * size
    monkeypatch.setattr(gradients, "LARGE", 2**40)
    sent.clear()
    assert trained(lc.distributed.OneProcess(4)) == alone
    assert set(sent) == {()}


def test_fewer_samples_than_shards(sent):
    def make():
        return model_of([lc.layers.LSTM(4, return_sequences=True)])

    def train(distributed):
        model = make()
        x, y = texts(np.random.default_rng(3), 13)  # batches of 5, 5 and 3 rows in 6 shards
        model.fit(x, y, batch_size=5, epochs=2, verbose=0, distributed=distributed)
        return model.parameters.values.tobytes()

    alone = train(lc.distributed.OneProcess(6))
    assert ("words.embeddings",) in sent
    for size in (2, 4, 6):
        assert results(size, train, 6) == [alone] * size


def test_tables_with_other_gradients_are_sent_whole(sent):
    words = lc.layers.TextVectorization(split="raw_character", standardize=None)
    words.adapt(["".join(chr(0x4E00 + place) for place in range(WORDS))])
    text = "".join(chr(0x4E00 + place % 60) for place in range(200))

    def train(distributed):
        model = lc.LanguageModel(words, [lc.layers.LSTM(WIDTH, return_sequences=True)])
        model.compile("sgd", metrics=None)
        model.fit_text(text, batch_size=4, window=10, verbose=0, distributed=distributed)
        return model.parameters.values.tobytes()

    alone = train(lc.distributed.OneProcess(2))
    assert set(sent) == {()}
    assert results(2, train, 2) == [alone] * 2


def test_a_loss_that_is_not_finite_is_noticed(sent):
    """Its mark must not get lost among the rows that no id has touched."""
    model = model_of()
    model.compile("sgd", Doubtful())
    x, y = texts(np.random.default_rng(3))
    y = np.zeros(len(y))
    y[30] = 2.0
    with pytest.raises(FloatingPointError, match="the loss is inf in step 4 of the optimizer"):
        model.fit(x, y, 8, verbose=0, shuffle=False, distributed=lc.distributed.OneProcess(4))
    assert sent[-1] == ("words.embeddings",)
    assert rows.LARGE < WORDS * WIDTH * 4


@pytest.mark.parametrize("size", [1, 3])
def test_only_a_large_embedding_trains(size):
    def work(distributed, epochs=2):
        model = model_of()
        x, y = texts(np.random.default_rng(3))
        for layer in model.layers[1:]:
            layer.trainable = False
        model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, distributed=distributed)
        return model.parameters.values.tobytes()

    alone = work(lc.distributed.OneProcess(8))
    assert alone != work(lc.distributed.OneProcess(8), 1)
    assert results(size, work) == [alone] * size
