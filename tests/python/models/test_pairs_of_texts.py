"""EncoderDecoder: strings in, strings out."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.layers import TextVectorization

X = ["the cat sleeps", "a dog runs", "the dog sleeps", "a cat runs", "the cat runs", "a dog sleeps"]
Y = [
    "le chat dort",
    "un chien court",
    "le chien dort",
    "un chat court",
    "le chat court",
    "un chien dort",
]


def make(**options):
    options = {"source": TextVectorization(), "target": TextVectorization(), **options}
    return lc.EncoderDecoder(**options, embedding_size=8, units=16)


@pytest.fixture(scope="module")
def translator():
    model = make()
    model.compile(lc.optimizers.Adam(2e-2), metrics=["accuracy"])
    model.fit(X * 20, Y * 20, batch_size=12, epochs=8, verbose=0)
    return model


def test_it_learns_words_and_writes_texts(translator):
    assert translator.predict(X, verbose=0) == Y
    assert translator.predict(X[:3], verbose=0, beam_width=3) == Y[:3]
    loss, accuracy = translator.evaluate(X, Y, verbose=0)
    assert (loss < 0.1, accuracy) == (True, 1.0)
    found = translator.decode(X[:2], 3)
    assert [len(row) for row in found] == [3, 3]
    assert [row[0].text for row in found] == Y[:2]
    for row in found:
        for one in row:
            assert one.text == translator.target.decode([one.tokens])[0]
    assert translator.log_probabilities(X[:1], Y[:1])[0] == pytest.approx(
        found[0][0].log_probability, rel=1e-5
    )
    assert translator.predict([], verbose=0) == []
    assert translator.predict(np.array(X, object)[:2], verbose=0) == Y[:2]
    assert translator.predict([text.split() for text in X[:2]], verbose=0) == Y[:2]


def test_ids_of_the_same_texts_give_the_same_model(translator):
    V = translator.target.vocabulary_size()
    assert (translator.start, translator.end, translator.target_vocabulary) == (V, V + 1, V + 2)
    ids = lc.EncoderDecoder(
        translator.source_vocabulary, V + 2, start=V, end=V + 1, embedding_size=8, units=16
    )
    ids.set_weights(translator.get_weights())
    ids.target_tokens = translator.target_tokens
    rows = [row[row > 0] for row in translator.source(X)]
    words = [row[row > 0] for row in translator.target(Y)]
    assert np.array_equal(ids(rows, words), translator(X, Y))
    assert translator.target.decode(ids.predict(rows, verbose=0)) == Y


def test_batches_of_texts(translator):
    batches = [(X[:4], Y[:4]), (X[4:], Y[4:])]
    results = translator.evaluate(iter(batches), verbose=0)
    assert results == pytest.approx(translator.evaluate(X, Y, verbose=0), rel=1e-5)
    assert translator.predict(iter([X[:4], X[4:]]), verbose=0) == Y
    one = make()
    one.adapt(X, Y)
    one.compile()
    one.fit(iter(batches), validation_data=(X, Y), verbose=0)
    assert "val_loss" in one.history.history


def test_vocabularies_are_saved(translator, tmp_path):
    translator.save(tmp_path / "model.safetensors")
    loaded = lc.load(tmp_path / "model.safetensors")
    assert loaded.get_config() == translator.get_config()
    assert repr(loaded) == repr(translator)
    for one in (
        loaded,
        copy.deepcopy(translator),
        pickle.loads(pickle.dumps(translator)),
        lc.quantize(translator),
    ):
        assert one.source.get_vocabulary() == translator.source.get_vocabulary()
        assert one.target_tokens == translator.target.get_vocabulary()
        assert one.predict(X, verbose=0) == Y
    loaded.fit(X, Y, epochs=1, verbose=0)


def test_fit_learns_the_vocabularies_and_only_once():
    model = make()
    assert not model.built
    assert (model.source_vocabulary, model.target_vocabulary) == (None, None)
    assert (model.start, model.end, model.target_tokens) == (None, None, None)
    assert "Not built yet" in model._repr_html_()
    decoder = model.get_layer("decoder")
    decoder.trainable = False
    model.compile()
    model.fit(X, Y, verbose=0)
    assert model.built
    assert model.source.get_vocabulary()[2:5] == ["a", "cat", "dog"]
    assert model.get_layer("decoder") is decoder
    assert not decoder.trainable
    size = model.source_vocabulary
    model.fit(["new words only"], ["mots nouveaux"], verbose=0)
    assert model.source_vocabulary == size
    with pytest.raises(ValueError, match="adapt: expected a side without a vocabulary"):
        model.adapt(X, Y)
    assert "Parameters: " in model._repr_html_()


def test_one_side_may_be_known_or_hold_no_texts():
    known = TextVectorization(vocabulary=["le", "chat"])
    model = make(target=known)
    model.adapt(X, None)
    assert known.get_vocabulary()[2:] == ["le", "chat"]
    assert make(source=known, target=TextVectorization(vocabulary=["a"])).built
    numbers = lc.EncoderDecoder(source_vector=3, target=TextVectorization(), units=4)
    numbers.compile()
    numbers.fit(np.zeros((2, 3)), ["a b", "b"], verbose=0)
    assert isinstance(numbers.predict(np.zeros((1, 3)), verbose=0)[0], str)
    ids = lc.EncoderDecoder(source=TextVectorization(), target_vocabulary=9, units=4)
    ids.compile()
    ids.fit(X[:2], [[3, 4], [5]], verbose=0)
    assert ids.predict(X[:1], verbose=0)[0].dtype == np.int64


def test_one_vectorizer_for_both_sides(tmp_path):
    both = TextVectorization()
    model = lc.EncoderDecoder(
        source=both,
        target=both,
        share_embeddings=True,
        tie_embeddings=True,
        embedding_size=16,
        units=16,
        seed=2,
    )
    model.compile(lc.optimizers.Adam(2e-2))
    model.fit(X * 20, Y * 20, batch_size=6, epochs=16, verbose=0)
    assert {"cat", "chat"} < set(both.get_vocabulary())
    assert model.predict(X, verbose=0) == Y
    model.save(tmp_path / "model.safetensors")
    assert lc.load(tmp_path / "model.safetensors").predict(X, verbose=0) == Y


def test_markers_of_the_target_are_start_and_end():
    target = TextVectorization(start="[START]", end="[END]")
    model = make(target=target)
    model.adapt(X, Y)
    assert (model.start, model.end) == (2, 3)
    assert model.target_vocabulary == target.vocabulary_size()
    given, labels = model._target.rows(["le chat"])
    assert target.get_vocabulary()[given.values[0]] == "[START]"
    assert [target.get_vocabulary()[number] for number in labels.values] == ["le", "chat", "[END]"]
    only_end = make(target=TextVectorization(end="[END]"))
    only_end.adapt(X, Y)
    assert (only_end.start, only_end.end) == (only_end.target_vocabulary - 1, 2)


def test_unknown_words_and_empty_texts(translator):
    said = translator.predict(["", "the zebra sleeps"], verbose=0, forbidden=["chat"])
    assert len(said) == 2
    assert not any("[UNK]" in text or "chat" in text for text in said)
    model = make()
    model.compile()
    model.fit(["a b", ""], ["", "c"], verbose=0)


def test_characters():
    characters = {"standardize": None, "split": "character"}
    model = make(source=TextVectorization(**characters), target=TextVectorization(**characters))
    x = ["ab", "ba", "aab", "bba"]
    model.compile(lc.optimizers.Adam(2e-2))
    model.fit(x * 40, [text[::-1].upper() for text in x] * 40, 8, epochs=15, verbose=0)
    assert model.predict(x, verbose=0) == [text[::-1].upper() for text in x]


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X, "le chat", TypeError, "^y: expected a sequence of strings, got a single one"),
        ([[3, 4]], Y[:1], TypeError, r"^x\[0\]\[0\]: expected a string, one token"),
        (X, [[3]] * 6, TypeError, r"^y\[0\]\[0\]: expected a string"),
        (X, Y[:2], ValueError, "y: expected 6 entries like x, got 2"),
        (["", ""], Y[:2], ValueError, "^x: expected at least one token, got none"),
        (X, None, ValueError, "y: expected texts"),
    ],
)
def test_a_refused_fit_learns_no_vocabulary(x, y, error, message):
    model = make()
    model.compile()
    with pytest.raises(error, match=message):
        model.fit(x, y, verbose=0)
    assert not model.built
    assert model.source.vocabulary is None
    assert model.target.vocabulary is None
    model.fit(X, Y, verbose=0)


def test_calls_before_there_is_a_vocabulary(tmp_path):
    model = make()
    model.compile()
    calls = (
        lambda: model.predict(X, verbose=0),
        lambda: model.evaluate(X, Y, verbose=0),
        lambda: model.train_on_batch(X, Y),
        lambda: model.fit(iter([(X, Y)]), verbose=0),
        lambda: model(X, Y),
        lambda: model.parameters,
        lambda: model.save(tmp_path / "model.safetensors"),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"no vocabulary yet; call adapt\(x, y\)"):
            call()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"source": "words"}, TypeError, "source: expected a TextVectorization"),
        ({"target_vocabulary": 9}, ValueError, "target_vocabulary: expected None with target"),
        ({"source_vocabulary": 9}, ValueError, "source_vocabulary: expected None with source"),
        ({"start": 1}, ValueError, "start: expected None with target"),
        ({"target": None}, ValueError, "target_vocabulary: expected it or target, got none"),
    ],
)
def test_options_that_do_not_fit_texts(options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_texts_of_target_ids_follow_from_the_vectorizer(translator):
    with pytest.raises(ValueError, match="target_tokens: cannot be set, since target"):
        translator.target_tokens = ["a"]
    with pytest.raises(ValueError, match="forbidden: expected a text of target_tokens, got 'chta'"):
        translator.predict(X, forbidden="chta", verbose=0)
    other = make(source=TextVectorization(vocabulary=["a"]))
    other.target.set_vocabulary(["b"])
    with pytest.raises(ValueError, match="share_embeddings: expected source and target to be the"):
        lc.EncoderDecoder(source=other.source, target=other.target, share_embeddings=True)


def test_subwords(tmp_path):
    pytest.importorskip("tokenizers")
    target = TextVectorization(max_tokens=40, split="bpe")
    model = make(target=target)
    model.compile(lc.optimizers.Adam(2e-2))
    model.fit(X * 20, Y * 20, batch_size=12, epochs=10, verbose=0)
    assert model.predict(X, verbose=0) == Y
    model.save(tmp_path / "model.safetensors")
    assert lc.load(tmp_path / "model.safetensors").predict(X, verbose=0) == Y
