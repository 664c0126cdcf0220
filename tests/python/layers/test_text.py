"""Texts to numbers and back: splitting, punctuation, markers, token lists."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lstmcore as lc
from lstmcore.layers import TextVectorization


def adapted(texts, **options):
    words = TextVectorization(**options)
    words.adapt(texts)
    return words


# ---- decode --------------------------------------------------------------------------------------


def test_decode_undoes_the_call_up_to_standardization():
    words = adapted(["The cat sat.", "A dog — a “good” one!"])
    texts = ["The cat; a dog", "sat", ""]
    assert words.decode(words(texts)) == ["the cat a dog", "sat", ""]
    rows = [np.array([5, 2]), [], (3,)]
    known = words.get_vocabulary()
    assert words.decode(rows) == [f"{known[5]} {known[2]}", "", known[3]]


@settings(max_examples=60)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4),
    how=st.sampled_from([("raw_character", None), ("character", None), ("whitespace", None)]),
)
def test_decode_of_encode_is_the_text(texts, how):
    split, standardize = how
    words = adapted([*texts, "a"], split=split, standardize=standardize)
    expected = [
        text if split == "raw_character" else (" ".join if split == "whitespace" else "".join)(
            words.tokens(text)
        )
        for text in texts
    ]  # fmt: skip
    assert words.decode(words(texts)) == expected


def test_lines_and_indents_come_back_only_from_raw_characters():
    text = "def f():\n    return 1\n"
    raw = adapted([text], split="raw_character", standardize=None)
    assert raw.decode(raw([text])) == [text]
    one = adapted([text], split="character", standardize=None)
    assert one.decode(one([text])) == ["def f(): return 1 "]


def test_unknown_tokens_and_padding_are_defined():
    words = TextVectorization(vocabulary=["a", "b"])
    assert words(["a zebra b", "b"]).tolist() == [[2, 1, 3], [3, 0, 0]]
    assert words.decode([[2, 0, 1, 0, 3]]) == ["a [UNK] b"]
    assert words.decode(np.zeros((0, 3), int)) == []
    assert words.decode([]) == []


@pytest.mark.parametrize(
    ("ids", "kind", "message"),
    [
        ([[0, 4]], ValueError, r"ids\[0\]: expected numbers of the vocabulary, 0\.\.3, got 4"),
        ([[0], [-1]], ValueError, r"ids\[1\]: .*got -1"),
        ([2, 3], ValueError, "put a single row in a list"),
        ([[[2]]], ValueError, r"got entries of shape \(1, 1\)"),
        ([[0.5]], TypeError, r"ids\[0\]: expected integers, got float64"),
        (5, TypeError, "ids"),
    ],
)
def test_decode_refuses_what_are_no_rows_of_numbers(ids, kind, message):
    with pytest.raises(kind, match=message):
        TextVectorization(vocabulary=["a", "b"]).decode(ids)


def test_decode_needs_a_vocabulary():
    with pytest.raises(ValueError, match="call adapt"):
        TextVectorization().decode([[1]])


# ---- standardization and splits ------------------------------------------------------------------


def test_unicode_punctuation_is_removed_by_category():
    words = TextVectorization()
    assert words.tokens("“Quoted”, said—she… ¿qué? 你好。 $5+1") == [
        "quoted", "saidshe", "qué", "你好", "51",
    ]  # fmt: skip
    keras = TextVectorization(standardize="lower_and_strip_punctuation")
    assert keras.tokens("“A” $5 — b!") == ["“a”", "5", "—", "b"]
    assert TextVectorization(standardize="strip_unicode_punctuation").tokens("“A”") == ["A"]
    every = [chr(code) for code in range(0x3000) if unicodedata.category(chr(code))[0] == "P"]
    assert words.tokens("".join(every)) == []


def test_token_lists_are_neither_standardized_nor_split():
    texts = [["The", "cat."], ("a b",), [], np.array(["The"])]
    words = adapted(texts)
    assert words.get_vocabulary() == ["", "[UNK]", "The", "a b", "cat."]
    assert words(texts).tolist() == [[2, 4], [3, 0], [0, 0], [2, 0]]
    assert words(["the cat."]).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        ([["a", 1]], TypeError, r"texts\[0\]\[1\]: expected a string, one token, got 1"),
        (["a", ["b", ""]], ValueError, r"texts\[1\]\[1\]: expected a token, got ''"),
        ([None], TypeError, r"texts\[0\]: expected a string, or a list of strings"),
        ([["a\ud800"]], ValueError, r"texts\[0\]: expected text that UTF-8 can hold"),
    ],
)
def test_what_is_neither_a_text_nor_a_token_list_is_refused(texts, kind, message):
    with pytest.raises(kind, match=message):
        TextVectorization().adapt(texts)


def test_a_model_takes_token_lists():
    words = adapted([["good", "film"], ["bad", "film"]])
    model = lc.Sequential(
        [
            words,
            lc.layers.Embedding(words.vocabulary_size(), 3, mask_zero=True),
            lc.layers.LSTM(2),
            lc.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    model.fit([["good", "film"], ["bad"]], [1, 0], verbose=0)
    np.testing.assert_array_equal(
        model.predict([["good", "film"], ["bad"]], verbose=0),
        model.predict(["good film", "bad"], verbose=0),
    )


# ---- markers -------------------------------------------------------------------------------------


def test_markers_have_the_first_numbers_and_surround_every_text():
    words = adapted(["a b", "a"], start="[START]", end="[END]")
    assert words.get_vocabulary() == ["", "[UNK]", "[START]", "[END]", "a", "b"]
    assert (words.start_id, words.end_id) == (2, 3)
    assert words(["b a", ""]).tolist() == [[2, 5, 4, 3], [2, 3, 0, 0]]
    ids, lengths = words.encode(["b a", ""], markers=False)
    assert (ids.tolist(), lengths.tolist()) == ([5, 4], [2, 0])
    assert words.decode([[2, 5, 4, 3, 4], [4, 5, 0]]) == ["b a", "a b"]


@pytest.mark.parametrize(
    ("options", "ids"),
    [({"start": "<s>"}, (2, None)), ({"end": "</s>"}, (None, 2)), ({}, (None, None))],
)
def test_one_marker_alone(options, ids):
    words = TextVectorization(vocabulary=["a"], **options)
    assert (words.start_id, words.end_id) == ids
    assert words.vocabulary_size() == 3 + len(options)
    assert words.decode(words(["a a"])) == ["a a"]


def test_markers_survive_the_cut():
    words = TextVectorization(
        vocabulary=["a"], start="[START]", end="[END]", output_sequence_length=4
    )
    assert words(["a a a a", "a"]).tolist() == [[2, 4, 4, 3], [2, 4, 3, 0]]


def test_a_vocabulary_may_name_the_markers_or_not():
    with_markers = TextVectorization(vocabulary=["[END]", "a"], end="[END]")
    without = TextVectorization(vocabulary=["a"], end="[END]")
    assert with_markers.get_vocabulary() == without.get_vocabulary() == ["", "[UNK]", "[END]", "a"]
    again = TextVectorization(vocabulary=without.get_vocabulary(), end="[END]")
    assert again.vocabulary == without.vocabulary
    with pytest.raises(ValueError, match=r"none of them '' or '\[UNK\]' or '\[END\]'"):
        TextVectorization(vocabulary=["a", "[END]"], end="[END]")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"start": ""}, ValueError, r"start: expected a token other than '' and '\[UNK\]'"),
        ({"end": "[UNK]"}, ValueError, "end: expected a token other"),
        ({"start": "x", "end": "x"}, ValueError, "end: expected another text than start"),
        ({"end": True}, TypeError, "end: expected a str"),
        ({"start": "x", "max_tokens": 3}, ValueError, "max_tokens: .*at least 4"),
        ({"start": "x", "output_sequence_length": 1}, ValueError, "at least 2"),
    ],
)
def test_markers_that_cannot_be(options, kind, message):
    with pytest.raises(kind, match=message):
        TextVectorization(**options)


def test_markers_are_saved_and_max_tokens_counts_them(tmp_path):
    words = adapted(["a a b b c"], max_tokens=5, end="[END]")
    assert words.get_vocabulary() == ["", "[UNK]", "[END]", "a", "b"]
    model = lc.Sequential([words, lc.layers.Embedding(5, 2)])
    texts = ["a c", ""]
    outputs = model.predict(texts, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = lc.load(tmp_path / "model.safetensors")
    assert again.layers[0].get_config() == words.get_config()
    np.testing.assert_array_equal(np.concatenate(again.predict(texts)), np.concatenate(outputs))
    assert "start" not in TextVectorization(vocabulary=["a"]).get_config()
