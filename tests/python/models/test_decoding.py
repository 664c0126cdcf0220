"""Decoding: beam search finds the likeliest sequences, and forbidden tokens never appear."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest

import lstmcore as lc
from lstmcore.models.encoder_decoder.search import Limits, beam_search, log_softmax
from pair_kit import (
    ATTENTIONS,
    END,
    START,
    greedy,
    pair_of,
    small_model,
    some_rows,
    spread,
)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_beam_of_one_is_greedy(rng, attention):
    model = spread(small_model(attention, bidirectional=True), rng, 1.5)
    x = some_rows(rng, [3, 0, 5, 1, 4, 2], 1, 7)
    for most in (1, 3, None):
        found = model.decode(x, max_length=most, batch_size=4)
        for source, hypotheses in zip(x, found, strict=True):
            (best,) = hypotheses
            limit = 2 * len(source) + 10 if most is None else most
            tokens, total, finished = greedy(model, source, limit)
            assert best.tokens.tolist() == tokens
            assert best.finished == finished
            assert best.log_probability == pytest.approx(total, rel=1e-12)
    predicted = model.predict(x, max_length=3, verbose=0)
    assert [row.tolist() for row in predicted] == [
        one[0].tokens.tolist() for one in model.decode(x, max_length=3)
    ]


def every_target(most):
    return [
        list(row)
        for length in range(most + 1)
        for row in itertools.product((3, 4, 5), repeat=length)
    ]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_likeliest_sequences(rng, attention, penalty):
    model = spread(small_model(attention), rng, 0.8)
    (source,) = some_rows(rng, [4], 1, 7)
    targets = every_target(3)
    logs = model.log_probabilities([source] * len(targets), targets)
    scores = logs / np.array([((6 + len(row)) / 6) ** penalty for row in targets])
    # So wide that no likely sequence is dropped.
    (found,) = model.decode([source], 40, max_length=3, length_penalty=penalty)
    order = np.argsort(-scores)
    assert len(found) == 40
    for place, one in enumerate(found[:5]):
        assert one.finished
        assert one.tokens.tolist() == targets[order[place]]
        assert one.log_probability == pytest.approx(logs[order[place]], rel=1e-6)
        assert one.score == pytest.approx(scores[order[place]], rel=1e-6)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_hypotheses_have_the_probabilities_that_they_report(rng, attention):
    model = spread(small_model(attention, num_layers=2), rng, 1.0)
    x = some_rows(rng, [3, 0, 5, 1, 4, 2, 6, 3], 1, 7)
    for hypotheses in (found := model.decode(x, 4, batch_size=3)):
        scores = [(not one.finished, -one.score) for one in hypotheses]
        assert scores == sorted(scores)
        assert len({tuple(one.tokens) for one in hypotheses}) == len(hypotheses)
    for source, hypotheses in zip(x, found, strict=True):
        for one in hypotheses:
            if one.finished:
                expected = model.log_probabilities([source], [one.tokens])[0]
                assert one.log_probability == pytest.approx(expected, rel=1e-6)
            assert not set(one.tokens) & {0, START, END}
    alone = [model.decode([source], 4)[0] for source in x]
    for together, single in zip(found, alone, strict=True):
        assert [one.tokens.tolist() for one in together] == [one.tokens.tolist() for one in single]
        assert [one.log_probability for one in together] == [one.log_probability for one in single]


class Script:
    """A decoder with probabilities from a table, which depend only on the last token."""

    def __init__(self, table):
        self.logits = np.log(np.array(table))

    def rows(self, rows):
        return self

    def beams(self, parents):
        return self

    def step(self, tokens, state):
        return self.logits[tokens], state, None


def search_script(table, width, penalty=0.0, limit=9, least=0):
    script = Script(table)
    (found,) = beam_search(
        script.step,
        script,
        Limits(np.array([limit]), least, START, END, (0, START)),
        np.array([1]),
        beam_width=width,
        length_penalty=penalty,
        keep_attention=False,
    )
    return [(one.tokens.tolist(), math.exp(one.log_probability), one.finished) for one in found]


TINY = 1e-30


def test_beam_search_by_hand():
    table = np.full((5, 5), TINY)
    table[START] = [TINY, TINY, TINY, 0.6, 0.4]
    table[3] = [TINY, TINY, 0.5, 0.3, 0.2]  # ends with probability 0.5
    table[4] = [TINY, TINY, 0.9, 0.05, 0.05]
    # Greedy decoding takes 3 and misses the likelier 4.
    assert search_script(table, 1) == [([3], pytest.approx(0.3), True)]
    assert search_script(table, 2) == [
        ([4], pytest.approx(0.36), True),
        ([3], pytest.approx(0.3), True),
    ]
    # Outputs that were cut off come after those that ended.
    assert search_script(table, 1, limit=0) == [([], pytest.approx(1.0), False)]
    table[3, END] = table[4, END] = TINY
    table[3, 3] = table[4, 4] = 0.9
    assert [one[2] for one in search_script(table, 2, limit=2)] == [False, False]


def test_the_length_penalty_favours_longer_sequences():
    table = np.full((5, 5), TINY)
    table[START] = [TINY, TINY, 0.4, 0.6, TINY]
    table[3] = [TINY, TINY, TINY, TINY, 1.0]
    table[4] = [TINY, TINY, 0.6, TINY, 0.4]
    assert search_script(table, 2)[0][0] == []
    assert search_script(table, 2, penalty=2.0)[0][0] == [3, 4]


@pytest.mark.parametrize("width", [1, 2])
def test_the_end_comes_after_the_fewest_tokens(width):
    table = np.full((5, 5), TINY)
    table[START] = [TINY, TINY, 0.9, 0.1, TINY]
    table[3] = [TINY, TINY, 0.6, 0.1, 0.3]
    table[4] = [TINY, TINY, 0.7, 0.2, 0.1]
    assert search_script(table, width)[0] == ([], pytest.approx(0.9), True)
    assert search_script(table, width, least=1)[0] == ([3], pytest.approx(0.1 * 0.6), True)
    assert search_script(table, width, least=2)[0] == ([3, 4], pytest.approx(0.03 * 0.7), True)
    for tokens, _, finished in search_script(table, width, least=9):
        assert (len(tokens), finished) == (9, True)


# ---- drawing tokens at random --------------------------------------------------------------------


def test_drawn_tokens_have_the_models_probabilities(rng):
    """Of many draws of one source, the share of each target is its probability."""
    model = spread(small_model("additive", dtype="float64"), rng, 1.0)
    count = 4000
    found = model.decode([[3, 4]] * count, temperature=1.0, max_length=1, batch_size=500)
    said = [(tuple(row[0].tokens), row[0].finished) for row in found]
    likely = np.exp(model.log_probabilities([[3, 4]] * 4, [[], [3], [4], [5]]))
    others = np.exp(log_softmax(model.forward(*pair_of(model, [[3, 4]], [[]]), False, 0, True)[0]))
    allowed = others[0, 0, [END, 3, 4, 5]].sum()  # padding and start are never drawn
    assert said.count(((), True)) / count == pytest.approx(likely[0] / allowed, abs=0.03)
    for token in (3, 4, 5):
        share = sum(tokens == (token,) for tokens, _ in said) / count
        assert share == pytest.approx(others[0, 0, token] / allowed, abs=0.03)
    for (one,), (tokens, finished) in zip(found, said, strict=True):
        if finished:
            place = [(), (3,), (4,), (5,)].index(tokens)
            assert one.log_probability == pytest.approx(np.log(likely[place]), rel=1e-9)


def test_draws_depend_on_seed_and_place_but_not_on_batches(rng):
    model = spread(small_model("multiplicative"), rng, 1.0)
    x = some_rows(rng, [3, 0, 5, 1, 4, 2], 1, 7)

    def drawn(**how):
        found = model.decode(x, temperature=1.5, max_length=6, **how)
        return [row[0].tokens.tolist() for row in found]

    first = drawn()
    assert first == drawn(batch_size=1) == drawn(batch_size=4)
    assert first != drawn(seed=1)
    assert len({tuple(row) for row in drawn(min_length=6)}) > 1
    assert all(len(row) == 6 for row in drawn(min_length=6))
    predicted = model.predict(x, temperature=1.5, max_length=6, verbose=0)
    assert [row.tolist() for row in predicted] == first
    same = model.predict([x[0]] * 20, temperature=1.5, max_length=6, verbose=0)
    assert len({tuple(row) for row in same}) > 5


@pytest.mark.parametrize("size", [1, 3, 20])
def test_draws_of_batches_are_those_of_all_sources_together(rng, size):
    """The place of a source counts on from batch to batch."""
    model = spread(small_model("multiplicative"), rng, 1.0)
    x = np.tile([[3, 4]], (20, 1))
    how = {"temperature": 1.5, "max_length": 6, "verbose": 0}
    batches = [x[at : at + size] for at in range(0, 20, size)]
    found = model.predict(iter(batches), **how)
    assert [row.tolist() for row in found] == [row.tolist() for row in model.predict(x, **how)]
    assert len({tuple(row) for row in found}) > 5
    one = model.predict(iter(batches), steps=1, **how)
    assert [row.tolist() for row in one] == [row.tolist() for row in found[:size]]


@pytest.mark.parametrize("how", [{}, {"beam_width": 3}, {"temperature": 1.0}])
def test_a_min_length_above_the_limit_is_the_length(rng, how):
    """Without `max_length`, a source of two steps has at most 14 tokens."""
    model = spread(small_model(None), rng, 1.0)
    (row,) = model.decode([[3, 4]], min_length=30, **how)
    assert [len(one.tokens) for one in row] == [30] * len(row)
    (row,) = model.decode([[3, 4]], min_length=14, **how)
    assert all(len(one.tokens) == 14 for one in row)


def test_the_likeliest_token_alone_is_greedy(rng):
    model = spread(small_model("multiplicative", num_layers=2), rng, 1.0)
    x = some_rows(rng, [3, 0, 5, 1, 4, 2], 1, 7)
    greedily = model.decode(x, max_length=6, return_attention=True)
    for how in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}):
        found = model.decode(x, max_length=6, return_attention=True, **how)
        for (one,), (expected,) in zip(found, greedily, strict=True):
            assert one.tokens.tolist() == expected.tokens.tolist()
            assert one.finished == expected.finished
            assert one.log_probability == pytest.approx(expected.log_probability)
            assert one.score == pytest.approx(expected.score)
            np.testing.assert_allclose(one.attention, expected.attention, atol=1e-6)


def test_forbidden_tokens_are_not_drawn(rng):
    model = preferring(rng, 0, START, 3, 4, 5)
    for forbidden, left in (((), {3, 4, 5}), ([3], {4, 5})):
        found = model.predict(
            [[3]] * 50, temperature=50.0, max_length=4, forbidden=forbidden, verbose=0
        )
        assert {int(token) for row in found for token in row} == left


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"temperature": 0}, "temperature: expected a number greater than 0, got 0"),
        ({"temperature": -1.0}, "temperature: expected a number greater than 0, got -1"),
        ({"top_k": 0}, "top_k: expected an integer of at least 1, got 0"),
        ({"top_p": 0.0}, "top_p: expected a number"),
        ({"top_p": 1.1}, "top_p: expected a number"),
        ({"top_k": 3, "beam_width": 2}, "beam_width: expected 1 with temperature, top_k or top_p"),
        ({"min_length": -1}, "min_length: expected an integer of at least 0, got -1"),
        ({"min_length": 4, "max_length": 3}, "min_length: expected at most max_length, 3, got 4"),
        ({"beam_width": 0}, "beam_width: expected an integer of at least 1, got 0"),
        ({"beam_width": 10**6}, "beam_width: expected at most 1000, .* got 1000000"),
    ],
)
def test_ways_of_decoding_that_do_not_exist(how, message):
    model = small_model(None)
    before = model.get_weights()
    for call in (model.decode, model.predict):
        with pytest.raises(ValueError, match=message):
            call([[3]], **how)
    assert all(map(np.array_equal, before, model.get_weights()))


# ---- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["multiplicative", "additive"])
@pytest.mark.parametrize("width", [1, 3])
def test_attention_of_a_decode(rng, attention, width):
    model = spread(small_model(attention, bidirectional=True), rng, 1.0)
    x = some_rows(rng, [3, 0, 5, 1], 1, 7)
    found = model.decode(x, width, return_attention=True)
    for source, hypotheses in zip(x, found, strict=True):
        for one in hypotheses:
            assert one.attention.shape == (len(one.tokens), len(source))
            if len(source) and len(one.tokens):
                np.testing.assert_allclose(one.attention.sum(axis=1), 1, rtol=1e-6)
    # The weights are those of the hypothesis' own past, not of another beam.
    for source, hypotheses in zip(x, found, strict=True):
        for one in hypotheses:
            if len(one.tokens) == 0 or len(source) == 0:
                continue
            inputs, lengths = pair_of(model, [source], [one.tokens])
            context = model.forward(inputs, lengths, True, 0, True)[2]
            weights = np.concatenate([look.weights for look in context.decoder.looks], axis=1)
            np.testing.assert_allclose(one.attention, weights[0, :-1], rtol=1e-5, atol=1e-7)
    assert all(one.attention is None for one in itertools.chain(*model.decode(x, width)))


def test_no_sources():
    model = small_model("additive")
    assert model.decode([]) == []
    assert model.predict(np.zeros((0, 3), np.int64)) == []
    assert model.log_probabilities([], []).shape == (0,)


# ---- forbidden tokens ----------------------------------------------------------------------------


def preferring(rng, *tokens):
    """Make a model that prefers these tokens at every step, most of all the first."""
    model = spread(small_model("multiplicative"), rng, 0.1)
    bias = np.zeros(6, np.float32)
    bias[list(tokens)] = np.arange(len(tokens), 0, -1) * 20.0
    model.set_weights({"output.bias": bias})
    return model


def decoded(model, **how):
    """Return the tokens that occur in the hypotheses."""
    found = model.decode([[3, 4], [5]], max_length=3, **how)
    return {int(token) for row in found for one in row for token in one.tokens}


@pytest.mark.parametrize("width", [1, 3])
def test_forbidden_tokens_are_not_decoded(rng, width):
    model = preferring(rng, 0, START, 3, 4, 5)
    assert 3 in decoded(model, beam_width=width)
    assert not decoded(model, beam_width=width) & {0, START}
    assert not decoded(model, beam_width=width, forbidden=()) & {0, START}
    for forbidden in (3, [3], (3, 3), {3}, np.array([3])):
        found = decoded(model, beam_width=width, forbidden=forbidden)
        assert 3 not in found
        assert 4 in found
    assert decoded(model, beam_width=width, forbidden=[3, 4]) == {5}
    assert [list(row) for row in model.predict([[3, 4]], max_length=3, forbidden=[3, 4])] == [
        [5, 5, 5]
    ]


@pytest.mark.parametrize("width", [1, 3])
def test_forbidden_texts(rng, width):
    """The unknown token is forbidden unless the caller says what is."""
    model = preferring(rng, 3, 4, 5)
    model.target_tokens = ["", "<start>", "<end>", "[UNK]", "cat", "dog"]
    assert 3 not in decoded(model, beam_width=width)
    assert 4 in decoded(model, beam_width=width)
    assert 3 in decoded(model, beam_width=width, forbidden=())
    assert 3 in decoded(model, beam_width=width, forbidden="cat")
    assert 4 not in decoded(model, beam_width=width, forbidden="cat")
    assert decoded(model, beam_width=width, forbidden=["[UNK]", "cat"]) == {5}
    assert decoded(model, beam_width=width, forbidden=["[UNK]", 5]) == {4}
    model.target_tokens = None
    assert 3 in decoded(model, beam_width=width)


def test_target_tokens_are_stored(rng, tmp_path):
    """As in docs/seq2seq.md, start and end follow the vocabulary of a TextVectorization."""
    words = lc.layers.TextVectorization(vocabulary=["dog", "cat"])
    tokens = words.get_vocabulary()
    model = lc.EncoderDecoder(5, 6, units=3, start=4, end=5)
    assert model.target_tokens is None
    model.target_tokens = tokens
    model.set_weights({"output.bias": np.float32([0, 60, 40, 20, 0, 0])})
    model.save(tmp_path / "model.safetensors")
    for one in (
        model,
        lc.load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        lc.quantize(model),
    ):
        assert one.target_tokens == ["", "[UNK]", "dog", "cat"]
        (row,) = one.predict([[2, 3]], max_length=2)
        assert [tokens[number] for number in row] == ["dog", "dog"]
        (row,) = one.predict([[2, 3]], max_length=2, forbidden=())
        assert [tokens[number] for number in row] == ["[UNK]", "[UNK]"]


@pytest.mark.parametrize(
    ("forbidden", "error", "message"),
    [
        (END, ValueError, "tokens other than the end token, 2"),
        (6, ValueError, r"ids in 0..5, got 6"),
        (-1, ValueError, "forbidden"),
        ([3, 4, 5], ValueError, "besides the end token, got all"),
        ("cta", ValueError, "text of target_tokens, got 'cta'; did you mean 'cat'"),
        ("<end>", ValueError, "tokens other than the end token"),
        (2.0, TypeError, "forbidden: expected ids or texts"),
        ([True], TypeError, "forbidden"),
        ([None], TypeError, "forbidden"),
    ],
)
def test_what_cannot_be_forbidden(rng, forbidden, error, message):
    model = small_model(None)
    model.target_tokens = ["", "<start>", "<end>", "[UNK]", "cat", "dog"]
    for call in (model.decode, model.predict):
        with pytest.raises(error, match=message):
            call([[3]], forbidden=forbidden)


def test_texts_without_target_tokens():
    with pytest.raises(ValueError, match="expected ids, .*'cat'; set model.target_tokens"):
        small_model(None).predict([[3]], forbidden="cat")


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ("abc", TypeError, "a sequence of strings, got 'abc'"),
        (["a", 3], TypeError, "expected strings, got .*int.* at 1"),
        (list("abcdea"), ValueError, "different strings, got 'a' twice"),
        (list("abcdefg"), ValueError, "6 texts, one for each id of the target's vocabulary, got 7"),
        (["a"], ValueError, "6 texts, one for each id of the target's vocabulary, got 1"),
        ([], ValueError, "6 texts, one for each id of the target's vocabulary, got 0"),
    ],
)
def test_invalid_target_tokens(tokens, error, message):
    model = small_model(None)
    with pytest.raises(error, match=f"target_tokens: .*{message}"):
        model.target_tokens = tokens
    assert model.target_tokens is None


@pytest.mark.parametrize(("start", "end", "least"), [(4, 5, 4), (5, 4, 4), (1, 5, 5), (4, 1, 6)])
def test_only_start_and_end_tokens_after_all_others_need_no_text(start, end, least):
    model = lc.EncoderDecoder(5, 6, units=3, start=start, end=end)
    for count in range(least, 7):
        model.target_tokens = list("abcdef"[:count])
        assert len(model.target_tokens) == count
    expected = "6" if least == 6 else f"{least} to 6"
    with pytest.raises(ValueError, match=f"expected {expected} texts, .* got {least - 1}"):
        model.target_tokens = list("abcdef"[: least - 1])
