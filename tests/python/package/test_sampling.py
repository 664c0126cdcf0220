"""Draws of tokens: temperature, top-k and top-p against the definition, by frequency."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcore.sampling import sample

LOGITS = np.log([0.4, 0.3, 0.2, 0.1])


def defined(logits, temperature, top_k, top_p):
    """Compute the distribution of one row token by token, from the definition."""
    shares = [float(np.exp((value - max(logits)) / temperature)) for value in logits]
    order = sorted(range(len(shares)), key=lambda token: -logits[token])
    allowed = order[: len(order) if top_k is None else top_k]
    total = sum(shares[token] for token in allowed)
    nucleus, reached = [], 0.0
    for token in allowed:
        if top_p is not None and nucleus and reached >= top_p:
            break
        nucleus.append(token)
        reached += shares[token] / total
    total = sum(shares[token] for token in nucleus)
    return [shares[token] / total if token in nucleus else 0.0 for token in range(len(shares))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_k": 3, "top_p": 0.7}, [4 / 7, 3 / 7, 0, 0]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        ({"top_k": 9}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 1.0}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 1e-9}, [1, 0, 0, 0]),
    ],
)
def test_frequencies_are_those_of_the_definition(options, expected):
    options = {"temperature": 1.0, "top_k": None, "top_p": None, **options}
    np.testing.assert_allclose(defined(LOGITS, **options), expected, atol=1e-12)
    rows = 40_000
    drawn = sample(np.tile(LOGITS, (rows, 1)), np.random.default_rng(1), **options)
    found = np.bincount(drawn, minlength=4) / rows
    # Four standard deviations of a frequency, at most 0.5 / sqrt(rows) each.
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / np.sqrt(rows))
    assert not found[np.array(expected) == 0].any()


@settings(max_examples=200)
@given(
    logits=st.lists(
        st.one_of(st.floats(-50, 50), st.sampled_from([0.0, 1.0, -np.inf])), min_size=1, max_size=8
    ),
    temperature=st.floats(1e-3, 1e3),
    top_k=st.one_of(st.none(), st.integers(1, 10)),
    top_p=st.one_of(st.none(), st.floats(1e-6, 1)),
    seed=st.integers(0, 99),
)
def test_only_tokens_of_the_definition_are_drawn(logits, temperature, top_k, top_p, seed):
    if not np.isfinite(logits).any():
        return
    drawn = sample(
        [logits] * 5,
        np.random.default_rng(seed),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
    )
    assert drawn.dtype == np.int64
    assert drawn.shape == (5,)
    # Sums in another order may differ in the last bits, which may admit one more token.
    top_p = None if top_p is None else min(1.0, top_p * (1 + 1e-9))
    possible = np.flatnonzero(defined(logits, temperature, top_k, top_p))
    assert set(drawn.tolist()) <= set(possible.tolist())


def test_top_k_of_1_is_greedy_and_ties_go_to_the_lower_number():
    logits = np.array([[1.0, 3.0, 3.0], [0.0, -np.inf, -1.0]], np.float32)
    assert sample(logits, np.random.default_rng(0), top_k=1).tolist() == [1, 0]
    again = sample(logits, np.random.default_rng(0), temperature=1e-300)
    assert again[1] == 0


def test_one_number_is_drawn_for_each_row():
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    sample(np.zeros((7, 4)), rng, top_k=2, top_p=0.5)
    other.random(7)
    assert rng.random() == other.random()
    assert sample(np.zeros((0, 4)), rng).shape == (0,)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"temperature": 0}, ValueError, "temperature: .*greater than 0, got 0; .*top_k=1"),
        ({"temperature": -1}, ValueError, "temperature: .*got -1"),
        ({"temperature": np.nan}, ValueError, "temperature"),
        ({"top_k": 0}, ValueError, "top_k: .*at least 1, got 0"),
        ({"top_k": 1.5}, TypeError, "top_k: expected an integer"),
        ({"top_p": 0}, ValueError, r"top_p: expected a number in \(0, 1\], got 0"),
        ({"top_p": 1.1}, ValueError, "top_p"),
        ({"rng": 3}, TypeError, "rng: expected a numpy.random.Generator"),
        ({"logits": [0.0]}, ValueError, r"logits: expected shape \(N, V\)"),
        ({"logits": np.zeros((2, 0))}, ValueError, "V of at least 1"),
        ({"logits": [["a"]]}, TypeError, "logits: expected numbers"),
        ({"logits": [[0.0], [np.nan]]}, ValueError, "logits: .*in row 1"),
        ({"logits": [[-np.inf]]}, ValueError, "at least one of each row finite"),
        ({"logits": [[np.inf]]}, ValueError, r"below \+inf"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, kind, message):
    options = {"logits": [[0.0, 1.0]], "rng": np.random.default_rng(0), **options}
    with pytest.raises(kind, match=message):
        sample(options.pop("logits"), options.pop("rng"), **options)
