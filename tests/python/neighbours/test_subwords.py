"""Subwords by the package tokenizers: learnt or given, saved with the model, decoded."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.layers import TextVectorization

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")

TEXTS = [
    "the lower the better",
    "a newer and wider widest low",
    "the newest, the lowest; the widest!",
]


def learnt(split="bpe", **options):
    words = TextVectorization(**{"max_tokens": 60, "split": split, **options})
    words.adapt(TEXTS)
    return words


def given(texts=TEXTS, size=300):
    """Make a tokenizer as others do: bytes, with padding and cutting switched on."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            special_tokens=["<pad>", "</s>"],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    made.enable_padding(pad_token="<pad>", length=50)
    made.enable_truncation(2)
    return made


@pytest.mark.parametrize("split", ["bpe", "unigram"])
def test_learnt_subwords_come_back(split):
    words = learnt(split)
    assert 4 < words.vocabulary_size() <= 60
    assert words.get_vocabulary()[:2] == ["", "[UNK]"]
    ids, lengths = words.encode(["The widest newer low", ""])
    assert lengths.tolist()[1] == 0
    assert 4 <= lengths[0] < len("The widest newer low")
    assert ids.min() >= 2
    assert words.decode([ids]) == ["the widest newer low"]


def test_frequent_words_are_one_subword_and_rare_ones_several():
    words = learnt()
    assert words.tokens("the") == ["▁the"]
    assert len(learnt(max_tokens=24).tokens("better")) > 1


def test_unknown_characters_are_number_1():
    for split in ("bpe", "unigram"):
        words = learnt(split)
        ids = words(["low ☃ low"])
        assert 1 in ids
        assert words.decode(ids) == ["low [UNK] low"]
    assert 1 in learnt()(["low \ud800"])


def test_a_tokenizer_of_others_is_used_as_it_is():
    tokenizer = given()
    words = TextVectorization(split=tokenizer, standardize=None, end="</s>")
    text = "The  LOWER\n“é” ☃"
    assert words.decode(words([text])) == [text]
    assert words.end_id == 2
    known = words.get_vocabulary()
    assert known.count("</s>") == 1
    assert "<pad>" not in known
    assert words.vocabulary_size() == tokenizer.get_vocab_size() + 1  # "[UNK]" beside its own
    plain = given()
    plain.no_padding()
    plain.no_truncation()
    assert words.tokens(text) == plain.encode(text).tokens


@pytest.mark.parametrize("make", [learnt, lambda: learnt("unigram"), "given"])
def test_a_model_file_restores_the_tokenizer(make, tmp_path, monkeypatch):
    if make == "given":
        words = TextVectorization(split=given(), standardize=None, start="<s>")
    else:
        words = make()
    size = words.vocabulary_size()
    model = lc.Sequential([words, lc.layers.Embedding(size, 3), lc.layers.GlobalMaxPooling1D()])
    texts = ["the newest wide", "low ☃"]
    outputs = model.predict(texts, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(texts, verbose=0), outputs)
    layer = again.layers[0]
    assert layer.get_vocabulary() == words.get_vocabulary()
    assert layer.decode(layer(texts)) == words.decode(words(texts))
    assert layer.split.contents == words.split.contents
    assert layer.get_config()["vocabulary"] is None  # it is in the tokenizer's contents


def test_copies_and_pickles_keep_the_tokenizer():
    words = learnt()
    for again in (copy.deepcopy(words), pickle.loads(pickle.dumps(words)), words.copy()):
        assert again(["the widest"]).tolist() == words(["the widest"]).tolist()
    assert repr(words).startswith("TextVectorization(max_tokens=60, split=Subwords('bpe', ")


def test_lists_of_tokens_and_markers_go_with_subwords():
    words = learnt(start="[START]", end="[END]")
    assert words.vocabulary_size() <= 60
    tokens = words.tokens("the widest")
    np.testing.assert_array_equal(words([tokens]), words(["the widest"]))
    assert words.decode(words(["the widest"])) == ["the widest"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextVectorization(split="bpe"), "max_tokens: expected how many subwords"),
        (lambda: TextVectorization(split=given()), "standardize: expected None with a tokenizer"),
        (lambda: learnt(vocabulary=["a"]), "vocabulary: expected None with subwords"),
        (lambda: learnt().set_vocabulary(["a"]), "set_vocabulary: not for subwords"),
        (
            lambda: TextVectorization(split=given(), standardize=None).adapt(TEXTS),
            "adapt: the tokenizer has its vocabulary already",
        ),
        (
            lambda: TextVectorization(9, None, given()),
            "vocabulary: expected at most 7 tokens",
        ),
        (lambda: TextVectorization(9, split="bpe")(["a"]), "call adapt"),
        (lambda: TextVectorization(9, split="bpe").adapt(["", "!"]), "at least one token"),
        (lambda: TextVectorization(9, split="unigram").adapt([]), "at least one token"),
        (lambda: lc.layers.subwords.Subwords(contents="{}"), "contents: expected those of a tok"),
        (lambda: lc.layers.subwords.Subwords(), "contents: expected those of a tokenizer"),
    ],
)
def test_what_does_not_go_with_subwords_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(ImportError, match="pip install tokenizers"):
        learnt()
