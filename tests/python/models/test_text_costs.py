"""Bits a character: nothing that tokens leave out of a text is free."""

import math

import numpy as np
import pytest

import lstmcore as lc
from lstmcore import layers as L

SPELLED = math.log2(2 * 0x110000)  # bits of a character of an unknown token
RANDOM = np.random.default_rng(0)
WORDS = ["".join(RANDOM.choice(list("abcdefgh"), 5)) for _ in range(100)]
TEXT = " ".join(RANDOM.choice(WORDS, 400))


def model_of(words, texts=(TEXT,)):
    words.adapt(texts)
    return lc.LanguageModel(words, 4, dtype="float64")


def bits_of_tokens(model, text):
    """The code without any spelling: perplexity, and the first token at random."""
    ids, _ = model.vectorization.encode([text])
    return (len(ids) - 1) * math.log2(model.perplexity([text])) + math.log2(
        model.vectorization.vocabulary_size()
    )


@pytest.mark.parametrize("most", [3, 50, None])
def test_unknown_words_are_spelled(most):
    model = model_of(L.TextVectorization(most))
    vocabulary = set(model.vectorization.get_vocabulary()[2:])
    unknown = sum(len(word) for word in TEXT.split() if word not in vocabulary)
    expected = (bits_of_tokens(model, TEXT) + SPELLED * unknown) / len(TEXT)
    assert model.bits_per_character(TEXT) == pytest.approx(expected, rel=1e-12)
    assert (unknown > 0) == (most is not None)


def test_no_vocabulary_beats_the_entropy_of_the_source():
    """A word at random among 100 has log2(100) bits, for six characters."""
    entropy = math.log2(len(WORDS)) / 6
    for most in (3, 20, 60, None):
        model = model_of(L.TextVectorization(most))
        model.compile(lc.optimizers.Adam(1e-2))
        model.fit_text(TEXT, epochs=2, batch_size=8, window=16, verbose=0)
        assert model.bits_per_character(TEXT) > 0.97 * entropy


def test_unknown_tokens_of_lists_and_files_are_spelled(tmp_path):
    model = model_of(L.TextVectorization(standardize=None), ["the cat"])
    row = ["the", "zebra", "cat"]
    expected = (bits_of_tokens(model, row) + SPELLED * 5) / 11
    assert model.bits_per_character([row]) == pytest.approx(expected, rel=1e-12)
    path = tmp_path / "text.txt"
    path.write_text("the zebra cat", encoding="utf-8")
    assert model.bits_per_character(path) == model.bits_per_character("the zebra cat")
    literal = model.bits_per_character("the [UNK] cat")  # takes five letters, too
    assert literal == pytest.approx(model.bits_per_character("the zebra cat"), rel=1e-12)


@pytest.mark.parametrize("split", ["bpe", "unigram"])
def test_unknown_subwords_are_spelled(split):
    pytest.importorskip("tokenizers")
    model = model_of(L.TextVectorization(40, None, split), ["the cat sat on the mat. " * 20])
    text = "the ☃☃ sat on\nthe mat"
    ids, _ = model.vectorization.encode([text])
    tokens = model.vectorization.tokens(text)
    unknown = [token for token, number in zip(tokens, ids, strict=True) if number == 1]
    assert unknown == {"bpe": ["[UNK]"] * 3, "unigram": ["☃☃", "\n"]}[split]
    expected = (bits_of_tokens(model, text) + SPELLED * 3) / len(text)
    assert model.bits_per_character(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "text", "becomes"),
    [
        ({}, "the Cat sat", r"'the Cat sat' becomes 'the cat sat' \(character 4\)"),
        ({}, "the cat, sat", "becomes 'the cat sat'"),
        ({"standardize": None}, "the  cat", "becomes 'the cat'"),
        ({"standardize": None}, "the cat\n", "becomes 'the cat'"),
        ({"standardize": None, "split": "character"}, "the\ncat", "becomes 'the cat'"),
        ({"standardize": None, "split": "bpe", "max_tokens": 30}, " the cat", "becomes 'the cat'"),
    ],
)
def test_texts_that_their_tokens_do_not_tell_are_refused(options, text, becomes):
    if options.get("split") == "bpe":
        pytest.importorskip("tokenizers")
    model = model_of(L.TextVectorization(**options), ["the cat sat"])
    with pytest.raises(ValueError, match=rf"text: expected a text that follows .*{becomes}"):
        model.bits_per_character(text)
    with pytest.raises(ValueError, match=r"text\[1\]: expected a text that follows from its token"):
        model.bits_per_character(["the cat", text])
    assert model.perplexity(text) > 1  # of tokens, whatever they are


def test_a_marker_in_a_text_is_refused():
    """It would end the text for a reader of the tokens, who would miss the rest."""
    model = model_of(L.TextVectorization(standardize=None, end="[END]"), ["the cat sat"])
    assert model.bits_per_character("the cat") > 0
    with pytest.raises(ValueError, match=r"text: expected no token like the marker '\[END\]'"):
        model.bits_per_character("the [END] cat")
